"""Stage two of a search: the candidates matched with the query by cross-attention over their tokens."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from litevl.models.features import TextFeatures, VideoFeatures

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

    Raises:
        VideoError: no tokens were kept, and a video can't be read again.
    """
    matched: list[Hit] = []
    for start in range(0, len(hits), AT_ONCE):
        some = hits[start : start + AT_ONCE]
        logits = index.model.match_text(text, features_of(index, some)).float().cpu()
        probabilities = logits.softmax(dim=-1)[:, 1].tolist()
        for hit, logit, probability in zip(some, logits[:, 1].tolist(), probabilities, strict=True):
            matched.append(replace(hit, score=logit + hit.similarity, match=probability))
    return sorted(matched, key=lambda hit: hit.score, reverse=True)


def features_of(index: "VideoIndex", hits: Sequence[Hit]) -> VideoFeatures:
    """What the model makes of segments: their tokens from disk, or made again where none were kept."""
    entries = index.catalog.entries([hit.id for hit in hits])
    parts = []
    for hit in hits:
        entry = entries.get(hit.id)
        kept = None if entry is None or entry.tokens is None else _kept(index, entry.tokens, entry.number)
        parts.append(index.model.encode_video(index.clip(index.pictures(hit))[None]) if kept is None else kept)
    return VideoFeatures.cat(parts)


def _kept(index: "VideoIndex", name: str, number: int) -> VideoFeatures | None:
    maker = index.record.maker
    try:
        rows = read_tokens(index.token_folder, name, number).to(index.model.device).float()
    except (OSError, ValueError) as error:
        logger.warning("%s; its segment is encoded again", error)
        return None
    # Matching reads no embedding.
    return VideoFeatures(rows, rows.new_zeros(1, maker.embed_dim), maker.num_frames, maker.cls)
