"""Hits as a picture: a row for each, frames of the segment beside what it is."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from litevl.data.video import VideoError

from .index import VideoIndex
from .results import Hit, shared_folder, times

FRAMES = 5
"""Of each hit."""
HEIGHT, MARGIN, TEXT = 120, 8, 34
"""Of a frame, around it, and of the two lines above it, in pixels."""

logger = logging.getLogger(__name__)


def check_picture(path: Path | None) -> None:
    """Checks before a search that its picture can be written.

    Raises:
        ValueError: of a format that Pillow does not write, or in a folder that is not there.
    """
    if path is None:
        return
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--save: expected a file in a folder that is there, got {path}")
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise ValueError(f"--save: expected a picture, as hits.png or hits.jpg, got {path}")


def contact_sheet(index: VideoIndex, query: str, hits: Sequence[Hit], frames: int = FRAMES) -> Image.Image:
    """Draws what a search found.

    Args:
        index: that was searched.
        query: the text.
        hits: the best first.
        frames: of each.

    Raises:
        ValueError: nothing to draw.
    """
    if not hits or frames < 1:
        raise ValueError(f"expected hits to draw and at least one frame of each, got {len(hits)} and {frames}")
    strips = [_strip(index, hit, frames) for hit in hits]
    width = max(strip.shape[1] for strip in strips) + 2 * MARGIN
    row = HEIGHT + TEXT + MARGIN
    sheet = Image.new("RGB", (width, TEXT + len(hits) * row), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    draw.text((MARGIN, MARGIN), f"“{query}”", "black", ImageFont.load_default(18))
    shared = shared_folder([hit.path for hit in hits])
    for place, (hit, strip) in enumerate(zip(hits, strips, strict=True)):
        top = TEXT + place * row
        draw.text((MARGIN, top), f"{place + 1}.  {os.path.relpath(hit.path, shared)}", "black", font)
        said = f"{times(hit.start, hit.end)}, score {hit.score:.3f}"
        said += "" if hit.match is None else f", match {100 * hit.match:.0f}%"
        draw.text((MARGIN, top + TEXT // 2), said, "dimgray", font)
        sheet.paste(Image.fromarray(strip), (MARGIN, top + TEXT))
    return sheet


def _strip(index: VideoIndex, hit: Hit, frames: int) -> UInt8[np.ndarray, "height width 3"]:
    """Frames of a segment side by side, in the video's shape; grey where it can't be read, which a warning names."""
    try:
        pictures = index.pictures(hit, frames)
    except VideoError as error:
        logger.warning("%s; its frames are drawn grey", error)
        pictures = np.full((frames, HEIGHT, HEIGHT, 3), 200, dtype=np.uint8)
    width = max(1, round(pictures.shape[2] * HEIGHT / pictures.shape[1]))
    small = [np.asarray(Image.fromarray(picture).resize((width, HEIGHT))) for picture in pictures]
    gap = np.full((HEIGHT, 2, 3), 255, dtype=np.uint8)
    return np.concatenate([part for picture in small for part in (picture, gap)], axis=1)
