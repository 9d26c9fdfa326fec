"""The annotation files of a data set that has a file per split, or one of captions and a list per split.

Which file is what is told by its name, else by its keys. What a file says is read by its keys alone, since the same
name (as `train.json`) stands for several forms.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from litevl.data.annotations import AnnotationError, need, read_json, read_text, video_name
from litevl.data.plain_pickle import read_pickle
from litevl.data.records import TABLES, TEXT_KEYS, VIDEO_KEYS, Records, pick_key, read_records

Schema = Literal["original", "clip4clip", "xpool", "jsonl", "lavis", "singularity", "testa"]
"""The release's own files, CLIP4Clip's, X-Pool's, ALPRO's and all-in-one's JSON lines, LAVIS's, those of Singularity,
VindLU and UMT, TESTA's one-line lists."""
Content = Literal["captions", "pool", "ids"]
Name = Callable[[Any, Path, str], str]
"""From a key, its file and place to the one spelling of a video's id."""


@dataclass(frozen=True)
class SplitFile:
    """What a file is, by its name or its keys."""

    path: Path
    schema: Schema
    content: Content
    """`captions`: a split's videos with their captions; `pool`: the captions of all splits; `ids`: a split's videos."""
    split: str = ""
    """As in the file's name: `train`, `val_1`; nothing where it says none."""


FileNames = tuple[tuple[str, Schema | None, Content, str], ...]
"""Patterns of names, and what such files are. A pattern's group `split` says the split. No schema: ask the keys;
rows are TESTA's."""

INNER = ("", "annotation", "annotations", "txt", "anno_downstream")
DATASETS = {
    "MSR-VTT": "msr[-_]?vtt",
    "MSVD": "msvd",
    "DiDeMo": "didemo",
    "ActivityNet Captions": "activity_?net|(?<![a-z])anet(?![a-z])",
    "LSMDC": "lsmdc",
    "VATEX": "vatex",
}
"""What their files' names hold."""
NOT_ANNOTATIONS = re.compile(r"(^|[_\-.])(qa|mc|ans2label|answer|vocab|config|metrics)([_\-.]|$)", re.IGNORECASE)


def annotation_paths(root: Path, folders: Iterable[str]) -> Iterator[Path]:
    """Files of annotations' kinds in a root's folders, those that are there, each once and sorted."""
    seen: set[tuple[int, int]] = set()
    for folder in (root / name / inner for name in folders for inner in INNER):
        if folder.is_dir():
            status = folder.stat()
            if (status.st_dev, status.st_ino) not in seen:  # didemo and DiDeMo may be one
                seen.add((status.st_dev, status.st_ino))
                yield from sorted(p for p in folder.iterdir() if p.suffix.lower() in (*TABLES, ".txt", ".pkl"))


def known_split_files(root: Path, folders: Iterable[str], names: FileNames) -> list[SplitFile]:
    """The annotation files under a root that are known by their names, in the order of `names`.

    Raises:
        AnnotationError: one whose keys must be asked can't be read.
    """
    known: list[tuple[int, SplitFile]] = []
    for path in annotation_paths(root, folders):
        for order, (pattern, schema, content, split) in enumerate(names):
            if match := re.fullmatch(pattern, path.name, re.IGNORECASE):
                named = match.groupdict().get("split") or split
                if schema is None:
                    schema = described(path).schema
                    schema = "testa" if schema == "lavis" else schema
                known.append((order, SplitFile(path, schema, content, named.lower())))
                break
    return [file for _, file in sorted(known, key=lambda pair: pair[0])]


def other_split_files(
    root: Path, folders: Iterable[str], known: Iterable[SplitFile], dataset: str
) -> tuple[list[SplitFile], list[AnnotationError]]:
    """The annotation files under other names, known by their keys, and why the rest is none."""
    taken = {file.path for file in known}
    found: list[SplitFile] = []
    errors: list[AnnotationError] = []
    for path in annotation_paths(root, folders):
        if path in taken or path.suffix.lower() not in TABLES or NOT_ANNOTATIONS.search(path.name):
            continue
        try:
            refuse_foreign_name(path, dataset)
            found.append(described(path))
        except AnnotationError as error:
            errors.append(error)
    return found, errors


def refuse_foreign_name(path: Path, dataset: str) -> None:
    """Read no file that another data set's name is in: its captions are queries in another way.

    Raises:
        AnnotationError: it is in this one's.
    """
    for name, word in DATASETS.items():
        if name != dataset and re.search(word, path.name.lower()):
            raise AnnotationError(path, "", f"expected a file of {dataset}, got one of {name} by its name")


def described(path: Path) -> SplitFile:
    """What a file is by its keys, and the split in its name.

    Raises:
        AnnotationError: it can't be read, or its keys are none of those known.
    """
    match = re.search(r"train|val_[12]|val|test", path.name.lower())
    split = "" if match is None else match.group()
    if path.suffix.lower() in (".txt", ".pkl"):
        return SplitFile(path, "clip4clip", "ids" if path.suffix.lower() == ".txt" else "pool", split)
    records = read_records(path)
    first = next(iter(records.values()), None) if isinstance(records, dict) else records[0][1] if records else None
    if isinstance(records, dict):
        if isinstance(first, dict) and "sentences" in first:
            return SplitFile(path, "original", "captions", split)
        if isinstance(first, list):
            return SplitFile(path, "xpool", "pool", split)
        raise AnnotationError(
            path, next(iter(records), ""), f"expected {{video: sentences}} or {{video: captions}}, got {first!r:.80}"
        )
    if isinstance(first, str):
        return SplitFile(path, "original", "ids", split)
    if first is None:
        raise AnnotationError(path, "", "expected captioned videos, got none")
    video = pick_key(first, _video_keys(first), "a video", path, records[0][0])
    text = pick_key(first, TEXT_KEYS, "a caption", path, records[0][0])
    if "answer" in first:
        raise AnnotationError(path, records[0][0], "expected captions, got answers of another task")
    if text == "description":
        return SplitFile(path, "original", "captions", split)
    return SplitFile(path, "jsonl" if video == "clip_name" else "lavis", "captions", split)


