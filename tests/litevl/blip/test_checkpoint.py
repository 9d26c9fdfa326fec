import argparse
import pathlib

import pytest
import torch
from safetensors.torch import save_file

from litevl.blip import CheckpointError
from litevl.blip.checkpoint import read_tensors


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (pathlib.Path.touch, (self.path,))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused_without_running(tmp_path, zipped):
    proof, path = tmp_path / "ran", tmp_path / "evil.pth"
    payload = {"model": {"weight": torch.zeros(2)}, "extra": Evil(proof)}
    torch.save(payload, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"evil.pth: expected tensors only, but the pickle asks for .*not run"):
        read_tensors(path)
    assert not proof.exists()
    torch.load(path, weights_only=False)
    assert proof.exists(), "the pickle would not have run code, so the test proves nothing"


def test_arguments_beside_the_weights(tmp_path):
    path = tmp_path / "old.pth"
    torch.save({"model": {"weight": torch.zeros(2)}, "args": argparse.Namespace(lr=1)}, path)
    with pytest.raises(CheckpointError, match=r"argparse.Namespace.*torch.save\(\{'model': checkpoint\['model'\]\}"):
        read_tensors(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated(tmp_path, suffix):
    path = tmp_path / f"half{suffix}"
    tensors = {"weight": torch.randn(64, 64)}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    whole = path.read_bytes()
    for length in (len(whole) // 2, 5):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=rf"half{suffix}.*it has {length:,} bytes: .*copy it again"):
            read_tensors(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="the file is empty"):
        read_tensors(path)


def test_every_truncation_of_a_legacy_pickle_is_a_named_error(tmp_path):
    path = tmp_path / "half.pth"
    torch.save({"weight": torch.randn(8)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for length in range(1, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"half\.pth"):
            read_tensors(path)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ([torch.zeros(1)], "a state dict .*, got list"),
        (torch.zeros(1), "a state dict .*, got Tensor"),
        ({"model": {"weight": torch.zeros(1), "step": 3}}, r"only tensors under 'model', got 1 other .*step \(int\)"),
        ({"weights": {"weight": torch.zeros(1)}}, r"only tensors, got 1 other entries: weights \(dict\)"),
        ({"model": {}}, "the file holds none"),
    ],
)
def test_what_is_not_a_state_dict(tmp_path, payload, message):
    torch.save(payload, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=f"odd.pt: expected {message}|odd.pt: .*{message}"):
        read_tensors(tmp_path / "odd.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "a git-lfs pointer"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"not a checkpoint at all", "a whole file written by torch.save"),
    ],
)
def test_what_is_not_a_checkpoint(tmp_path, content, message):
    (tmp_path / "odd.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"odd.bin: expected .*{message}"):
        read_tensors(tmp_path / "odd.bin")


def test_paths(tmp_path):
    with pytest.raises(CheckpointError, match=r"none.pth, found nothing"):
        read_tensors(tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="found a folder"):
        read_tensors(tmp_path)
    (tmp_path / "weights.npz").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"ending in one of .pth.*got '.npz'"):
        read_tensors(tmp_path / "weights.npz")
