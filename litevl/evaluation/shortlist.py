"""Stage one of scoring: the most similar items of each query, and the rank of the right one, block by block.

Never are there more similarities at a time than one block's, however large the gallery.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from litevl.metrics import ranks

BLOCK_ELEMENTS = 1 << 24
"""Similarities computed at a time: 64 MB."""


@dataclass(frozen=True)
class Shortlist:
    """Of each query, its k most similar items and what follows from all of them."""

    items: Int[np.ndarray, "queries k"]
    """The most similar first."""
    similarity: Float[np.ndarray, "queries k"]
    """Their cosine similarity."""
    ranks: Int[np.ndarray, " queries"]
    """Rank of the best of the right items among all, from 1; a tie counts against it."""


def shortlist(
    queries: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "items dim"],
    query_ids: Sequence[str],
    gallery_ids: Sequence[str],
    k: int,
) -> Shortlist:
    """Compares every query with every item.

    Args:
        queries: normalised embeddings, on the CPU.
        gallery: of what is searched.
        query_ids: an id of each query.
        gallery_ids: of each item; those with a query's id are right.
        k: items to keep of each query; all of them where there are fewer.

    Raises:
        ValueError: a similarity is NaN, or no item is right for a query.
    """
    k = min(k, len(gallery))
    size = max(1, BLOCK_ELEMENTS // max(1, len(gallery)))
    items, similarity, placed = [], [], []
    for start in range(0, len(queries), size):
        block = queries[start : start + size] @ gallery.T
        placed.append(ranks(block.numpy(), query_ids[start : start + size], gallery_ids))
        best = block.topk(k, dim=1)
        items.append(best.indices.numpy())
        similarity.append(best.values.numpy())
    return Shortlist(np.concatenate(items), np.concatenate(similarity), np.concatenate(placed))


def pairs_of(
    for_text: Shortlist, for_video: Shortlist
) -> tuple[Int[np.ndarray, "texts listed_videos"], Int[np.ndarray, "videos listed_texts"]]:
    """The pairs on both directions' shortlists, as `video * texts + text`, so that ascending they come by video."""
    texts, videos = len(for_text.items), len(for_video.items)
    of_text = for_text.items * texts + np.arange(texts)[:, None]
    return of_text, for_video.items + texts * np.arange(videos)[:, None]


def reranked(
    listed: Shortlist,
    matched: Float[np.ndarray, "queries k"],
    query_ids: Sequence[str],
    gallery_ids: Sequence[str],
) -> Int[np.ndarray, " queries"]:
    """The rank of the best of the right items once the shortlist stands by matching plus similarity, ties as before.

    Items that are not on the shortlist come after it, in the order of their similarity; so where no right item is on
    it, the rank is stage one's.

    Args:
        listed: of stage one.
        matched: how well each item on it matches.
        query_ids: as in `shortlist`.
        gallery_ids: likewise.
    """
    if not matched.shape[1]:
        return listed.ranks
    right = np.asarray(gallery_ids)[listed.items] == np.asarray(query_ids)[:, None]
    scores = matched.astype(np.float64) + listed.similarity
    best = scores.max(axis=1, where=right, initial=-np.inf)
    before = ((scores >= best[:, None]) & ~right).sum(axis=1)
    return np.where(right.any(axis=1), 1 + before, listed.ranks)
