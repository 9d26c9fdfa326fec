"""MSR-VTT's splits, made from whatever annotation files a folder holds."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

from litevl.data.annotations import AnnotationError, MissingAnnotationsError, VideoCaptions
from litevl.data.msrvtt_files import (
    AnnotationFile,
    Format,
    Pool,
    known_files,
    other_files,
    pick_captions,
    read_captioned,
    read_ids,
    read_pool,
)
from litevl.data.retrieval_set import CaptionMode, RetrievalSet, counts, overlap_notes

TrainSplit = Literal["9k", "7k", "full"]
TestSplit = Literal["1k-A", "full"]

USUAL = {
    ("train", "9k"): (9000, 180000),
    ("train", "7k"): (7010, 140200),
    ("train", "full"): (6513, 130260),
    ("val", "full"): (497, 9940),
    ("test", "1k-A"): (1000, 1000),
    ("test", "full"): (2990, 59800),
}
"""Videos and captions of each split as the field has them."""

CAPTION_MODES: dict[TestSplit, CaptionMode] = {"1k-A": "one", "full": "many"}

FORMAT_ORDER: tuple[Format, ...] = (
    "clip4clip",
    "frozen",
    "hf",
    "singularity",
    "lavis",
    "jsonl",
    "violet",
    "original",
)


class _MissingError(Exception):
    """These files do not make the split; others may."""


def load_msrvtt(
    root: str | os.PathLike[str],
    train_split: TrainSplit | None,
    test_split: TestSplit,
    format: Format | None = None,
) -> RetrievalSet:
    """Find MSR-VTT's annotations under a folder and make the splits that are asked for.

    The form is detected (`format` > file names > keys); the files of one form are used where they suffice, else those
    of several together (as the original release's captions with CLIP4Clip's lists).

    - `9k`: everything but the 1,000 test videos of 1k-A. `7k`: the original training and validation videos.
      `full`: the original training split, with its validation split as `val`. None: no training (to evaluate only).
    - `1k-A`: JSFusion's 1,000 test videos, one caption each. `full`: the original 2,990, with all captions.

    Args:
        root: the dataset's folder, or one that holds it.
        train_split: which videos to train on.
        test_split: which videos to test on.
        format: take files of this form only (and CLIP4Clip's lists).

    Raises:
        FileNotFoundError: there is no such folder.
        AnnotationError: no annotations that make the splits, damaged ones, or videos both trained and tested on.
    """
    root = Path(root)
    for value, kind in ((train_split, TrainSplit), (test_split, TestSplit), (format, Format)):
        if value is not None and value not in get_args(kind):
            raise ValueError(f"expected one of {', '.join(get_args(kind))}; got {value!r}")
    if not root.is_dir():
        raise FileNotFoundError(f"expected MSR-VTT's folder, got {root}, which is not one")
    files = known_files(root)
    reasons: list[str] = []
    for attempt in range(2):
        if attempt:
            files += other_files(root, files)
        for group in _groups(files, format):
            maker = _Splits(group)
            try:
                return maker.make(root, train_split, test_split, files)
            except _MissingError as error:
                reasons.append(f"{'+'.join(dict.fromkeys(file.format for file in group))}: {error}")
    found = ", ".join(str(file.path.relative_to(root)) for file in files) or "no annotation file at all"
    why = "; ".join(dict.fromkeys(reasons))
    raise MissingAnnotationsError(
        root,
        "",
        f"expected annotations that make the splits train={train_split}, test={test_split}; found {found}"
        + (f" ({why})" if why else "")
        + _multiple_choice(root)
        + ". The usual set is MSRVTT_data.json, MSRVTT_train.9k.csv and MSRVTT_JSFUSION_test.csv; another data set, or "
        "a table of your own, is named by --data.dataset",
    )


def _multiple_choice(root: Path) -> str:
    found = next(iter(sorted(root.glob("**/*_mc_test.json"))), None)
    how = "is multiple choice, which is evaluated beside retrieval, by --data.choices"
    return "" if found is None else f". {found.name} {how}"


def _groups(files: list[AnnotationFile], format: Format | None) -> Iterable[list[AnnotationFile]]:
    lists = [file for file in files if file.format == "clip4clip" and file.path.suffix.lower() == ".csv"]
    for form in FORMAT_ORDER if format is None else (format,):
        group = [file for file in files if file.format == form]
        if group:
            yield group + [file for file in lists if file not in group]
    if format is None and files:
        yield files


class _Splits:
    """Splits made from some files, each read when it is needed."""

    def __init__(self, files: list[AnnotationFile]):
        self._files = files
        self._read: list[AnnotationFile] = []
        self._pool: Pool | None = None
        self._untagged: set[str] = set()

    def make(
        self, root: Path, train_split: TrainSplit | None, test_split: TestSplit, all_files: list[AnnotationFile]
    ) -> RetrievalSet:
        test = self._test(test_split)
        train = {} if train_split is None else self._train(train_split)
        val = self._val() if train_split == "full" else {}
        notes = self._check(root, {"train": (train, train_split), "val": (val, "full"), "test": (test, test_split)})
        used = {file.path for file in self._read}
        unused = [str(file.path.relative_to(root)) for file in all_files if file.path not in used]
        if unused:
            notes.append(f"annotation files not used: {', '.join(unused)}")
        if train_split is not None and not val:
            noted = "the last epoch counts; a best one could only be chosen on test"
            notes.append(f"train={train_split} leaves no validation videos: {noted}")
        return RetrievalSet(
            "MSR-VTT",
            CAPTION_MODES[test_split],
            train_split,
            test_split,
            tuple(train.values()),
            tuple(val.values()),
            tuple(test.values()),
            "+".join(dict.fromkeys(file.format for file in self._read)),
            tuple(file.path for file in self._read),
            tuple(notes),
        )

    def _file(self, content: str, split: str, size: str) -> AnnotationFile | None:
        wanted = (content, split, size)
        found = next((file for file in self._files if (file.content, file.split, file.size) == wanted), None)
        if found is not None and found not in self._read:
            self._read.append(found)
        return found

    def pool(self) -> Pool:
        """The captions of all pool files."""
        if self._pool is None:
            videos: dict[str, VideoCaptions] = {}
            splits: dict[str, str] = {}
            for file in self._files:
                if file.content == "pool":
                    pool = read_pool(file)
                    twice = sorted(videos.keys() & pool.videos.keys())
                    if twice and any(videos[video] != pool.videos[video] for video in twice):
                        raise AnnotationError(file.path, twice[0], "other captions than in another file of this folder")
                    videos |= pool.videos
                    splits |= pool.split_of
                    self._read.append(file)
            if not videos:
                raise _MissingError("no file with the captions of all videos")
            self._pool = Pool(videos, splits)
        return self._pool

    def _listed(self, file: AnnotationFile) -> dict[str, VideoCaptions]:
        pool, ids = self.pool(), read_ids(file)
        unknown = [video for video in ids if video not in pool.videos]
        if unknown:
            raise AnnotationError(
                file.path, unknown[0], f"{len(unknown)} of {len(ids)} listed videos have no captions in this folder"
            )
        return {video: pool.videos[video] for video in ids}

    def _by_field(self, *splits: str) -> dict[str, VideoCaptions]:
        pool = self.pool()
        chosen = {video: item for video, item in pool.videos.items() if pool.split_of.get(video) in splits}
        silent = [video for video, split in pool.split_of.items() if split in splits and video not in pool.videos]
        if silent:
            raise AnnotationError(self._read[-1].path, silent[0], f"{len(silent)} videos of the split have no captions")
        if not chosen:
            raise _MissingError(f"no video whose `split` is {' or '.join(splits)}")
        return chosen

    def _captioned(self, split: str, size: str) -> dict[str, VideoCaptions] | None:
        tagged = self._file("captioned", split, size)
        if tagged is not None:
            return read_captioned(tagged, split)
        plain = self._file("captioned", split, "") or self._file("captioned", "", "")
        if plain is not None:
            self._untagged.add(split)
            return read_captioned(plain, split)
        return None

    def _train(self, size: TrainSplit) -> dict[str, VideoCaptions]:
        has_pool = any(file.content == "pool" for file in self._files)
        if has_pool and (listed := self._file("ids", "train", size)) is not None:
            return self._listed(listed)
        if (captioned := self._captioned("train", size)) is not None:
            return captioned
        if size == "full":
            return self._by_field("train")
        if size == "7k":
            parts = [self._file("ids", split, "full") for split in ("train", "val")]
            if all(parts):
                return {video: item for part in parts if part for video, item in self._listed(part).items()}
            return self._by_field("train", "val")
        pool, test = self.pool(), self._test("1k-A")
        if not test.keys() <= pool.videos.keys():
            raise _MissingError("no list of the 9k training videos, nor the captions of all 10,000 videos")
        return {video: item for video, item in pool.videos.items() if video not in test}

    def _val(self) -> dict[str, VideoCaptions]:
        listed = self._file("ids", "val", "full")
        if listed is not None:
            return self._listed(listed)
        if any(file.content == "pool" for file in self._files):
            try:
                return self._by_field("val")
            except _MissingError:
                return {}
        return self._captioned("val", "full") or {}

    def _test(self, size: TestSplit) -> dict[str, VideoCaptions]:
        if (captioned := self._captioned("test", size)) is not None:
            return captioned
        listed = self._file("ids", "test", size)
        if size == "full":
            return self._by_field("test") if listed is None else self._listed(listed)
        picks = self._file("picks", "test", size)
        if listed is None or picks is None:
            raise _MissingError("no list of 1k-A's pairs, as MSRVTT_JSFUSION_test.csv")
        return pick_captions(picks, self._listed(listed))

    def _check(self, root: Path, made: dict[str, tuple[dict[str, VideoCaptions], str | None]]) -> list[str]:
        notes = []
        for split, (videos, size) in made.items():
            if not videos or size is None:
                continue
            usual = USUAL[split, size]
            got = counts(videos.values())
            others = {number: other for (each, other), (number, _) in USUAL.items() if each == split and other != size}
            if split in self._untagged and got[0] in others:
                raise MissingAnnotationsError(
                    root, "", f"expected the {split} split {size}, got {got[0]} videos, which is {others[got[0]]}"
                )
            if got != usual:
                notes.append(
                    f"{split} {size} has {got[0]} videos and {got[1]} captions, usually {usual[0]} and {usual[1]}"
                )
        train, val, test = (made[split][0].keys() for split in ("train", "val", "test"))
        return notes + overlap_notes(root, train, val, test)
