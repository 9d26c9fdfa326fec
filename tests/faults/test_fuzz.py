"""Files changed at random: what comes of them is data or an error of ours, and nothing else.

A few seconds here, the same cases each time. `LITEVL_FUZZ_SECONDS=600 pytest -n0 tests/faults/test_fuzz.py` goes on for
so long with each kind of file. A case that fails is named by its seed, and its files stay in pytest's folder.
"""

import json
import os
import random
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from annotation_folders import FORMS, loader, write_form
from mutations import mutate_file, mutated_bytes, mutated_value
from numbered_videos import READ
from safetensors.torch import load_file, save_file
from torch import Tensor

from litevl.adapters import AdapterLoadError, LiteVLConfig, load_adapters, plug, plugged_state, save_adapters
from litevl.blip import CheckpointError, load_blip
from litevl.data.annotations import AnnotationError
from litevl.data.decoding_process import DecodingProcess
from litevl.data.preprocess import resize_frames
from litevl.data.video import VideoError, read_frames
from litevl.evilm.files import EMBEDDED as EMBEDDED_EVILM
from litevl.evilm.files import load_evilm

SECONDS = float(os.environ.get("LITEVL_FUZZ_SECONDS", 0))
DTYPES = (torch.int8, torch.float16, torch.float64, torch.bool, torch.complex64, torch.int64)
NAMES = (".0.", ".99999999."), (".0.", ".x."), (".1.", ".-3."), ("weight", "bias"), ("vision_model", "visual_encoder")


def cases(kind: str, folder: Path, count: int) -> Iterator[tuple[random.Random, Path]]:
    """A generator and a place for each case; the files of one that went well are taken away."""
    began, number = time.monotonic(), 0
    while number < count or time.monotonic() - began < SECONDS:
        place = folder / f"{kind} {number}".replace("'", "")
        yield random.Random(f"{kind} {number}"), place
        shutil.rmtree(place)
        number += 1


def mutated_tensors(tensors: dict[str, Tensor], rng: random.Random, pickled: bool) -> dict[str, Any]:
    """One or two tensors lost, renamed, or of another shape, type or value; in a pickle also no plain one."""
    changed: dict[str, Any] = dict(tensors)
    for _ in range(rng.randint(1, 2)):
        name = rng.choice(sorted(changed))
        value = tensors.get(name, torch.zeros(2))
        odd = [value.to(rng.choice(DTYPES)), value[None], value.reshape(-1), value[:0], torch.zeros(()), torch.ones(3)]
        odd += [torch.full_like(value, float("nan")), -value]
        if pickled:
            huge = [torch.zeros(1).expand(10**12), torch.zeros(1).expand(*[10**4] * max(value.ndim, 1))]
            odd += [*huge, torch.empty(value.shape, device="meta"), value.to_sparse(), 5, "x", None, {}]
        change = rng.random()
        if change < 0.2:
            del changed[name]
        elif change < 0.4:
            changed[rng.choice([name.replace(*pair) for pair in NAMES] + ["temp", "", name + "x"])] = changed.pop(name)
        else:
            changed[name] = rng.choice(odd)
    return changed


def rewrite(path: Path, rng: random.Random) -> None:
    """Changes tensors in a file, or its bytes."""
    if rng.random() < 0.7:
        tensors = mutated_tensors(load_file(path), rng, False)
        save_file({name: value.clone().contiguous() for name, value in tensors.items()}, path)
    else:
        mutate_file(path, rng)


@pytest.mark.parametrize("name", FORMS)
def test_annotations(name, tmp_path):
    """Loaded, every key stays below the folder of the videos and every text can be written."""
    load = loader(name)
    load(write_form(tmp_path / "whole", name))
    for rng, folder in cases(name, tmp_path, 25):
        write_form(folder, name)
        mutate_file(rng.choice(sorted(folder.iterdir())), rng)
        try:
            data = load(folder)
        except AnnotationError as error:
            str(error).encode()
            continue
        rows = data if isinstance(data, tuple) else [*data.train, *data.val, *data.test]
        for row in rows:
            key = getattr(row, "key", row.video_id)
            assert ".." not in key.split("/"), folder
            assert not Path(key).is_absolute(), folder
            f"{key} {row}".encode()


