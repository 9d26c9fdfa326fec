"""Other recipes that are killed within an epoch go on to the same bits: each objective has a state of its own."""

import signal

import faults
import forked_runs
import pytest
from outcome import differences, outcome

TRAINING = (
    *("--data.workers", 0, "--evaluation.workers", 0, "--epochs", 2, "--batch-size", 4, "--lr", 1e-3),
    *("--precision", "no", "--save-every", 1e-6, "--no-baseline"),
)
SPLITS = ("--data.train-split", "full", "--data.test-split", "full")
RECIPES = {
    "msrvtt_qa": ("--adapter.num-frames", 3, "--data.questions", 3, "--backbone"),
    "evilm_tokenizer": (
        *(*SPLITS, "--image-size", 32, "--patch-size", 8, "--width", 16, "--layers", 1, "--heads", 2),
        *("--codes", 12, "--code-dim", 4, "--num-frames", 3, "--teacher-source"),
    ),
    "evilm_pretrain": (*SPLITS, "--start", "embedded", "--tokenizer", "embedded"),
}
"""By the recipe: what the codebook, and masks, and questions of a clip are drawn with."""


@pytest.mark.parametrize("recipe", RECIPES)
def test_goes_on_within_an_epoch(recipe, corpus, request, tmp_path):
    words = ["--data.root", corpus, *TRAINING, *RECIPES[recipe]]
    if recipe != "evilm_pretrain":
        words.append(request.getfixturevalue("answering_backbone" if recipe == "msrvtt_qa" else "backbone"))

    def run(folder, *words, fault=None):
        return forked_runs.run(recipe, [*words, "--output-dir", tmp_path / folder], fault, output=tmp_path / "output")

    whole = run("whole", *words)
    assert whole.code == 0, whole.said
    killed = run("run", *words, fault=faults.in_step(5, faults.kill))
    assert killed.code == -signal.SIGKILL, killed.said
    resumed = run("run", "--resume")
    assert resumed.code == 0, resumed.said
    assert differences(outcome(tmp_path / "run"), outcome(tmp_path / "whole")) == []
