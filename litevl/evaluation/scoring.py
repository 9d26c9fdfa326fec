"""Scoring a gallery in two stages, as BLIP's video evaluation does: embeddings first, matching for the best candidates.

Stage one compares every text with every video. Stage two takes, in each direction, the top k of stage one and scores
them by matching (ITM) plus similarity (ITC). A pair that both directions want is scored once, and a video's pairs are
scored together by the process that encoded it: (texts + videos) * k pairs at most, and as much memory.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from litevl.distributed import gather_objects
from litevl.models.encoding import ClipBatch
from litevl.models.features import TextFeatures, VideoFeatures
from litevl.models.interfaces import RetrievalModel

from .shortlist import Shortlist, pairs_of, reranked, shortlist

LOW_PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}
LONG = 30.0
"""Seconds of matching from which on it is said beforehand what they go into."""

Kind = Literal["contrastive", "reranked"]


@dataclass(frozen=True)
class Scores:
    """How texts and videos score with each other, higher is more alike: all by similarity, shortlists by matching."""

    text_ids: tuple[str, ...]
    """The video that each text describes."""
    video_ids: tuple[str, ...]
    text_embed: Float[Tensor, "texts dim"]
    video_embed: Float[Tensor, "videos dim"]
    for_text: Shortlist
    """Videos for each text."""
    for_video: Shortlist
    """Texts for each video."""
    matched_for_text: Float[np.ndarray, "texts listed_videos"]
    """How well each video on a text's shortlist matches."""
    matched_for_video: Float[np.ndarray, "videos listed_texts"]
    pairs_matched: int
    """How many pairs went through cross-attention."""

    def ranks(self, kind: Kind) -> tuple[Int[np.ndarray, " texts"], Int[np.ndarray, " videos"]]:
        """Of each text its video's rank (t2v), and of each video that of the best of its texts (v2t), from 1."""
        if kind == "contrastive":
            return self.for_text.ranks, self.for_video.ranks
        return (
            reranked(self.for_text, self.matched_for_text, self.text_ids, self.video_ids),
            reranked(self.for_video, self.matched_for_video, self.video_ids, self.text_ids),
        )

    def of_video(self, kind: Kind, video: int, text: int) -> tuple[bool, float]:
        """What a text scores among the texts of a video; a shortlist's texts stand before all others.

        Args:
            kind: by similarity, or with the video's shortlist re-ranked by matching.
            video: its number.
            text: its number.
        """
        similarity = float(self.text_embed[text] @ self.video_embed[video])
        place = np.flatnonzero(self.for_video.items[video] == text)
        if kind == "contrastive" or not len(place):
            return False, similarity
        return True, similarity + float(self.matched_for_video[video, place[0]])


@torch.no_grad()
def score_gallery(
    model: RetrievalModel,
    texts: Sequence[str],
    text_ids: Sequence[str],
    videos: Iterable[tuple[Sequence[str], ClipBatch]],
    accelerator: Accelerator,
    *,
    k: int,
    pair_batch: int,
    num_videos: int | None = None,
) -> Scores:
    """Scores all texts with all videos.

    Args:
        model: in eval mode.
        texts: every text, the same on every process.
        text_ids: the video that each text describes. Texts of videos that do not come are left out.
        videos: ids and preprocessed clips in batches; this process's share.
        accelerator: of this run.
        k: candidates per query that are matched; clamped to the gallery. 0 leaves matching out.
        pair_batch: texts matched with a video at a time.
        num_videos: how many come on this process, for the progress bar.

    Returns:
        The same scores on every process, videos in the order of their ids.

    Raises:
        ValueError: no video came, on no process; or a score is NaN, with the pair's names.
    """
    own_ids, features = _encode_videos(model, videos, accelerator, num_videos)
    shards = gather_objects((own_ids, None if not features else torch.cat([each.embed for each in features])))
    every = [name for ids, _ in shards for name in ids]
    if not every:
        raise ValueError("no video to evaluate: every one was missing or unreadable")
    # In the order of ids the result does not depend on how the videos were shared out.
    order = np.argsort(every, kind="stable")
    video_ids = [every[number] for number in order]
    embed = torch.cat([part for _, part in shards if part is not None])[torch.from_numpy(order)]
    come = set(video_ids)
    kept = [row for row, name in enumerate(text_ids) if name in come]
    text_ids = [text_ids[row] for row in kept]
    text = _encode_texts(model, [texts[row] for row in kept], accelerator)
    text_embed = text.embed.float().cpu()
    for_text = shortlist(text_embed, embed, text_ids, video_ids, k)
    for_video = shortlist(embed, text_embed, video_ids, text_ids, k)
    of_text, of_video = pairs_of(for_text, for_video)
    pairs = np.unique(np.concatenate([of_text.ravel(), of_video.ravel()]))
    first = sum(len(ids) for ids, _ in shards[: accelerator.process_index])
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    own = _match(model, text, features, number[first : first + len(own_ids)], pairs, accelerator, pair_batch)
    matched = np.empty(len(pairs))
    for places, scores in gather_objects(own):
        matched[places] = scores
    if np.isnan(matched).any():
        video, row = divmod(int(pairs[np.isnan(matched)][0]), len(text_ids))
        named = f"video {video_ids[video]!r} and text {texts[kept[row]]!r}"
        raise ValueError(f"matching: expected scores, got NaN for {named}; look for NaN in the model's weights")
    return Scores(
        tuple(text_ids),
        tuple(video_ids),
        text_embed,
        embed,
        for_text,
        for_video,
        matched[np.searchsorted(pairs, of_text)],
        matched[np.searchsorted(pairs, of_video)],
        len(pairs),
    )


