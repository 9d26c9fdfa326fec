"""The embedded corpus as each of the retrieval data sets, and what it alone knows of its clips."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from litevl.corpus.corpus import ANNOTATIONS, ORDER_PAIRS

from .annotations import VideoCaptions, read_json
from .paths import VideoFolder
from .retrieval_config import Dataset, RetrievalDataConfig

FOLDERS: dict[Dataset, str] = {
    "msrvtt": "",
    "didemo": "didemo",
    "activitynet": "activitynet",
    "msvd": "msvd",
    "own": "own",
}
"""Where in the corpus's folder the annotation files of a data set are."""
CATEGORIES = {0: "static", 1: "order of movement", 2: "order of appearance", 3: "event"}


def in_corpus(config: RetrievalDataConfig, corpus: Path, folder: str | None = None) -> RetrievalDataConfig:
    """The settings that read a config's data set from the corpus, all of whose clips are in one folder.

    Args:
        config: without a root.
        corpus: the corpus's folder.
        folder: of the annotation files in it, where they are not those of retrieval.
    """
    videos = corpus if config.videos is None else config.videos
    found = replace(config, root=corpus / (FOLDERS[config.dataset] if folder is None else folder), videos=videos)
    return replace(found, train_split="full", test_split="full") if config.dataset == "msrvtt" else found


@dataclass(frozen=True)
class CorpusFacts:
    """What the corpus knows of the videos of a data set, by the data set's ids. Other folders know nothing."""

    order_pairs: tuple[tuple[str, str], ...] = ()
    """Clips that are each other's reversal."""
    kinds: dict[str, str] = field(default_factory=dict)
    """Kind of clip."""


def corpus_facts(root: Path, folder: VideoFolder, videos: Iterable[VideoCaptions]) -> CorpusFacts:
    """What a folder of the embedded corpus's kind knows of videos, which are told by their files.

    Args:
        root: the folder of the annotations.
        folder: that of the videos; either may be the corpus's own.
        videos: of every split.
    """
    corpus = next((place for place in (root, folder.root) if (place / ORDER_PAIRS).is_file()), None)
    if corpus is None:
        return CorpusFacts()
    files = ((folder.find(video.key), video.video_id) for video in videos)
    ids = {path.stem: video_id for path, video_id in files if path is not None}
    with (corpus / ORDER_PAIRS).open(encoding="utf-8", newline="") as file:
        pairs = [(row["video_id"], row["reversed_video_id"]) for row in csv.DictReader(file)]
    known = read_json(corpus / ANNOTATIONS)["videos"] if (corpus / ANNOTATIONS).is_file() else []
    return CorpusFacts(
        tuple((ids[one], ids[other]) for one, other in pairs if one in ids and other in ids),
        {ids[row["video_id"]]: CATEGORIES[row["category"]] for row in known if row["video_id"] in ids},
    )
