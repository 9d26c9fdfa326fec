"""What is wrong with the files of a data set's videos: missing, unreadable, the same under two names, in two splits."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from litevl.data.annotations import VideoCaptions
from litevl.validation.file_check import FileCheck
from litevl.validation.findings import CheckedSplit, Finding, Severity

PAIRS = (("train", "test"), ("train", "val"), ("val", "test"))


def of_missing(splits: Iterable[CheckedSplit], reasons: Mapping[str, str], folder: Path) -> Iterator[Finding]:
    """Videos without a file; `reasons` by their keys."""
    missing: dict[str, dict[str, Any]] = {}
    counted = []
    for split in splits:
        keys = [clip for clip in split.clips if clip.key in reasons]
        for clip in keys:
            item = missing.setdefault(clip.key, {"video_id": clip.video_id, "splits": [], "reason": reasons[clip.key]})
            item["splits"].append(split.label)
        if keys:
            counted.append(f"{len(keys):,} of {len(split.clips):,} ({split.label})")
    if missing:
        message = (
            f"{_videos(len(missing))} missing: {', '.join(counted)}; fetch them, name their folder with "
            f"--videos (looked in {folder}), or train with --data.on-bad-video skip, which states the coverage"
        )
        yield Finding("error", "missing", message, tuple(missing.values()))


def of_unreadable(
    splits: Iterable[CheckedSplit], files: Mapping[str, Path], checks: Mapping[Path, FileCheck]
) -> Iterator[Finding]:
    """Videos whose file, or whose segment of it, cannot be read."""
    bad: dict[tuple[str, Any], dict[str, Any]] = {}
    for split in splits:
        for clip in split.clips:
            path = files.get(clip.key)
            reason = None if path is None or path not in checks else checks[path].errors.get((clip.start, clip.end))
            if reason is not None:
                item = {"video_id": clip.video_id, "splits": [], "file": str(path), "reason": reason}
                bad.setdefault((clip.video_id, path), item)["splits"].append(split.label)
    if bad:
        message = (
            f"{_videos(len(bad))} unreadable; fetch them again, or train with --data.on-bad-video skip, which "
            "states the coverage"
        )
        yield Finding("error", "unreadable", message, tuple(bad.values()))


def of_duplicates(
    splits: Iterable[CheckedSplit], files: Mapping[str, Path], alike: Mapping[Path, tuple[Path, ...]]
) -> Iterator[Finding]:
    """Videos of one split under two ids: the same file, or files with the same content."""
    kinds: dict[str, dict[tuple[str, ...], dict[str, Any]]] = {"duplicate_file": {}, "duplicate_content": {}}
    for split in splits:
        groups: dict[tuple[Any, ...], list[VideoCaptions]] = {}
        for clip in split.clips:
            if clip.key in files:
                groups.setdefault((alike[files[clip.key]], clip.start, clip.end), []).append(clip)
        for clips in groups.values():
            if len(clips) > 1:
                ids = tuple(clip.video_id for clip in clips)
                paths = [files[clip.key] for clip in clips]
                one = all(path.samefile(paths[0]) for path in paths)
                item = {"split": split.name, "video_ids": list(ids), "files": list(dict.fromkeys(map(str, paths)))}
                kinds["duplicate_file" if one else "duplicate_content"].setdefault((split.name, *ids), item)
    messages = {
        "duplicate_file": "several ids of one split have the same file",
        "duplicate_content": "several videos of one split have files with the same content",
    }
    for kind, items in kinds.items():
        if items:
            message = f"{messages[kind]}, {len(items):,} times; each counts as a wrong answer for the other"
            yield Finding("warning", kind, message, tuple(items.values()))


def of_leaks(
    splits: Sequence[CheckedSplit], files: Mapping[str, Path], alike: Mapping[Path, tuple[Path, ...]]
) -> Iterator[Finding]:
    """Videos that two splits of one data set share, whatever their names.

    In one's own questions only the same question of a shared video is an error, as it is to the loader; and segments
    of one file are, where they overlap. Selecting on test videos is a warning.
    """
    for first, second in PAIRS:
        for one in splits:
            for other in splits:
                if (one.name, other.name) == (first, second) and one.candidate == other.candidate:
                    yield from _shared(one, other, files, alike)


def _shared(
    one: CheckedSplit, other: CheckedSplit, files: Mapping[str, Path], alike: Mapping[Path, tuple[Path, ...]]
) -> Iterator[Finding]:
    own_questions = one.candidate.task == "questions" and one.candidate.dataset == "own"
    by_content: dict[tuple[Path, ...], list[VideoCaptions]] = {}
    for clip in one.clips:
        if clip.key in files:
            by_content.setdefault(alike[files[clip.key]], []).append(clip)
    ids = {clip.video_id: clip for clip in one.clips}
    leaks: dict[tuple[Severity, str], list[dict[str, Any]]] = {}
    for clip in other.clips:
        path = files.get(clip.key)
        same = [ids[clip.video_id]] if clip.video_id in ids else []
        rivals = same or ([] if path is None else by_content.get(alike[path], []))
        rival = next((each for each in rivals if same or _overlap(each, clip)), rivals[0] if rivals else None)
        if rival is None:
            continue
        asked_again = own_questions and bool(set(rival.captions) & set(clip.captions))
        apart = not same and not _overlap(rival, clip)
        severity: Severity = "warning" if one.name == "val" or apart or (own_questions and not asked_again) else "error"
        how = "by id" if same else "by file" if path and path.samefile(files[rival.key]) else "by content"
        item: dict[str, Any] = {one.name: rival.video_id, other.name: clip.video_id, "how": how}
        if not same:
            item["files"] = list(dict.fromkeys((str(files[rival.key]), str(path))))
        kind = "segments" if apart else "question" if asked_again else "video"
        leaks.setdefault((severity, kind), []).append(item)
    for (severity, kind), items in leaks.items():
        number = len(items)
        between = f"{one.candidate.task}: {number:,} {other.name} video{' is' if number == 1 else 's are'}"
        said = {
            "video": f"{between} also in {one.name}, by id or by the content of the file",
            "question": f"{between} also in {one.name}, with the same questions",
            "segments": f"{between} of files that {one.name} has other segments of",
        }[kind]
        if one.name == "val":
            advice = "selecting on them is on test"
        elif severity == "error":
            advice = "the model is tested on what it was trained on; use splits that share none"
        else:
            advice = "results are on known videos"
        yield Finding(severity, "leak", f"{said}; {advice}", tuple(items))


def _overlap(one: VideoCaptions, other: VideoCaptions) -> bool:
    ends = [float("inf") if clip.end is None else clip.end for clip in (one, other)]
    return (one.start or 0.0) < ends[1] and (other.start or 0.0) < ends[0]


def _videos(number: int) -> str:
    return f"{number:,} video is" if number == 1 else f"{number:,} videos are"
