"""LAVIS trains retrieval with a slowly moving copy of the model, whose parameters it walks in step with the model's."""

import copy

import pytest

pytest.importorskip("lavis.models", reason="needs LAVIS; run `bash tests/lavis/run.sh`")

import torch
from known_blip import FRAMES
from lavis.models import BlipRetrieval
from small_lavis import loss_of, make_lavis, pixels, train

from litevl.adapters import FAMILIES, fingerprint, named_adapters, plug, save_adapters, unplug

every_family = pytest.mark.parametrize("family", FAMILIES)


def plugged(family="litevl", **vit):
    return plug(make_lavis(BlipRetrieval, **vit), FAMILIES[family](num_frames=FRAMES), verbose=False)


def pairs(model):
    one, other = dict(model.visual_encoder.named_parameters()), dict(model.visual_encoder_m.named_parameters())
    assert list(one) == list(other), "the order in which LAVIS pairs them"
    return {name: (one[name], other[name]) for name in one}


@every_family
def test_both_encoders_stay_aligned_and_the_copy_follows(family):
    model = plugged(family)
    assert all(torch.equal(one, slow) for one, slow in pairs(model).values())
    model.momentum = 0.5
    held = [
        f"{name}.{key}" for name, part in named_adapters(model.visual_encoder) for key, _ in part.named_parameters()
    ]
    stock = {name: one.clone() for name, (one, _) in pairs(model).items() if name not in held}
    if held:
        train(model, pixels(), steps=1)
        start = {name: (one.clone(), slow.clone()) for name, (one, slow) in pairs(model).items()}
        loss_of(model, pixels())  # moves the copy before it looks at the video, by LAVIS's own _momentum_update
        for name in held:
            one, slow = start[name]
            assert torch.allclose(pairs(model)[name][1], 0.5 * slow + 0.5 * one, atol=1e-7), name
        assert any(not torch.equal(*start[name]) for name in held)
    with torch.no_grad():
        for _ in range(30):
            loss_of(model, pixels())
    for name, (one, slow) in pairs(model).items():
        assert torch.allclose(one, slow, atol=1e-6), name
        assert name in held or torch.equal(one, stock[name]), name
    assert not any(slow.requires_grad for _, slow in pairs(model).values())


def test_clips_of_both_lengths_in_training_leave_the_queue_whole():
    model = plugged()
    for frames in (FRAMES, 2, 1):
        assert loss_of(model, pixels(frames)).isfinite()
    assert model.image_queue.norm(dim=0).allclose(torch.ones(4))


def test_copies_of_a_plugged_model_stand_alone(tmp_path):
    model = plugged()
    twin = copy.deepcopy(model)
    train(twin, pixels(), steps=2)
    fresh = make_lavis(BlipRetrieval)
    assert torch.equal(model.visual_encoder_m(pixels()[:, 0]), fresh.visual_encoder_m(pixels()[:, 0]))
    assert fingerprint(twin) == fingerprint(model) == fingerprint(fresh)
    save_adapters(twin, tmp_path)
    assert list(unplug(twin).state_dict()) == list(fresh.state_dict())
