from pathlib import Path

import pytest
from rendered_clips import render


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="session")
def plain_clip(clip_folder) -> Path:
    """40 frames, B-frames, a key frame every 10."""
    return render(clip_folder / "plain.mp4", options={"crf": "12", "g": "10"})
