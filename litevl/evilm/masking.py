"""Which patches and which words pre-training hides.

Patches: half of the clips lose blocks of space and time, the others patches at random, as in VIOLET (arXiv 2111.12681)
and BEiT (arXiv 2106.08254). Words: BERT's rule (arXiv 1810.04805).
"""

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def mask_patches(
    clips: int, num_frames: int, grid: int, ratio: float, block_share: float, generator: torch.Generator
) -> Bool[Tensor, "clips time patches"]:
    """Draws the patches to hide, in every clip the same number of them.

    Args:
        clips: how many.
        num_frames: of a clip.
        grid: patches along a side of a frame.
        ratio: share of a clip's patches that is hidden; at least one is, and one is not.
        block_share: how many of the clips are hidden in blocks.
        generator: on the CPU, so that the masks are the same on every device.
    """
    places = num_frames * grid * grid
    count = min(max(round(ratio * places), 1), places - 1)
    # The patches with the highest scores go: noise alone is a random mask, and blocks are lifted above the noise.
    scores = torch.rand(clips, num_frames, grid, grid, generator=generator)
    for clip in torch.nonzero(torch.rand(clips, generator=generator) < block_share)[:, 0].tolist():
        lifted = torch.zeros(num_frames, grid, grid, dtype=torch.bool)
        while int(lifted.sum()) < count:
            lifted[_block(num_frames, grid, generator)] = True
        scores[clip] += lifted
    hidden = torch.zeros(clips, places, dtype=torch.bool)
    hidden.scatter_(1, scores.flatten(1).topk(count, dim=1).indices, True)
    return hidden.view(clips, num_frames, grid * grid)


def _block(num_frames: int, grid: int, generator: torch.Generator) -> tuple[slice, slice, slice]:
    sides = []
    for length in (num_frames, grid, grid):
        size = int(torch.randint(1, max(length // 2, 1) + 1, (1,), generator=generator))
        start = int(torch.randint(0, length - size + 1, (1,), generator=generator))
        sides.append(slice(start, start + size))
    return sides[0], sides[1], sides[2]


def mask_words(
    input_ids: Int[Tensor, "texts length"],
    special_ids: Int[Tensor, "special"],
    mask_id: int,
    words: int,
    share: float,
    generator: torch.Generator,
) -> tuple[Int[Tensor, "texts length"], Bool[Tensor, "texts length"]]:
    """Hides words: 80% of the chosen become [MASK], 10% a random word, 10% stay; every text with a word loses one.

    Args:
        input_ids: tokenised texts, on the CPU.
        special_ids: tokens that are never chosen: padding, [CLS], [SEP] and their like.
        mask_id: of [MASK].
        words: size of the vocabulary.
        share: of the words that is chosen.
        generator: on the CPU.

    Returns:
        The texts as the model reads them, and which of their tokens it has to tell.
    """
    free = ~torch.isin(input_ids, special_ids)
    scores = torch.rand(input_ids.shape, generator=generator).masked_fill(~free, 2.0)
    chosen = (scores < share) | ((scores == scores.min(dim=1, keepdim=True).values) & free)
    how = torch.rand(input_ids.shape, generator=generator)
    other = torch.randint(0, words, input_ids.shape, generator=generator)
    read = torch.where(chosen & (how < 0.8), torch.full_like(input_ids, mask_id), input_ids)
    return torch.where(chosen & (how >= 0.9), other, read), chosen


def special_ids(tokenizer: Any) -> Int[Tensor, "special"]:
    """The ids of a tokenizer's special tokens."""
    return torch.tensor(sorted(set(tokenizer.all_special_ids)))
