"""Dynamic temporal scaling: how strongly each layer uses its temporal attention, per frame (LiteVL, arXiv 2210.11929).

The paper's scaling is learnable and adapts to the task; the formula `1 + tanh(gamma)` is read in TESTA's code (arXiv
2310.19060). The `conditional` form, one value per frame and sample, is this project's extension.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .time_axis import resample_frames

Scaling = Literal["none", "learned", "conditional"]


class LearnedScaling(nn.Module):
    """`1 + tanh(gamma)` with one learnable gamma per frame: 1 at the start, between 0 (image model) and 2."""

    def __init__(self, num_frames: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(num_frames))

    def forward(self, frames: Float[Tensor, "batch time dim"]) -> Float[Tensor, "#batch time"]:
        """Returns the scale per frame. `frames` gives only the number of frames and the dtype."""
        gamma = resample_frames(self.gamma[:, None], frames.shape[1])[:, 0]
        return (1 + torch.tanh(gamma))[None].to(frames.dtype)

    def fold(self, projection: nn.Linear) -> None:
        """Nothing to fold: the scale does not depend on the features."""


class ConditionalScaling(nn.Module):
    """`1 + tanh(W2 relu(W1 m))` with m the mean over patches of a frame's temporal attention.

    W2 starts near zero rather than at zero: the scale is 1 to three digits at the start, and W1 receives a gradient as
    soon as the output layer FC_t has moved.
    """

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.reduce = nn.Linear(dim, width)
        self.expand = nn.Linear(width, 1)
        nn.init.normal_(self.expand.weight, std=1e-3)
        nn.init.zeros_(self.expand.bias)

    def forward(self, frames: Float[Tensor, "batch time dim"]) -> Float[Tensor, "#batch time"]:
        """Returns the scale per sample and frame."""
        return 1 + torch.tanh(self.expand(torch.relu(self.reduce(frames))))[..., 0]

    @torch.no_grad()
    def fold(self, projection: nn.Linear) -> None:
        """Makes W1 read what comes before `projection`; a mean over patches commutes with a linear map."""
        weight, bias = self.reduce.weight, self.reduce.bias
        self.reduce.bias.copy_(weight @ projection.bias + bias)
        self.reduce.weight.copy_(weight @ projection.weight)


def build_scaling(scaling: Scaling, num_frames: int, dim: int) -> LearnedScaling | ConditionalScaling | None:
    """The scaling module that `scaling` names, or None for no scaling."""
    if scaling == "learned":
        return LearnedScaling(num_frames)
    if scaling == "conditional":
        return ConditionalScaling(dim, width=max(dim // 16, 8))
    return None
