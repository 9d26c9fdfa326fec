"""Stage two of a search: the candidates matched with the query by cross-attention over their tokens."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from litevl.data.video_index import VideoError
from litevl.models.features import TextFeatures, VideoFeatures

from .catalog import Entry
from .results import Hit
from .tokens import read_tokens

if TYPE_CHECKING:
    from .index import VideoIndex

AT_ONCE = 8
"""Candidates whose tokens are in memory at a time: of 8 frames of 224 pixels by ViT-B 39 MB in float32."""

logger = logging.getLogger(__name__)


@torch.inference_mode()
def rerank_hits(index: "VideoIndex", text: TextFeatures, hits: Sequence[Hit]) -> list[Hit]:
    """Hits with their matching logit added to their similarity, as `litevl.evaluation` re-ranks; the best first.

    One whose video would have to be read again, and can't be, is not matched: it stands behind those that are, and a
    warning names it.
    """
    matched: list[Hit] = []
    left: list[Hit] = []
    for start in range(0, len(hits), AT_ONCE):
        some = hits[start : start + AT_ONCE]
        entries = index.catalog.entries([hit.id for hit in some])
        features = {hit: _features_of(index, hit, entries.get(hit.id)) for hit in some}
        there = {hit: found for hit, found in features.items() if found is not None}
        left += [hit for hit in features if hit not in there]
        if not there:
            continue
        logits = index.model.match_text(text, VideoFeatures.cat(list(there.values()))).float().cpu()
        probabilities = logits.softmax(dim=-1)[:, 1].tolist()
        for hit, logit, probability in zip(there, logits[:, 1].tolist(), probabilities, strict=True):
            matched.append(replace(hit, score=logit + hit.similarity, match=probability))
    return [*sorted(matched, key=lambda hit: hit.score, reverse=True), *left]


def _features_of(index: "VideoIndex", hit: Hit, entry: Entry | None) -> VideoFeatures | None:
    """What the model makes of a segment: its tokens from disk, or made again where none were kept; None if it can't."""
    kept = None if entry is None or entry.tokens is None else _kept(index, entry.tokens, entry.number)
    if kept is not None:
        return kept
    try:
        return index.model.encode_video(index.clip(index.pictures(hit))[None])
    except VideoError as error:
        logger.warning("%s; it is not matched with the query, and listed by its similarity", error)
        return None


def _kept(index: "VideoIndex", name: str, number: int) -> VideoFeatures | None:
    maker = index.record.maker
    try:
        rows = read_tokens(index.token_folder, name, number).to(index.model.device).float()
    except (OSError, ValueError) as error:
        logger.warning("%s; its segment is encoded again", error)
        return None
    # Matching reads no embedding.
    return VideoFeatures(rows, rows.new_zeros(1, maker.embed_dim), maker.num_frames, maker.cls)
