"""The learnable time embedding of divided space-time attention (as in TimeSformer and TESTA, arXiv 2310.19060)."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from .adapter import Adapter
from .time_axis import resample_frames
from .vision_encoder import Block


class TimeEmbedding(Adapter):
    """Adds one learnable vector per frame to the patches of that frame; zeros at the start.

    It stands before the first adapted block: with adapters in every block that is right after the position embedding.
    CLS takes no part.
    """

    def __init__(self, num_frames: int, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_frames, dim))

    def forward(
        self, tokens: Float[Tensor, "batch_time tokens dim"], num_frames: int
    ) -> Float[Tensor, "batch_time tokens dim"]:
        """Returns the tokens with each frame's embedding added to its patches."""
        cls, patches = tokens[:, :1], tokens[:, 1:]
        per_frame = resample_frames(self.weight, num_frames).to(tokens.dtype)
        patches = rearrange(patches, "(b t) n d -> b t n d", t=num_frames) + per_frame[:, None]
        return torch.cat([cls, patches.flatten(0, 1)], dim=1)


def entry_embedding(time_embedding: str, first: bool, num_frames: int, block: Block) -> dict[str, Adapter]:
    """What a choice of time embedding puts into a block: a learned one into the first adapted block, else nothing."""
    if not first or time_embedding != "learned":
        return {}
    return {"time_embedding": TimeEmbedding(num_frames, block.qkv.in_features)}
