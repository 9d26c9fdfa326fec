"""The data of a text-video retrieval run: splits, files, coverage, and the galleries to evaluate."""

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

from .annotations import VideoCaptions
from .coverage import Coverage, apply_policy, find_bad_videos
from .dataset import VideoDataset, collate_videos
from .embedded import corpus_facts, in_corpus
from .paths import VideoFolder
from .preprocess import PreprocessConfig, normalize
from .retrieval_config import RetrievalDataConfig, find_set
from .retrieval_set import CaptionMode

__all__ = ["Gallery", "RetrievalData", "RetrievalDataConfig", "Split", "load_retrieval_data"]

logger = logging.getLogger(__name__)

Split = Literal["train", "val", "test"]
QUERIES = {"one": "a caption a query", "many": "each caption a query", "paragraph": "a paragraph a query"}


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
    dataset: str
    """What the data is called in reports."""
    caption_mode: CaptionMode
    train_split: str
    test_split: str
    schema: str
    files: tuple[Path, ...]
    notes: tuple[str, ...]

    def summary(self) -> str:
        """What was found, in a few lines."""
        counts = ", ".join(
            f"{split} {len(videos)} videos / {sum(len(v.captions) for v in videos)} captions"
            for split, videos in self.splits.items()
        )
        splits = f"train {self.train_split}, test {self.test_split}"
        lines = [f"{self.dataset}, {splits}, {QUERIES[self.caption_mode]} ({self.schema} files): {counts}"]
        lines += [f"{split} {coverage}" for split, coverage in self.coverage.items() if coverage.missing]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes if self.config.root is not None)])

    def stamp(self) -> dict[str, Any]:
        """What of the data belongs to the protocol of a result."""
        return {
            "dataset": self.dataset,
            "caption_mode": self.caption_mode,
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
        ValueError: a setting of another data set, or a caption mode that this one is not evaluated in.
    """
    asked = in_corpus(config, ensure_corpus(progress=progress)) if config.root is None else config
    root = asked.root
    assert root is not None
    found = find_set(asked, root, training=training)
    folder = VideoFolder(root if asked.videos is None else asked.videos)
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
    kept_videos = [video for videos in splits.values() for video in videos]
    facts = corpus_facts(root, folder, kept_videos)
    groups = {video.video_id: f"category {video.category}" for video in kept_videos if video.category is not None}
    dataset = found.dataset
    if config.root is None:
        dataset = "embedded corpus" if config.dataset == "msrvtt" else f"embedded corpus as {found.dataset}"
    return RetrievalData(
        config=config,
        folder=folder,
        splits=splits,
        coverage=coverage,
        groups=groups | facts.kinds,
        order_pairs=facts.order_pairs,
        dataset=dataset,
        caption_mode=found.caption_mode,
        train_split=found.train_split or (asked.train_split if config.dataset == "msrvtt" else "none"),
        test_split=found.test_split,
        schema=found.schema,
        files=found.files,
        notes=found.notes,
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
