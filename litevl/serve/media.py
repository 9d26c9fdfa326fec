"""A hit's video and a picture of it, by the segment's id: no path ever comes from a browser.

What browsers play is streamed from its file, in the ranges that they ask for; of other formats the segment is cut out
and encoded as H.264. What is decoded is so by the index's `call`.
"""

import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

from PIL import Image

from litevl.adapters.aside import ABANDONED, clear_asides, file_aside
from litevl.data.video import VideoError
from litevl.data.video_index import index_video
from litevl.search import VideoIndex
from litevl.search.catalog import Entry
from litevl.search.decoding import read_segment
from litevl.search.segments import Segment

from .cutting import WIDEST, cut_out

PLAYED = {"mov": frozenset({"h264", "av1"}), "matroska": frozenset({"vp8", "vp9", "av1"})}
"""Codecs that every browser plays, by the container's first name; Matroska where the file's name ends in .webm."""
TYPES = {"mov": "video/mp4", "matroska": "video/webm"}
FOREVER = {"Cache-Control": "private, max-age=86400, immutable", "X-Content-Type-Options": "nosniff"}
"""An id stands for the same segment for ever."""


class Media:
    """Videos and pictures of an index's segments.

    Args:
        index: whose segments they are.
        cuts: a folder for what is cut out.
        most: bytes of it that are kept, of the newest.
    """

    def __init__(self, index: VideoIndex, cuts: Path, most: float = 5e8):
        self.index, self.cuts, self._most = index, cuts, most
        self._tidying = Lock()
        self.cuts.mkdir(parents=True, exist_ok=True)
        self.picture: Callable[[int], tuple[bytes, tuple[int, int]]] = lru_cache(1024)(self._picture)
        """The picture in a segment's middle, as a file, and the width and height of the video."""
        self.file = lru_cache(1024)(self._file)
        """The file that plays a segment, and its type."""
        self.tidy()

    def tidy(self) -> None:
        """Deletes what was cut out of segments that are gone, and the oldest of what is more than is kept."""
        with self._tidying:
            known, held = {self._cut(id) for id in self.index.catalog.segment_ids()}, 0
            clear_asides(self.cuts, ABANDONED)
            found = {path: path.stat() for path in self.cuts.glob("*.mp4")}
            for path in sorted(found, key=lambda path: found[path].st_mtime_ns, reverse=True):
                held += found[path].st_size
                if path not in known or held > self._most:
                    path.unlink(missing_ok=True)
                    self.file.cache_clear()

    def address(self, kind: str, id: int) -> str:
        """Where a browser finds a segment's `video` or `picture`."""
        return f"/media/{quote(self.index.record.id)}/{id}/{kind}"

    def plays_whole(self, id: int) -> bool:
        """Whether browsers play the file as it is; otherwise its segment alone is cut out."""
        return self.file(id)[0] == self._entry(id).path

    def _picture(self, id: int) -> tuple[bytes, tuple[int, int]]:
        entry = self._entry(id)
        segment = Segment(entry.start, entry.end)
        (frame,) = self.index.call(read_segment, entry.path, segment, 1, self.index.config.decoder)
        picture = Image.fromarray(frame)
        size = picture.size
        picture.thumbnail((WIDEST // 2, WIDEST // 2))
        return encoded(picture), size

    def _file(self, id: int) -> tuple[Path, str]:
        entry = self._entry(id)
        found = self.index.call(index_video, entry.path)
        kind = found.container.split(",")[0]
        webm = kind != "matroska" or entry.path.suffix.lower() == ".webm"
        if found.codec in PLAYED.get(kind, ()) and webm:
            return entry.path, TYPES[kind]
        cut = self._cut(id)
        if not cut.is_file():
            with file_aside(cut) as aside:
                self.index.call(cut_out, entry.path, Segment(entry.start, entry.end), self.index.config.decoder, aside)
            self.tidy()
        return cut, TYPES["mov"]

    def _cut(self, id: int) -> Path:
        # Another index that uploads lie here for has the same numbers.
        return self.cuts / f"{self.index.record.id}-{id}.mp4"

    def _entry(self, id: int) -> Entry:
        found = self.index.catalog.entries([id])
        if id not in found:
            raise VideoError(Path(str(id)), "expected a segment of this index; it was changed or removed since")
        return found[id]


def encoded(picture: Image.Image) -> bytes:
    """A picture as a file: a small one exactly, a larger one as JPEG."""
    buffer = io.BytesIO()
    if picture.width <= WIDEST // 4:
        picture.save(buffer, "PNG")
    else:
        picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


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
            # FileResponse looks only when the answer has begun, and waits at a pipe.
            if not path.is_file():
                raise FileNotFoundError(path)
        except (OSError, VideoError) as error:
            raise HTTPException(404, "this video can't be read any more") from error
        return FileResponse(path, media_type=kind, headers=FOREVER)

    return router
