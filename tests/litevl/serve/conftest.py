"""Videos of shapes, an index of them by a model that pools by the text, and a server of it."""

import shutil
from pathlib import Path

import pytest
from shape_films import SECONDS, VIDEOS, film
from spoiled_decoding import PLANTED

from litevl.adapters import LiteVLConfig, plug, save_adapters
from litevl.blip import load_blip
from litevl.search import IndexConfig, SegmentConfig, VideoIndex
from litevl.serve.beside import serving
from litevl.tasks.saved import Source


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> tuple[Path, Path]:
    """The videos' folder, and that of an index of them."""
    folder = tmp_path_factory.mktemp("served")
    videos, where = folder / "videos", folder / "index"
    videos.mkdir()
    for name, shapes in VIDEOS.items():
        film(videos / name, shapes, "mpeg4" if name.endswith("avi") else "libx264")
    blip = plug(load_blip("embedded"), LiteVLConfig(num_frames=4), verbose=False)
    save_adapters(blip, str(folder / "adapter"))
    config = IndexConfig(Source("embedded", folder / "adapter"), SegmentConfig(seconds=float(SECONDS)))
    VideoIndex.create(where, config, "cpu").update(videos, workers=0, progress=False)
    return videos, where


@pytest.fixture
def index(made, tmp_path) -> VideoIndex:
    """A copy of the index, of videos that stay where they are."""
    return VideoIndex.open(shutil.copytree(made[1], tmp_path / "index"), device="cpu")


@pytest.fixture(scope="session")
def served(made, tmp_path_factory):
    """The address of `litevl serve`, whose decoder can be spoiled, and its index's folder."""
    where = shutil.copytree(made[1], tmp_path_factory.mktemp("server") / "index")
    options = ("--device", "cpu", "--max-upload-mb", "0.5", "--decode-timeout", "3")
    with serving(where, *options, environment={"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PLANTED)}) as address:
        assert address.startswith("http://127.0.0.1:")
        yield address, where
