"""A segment cut out of a video that browsers do not play, as a file that they do; no torch, see `FreshProcess`."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8

from litevl.data.fresh_process import beat
from litevl.data.video import Decoder
from litevl.search.decoding import read_segments
from litevl.search.segments import Segment, windows

RATE = 12
"""Frames a second of what is cut out."""
LONGEST = 60
"""Seconds of it."""
WIDEST = 640
"""Pixels that its pictures are wide, and those of a list's, at most."""


def cut_out(path: Path, segment: Segment, decoder: Decoder, target: Path) -> None:
    """Writes a segment of a video, or its first minute, as a file of its own that browsers play.

    Raises:
        VideoError: the video can't be read.
    """
    # A second at a time: pictures of a long segment would fill the memory.
    parts = windows(segment.start, segment.end, 1.0)[:LONGEST]
    length = parts[0].end - parts[0].start
    each = max(1, round(RATE * length))

    def pictures() -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        for part in read_segments(path, parts, each, decoder):
            yield from part
            beat()

    write_mp4(target, pictures(), Fraction(each / length).limit_denominator(1000))


def write_mp4(path: Path, pictures: Iterable[UInt8[np.ndarray, "height width 3"]], rate: Fraction) -> None:
    """Encodes pictures of one size as an H.264 file that plays while it loads, at most `WIDEST` pixels wide."""
    with av.open(str(path), "w", "mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20"})
        stream.pix_fmt = "yuv420p"
        for number, picture in enumerate(pictures):
            if number == 0:
                scale = min(1.0, WIDEST / picture.shape[1])
                stream.width, stream.height = (max(2, round(side * scale) // 2 * 2) for side in picture.shape[1::-1])
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame.reformat(stream.width, stream.height, format="yuv420p")))
        container.mux(stream.encode(None))
