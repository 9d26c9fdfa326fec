"""What codes of a VQ tokenizer look at: patches that got the same code, each in its frame."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8

from litevl.data.preprocess import PreprocessConfig, normalize, resize_frames
from litevl.evilm.vq_tokenizer import VQTokenizer

from .figure import looked_at, new_figure

if TYPE_CHECKING:
    import matplotlib.figure

BATCH = 64


def plot_codes(
    tokenizer: VQTokenizer,
    frames: UInt8[np.ndarray, "frames height width 3"],
    codes: int = 16,
    examples: int = 10,
    seed: int = 0,
) -> "matplotlib.figure.Figure":
    """Draws a row for each of some codes: frames with a patch that has it, outlined.

    The first half of the rows are the commonest codes; most of these stand for empty background. So the other half are
    the commonest of those whose patches have much contrast.

    Whole frames, since a teacher's feature of a patch tells of what is around it too. A row's examples are of different
    frames where there are enough. What they have in common is what the code stands for; rows that look alike are codes
    that share a meaning.

    Args:
        tokenizer: a trained one.
        frames: pictures to look through, of any size.
        codes: rows.
        examples: patches in a row.
        seed: of the choice of examples.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: no frames.
    """
    if len(frames) == 0:
        raise ValueError("expected frames to look through, got none")
    size, grid = tokenizer.config.image_size, tokenizer.config.grid
    pictures = resize_frames(frames, size)
    ids = label(tokenizer, pictures)
    counts = np.bincount(ids.ravel(), minlength=tokenizer.config.codes)
    common, contrasted = _choose(ids, contrasts(pictures, grid), counts, codes)
    rows = common + contrasted
    figure = new_figure(1.9 + 0.75 * examples, 0.9 + 0.78 * len(rows))
    axes: Any = figure.subplots(len(rows), examples, squeeze=False)
    rng, patch = np.random.default_rng(seed), size // grid
    for row, code in enumerate(rows):
        places = _examples(ids, code, examples, rng)
        for column in range(examples):
            cell = axes[row, column]
            cell.set_axis_off()
            if column < len(places):
                frame, place = places[column]
                cell.imshow(pictures[frame].permute(1, 2, 0).numpy())
                cell.add_patch(_outline(place // grid * patch, place % grid * patch, patch))
        share = 100 * counts[code] / counts.sum()
        said = f"code {code}\n{share:.1f}%"
        axes[row, 0].text(-0.15, 0.5, said, transform=axes[row, 0].transAxes, ha="right", va="center")
    used = int((counts > 0).sum())
    chosen = f"the {len(common)} commonest"
    if contrasted:
        chosen += f", then the {len(contrasted)} commonest of patches with much contrast"
    figure.suptitle(f"What codes look at: {chosen}\n{used} of {tokenizer.config.codes} codes are used here")
    return figure


def contrasts(pictures: UInt8[torch.Tensor, "frames 3 size size"], grid: int) -> Float[np.ndarray, "frames patches"]:
    """How much the pixels of each patch differ: their standard deviation, the mean of the three colours."""
    patches = rearrange(pictures.float(), "f c (gh h) (gw w) -> f (gh gw) c (h w)", gh=grid, gw=grid)
    return patches.std(dim=-1).mean(dim=-1).numpy()


def _choose(ids: np.ndarray, contrast: np.ndarray, counts: np.ndarray, rows: int) -> tuple[list[int], list[int]]:
    """The commonest codes, and of the others the commonest whose median patch is among the most contrasted quarter.

    Where these are too few, more of the commonest take their place.
    """
    order = [int(code) for code in np.argsort(-counts, kind="stable") if counts[code]]
    half, high = -(-rows // 2), np.quantile(contrast, 0.75)
    rest = [code for code in order[half:] if np.median(contrast[ids == code]) >= high] if high > 0 else []
    contrasted = rest[: rows - half]
    taken = set(contrasted)
    return [code for code in order if code not in taken][: rows - len(contrasted)], contrasted


@torch.no_grad()
def label(tokenizer: VQTokenizer, pictures: torch.Tensor) -> np.ndarray:
    """The code of every patch of pictures of the tokenizer's size: (frames, patches)."""
    settings = PreprocessConfig(tokenizer.config.image_size)
    with looked_at(tokenizer):
        parts = [tokenizer.tokenize(normalize(some, settings)) for some in pictures.split(BATCH)]
    return torch.cat(parts).cpu().numpy()


def _examples(ids: np.ndarray, code: int, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Places of a code as (frame, patch): first one of each frame that has it, then others."""
    places = rng.permutation(np.argwhere(ids == code))
    seen: set[int] = set()
    first: list[tuple[int, int]] = []
    others: list[tuple[int, int]] = []
    for frame, place in places.tolist():
        (others if frame in seen else first).append((frame, place))
        seen.add(frame)
    return (first + others)[:count]


def _outline(top: int, left: int, side: int) -> Any:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    # Magenta in black: one of the two is seen on every ground.
    edge = [withStroke(linewidth=2.0, foreground="black")]
    place = (left - 0.5, top - 0.5)
    return Rectangle(place, side, side, fill=False, edgecolor="magenta", linewidth=0.9, path_effects=edge)