@dataclass
class Captioned:
    """What a file says of videos, in its order."""

    captions: dict[str, list[str]] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    """Where each video came first."""
    repeated: dict[str, str] = field(default_factory=dict)
    """Videos of more than one row, with the place of the second."""
    notes: list[str] = field(default_factory=list)


def read_captioned(path: Path, name: Name) -> Captioned:
    """Read a file of content `captions` or `pool`, in any schema.

    Empty captions among others are left out and noted; a video with none but empty ones is an error.

    Raises:
        AnnotationError: a row that is not what its file's schema says.
    """
    found, ids, empty, again = Captioned(), set[Any](), 0, 0
    for place, key, texts, number in _rows(path):
        video = name(key, path, place)
        if video in found.captions:
            found.repeated.setdefault(video, place)
        again += number is not None and number in ids
        ids.add(number)
        kept = [text for text in texts if text]
        if not kept:
            got = "an empty one" if texts else "none"
            raise AnnotationError(path, place, f"expected a caption of {video}, got {got}; take it out or write one")
        empty += len(texts) - len(kept)
        found.captions.setdefault(video, []).extend(kept)
        found.places.setdefault(video, place)
    if not found.captions:
        raise AnnotationError(path, "", "expected captioned videos, got none")
    if empty:
        found.notes.append(f"{path.name}: {empty} empty captions left out")
    if again:
        found.notes.append(f"{path.name}: {again} rows repeat an annotation_id; all are taken")
    return found


def _rows(path: Path) -> Iterator[tuple[str, Any, list[str], Any]]:
    """Place, key of the video, captions, and the annotation's number where there is one."""
    if path.suffix.lower() == ".pkl":
        pool = need(read_pickle(path, "use X-Pool's captions_msvd.json instead"), dict, path, "", "{video: captions}")
        for video, captions in pool.items():
            lines = need(captions, list, path, str(video), "a list of captions")
            yield str(video), video, [_words(line, path, str(video)) for line in lines], None
        return
    records = read_records(path)
    if isinstance(records, list):
        yield from _listed(records, path)
        return
    for video, said in records.items():
        need(said, (dict, list), path, video, "captions, or an object with sentences,")
        if isinstance(said, dict):
            if "sentences" not in said:
                raise AnnotationError(path, video, f"expected the key sentences, got {', '.join(said) or 'none'}")
            times, sentences = said.get("timestamps"), need(said["sentences"], list, path, video, "sentences")
            if times is not None and len(need(times, list, path, video, "timestamps")) != len(sentences):
                reason = f"expected a time for each sentence, got {len(times)} times and {len(sentences)} sentences"
                raise AnnotationError(path, video, reason)
            said = sentences
        yield video, video, _texts(said, path, video), None


def _listed(records: Records, path: Path) -> Iterator[tuple[str, Any, list[str], Any]]:
    for place, row in records:
        need(row, dict, path, place, "a row")
        video = row[pick_key(row, _video_keys(row), "a video", path, place)]
        text = row[pick_key(row, TEXT_KEYS, "a caption", path, place)]
        number = row.get("annotation_id")
        if number is not None:
            need(number, (int, str), path, place, "an annotation's id")
        yield place, video, _texts(text, path, place), number


def _video_keys(row: Any) -> tuple[str, ...]:
    """The names to look for: of a row with `video_id` beside `video`, as Hugging Face's, the first."""
    return next(((key,) for key in VIDEO_KEYS if isinstance(row, dict) and key in row), VIDEO_KEYS)


def _texts(value: Any, path: Path, place: str) -> list[str]:
    need(value, (str, list), path, place, "a caption, or a list of them,")
    texts = [value] if isinstance(value, str) else value
    return [need(text, str, path, place, "a caption").strip() for text in texts]


def _words(value: Any, path: Path, place: str) -> str:
    """A caption from its words, or as it stands."""
    need(value, (str, list), path, place, "a caption, or its words,")
    words = [value] if isinstance(value, str) else value
    return " ".join(need(word, str, path, place, "a word") for word in words).strip()


def read_list(path: Path, name: Name) -> list[str]:
    """The videos of a list: one a line, a column `video_id`, or a JSON list.

    Raises:
        AnnotationError: a video listed twice, none, or not a list of videos.
    """
    listed: Iterable[tuple[str, Any]]
    if path.suffix.lower() == ".txt":
        lines = read_text(path).splitlines()
        listed = [(f"line {number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    else:
        rows = need(read_json(path), list, path, "", "a list of videos")
        listed = [(f"row {number}", row) for number, row in enumerate(rows)]
    places: dict[str, str] = {}
    for place, key in listed:
        video = name(key, path, place)
        if video in places:
            raise AnnotationError(path, place, f"{video} is listed twice, first in {places[video]}")
        places[video] = place
    if not places:
        raise AnnotationError(path, "", "expected a list of videos, got none")
    return list(places)


def plain_name(value: Any, path: Path, place: str) -> str:
    """A video's id from a key that may carry a folder and an extension.

    Raises:
        AnnotationError: not text, or empty.
    """
    return video_name(need(value, str, path, place, "a video's id"), path, place)
