"""Small data sets in the field's schemas, with clips that differ from each other."""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from rendered_clips import render


@cache
def clip(number: int) -> bytes:
    """A video file; another number gives another content."""
    with TemporaryDirectory() as folder:
        return render(Path(folder) / "clip.mp4", 5 + number, 32, 48, options={"preset": "ultrafast"}).read_bytes()


def put(root: Path, files: dict) -> Path:
    """Writes files: bytes, text, a number for that clip, else JSON, in lines where the name says so."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, int):
            content = clip(content)
        elif path.suffix == ".jsonl":
            content = "".join(json.dumps(row) + "\n" for row in content)
        elif not isinstance(content, str | bytes):
            content = json.dumps(content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def pool(splits: dict, captions: int = 2) -> dict:
    """MSR-VTT's own form: videos of splits with so many captions each."""
    return {
        "videos": [{"video_id": video, "split": split} for split, videos in splits.items() for video in videos],
        "sentences": [
            {"sen_id": number, "video_id": video, "caption": f"{video} does thing {number}"}
            for videos in splits.values()
            for video in videos
            for number in range(captions)
        ],
    }


def msrvtt(root: Path) -> Path:
    """Two videos to train on, one each to validate and to test, all there, with questions."""
    splits = {"train": ["video0", "video1"], "validate": ["video2"], "test": ["video3"]}
    asked = {"train": [0, 0, 1], "val": [2], "test": [3]}
    return put(
        root,
        {
            "MSRVTT_data.json": pool(splits),
            **{f"videos/video{number}.mp4": number for number in range(4)},
            **{
                f"{split}_qa.json": [
                    {"id": place, "video_id": video, "question": f"what is thing {place}?", "answer": "bike"}
                    for place, video in enumerate(videos)
                ]
                for split, videos in asked.items()
            },
        },
    )


def own(root: Path, rows: dict[str, list], header: str = "video,caption") -> Path:
    """Tables of one's own, by split."""
    tables = {
        f"{split}.csv": "\n".join([header, *(",".join(map(str, row)) for row in rows[split]), ""]) for split in rows
    }
    return put(root, tables)
