"""Matching by video, one or several at a time, against matching by pair, which is BLIP's own forward."""

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


WHICH = torch.tensor([1, 0, 2, 1, 1, 0, 2, 1])


def several(model, way, dropout=0.0):
    """Logits of eight texts with three videos, and the gradients of all that is trained."""
    for layer in model.blip.text_encoder.encoder.layer:
        layer.crossattention.self.dropout.p = layer.attention.self.dropout.p = dropout
    model.train().zero_grad()
    pixels = torch.randn(3, 4, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    video, text = model(pixels, model.tokenize([*TEXTS, *reversed(TEXTS)]))
    torch.manual_seed(7)
    logits = model.match_among(text, video, WHICH) if way == "among" else model.match_pairs(text, video[WHICH])
    (logits * torch.arange(16.0).view(8, 2).cos()).sum().backward()
    return logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def trained(blip, pooling=None, config=None, **options):
    """A model whose adapters are not fresh, so that the gradient of the videos reaches all of them."""
    plug(blip, config or LiteVLConfig(num_frames=4), verbose=False)
    model = VideoTextRetrieval(blip, pooling, heads="copied", **options)
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def assert_same(one, other):
    assert (one[0][0] - one[0][3]).abs().max() > 1e-4, "pairs differ"
    assert torch.allclose(one[0], other[0], atol=1e-5)
    assert one[1].keys() == other[1].keys()
    assert any(gradient.abs().max() > 1e-3 for name, gradient in one[1].items() if "temporal_attention" in name)
    for name, gradient in one[1].items():
        assert torch.allclose(gradient, other[1][name], atol=1e-5), name


@pytest.mark.parametrize("cls", ["clip", "frame"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_several_videos_at_once_equal_pairs_with_their_gradients(blip, pooling, cls):
    model = trained(blip, POOLINGS[pooling], LiteVLConfig(num_frames=4, cls=cls))
    assert_same(several(model, "among"), several(model, "pairs"))


def test_several_videos_where_the_text_encoder_is_trained(blip):
    model = trained(blip)
    model.blip.requires_grad_(True)
    for layer in blip.text_encoder.encoder.layer:
        for part in (layer.crossattention.self.key, layer.crossattention.self.value):
            torch.nn.init.normal_(part.bias)
    among, pairs = several(model, "among"), several(model, "pairs")
    assert "blip.text_encoder.encoder.layer.0.crossattention.self.key.weight" in among[1]
    assert_same(among, pairs)


def test_dropout_of_attention_has_the_mean_that_it_has_by_pair(blip):
    """What is drawn differs; with the values' bias large, a share that is dropped shows."""
    model = trained(blip)
    for layer in blip.text_encoder.encoder.layer:
        torch.nn.init.constant_(layer.crossattention.self.value.bias, 2.0)
    runs = {way: [] for way in ("among", "pairs")}
    for way, found in runs.items():
        for layer in blip.text_encoder.encoder.layer:
            layer.crossattention.self.dropout.p = 0.5
        model.train()
        torch.manual_seed(0)
        with torch.no_grad():
            video, text = model(torch.ones(3, 4, 3, 48, 48), model.tokenize([*TEXTS, *TEXTS]))
            for _ in range(100):
                match = model.match_among if way == "among" else lambda t, v, w: model.match_pairs(t, v[w])
                found.append(match(text, video, WHICH))
    among, pairs = (torch.stack(found) for found in runs.values())
    spread = pairs.std(dim=0)
    assert (spread > 1e-3).all()
    assert ((among.mean(dim=0) - pairs.mean(dim=0)).abs() < 5 * spread * (2 / 100) ** 0.5).all()
    assert torch.allclose(among.std(dim=0), spread, rtol=0.5)


def test_a_watched_text_encoder_is_called_itself(blip):
    model, seen = trained(blip), []
    expected = several(model, "among")
    layer = blip.text_encoder.encoder.layer[0]
    assert matching.is_unwatched(blip.text_encoder)
    handle = layer.register_forward_hook(lambda *_: seen.append(1))
    assert not matching.is_unwatched(blip.text_encoder)
    assert_same(several(model, "among"), expected)
    assert len(seen) == 2, "the texts alone, and with the videos"
    handle.remove()
    assert matching.is_unwatched(blip.text_encoder)
    model.train()
    blip.text_encoder.encoder.gradient_checkpointing = True
    assert not matching.is_unwatched(blip.text_encoder)


def test_nothing_of_a_video_is_repeated_for_its_texts(blip):
    """What is kept for the backward pass grows with the videos, and hardly with the texts of each."""
    model = trained(blip).train()
    pixels = torch.randn(1, 4, 3, 48, 48)

    def kept(texts):
        video, text = model(pixels, model.tokenize(["square"] * texts))
        sizes = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: (
                sizes.__setitem__(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()) or tensor
            ),
            lambda tensor: tensor,
        ):
            model.match_among(text, video, torch.zeros(texts, dtype=torch.long))
        return sum(sizes.values())

    one, four = kept(1), kept(4)
    assert four < 2 * one
