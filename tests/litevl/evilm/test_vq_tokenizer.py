"""The tokenizer's shapes and precision, and its way to disk and back."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from litevl.blip import CheckpointError
from litevl.evilm.vq_files import CONFIG_NAME, WEIGHTS_NAME, add_details, load_vq_tokenizer, save_vq_tokenizer
from litevl.evilm.vq_tokenizer import VQTokenizer, VQTokenizerConfig

CONFIG = VQTokenizerConfig(
    image_size=24, patch_size=8, width=32, layers=2, heads=2, codes=24, code_dim=8, teacher="pixels"
)


def drawn_frames(*shape, seed=0):
    return torch.randn(*shape, 3, 24, 24, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def tokenizer():
    torch.manual_seed(0)
    model = VQTokenizer(CONFIG, teacher_dim=20).eval()
    z = model.encode(drawn_frames(6)).detach().flatten(0, 1)
    model.codebook.start(z, torch.Generator().manual_seed(0))
    return model


def test_forward_fits_together(tokenizer):
    frames = drawn_frames(5)
    output = tokenizer(frames)
    assert output.predicted.shape == (5, 9, 20)
    assert torch.allclose(output.z.norm(dim=-1), torch.ones(5, 9), atol=1e-6)
    assert torch.allclose(output.quantised, tokenizer.codebook.codes[output.ids], atol=1e-6)
    assert torch.equal(output.predicted, tokenizer.decode(output.quantised))
    assert torch.equal(output.ids, tokenizer.tokenize(frames))


def test_every_parameter_gets_a_gradient(tokenizer):
    tokenizer(drawn_frames(5)).predicted.square().mean().backward()
    for name, parameter in tokenizer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_a_clip_is_its_frames_whatever_stands_beside_them(tokenizer):
    clips = drawn_frames(2, 3)
    clips[1, 2] = clips[0, 1]
    ids = tokenizer.tokenize(clips)
    assert ids.shape == (2, 3, 9)
    assert torch.equal(ids[1, 2], ids[0, 1])
    for clip, own in zip(clips, ids, strict=True):
        assert torch.equal(tokenizer.tokenize(clip), own)
    assert torch.equal(tokenizer.tokenize(clips[0, 0]), ids[0, 0])
    assert len(ids.unique()) > 6


def test_a_patch_is_told_with_its_place(tokenizer):
    """The same patch everywhere; only the tables of positions tell one from another."""
    frame = drawn_frames(1)[..., :8, :8].repeat(1, 1, 3, 3)
    z = tokenizer.encode(frame)[0]
    assert len(torch.unique(z, dim=0)) == 9
    predicted = tokenizer.decode(tokenizer.codebook.codes[:1].expand(1, 9, -1))[0]
    assert len(torch.unique(predicted, dim=0)) == 9


def test_labels_do_not_depend_on_autocast(tokenizer):
    frames = drawn_frames(100)
    plain = tokenizer.tokenize(frames)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tokenizer.tokenize(frames), plain)
        output = tokenizer(frames)
    assert not torch.equal(output.ids, plain)
    assert output.z.dtype == output.quantised.dtype == torch.float32
    assert torch.allclose(output.z.norm(dim=-1), torch.ones(100, 9), atol=1e-6)


def test_saved_and_loaded_to_the_bit(tokenizer, tmp_path):
    folder = save_vq_tokenizer(tokenizer, tmp_path / "new", metrics={"perplexity": 12.5})
    torch.manual_seed(7)
    before = torch.get_rng_state()
    loaded = load_vq_tokenizer(folder)
    assert torch.equal(torch.get_rng_state(), before)
    assert loaded.config == CONFIG
    assert loaded.state_dict().keys() == tokenizer.state_dict().keys()
    for name, value in tokenizer.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    frames = drawn_frames(4)
    assert torch.equal(loaded.tokenize(frames), tokenizer.tokenize(frames))
    assert torch.equal(loaded(frames).predicted, tokenizer(frames).predicted)
    assert loaded.codebook.started
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert json.loads((folder / CONFIG_NAME).read_text())["metrics"] == {"perplexity": 12.5}
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG_NAME, WEIGHTS_NAME]


def test_whole_numbers_are_read_back_as_the_settings_they_are(tmp_path):
    save_vq_tokenizer(VQTokenizer(CONFIG, 4), tmp_path)
    change_config(tmp_path, commitment=1, decay=0)
    assert load_vq_tokenizer(tmp_path).config == replace(CONFIG, commitment=1.0, decay=0.0)


def test_a_save_that_fails_leaves_the_one_before(tokenizer, tmp_path):
    save_vq_tokenizer(tokenizer, tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TypeError):
        save_vq_tokenizer(tokenizer, tmp_path, metrics=object())
    with pytest.raises(ValueError, match="teacher_dim"):
        save_vq_tokenizer(tokenizer, tmp_path, teacher_dim=3)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_details_are_added_to_what_is_there(tokenizer, tmp_path):
    save_vq_tokenizer(tokenizer, tmp_path, command="python recipes/evilm_tokenizer.py")
    add_details(tmp_path, metrics={"usage": 90.0})
    record = json.loads((tmp_path / CONFIG_NAME).read_text())
    assert (record["command"], record["metrics"]) == ("python recipes/evilm_tokenizer.py", {"usage": 90.0})
    assert load_vq_tokenizer(tmp_path).config == CONFIG
    with pytest.raises(ValueError, match="config"):
        add_details(tmp_path, config={})
    with pytest.raises(CheckpointError, match="elsewhere"):
        add_details(tmp_path / "elsewhere", metrics={})


def change_json(folder, **values):
    path = folder / CONFIG_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def change_config(folder, **values):
    config = json.loads((folder / CONFIG_NAME).read_text())["config"]
    change_json(folder, config={**config, **values})


def change_tensors(folder, change):
    tensors = load_file(folder / WEIGHTS_NAME)
    change(tensors)
    save_file(tensors, folder / WEIGHTS_NAME)


def rename(tensors):
    tensors["heads.bias"] = tensors.pop("norm.bias")


WRONG = {
    "no folder": (lambda folder: (folder / CONFIG_NAME).unlink(), r"vq_tokenizer\.json.*give the folder"),
    "no JSON": (lambda folder: (folder / CONFIG_NAME).write_text("{"), r"vq_tokenizer\.json"),
    "a list": (lambda folder: (folder / CONFIG_NAME).write_text("[]"), r"vq_tokenizer\.json.* object, got list"),
    "other version": (lambda folder: change_json(folder, format_version=9), r"vq_tokenizer\.json.*format_version 1"),
    "width of words": (lambda folder: change_json(folder, teacher_dim="20"), r"vq_tokenizer\.json.*teacher_dim.*'20'"),
    "unknown setting": (lambda folder: change_config(folder, depth=3), r"vq_tokenizer\.json: config.*depth"),
    "wrong type": (lambda folder: change_config(folder, width="32"), r"vq_tokenizer\.json: config.*width"),
    "out of range": (lambda folder: change_config(folder, layers=0), r"vq_tokenizer\.json: config.*layers"),
    "unknown teacher": (lambda folder: change_config(folder, teacher="dino"), r"vq_tokenizer\.json: config.*teacher"),
    "no config": (lambda folder: change_json(folder, config=None), r"vq_tokenizer\.json: config"),
    "no weights": (lambda folder: (folder / WEIGHTS_NAME).unlink(), r"vq_tokenizer\.safetensors"),
    "damaged": (lambda folder: (folder / WEIGHTS_NAME).write_bytes(b"x" * 99), r"vq_tokenizer\.safetensors"),
    "missing": (
        lambda folder: change_tensors(folder, rename),
        r"vq_tokenizer\.safetensors: .* norm\.bias: .* got nothing",
    ),
    "unknown": (
        lambda folder: change_tensors(folder, lambda t: t.update(more=t["positions"] + 1)),
        r"more: expected nothing",
    ),
    "codes": (lambda folder: change_config(folder, codes=9), r"codebook\.codes: expected \(9, 8\), got \(24, 8\)"),
    "no entries": (lambda folder: (folder / CONFIG_NAME).write_text("{}"), r"vq_tokenizer\.json.*config.*missing"),
    "not finite": (lambda folder: change_tensors(folder, lambda t: t["positions"].fill_(torch.nan)), "finite.*pos"),
}


@pytest.mark.parametrize(("spoil", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_does_not_fit_is_refused_by_name(tokenizer, tmp_path, spoil, message):
    save_vq_tokenizer(tokenizer, tmp_path)
    spoil(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        load_vq_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"image_size": 50}, "patches of 8"),
        ({"codes": 0}, "codes"),
        ({"heads": 5}, "5 heads"),
        ({"commitment": -1.0}, "commitment"),
        ({"decay": 1.0}, "decay"),
    ],
)
def test_settings_that_cannot_be_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **wrong)


def test_frames_of_another_size_are_named(tokenizer):
    with pytest.raises(ValueError, match="24 x 24 pixels, got 16 x 24"):
        tokenizer.tokenize(torch.zeros(1, 3, 16, 24))
