"""Clips rendered with PyAV, the number of each frame coded in its picture."""

import os
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 40))


def picture(number: int, height: int, width: int) -> np.ndarray:
    """Four colours above, the number's eight bits below, black and white."""
    image = np.zeros((height, width, 3), np.uint8)
    for place, colour in enumerate(COLOURS):
        image[: height // 2, place * width // 4 : (place + 1) * width // 4] = colour
    for bit in range(8):
        image[height // 2 :, bit * width // 8 : (bit + 1) * width // 8] = 235 if number >> bit & 1 else 20
    return image


def number(image: np.ndarray) -> int:
    """The number that `picture` coded."""
    height, width = image.shape[:2]
    return sum(int(image[int(height * 0.75), int((bit + 0.5) * width / 8)].mean() > 128) << bit for bit in range(8))


def render(
    path: Path,
    frames: int = 40,
    height: int = 64,
    width: int = 96,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    pixels: str = "yuv420p",
    milliseconds: list[int] | None = None,
    container: dict[str, str] | None = None,
    colorspace: int | None = None,
    numbers: Sequence[int] | None = None,
    upside_down: bool = False,
) -> Path:
    """Write a clip of `frames` pictures at 25 frames a second, or at the times given, of 0, 1 ... or `numbers`."""
    with av.open(str(path), "w", options=container or {}) as file:
        stream: Any = file.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        if colorspace is not None:
            stream.codec_context.colorspace = colorspace
        if milliseconds:
            stream.codec_context.time_base = Fraction(1, 1000)
        for place in range(frames):
            image = picture(place if numbers is None else numbers[place], height, width)
            image = np.ascontiguousarray(image[::-1, ::-1]) if upside_down else image
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            if colorspace is not None:
                frame = frame.reformat(format=pixels, dst_colorspace=colorspace)
            frame.pts = milliseconds[place] if milliseconds else place
            frame.time_base = Fraction(1, 1000 if milliseconds else 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    ordinary_priority()
    return path


def ordinary_priority() -> None:
    """Takes back what SVT-AV1 does where it may (as root): it makes the process real-time, and all others wait."""
    if hasattr(os, "sched_setscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        for thread in os.listdir("/proc/self/task"):
            os.sched_setscheduler(int(thread), os.SCHED_OTHER, os.sched_param(0))


def edit_list(source: Path, path: Path, start: int, milliseconds: int) -> Path:
    """A copy that presents a part only, as `ffmpeg -ss -c copy` or an editor's cut does: from time unit `start` on."""
    data = bytearray(source.read_bytes())
    place = data.index(b"elst")
    version, entries, _, media_time = struct.unpack(">IIii", data[place + 4 : place + 20])
    assert (version, entries) == (0, 1)
    data[place + 12 : place + 20] = struct.pack(">ii", milliseconds, media_time + start)
    path.write_bytes(data)
    return path


def rotate(source: Path, path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """A copy with the track's display matrix set to [[a, b], [c, d]], as phones do."""
    data = bytearray(source.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path
