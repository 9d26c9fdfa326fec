"""Scoring a gallery in two stages, as BLIP's video evaluation does: embeddings first, matching for the best candidates.

Stage one compares every text with every video. Stage two takes, in each direction, the top k of stage one and scores
them by matching (ITM) plus similarity (ITC). A pair that both directions want is scored once, and each process scores
the pairs of the videos that it encoded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from litevl.distributed import gather_objects
from litevl.models.features import TextFeatures, VideoFeatures
from litevl.models.interfaces import RetrievalModel

Matrix = Float[np.ndarray, "texts videos"]


LOW_PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Scores:
    """Scores of every text with every video, higher is more alike; rows are `text_ids`, columns `video_ids`."""

    text_ids: tuple[str, ...]
    """The video that each text describes."""
    video_ids: tuple[str, ...]
    contrastive: Matrix
    reranked_t2v: Matrix
    reranked_v2t: Matrix
    pairs_matched: int
    """How many pairs went through cross-attention."""


@torch.no_grad()
def score_gallery(
    model: RetrievalModel,
    texts: Sequence[str],
    text_ids: Sequence[str],
    videos: Iterable[tuple[Sequence[str], Float[Tensor, "_ time 3 height width"]]],
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
        pair_batch: pairs matched at a time.
        num_videos: how many come on this process, for the progress bar.

    Returns:
        The same scores on every process, videos in the order of their ids.

    Raises:
        ValueError: no video came, on no process.
    """
    own_ids, features = _encode_videos(model, videos, accelerator, num_videos)
    shards = gather_objects((own_ids, None if features is None else features.embed))
    video_ids = [name for ids, _ in shards for name in ids]
    if not video_ids:
        raise ValueError("no video to evaluate: every one was missing or unreadable")
    come = set(video_ids)
    kept = [row for row, name in enumerate(text_ids) if name in come]
    text_ids = [text_ids[row] for row in kept]
    text = _encode_texts(model, [texts[row] for row in kept], accelerator)
    embed = torch.cat([part for _, part in shards if part is not None])
    similarity = (text.embed.cpu() @ embed.T).numpy().astype(np.float64)
    for_text, for_video = candidates(similarity, k), candidates(similarity.T, k).T
    wanted = for_text | for_video
    first = sum(len(ids) for ids, _ in shards[: accelerator.process_index])
    own = _match(model, text, features, wanted[:, first : first + len(own_ids)], accelerator, pair_batch)
    matched = np.concatenate(gather_objects(own), axis=1)
    # In the order of ids the result does not depend on how the videos were shared out.
    order = np.argsort(video_ids, kind="stable")
    similarity, matched = similarity[:, order], matched[:, order]
    return Scores(
        tuple(text_ids),
        tuple(video_ids[column] for column in order),
        similarity,
        rerank(similarity, matched, for_text[:, order]),
        rerank(similarity, matched, for_video[:, order]),
        int(wanted.sum()),
    )


def candidates(similarity: Float[np.ndarray, "queries gallery"], k: int) -> Bool[np.ndarray, "queries gallery"]:
    """Marks the k most similar gallery items of each query (all of them where the gallery is smaller)."""
    k = min(k, similarity.shape[1])
    mask = np.zeros(similarity.shape, dtype=bool)
    if k:
        top = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        np.put_along_axis(mask, top, True, axis=1)
    return mask


def rerank(similarity: Matrix, matched: Matrix, candidate: Bool[np.ndarray, "texts videos"]) -> Matrix:
    """Matching plus similarity for candidates; everything else below them all, in the order of its similarity."""
    if not candidate.any():
        return similarity
    both = np.where(candidate, matched, 0.0) + similarity
    floor = both[candidate].min() - similarity.max() - 1.0
    return np.where(candidate, both, similarity + floor)


def _encode_videos(
    model: RetrievalModel,
    videos: Iterable[tuple[Sequence[str], Tensor]],
    accelerator: Accelerator,
    num_videos: int | None,
) -> tuple[list[str], VideoFeatures | None]:
    ids: list[str] = []
    parts: list[VideoFeatures] = []
    hidden = not accelerator.is_main_process
    with tqdm(total=num_videos, unit="video", desc="encode videos", disable=hidden, leave=False) as bar:
        for names, pixels in videos:
            with accelerator.autocast():
                encoded = model.encode_video(pixels)
            # The tokens of a whole gallery do not fit a device; they wait in main memory, in the precision in which
            # cross-attention will read them.
            parts.append(encoded.to("cpu", LOW_PRECISION.get(accelerator.mixed_precision)))
            ids.extend(names)
            bar.update(len(names))
    return ids, VideoFeatures.cat(parts) if parts else None


def _encode_texts(model: RetrievalModel, texts: Sequence[str], accelerator: Accelerator) -> TextFeatures:
    with accelerator.autocast():
        return TextFeatures.cat([model.encode_text(texts[start : start + 256]) for start in range(0, len(texts), 256)])


def _match(
    model: RetrievalModel,
    text: TextFeatures,
    videos: VideoFeatures | None,
    wanted: Bool[np.ndarray, "texts own_videos"],
    accelerator: Accelerator,
    pair_batch: int,
) -> Float[np.ndarray, "texts own_videos"]:
    scores = np.full(wanted.shape, np.nan)
    columns, rows = np.nonzero(wanted.T)
    starts = range(0, len(rows), pair_batch)
    for start in tqdm(starts, unit="batch", desc="match pairs", disable=not accelerator.is_main_process, leave=False):
        row, column = rows[start : start + pair_batch], columns[start : start + pair_batch]
        assert videos is not None
        # Pairs come video by video, so a batch needs few videos: each is moved once and repeated on the device.
        few, place = np.unique(column, return_inverse=True)
        video = videos[torch.from_numpy(few)].to(model.device)[torch.from_numpy(place).to(model.device)]
        with accelerator.autocast():
            logits = model.match_pairs(text[torch.from_numpy(row).to(model.device)], video)
        scores[row, column] = logits[:, 1].float().cpu().numpy()
    return scores
