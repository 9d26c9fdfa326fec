"""Which data set a text-video retrieval run takes, from where, and the set that is found there."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from .activitynet import ACTIVITYNET, load_activitynet
from .benchmark import Split
from .didemo import DIDEMO, load_didemo
from .msrvtt import CAPTION_MODES, Format, TestSplit, TrainSplit, load_msrvtt
from .msvd import MSVD, load_msvd
from .own import load_own
from .paths import VideoFolder
from .reading_config import ReadingConfig
from .retrieval_set import CaptionMode, RetrievalSet, refuse_other_mode
from .split_files import DATASETS, Schema

AnySchema = Literal[
    "original", "clip4clip", "frozen", "jsonl", "lavis", "singularity", "hf", "violet", "xpool", "testa"
]
"""MSR-VTT's forms and those of the others."""
Dataset = Literal["msrvtt", "didemo", "activitynet", "msvd", "own"]
BENCHMARKS = {"didemo": DIDEMO, "activitynet": ACTIVITYNET, "msvd": MSVD}


@dataclass(frozen=True)
class RetrievalSetConfig:
    """Which videos and captions."""

    root: Path | None = None
    """The data set's folder, in any of the layouts it comes in; by default the embedded corpus, rendered on first
    use."""
    dataset: Dataset = "msrvtt"
    """Which one lies there: MSR-VTT, DiDeMo or ActivityNet Captions (a paragraph is the query), MSVD (each of a video's
    captions is), or your own, in CSV, TSV, JSON or JSON lines."""
    train_split: TrainSplit = "9k"
    """MSR-VTT's training videos: 9k, 7k, or the original `full` split, which has validation videos."""
    test_split: TestSplit = "1k-A"
    """MSR-VTT's test videos: the 1,000 of 1k-A with one caption each, or the original 2,990."""
    train_file: Path | None = None
    """The training split's annotation file, below `root` or absolute; by default it is found. Not for MSR-VTT."""
    val_file: Path | None = None
    """Likewise of the validation split."""
    test_file: Path | None = None
    """Likewise of the test split, as ActivityNet's `val_2.json`."""
    caption_mode: CaptionMode | None = None
    """How the captions of a test video of your own are queries: there is `one`, `many`, or they are joined to a
    `paragraph`. The other data sets have their own mode."""
    videos: Path | None = None
    """The folder of the video files, where it is not `root`."""
    schema: AnySchema | None = None
    """Take annotation files of this form only; by default it is detected."""
    choices: Path | None = None
    """MSR-VTT's multiple-choice file (`msrvtt_mc_test.json`), below `root` or absolute: also evaluate which of five
    captions is a video's. Train on 7k then: 9k holds most of its videos."""
    captions: Literal["one", "all"] = "one"
    """Train on one random caption of each video per epoch, or on every caption."""
    similar: int = 1
    """Make training batches of groups of this many videos that the frozen backbone sees as alike, so that a batch
    holds hard negatives; costs one pass over the training videos. 1 mixes at random."""

    @property
    def files(self) -> dict[Split, Path]:
        """The annotation files that were chosen."""
        chosen: dict[Split, Path | None] = {"train": self.train_file, "val": self.val_file, "test": self.test_file}
        return {split: path for split, path in chosen.items() if path is not None}


@dataclass(frozen=True)
class RetrievalDataConfig(ReadingConfig, RetrievalSetConfig):
    """The videos and their captions."""


def find_set(config: RetrievalSetConfig, root: Path, *, training: bool = True) -> RetrievalSet:
    """The splits of the data set that a run asks for.

    Args:
        config: which data set; its root is not looked at.
        root: the folder to look in.
        training: False asks for the test split alone.

    Raises:
        AnnotationError: no annotations that make the splits, or damaged ones.
        ValueError: a setting of another data set, or a caption mode that this one is not evaluated in.
    """
    _refuse_foreign(config)
    if config.dataset == "msrvtt":
        refuse_other_mode(f"MSR-VTT's {config.test_split}", CAPTION_MODES[config.test_split], config.caption_mode)
        train_split = config.train_split if training else None
        return load_msrvtt(root, train_split, config.test_split, cast(Format | None, config.schema))
    if config.dataset == "own":
        if config.caption_mode is None:
            raise ValueError(
                "expected a caption_mode for your own data: 'one' (a test video has one caption), 'many' (each of its "
                "captions is a query) or 'paragraph' (all of them joined are one); got none"
            )
        found = load_own(root, config.caption_mode, training=training, files=config.files, videos=config.videos)
        if any(re.search(DATASETS["MSVD"], path.name.lower()) for path in found.files):
            refuse_other_mode("MSVD", "many", config.caption_mode)
        return found
    benchmark = BENCHMARKS[config.dataset]
    refuse_other_mode(benchmark.dataset, benchmark.caption_mode, config.caption_mode)
    schema = cast(Schema | None, config.schema)
    if config.dataset == "msvd":
        folder = VideoFolder(root if config.videos is None else config.videos)
        return load_msvd(root, training=training, schema=schema, files=config.files, videos=folder)
    load = load_didemo if config.dataset == "didemo" else load_activitynet
    return load(root, training=training, schema=schema, files=config.files)


def _refuse_foreign(config: RetrievalSetConfig) -> None:
    msrvtt = config.dataset == "msrvtt"
    if msrvtt and config.files:
        raise ValueError("train_file, val_file and test_file are not for MSR-VTT; choose train_split and test_split")
    if not msrvtt and (config.train_split, config.test_split) != ("9k", "1k-A"):
        raise ValueError(
            f"train_split and test_split are MSR-VTT's, got {config.train_split} and {config.test_split} for "
            f"{config.dataset}; choose files with train_file and test_file"
        )
    schemas: tuple[str, ...] = get_args(Format) if msrvtt else () if config.dataset == "own" else get_args(Schema)
    if config.schema is not None and config.schema not in schemas:
        expected = f"one of {', '.join(schemas)}" if schemas else "no schema"
        raise ValueError(f"expected {expected} for {config.dataset}, got schema={config.schema!r}")