def _encode_videos(
    model: RetrievalModel,
    videos: Iterable[tuple[Sequence[str], ClipBatch]],
    accelerator: Accelerator,
    num_videos: int | None,
) -> tuple[list[str], list[VideoFeatures]]:
    ids: list[str] = []
    features: list[VideoFeatures] = []
    hidden = not accelerator.is_main_process
    with tqdm(total=num_videos, unit="video", desc="encode videos", disable=hidden, leave=False) as bar:
        for names, pixels in videos:
            with accelerator.autocast():
                encoded = model.encode_video(pixels)
            # The tokens of a whole gallery do not fit a device; they wait in main memory, in the precision in which
            # cross-attention will read them.
            encoded = encoded.to("cpu", LOW_PRECISION.get(accelerator.mixed_precision))
            features += [encoded[place : place + 1] for place in range(len(names))]
            ids.extend(names)
            bar.update(len(names))
    return ids, features


def _encode_texts(model: RetrievalModel, texts: Sequence[str], accelerator: Accelerator) -> TextFeatures:
    with accelerator.autocast():
        return TextFeatures.cat([model.encode_text(texts[start : start + 256]) for start in range(0, len(texts), 256)])


def _match(
    model: RetrievalModel,
    text: TextFeatures,
    features: Sequence[VideoFeatures],
    numbers: Int[np.ndarray, " own_videos"],
    pairs: Int[np.ndarray, " pairs"],
    accelerator: Accelerator,
    pair_batch: int,
) -> tuple[Int[np.ndarray, " own_pairs"], Float[np.ndarray, " own_pairs"]]:
    """Matches the pairs of this process's videos: their places among all, and their scores."""
    starts = np.searchsorted(pairs, numbers * len(text))
    stops = np.searchsorted(pairs, (numbers + 1) * len(text))
    places = [np.arange(*between) for between in zip(starts, stops, strict=True)]
    total = sum(map(len, places))
    bar = tqdm(total=total, unit="pair", desc="match pairs", disable=not accelerator.is_main_process, leave=False)
    scores: list[np.ndarray] = []

    with bar:
        for video, place in zip(features, places, strict=True):
            if not len(place):
                continue
            counter, start = FlopCounterMode(display=False), time.perf_counter()
            rows = torch.from_numpy(pairs[place] % len(text)).to(text.embed.device)
            with accelerator.autocast(), nullcontext() if scores else counter:
                logits = model.match_video(text[rows], video.to(model.device), pair_batch)
            scores.append(logits[:, 1].double().cpu().numpy())
            share = total / len(place)
            seconds = (time.perf_counter() - start) * share
            if len(scores) == 1 and seconds > LONG:
                gigabytes = sum(each.rows.nbytes for each in features) / 1e9
                bar.write(
                    f"to match {total:,} pairs of {len(text):,} texts and {len(features):,} videos: "
                    f"{counter.get_total_flops() * share / 1e12:,.1f} TFLOPs, about {tqdm.format_interval(seconds)}; "
                    f"the videos' tokens hold {gigabytes:.1f} GB of memory"
                )
            bar.update(len(place))
    return np.concatenate([np.empty(0, dtype=np.int64), *places]), np.concatenate([np.empty(0), *scores])
