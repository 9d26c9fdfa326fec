"""Matching by video against matching by pair, which is BLIP's own forward."""

import peft
import pytest
import torch

from litevl.adapters import FrameAverageConfig, LiteVLConfig, PoolingConfig, plug
from litevl.models import VideoTextRetrieval, matching

TEXTS = [
    "a red square moves left to right",
    "a blue circle",
    "the star before the circle and after the square",
    "square",
]
POOLINGS = {
    "text": PoolingConfig(),
    "sharp": PoolingConfig(tau=0.01),
    "hidden": PoolingConfig(space="hidden"),
    "mean": PoolingConfig("mean"),
    "none": PoolingConfig("none"),
    "pooled alone": PoolingConfig(keep_tokens=False),
}


def retrieval(blip, pooling=None, config=None):
    return VideoTextRetrieval(plug(blip, config or LiteVLConfig(num_frames=4), verbose=False), pooling).eval()


@torch.no_grad()
def both(model, num_frames=4, **options):
    pixels = torch.randn(2, num_frames, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    video, text = model.encode_video(pixels), model.encode_text(TEXTS)
    by_video = [model.match_video(text, video[place : place + 1], **options) for place in range(2)]
    by_pair = [model.match_pairs(text, video[torch.full((len(TEXTS),), place)]) for place in range(2)]
    return torch.stack(by_video), torch.stack(by_pair)


@pytest.mark.parametrize("cls", ["clip", "frame"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_by_video_equals_by_pair(blip, pooling, cls):
    by_video, by_pair = both(retrieval(blip, POOLINGS[pooling], LiteVLConfig(num_frames=4, cls=cls)))
    assert (by_pair[0] - by_pair[1]).abs().max() > 1e-3, "the videos differ"
    assert (by_pair[:, 0] - by_pair[:, 1]).abs().max() > 1e-3, "the texts differ"
    assert torch.allclose(by_video, by_pair, atol=1e-5)


@pytest.mark.parametrize("num_frames", [1, 5])
def test_of_frames_averaged_and_of_one_frame(blip, num_frames):
    assert torch.allclose(*both(retrieval(blip, config=FrameAverageConfig()), num_frames), atol=1e-5)


@pytest.mark.parametrize("at_once", [1, 3, 1000])
@pytest.mark.parametrize("pair_batch", [1, 3, 1000])
def test_parts_change_nothing(blip, at_once, pair_batch, monkeypatch):
    monkeypatch.setitem(matching.TOKENS_AT_ONCE, "cpu", at_once)
    assert torch.allclose(*both(retrieval(blip), pair_batch=pair_batch), atol=1e-5)


def test_with_lora_on_the_text_encoder(blip):
    model = retrieval(blip)
    found = peft.LoraConfig(r=2, target_modules=r"text_encoder.*\.(query|key|value|dense)", init_lora_weights=False)
    peft.inject_adapter_in_model(found, model.blip)
    assert torch.allclose(*both(model), atol=1e-5)


def test_in_low_precision(blip):
    model = retrieval(blip)
    with torch.autocast("cpu", torch.bfloat16):
        low = both(model)
    assert torch.allclose(*low, atol=0.05)
    assert torch.allclose(low[0].float(), both(model)[0], atol=0.1)


def test_biases_of_keys_and_values_are_heeded(blip):
    model = retrieval(blip)
    before = both(model)[1]
    for layer in model.blip.text_encoder.encoder.layer:
        for part in (layer.crossattention.self.key, layer.crossattention.self.value):
            torch.nn.init.normal_(part.bias)
    by_video, by_pair = both(model)
    assert torch.allclose(by_video, by_pair, atol=1e-5)
    assert not torch.allclose(by_pair, before, atol=1e-3)


def test_what_a_text_costs_beside_the_rows_does_not_grow_with_them(blip):
    """The projections of a video's rows are counted once, however many texts."""
    from torch.utils.flop_counter import FlopCounterMode

    model = retrieval(blip)

    def flops(texts):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model.match_video(model.encode_text(texts), video)
        return counter.get_total_flops()

    with torch.no_grad():
        video = model.encode_video(torch.randn(1, 4, 3, 48, 48))
    one, two, three = (flops(TEXTS[1:2] * number) for number in (1, 2, 3))
    assert three - two == two - one
    width = model.blip.config.text_config.hidden_size
    layers, rows = model.blip.config.text_config.num_hidden_layers, 1 + 36 + 4 + 9
    projected = layers * 2 * 2 * (rows + 1) * width**2
    compared = 2 * (4 + 9) * model.blip.vision_proj.weight.numel()
    assert one - (two - one) == projected + compared