@pytest.mark.skipif(sys.platform != "linux", reason="a decoder that crashes would take the test with it")
@pytest.mark.parametrize("kind", [kind for kind, (_, make) in READ.items() if make is not None])
def test_videos(kind, tmp_path):
    """Read or refused; by a process of its own, so that a decoder that hangs or crashes is an error too."""

    def decode(path: Path) -> Tensor:
        return resize_frames(read_frames(path, 3), 16)

    ending, make = READ[kind]
    assert make is not None
    whole = make(tmp_path / f"whole.{ending}", 5)
    decoder = DecodingProcess(decode, (3, 3, 16, 16), 30.0)
    for rng, folder in cases(kind, tmp_path, 40):
        folder.mkdir()
        path = folder / whole.name
        path.write_bytes(mutated_bytes(whole.read_bytes(), rng))
        with suppress(VideoError):
            decoder(path)
    decoder.close()


@pytest.fixture(scope="module")
def blip_folder(tmp_path_factory, vocab_file) -> Path:
    from small_blip import make_blip

    from litevl.blip import load_tokenizer, save_blip

    folder = tmp_path_factory.mktemp("blip") / "whole"
    save_blip(make_blip(load_tokenizer(vocab_file), layers=2), folder)
    shutil.copy(vocab_file, folder / "vocab.txt")
    return folder


def test_a_folder_of_transformers(blip_folder, tmp_path):
    load_blip(blip_folder)
    for rng, folder in cases("folder", tmp_path, 60):
        shutil.copytree(blip_folder, folder)
        weights, tokenizer = folder / "model.safetensors", folder / "tokenizer.json"
        kind = rng.choice(["config", "tensors", "index", "vocabulary", "tokenizer"])
        if kind == "tensors":
            rewrite(weights, rng)
        elif kind == "index":
            names = list(load_file(weights))
            weights.rename(folder / "a.safetensors")
            index = {"weight_map": dict.fromkeys(names[:9], "a.safetensors")}
            (folder / "model.safetensors.index.json").write_text(json.dumps(mutated_value(index, rng)))
        elif kind == "vocabulary":
            tokenizer.unlink()
            mutate_file(folder / "vocab.txt", rng)
        else:
            of = {"config": "config.json", "tokenizer": rng.choice(["tokenizer.json", "tokenizer_config.json"])}
            mutate_file(folder / of[kind], rng)
        require_ours(partial(load_blip, folder), CheckpointError)


def test_a_file_of_the_originals_kind(blip_folder, tmp_path):
    whole = {name: value.clone() for name, value in load_file(blip_folder / "model.safetensors").items()}
    for rng, folder in cases("pth", tmp_path, 60):
        folder.mkdir()
        shutil.copy(blip_folder / "vocab.txt", folder)
        path, tensors = folder / "model.pth", mutated_tensors(whole, rng, True)
        payload = rng.choice([{"model": tensors}, tensors, {"state_dict": tensors, "epoch": 3}])
        torch.save(payload, path, _use_new_zipfile_serialization=rng.random() < 0.5)
        if rng.random() < 0.4:
            mutate_file(path, rng)
        require_ours(partial(load_blip, path), CheckpointError)


def test_adapters(blip_folder, tmp_path):
    """Refused, nothing of the model has changed; what loads is taken for what was meant."""
    source = save_adapters(plug(load_blip(blip_folder), LiteVLConfig(num_frames=4), verbose=False), tmp_path / "whole")
    target = load_blip(blip_folder)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    for rng, folder in cases("adapters", tmp_path, 40):
        shutil.copytree(source, folder)
        if rng.random() < 0.5:
            mutate_file(folder / "adapter_config.json", rng)
        else:
            rewrite(folder / "adapter_model.safetensors", rng)
        if require_ours(partial(load_adapters, target, folder, verbose=False), AdapterLoadError):
            target = load_blip(blip_folder)
        assert plugged_state(target) is None, folder
        after = target.state_dict()
        assert after.keys() == before.keys(), folder
        assert all(torch.equal(after[name], value) for name, value in before.items()), folder


def test_an_evilm(tmp_path):
    for rng, folder in cases("evilm", tmp_path, 20):
        shutil.copytree(EMBEDDED_EVILM / "stills", folder)
        name = rng.choice(["evilm.json", "evilm.safetensors", "vocab.txt"])
        (rewrite if name == "evilm.safetensors" else mutate_file)(folder / name, rng)
        require_ours(partial(load_evilm, folder), CheckpointError)


def require_ours(load: Callable[[], Any], kind: type[Exception]) -> bool:
    """Whether it loads; where it does not, by our error, short enough to be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            load()
        except kind as error:
            assert len(str(error)) < 2500  # noqa: PT017 - or nothing is raised
            return False
    return True
