"""The data of a text-video retrieval run: splits, files, coverage, and the galleries to evaluate."""

import csv
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader

from litevl.corpus import ensure_corpus
from litevl.corpus.corpus import ORDER_PAIRS

from .annotations import VideoCaptions
from .coverage import BadVideoPolicy, Coverage, apply_policy, find_bad_videos
from .dataset import VideoDataset, collate_videos
from .msrvtt import Format, TestSplit, TrainSplit, load_msrvtt
from .paths import VideoFolder
from .preprocess import PreprocessConfig, normalize
from .sampling import Sampling
from .video import Decoder

logger = logging.getLogger(__name__)

Split = Literal["train", "val", "test"]
CORPUS_CATEGORIES = {0: "static", 1: "order of movement", 2: "order of appearance", 3: "event"}


@dataclass(frozen=True)
class RetrievalDataConfig:
    """The videos and their captions."""

    root: Path | None = None
    """MSR-VTT's folder, in any of the layouts it comes in; by default the embedded corpus, rendered on first use."""
    train_split: TrainSplit = "9k"
    """Training videos: 9k, 7k, or the original `full` split, which has validation videos."""
    test_split: TestSplit = "1k-A"
    """Test videos: the 1,000 of 1k-A with one caption each, or the original 2,990."""
    schema: Format | None = None
    """Take annotation files of this form only; by default it is detected."""
    captions: Literal["one", "all"] = "one"
    """Train on one random caption of each video per epoch, or on every caption."""
    similar: int = 1
    """Make training batches of groups of this many videos that the frozen backbone sees as alike, so that a batch
    holds hard negatives; costs one pass over the training videos. 1 mixes at random."""
    decoder: Decoder = "auto"
    """decord where it can, else PyAV; or one of them, or torchcodec, by name."""
    sampling: Sampling = "midpoint"
    """Frames for evaluation: mid-points of equal segments, or `legacy_blip`, BLIP's own truncating rule."""
    on_bad_video: BadVideoPolicy = "error"
    """Stop at a missing or unreadable video, or leave it out and say so in every metric's coverage."""
    check_decoding: bool = False
    """Decode one frame of every video before the run; without it only missing files are found beforehand."""
    workers: int = 2
    """Processes that decode training clips."""


@dataclass(frozen=True)
class RetrievalData:
    """The splits of a run, cleared of what is missing."""

    config: RetrievalDataConfig
    folder: VideoFolder
    splits: dict[Split, tuple[VideoCaptions, ...]]
    coverage: dict[Split, Coverage]
    groups: dict[str, str]
    """Kind of video by id, where the annotations tell."""
    order_pairs: tuple[tuple[str, str], ...]
    """Clips that are each other's reversal; only a folder of the embedded corpus's kind knows them."""
    train_split: TrainSplit
    test_split: TestSplit
    schema: str
    files: tuple[Path, ...]
    notes: tuple[str, ...]

    @property
    def dataset(self) -> str:
        """What the data is called in reports."""
        return "embedded corpus" if self.config.root is None else "MSR-VTT"

    def summary(self) -> str:
        """What was found, in a few lines."""
        counts = ", ".join(
            f"{split} {len(videos)} videos / {sum(len(v.captions) for v in videos)} captions"
            for split, videos in self.splits.items()
        )
        lines = [f"{self.dataset}, train {self.train_split}, test {self.test_split} ({self.schema} files): {counts}"]
        lines += [f"{split} {coverage}" for split, coverage in self.coverage.items() if coverage.missing]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes if self.config.root is not None)])

    def stamp(self) -> dict[str, Any]:
        """What of the data belongs to the protocol of a result."""
        return {
            "dataset": self.dataset,
            "schema": self.schema,
            "train_split": self.train_split,
            "test_split": self.test_split,
            "sampling": self.config.sampling,
            "coverage": {split: str(coverage) for split, coverage in self.coverage.items()},
        }

    def coverage_of(self, split: Split, video_ids: Sequence[str]) -> Coverage:
        """The coverage of a split when only these of its videos could be decoded."""
        come = set(video_ids)
        return self.coverage[split].without(v.video_id for v in self.splits[split] if v.video_id not in come)


