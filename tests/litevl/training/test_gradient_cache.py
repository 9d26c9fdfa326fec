"""A cached step against the step of one batch: the same losses and gradients, on one process and on two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_blip import make_blip

from litevl.adapters import LiteVLConfig, plug
from litevl.blip import load_tokenizer
from litevl.losses import MatchingPairs, RetrievalLossConfig, RetrievalObjective
from litevl.models import VideoTextRetrieval
from litevl.training import Batch, Progress, RunFolder, TrainingConfig, fit, make_optimizer, start_accelerator
from litevl.training.gradient_cache import cached_gradients, require_cacheable

TEXTS = [
    *("a red square", "a blue circle moves left", "the star before the circle", "a square and a star"),
    *("a star", "the red circle after the blue square", "nothing moves", "a circle"),
]
LOSSES = {
    "both": RetrievalLossConfig(),
    "contrastive": RetrievalLossConfig(vtm_weight=0.0),
    "matching": RetrievalLossConfig(vtc_weight=0.0, vtm_weight=0.3),
    "momentum and queue": RetrievalLossConfig(vtc_weight=0.5, momentum=0.9, queue_size=6),
    "local negatives": RetrievalLossConfig(negatives="local"),
}


def made(blip, config, dropout=0.0):
    """An objective whose adapters are not fresh, so that every weight has a gradient."""
    model = VideoTextRetrieval(plug(blip, LiteVLConfig(num_frames=2), verbose=False), heads="copied")
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    for layer in blip.text_encoder.encoder.layer:
        layer.attention.output.dropout.p = dropout
    return RetrievalObjective(model, config, seed=5).train()


def micro_batches(model, ids, size, texts=TEXTS):
    """The clips of `ids`, so many at a time, each micro-batch's texts padded to its own longest."""
    pixels = torch.randn(8, 2, 3, 48, 48, generator=torch.Generator().manual_seed(2))
    return [
        {
            "pixels": pixels[few],
            "tokens": model.tokenize([texts[place] for place in few.tolist()]),
            "video_ids": torch.tensor([0, 1, 2, 3, 4, 5, 6, 1])[few],
        }
        for few in ids.split(size)
    ]


def gradients(objective):
    found = {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}
    objective.zero_grad()
    return found


def whole_step(objective, accelerator, ids, step):
    losses = objective(**micro_batches(objective.model, ids, len(ids))[0], step=step, epochs_done=0.5)
    accelerator.backward(losses["loss"])
    return losses, gradients(objective)


def cached_step(objective, accelerator, ids, size, step):
    parts = micro_batches(objective.model, ids, size)
    losses = cached_gradients(objective, parts, accelerator, step, 0.5, torch.manual_seed)
    return losses, gradients(objective)


def assert_same(one, other):
    for first, second in zip(one, other, strict=True):
        assert first.keys() == second.keys()
        for name, value in first.items():
            assert torch.allclose(value, second[name], atol=1e-5), (name, (value - second[name]).abs().max())


@pytest.mark.parametrize("size", [4, 2])
@pytest.mark.parametrize("name", LOSSES)
def test_equals_the_one_batch(vocab_file, name, size):
    accelerator, _ = start_accelerator("no", 1, "none")
    runs = []
    for _ in range(2):
        blip = make_blip(load_tokenizer(vocab_file))
        runs.append(made(blip, LOSSES[name]))
    for step in range(2):  # the second step has a queue and a momentum copy that has moved
        one = whole_step(runs[0], accelerator, torch.arange(8), step)
        other = cached_step(runs[1], accelerator, torch.arange(8), size, step)
        assert one[1], "something has a gradient"
        assert_same(one, other)


def test_a_video_that_every_text_wants_is_matched_in_parts(vocab_file, monkeypatch):
    def draw(logits, ids, generator):
        each = torch.arange(len(ids))
        text, video = torch.cat([each, each[1:]]), torch.cat([each, torch.zeros_like(each[1:])])
        return MatchingPairs(text, video, (torch.arange(len(text)) < len(ids)).long())

    monkeypatch.setattr("litevl.losses.retrieval.draw_pairs", draw)
    accelerator, _ = start_accelerator("no", 1, "none")
    one, other = (made(make_blip(load_tokenizer(vocab_file)), LOSSES["both"]) for _ in range(2))
    matched, match = [], other.model.match_among
    other.model.match_among = lambda text, video, which: matched.append(len(text)) or match(text, video, which)
    assert_same(
        whole_step(one, accelerator, torch.arange(8), 0), cached_step(other, accelerator, torch.arange(8), 1, 0)
    )
    assert matched == [4, 4, *[1] * 7]


