"""E-ViLM's video encoder: a small ViT with attention over time and over space, and a token in place of masked patches.

Divided space-time attention is TimeSformer's (arXiv 2102.05095); the frames keep a CLS each, and the clip's is their
mean, so that with the time attention at its start (zero) the encoder is a ViT over frames.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from litevl.adapters.time_axis import resample_frames, time_code

from .config import EViLMConfig
from .transformer import Attention, Block, embed_frames, initialise, patches_to_conv


class VideoBlock(Block):
    """A block over each frame's tokens, after attention over time for each place in the frame."""

    def __init__(self, dim: int, num_heads: int, over_time: bool):
        super().__init__(dim, num_heads)
        self.time_norm = nn.LayerNorm(dim, eps=1e-6) if over_time else None
        self.time_attention = Attention(dim, num_heads) if over_time else None

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "batch time tokens dim"]
    ) -> Float[Tensor, "batch time tokens dim"]:
        """The tokens of clips after the block."""
        batch, time = x.shape[:2]
        if self.time_norm is not None and self.time_attention is not None:
            over_time = self.time_attention(rearrange(self.time_norm(x), "b t n d -> (b n) t d"))
            x = x + rearrange(over_time, "(b n) t d -> b t n d", b=batch)
        return super().forward(x.flatten(0, 1)).unflatten(0, (batch, time))


class VideoEncoder(nn.Module):
    """Clips to tokens.

    Args:
        config: its sizes.
    """

    def __init__(self, config: EViLMConfig):
        super().__init__()
        dim, self.image_size, self.checkpointing = config.vision_dim, config.image_size, False
        self.patches = patches_to_conv(dim, config.patch_size)
        self.cls = nn.Parameter(torch.empty(dim))
        self.mask_token = nn.Parameter(torch.empty(dim))
        self.position = nn.Parameter(torch.empty(config.grid**2 + 1, dim))
        # The start is a code that already tells the frames apart, since little data has to do with it.
        self.time = nn.Parameter(0.1 * time_code(config.num_frames, dim, torch.empty(0)))
        divided = config.attention == "divided"
        blocks = [VideoBlock(dim, config.vision_heads, divided) for _ in range(config.vision_layers)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        for table in (self.cls, self.mask_token, self.position):
            nn.init.trunc_normal_(table, std=0.02)
        self.blocks.apply(initialise)
        for block in blocks:
            if block.time_attention is not None:
                nn.init.zeros_(block.time_attention.proj.weight)

    def forward(
        self,
        pixels: Float[Tensor, "batch time 3 height width"],
        masked: Bool[Tensor, "batch time patches"] | None = None,
    ) -> Float[Tensor, "batch rows dim"]:
        """The clip's CLS, then the patches of each frame in turn.

        Args:
            pixels: preprocessed clips.
            masked: patches whose embedding is replaced by the mask token.

        Raises:
            ValueError: frames of another size.
        """
        if pixels.shape[-2:] != (self.image_size, self.image_size):
            # Also where the number of patches is the same: the rest of the frame would go unseen, or rows be mistaken.
            raise ValueError(
                f"expected frames of {self.image_size} x {self.image_size} pixels, got "
                f"{pixels.shape[-2]} x {pixels.shape[-1]}; resize them to the model's image_size"
            )
        batch, time = pixels.shape[:2]
        x = embed_frames(self.patches, pixels.flatten(0, 1)).unflatten(0, (batch, time))
        if masked is not None:
            x = torch.where(masked[..., None], self.mask_token.to(x.dtype), x)
        x = torch.cat([self.cls.to(x.dtype).expand(batch, time, 1, -1), x], dim=2)
        x = x + self.position + resample_frames(self.time, time)[:, None]
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.checkpointing and self.training else block(x)
        x = self.norm(x)
        return torch.cat([x[:, :, 0].mean(dim=1, keepdim=True), x[:, :, 1:].flatten(1, 2)], dim=1)
