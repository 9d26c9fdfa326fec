"""`litevl validate`: what it prints, its JSON, its exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from made_up_data import msrvtt, own, put

from litevl.__main__ import main

CLEAN = {"train": [("a", "x"), ("b", "a caption with :cat: and [brackets]")], "val": [("c", "z")], "test": [("d", "w")]}
CLIPS = {f"{name}.mp4": number for number, name in enumerate("abcd")}


@pytest.fixture
def root(tmp_path):
    return put(own(tmp_path / "data", CLEAN), CLIPS)


def run(capsys, *arguments):
    code = main(["validate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_exit_codes_are_by_severity(root, capsys):
    assert run(capsys, root)[0] == 0
    own(root, {**CLEAN, "train": [("a", "x"), ("a", "x")]})
    code, out, _ = run(capsys, root, "--no-decode")
    assert code == 1
    assert "warning: train captions: 1 text comes more than once for the same video" in out
    (root / "d.mp4").unlink()
    code, out, _ = run(capsys, root)
    assert (code, out.rstrip().endswith("exit code 2")) == (2, True)


def test_the_tables_can_be_read_in_a_file(tmp_path, capsys):
    _, out, err = run(capsys, msrvtt(tmp_path / "data"))
    assert "\x1b" not in out
    assert "captions: msrvtt, schema clip4clip, each caption of a video a query" in out
    assert "questions: msrvtt, schema original" in out
    (line,) = [line for line in out.splitlines() if line.startswith("train (full)")]
    assert line.split() == ["train", "(full)", "2", "6,513", "4", "130,260", "0.00", "25", "48x32"]
    assert "train, types of question: what 3" in out
    assert "videos/video0.mp4  video0 does thing 0" in out
    assert "0 errors, 2 warnings; 4 videos opened;" in out
    assert "opening videos" in err


def test_captions_are_shown_as_they_are(root, capsys):
    assert "a caption with :cat: and [brackets]" in run(capsys, root)[1]


def test_json_is_all_of_it_and_nothing_else(root, capsys):
    rows = [(f"gone{number}", "x") for number in range(50)]
    own(root, {**CLEAN, "train": rows})
    code, out, err = run(capsys, root, "--json")
    report = json.loads(out)
    assert (code, report["exit_code"], report["severity"]) == (2, 2, "error")
    (missing,) = [finding for finding in report["findings"] if finding["kind"] == "missing"]
    assert [item["video_id"] for item in missing["items"]] == [name for name, _ in rows]
    assert report["sets"][0]["splits"][0]["samples"][0] == {"video_id": "gone0", "file": None, "text": "x"}
    assert "opening videos" in err
    table = run(capsys, root)[1]
    assert "gone2" in table
    assert "gone9," not in table
    assert "... and 47 more; --json has all" in table


def test_what_fits_none_is_explained_without_a_traceback(tmp_path, capsys):
    root = put(tmp_path / "data", {"notes.txt": "hello"})
    code, out, _ = run(capsys, root)
    assert code == 2
    assert "got none that a loader takes" in out
    for dataset in ("msrvtt", "didemo", "activitynet", "msvd", "own"):
        assert f"task captions, dataset {dataset}, reason " in out
    assert "MSRVTT_data.json, MSRVTT_train.9k.csv and MSRVTT_JSFUSION_test.csv" in out
    code, out, _ = run(capsys, tmp_path / "nowhere", "--json")
    assert (code, json.loads(out)["sets"]) == (2, [])


def test_flags_reach_the_check(root, tmp_path, capsys):
    arguments = ("--dataset", "own", "--caption-mode", "many", "--train-file", "val.csv", "--videos", root)
    code, out, _ = run(capsys, root, *arguments, "--task", "captions", "--test-file", "test.csv", "--json")
    report = json.loads(out)
    (found,) = report["sets"]
    assert (found["caption_mode"], [split["videos"] for split in found["splits"]]) == ("many", [1, 1])
    assert code == 1, "a.mp4 and b.mp4 are used by no split"
    with pytest.raises(SystemExit) as stop:
        main(["validate", str(root), "--dataset", "imagenet"])
    assert stop.value.code == 2


def test_the_console_script_is_this_command():
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'litevl = "{main.__module__}:{main.__name__}"' in project


def test_help_teaches_and_waits_for_no_model():
    code = (
        "import sys\nfrom litevl.__main__ import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "slow = {'torch', 'transformers', 'decord'} & set(sys.modules)\nassert not slow, slow\n"
    )
    for arguments, words in (
        (("--help",), ("validate", "COMMAND --help", "recipes/msrvtt_retrieval.py")),
        (("validate", "--help"), ("Exit code: 0", "--videos", "--no-decode", "litevl validate /data/msrvtt")),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, timeout=60
        )
        for word in words:
            assert word in done.stdout
