"""A folder of small real videos, and indexes of it by the embedded model."""

import shutil
from pathlib import Path

import pytest
from rendered_clips import render

from litevl.search import IndexConfig, VideoIndex

NAMES = ("a.mp4", "b.mp4", "below/c.mp4", "long.mp4")


@pytest.fixture(scope="session")
def rendered(tmp_path_factory) -> Path:
    """Four videos: three of two seconds in different shapes, one of twelve seconds."""
    folder = tmp_path_factory.mktemp("rendered")
    (folder / "below").mkdir()
    for place, name in enumerate(NAMES):
        last = name == "long.mp4"
        render(
            folder / name,
            frames=60 if last else 20 + place,
            milliseconds=[200 * n for n in range(60)] if last else None,
        )
    return folder


@pytest.fixture
def videos(rendered, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(rendered, tmp_path / "videos"))


@pytest.fixture(scope="session")
def made(rendered, tmp_path_factory) -> tuple[Path, Path]:
    """A copy of the videos, and an index of them."""
    folder = tmp_path_factory.mktemp("made")
    videos, where = Path(shutil.copytree(rendered, folder / "videos")), folder / "index"
    VideoIndex.create(where, IndexConfig(tokens="float32"), "cpu").update(videos, workers=0, progress=False)
    return videos, where


@pytest.fixture
def index(made, tmp_path) -> VideoIndex:
    """A copy of the index, of videos that stay where they are."""
    return VideoIndex.open(shutil.copytree(made[1], tmp_path / "index"), device="cpu")
