"""LiteVL's temporal attention in a narrow bottleneck: a tenth of its parameters at the default width (ours).

The method is that of LiteVL (arXiv 2210.11929, see `temporal_attention.py`); the bottleneck is the usual one of
adapters (Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", ICML 2019, arXiv 1902.00751):

    h = MHA_t(LN_t(x) W_qkv)          W_qkv maps the width d to 3 r: attention over time in r dimensions
    x = x + (1 + tanh(gamma)) h W_up  W_up maps r back to d and starts at zero

4 d r weights a block instead of 5 d^2; r = d / 8 by default.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from .adapter import Adapter
from .config import AdapterConfig
from .dot_product_attention import dot_product_attention
from .temporal_scaling import Scaling, build_scaling
from .time_axis import add_time_code
from .time_embedding import entry_embedding
from .vision_encoder import Block

HEAD_WIDTH = 32


@dataclass(frozen=True)
class BottleneckConfig(AdapterConfig):
    """LiteVL's temporal attention in a bottleneck, for a tenth of its parameters."""

    title: ClassVar[str] = "bottlenecked LiteVL"
    family: str = field(default="bottleneck", init=False)
    width: int | None = None
    """Width of the bottleneck; by default an eighth of the encoder's."""
    scaling: Scaling = "learned"
    """Dynamic temporal scaling, as LiteVL's."""
    time_embedding: Literal["learned", "sinusoidal", "none"] = "learned"
    """How the order of frames is told, as LiteVL's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_width(self.width)

    def build(self, block: Block, first: bool) -> dict[str, Adapter]:
        """The bottleneck, and in the first adapted block the learnable time embedding."""
        adapters = entry_embedding(self.time_embedding, first, self.num_frames, block)
        adapters["temporal_attention"] = BottleneckAttention(
            block, self.width, self.num_frames, self.scaling, self.time_embedding == "sinusoidal"
        )
        return adapters


class BottleneckAttention(Adapter):
    """Attention over time for each patch position in a narrow space, residual, identity when fresh."""

    def __init__(self, block: Block, width: int | None, num_frames: int, scaling: Scaling, coded_time: bool):
        super().__init__()
        dim = block.qkv.in_features
        width = width or max(dim // 8, 1)
        self.num_heads = width // HEAD_WIDTH if width % HEAD_WIDTH == 0 else 1
        self.coded_time = coded_time
        self.norm = nn.LayerNorm(dim, eps=block.norm.eps)
        self.norm.load_state_dict(block.norm.state_dict())
        self.qkv = nn.Linear(dim, 3 * width)
        self.scaling = build_scaling(scaling, num_frames, width)
        self.up = nn.Linear(width, dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(
        self, tokens: Float[Tensor, "batch_time tokens dim"], num_frames: int
    ) -> Float[Tensor, "batch_time tokens dim"]:
        """Returns the tokens, CLS untouched, patches with the temporal residual added."""
        frames = rearrange(tokens[:, 1:], "(b t) n d -> b t n d", t=num_frames)
        normed = self.norm(frames)
        if self.coded_time:
            normed = add_time_code(normed, self.norm.weight)
        qkv = rearrange(self.qkv(normed), "b t n (c h d) -> c (b n) h t d", c=3, h=self.num_heads)
        hidden = dot_product_attention(qkv[0], qkv[1], qkv[2])
        hidden = rearrange(hidden, "(b n) h t d -> b t n (h d)", n=frames.shape[2])
        if self.scaling is not None:
            hidden = self.scaling(hidden.mean(dim=2))[..., None, None] * hidden
        return tokens + F.pad(self.up(hidden).flatten(0, 1), (0, 0, 1, 0))
