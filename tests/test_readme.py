"""What README.md tells people to type: its snippets run, its links lead somewhere."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "adapters/README.md", "CONTRIBUTING.md"]


def snippets(page):
    return re.findall(r"<!-- tested -->\n```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def test_the_programs_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found = snippets("README.md")
    assert len(found) == 1
    for program in found:
        torch.manual_seed(0)
        exec(compile(program, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "trainable" in out
    assert "torch.Size([2, 2]) torch.Size([2, 2])" in out


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in set(re.findall(r"\b(?:recipes|adapters|litevl|tests)/[\w/]+\.(?:py|md)\b", text)):
        assert (ROOT / name).exists(), name


def test_commands_use_flags_that_exist():
    import msrvtt_retrieval as recipe

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for flag in sorted(set(re.findall(r"(?<![\w-])--[a-z][\w.-]+", text))):
        if flag in ("--help", "--standalone", "--nproc_per_node", "--multi_gpu"):
            continue
        if flag in ("--text-ids", "--video-ids", "--bootstrap"):
            continue
        name = flag.removeprefix("--").removeprefix("no-").replace("-", "_")
        target = recipe.EMBEDDED
        for part in name.split("."):
            unnamed = (target, recipe.EMBEDDED.training, recipe.EMBEDDED.model)
            holders = [holder for holder in unnamed if hasattr(holder, part)]
            assert holders, flag
            target = getattr(holders[0], part)
