"""The fused attention within frames, against the stock class's own forward."""

import pytest
import torch

from litevl.adapters import LiteVLConfig, plug, spatial_attention

CLIPS = torch.randn(2, 4, 3, 48, 48, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def encoder(blip):
    return plug(blip, LiteVLConfig(num_frames=4), verbose=False).vision_model


def test_the_class_is_known_by_its_name(encoder):
    attention = encoder.encoder.layers[0].self_attn
    assert spatial_attention._fusible(attention, {"output_attentions": None}), "transformers moved or renamed it"


@pytest.mark.parametrize("training", [False, True])
def test_equals_the_stock_forward_with_its_gradients(encoder, training, monkeypatch):
    encoder.train(training).requires_grad_()
    found = []
    for known in (spatial_attention.FUSIBLE, set()):
        monkeypatch.setattr(spatial_attention, "FUSIBLE", known)
        rows = encoder(CLIPS).last_hidden_state
        encoder.zero_grad()
        rows.square().sum().backward()
        found.append([rows, *(each.grad for each in encoder.parameters() if each.grad is not None)])
    for fused, stock in zip(*found, strict=True):
        assert torch.allclose(fused, stock, atol=1e-4, rtol=1e-4)


def test_dropout_is_the_stock_modules(encoder):
    def repeats():
        with torch.no_grad():
            return torch.equal(encoder(CLIPS).last_hidden_state, encoder(CLIPS).last_hidden_state)

    encoder.train()
    assert repeats()
    for layer in encoder.encoder.layers:
        layer.self_attn.dropout.p = 0.5
    assert not repeats()
    encoder.eval()
    assert repeats()


@torch.no_grad()
def test_attention_that_is_asked_for_is_given(encoder):
    fused = encoder(CLIPS).last_hidden_state
    told = encoder(CLIPS, output_attentions=True)
    assert len(told.attentions) == len(encoder.encoder.layers)
    assert told.attentions[0].shape == (8, 2, 10, 10)
    assert torch.allclose(told.last_hidden_state, fused, atol=1e-5)


@torch.no_grad()
def test_whoever_watches_or_replaces_the_forward_is_heeded(encoder):
    attention, seen = encoder.encoder.layers[1].self_attn, []
    fused = encoder(CLIPS).last_hidden_state
    handle = attention.register_forward_hook(lambda module, args, output: seen.append(output[1]))
    assert torch.allclose(encoder(CLIPS).last_hidden_state, fused, atol=1e-5)
    assert seen[0].shape == (8, 2, 10, 10)
    handle.remove()
    attention.forward = lambda hidden_states, **kwargs: (torch.zeros_like(hidden_states), None)
    assert not torch.allclose(encoder(CLIPS).last_hidden_state, fused, atol=1e-3)
