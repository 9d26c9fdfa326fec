import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rendered_clips import render


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="session")
def plain_clip(clip_folder) -> Path:
    """40 frames, B-frames, a key frame every 10."""
    return render(clip_folder / "plain.mp4", options={"crf": "12", "g": "10"})


@pytest.fixture
def annotated(tmp_path) -> Callable[..., Path]:
    """Writes a folder of annotation files, each from what it holds: bytes, text, or values in the form of its name."""

    def write(files: Mapping[str, Any], folder: str = "") -> Path:
        for name, content in files.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
                continue
            if not isinstance(content, str):
                values = {".jsonl": map(json.dumps, content), ".txt": content}.get(path.suffix, [json.dumps(content)])
                content = "".join(f"{value}\n" for value in values)
            path.write_text(content, encoding="utf-8")
        return tmp_path / folder

    return write
