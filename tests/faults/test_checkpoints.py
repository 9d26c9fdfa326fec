"""Hostile and wrong checkpoints given to a run of a recipe: refused before anything of it starts."""

import json
import pathlib
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import msrvtt_retrieval as recipe
import pytest
import torch
from safetensors.torch import load_file, save_file

from litevl.blip import CheckpointError, load_blip


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (pathlib.Path.touch, (self.path,))


def changed(folder: Path, **tensors: torch.Tensor) -> Path:
    whole = {name: value.clone() for name, value in load_file(folder / "model.safetensors").items()}
    save_file(whole | tensors, folder / "model.safetensors")
    return folder


def pickled(folder: Path, *, weights: dict[str, torch.Tensor] | None = None, **more) -> Path:
    torch.save({"model": load_file(folder / "model.safetensors") | (weights or {}), **more}, folder / "model.pth")
    return folder / "model.pth"


def packed(folder: Path) -> Path:
    plain, bomb = pickled(folder, zeros=torch.zeros(10_000_000)), folder / "bomb.pth"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry), zipfile.ZIP_DEFLATED)
    return bomb


def truncated(folder: Path) -> Path:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    return folder


def configured(folder: Path, **config) -> Path:
    content = json.loads((folder / "config.json").read_text())
    content["vision_config"] |= config.pop("vision_config", {})
    (folder / "config.json").write_text(json.dumps(content | config))
    return folder


def deepened(folder: Path) -> Path:
    return configured(folder, vision_config={"num_hidden_layers": 10**9})


NAN = torch.full((2,), float("nan"))
INTEGERS = torch.zeros(2, dtype=torch.int8)
HUGE = torch.zeros(1).expand(10**12)
HOSTILE = {
    "a pickle with code": (lambda f: pickled(f, extra=Evil(f / "ran")), "the pickle asks for .*it was not run"),
    "a packed file": (packed, r"is not packed; this one has .* unpacks to"),
    "a shape without its numbers": (lambda f: pickled(f, weights={"itm_head.bias": HUGE}), "of 4,000,000,000,000 byte"),
    "a billion layers": (lambda f: deepened(f), "expected the 1000000000 layers"),
    "NaN": (lambda f: changed(f, **{"itm_head.bias": NAN}), "NaN or infinity in 1 of .*itm_head.bias"),
    "integers": (lambda f: changed(f, **{"itm_head.bias": INTEGERS}), "another type: itm_head.bias .int8"),
    "another architecture": (lambda f: configured(f, model_type="clip"), '"model_type": "blip" in config.json, got'),
    "another width": (lambda f: configured(f, vision_config={"hidden_size": 64}), "expected the shapes of the config"),
    "cut off": (truncated, "expected a whole safetensors file"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_and_no_run_is_begun(name, backbone, corpus, tmp_path):
    make, message = HOSTILE[name]
    source = make(Path(shutil.copytree(backbone, tmp_path / "blip")))
    data = replace(recipe.EMBEDDED.data, root=corpus, train_split="full", test_split="full", workers=0)
    model = replace(recipe.EMBEDDED.model, backbone=str(source))
    with pytest.raises(CheckpointError, match=message) as caught:
        recipe.main(replace(recipe.EMBEDDED, model=model, data=data, output_dir=tmp_path / "run"))
    assert str(tmp_path / "blip") in str(caught.value)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "blip" / "ran").exists()


def test_the_same_files_unspoiled_load(backbone, tmp_path):
    folder = Path(shutil.copytree(backbone, tmp_path / "blip"))
    assert load_blip(changed(folder)).load_report.missing == ()
    assert load_blip(pickled(folder)).load_report.missing == ()
