"""The data of a text-video retrieval run: splits, files, coverage, and the galleries to evaluate."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from litevl.corpus import ensure_corpus

from .annotations import VideoCaptions
from .clips import Clips
from .coverage import Coverage, apply_policy, find_bad_videos
from .digest import digest_of
from .embedded import corpus_facts, in_corpus
from .multiple_choice import CaptionChoice, load_choices, refuse_trained
from .paths import VideoFolder
from .retrieval_config import RetrievalDataConfig, find_set
from .retrieval_set import CaptionMode

__all__ = ["Gallery", "RetrievalData", "RetrievalDataConfig", "Split", "load_retrieval_data"]

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
    choices: tuple[CaptionChoice, ...] = ()
    """Captions to choose from, where they were asked for."""

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
            "data_digest": {
                split: digest_of((video.video_id, sorted(video.captions)) for video in videos)
                for split, videos in self.splits.items()
                if videos
            },
        }

    def coverage_of(self, split: Split, video_ids: Sequence[str]) -> Coverage:
        """The coverage of a split when only these of its videos could be decoded."""
        come = set(video_ids)
        return self.coverage[split].without(v.video_id for v in self.splits[split] if v.video_id not in come)


def load_retrieval_data(
    config: RetrievalDataConfig, *, training: bool = True, progress: bool = True, corpus_folder: str | None = None
) -> RetrievalData:
    """Finds the annotations and the files of every split, and applies the policy for what is missing.

    Args:
        config: where, which splits, and the policy.
        training: False asks for the test split alone, for which its own annotation file is enough.
        progress: show progress bars.
        corpus_folder: without a root, the folder of the embedded corpus's annotation files, where they are not those
            of retrieval.

    Raises:
        AnnotationError: no annotations that make the splits, or damaged ones.
        UnusableVideosError: a video is missing or unreadable under the policy `error`; the first ones are named.
        ValueError: a setting of another data set, or a caption mode that this one is not evaluated in.
    """
    asked = in_corpus(config, ensure_corpus(progress=progress), corpus_folder) if config.root is None else config
    root = asked.root
    assert root is not None
    found = find_set(asked, root, training=training)
    folder = VideoFolder(
        root if asked.videos is None else asked.videos, config.frame_store, decode_timeout=config.decode_timeout
    )
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
    choices: tuple[CaptionChoice, ...] = ()
    if config.choices is not None:
        choices = load_choices(root / config.choices)
        refuse_trained(root / config.choices, choices, {video.video_id for video in found.train})
        bad = find_bad_videos(choices, folder, decode=config.check_decoding, decoder=config.decoder, progress=progress)
        apply_policy(choices, bad, config.on_bad_video)
    return RetrievalData(
        choices=choices,
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


class Gallery(Clips):
    """The texts of a split, and this process's share of its videos as preprocessed clips."""

    def __init__(self, data: RetrievalData, split: Split, **options: Any):
        """Takes the options of `Clips` that the data does not settle."""
        videos = data.splits[split]
        self.texts = [caption for video in videos for caption in video.captions]
        self.text_ids = [video.video_id for video in videos for _ in video.captions]
        settings = data.config
        super().__init__(
            videos,
            data.folder,
            decoder=settings.decoder,
            sampling=settings.sampling,
            on_bad_video=settings.on_bad_video,
            **options,
        )
