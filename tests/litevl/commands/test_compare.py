"""`litevl compare`: from run folders to tables, JSON, a page and a picture; what it refuses."""

import json
import subprocess
import sys

import pytest
from finished_runs import config_of, write_run

from litevl.__main__ import main


@pytest.fixture
def root(tmp_path):
    for seed, value in enumerate((48.0, 50.0, 52.0)):
        write_run(tmp_path / f"runs/litevl-{seed}", config_of(seed=seed), value, frozen=20.0 if seed == 0 else None)
    return tmp_path / "runs"


def run(capsys, *arguments):
    code = main(["compare", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_from_folders_to_everything(root, tmp_path, capsys, monkeypatch):
    from litevl.comparison.cost import CostConfig

    quick = {"batches": (1,), "rounds": 1, "memory_batch": None}
    monkeypatch.setattr("litevl.comparison.CostConfig", lambda device: CostConfig(device, **quick))
    page, picture = tmp_path / "page.md", tmp_path / "plot.png"
    code, out, err = run(capsys, root, "--markdown", page, "--save", picture, "--device", "cpu")
    assert (code, "costs of LiteVL" in err) == (0, True)
    for words in ("50.0 ± 5.0", "GFLOPs a clip", "Percent of LiteVL", "91.4%", "Published by others", "all parameters"):
        assert words in out
    assert "50.0 ± 5.0" in page.read_text(encoding="utf-8")
    assert picture.stat().st_size > 10_000


def test_json_is_all_of_it_and_nothing_else(root, capsys):
    code, out, _ = run(capsys, f"mine={root / 'litevl-*'}", "--no-cost", "--json")
    found = json.loads(out)
    assert (code, [model["name"] for model in found["models"]]) == (0, ["frozen frame average", "mine"])
    assert found["models"][1]["scores"]["t2v R@1, ITC"]["values"] == [48.0, 50.0, 52.0]


def test_tables_come_before_files(root, tmp_path, capsys, monkeypatch):
    from litevl.comparison import report

    def fails(comparison):
        raise OSError("no space left on the disk")

    monkeypatch.setattr(report, "markdown", fails)
    code, out, err = run(capsys, root, "--no-cost", "--markdown", tmp_path / "page.md")
    assert (code, "50.0 ± 5.0" in out, err) == (2, True, "error: no space left on the disk\n")


def test_errors_are_one_line(root, tmp_path, capsys):
    other = write_run(tmp_path / "other", config_of(seed=5), dataset="MSR-VTT")
    for arguments, words in (
        ((root, other), "dataset: expected 'embedded corpus', got 'MSR-VTT'"),
        ((tmp_path / "nowhere",), "nothing is there"),
        ((root, "--large", "GPT", "--no-cost"), "got 'GPT'"),
        ((root, "--save", "x.png", "--no-cost"), "--no-cost leaves out"),
        ((), "at least one run"),
        ((root, "--device", "gpu"), "expected one of this machine (cpu"),
        ((root, "--device", "cuda:99"), "expected one of this machine (cpu"),
        ((root, "--device", "nonsense", "--no-cost"), "got 'nonsense'"),
        ((root, "--markdown", tmp_path / "no/page.md"), "--markdown: expected a file in a folder that is there"),
        ((root, "--markdown", tmp_path), "--markdown: expected a file to write, got the folder"),
        ((root, "--save", tmp_path / "no/x.png"), "--save: expected a file in a folder that is there"),
        ((root, "--save", tmp_path / "x.xyz"), "--save: expected a file that ends in"),
        (("A=", root), "A=: expected NAME=FOLDER"),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("error: ")
        assert words in err


def test_help_teaches_and_waits_for_no_model():
    code = (
        "import sys\nfrom litevl.__main__ import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "slow = {'torch', 'transformers', 'matplotlib'} & set(sys.modules)\nassert not slow, slow\n"
    )
    arguments = [sys.executable, "-c", code, "compare", "--help"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60)
    for words in ("--no-cost", "--large", "Exit code: 0", "litevl compare runs/msrvtt_retrieval-*", "Student's t"):
        assert words in done.stdout
