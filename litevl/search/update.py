"""Bringing a catalog up to date with its folders: what is new is encoded, what is gone forgotten, the rest is left."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from litevl.data.video_index import VideoError

from .catalog import BadFile, Catalog
from .encoding import EncodedVideo, Progress
from .errors import SearchError
from .folder import Changes, compare, unwritable, videos_below
from .options import OnBad

Encode = Callable[[Sequence[Path]], Iterable[EncodedVideo | BadFile | Progress]]
NO_TEXT = "expected a name in UTF-8, got other bytes; rename it"


@dataclass
class Update:
    """What an update did."""

    added: list[Path] = field(default_factory=list)
    """Videos that were encoded for the first time."""
    changed: list[Path] = field(default_factory=list)
    """Videos that were encoded again, since their content is another."""
    moved: list[tuple[Path, Path]] = field(default_factory=list)
    """Videos that have another path, from and to; they were not encoded again."""
    removed: list[Path] = field(default_factory=list)
    """Videos that were forgotten, since their files are gone."""
    unchanged: int = 0
    """Videos that were left as they are."""
    bad: list[BadFile] = field(default_factory=list)
    """Videos of these folders that can't be read. They are tried again when they change."""
    segments: int = 0
    """That were encoded."""
    seconds: float = 0.0
    """That it took."""

    def to_json(self) -> dict[str, Any]:
        """What JSON holds."""
        return {
            "added": [str(path) for path in self.added],
            "changed": [str(path) for path in self.changed],
            "moved": [[str(path) for path in pair] for pair in self.moved],
            "removed": [str(path) for path in self.removed],
            "unchanged": self.unchanged,
            "bad": [{"path": str(file.path), "reason": file.reason} for file in self.bad],
            "segments": self.segments,
            "seconds": round(self.seconds, 2),
        }


def bring_up_to_date(
    catalog: Catalog,
    places: Sequence[Path],
    encode: Encode,
    on_bad: OnBad,
    limit: float,
    progress: bool,
) -> Update:
    """Takes in what has changed in folders.

    Args:
        catalog: of the index.
        places: folders, or single files; none for those that the catalog knows.
        encode: encodes videos, giving each when it is done.
        on_bad: what a video that can't be read does.
        limit: seconds after which it stops.
        progress: show a bar with the time left.

    Raises:
        SearchError: there is nothing to index; a folder that held videos has none now; or the limit is reached.
        VideoError: a video can't be read, and is not to be skipped.
    """
    began, update = time.perf_counter(), Update()
    places = [place.resolve() for place in places] or catalog.folders()
    if not places:
        raise SearchError("nothing to index: name a folder of videos")
    todo: dict[Path, Changes] = {}
    nameless: dict[Path, BadFile] = {}
    for place in places:
        changes, unnamed = _look(catalog, place)
        nameless |= {bad.path: bad for bad in unnamed}
        _settle(catalog, place, changes, update)
        todo |= dict.fromkeys(changes.added, changes)
    for bad in nameless.values():
        if on_bad == "error":
            raise _refused(bad)
    _encode(catalog, todo, encode, on_bad, update, began + limit, progress)
    below = [bad for bad in catalog.bad() if any(place in (bad.path, *bad.path.parents) for place in places)]
    update.bad, update.seconds = [*below, *nameless.values()], time.perf_counter() - began
    return update


def forget(catalog: Catalog, places: Sequence[Path]) -> int:
    """Takes folders or files out of a catalog; how many videos that were.

    Raises:
        SearchError: it knows none of them.
    """
    number = 0
    for place in places:
        place = place.resolve()
        known = catalog.stamps(place)
        if not known and place not in catalog.folders():
            raise SearchError(f"{place}: expected a folder or file of this index, got another")
        catalog.remove(known)
        catalog.remove_folder(place)
        number += len(known)
    return number


def _look(catalog: Catalog, place: Path) -> tuple[Changes, list[BadFile]]:
    """What has become of a folder, and the files in it that can't be told apart by a name."""
    if (spelled := unwritable(place)) is not None:
        raise SearchError(f"{spelled}: {NO_TEXT}")
    known = catalog.stamps(place)
    try:
        there = videos_below(place)
    except FileNotFoundError as error:
        if place not in known:  # a file that was indexed by its own name may go
            held = "" if not known else f"; it held {len(known)} videos: if they are gone for good, --forget it"
            raise SearchError(f"{error}{held}") from error
        there = []
    spelled_out = {path: unwritable(path) for path in there}
    unnamed = [BadFile(Path(spelled), NO_TEXT) for spelled in spelled_out.values() if spelled is not None]
    there = [path for path, spelled in spelled_out.items() if spelled is None]
    if not there and not unnamed and place not in known and (known or place not in catalog.folders()):
        gone = f"it held {len(known)} when it was indexed: is its disk mounted? If they are gone for good, --forget it"
        raise SearchError(f"{place}: expected videos below it, found none; {gone if known else 'name another folder'}")
    return compare(there, known), unnamed


def _refused(bad: BadFile) -> VideoError:
    return VideoError(bad.path, f"{bad.reason}; --on-bad-video skip goes on without such files")


def _settle(catalog: Catalog, place: Path, changes: Changes, update: Update) -> None:
    """Does all that needs no model."""
    catalog.add_folder(place)
    for source, target in changes.moved:
        catalog.move(source, target)
    removed = [path for path in changes.gone if path not in changes.stamps]
    catalog.remove(removed)
    if place in removed:
        catalog.remove_folder(place)
    update.moved += changes.moved
    update.removed += removed
    update.unchanged += len(changes.stamps) - len(changes.added) - len(changes.moved)


def _encode(
    catalog: Catalog,
    todo: dict[Path, Changes],
    encode: Encode,
    on_bad: OnBad,
    update: Update,
    until: float,
    progress: bool,
) -> None:
    if not todo:
        return
    sizes = {path: max(1, changes.stamps[path].size) for path, changes in todo.items()}
    with tqdm(total=sum(sizes.values()), unit="B", unit_scale=True, desc="encode videos", disable=not progress) as bar:
        done = 0
        for result in encode(list(todo)):
            if time.perf_counter() > until:
                raise SearchError("encoding took too long, so it was stopped; what was done before can be searched")
            if isinstance(result, Progress):
                bar.update(min(round(sizes[result.path] * result.share), bar.total - bar.n))
                continue
            changes = todo[result.path]
            stamp = changes.stamps[result.path]
            if isinstance(result, BadFile):
                if on_bad == "error":
                    raise _refused(result)
                bar.write(f"left out: {result.path}: {result.reason}", file=sys.stderr)
                catalog.put_bad(result.path, stamp, result.reason)
                continue
            segments, again = result.segments, result.path in changes.gone
            catalog.put(result.path, stamp, result.seconds, segments, result.embeddings, result.tokens)
            (update.changed if again else update.added).append(result.path)
            update.segments += len(segments)
            done += 1
            bar.set_postfix_str(f"{done:,} of {len(todo):,} videos", refresh=False)
        bar.update(bar.total - bar.n)
