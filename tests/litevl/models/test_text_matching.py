"""Matching by text against matching by pair, which is BLIP's own forward, and against matching by video."""

import peft
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from litevl.adapters import FrameAverageConfig, LiteVLConfig, PoolingConfig, plug
from litevl.evilm import load_evilm
from litevl.models import VideoTextRetrieval, text_matching

TEXTS = ["the star before the circle and after the square", "square"]
POOLINGS = {
    "text": PoolingConfig(),
    "hidden": PoolingConfig(space="hidden"),
    "mean": PoolingConfig("mean"),
    "none": PoolingConfig("none"),
    "pooled alone": PoolingConfig(keep_tokens=False),
}


def retrieval(blip, pooling=None, config=None):
    return VideoTextRetrieval(plug(blip, config or LiteVLConfig(num_frames=4), verbose=False), pooling).eval()


@torch.no_grad()
def both(model, videos=6, num_frames=4):
    """Logits of each text with each video, by text and by pair."""
    side = model.image_size
    pixels = torch.randn(videos, num_frames, 3, side, side, generator=torch.Generator().manual_seed(1))
    video, text = model.encode_video(pixels), model.encode_text(TEXTS)
    by_text = [model.match_text(text[place : place + 1], video) for place in range(len(TEXTS))]
    by_pair = [model.match_pairs(text[torch.full((videos,), place)], video) for place in range(len(TEXTS))]
    return torch.stack(by_text), torch.stack(by_pair)


@pytest.mark.parametrize("cls", ["clip", "frame"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_by_text_equals_by_pair(blip, pooling, cls):
    by_text, by_pair = both(retrieval(blip, POOLINGS[pooling], LiteVLConfig(num_frames=4, cls=cls)))
    assert by_pair.std(dim=1).min() > 1e-3, "the videos differ"
    assert (by_pair[0] - by_pair[1]).abs().max() > 1e-3, "the texts differ"
    assert torch.allclose(by_text, by_pair, atol=1e-5)


@pytest.mark.parametrize("at_once", [1, 5, 1000])
def test_parts_change_nothing(blip, at_once, monkeypatch):
    monkeypatch.setattr(text_matching, "VIDEOS_AT_ONCE", at_once)
    assert torch.allclose(*both(retrieval(blip, config=FrameAverageConfig())), atol=1e-5)


def test_with_lora_and_biases_on_the_text_encoder(blip):
    model = retrieval(blip)
    for layer in model.blip.text_encoder.encoder.layer:
        for part in (layer.crossattention.self.key, layer.crossattention.self.value):
            torch.nn.init.normal_(part.bias)
    found = peft.LoraConfig(r=2, target_modules=r"text_encoder.*\.(query|key|value|dense)", init_lora_weights=False)
    peft.inject_adapter_in_model(found, model.blip)
    assert torch.allclose(*both(model), atol=1e-5)


def test_in_low_precision(blip):
    model = retrieval(blip)
    with torch.autocast("cpu", torch.bfloat16):
        low = both(model)
    assert torch.allclose(*low, atol=0.05)
    assert torch.allclose(low[0].float(), both(model)[0], atol=0.1)


def test_evilm_matches_by_text_too():
    assert torch.allclose(*both(load_evilm("embedded").eval(), num_frames=6), atol=1e-5)


def test_no_row_is_projected(blip):
    """By text, the work for another row is that of its attention alone, for each token and head."""
    model = retrieval(blip, PoolingConfig("none"))
    text, config = model.encode_text(TEXTS[1:]), model.blip.config.text_config

    @torch.no_grad()
    def flops(num_frames):
        video = model.encode_video(torch.randn(1, num_frames, 3, 48, 48))
        with FlopCounterMode(display=False) as counter:
            model.match_text(text, video)
        return counter.get_total_flops()

    tokens = int(text.tokens.attention_mask.sum())
    pairs = config.num_attention_heads * (tokens * (config.num_hidden_layers - 1) + 1)  # of the last layer one token
    assert flops(5) - flops(4) == 9 * pairs * 2 * 2 * config.hidden_size
