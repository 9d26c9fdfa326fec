"""The published retrieval data sets that differ only in their files' names, their ids, and how captions are queries."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from litevl.data.annotations import AnnotationError, MissingAnnotationsError, VideoCaptions
from litevl.data.retrieval_set import CaptionMode, RetrievalSet, counts, overlap_notes
from litevl.data.split_files import (
    Captioned,
    FileNames,
    Name,
    Schema,
    SplitFile,
    described,
    known_split_files,
    other_split_files,
    plain_name,
    read_captioned,
    read_list,
    refuse_foreign_name,
)

Split = Literal["train", "val", "test"]
ORDER: tuple[Split, ...] = ("train", "val", "test")


SIZES: Mapping[tuple[Split, int], str] = {
    ("train", 7010): "MSR-VTT",
    ("train", 8395): "DiDeMo",
    ("train", 10009): "ActivityNet Captions",
    ("test", 1004): "DiDeMo",
    ("test", 4917): "ActivityNet Captions",
    ("test", 670): "MSVD",
}
"""Whose split has this number of videos: files such as LAVIS's `retrieval_test.json` do not say. Round numbers are left
out, which may be a part of anything."""


@dataclass(frozen=True)
class Benchmark:
    """What tells one of these data sets from the others."""

    dataset: str
    """What it is called in reports."""
    caption_mode: CaptionMode
    folders: tuple[str, ...]
    """Folders below its root in which annotations come, beside the root itself."""
    names: FileNames
    """Its files' names, in the order in which their schemas are preferred."""
    splits: Mapping[Split, tuple[str, ...]]
    """For each split the splits of files that it may be made of, the preferred one first; none: it has none."""
    usual: Mapping[str, tuple[tuple[int, ...], int | None]]
    """Numbers of videos, and of captions where they are queries, as the field has them."""
    usual_files: str
    """What to name to someone who has none."""
    lists_exceed: bool = False
    """Its own lists hold videos without captions, which are noted; in the others they are errors."""
    end: float | None = None
    """Seconds after which the annotators saw no more of a video."""
    name: Name = plain_name

    def usual_counts(self, split: Split, name: str) -> tuple[tuple[int, ...] | None, int | None]:
        """What `usual` says of a split made of the files' split `name`; None where the data set has no such split."""
        names = (name, *self.splits[split][:1])
        return next((self.usual[each] for each in names if each in self.usual), (None, None))


@dataclass(frozen=True)
class _Source:
    """Where a split comes from."""

    captions: SplitFile
    listed: SplitFile | None
    name: str


