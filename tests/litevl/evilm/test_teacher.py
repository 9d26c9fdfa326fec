"""What the teachers say, against the models they are made of."""

import inspect

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from litevl.blip import CheckpointError, load_blip
from litevl.evilm.teacher import BlipTeacher, ClipTeacher, PixelTeacher, load_teacher, resample_grid


def drawn_frames(size, number=2, seed=0):
    return torch.randn(number, 3, size, size, generator=torch.Generator().manual_seed(seed))


VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 48,
    "patch_size": 16,
    "projection_dim": 24,
    "attention_dropout": 0.5,
}


@pytest.fixture
def clip_folder(tmp_path):
    torch.manual_seed(0)
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION))
    # A fresh norm changes what is normalised too little to be missed.
    torch.nn.init.normal_(model.vision_model.post_layernorm.weight)
    model.save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


def is_frozen(teacher, frames):
    """No gradient, no dropout, whatever mode is asked for."""
    teacher.train()
    first, second = teacher(frames.requires_grad_()), teacher(frames)
    quiet = not any(module.training for module in teacher.modules())
    return quiet and torch.equal(first, second) and not first.requires_grad and first.dtype == torch.float32


@pytest.mark.parametrize("size", [48, 60])
def test_blip_teacher_is_its_projected_last_hidden_state(size):
    frames = drawn_frames(size)
    teacher = load_teacher("blip", "embedded", size, 8)
    blip = load_blip("embedded", task="retrieval", image_size=size)
    with torch.no_grad():
        expected = blip.vision_proj(blip.vision_model(pixel_values=frames).last_hidden_state[:, 1:])
    targets = teacher(frames)
    assert torch.equal(targets, expected)
    assert targets.shape == (2, teacher.grid**2, teacher.dim)
    assert (teacher.grid, teacher.dim, teacher.semantic) == (size // 12, blip.vision_proj.out_features, True)


def test_blip_teacher_is_frozen_and_holds_no_more_than_it_needs(blip):
    teacher = BlipTeacher(blip)
    assert is_frozen(teacher, drawn_frames(48))
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert {name.partition(".")[0] for name in teacher.state_dict()} == {"vision_model", "vision_proj"}


@pytest.mark.parametrize("size", [48, 64])
def test_clip_teacher_is_its_projected_normalised_tokens(clip_folder, size):
    teacher = load_teacher("clip", clip_folder, size, 16)
    clip = CLIPVisionModelWithProjection.from_pretrained(clip_folder)
    assert not clip.training
    frames = drawn_frames(size)
    with torch.no_grad():
        whole = clip(frames, interpolate_pos_encoding=size != 48)
        normalised = clip.vision_model.post_layernorm(whole.last_hidden_state)
        projected = clip.visual_projection(normalised)
    assert torch.allclose(projected[:, 0], whole.image_embeds, atol=1e-6)
    assert torch.allclose(teacher(frames), projected[:, 1:], atol=1e-6)
    assert (teacher.grid, teacher.dim, teacher.semantic) == (size // 16, 24, True)
    assert is_frozen(teacher, frames)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_a_whole_clip_serves_too_and_half_a_one_is_refused(clip_folder, tmp_path):
    torch.manual_seed(1)
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(text_config={**text, "vocab_size": 9, "eos_token_id": 8}, vision_config=VISION)
    config.projection_dim = 24
    model = CLIPModel(config).eval()
    model.save_pretrained(tmp_path / "whole")
    assert load_teacher("clip", tmp_path / "whole", 48, 16)(drawn_frames(48)).shape == (2, 9, 24)
    clip = CLIPVisionModelWithProjection.from_pretrained(clip_folder)
    lacking = {name: value for name, value in clip.state_dict().items() if "post_layernorm" not in name}
    clip.save_pretrained(tmp_path / "half", state_dict=lacking)
    with pytest.raises(ValueError, match=r"half: .* 2 tensors are missing.*post_layernorm"):
        load_teacher("clip", tmp_path / "half", 48, 16)


def test_pixels_by_hand():
    frames = drawn_frames(12, number=1)
    teacher = load_teacher("pixels", "", 12, 4)
    targets = teacher(frames)
    assert targets.shape == (1, 9, 48)
    assert (teacher.grid, teacher.dim, teacher.semantic) == (3, 48, False)
    patch = frames[0, :, 4:8, 8:12]
    values = torch.stack([patch[c, y, x] for y in range(4) for x in range(4) for c in range(3)])
    expected = (values - values.mean()) / (values.var() + 1e-6) ** 0.5
    assert torch.allclose(targets[0, 5], expected, atol=1e-5)
    assert torch.isfinite(teacher(torch.zeros(1, 3, 12, 12))).all()


def test_resampling_to_the_same_grid_changes_nothing():
    features = torch.randn(2, 9, 4)
    assert resample_grid(features, 3) is features


def test_resampling_by_hand():
    # One row of the picture is 0 and 4 on the teacher's grid of two: samples lie at 1/8, 3/8, 5/8, 7/8 of its side.
    features = torch.tensor([[[0.0], [4.0], [8.0], [12.0]]])
    finer = resample_grid(features, 4)[0, :, 0].view(4, 4)
    steps = torch.tensor([0.0, 1.0, 3.0, 4.0])
    assert torch.allclose(finer, 2 * steps[:, None] + steps[None, :], atol=1e-5)
    # On a coarser grid none is passed over: of four in a row the outer ones weigh 5, the inner ones 7 of 24.
    corner = torch.zeros(1, 16, 1)
    corner[0, 0] = 24.0**2
    assert resample_grid(corner, 1).item() == pytest.approx(25, abs=1e-3)


def test_resampling_keeps_rows_columns_and_features_apart():
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")
    features = torch.stack([y, x], dim=-1).view(1, 36, 2)
    inner = resample_grid(features, 3).view(3, 3, 2)[1]
    assert torch.allclose(inner[:, 0], torch.full((3,), 2.5), atol=1e-5)
    assert inner[0, 1] < inner[1, 1] < inner[2, 1]


def test_a_source_that_is_no_clip_is_named(tmp_path, blip, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for source in ("embedded", "Salesforce/blip-itm-base-coco"):
        with pytest.raises(ValueError, match=r"expected the hub id or folder of a CLIP.*such as openai/clip"):
            load_teacher("clip", source, 48, 16)
    with pytest.raises(CheckpointError, match=r"^no/such-clip: expected a CLIP on the hub, .*local copy$") as told:
        load_teacher("clip", "no/such-clip", 48, 16)
    assert "\n" not in str(told.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: expected a CLIP, got nothing that says what it is"):
        load_teacher("clip", tmp_path / "empty", 48, 16)
    blip.config.save_pretrained(tmp_path / "blip")
    with pytest.raises(ValueError, match="blip: expected a CLIP, got a model of type blip"):
        load_teacher("clip", tmp_path / "blip", 48, 16)


def test_a_clip_without_weights_is_named(clip_folder):
    (clip_folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"clip: expected a CLIP on the hub"):
        load_teacher("clip", clip_folder, 48, 16)


def test_misuse_is_named(clip_folder):
    with pytest.raises(ValueError, match="square grid"):
        resample_grid(torch.zeros(1, 6, 2), 2)
    with pytest.raises(ValueError, match="blip, clip or pixels"):
        inspect.unwrap(load_teacher)("dino", "", 48, 16)
    with pytest.raises(CheckpointError, match="multiple of the patch size 12"):
        load_teacher("blip", "embedded", 50, 10)
    with pytest.raises(ValueError, match="patches of 16"):
        ClipTeacher(CLIPVisionModelWithProjection.from_pretrained(clip_folder), 50)
    with pytest.raises(ValueError, match="patches of 5"):
        PixelTeacher(48, 5)
