"""The records of an annotation file, in whichever of JSON, JSON lines, CSV and TSV it comes."""

import json
import math
from pathlib import Path
from typing import Any

from litevl.data.annotations import AnnotationError, need, read_csv, read_json, read_json_lines, read_text

TABLES = (".csv", ".tsv", ".jsonl", ".json")

VIDEO_KEYS = ("video_id", "clip_name", "video", "path", "file", "image")
"""Names of the column that says the video; Singularity's README has `image` where its files have `video`."""
TEXT_KEYS = ("caption", "captions", "sentence", "text", "description")
"""Names of the column that says the caption, or several."""

Records = list[tuple[str, Any]]
"""Each record with its place in the file."""


def read_records(path: Path) -> Records | dict[str, Any]:
    """A file's records with their places, or the object that a JSON file is.

    A list that fills a line of JSON lines, as in TESTA's files, stands for its items. A file called .json may hold JSON
    lines.

    Raises:
        AnnotationError: not of the form that its name says, or neither a list nor an object.
    """
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return list(read_csv(path, (), "\t" if suffix == ".tsv" else ","))
    if suffix == ".jsonl" or _is_lines(path):
        records: Records = []
        for place, value in read_json_lines(path):
            if isinstance(value, list):
                records += [(f"{place}, row {number}", item) for number, item in enumerate(value)]
            else:
                records.append((place, value))
        return records
    content = need(read_json(path), (list, dict), path, "", "rows, or an object,")
    return content if isinstance(content, dict) else [(f"row {number}", item) for number, item in enumerate(content)]


def pick_key(row: Any, keys: tuple[str, ...], what: str, path: Path, place: str) -> str:
    """Which of some names a record has for what is wanted of it.

    Raises:
        AnnotationError: the record is no object, has none of the names, or several.
    """
    need(row, dict, path, place, "a row")
    found = [key for key in keys if key in row]
    if len(found) > 1:
        raise AnnotationError(path, place, f"expected one key for {what}, got {' and '.join(found)}; keep one")
    if not found:
        got = ", ".join(str(key) for key in row) or "none"
        hint = "; questions belong to video question answering" if "question" in row else ""
        raise AnnotationError(path, place, f"expected {what} ({', '.join(keys)}), got the keys {got}{hint}")
    return found[0]


def _is_lines(path: Path) -> bool:
    """Whether a text's first line is a JSON value of its own, and other lines follow."""
    first, _, rest = read_text(path).strip().partition("\n")
    if not rest.strip():
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return True


def read_segment(row: dict[str, Any], path: Path, place: str) -> tuple[float | None, float | None]:
    """The seconds at which a record's segment of its video starts and ends; None where it has none.

    Raises:
        AnnotationError: not seconds, or not start before end.
    """
    start, end = (_seconds(row.get(which), which, path, place) for which in ("start", "end"))
    if (start or 0.0) >= (math.inf if end is None else end):
        raise AnnotationError(path, place, f"expected start before end, got {start} and {end}")
    return start, end


def segment_name(name: str, start: float | None, end: float | None) -> str:
    """A name of a segment that no other segment of the video has; the video's own where it is the whole."""
    if start is None and end is None:
        return name
    return f"{name}@{'' if start is None else start}-{'' if end is None else end}"


def _seconds(value: Any, which: str, path: Path, place: str) -> float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        seconds = float(need(value, (int, float, str), path, place, f"{which} in seconds"))
    except (ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise AnnotationError(path, place, f"expected {which} in seconds, as 12.5, got {value!r:.80}")
    return seconds
