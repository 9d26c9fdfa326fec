"""DiDeMo, paragraph to video: all descriptions of a video, joined, are one query."""

import os
from collections.abc import Mapping
from pathlib import Path

from litevl.data.benchmark import Benchmark, Split, load_benchmark
from litevl.data.retrieval_set import RetrievalSet
from litevl.data.split_files import Schema

DIDEMO = Benchmark(
    dataset="DiDeMo",
    caption_mode="paragraph",
    folders=("didemo", "DiDeMo", "didemo_data", "data/DiDeMo"),
    names=(
        (r"(?P<split>train|val|test)_data\.json", "original", "captions", ""),
        (r"(?P<split>train|val|test)_list\.txt", "clip4clip", "ids", ""),
        (r"(?:didemo_)?(?P<split>train|val|test)\.jsonl", "jsonl", "captions", ""),
        (r"retrieval_(?P<split>train|val|test)\.json", "lavis", "captions", ""),
        (r"didemo_ret_(?P<split>train|val|test)\.json", "singularity", "captions", ""),
    ),
    splits={"train": ("train",), "val": ("val",), "test": ("test",)},
    usual={"train": ((8395, 8392), None), "val": ((1065,), None), "test": ((1004,), None)},
    usual_files="train_data.json, val_data.json and test_data.json",
    end=30.0,
)
"""Its videos were cut to 30 seconds for the annotators (LisaAnne/LocalizingMoments, README); the files are longer."""


def load_didemo(
    root: str | os.PathLike[str],
    *,
    training: bool = True,
    schema: Schema | None = None,
    files: Mapping[Split, Path] | None = None,
) -> RetrievalSet:
    """DiDeMo's splits from the files under a folder; see `load_benchmark`."""
    return load_benchmark(DIDEMO, root, training=training, schema=schema, files=files)
