"""Captioned videos, and reading the files they come in, with errors that name file, line and key."""

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from litevl.data.video_key import is_text, is_video_key

VIDEO_EXTENSIONS = ("mp4", "webm", "mkv", "avi", "mov", "m4v", "mpg", "mpeg", "3gp", "flv", "wmv", "gif")
"""In the order in which they are tried; the first five are those of the datasets' own releases."""
LONGEST = csv.field_size_limit()
"""Characters of a field: more is a file that lost its line ends or quotes. Python's own limit in CSV (131,072)."""


class AnnotationError(Exception):
    """An annotation file that does not hold what it should.

    Attributes:
        path: the file, or the folder that lacks one.
        place: line, row or key, where there is one.
        reason: what was expected, what came, what to do.
    """

    def __init__(self, path: str | os.PathLike[str], place: str, reason: str):
        text = f"{os.fspath(path)}{', ' + place if place else ''}: {reason}"
        # What came may be no characters at all, and whoever prints this must not fail over it.
        super().__init__(text.encode("utf-8", "backslashreplace").decode())
        self.path, self.place, self.reason = Path(path), place, reason


class MissingAnnotationsError(AnnotationError):
    """A folder whose files do not make the splits asked for; they may be another data set's, or another split's."""


class LeakError(AnnotationError):
    """Splits that must share nothing and do.

    Attributes:
        splits: which two.
        shared: the ids of all the videos that are in both.
    """

    def __init__(self, path: str | os.PathLike[str], splits: tuple[str, str], shared: Sequence[str], reason: str):
        super().__init__(path, shared[0], reason)
        self.splits, self.shared = splits, tuple(shared)


@runtime_checkable
class VideoSource(Protocol):
    """A video, or a segment of one: what there must be to know of it to read its frames."""

    @property
    def video_id(self) -> str:
        """Its name, which no other has."""

    @property
    def key(self) -> str:
        """What to look for in the folder of the videos."""

    @property
    def start(self) -> float | None:
        """Seconds into the file at which a segment begins."""

    @property
    def end(self) -> float | None:
        """Seconds into the file before which a segment ends."""


@dataclass(frozen=True)
class VideoCaptions:
    """A video, or a segment of one, and what is said of it.

    Raises:
        ValueError: a segment that is none: `start` before 0, or not before `end`.
    """

    video_id: str
    """The dataset's name of the video, without folder and extension; of a segment, a name that no other has."""
    captions: tuple[str, ...]
    """One or more, in the order of the file."""
    category: int | None = None
    """MSR-VTT's topic number, or the embedded corpus's kind of clip; None where the file says none."""
    file: str | None = None
    """The file below the folder of the videos, where the id is not its name."""
    start: float | None = None
    """Seconds into the file at which a segment begins; None for the file's first frame."""
    end: float | None = None
    """Seconds into the file before which a segment ends; None for the file's last frame."""

    def __post_init__(self) -> None:
        start, end = self.start or 0.0, math.inf if self.end is None else self.end
        if not 0 <= start < end or start == math.inf:
            raise ValueError(f"expected seconds with 0 <= start < end, got start={self.start} and end={self.end}")

    @property
    def key(self) -> str:
        """What to look for in the folder of the videos."""
        return self.video_id if self.file is None else self.file


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without byte order mark.

    Raises:
        AnnotationError: not readable, or not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(path, f"byte {error.start}", "expected UTF-8 text; convert the file") from error
    except OSError as error:
        raise AnnotationError(path, "", f"the file cannot be read: {error.strerror}") from error


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        AnnotationError: not UTF-8, or not JSON.
    """
    return _parse(path, read_text(path), 1)


def read_json_lines(path: Path) -> list[tuple[str, Any]]:
    """Each line's value with its place. Empty lines are passed over.

    Raises:
        AnnotationError: not UTF-8, or a line that is not JSON.
    """
    lines = read_text(path).split("\n")
    return [(f"line {number}", _parse(path, line, number)) for number, line in enumerate(lines, 1) if line.strip()]


def _parse(path: Path, text: str, line: int) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise AnnotationError(
                path, f"line {line}" if line > 1 else "", f"expected each key of an object once, got {twice} twice"
            )
        return content

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        place = f"line {line + error.lineno - 1}, column {error.colno}"
        raise AnnotationError(path, place, f"expected JSON: {error.msg}; fetch or write the file again") from error
    except RecursionError as error:
        raise AnnotationError(path, "", "expected JSON of a few levels, got too many") from error
    except ValueError as error:  # a number of thousands of digits, which Python refuses to read
        place = f"line {line}" if line > 1 else ""
        raise AnnotationError(path, place, f"expected JSON with numbers of a usual length: {error}") from error


def read_csv(path: Path, columns: tuple[str, ...], delimiter: str = ",") -> Iterator[tuple[str, dict[str, str]]]:
    """Each row of a CSV file with its place.

    Args:
        path: the file; its first line names the columns.
        columns: those that must be there.
        delimiter: what stands between fields.

    Raises:
        AnnotationError: not UTF-8, a column missing or named twice, or a row of another length than the header.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = header
        missing = [name for name in columns if name not in header]
        if missing:
            raise AnnotationError(path, "line 1", f"expected the columns {', '.join(columns)}; got {', '.join(header)}")
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise AnnotationError(path, "line 1", f"expected columns of different names, got {twice[0]} twice")
        for row in reader:
            place = f"line {reader.line_num}"
            if None in row or None in row.values():
                got = sum(value is not None for name, value in row.items() if name is not None)
                got += len(row.get(None, ()))
                held = "commas" if delimiter == "," else "tabs"
                raise AnnotationError(
                    path, place, f"expected {len(header)} fields, got {got}; quote texts that hold {held}"
                )
            yield place, row
    except csv.Error as error:
        # The inner reader has counted the line that is wrong, the outer one those before it.
        raise AnnotationError(path, f"line {reader.reader.line_num}", f"expected CSV: {error}") from error


