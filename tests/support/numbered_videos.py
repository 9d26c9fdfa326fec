"""Videos of every kind, each of which shows its own number in every frame: what a batch holds is told by its pixels."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
from rendered_clips import edit_list, number, render, rotate
from torch import Tensor

H264 = {"crf": "12", "g": "10"}
TIMES = [40 * i + 13 * (i % 3) + (900 if i > 20 else 0) for i in range(40)]
HIDDEN = 200
"""What the frames show that an edit list hides."""


def plain(path: Path, shown: int, frames: int = 40, **how: Any) -> Path:
    return render(path, frames, options=how.pop("options", H264), numbers=[shown] * frames, **how)


def rotated(path: Path, shown: int) -> Path:
    source = plain(path.with_name(f"upright {path.name}"), shown, upside_down=True)
    rotate(source, path, (-1, 0, 0, -1))
    source.unlink()
    return path


def edited(path: Path, shown: int) -> Path:
    source = path.with_name(f"whole {path.name}")
    render(source, 40, options=H264, numbers=[HIDDEN] * 15 + [shown] * 15 + [HIDDEN] * 10)
    edit_list(source, path, 15 * 512, 600)
    source.unlink()
    return path


def _encoder(name: str, pixels: str) -> bool:
    try:
        formats = av.codec.Codec(name, "w").video_formats or ()
    except av.codec.codec.UnknownCodecError:
        return False
    return pixels in [each.name for each in formats]


def _audio(path: Path, shown: int) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())


def _no_frames(path: Path, shown: int) -> None:
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        file.start_encoding()


def _corrupt(path: Path, shown: int) -> None:
    data = bytearray(plain(path, shown, container={"movflags": "faststart"}).read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(data)


def _truncated(path: Path, shown: int) -> None:
    path.write_bytes(plain(path, shown, container={"movflags": "faststart"}).read_bytes()[:-40])


def _unreadable(path: Path, shown: int) -> None:
    plain(path, shown).chmod(0)


TEN_BIT = next((name for name in ("libx264", "libx265") if _encoder(name, "yuv420p10le")), None)
READ: Mapping[str, tuple[str, Callable[[Path, int], Any] | None]] = {
    "plain": ("mp4", plain),
    "one frame": ("mp4", lambda path, shown: plain(path, shown, 1)),
    "variable frame rate": ("mp4", lambda path, shown: plain(path, shown, milliseconds=TIMES)),
    "rotated": ("mp4", rotated),
    "edit list": ("mp4", edited),
    "10-bit": ("mp4", TEN_BIT and (lambda path, shown: plain(path, shown, codec=TEN_BIT, pixels="yuv420p10le"))),
    "AV1": (
        "mp4",
        (lambda path, shown: plain(path, shown, codec="libsvtav1", options={"crf": "20"}))
        if _encoder("libsvtav1", "yuv420p")
        else None,
    ),
    "GIF": ("gif", lambda path, shown: plain(path, shown, codec="gif", pixels="rgb8", options={})),
}
"""Kinds of video that are read, each with the file's ending; None where this PyAV cannot write it."""
UNREADABLE: Mapping[str, tuple[Callable[[Path, int], Any], str]] = {
    "corrupt": (_corrupt, "cannot be decoded|cannot decode it|damaged"),
    "truncated": (_truncated, "cut short"),
    "zero bytes": (lambda path, shown: path.write_bytes(b""), "0 bytes"),
    "audio only": (_audio, "without one .streams: audio"),
    "zero frames": (_no_frames, "at least one video frame|without one|damaged or foreign"),
    "text": (lambda path, shown: path.write_text("<html>404 Not Found</html>\n" * 50), "damaged or foreign data"),
    "a folder": (lambda path, shown: path.mkdir(), "no file for the video"),
    "missing": (lambda path, shown: None, "no file for the video"),
    **({} if os.geteuid() == 0 else {"not permitted": (_unreadable, "permission denied")}),
}
"""Kinds that are not, and what the error says."""


def shown(frames: Tensor) -> set[int]:
    """The numbers that the frames (time, 3, height, width) of a clip show, in grey levels."""
    return {number(frame.permute(1, 2, 0).numpy()) for frame in frames}
