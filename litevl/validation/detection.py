"""Which data set lies in a folder: each loader is tried, and what speaks for each that accepts it is weighed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from litevl.data.annotations import AnnotationError, MissingAnnotationsError
from litevl.data.msrvtt import USUAL as MSRVTT_USUAL
from litevl.data.own import SPLIT_NAMES
from litevl.data.paths import VideoFolder
from litevl.data.question_files import MAPPING, asks_questions
from litevl.data.questions import USUAL as QUESTION_USUAL
from litevl.data.questions import QuestionData
from litevl.data.retrieval_config import BENCHMARKS, Dataset
from litevl.data.retrieval_set import RetrievalSet
from litevl.data.split_files import DATASETS
from litevl.validation.candidates import Asked, Candidate, Task, candidates

IDS: dict[Dataset, str] = {
    "msrvtt": r"video\d+",
    "didemo": r"\d+@N\d+_.+",
    "activitynet": r"v_[\w-]{11}",
    "msvd": r"vid\d+|[\w-]{11}_\d+_\d+",
}
"""What the videos of the published data sets are called."""
WORDS: dict[Dataset, str] = {
    "msrvtt": DATASETS["MSR-VTT"],
    "didemo": DATASETS["DiDeMo"],
    "activitynet": DATASETS["ActivityNet Captions"],
    "msvd": DATASETS["MSVD"],
}
"""What their folders and files are called."""


@dataclass(frozen=True)
class Detection:
    """What a folder holds, at most one data set for each task."""

    chosen: tuple[Candidate, ...]
    reasons: tuple[str, ...] = ()
    """Of each choice that had others: what they were, and how to take one of them."""
    guessed: bool = False
    """Nothing spoke for one choice more than for another."""
    refused: tuple[Candidate, ...] = ()
    """The loaders that took nothing, where none did."""


def detect(root: Path, asked: Asked) -> Detection:
    """Try every loader that is not ruled out by what was asked, and choose among those that accept the folder.

    What speaks for a data set: counts that are the field's, ids as its videos have, its name in the names of folders
    and files, videos that are found under its ids. Annotations in the folder itself count before those in another
    data set's sub-folder. With nothing that speaks for a published data set, it is one's own.
    """
    folder = VideoFolder(root if asked.videos is None else asked.videos)
    chosen: list[Candidate] = []
    reasons: list[str] = []
    refused: list[Candidate] = []
    guessed = False
    for task in get_args(Task) if asked.task is None else (asked.task,):
        tried = list(candidates(root, task, asked))
        accepted = [candidate for candidate in tried if candidate.found is not None]
        refused += [candidate for candidate in tried if candidate.found is None]
        if near := [candidate for candidate in accepted if not _nested(candidate, root)]:
            elsewhere = [candidate for candidate in accepted if _nested(candidate, root)]
            accepted = near
        else:
            elsewhere = []
        weighed = sorted(((_weight(c, root, folder, chosen), c) for c in accepted), key=lambda pair: -pair[0])
        if not weighed or _own_is_damaged(weighed[0][1], tried, root):
            continue
        chosen.append(weighed[0][1])
        guess = len(weighed) > 1 and weighed[0][0] == weighed[1][0]
        guessed |= guess
        reasons += _reason(weighed[0][1], [c for _, c in weighed[1:]], elsewhere, root, folder, guess)
    for candidate in sorted(refused, key=lambda each: _likely(each, root)):
        if _tells(candidate, chosen, asked) and not any(candidate.task == other.task for other in chosen):
            chosen.append(candidate)
    return Detection(tuple(chosen), tuple(reasons), guessed, () if chosen else tuple(refused))


def _splits(found: RetrievalSet | QuestionData) -> dict[str, tuple[int, int]]:
    """Videos and captions, or questions, of each split that is not empty."""
    counted = {}
    for split in ("train", "val", "test"):
        rows = getattr(found, split)
        if rows:
            texts = len(rows) if isinstance(found, QuestionData) else sum(len(row.captions) for row in rows)
            counted[split] = (len({row.video_id for row in rows}), texts)
    return counted


def usual_counts(candidate: Candidate, split: str) -> tuple[tuple[int, ...] | None, int | None]:
    """The field's numbers of videos, of which each will do, and of captions or questions; None where there is none."""
    found = candidate.found
    if candidate.dataset == "own" or found is None:
        return None, None
    if isinstance(found, QuestionData):
        return None, QUESTION_USUAL[candidate.dataset][split]
    names = {"train": found.train_split or "", "val": "val", "test": found.test_split}
    if candidate.dataset == "msrvtt":
        videos, captions = MSRVTT_USUAL[split, "full" if split == "val" else names[split]]
        return (videos,), captions
    return BENCHMARKS[candidate.dataset].usual_counts(split, names[split])  # type: ignore[arg-type]


def _usual_splits(candidate: Candidate) -> int:
    assert candidate.found is not None
    number = 0
    for split, (videos, texts) in _splits(candidate.found).items():
        usual_videos, usual_texts = usual_counts(candidate, split)
        known = usual_videos is not None or usual_texts is not None
        number += known and (usual_videos is None or videos in usual_videos) and usual_texts in (None, texts)
    return number


