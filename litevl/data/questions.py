"""Video question answering: the splits of MSRVTT-QA, MSVD-QA, ActivityNet-QA or a user's own, from whatever files."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from litevl.data.annotations import AnnotationError, LeakError, MissingAnnotationsError, read_text, video_name
from litevl.data.paths import VideoFolder
from litevl.data.question_files import (
    Dataset,
    Format,
    QuestionFile,
    VideoQuestion,
    answer_lists,
    find_mapping,
    known_files,
    other_files,
    question_word,
    read_questions,
    splits_of,
)

__all__ = ["Dataset", "Format", "QuestionData", "VideoQuestion", "load_questions", "question_word"]

USUAL = {
    "msrvtt": {"train": 158581, "val": 12278, "test": 72821},
    "msvd": {"train": 30933, "val": 6415, "test": 13157},
    "activitynet": {"train": 32000, "val": 18000, "test": 8000},
}
"""Questions of each split as the original releases have them."""

FORMAT_ORDER: tuple[Format, ...] = ("original", "paired", "singularity", "lavis", "jsonl", "csv", "own", "violet")
"""VIOLET's last: its files lack the questions whose answers are not in its vocabulary."""

_Splits = dict[str, tuple[VideoQuestion, ...]]


@dataclass(frozen=True)
class QuestionData:
    """The questions of each split, and where they come from."""

    train: tuple[VideoQuestion, ...]
    val: tuple[VideoQuestion, ...]
    """Empty where there is no such file."""
    test: tuple[VideoQuestion, ...]
    dataset: Dataset
    schema: str
    """Which form the files have, as `original`; several joined by `+`."""
    files: tuple[Path, ...]
    """The files read."""
    answer_files: tuple[Path, ...]
    """Lists of answers beside them, which are used only where one is asked for (`AnswerList.from_file`)."""
    notes: tuple[str, ...]
    """What a reader of results should know: counts that are not the usual ones, leaks, what was passed over."""


class _MissingError(Exception):
    """These files do not make the splits; others may."""


def load_questions(
    root: str | os.PathLike[str],
    dataset: Dataset,
    format: Format | None = None,
    *,
    training: bool = True,
    videos: str | os.PathLike[str] | None = None,
) -> QuestionData:
    """Find the questions under a folder.

    The form is detected (`format` > file names > keys); one form is used where it makes all splits, else all together.

    Bare numbers become names, 7 to `video7` in MSR-VTT and `vid7` in MSVD. Where MSVD has its `youtube_mapping.txt`, a
    video's id is the name of its file there, unless the folder has the files under the numbered names.

    Args:
        root: the dataset's folder, or one that holds it; `VideoFolder(root)` finds the videos.
        dataset: `msrvtt`, `msvd`, `activitynet`, or `own` for files of your own: csv, jsonl or json with a question, an
            answer and a video, with train, val or test in the file's name (or as keys of one json).
        format: take files of this form only.
        training: False asks for the test questions alone.
        videos: the folder of the videos, where it is not `root`.

    Raises:
        FileNotFoundError: there is no such folder.
        AnnotationError: no files that make the splits, damaged ones, a split that is another dataset's, videos of
            MSR-VTT or MSVD in two splits that must share none, or the same question of the same video in both.
    """
    root = Path(root)
    for value, kind in ((dataset, Dataset), (format, Format)):
        if value is not None and value not in get_args(kind):
            raise ValueError(f"expected one of {', '.join(get_args(kind))}; got {value!r}")
    if not root.is_dir():
        raise FileNotFoundError(f"expected the folder of the questions, got {root}, which is not one")
    files = known_files(root, dataset)
    for attempt in range(2):
        if attempt:
            files += other_files(root, dataset, files)
        for group in _groups(files, format):
            try:
                chosen = _choose(group, training)
            except _MissingError:
                continue
            return _load(root, dataset, chosen, files, VideoFolder(videos or root))
    found = ", ".join(str(file.path.relative_to(root)) for file in files) or "no file of questions at all"
    raise MissingAnnotationsError(
        root,
        "",
        f"expected questions to {'train and test' if training else 'test'} on"
        + (f" in {format} files" if format else "")
        + f"; found {found}. Usual are train_qa.json, val_qa.json and test_qa.json; of your own, files with the keys "
        "question, answer and video and with train, val or test in their names",
    )


def _groups(files: list[QuestionFile], format: Format | None) -> Iterator[list[QuestionFile]]:
    for form in FORMAT_ORDER if format is None else (format,):
        if group := [file for file in files if file.format == form]:
            yield group
    if format is None and files:
        yield files


def _choose(files: list[QuestionFile], training: bool) -> dict[str, QuestionFile]:
    """The file of each split.

    Raises:
        _MissingError: there is none to test on, or none to train on.
    """
    chosen: dict[str, QuestionFile] = {}
    for file in files:
        for split in splits_of(file):
            chosen.setdefault(split, file)
    if not training:
        unsaid = [file for file in files if not splits_of(file)]
        if "test" not in chosen and len(files) == len(unsaid) == 1:
            chosen["test"] = unsaid[0]
        chosen = {split: file for split, file in chosen.items() if split == "test"}
    if "test" not in chosen or (training and "train" not in chosen):
        raise _MissingError
    return {split: chosen[split] for split in ("train", "val", "test") if split in chosen}


