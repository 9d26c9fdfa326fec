"""MSVD, many captions a video: each is a query of its own, and a video is found if any of its captions finds it."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from litevl.data.annotations import AnnotationError, VideoCaptions, read_text, video_name
from litevl.data.benchmark import Benchmark, Split, load_benchmark
from litevl.data.paths import VideoFolder
from litevl.data.retrieval_set import RetrievalSet
from litevl.data.split_files import Schema, annotation_paths, plain_name

MSVD = Benchmark(
    dataset="MSVD",
    caption_mode="many",
    folders=("msvd", "MSVD", "msvd_data", "data/MSVD"),
    names=(
        (r"(?P<split>train|val|test)_list\.txt", "clip4clip", "ids", ""),
        (r"raw-captions\.pkl", "clip4clip", "pool", ""),
        (r"captions_msvd\.json", "xpool", "pool", ""),
        (r"msvd_ret_(?P<split>train|val|test)\.json", "singularity", "captions", ""),
        (r"retrieval_(?P<split>train|val|test)\.json", "lavis", "captions", ""),
        (r"(?:msvd_)?(?P<split>train|val|test)\.jsonl", "jsonl", "captions", ""),
    ),
    splits={"train": ("train",), "val": ("val",), "test": ("test",)},
    usual={"train": ((1200,), None), "val": ((100,), None), "test": ((670,), 27763)},
    usual_files="train_list.txt, val_list.txt, test_list.txt and raw-captions.pkl (or captions_msvd.json)",
)


def load_msvd(
    root: str | os.PathLike[str],
    *,
    training: bool = True,
    schema: Schema | None = None,
    files: Mapping[Split, Path] | None = None,
    videos: VideoFolder | None = None,
) -> RetrievalSet:
    """MSVD's splits from the files under a folder; see `load_benchmark`.

    With a `youtube_mapping.txt`, ids of either kind (`vid7`, or YouTube's with its seconds) are one, and a video's file
    may be called by either.

    Args:
        root: its folder, or one that holds it.
        training: False asks for the test split alone.
        schema: take files of this schema only.
        files: take these files for these splits, whatever they are called.
        videos: where the files are; the root if not given.
    """
    mappings = [p for p in annotation_paths(Path(root), ("", *MSVD.folders)) if p.name.lower() == "youtube_mapping.txt"]
    if not mappings:
        return load_benchmark(MSVD, root, training=training, schema=schema, files=files)
    other = read_mapping(mappings[0])
    stems = {number: stem for stem, number in other.items()}

    def name(value: Any, path: Path, place: str) -> str:
        plain = plain_name(value, path, place)
        return stems.get(plain, plain)

    found = load_benchmark(dataclasses.replace(MSVD, name=name), root, training=training, schema=schema, files=files)
    folder = VideoFolder(root) if videos is None else videos

    def located(video: VideoCaptions) -> VideoCaptions:
        number = other.get(video.video_id)
        named = number is not None and folder.find(video.video_id) is None and folder.find(number) is not None
        return dataclasses.replace(video, file=number) if named else video

    return dataclasses.replace(
        found,
        train=tuple(map(located, found.train)),
        val=tuple(map(located, found.val)),
        test=tuple(map(located, found.test)),
        files=(*found.files, mappings[0]),
    )


def read_mapping(path: Path) -> dict[str, str]:
    """YouTube's id with its seconds -> `vid7`, from lines of both.

    Raises:
        AnnotationError: a line of anything else, or a name twice.
    """
    mapping: dict[str, str] = {}
    seen: dict[str, str] = {}
    for count, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        place, words = f"line {count}", line.split()
        if len(words) != 2:
            raise AnnotationError(path, place, f"expected two names, as 'XXXXXXXXXXX_5_15 vid7', got {line!r:.80}")
        stem, number = (video_name(word, path, place) for word in words)
        for word in (stem, number):
            if word in seen:
                raise AnnotationError(path, place, f"{word} is mapped twice, first in {seen[word]}")
            seen[word] = place
        mapping[stem] = number
    return mapping