def test_what_dropout_draws_is_the_same_both_times(blip):
    """With dropout in the text encoder, a step is the derivative of the loss it reports."""
    accelerator, _ = start_accelerator("no", 1, "none")
    objective = made(blip, LOSSES["contrastive"], dropout=0.5)
    weight = objective.model.heads.vision_proj.weight
    for parameter in objective.parameters():
        parameter.requires_grad_(parameter is weight)

    def loss():
        return cached_step(objective, accelerator, torch.arange(8), 4, 0)

    gradient = loss()[1]["model.heads.vision_proj.weight"]
    direction = gradient / gradient.norm()
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * 1e-2 * direction
            ends.append(loss_value(loss))
            weight -= sign * 1e-2 * direction
    assert (ends[0] - ends[1]) / 2e-2 == pytest.approx(float(gradient.norm()), rel=0.02)


def loss_value(loss):
    with torch.enable_grad():
        return float(loss()[0]["loss"])


PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:3]
import torch
from small_blip import make_blip
from litevl.blip import load_tokenizer
from litevl.training import start_accelerator
from test_gradient_cache import LOSSES, assert_same, cached_step, gradients, made, micro_batches

accelerator, _ = start_accelerator("no", 1, "none")
own = torch.arange(8).split(4)[accelerator.process_index]
for name in ("both", "momentum and queue", "local negatives"):
    config = LOSSES[name]
    objective = made(make_blip(load_tokenizer(sys.argv[3])), config)
    prepared = accelerator.prepare(objective)
    losses = prepared(**micro_batches(objective.model, own, 4)[0], step=0, epochs_done=0.5)
    accelerator.backward(losses["loss"])
    one = losses, gradients(objective)
    again = made(make_blip(load_tokenizer(sys.argv[3])), config)
    accelerator.prepare(again)  # its hooks on the weights stay quiet, and what is inside is called
    assert_same(one, cached_step(again, accelerator, own, 2, 0))
print("equal", flush=True)
"""


@pytest.mark.slow
def test_two_processes(vocab_file, tmp_path):
    here, program = Path(__file__).resolve(), tmp_path / "program.py"
    program.write_text(PROGRAM)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(program)]
    done = subprocess.run(
        [sys.executable, *words, str(here.parents[2] / "support"), str(here.parent), str(vocab_file)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
    )
    assert done.stdout.count("equal") == 2, done.stderr[:6000]


class Parts:
    """Two micro-batches an epoch."""

    per_epoch = 2

    def __init__(self, model):
        self.model = model

    def epoch(self, epoch, start):
        for number, part in enumerate(micro_batches(self.model, torch.arange(8), 4)):
            yield Batch(part, [f"video{place}" for place in part["video_ids"]], number)


@pytest.mark.parametrize("cache", [False, True])
def test_the_loop_contrasts_all_clips_of_a_step(vocab_file, tmp_path, cache):
    config = TrainingConfig(epochs=1, batch_size=8, accumulation=2, gradient_cache=cache, precision="no")
    accelerator, _ = start_accelerator("no", 2, "none")
    objective = made(make_blip(load_tokenizer(vocab_file)), LOSSES["contrastive"])
    same = made(make_blip(load_tokenizer(vocab_file)), LOSSES["contrastive"])
    whole = whole_step(same, accelerator, torch.arange(8), 0)[0]["vtc"]
    objective, optimizer = accelerator.prepare(objective, make_optimizer(objective, config))
    run = RunFolder(tmp_path / "run", config)
    for _ in fit(objective, optimizer, Parts(objective.model), config, accelerator, run, Progress(), seed=0):
        pass
    (logged,) = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    assert (abs(logged["vtc"] - float(whole)) < 1e-5) is cache


def test_what_cannot_be_cached_is_named():
    accelerator, _ = start_accelerator("no", 1, "none")
    with pytest.raises(ValueError, match=r"contrastive training \(retrieval\), got Linear"):
        require_cacheable(torch.nn.Linear(2, 2), accelerator)
