"""`litevl encode` and `litevl index`: an index of a folder of videos, made and kept up to date."""

import json as json_format
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from litevl.commands.failure import fail
from litevl.data.video import Decoder
from litevl.search.options import DECODE_TIMEOUT, Cut, OnBad, Precision

if TYPE_CHECKING:
    from litevl.search import IndexConfig, Update, VideoIndex

INDEX = Path("litevl-index")
"""Where an index is, by default."""


@dataclass(frozen=True)
class Making:
    """How an index is made. Of an index that is there these hold already; others are refused."""

    backbone: str | None = None
    """A hub id, a transformers folder, an original or LAVIS .pth file, or `embedded`, the small BLIP that ships, which
    is the default. With --adapter, where its backbone is now, if that is not where it was in training."""
    adapter: Path | None = None
    """The folder of a finished run, or of saved adapters; without one BLIP takes a clip frame by frame."""
    vocab: str | None = None
    """For a .pth backbone without a vocab.txt beside it: BERT's vocabulary file, or a hub id that has it."""
    cut: Cut | None = None
    """How videos are cut into segments: `windows` of equal length (the default), `shots` where the picture changes at
    once, or the `whole` video as one."""
    seconds: float | None = None
    """About how long a window is, and the longest shot; by default 10."""
    frames: int | None = None
    """Of a segment; by default as many as the adapter was trained with, 8 without one."""
    tokens: Precision | None = None
    """Keep the segments' tokens on disk for re-ranking: `float16` (the default; 2.4 MB a segment by ViT-B at 224
    pixels), `float32`, or `none`, by which re-ranking decodes and encodes its candidates again."""
    decoder: Decoder | None = None
    """What to decode with; by default the first that reads a file rightly."""
    store: str | None = None
    """Where the vectors are kept: by default in the index; `s3://BUCKET/PATH`, or `db://NAME`, a LanceDB server."""

    def config(self, folder: Path) -> "IndexConfig | None":
        """The settings of an index; what is not given is as the index has it, or by default."""
        from dataclasses import replace

        from litevl.search import IndexConfig
        from litevl.search.record import read

        if all(getattr(self, field.name) is None for field in fields(self)):
            return None
        about = read(folder)
        made = IndexConfig() if about is None else about.config
        source = replace(made.source, **_given(backbone=self.backbone, adapter=self.adapter, vocab=self.vocab))
        segments = replace(made.segments, **_given(cut=self.cut, seconds=self.seconds))
        others = _given(num_frames=self.frames, tokens=self.tokens, decoder=self.decoder, store=self.store)
        return replace(made, source=source, segments=segments, **others)


@dataclass(frozen=True)
class Encoding:
    """How videos are decoded and encoded, each time anew."""

    on_bad_video: OnBad = "skip"
    """`skip` names a video that can't be read and goes on; `error` stops. One that was skipped is tried again when it
    has changed, or after `litevl index --forget` of it."""
    workers: int | None = None
    """Processes that decode; by default one a core with a GPU, two without."""
    decode_timeout: float = DECODE_TIMEOUT
    """Seconds that such a process may take to a video's next segment; then it is killed, and the video is a bad one."""
    batch_size: int = 16
    """Segments encoded at a time."""
    device: str | None = None
    """For the model, as cpu or cuda:0; by default a GPU where there is one."""


def encode(
    videos: Positional[tuple[Path, ...]] = (),
    index: Path = INDEX,
    json: bool = False,
    encoding: Annotated[Encoding, tyro.conf.arg(name="")] = Encoding(),
    making: Annotated[Making, tyro.conf.arg(name="")] = Making(),
) -> int:
    """Encodes the videos of a folder for searching, without making them searchable yet; `litevl index` does both.

    Videos are cut into segments with start and end times, decoded in parallel and encoded by the model. What is encoded
    already is left; stopped or killed, the next run goes on with the video it was at.

    Exit code: 0, 1 where videos could not be read, or 2 where nothing could be done.

    As in

    litevl encode /data/videos --adapter runs/mine --cut shots

    Args:
        videos: folders, with all that is below them, or files; by default those that the index knows.
        index: the index's folder, made if it is not there.
        json: print what was done as JSON. Progress goes to standard error.
        encoding: how videos are decoded and encoded now.
        making: how an index is made.
    """
    return _update(False, videos, index, json, encoding, making)


