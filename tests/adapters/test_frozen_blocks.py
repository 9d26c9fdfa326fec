"""The encoder cut below its first adapter gives what the whole gives, in both layouts, for every family."""

import pytest
import torch
from original_blip import OriginalBlip
from torch import nn

from litevl.adapters import (
    FAMILIES,
    FrameFeatures,
    LiteVLConfig,
    blocks_below,
    disable_adapters,
    encode_above,
    encode_below,
    find_vision_encoder,
    fingerprint_below,
    named_adapters,
    plug,
    require_frozen_below,
    set_adapter,
)

FRAMES = 4
CLIPS = torch.randn(2, FRAMES, 3, 48, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=["transformers", "original"])
def stock(request, blip):
    return blip if request.param == "transformers" else OriginalBlip(blip).eval()


def shake(model):
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _, adapter in named_adapters(model):
            for parameter in adapter.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def whole(model, clips=CLIPS):
    output = find_vision_encoder(model).module(clips)
    return output if isinstance(output, torch.Tensor) else output.last_hidden_state


def cut(model, layer, clips=CLIPS):
    hidden = encode_below(model, clips.flatten(0, 1), layer).unflatten(0, clips.shape[:2])
    return encode_above(model, FrameFeatures(hidden, layer))


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"none"}))
@pytest.mark.parametrize("cls", ["clip", "frame"])
@torch.no_grad()
def test_two_halves_are_the_whole(stock, family, cls):
    kind = FAMILIES[family]
    model = shake(plug(stock, kind(num_frames=FRAMES, layers=(2,), cls=cls), verbose=False))
    expected = whole(model)
    for layer in range(blocks_below(model) + 1):
        assert torch.allclose(cut(model, layer), expected, atol=1e-5)
    assert blocks_below(model) >= 2


def test_gradients_are_those_of_the_whole(stock):
    model = shake(plug(stock, LiteVLConfig(num_frames=FRAMES, layers=(1, 2)), verbose=False)).train()
    found = []
    for encode in (whole, lambda model: cut(model, 1)):
        model.zero_grad()
        encode(model).square().sum().backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    one, other = found
    assert one.keys() == other.keys()
    assert len(one) > 10
    for name, gradient in one.items():
        assert torch.allclose(gradient, other[name], atol=1e-3, rtol=1e-4), name


@torch.no_grad()
def test_the_first_block_follows_the_active_adapter(stock):
    model = plug(stock, LiteVLConfig(num_frames=FRAMES, layers=(2,)), "upper", verbose=False)
    plug(model, LiteVLConfig(num_frames=FRAMES), "every", verbose=False)
    shake(model)
    assert blocks_below(model) == 0
    with pytest.raises(ValueError, match="expected a block up to 0, the first that has an adapter, got 2"):
        cut(model, 2)
    set_adapter(model, "upper")
    assert blocks_below(model) == 2
    with disable_adapters(model):
        assert blocks_below(model) == 3
        assert torch.allclose(cut(model, 3), whole(model), atol=1e-5)


@torch.no_grad()
def test_clips_of_any_length_go_on(stock, caplog):
    model = shake(plug(stock, LiteVLConfig(num_frames=FRAMES, layers=(1, 2)), verbose=False))
    longer = torch.randn(1, 7, 3, 48, 48)
    assert torch.allclose(cut(model, 1, longer), whole(model, longer), atol=1e-5)
    assert "clips of 7 frames" in caplog.text
    assert "clips of 1 frames" not in caplog.text
    with pytest.raises(ValueError, match="expected frames of 48 x 48 pixels"):
        encode_below(model, torch.randn(1, 3, 32, 32), 1)


def test_what_is_trained_or_random_below_is_refused(stock):
    model = plug(stock, LiteVLConfig(num_frames=FRAMES, layers=(2,)), verbose=False)
    require_frozen_below(model, 2)
    lower, upper = (find_vision_encoder(model).blocks[number].module for number in (1, 2))
    upper.mlp.fc1.weight.requires_grad_()
    require_frozen_below(model, 2)
    lower.mlp.act = nn.Dropout(0.1)
    with pytest.raises(ValueError, match=r"frozen blocks below block 2, .*, got some with dropout"):
        require_frozen_below(model, 2)
    lower.mlp.fc1.weight.requires_grad_()
    with pytest.raises(ValueError, match="got some that are trained"):
        require_frozen_below(model, 2)


def test_the_fingerprint_is_of_what_lies_below(blip):
    original = OriginalBlip(blip).eval()
    before = fingerprint_below(blip, 2)
    assert before != fingerprint_below(blip, 1)
    assert fingerprint_below(original, 2) == before, "one for both libraries"
    plug(blip, LiteVLConfig(num_frames=FRAMES, layers=(2,)), verbose=False)
    assert fingerprint_below(blip, 2) == before
    encoder = blip.vision_model
    with torch.no_grad():
        encoder.encoder.layers[2].mlp.fc1.weight.add_(1)
        encoder.post_layernorm.weight.add_(1)
        assert fingerprint_below(blip, 2) == before
        for parameter in (encoder.embeddings.position_embedding, encoder.encoder.layers[1].mlp.fc1.bias):
            value = parameter.clone()
            parameter[..., 0] += 1
            assert fingerprint_below(blip, 2) != before
            parameter.copy_(value)
    assert fingerprint_below(blip, 2) == before
