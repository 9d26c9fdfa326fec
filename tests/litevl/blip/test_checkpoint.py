import argparse
import json
import pathlib
import struct
import zipfile

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


def test_a_packed_file_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """Packed zeros are a thousandth of what they unpack to: a small download that fills the memory."""
    torch.save({"weight": torch.zeros(1000, 1000)}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "bomb.pth", "w") as bomb:
        for entry in plain.infolist():
            bomb.writestr(entry.filename, plain.read(entry), zipfile.ZIP_DEFLATED)
    assert torch.load(tmp_path / "bomb.pth", weights_only=True)["weight"].shape == (1000, 1000), "torch would unpack it"
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: pytest.fail("it was opened"))
    with pytest.raises(CheckpointError, match=r"bomb\.pth: .*has [\d,]+ bytes and unpacks to 4,00\d,\d+"):
        read_tensors(tmp_path / "bomb.pth")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.zeros(1).expand(10**12), "of 4,000,000,000,000 bytes, 4 in the file"),
        (lambda: torch.empty(10**12, device="meta"), "without numbers"),
        (lambda: torch.eye(3).to_sparse(), "sparse"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_tensor_that_is_larger_than_its_file_or_no_plain_one(tmp_path, make, message, zipped):
    torch.save({"whole": torch.ones(3), "huge": make()}, tmp_path / "odd.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=rf"odd\.pth: expected plain tensors .*got 1 others: huge \({message}"):
        read_tensors(tmp_path / "odd.pth")


def test_tensors_that_share_their_numbers_are_plain(tmp_path):
    table = torch.randn(6, 2)
    state = {"table": table, "tied": table, "turned": table.T, "part": table[2:4], "ids": torch.arange(6).expand(1, -1)}
    torch.save(state, tmp_path / "shared.pth")
    assert {name: tensor.tolist() for name, tensor in read_tensors(tmp_path / "shared.pth").items()} == {
        name: tensor.tolist() for name, tensor in state.items()
    }


@pytest.mark.parametrize("shape", [[10**9, 10**9], [2**40, 2**40], [-1], [0.5], "all", None])
def test_a_header_that_claims_what_the_file_does_not_hold(tmp_path, shape):
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}
    header = json.dumps({"weight": entry}).encode()
    (tmp_path / "bomb.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(CheckpointError, match=r"bomb\.safetensors: expected a whole safetensors file"):
        read_tensors(tmp_path / "bomb.safetensors")
