"""Captions that a frozen encoder reads once are those that it reads each time."""

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from litevl.adapters import LiteVLConfig, plug
from litevl.losses import RetrievalLossConfig, RetrievalObjective
from litevl.models import VideoTextRetrieval
from litevl.training import LoraSettings, select_trainable
from litevl.training import frozen_texts as module
from litevl.training.frozen_texts import FrozenTexts, worth_keeping
from litevl.training.gradient_cache import cached_gradients

CAPTIONS = ["a red square moves left", "a star", "the blue circle", "the star before the circle", "a red square", "up"]


@pytest.fixture
def accelerator():
    yield Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def model(blip):
    plug(blip, LiteVLConfig(num_frames=2), verbose=False)
    return VideoTextRetrieval(blip, heads="copied").train()


@pytest.fixture
def texts(model, accelerator, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 4)
    return FrozenTexts(model, [*CAPTIONS, CAPTIONS[0]], accelerator)


def test_embeddings_are_those_of_encoding(model, texts):
    chosen = [CAPTIONS[place] for place in (4, 0, 0, 3)]
    tokens = model.tokenize(chosen)
    kept, encoded = model.encode_text(texts(tokens, chosen)), model.encode_text(tokens)
    assert torch.allclose(kept.hidden, encoded.hidden, atol=1e-6 * encoded.hidden.abs().max().item())
    assert torch.allclose(kept.embed, encoded.embed, atol=1e-6)
    assert kept.embed.requires_grad, "the copied head is trained on what is kept"
    assert str(texts) == "frozen text encoder: 6 captions encoded once, 0.0 MB kept in memory"


def test_the_encoder_is_not_asked_again(model, texts):
    tokens = texts(model.tokenize(CAPTIONS), CAPTIONS)
    model.blip.text_encoder.forward = lambda **given: pytest.fail("encoded")
    for some in (tokens, tokens[torch.tensor([2, 0])], tokens.pad_to(20), tokens[:3].cut_to(5)):
        assert len(model.encode_text(some)) == len(some)


@pytest.mark.parametrize("cached", [False, True])
def test_losses_and_gradients_are_those_of_encoding(model, texts, accelerator, cached):
    """Also those of the momentum copy's teaching, and of a step in micro-batches."""
    pixels = torch.randn(6, 2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    tokens, ids, found = model.tokenize(CAPTIONS), torch.arange(6), []
    for given in (tokens, texts(tokens, CAPTIONS)):
        objective = RetrievalObjective(model, RetrievalLossConfig(momentum=0.9)).train()
        if cached:
            parts = [{"pixels": pixels[s], "tokens": given[s], "video_ids": ids[s]} for s in (slice(0, 3), slice(3, 6))]
            losses = cached_gradients(objective, parts, accelerator, 0, 0.5, lambda part: None)
        else:
            losses = objective(pixels, given, ids, step=0, epochs_done=0.5)
            losses["loss"].backward()
        found.append(
            ({k: v.item() for k, v in losses.items()}, [p.grad for p in model.parameters() if p.requires_grad])
        )
        model.zero_grad()
    (before, first), (after, second) = found
    assert after == pytest.approx(before, abs=1e-5)
    for one, other in zip(first, second, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other, atol=1e-5)


def test_only_what_stays_and_is_read_often_is_kept(model):
    assert worth_keeping(model, CAPTIONS, read=6)
    assert not worth_keeping(model, CAPTIONS, read=5), "encoding every caption costs more than the few that are read"
    assert worth_keeping(model, [*CAPTIONS, *CAPTIONS], read=6)
    layer = model.blip.text_encoder.encoder.layer[0]
    layer.output.dropout.p = 0.1
    assert not worth_keeping(model, CAPTIONS, read=60), "dropout makes another state each time"
    layer.output.dropout.p = 0.0
    select_trainable(model.blip, "adapters+lora", LoraSettings(r=2))
    assert not worth_keeping(model, CAPTIONS, read=60)
    model.blip.requires_grad_(False)
    assert worth_keeping(model, CAPTIONS, read=60)
    assert not worth_keeping(model.blip, CAPTIONS, read=60), "another model"
