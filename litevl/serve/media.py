"""A hit's video and a picture of it, by the segment's id: no path ever comes from a browser.

What browsers play is streamed from its file, in the ranges that they ask for; of other formats the segment is cut out
and encoded as H.264.
"""

import io
import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import quote

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from litevl.data.cores import usable_cores
from litevl.data.video import VideoError
from litevl.data.video_index import index_video
from litevl.search import VideoIndex
from litevl.search.catalog import Entry
from litevl.search.decoding import read_segment
from litevl.search.segments import Segment, windows

PLAYED = {"mov": frozenset({"h264", "av1"}), "matroska": frozenset({"vp8", "vp9", "av1"})}
"""Codecs that every browser plays, by the container's first name; Matroska where the file's name ends in .webm."""
TYPES = {"mov": "video/mp4", "matroska": "video/webm"}
RATE = 12
"""Frames a second of what is cut out."""
LONGEST = 60
"""Seconds of it."""
WIDEST = 640
"""Pixels that its pictures are wide, and those of a list's, at most."""
FOREVER = {"Cache-Control": "private, max-age=86400, immutable", "X-Content-Type-Options": "nosniff"}
"""An id stands for the same segment for ever."""


class Media:
    """Videos and pictures of an index's segments.

    Args:
        index: whose segments they are.
        cuts: a folder for what is cut out.
    """

    def __init__(self, index: VideoIndex, cuts: Path):
        self.index, self.cuts = index, cuts
        self.cuts.mkdir(parents=True, exist_ok=True)
        self._decoding = BoundedSemaphore(usable_cores())
        self.picture: Callable[[int], tuple[bytes, tuple[int, int]]] = lru_cache(1024)(self._picture)
        """The picture in a segment's middle, as a file, and the width and height of the video."""
        self.file: Callable[[int], tuple[Path, str]] = lru_cache(1024)(self._file)
        """The file that plays a segment, and its type."""

    def address(self, kind: str, id: int) -> str:
        """Where a browser finds a segment's `video` or `picture`."""
        return f"/media/{quote(self.index.record.id)}/{id}/{kind}"

    def plays_whole(self, id: int) -> bool:
        """Whether browsers play the file as it is; otherwise its segment alone is cut out."""
        return self.file(id)[0] == self._entry(id).path

    def _picture(self, id: int) -> tuple[bytes, tuple[int, int]]:
        entry = self._entry(id)
        picture = Image.fromarray(self._frames(entry.path, Segment(entry.start, entry.end), 1)[0])
        size = picture.size
        picture.thumbnail((WIDEST // 2, WIDEST // 2))
        return encoded(picture), size

    def _file(self, id: int) -> tuple[Path, str]:
        entry = self._entry(id)
        found = index_video(entry.path)
        kind = found.container.split(",")[0]
        webm = kind != "matroska" or entry.path.suffix.lower() == ".webm"
        if found.codec in PLAYED.get(kind, ()) and webm:
            return entry.path, TYPES[kind]
        cut = self.cuts / f"{id}.mp4"
        if not cut.is_file():
            aside = self.cuts / f".{id}-{os.urandom(4).hex()}.mp4"
            try:
                self._cut(entry, aside)
                os.replace(aside, cut)
            finally:
                aside.unlink(missing_ok=True)
        return cut, TYPES["mov"]

    def _cut(self, entry: Entry, path: Path) -> None:
        # A second at a time: pictures of a long segment would fill the memory.
        parts = windows(entry.start, entry.end, 1.0)[:LONGEST]
        length = parts[0].end - parts[0].start
        each = max(1, round(RATE * length))
        pictures = (picture for part in parts for picture in self._frames(entry.path, part, each))
        write_mp4(path, pictures, Fraction(each / length).limit_denominator(1000))

    def _entry(self, id: int) -> Entry:
        found = self.index.catalog.entries([id])
        if id not in found:
            raise VideoError(Path(str(id)), "expected a segment of this index; it was changed or removed since")
        return found[id]

    def _frames(self, path: Path, segment: Segment, number: int) -> UInt8[np.ndarray, "time height width 3"]:
        with self._decoding:
            return read_segment(path, segment, number, self.index.config.decoder)


def encoded(picture: Image.Image) -> bytes:
    """A picture as a file: a small one exactly, a larger one as JPEG."""
    buffer = io.BytesIO()
    if picture.width <= WIDEST // 4:
        picture.save(buffer, "PNG")
    else:
        picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def write_mp4(path: Path, pictures: Iterable[UInt8[np.ndarray, "height width 3"]], rate: Fraction) -> None:
    """Encodes pictures of one size as an H.264 file that plays while it loads, at most `WIDEST` pixels wide."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20"})
        stream.pix_fmt = "yuv420p"
        for number, picture in enumerate(pictures):
            if number == 0:
                scale = min(1.0, WIDEST / picture.shape[1])
                stream.width, stream.height = (max(2, round(side * scale) // 2 * 2) for side in picture.shape[1::-1])
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame.reformat(stream.width, stream.height, format="yuv420p")))
        container.mux(stream.encode(None))


def routes(media: Media) -> Any:
    """The addresses that `Media.address` gives.

    Returns:
        A FastAPI router.
    """
    from fastapi import APIRouter, HTTPException
    from fastapi.responses import FileResponse, Response

    router = APIRouter(prefix=f"/media/{media.index.record.id}", include_in_schema=False)

    @router.get("/{id}/picture")
    def picture(id: int) -> Response:
        try:
            found, _ = media.picture(id)
        except (OSError, VideoError) as error:
            raise HTTPException(404, "this video can't be read any more") from error
        kind = "image/png" if found.startswith(b"\x89PNG") else "image/jpeg"
        return Response(found, media_type=kind, headers=FOREVER)

    @router.get("/{id}/video")
    def video(id: int) -> FileResponse:
        try:
            path, kind = media.file(id)
            # FileResponse looks only when the answer has begun.
            path.stat()
        except (OSError, VideoError) as error:
            raise HTTPException(404, "this video can't be read any more") from error
        return FileResponse(path, media_type=kind, headers=FOREVER)

    return router
