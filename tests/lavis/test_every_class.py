"""Every BLIP class of LAVIS takes video through its own methods after `plug`, and nothing else of it changes."""

import copy

import pytest

pytest.importorskip("lavis.models", reason="needs LAVIS; run `bash tests/lavis/run.sh`")

import torch
from known_blip import FRAMES
from moved import moved
from small_lavis import CLASSES, loss_of, make_lavis, pixels, results, same, train

from litevl.adapters import (
    FAMILIES,
    LiteVLConfig,
    disable_adapters,
    load_adapters,
    named_adapters,
    plug,
    save_adapters,
    unplug,
)
from litevl.adapters.spatial_attention import _fusible

CONFIG = LiteVLConfig(num_frames=FRAMES)
every_class = pytest.mark.parametrize("kind", CLASSES)
every_family = pytest.mark.parametrize("family", FAMILIES)


def anatomy(model):
    """What each module holds, by name: attributes, children, hooks."""
    return {
        name: (set(vars(module)), list(module._modules), len(module._forward_hooks), len(module._forward_pre_hooks))
        for name, module in model.named_modules()
    }


def names_of_adapters(model):
    return {f"{name}.{key}" for name, adapter in named_adapters(model) for key, _ in adapter.named_parameters()}


@every_class
def test_video_goes_in_and_only_adapters_move(kind):
    model = make_lavis(kind)
    images = results(model, pixels()[:, 0])
    plug(model, CONFIG, verbose=False)
    assert same(results(model, pixels()[:, 0]), images), "images are untouched by plug"
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    train(model, pixels())
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(before[name], parameter)}
    # LAVIS's momentum copies follow at every step; a mean of two equal numbers rounds.
    changed = {name for name in changed if "_m." not in name}
    assert changed == {name for name in names_of_adapters(model) if "_m." not in name}
    assert not same(results(model, pixels()), results(model, pixels().flip(1))), "the order of frames comes through"
    moved(model)
    assert same(results(model, pixels()[:, 0]), images), "images are untouched by training"


@every_class
def test_only_adapters_get_gradients(kind):
    model = plug(make_lavis(kind), CONFIG, verbose=False)
    train(model, pixels(), steps=1)
    model.zero_grad()
    loss_of(model, pixels()).backward()
    given = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert given == {name for name in names_of_adapters(model) if "_m." not in name}
    assert all(parameter.grad.abs().max() > 0 for name, parameter in model.named_parameters() if name in given)


@every_class
def test_clips_of_one_frame_are_images_when_fresh(kind):
    model = plug(make_lavis(kind), CONFIG, verbose=False)
    for clip, image in zip(results(model, pixels(1)), results(model, pixels(1)[:, 0]), strict=True):
        assert torch.allclose(clip, image, atol=1e-5) if isinstance(clip, torch.Tensor) else clip == image


@every_class
def test_unplug_gives_the_stock_model_back(kind):
    model = make_lavis(kind)
    model.visual_encoder.norm.bias.requires_grad_(False)
    stock, keys = anatomy(model), list(model.state_dict())
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    image = results(model, pixels()[:, 0])
    moved(plug(model, CONFIG, verbose=False))
    results(model, pixels())
    assert unplug(model) is model
    assert anatomy(model) == stock
    assert list(model.state_dict()) == keys
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == flags
    assert same(results(model, pixels()[:, 0]), image)


@every_class
def test_save_and_load_is_exact(kind, tmp_path):
    model = make_lavis(kind)
    twin = copy.deepcopy(model)
    moved(plug(model, CONFIG, verbose=False))
    save_adapters(model, tmp_path)
    torch.manual_seed(9)
    load_adapters(twin, tmp_path, verbose=False)
    assert same(results(twin, pixels()), results(model, pixels()))


@every_class
def test_a_fresh_adapter_with_frame_cls_is_blip_frame_by_frame(kind):
    model = make_lavis(kind)
    with torch.no_grad():
        frames = model.visual_encoder(pixels().flatten(0, 1)).unflatten(0, (2, FRAMES))
        plug(model, LiteVLConfig(num_frames=FRAMES, cls="frame"), verbose=False)
        rows = model.visual_encoder.forward_features(pixels())
    # Not bit for bit: clips take the fused attention.
    assert _fusible(model.visual_encoder.blocks[0].attn, {"register_hook": False}), "LAVIS moved or renamed its class"
    assert torch.allclose(rows[:, 1:], frames.flatten(1, 2), atol=1e-5)
    assert torch.allclose(rows[:, 0], frames[:, :, 0].mean(dim=1), atol=1e-6)
    fresh = results(model, pixels())
    moved(model)
    with disable_adapters(model):
        assert same(results(model, pixels()), fresh)


@every_class
@every_family
def test_every_family_plugs(kind, family):
    model = make_lavis(kind)
    stock, images = anatomy(model), model.visual_encoder(pixels()[:, 0])
    plug(model, FAMILIES[family](num_frames=FRAMES), verbose=False)
    if names_of_adapters(model):
        train(model, pixels(), steps=2)
    rows = model.visual_encoder.forward_features(pixels())
    assert rows.isfinite().all()
    assert torch.equal(model.visual_encoder(pixels()), rows)
    assert torch.equal(model.visual_encoder(pixels()[:, 0]), images)
    assert anatomy(unplug(model)) == stock


def test_adapters_are_switched_by_name():
    model = make_lavis(CLASSES[1])
    plug(model, CONFIG, verbose=False)
    first = results(moved(model), pixels())
    plug(model, FAMILIES["aim"](num_frames=FRAMES), "second", verbose=False)
    assert not same(results(model, pixels()), first)
    unplug(model, "second")
    assert same(results(model, pixels()), first)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(2, 4, 1, 32, 32), r"\(2, 4, 1, 32, 32\)"),
        (torch.zeros(2, 0, 3, 32, 32), r"\(2, 0, 3, 32, 32\)"),
        (torch.zeros(2, 4, 3, 48, 48), "32 x 32 pixels, got 48 x 48"),
    ],
)
def test_wrong_shapes_are_named(image, message):
    model = plug(make_lavis(CLASSES[1]), CONFIG, verbose=False)
    with pytest.raises(ValueError, match=message):
        results(model, image)