def load_retrieval_data(config: RetrievalDataConfig, *, training: bool = True, progress: bool = True) -> RetrievalData:
    """Finds the annotations and the files of every split, and applies the policy for what is missing.

    Args:
        config: where, which splits, and the policy.
        training: False asks for the test split alone, for which its own annotation file is enough.
        progress: show progress bars.

    Raises:
        AnnotationError: no annotations that make the splits, or damaged ones.
        UnusableVideosError: a video is missing or unreadable under the policy `error`; the first ones are named.
    """
    root = ensure_corpus(progress=progress) if config.root is None else config.root
    train_split: TrainSplit = "full" if config.root is None else config.train_split
    test_split: TestSplit = "full" if config.root is None else config.test_split
    found = load_msrvtt(root, train_split if training else None, test_split, config.schema)
    folder = VideoFolder(root)
    splits: dict[Split, tuple[VideoCaptions, ...]] = {}
    coverage: dict[Split, Coverage] = {}
    named: tuple[tuple[Split, Sequence[VideoCaptions]], ...] = (
        ("train", found.train),
        ("val", found.val),
        ("test", found.test),
    )
    for split, videos in named:
        bad = find_bad_videos(videos, folder, decode=config.check_decoding, decoder=config.decoder, progress=progress)
        kept, coverage[split] = apply_policy(videos, bad, config.on_bad_video)
        splits[split] = tuple(kept)
    pairs = _order_pairs(root)
    names = CORPUS_CATEGORIES if pairs else {}
    groups = {
        video.video_id: names.get(video.category, f"category {video.category}")
        for videos in splits.values()
        for video in videos
        if video.category is not None
    }
    return RetrievalData(
        config, folder, splits, coverage, groups, pairs, train_split, test_split, found.schema, found.files, found.notes
    )


class Gallery:
    """The videos and texts of a split, and this process's share of the videos as preprocessed clips.

    Iterating gives batches of video ids and pixels on `device`; a video that can't be decoded follows the policy, and
    under `skip` it is named in the log and does not come.
    """

    def __init__(
        self,
        data: RetrievalData,
        split: Split,
        *,
        num_frames: int,
        preprocess: PreprocessConfig,
        batch_size: int,
        workers: int,
        device: torch.device,
        process: int = 0,
        processes: int = 1,
    ):
        videos = data.splits[split]
        self.texts = [caption for video in videos for caption in video.captions]
        self.text_ids = [video.video_id for video in videos for _ in video.captions]
        share = torch.arange(len(videos)).tensor_split(processes)[process].tolist()
        self.num_videos = len(share)
        self.preprocess, self.device = preprocess, device
        dataset = VideoDataset(
            [videos[i] for i in share],
            data.folder,
            num_frames,
            preprocess,
            decoder=data.config.decoder,
            sampling=data.config.sampling,
            on_bad_video=data.config.on_bad_video,
        )
        self.loader = DataLoader(dataset, batch_size, num_workers=workers, collate_fn=collate_videos)

    def __iter__(self) -> Iterator[tuple[list[str], Float[Tensor, "batch time 3 height width"]]]:
        for batch in self.loader:
            for video_id, reason in zip(batch["bad"], batch["reasons"], strict=True):
                logger.warning("left out of the evaluation: %s: %s", video_id, reason)
            if batch["video_id"]:
                yield batch["video_id"], normalize(batch["frames"].to(self.device), self.preprocess)


def _order_pairs(root: Path) -> tuple[tuple[str, str], ...]:
    if not (root / ORDER_PAIRS).is_file():
        return ()
    with (root / ORDER_PAIRS).open(encoding="utf-8", newline="") as file:
        return tuple((row["video_id"], row["reversed_video_id"]) for row in csv.DictReader(file))
