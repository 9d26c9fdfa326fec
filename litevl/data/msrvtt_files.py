"""MSR-VTT's annotation files in every form that is in use: which file is what, and what it says.

The forms are those of the original release (a), CLIP4Clip (b), Frozen in Time (c), ALPRO and BLIP (d), LAVIS (e),
Singularity, VindLU and UMT (f), Hugging Face's dataset (g) and VIOLET (h).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from litevl.data.annotations import (
    AnnotationError,
    VideoCaptions,
    caption_texts,
    grouped,
    need,
    read_csv,
    read_json,
    read_json_lines,
    read_text,
    video_name,
)
from litevl.data.plain_pickle import read_caption_indices

Format = Literal["original", "clip4clip", "frozen", "jsonl", "lavis", "singularity", "hf", "violet"]
Content = Literal["pool", "ids", "captioned", "picks"]


@dataclass(frozen=True)
class AnnotationFile:
    """What a file is, by its name or its keys."""

    path: Path
    format: Format
    content: Content
    """`pool`: captions of videos of several splits; `ids`: a split's videos; `captioned`: a split's videos with their
    captions; `picks`: which of a video's captions is the query."""
    split: str = ""
    """`train`, `val` or `test`, or nothing where the file holds several or does not say."""
    size: str = ""
    """`9k`, `7k`, `1k-A` or `full`, or nothing where the file's name does not say."""


NAMES: tuple[tuple[str, Format, Content, str, str], ...] = (
    (r"msrvtt_data\.json", "clip4clip", "pool", "", ""),
    (r"msrvtt_train\.(?P<size>9k|7k)\.csv", "clip4clip", "ids", "train", ""),
    (r"msrvtt_jsfusion_test\.csv", "clip4clip", "captioned", "test", "1k-A"),
    (r"msr_vtt\.json", "frozen", "pool", "", ""),
    (r"train_list_jsfusion\.txt", "frozen", "ids", "train", "9k"),
    (r"train_list_(?P<size>9k|7k)\.txt", "frozen", "ids", "train", ""),
    (r"val_list_jsfusion\.txt", "frozen", "ids", "test", "1k-A"),
    (r"(?P<split>train|val|test)_list_full\.txt", "frozen", "ids", "", "full"),
    (r"jsfusion_val_caption_idx\.pkl", "frozen", "picks", "test", "1k-A"),
    (r"msrvtt_train_(?P<size>9k|7k)\.json", "hf", "captioned", "train", ""),
    (r"msrvtt_test_1k\.json", "hf", "captioned", "test", "1k-A"),
    (r"msrvtt_ret_train(?P<size>9k|7k)\.json", "singularity", "captioned", "train", ""),
    (r"msrvtt_ret_test1k\.json", "singularity", "captioned", "test", "1k-A"),
    (r"msrvtt_ret_(?P<split>train|val|test)\.json", "singularity", "captioned", "", ""),
    (r"retrieval_(?P<split>train|val|test)\.json", "lavis", "captioned", "", ""),
    (r"(?:msrvtt_)?(?P<split>train|val|test)\.jsonl", "jsonl", "captioned", "", ""),
    (r"txt_msrvtt-retrieval\.json", "violet", "captioned", "", ""),
    (r"train_val_videodatainfo\.json", "original", "pool", "", ""),
    (r"(?P<split>train|test)_videodatainfo\.json", "original", "pool", "", ""),
)

OTHER_TASKS = re.compile(r"(^|[_\-.])(qa|mc|ans2label|answer)([_\-.]|$)|raw-captions|order_pairs", re.IGNORECASE)

PREFIXES = ("", "MSRVTT", "msrvtt", "msrvtt_ret", "msrvtt_data", "data/MSRVTT")
INNER = ("", "annotation", "annotations", "txt", "high-quality/structured-symlinks", "anno_downstream")

ID_KEYS = ("video_id", "clip_name", "video", "image_id", "image")
"""A row's key for its video; Singularity's README says `image` where its files say `video`."""


def known_files(root: Path) -> list[AnnotationFile]:
    """The annotation files under a root that are known by their names, each place's in the order of `NAMES`."""
    found = []
    for path in _candidates(root):
        for pattern, form, content, split, size in NAMES:
            match = re.fullmatch(pattern, path.name, re.IGNORECASE)
            if match:
                named = {key: value.lower() for key, value in match.groupdict().items() if value}
                found.append(AnnotationFile(path, form, content, named.get("split", split), named.get("size", size)))
                break
    return found


