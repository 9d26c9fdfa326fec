"""Text-video retrieval on one's own videos: a table of videos and captions, whatever its columns are called."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from litevl.data.annotations import VIDEO_EXTENSIONS, AnnotationError, MissingAnnotationsError, VideoCaptions, need
from litevl.data.benchmark import ORDER, Split
from litevl.data.lsmdc import is_lsmdc, lsmdc_records
from litevl.data.records import TABLES, TEXT_KEYS, VIDEO_KEYS, pick_key, read_records, read_segment, segment_name
from litevl.data.retrieval_set import CaptionMode, RetrievalSet, overlap_notes
from litevl.data.video_key import is_video_key

FILE_KEYS = ("path", "file", "video", "image", "clip_name", "video_id")
"""Names of the column that says the file, the most telling first; `VIDEO_KEYS` are in the order for the id."""
OTHER_KEYS = ("split", "start", "end")
SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validate": "val", "validation": "val",
    "dev": "val", "test": "test", "testing": "test",
}  # fmt: skip


@dataclass
class _Clip:
    """A clip with what its rows say of it."""

    file: str
    start: float | None
    end: float | None
    place: str
    captions: list[str] = field(default_factory=list)


def load_own(
    root: str | os.PathLike[str],
    caption_mode: CaptionMode,
    *,
    training: bool = True,
    files: Mapping[Split, Path] | None = None,
    videos: Path | None = None,
) -> RetrievalSet:
    """The splits of one's own data, from CSV, TSV, JSON lines, or JSON (a list of objects).

    A row has a video (`video`, `video_id`, `clip_name`, `path` or `file`) and a caption (`caption`, `captions`,
    `sentence`, `text` or `description`; in JSON also a list of them). A video's file is looked for below the root, with
    or without its extension. `start` and `end`, in seconds, make the row's clip a segment of its file. A column `split`
    says `train`, `val` or `test`; without one, each split has its own file. LSMDC's own lists are read too.

    Args:
        root: the folder of videos and annotations.
        caption_mode: how the captions of a clip are queries: `one`, `many`, or joined to a `paragraph`. Training clips
            may have several in mode `one` also.
        training: False asks for the test split alone.
        files: the file of each split, below the root or anywhere; by default `train`, `val` and `test` with the ending
            of a table, or the one table there is.
        videos: the folder that the rows' paths are below; the root if not given.

    Raises:
        FileNotFoundError: there is no such folder.
        AnnotationError: no such files, a row that lacks something, or clips both trained and tested on.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"expected the folder of your data, got {root}, which is not one")
    slots = _slots(root, {split: root / path for split, path in (files or {}).items()}, training)
    reading = _Reading(root, root if videos is None else videos, caption_mode)
    for path, splits in slots.items():
        free = {split for split in ORDER if not any(split in other for other in slots.values())}
        reading.read(path, splits, splits | free)
    wanted: tuple[Split, ...] = ("train", "test") if training else ("test",)
    for split in wanted:
        if not reading.clips[split]:
            read = ", ".join(str(path) for path in slots)
            raise MissingAnnotationsError(
                root,
                "",
                f"expected {split} clips, got none in {read}; mark them in a column split, or give {split}_file",
            )
    return reading.made(training, tuple(slots))


def _slots(root: Path, given: dict[Split, Path], training: bool) -> dict[Path, set[Split]]:
    """Each file with the splits that it stands for where it has no column `split`."""
    slots: dict[Path, set[Split]] = {}
    if given:
        for split, path in given.items():
            if training or split == "test":
                slots.setdefault(path, set()).add(split)
        if slots:
            return slots
    places = [place for place in (root, root / "annotations", root / "annotation") if place.is_dir()]
    tables = [p for place in places for p in sorted(place.iterdir()) if p.suffix.lower() in TABLES and p.is_file()]
    for split in ORDER if training else ("test",):
        named = [path for path in tables if SPLIT_NAMES.get(path.stem.lower()) == split]
        if len(named) > 1:
            names = " and ".join(str(path.relative_to(root)) for path in named)
            raise AnnotationError(root, "", f"expected one file of the {split} split, got {names}; give {split}_file")
        if named:
            slots[named[0]] = {split}
    if not slots and len(tables) == 1:
        return {tables[0]: set()}
    if not slots:
        seen = ", ".join(str(path.relative_to(root)) for path in tables) or "none"
        raise MissingAnnotationsError(
            root,
            "",
            "expected train.csv, val.csv and test.csv (or .tsv, .jsonl, .json), or one table with a column split; "
            f"got the tables {seen}; give train_file, val_file and test_file",
        )
    return slots


