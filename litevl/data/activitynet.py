"""ActivityNet Captions, paragraph to video: the sentences of a video, joined, are one query."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from litevl.data.benchmark import Benchmark, Split, load_benchmark
from litevl.data.retrieval_set import RetrievalSet
from litevl.data.split_files import Schema, plain_name

YOUTUBE_ID = 11
"""Characters of a YouTube id, which may itself begin with `v_`."""


def activitynet_name(value: Any, path: Path, place: str) -> str:
    """An id as the release has it, `v_` and YouTube's, from one with or without `v_`, folder and extension.

    Raises:
        AnnotationError: not text, or empty.
    """
    name = plain_name(value, path, place)
    return name if name.startswith("v_") and len(name) != YOUTUBE_ID else f"v_{name}"


ACTIVITYNET = Benchmark(
    dataset="ActivityNet Captions",
    caption_mode="paragraph",
    folders=("activitynet", "ActivityNet", "activitynet_captions", "anet", "captions"),
    names=(
        (r"(?P<split>train|val_1|val_2|val|test)\.json", None, "captions", ""),
        (r"(?P<split>train|test)_ids\.json", "original", "ids", ""),
        (r"val_ids\.json", "original", "ids", "val_1"),
        (r"(?:activitynet_|anet_)?(?P<split>train|val_1|val_2|val|test)\.jsonl", "jsonl", "captions", ""),
        (r"retrieval_(?P<split>train|val|test)\.json", "lavis", "captions", ""),
        (r"anet_ret_(?P<split>train|val_1|val_2|val|test)\.json", "singularity", "captions", ""),
    ),
    splits={"train": ("train",), "val": (), "test": ("val_1", "test", "val")},
    usual={"train": ((10009,), None), "val_1": ((4917,), None), "val_2": ((4885,), None)},
    usual_files="train.json and val_1.json",
    lists_exceed=True,
    name=activitynet_name,
)
"""Trained on `train` and tested on `val_1`, as the field does; the test split's captions were never published."""


def load_activitynet(
    root: str | os.PathLike[str],
    *,
    training: bool = True,
    schema: Schema | None = None,
    files: Mapping[Split, Path] | None = None,
) -> RetrievalSet:
    """ActivityNet Captions' splits from the files under a folder; see `load_benchmark`.

    `files={"test": Path("val_2.json")}` tests on the second annotators' paragraphs.
    """
    return load_benchmark(ACTIVITYNET, root, training=training, schema=schema, files=files)
