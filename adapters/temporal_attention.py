"""LiteVL's temporal attention with dynamic temporal scaling, inserted before a frozen ViT block.

Chen et al., "LiteVL: Efficient Video-Language Learning with Enhanced Spatial-Temporal Modeling", EMNLP 2022
(arXiv 2210.11929). Per block, on the patch tokens x of T frames:

    h = MHA_t(LN_t(x))                over time, one sequence per patch position; CLS takes no part
    h = (1 + tanh(gamma)) * h         dynamic temporal scaling
    x = x + FC_t(h)                   FC_t starts at zero: a fresh adapter is the identity

The order of the three steps and the zero start are read in TESTA (arXiv 2310.19060), of the same lineage.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from .adapter import Adapter
from .dot_product_attention import dot_product_attention
from .temporal_scaling import Scaling, build_scaling
from .time_axis import add_time_code
from .vision_encoder import Block


class TemporalAttention(Adapter):
    """Attention over time for each patch position, residual, identity when fresh.

    LN_t and MHA_t start as copies of the block's own norm and spatial attention, FC_t at zero. With `coded_time` a
    fixed code of each frame's place is added to what MHA_t reads (ours); a fresh adapter is the identity all the same.
    """

    def __init__(self, block: Block, num_frames: int, scaling: Scaling, coded_time: bool = False):
        super().__init__()
        dim = block.qkv.in_features
        self.num_heads = block.num_heads
        self.coded_time = coded_time
        self.norm = nn.LayerNorm(dim, eps=block.norm.eps)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.projection = nn.Linear(dim, dim)
        self.scaling = build_scaling(scaling, num_frames, dim)
        self.fc: nn.Linear | None = nn.Linear(dim, dim)
        self.fc_bias: nn.Parameter | None = None
        self.norm.load_state_dict(block.norm.state_dict())
        self.qkv.load_state_dict(block.qkv.state_dict())
        self.projection.load_state_dict(block.projection.state_dict())
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(
        self, tokens: Float[Tensor, "batch_time tokens dim"], num_frames: int
    ) -> Float[Tensor, "batch_time tokens dim"]:
        """Returns the tokens, CLS untouched, patches with the temporal residual added."""
        cls, patches = tokens[:, :1], tokens[:, 1:]
        frames = rearrange(patches, "(b t) n d -> b t n d", t=num_frames)
        normed = self.norm(frames)
        if self.coded_time:
            normed = add_time_code(normed, self.norm.weight)
        qkv = rearrange(self.qkv(normed), "b t n (c h d) -> c (b n) h t d", c=3, h=self.num_heads)
        attended = dot_product_attention(qkv[0], qkv[1], qkv[2])
        attended = rearrange(attended, "(b n) h t d -> b t n (h d)", n=frames.shape[2])
        hidden = self.projection(attended)
        if self.scaling is not None:
            read = hidden if self.fc is not None else attended
            hidden = self.scaling(read.mean(dim=2))[..., None, None] * hidden
        residual = self.fc(hidden) if self.fc is not None else hidden + self.fc_bias
        return torch.cat([cls, patches + residual.flatten(0, 1)], dim=1)

    @torch.no_grad()
    def merge(self) -> None:
        """Folds FC_t into the attention's output projection; the scale is a scalar per frame, so it commutes."""
        if self.fc is None:
            return
        if self.scaling is not None:
            self.scaling.fold(self.projection)
        weight = self.fc.weight @ self.projection.weight
        bias = self.fc.weight @ self.projection.bias
        self.fc_bias = nn.Parameter(self.fc.bias.detach().clone(), requires_grad=False)
        self.projection.weight.copy_(weight)
        self.projection.bias.copy_(bias)
        self.fc = None