def _load(
    root: Path, dataset: Dataset, chosen: dict[str, QuestionFile], found: list[QuestionFile], videos: VideoFolder
) -> QuestionData:
    splits: _Splits = {"train": (), "val": (), "test": ()}
    splits |= {split: tuple(read_questions(file, split, dataset, root)) for split, file in chosen.items()}
    notes, files = [], list(dict.fromkeys(file.path for file in chosen.values()))
    if dataset == "msvd":
        mapping = find_mapping(root)
        if mapping is not None:
            splits = {s: _mapped(each, mapping, chosen[s].path, videos) if each else () for s, each in splits.items()}
            files.append(mapping)
        elif any(_NUMBERED.fullmatch(question.video_id) for question in splits["test"]):
            notes.append("no youtube_mapping.txt: the videos are looked for under names as vid1300.avi")
    notes += _count_notes(root, dataset, splits) + _leaks(root, dataset, splits)
    if "train" in chosen and "val" not in chosen:
        notes.append("no validation questions: the last epoch counts; a best one could only be chosen on test")
    if any(file.format == "violet" for file in chosen.values()):
        notes.append("VIOLET's files lack the questions whose answers are not in its vocabulary: accuracy is of fewer")
    if unused := [str(file.path.relative_to(root)) for file in found if file.path not in files]:
        notes.append(f"files of questions not used: {', '.join(unused)}")
    return QuestionData(
        splits["train"],
        splits["val"],
        splits["test"],
        dataset,
        "+".join(dict.fromkeys(file.format for file in chosen.values())),
        tuple(files),
        tuple(answer_lists(root, dataset)),
        tuple(notes),
    )


_NUMBERED = re.compile(r"vid[0-9]+")


def read_mapping(path: Path) -> dict[str, str]:
    """MSVD's {`vid1300`: name of its file}, from lines of the name and the id.

    Raises:
        AnnotationError: a line that is something else, or an id or a name twice.
    """
    names: dict[str, str] = {}
    taken: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        place, fields = f"line {number}", line.split()
        if len(fields) != 2 or not _NUMBERED.fullmatch(fields[1]):
            raise AnnotationError(path, place, f"expected a video's name and its id, as vid1300, got {line.strip()!r}")
        name, video = video_name(fields[0], path, place), fields[1]
        if video in names or name in taken:
            twice = video if video in names else name
            raise AnnotationError(path, place, f"{twice} is there twice; fetch the file again")
        names[video], taken[name] = name, video
    return names


def _mapped(
    questions: tuple[VideoQuestion, ...], mapping: Path, path: Path, folder: VideoFolder
) -> tuple[VideoQuestion, ...]:
    names = read_mapping(mapping)
    videos = dict.fromkeys(question.video_id for question in questions)
    numbered = [video for video in videos if _NUMBERED.fullmatch(video)]
    if unknown := [video for video in numbered if video not in names]:
        raise AnnotationError(
            path, unknown[0], f"{len(unknown)} of {len(videos)} videos are not in {mapping}; get the file that belongs"
        )
    file_of = {v: v if folder.find(v) and not folder.find(names[v]) else names[v] for v in numbered}
    return tuple(
        replace(question, video_id=file_of.get(question.video_id, question.video_id)) for question in questions
    )


def _count_notes(root: Path, dataset: Dataset, splits: _Splits) -> list[str]:
    notes = []
    for split, questions in splits.items():
        if dataset == "own" or not questions or len(questions) == USUAL[dataset][split]:
            continue
        for other, counts in USUAL.items():
            for another, count in counts.items():
                if len(questions) == count:
                    raise MissingAnnotationsError(
                        root,
                        "",
                        f"expected {dataset}'s {split} questions, got {count}, which is the number of {other}'s "
                        f"{another} questions; name that dataset, or point to the right files",
                    )
        notes.append(f"{split} has {len(questions)} questions, usually {USUAL[dataset][split]}")
    return notes


def _leaks(root: Path, dataset: Dataset, splits: _Splits) -> list[str]:
    """Videos that splits share: refused or noted as `load_msrvtt` does, in own data noted.

    In own data other questions of a known video may be what is wanted; the same question is not.
    """
    notes = []
    for one, other in (("train", "test"), ("train", "val"), ("val", "test")):
        known = {question.video_id for question in splits[one]}
        shared = sorted(known & {question.video_id for question in splits[other]})
        if not shared:
            continue
        if one == "train":
            asked = {(q.video_id, q.start, q.end, q.question) for q in splits[one]}
            again = [q for q in splits[other] if (q.video_id, q.start, q.end, q.question) in asked]
            if dataset != "own" or again:
                what = f"{len(again)} questions" if dataset == "own" else f"{len(shared)} videos"
                videos = list(video_ids(again)) if dataset == "own" else shared
                reason = f"{what} are both in {one} and {other}; use splits that share none"
                raise LeakError(root, (one, other), videos, reason)
            notes.append(f"{len(shared)} videos are both in {one} and {other}: accuracy is on known videos")
        else:
            notes.append(
                f"{len(shared)} of {len(known)} validation videos are test videos: selecting on them is on test"
            )
    return notes


def video_ids(questions: Iterable[VideoQuestion]) -> tuple[str, ...]:
    """The videos asked about, each once, in order of first appearance."""
    return tuple(dict.fromkeys(question.video_id for question in questions))