def load_benchmark(
    benchmark: Benchmark,
    root: str | os.PathLike[str],
    *,
    training: bool = True,
    schema: Schema | None = None,
    files: Mapping[Split, Path] | None = None,
) -> RetrievalSet:
    """Find a data set's annotations under a folder and make its splits.

    The schema is detected (`schema` > file names > keys); the files of one schema are used where they suffice, else
    those of several together.

    Args:
        benchmark: which data set.
        root: its folder, or one that holds it.
        training: False asks for the test split alone.
        schema: take files of this schema only.
        files: take these files for these splits, whatever they are called.

    Raises:
        FileNotFoundError: there is no such folder.
        AnnotationError: no annotations that make the splits, damaged ones, or videos both trained and tested on.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"expected {benchmark.dataset}'s folder, got {root}, which is not one")
    folders = ("", *benchmark.folders)
    found = known_split_files(root, folders, benchmark.names)
    errors: list[AnnotationError] = []
    given: dict[Split, SplitFile] = {}
    for split, path in (files or {}).items():
        refuse_foreign_name(root / path, benchmark.dataset)
        given[split] = described(root / path)
    wanted: tuple[Split, ...] = ORDER if training else ("test",)
    sources = _choose(benchmark, found, given, schema, wanted)
    if not _complete(sources, wanted):
        others, errors = other_split_files(root, folders, found, benchmark.dataset)
        found += others
        sources = _choose(benchmark, found, given, schema, wanted)
    if not _complete(sources, wanted):
        missing = [split for split in wanted if split not in sources and split != "val"]
        seen = ", ".join(f"{file.path.relative_to(root)} ({file.schema})" for file in found) or "no annotation file"
        reasons = "".join(f"; {error}" for error in errors)
        raise MissingAnnotationsError(
            root,
            "",
            f"expected annotations that make the split {' and '.join(missing)} of {benchmark.dataset}"
            f"{'' if schema is None else f' in the schema {schema}'}; found {seen}{reasons}. "
            f"The usual set is {benchmark.usual_files}; other names can be given as train_file, val_file and test_file",
        )
    return _Reading(benchmark, root).make(sources, training, [file.path for file in found] + [e.path for e in errors])


def _complete(sources: Mapping[Split, "_Source"], wanted: Iterable[Split]) -> bool:
    return all(split in sources for split in wanted if split != "val")


def _choose(
    benchmark: Benchmark,
    found: list[SplitFile],
    given: Mapping[Split, SplitFile],
    schema: Schema | None,
    wanted: Iterable[Split],
) -> dict[Split, _Source]:
    """The files of the first schema that makes all splits that must be, or of all schemas together."""
    schemas: list[Schema | None] = [schema]
    if schema is None:
        schemas = [*dict.fromkeys(file.schema for file in found if file.content != "ids"), None]
    if schema == "original":  # as released, without CLIP4Clip's lists
        found = [file for file in found if file.schema == "original"]
    sources: dict[Split, _Source] = {}
    for each in schemas:
        same = (each, "original") if each == "clip4clip" else (each,)
        group = [file for file in found if each is None or file.schema in same or file.content == "ids"]
        sources = dict(_sources(benchmark, group, given, wanted))
        if _complete(sources, wanted):
            break
    return sources


def _sources(
    benchmark: Benchmark, group: list[SplitFile], given: Mapping[Split, SplitFile], wanted: Iterable[Split]
) -> Iterator[tuple[Split, _Source]]:
    pool = next((file for file in group if file.content == "pool"), None)
    for split in wanted:
        if split in given:
            own, pooled = given[split], pool if given[split].content == "ids" else given[split]
            if own.content == "pool":
                reason = f"expected the {split} split, got captions of all splits; give the list of its videos"
                raise AnnotationError(own.path, "", reason)
            if pooled is not None:
                yield split, _Source(pooled, own if own.content == "ids" else None, own.split or own.path.name)
            continue
        for name in benchmark.splits[split]:
            by_content = {file.content: file for file in reversed(group) if file.split == name}
            listed = by_content.get("ids")
            captions = by_content.get("captions", pool if listed is not None else None)
            if captions is not None:
                # CLIP4Clip's lists are of the release's files; of others they need not be.
                applies = listed is not None and captions.schema in ("original", "clip4clip", "xpool")
                yield split, _Source(captions, listed if applies else None, name)
                break


class _Reading:
    """The splits of a data set from their files, each of which is read once."""

    def __init__(self, benchmark: Benchmark, root: Path):
        self._benchmark, self._root = benchmark, root
        self._captioned: dict[Path, Captioned] = {}
        self._files: list[SplitFile] = []
        self._notes: list[str] = []

    def make(self, sources: Mapping[Split, _Source], training: bool, candidates: list[Path]) -> RetrievalSet:
        made = {split: self._split(sources[split]) if split in sources else {} for split in ORDER}
        for split, source in sources.items():
            self._compare(split, source, made[split])
        pools = {s.captions.path: set[str]() for s in sources.values() if s.captions.content == "pool"}
        for split, source in sources.items():
            if source.captions.content == "pool":
                pools[source.captions.path] |= made[split].keys()
        for path, used in pools.items():
            rest = self._captioned[path].captions.keys() - used
            if rest and training:
                self._notes.append(f"{path.name}: {len(rest)} captioned videos are in no split")
        self._notes += overlap_notes(self._root, made["train"].keys(), made["val"].keys(), made["test"].keys())
        paths = [file.path for file in self._files]
        if unused := [str(path.relative_to(self._root)) for path in candidates if path not in paths]:
            self._notes.append(f"annotation files not used: {', '.join(unused)}")
        if training and not made["val"]:
            self._notes.append("no validation videos: the last epoch counts; a best one could only be chosen on test")
        if self._benchmark.end is not None:
            seconds = f"{self._benchmark.end:g} seconds"
            self._notes.append(f"frames are of the first {seconds} of each video, all that its annotators saw")
        return RetrievalSet(
            self._benchmark.dataset,
            self._benchmark.caption_mode,
            sources["train"].name if training else None,
            sources["test"].name,
            tuple(made["train"].values()),
            tuple(made["val"].values()),
            tuple(made["test"].values()),
            "+".join(dict.fromkeys(file.schema for file in self._files)),
            tuple(paths),
            tuple(self._notes),
        )

    def _use(self, file: SplitFile) -> None:
        if file not in self._files:
            self._files.append(file)

    def _split(self, source: _Source) -> dict[str, VideoCaptions]:
        path = source.captions.path
        self._use(source.captions)
        if path not in self._captioned:
            self._captioned[path] = read_captioned(path, self._benchmark.name)
            self._notes += self._captioned[path].notes
        said = self._captioned[path]
        paragraph = self._benchmark.caption_mode == "paragraph"
        if paragraph and source.captions.schema != "original" and said.repeated:
            video, place = next(iter(said.repeated.items()))
            raise AnnotationError(
                path, place, f"{video} is listed twice, first in {said.places[video]}; expected one row a video, with "
                "its paragraph or the list of its sentences",
            )  # fmt: skip
        videos = list(said.captions) if source.listed is None else self._listed(source, source.listed, said)
        return {
            video: VideoCaptions(
                video,
                (" ".join(said.captions[video]),) if paragraph else tuple(said.captions[video]),
                end=self._benchmark.end,
            )
            for video in videos
        }

    def _listed(self, source: _Source, listed: SplitFile, said: Captioned) -> list[str]:
        self._use(listed)
        videos = read_list(listed.path, self._benchmark.name)
        silent = [video for video in videos if video not in said.captions]
        reason = f"{len(silent)} of {len(videos)} listed videos have no captions in {source.captions.path.name}"
        if silent and (not self._benchmark.lists_exceed or len(silent) == len(videos)):
            raise AnnotationError(listed.path, silent[0], f"{reason}; take them out, or fetch their captions")
        if silent:
            self._notes.append(f"{listed.path.name}: {reason}, as {silent[0]}; left out")
        unlisted = len(said.captions) - (len(videos) - len(silent))
        if unlisted and source.captions.content == "captions":
            name = source.captions.path.name
            self._notes.append(f"{name}: {unlisted} videos are not in {listed.path.name}; left out")
        return [video for video in videos if video in said.captions]

    def _compare(self, split: Split, source: _Source, videos: dict[str, VideoCaptions]) -> None:
        usual = self._benchmark.usual_counts(split, source.name)
        number, captions = counts(videos.values())
        other = SIZES.get((split, number), self._benchmark.dataset)
        if other != self._benchmark.dataset:
            reason = f"expected {self._benchmark.dataset}, got {number} videos, which is {other}; choose its dataset"
            raise MissingAnnotationsError(source.captions.path, "", reason)
        if usual[0] is not None and (number not in usual[0] or usual[1] not in (None, captions)):
            expected = " or ".join(map(str, usual[0])) + ("" if usual[1] is None else f" and {usual[1]}")
            self._notes.append(
                f"{split} ({source.name}) has {number} videos and {captions} captions, usually {expected}"
            )