def need(value: Any, kind: type | tuple[type, ...], path: Path, place: str, what: str) -> Any:
    """`value` if it is of `kind`, else an error that says what was expected.

    Raises:
        AnnotationError: it is of another kind, or a text that is too long or can't be written.
    """
    if not isinstance(value, kind) or isinstance(value, bool):
        names = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
        raise AnnotationError(path, place, f"expected {what} as {names}, got {value!r:.80}")
    if isinstance(value, str) and len(value) > LONGEST:
        wanted = f"at most {LONGEST:,} characters for {what.rstrip(',')}"
        raise AnnotationError(path, place, f"expected {wanted}, got {len(value):,}: {value!r:.40}")
    if isinstance(value, str) and not is_text(value):
        raise AnnotationError(
            path, place, f"expected whole characters in {what.rstrip(',')}, got half of a pair in {value!r:.80}"
        )
    return value


def video_name(value: Any, path: Path, place: str) -> str:
    """A video's id from a key that may carry a folder and an extension, or be MSR-VTT's bare number.

    Raises:
        AnnotationError: neither text nor a number, or empty.
    """
    need(value, (str, int), path, place, "a video's id")
    text = f"video{value}" if isinstance(value, int) else value.strip()
    name = text.replace("\\", "/").rstrip("/").rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    name = stem if dot and extension.lower() in VIDEO_EXTENSIONS else name
    if not is_video_key(name):
        raise AnnotationError(path, place, f"expected a video's id, got {value!r:.80}")
    return name


def caption_texts(value: Any, path: Path, place: str) -> tuple[str, ...]:
    """Captions from a text or a list of texts, freed of blanks around them.

    Raises:
        AnnotationError: of another type, none, or an empty one.
    """
    need(value, (str, list), path, place, "a caption, or a list of them,")
    texts = [value] if isinstance(value, str) else value
    captions = tuple(need(text, str, path, place, "a caption").strip() for text in texts)
    if not captions or not all(captions):
        raise AnnotationError(path, place, "expected a caption, got an empty one; take the row out or write one")
    return captions


def grouped(rows: Iterable[tuple[str, str, tuple[str, ...], int | None]], path: Path) -> dict[str, VideoCaptions]:
    """Rows of (place, video id, captions, category) by video, in order of first appearance.

    Raises:
        AnnotationError: a video in two categories, or no rows at all.
    """
    captions: dict[str, list[str]] = {}
    categories: dict[str, int | None] = {}
    for place, video, texts, category in rows:
        captions.setdefault(video, []).extend(texts)
        if categories.setdefault(video, category) != category:
            raise AnnotationError(path, place, f"{video} is in category {category} here, {categories[video]} before")
    if not captions:
        raise AnnotationError(path, "", "expected captioned videos, got none")
    return {video: VideoCaptions(video, tuple(texts), categories[video]) for video, texts in captions.items()}
