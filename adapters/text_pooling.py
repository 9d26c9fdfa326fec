"""LiteVL's text-conditioned, non-parametric pooling: the video's tokens re-weighted by the text (arXiv 2210.11929).

The paper says what it does, not how; the formula is this project's reading. V are the patch tokens after the last norm,
t the text's [CLS]:

    Vf = mean of V over patches, one row per frame          gf = softmax over frames  of cos(Vf, t) / tau
    Vs = mean of V over frames, one row per position        gs = softmax over patches of cos(Vs, t) / tau
    memory for cross-attention = [V; T * gf * Vf; N * gs * Vs]

Uniform weights give the plain means back. Each added row is a scalar times a row that no text has touched.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .choices import check_choices


@dataclass(frozen=True)
class PoolingConfig:
    """How the video's tokens are pooled for matching.

    Raises:
        ValueError: if tau is not positive.
    """

    mode: Literal["none", "mean", "text"] = "text"
    """Append nothing, the plain means over patches and frames, or the means weighted by the text."""
    tau: float = 0.1
    """Temperature of the softmax over cosine similarities; small values single out few frames and patches."""
    space: Literal["projected", "hidden"] = "projected"
    """Compare text and video in BLIP's projected space, or in the width of the encoders."""
    keep_tokens: bool = True
    """Keep the video's own tokens beside the pooled rows, or hand on CLS and the pooled rows alone."""

    def __post_init__(self) -> None:
        check_choices(self)
        if self.tau <= 0:
            raise ValueError(f"tau: expected a positive temperature, got {self.tau}")
        if self.mode == "none" and not self.keep_tokens:
            raise ValueError("keep_tokens=False needs pooled rows to keep instead; set mode to 'mean' or 'text'")


def pooled_rows(
    patches: Float[Tensor, "pairs time patches dim"],
) -> tuple[Float[Tensor, "pairs time dim"], Float[Tensor, "pairs patches dim"]]:
    """The text-free rows: one mean per frame (Vf) and one per patch position (Vs)."""
    return patches.mean(dim=2), patches.mean(dim=1)


def text_weights(
    rows: Float[Tensor, "#pairs rows dim"], text: Float[Tensor, "pairs dim"], tau: float
) -> Float[Tensor, "pairs rows"]:
    """`rows * softmax(cos(row, text) / tau)`: weights with mean one, so that uniform weights change nothing."""
    # A product and a sum rather than a matrix product, which autocast would round to eight bits before the softmax.
    cosine = (F.normalize(rows.float(), dim=-1) * F.normalize(text.float(), dim=-1)[:, None]).sum(dim=-1)
    return rows.shape[1] * torch.softmax(cosine / tau, dim=-1)


def pooling_weights(
    rows: tuple[Float[Tensor, "#pairs time dim"], Float[Tensor, "#pairs patches dim"]],
    text: Float[Tensor, "pairs text_dim"],
    project: torch.nn.Module | None,
    config: PoolingConfig,
) -> tuple[Float[Tensor, "pairs time"], Float[Tensor, "pairs patches"]]:
    """What each text multiplies its video's pooled rows by: `T gf` of the frames and `N gs` of the patch positions.

    Args:
        rows: what `pooled_rows` gives, of each pair's video or of one video for all.
        text: each pair's text, in the space where the comparison is made.
        project: maps video rows into that space; None where the text lives in the width of the rows.
        config: the options; all weights are one unless `mode` is "text".
    """
    frames, positions = rows
    if config.mode != "text":
        return frames.new_ones(len(text), frames.shape[1]), positions.new_ones(len(text), positions.shape[1])
    if project is not None:
        frames, positions = project(frames), project(positions)
    return text_weights(frames, text, config.tau), text_weights(positions, text, config.tau)


def pool_by_text(
    patches: Float[Tensor, "pairs time patches dim"],
    text: Float[Tensor, "pairs text_dim"],
    project: torch.nn.Module | None,
    config: PoolingConfig,
) -> Float[Tensor, "pairs rows dim"]:
    """The `time + patches` rows to append to a video's memory for one text each; none for `mode="none"`.

    Args:
        patches: patch tokens of each pair's video, after the last norm.
        text: each pair's text, in the space where the comparison is made.
        project: maps video rows into that space; None where the text lives in the width of the rows.
        config: the options.
    """
    if config.mode == "none":
        return patches.new_zeros(patches.shape[0], 0, patches.shape[-1])
    rows = pooled_rows(patches)
    weights = pooling_weights(rows, text, project, config)
    return torch.cat([weight[..., None].to(row.dtype) * row for weight, row in zip(weights, rows, strict=True)], dim=1)