def other_files(root: Path, known: list[AnnotationFile]) -> list[AnnotationFile]:
    """The annotation files under other names, known by their keys. Files of other tasks are left alone."""
    taken = {file.path for file in known}
    found = []
    for path in _candidates(root):
        if path in taken or path.suffix.lower() not in (".json", ".jsonl", ".csv") or OTHER_TASKS.search(path.name):
            continue
        kind = _by_keys(path)
        if kind is not None:
            split = re.search(r"train(?!_?val)|val(?=[^a-z]|idat)|test", path.name.lower())
            size = re.search(r"9k|7k|1k", path.name.lower())
            sizes = {"9k": "9k", "7k": "7k", "1k": "1k-A"}
            found.append(
                AnnotationFile(
                    path, *kind, "" if split is None else split.group(), "" if size is None else sizes[size.group()]
                )
            )
    return found


def _candidates(root: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    for prefix in PREFIXES:
        for inner in INNER:
            folder = root / prefix / inner
            if not folder.is_dir():
                continue
            status = folder.stat()
            if (status.st_dev, status.st_ino) not in seen:  # MSRVTT and msrvtt may be one
                seen.add((status.st_dev, status.st_ino))
                yield from sorted(
                    path
                    for path in folder.iterdir()
                    if path.suffix.lower() in (".json", ".jsonl", ".csv", ".txt", ".pkl")
                )


def _by_keys(path: Path) -> tuple[Format, Content] | None:
    if path.suffix.lower() == ".csv":
        header = {name.strip() for name in read_text(path).split("\n", 1)[0].split(",")}
        return None if "video_id" not in header else ("clip4clip", "captioned" if "sentence" in header else "ids")
    if path.suffix.lower() == ".jsonl":
        rows = read_json_lines(path)
        first = rows[0][1] if rows else None
        return ("jsonl", "captioned") if isinstance(first, dict) and {"clip_name", "caption"} <= first.keys() else None
    content = read_json(path)
    if isinstance(content, dict):
        if {"videos", "sentences"} <= content.keys():
            return "original", "pool"
        if "annotations" in content:
            return "frozen", "pool"
        return ("violet", "captioned") if {"train", "test"} <= content.keys() else None
    first = content[0] if isinstance(content, list) and content else None
    if not isinstance(first, dict) or "caption" not in first or "answer" in first or "question" in first:
        return None
    if "video_id" in first:
        return "hf", "captioned"
    return ("lavis", "captioned") if "video" in first else None


def read_ids(file: AnnotationFile) -> list[str]:
    """The videos of a list, CSV with the column `video_id` or plain text with one a line.

    Raises:
        AnnotationError: a video listed twice, none, or not a list of videos.
    """
    if file.path.suffix.lower() == ".csv":
        listed = [(place, row["video_id"]) for place, row in read_csv(file.path, ("video_id",))]
    else:
        lines = read_text(file.path).splitlines()
        listed = [(f"line {number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    places: dict[str, str] = {}
    for place, key in listed:
        video = video_name(key, file.path, place)
        if video in places:
            raise AnnotationError(file.path, place, f"{video} is listed twice, first in {places[video]}")
        places[video] = place
    if not places:
        raise AnnotationError(file.path, "", "expected a list of videos, got none")
    return list(places)


def read_captioned(file: AnnotationFile, split: str = "") -> dict[str, VideoCaptions]:
    """The videos of one split with their captions.

    Args:
        file: a file whose content is `captioned`.
        split: which of VIOLET's three splits.

    Raises:
        AnnotationError: a row that is not what the format says, or a video twice in a list of pairs.
    """
    if file.path.suffix.lower() == ".csv":
        videos: dict[str, VideoCaptions] = {}
        for place, row in read_csv(file.path, ("video_id", "sentence")):
            video = video_name(row["video_id"], file.path, place)
            if video in videos:
                raise AnnotationError(file.path, place, f"{video} is listed twice; expected one caption a video")
            videos[video] = VideoCaptions(video, caption_texts(row["sentence"], file.path, place))
        if not videos:
            raise AnnotationError(file.path, "", "expected captioned videos, got none")
        return videos
    if file.path.suffix.lower() == ".jsonl":
        return grouped(_rows(read_json_lines(file.path), file.path), file.path)
    content = read_json(file.path)
    where = ""
    if file.format == "violet":
        splits = need(content, dict, file.path, "", "the splits")
        if split not in splits:
            raise AnnotationError(file.path, "", f"expected the split {split!r}, got {', '.join(splits)}")
        content, where = splits[split], f"{split} "
    rows = need(content, list, file.path, where.strip(), "the rows")
    return grouped(_rows([(f"{where}row {number}", row) for number, row in enumerate(rows)], file.path), file.path)


def _rows(rows: list[tuple[str, Any]], path: Path) -> Iterator[tuple[str, str, tuple[str, ...], int | None]]:
    for place, row in rows:
        need(row, dict, path, place, "a row")
        key = next((key for key in ID_KEYS if key in row), None)
        if key is None or "caption" not in row:
            raise AnnotationError(
                path, place, f"expected a video ({', '.join(ID_KEYS)}) and a caption, got the keys {', '.join(row)}"
            )
        category = row.get("category")
        if category is not None:
            need(category, int, path, place, "a category")
        yield place, video_name(row[key], path, place), caption_texts(row["caption"], path, place), category


@dataclass(frozen=True)
class Pool:
    """Captions of videos of all splits, and the split of each where the file says it."""

    videos: dict[str, VideoCaptions]
    split_of: dict[str, str]


def read_pool(file: AnnotationFile) -> Pool:
    """Read the original release's file (videos, sentences) or Frozen's (annotations).

    Raises:
        AnnotationError: a wrong type, a missing key, a video twice, or a sentence of a video that is not listed.
    """
    content = need(read_json(file.path), dict, file.path, "", "an object")
    if "annotations" in content:
        return Pool(grouped(_rows(_numbered(content, "annotations", file.path), file.path), file.path), {})
    splits: dict[str, str] = {}
    categories: dict[str, int | None] = {}
    for place, row in _numbered(content, "videos", file.path):
        need(row, dict, file.path, place, "a video")
        if "video_id" not in row:
            raise AnnotationError(file.path, place, f"expected the key video_id, got {', '.join(row)}")
        video = video_name(row["video_id"], file.path, place)
        if video in splits:
            raise AnnotationError(file.path, place, f"{video} is listed twice")
        split = need(row.get("split", file.split), str, file.path, place, "a split")
        splits[video] = {"validate": "val", "validation": "val"}.get(split, split)
        category = row.get("category")
        categories[video] = category if category is None else need(category, int, file.path, place, "a category")
    rows = []
    for place, row in _numbered(content, "sentences", file.path):
        need(row, dict, file.path, place, "a sentence")
        if not {"video_id", "caption"} <= row.keys():
            raise AnnotationError(file.path, place, f"expected the keys video_id and caption, got {', '.join(row)}")
        video = video_name(row["video_id"], file.path, place)
        if video not in splits:
            raise AnnotationError(file.path, place, f"a sentence of {video}, which is not among the videos")
        rows.append((place, video, caption_texts(row["caption"], file.path, place), categories[video]))
    return Pool(grouped(rows, file.path), splits)


def _numbered(content: dict[str, Any], key: str, path: Path) -> list[tuple[str, Any]]:
    if key not in content:
        raise AnnotationError(path, "", f"expected the key {key}, got {', '.join(content) or 'none'}")
    return [(f"{key}[{number}]", row) for number, row in enumerate(need(content[key], list, path, key, "a list"))]


def pick_captions(file: AnnotationFile, videos: dict[str, VideoCaptions]) -> dict[str, VideoCaptions]:
    """Keep of each video the one caption that is its query in 1k-A.

    Raises:
        AnnotationError: a video without a pick, or a pick past its captions.
    """
    picks = read_caption_indices(file.path)
    kept = {}
    for video, item in videos.items():
        if video not in picks:
            raise AnnotationError(file.path, video, "expected the index of its caption, got none")
        if picks[video] >= len(item.captions):
            reason = f"expected an index below {len(item.captions)}, its number of captions, got {picks[video]}"
            raise AnnotationError(file.path, video, reason)
        kept[video] = VideoCaptions(video, (item.captions[picks[video]],), item.category)
    return kept