class _Reading:
    """Clips by split, gathered from rows."""

    def __init__(self, root: Path, videos: Path, mode: CaptionMode):
        self._root, self._videos, self._mode = root, videos, mode
        self.clips: dict[Split, dict[str, _Clip]] = {split: {} for split in ORDER}
        self._notes: list[str] = []
        self._schemas: list[str] = []

    def read(self, path: Path, splits: set[Split], allowed: set[Split]) -> None:
        """Take a file's rows: with a column `split` those of the allowed splits, else all into the splits it is for."""
        lsmdc = is_lsmdc(path)
        self._schemas.append("lsmdc" if lsmdc else path.suffix.lower().lstrip("."))
        records = lsmdc_records(path) if lsmdc else read_records(path)
        if isinstance(records, dict):
            raise AnnotationError(path, "", f"expected a list of objects, got an object with the keys {_few(records)}")
        if not records:
            raise AnnotationError(path, "", "expected rows of captioned videos, got none")
        marked = any(isinstance(row, dict) and "split" in row for _, row in records)
        unknown: dict[str, None] = {}
        left: dict[str, int] = {}
        again = 0
        for place, row in records:
            text = pick_key(row, TEXT_KEYS, "a caption", path, place)
            name, clip = self._clip(row, path, place)
            captions = _captions(row[text], path, place)
            unknown |= dict.fromkeys(key for key in row if key not in (*VIDEO_KEYS, *TEXT_KEYS, *OTHER_KEYS))
            if "split" not in row and (marked or not splits):
                got = "a row without one" if marked else "neither"
                raise AnnotationError(path, place, f"expected a column split, or a file for each split; got {got}")
            own = {_split(row["split"], path, place)} if "split" in row else splits
            if not own & allowed:
                left |= {str(row["split"]): left.get(str(row["split"]), 0) + 1}
            for split in ORDER:
                if split in own & allowed:
                    again += self._add(split, name, clip, captions, path, place)
        self._notes += [f"{path.name}: {n} rows of the split {split} are not used" for split, n in left.items()]
        if unknown:
            self._notes.append(f"{path.name}: columns not used: {', '.join(unknown)}{_bounds(list(unknown))}")
        if again:
            self._notes.append(f"{path.name}: {again} captions are given twice for one clip; both are taken")

    def _clip(self, row: dict[str, Any], path: Path, place: str) -> tuple[str, _Clip]:
        pick = next(((key,) for key in VIDEO_KEYS if key in row), VIDEO_KEYS)
        key = row[pick_key(row, pick, "a video", path, place)]
        file = self._relative(row[next(name for name in FILE_KEYS if name in row)], path, place)
        name = _without_extension(self._relative(key, path, place))
        start, end = read_segment(row, path, place)
        name = segment_name(name, start, end)
        return name, _Clip(file, start, end, f"{path.name}, {place}")

    def _relative(self, value: Any, path: Path, place: str) -> str:
        """A video's key below the folder of the videos; an absolute one is allowed if it lies there."""
        need(value, (str, int), path, place, "a video")
        text = str(value).strip().replace("\\", "/")
        if text.startswith("/"):
            folders = (self._videos.absolute(), self._videos.resolve())
            below = next((folder for folder in folders if Path(text).is_relative_to(folder)), None)
            if below is None:
                reason = f"expected a video below {self._videos}, got {text}; set videos to a folder that holds it"
                raise AnnotationError(path, place, reason)
            text = Path(text).relative_to(below).as_posix()
        text = re.sub(r"^(\./)+", "", text)
        if not is_video_key(text):
            raise AnnotationError(path, place, f"expected a video's name or path below the root, got {value!r:.80}")
        return text

    def _add(self, split: Split, name: str, clip: _Clip, captions: list[str], path: Path, place: str) -> int:
        """Put a row's captions with its clip; the number of them that it had before."""
        known = self.clips[split].setdefault(name, clip)
        if _without_extension(known.file) != _without_extension(clip.file):
            raise AnnotationError(
                path, place, f"{name} is the file {clip.file} here, {known.file} in {known.place}; give each its own id"
            )
        again = sum(caption in known.captions for caption in captions)
        known.captions += captions
        if self._mode == "one" and split != "train" and len(known.captions) > 1:
            reason = (
                f"expected one caption of {name}, got another (the first is in {known.place}); take it out, or choose "
                "the caption_mode 'many' (each is a query) or 'paragraph' (joined they are one)"
            )
            raise AnnotationError(path, place, reason)
        return again

    def made(self, training: bool, files: tuple[Path, ...]) -> RetrievalSet:
        """The splits, when all files are read."""
        names = {split: self.clips[split].keys() for split in ORDER}
        self._notes += overlap_notes(self._root, names["train"], names["val"], names["test"])
        self._same_files()
        if training and not self.clips["val"]:
            self._notes.append("no validation videos: the last epoch counts; a best one could only be chosen on test")
        train, val, test = (
            tuple(self._video(name, clip) for name, clip in self.clips[split].items())
            if training or split == "test"
            else ()
            for split in ORDER
        )
        schema = "+".join(dict.fromkeys(self._schemas))
        return RetrievalSet(
            "own data", self._mode, "train" if training else None, "test", train, val, test, schema, files,
            tuple(self._notes),
        )  # fmt: skip

    def _video(self, name: str, clip: _Clip) -> VideoCaptions:
        captions = (" ".join(clip.captions),) if self._mode == "paragraph" else tuple(clip.captions)
        file = None if clip.file == name else clip.file
        return VideoCaptions(name, captions, file=file, start=clip.start, end=clip.end)

    def _same_files(self) -> None:
        """Refuse one clip under two ids; note files that give clips to training and test."""
        seen: dict[tuple[str, float | None, float | None], tuple[str, str]] = {}
        for clips in self.clips.values():
            for name, clip in clips.items():
                key = (_without_extension(clip.file), clip.start, clip.end)
                other, place = seen.setdefault(key, (name, clip.place))
                if other != name:
                    reason = f"{name} is the same clip of {clip.file} as {other} in {place}; give it one id"
                    raise AnnotationError(self._root, clip.place, reason)
        train, test = ({_without_extension(c.file) for c in self.clips[split].values()} for split in ("train", "test"))
        if shared := sorted(train & test):
            self._notes.append(f"{len(shared)} files give clips to both train and test, as {shared[0]}")


def _captions(value: Any, path: Path, place: str) -> list[str]:
    need(value, (str, list), path, place, "a caption, or a list of them,")
    texts = [value] if isinstance(value, str) else value
    captions = [need(text, str, path, place, "a caption").strip() for text in texts]
    if not captions or not all(captions):
        raise AnnotationError(path, place, "expected a caption, got an empty one; take the row out or write one")
    return captions


def _split(value: Any, path: Path, place: str) -> Split:
    name = SPLIT_NAMES.get(str(value).strip().lower())
    if name is None:
        raise AnnotationError(path, place, f"expected the split train, val or test, got {value!r}")
    return name


def _without_extension(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    return stem if dot and stem and extension.lower() in VIDEO_EXTENSIONS else name


def _few(keys: Mapping[str, Any]) -> str:
    return ", ".join(list(keys)[:5]) or "none"


def _bounds(unknown: list[str]) -> str:
    meant = [name for name in unknown if re.search("start|begin|end|stop|time", name.lower())]
    return f"; a segment's seconds are read from `start` and `end`, not from {', '.join(meant)}" if meant else ""
