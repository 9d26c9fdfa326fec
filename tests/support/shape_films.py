"""Videos of shapes that stand still, one after the other."""

from pathlib import Path

import av
import numpy as np

from litevl.corpus.drawing import SIDE, Ground, Mark, draw

SECONDS, RATE = 4, 5
HOSTILE = "<img src=x onerror=document.title='broken'> ${40+2} {{value.note}}.mp4"
"""A name that would run, or change, in a page that took it for more than a name."""
VIDEOS = {
    "shapes.mp4": [("circle", "red"), ("star", "blue"), ("triangle", "yellow")],
    HOSTILE: [("square", "green")],
    "old.avi": [("circle", "purple")],
}
"""Four seconds of each shape."""


def film(path: Path, shapes: list[tuple[str, str]], codec: str = "libx264") -> Path:
    """Writes a video of shapes and their colours."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for shape, colour in shapes:
            picture = draw(Ground("plain", "gray"), (Mark(shape, colour, SIDE // 2, SIDE // 2, SIDE // 5),))
            for _ in range(SECONDS * RATE):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")))
        container.mux(stream.encode(None))
    return path