def index(
    videos: Positional[tuple[Path, ...]] = (),
    index: Path = INDEX,
    forget: bool = False,
    json: bool = False,
    encoding: Annotated[Encoding, tyro.conf.arg(name="")] = Encoding(),
    making: Annotated[Making, tyro.conf.arg(name="")] = Making(),
) -> int:
    """Makes the videos of a folder searchable, and brings an index up to date with its folders.

    Encodes what is new or changed, as `litevl encode` does, notices what was moved or deleted, and puts all of that
    into the vector store; what is as it was is not touched. While it runs, the index can be searched; two can't update
    one index at once. It is bound to the model that made it, by a fingerprint of all its weights.

    Needs the vector store: pip install 'litevl[search]'.

    Exit code: 0, 1 where videos could not be read, or 2 where nothing could be done.

    As in

    litevl index /data/videos

    litevl index /data/videos --index my-index --backbone Salesforce/blip-itm-base-coco --adapter runs/mine

    litevl index

    Args:
        videos: folders, with all that is below them, or files; by default those that the index knows.
        index: the index's folder, made if it is not there.
        forget: take the named folders or files out of the index instead, though they may still be there.
        json: print what was done as JSON. Progress goes to standard error.
        encoding: how videos are decoded and encoded now.
        making: how an index is made.
    """
    if forget:
        return _forget(videos, index, json)
    return _update(True, videos, index, json, encoding, making)


def _forget(videos: tuple[Path, ...], folder: Path, as_json: bool) -> int:
    from litevl.search import SearchError, VideoIndex

    try:
        number = VideoIndex.open(folder).forget(*videos)
    except (ImportError, OSError, SearchError) as error:
        return fail(error)
    told = {"index": str(folder), "forgotten": number}
    print(json_format.dumps(told, indent=2) if as_json else f"{number:,} videos taken out of {folder}")
    return 0


def _update(
    searchable: bool, videos: tuple[Path, ...], folder: Path, as_json: bool, encoding: Encoding, making: Making
) -> int:
    from litevl.data.video_index import VideoError
    from litevl.search import SearchError, VideoIndex

    try:
        found = VideoIndex.create(folder, making.config(folder), encoding.device)
        done = found.update(
            *videos,
            searchable=searchable,
            on_bad=encoding.on_bad_video,
            workers=encoding.workers,
            batch_size=encoding.batch_size,
            decode_timeout=encoding.decode_timeout,
        )
    except (ImportError, OSError, RuntimeError, SearchError, ValueError, VideoError) as error:
        return fail(error)
    if as_json:
        print(json_format.dumps({"index": str(folder), **counts(found), **done.to_json()}, indent=2))
    else:
        print(summary(found, done, searchable))
    return 1 if done.bad else 0


def counts(index: "VideoIndex") -> dict[str, Any]:
    """How much an index holds."""
    videos, segments, seconds = index.catalog.counts()
    return {"videos": videos, "indexed_segments": segments, "hours": round(seconds / 3600, 3)}


def summary(index: "VideoIndex", done: "Update", searchable: bool) -> str:
    """What was done, in a few lines."""
    held = counts(index)
    lines = [
        f"{len(done.added):,} added, {len(done.changed):,} changed, {len(done.moved):,} moved, "
        f"{len(done.removed):,} removed, {done.unchanged:,} unchanged, {len(done.bad):,} bad; {done.seconds:.1f} s"
    ]
    lines += [f"bad: {file.path}: {file.reason}" for file in done.bad]
    lines.append(
        f"{index.folder}: {held['videos']:,} videos, {held['indexed_segments']:,} segments, {held['hours']:.2f} hours, "
        f"by {index.record.maker}"
    )
    where = "" if index.folder == INDEX else f" --index {index.folder}"
    lines.append(f'next: litevl search "..."{where}' if searchable else f"next: litevl index{where}")
    return "\n".join(lines)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
