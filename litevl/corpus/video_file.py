"""Writing one H.264 MP4 file."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FRAMES_PER_SECOND = 15


def write_video(path: Path, frames: Iterable[np.ndarray]) -> None:
    """Encode RGB frames as H.264 (libx264, yuv420p) in an MP4 file.

    Every frame is a key frame of constant quantiser, so its coding depends on nothing but itself: a clip of the same
    frames in reversed order decodes to exactly the reversed frames, and no trace of the encoder tells which of the two
    came first.

    Args:
        path: the file to write.
        frames: arrays of shape (height, width, 3), uint8, of one size.
    """
    with av.open(str(path), "w") as container:
        options = {"qp": "20", "g": "1", "bf": "0", "preset": "veryfast", "threads": "1"}
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=options)
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, FRAMES_PER_SECOND)
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if number == 0:
                stream.width, stream.height = picture.width, picture.height
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
