"""Temporal shift: a share of the channels is read from the frame before and the frame after. No parameters.

Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019 (arXiv 1811.08383), there for
convolutional networks. Here the shift stands inside the residual branch of a ViT's spatial attention ("residual
shift"), after the norm, for all tokens. It has nothing to learn, so it is no identity when fresh: heads, LoRA or the
backbone must learn to use it.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from .adapter import Adapter, Position
from .config import AdapterConfig
from .vision_encoder import Block


@dataclass(frozen=True)
class TemporalShiftConfig(AdapterConfig):
    """Temporal shift: channels from the neighbouring frames, no parameters (arXiv 1811.08383)."""

    title: ClassVar[str] = "temporal shift"
    family: str = field(default="shift", init=False)
    cls: Literal["clip", "frame"] = "frame"
    """One CLS per clip, or one per frame, averaged at the end."""
    share: float = 0.125
    """Share of the channels that is taken from the frame before, and again from the frame after (the paper's 1/8)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 0.5:
            raise ValueError(f"share: expected more than 0 and at most 0.5 in each direction, got {self.share}")

    def build(self, block: Block, first: bool) -> dict[str, Adapter]:
        """The shift before the block's spatial attention."""
        return {"temporal_shift": TemporalShift(int(self.share * block.qkv.in_features))}


class TemporalShift(Adapter):
    """Moves `channels` channels one frame forward and as many one frame back; zeros come in at the ends."""

    position: Position = "before attention"

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(
        self, tokens: Float[Tensor, "batch_time tokens dim"], num_frames: int
    ) -> Float[Tensor, "batch_time tokens dim"]:
        """Returns the tokens with the first channels from the frame before and the next from the frame after."""
        frames = rearrange(tokens, "(b t) n d -> b t n d", t=num_frames)
        earlier, later = frames[..., : self.channels], frames[..., self.channels : 2 * self.channels]
        nothing = torch.zeros_like(earlier[:, :1])
        shifted = [
            torch.cat([nothing, earlier[:, :-1]], dim=1),
            torch.cat([later[:, 1:], nothing], dim=1),
            frames[..., 2 * self.channels :],
        ]
        return torch.cat(shifted, dim=-1).flatten(0, 1)