def _weight(candidate: Candidate, root: Path, folder: VideoFolder, chosen: list[Candidate]) -> float:
    weight = 1.0 if candidate.dataset == "own" else _evidence(candidate, root)
    weight += 2 * _share_found(candidate, folder)
    weight += any(other.dataset == candidate.dataset for other in chosen)
    return weight - 3 * isinstance(candidate.problem, MissingAnnotationsError)


def _evidence(candidate: Candidate, root: Path) -> int:
    """What speaks for a published data set in the annotations themselves."""
    assert candidate.found is not None
    found, dataset = candidate.found, candidate.dataset
    ids = [row.video_id for split in ("train", "test") for row in getattr(found, split)]
    weight = 4 * bool(_usual_splits(candidate))
    weight += 3 * (dataset in IDS and sum(bool(re.fullmatch(IDS[dataset], name)) for name in ids) >= 0.9 * len(ids))
    names = " ".join([root.resolve().name, *(str(_relative(path, root)) for path in found.files)]).lower()
    weight += 2 * (dataset in WORDS and bool(re.search(WORDS[dataset], names)))
    # The release of MSVD alone has it; bare numbers become names that fit MSR-VTT as well.
    return weight + 3 * (dataset == "msvd" and any(path.name.lower() == MAPPING for path in found.files))


def _own_is_damaged(best: Candidate, tried: list[Candidate], root: Path) -> bool:
    """Whether files are one's own with a mistake in them, rather than a data set's that nothing speaks for."""
    own = next((each for each in tried if each.dataset == "own" and each.found is None and each.damaged), None)
    return own is not None and best.dataset != "own" and not _evidence(best, root) and _has_own_name(own)


def _has_own_name(candidate: Candidate) -> bool:
    error = candidate.problem
    return isinstance(error, AnnotationError) and error.path.stem.lower() in SPLIT_NAMES


def _share_found(candidate: Candidate, folder: VideoFolder) -> float:
    """How many of a few of its videos are there."""
    rows = [row for split in ("train", "test") for row in getattr(candidate.found, split)]
    keys = list(dict.fromkeys(row.key if hasattr(row, "key") else row.video_id for row in rows))[:20]
    return sum(_there(folder, key) for key in keys) / max(len(keys), 1)


def _there(folder: VideoFolder, key: str) -> bool:
    try:
        return folder.find(key) is not None
    except ValueError:
        return False


def _relative(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path


def _nested(candidate: Candidate, root: Path) -> bool:
    """Whether its files lie in sub-folders that are called after a data set."""
    assert candidate.found is not None
    return any(_foreign(path, root) is not None for path in candidate.found.files)


def _foreign(path: Path, root: Path) -> Path | None:
    """The folder below the root, on the way to a file, that is called after a data set."""
    folders = [folder for folder in path.parents if folder.is_relative_to(root) and folder != root]
    named = (f for f in reversed(folders) for word in DATASETS.values() if re.search(word, f.name.lower()))
    return next(named, None)


def _reason(
    best: Candidate,
    others: list[Candidate],
    elsewhere: list[Candidate],
    root: Path,
    folder_of_all: VideoFolder,
    guess: bool,
) -> Iterator[str]:
    if others:
        fits = "nothing there is as theirs" if best.dataset == "own" else "ids, counts, names and files fit it best"
        how = "nothing tells them apart, and the first was taken" if guess else fits
        names = " or ".join(each.dataset for each in others)
        yield (
            f"{best.task}: {best.dataset} was chosen, {names} could be read from this folder as well: {how}; "
            "--dataset takes another"
        )
    for each in elsewhere:
        assert each.found is not None
        place = next(folder for path in each.found.files if (folder := _foreign(path, root)) is not None)
        videos = f" --videos {folder_of_all.root}" if _share_found(each, folder_of_all) else ""
        command = f"litevl validate {place} --dataset {each.dataset}{videos}"
        yield f"{each.task}: {each.dataset} lies in {place.relative_to(root)}; check it by itself: {command}"


def _tells(candidate: Candidate, chosen: list[Candidate], asked: Asked) -> bool:
    """Whether a loader's failure is about files that are its own, rather than another task's or nobody's."""
    error = candidate.problem
    if not isinstance(error, AnnotationError) or not candidate.damaged:
        return False
    read = {path for other in chosen if other.found is not None for path in other.found.files}
    told = {getattr(other.problem, "path", None) for other in chosen}
    if error.path in read | told or (candidate.task == "captions" and _of_questions(error.path)):
        return False
    return asked.dataset is not None or not read or candidate.dataset != "own" or _has_own_name(candidate)


def _of_questions(path: Path) -> bool:
    try:
        return path.is_file() and path.suffix.lower() in (".csv", ".jsonl", ".json") and asks_questions(path)
    except AnnotationError:
        return False


def _likely(candidate: Candidate, root: Path) -> int:
    """The place of a damaged data set among those that it may be: one that is named, one's own, any."""
    path = getattr(candidate.problem, "path", root)
    named = candidate.dataset in WORDS and re.search(
        WORDS[candidate.dataset], f"{root.resolve().name} {_relative(path, root)}".lower()
    )
    return 0 if named else 1 if candidate.dataset == "own" else 2
