"""E-ViLM's video encoder: a small ViT with attention over time and over space, and a token in place of masked patches.

Divided space-time attention is TimeSformer's (arXiv 2102.05095); the frames keep a CLS each, and the clip's is their
mean, so that with the attention over time at its start the encoder is a ViT over frames. The attention over time reads
the fixed code of a frame's place that LiteVL's reads here; a learned table of frames is added at the entry.
"""

from typing import cast

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from litevl.adapters.time_axis import add_time_code, resample_frames

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
        """The tokens of clips after the block; a clip of one frame is an image, which has no time to attend to."""
        batch, time = x.shape[:2]
        if time > 1 and self.time_norm is not None and self.time_attention is not None:
            normed = add_time_code(self.time_norm(x), self.time_norm.weight)
            over_time = self.time_attention(rearrange(normed, "b t n d -> (b n) t d"))
            x = x + rearrange(over_time, "(b n) t d -> b t n d", b=batch)
        return super().forward(x.flatten(0, 1)).unflatten(0, (batch, time))

    def start_time_from_space(self) -> None:
        """Lets the attention over time begin as a copy of that over the frame, with its output at zero."""
        if self.time_norm is not None and self.time_attention is not None:
            self.time_norm.load_state_dict(self.norm1.state_dict())
            self.time_attention.qkv.load_state_dict(self.attention.qkv.state_dict())
            nn.init.zeros_(self.time_attention.proj.weight)
            nn.init.zeros_(self.time_attention.proj.bias)


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
        self.time = nn.Parameter(torch.zeros(config.num_frames, dim))
        divided = config.attention == "divided"
        self.blocks = nn.ModuleList(VideoBlock(dim, config.vision_heads, divided) for _ in range(config.vision_layers))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        for table in (self.cls, self.mask_token, self.position):
            nn.init.trunc_normal_(table, std=0.02)
        self.blocks.apply(initialise)
        self.start_time_from_space()

    def start_time_from_space(self) -> None:
        """Makes a ViT over frames of what knows images: each block's attention over time begins as its own over space.

        TimeSformer and LiteVL begin so. The output is at zero, so that nothing changes before it is trained.
        """
        for block in self.blocks:
            cast(VideoBlock, block).start_time_from_space()

    def train_what_is_used(self, num_frames: int, masked: bool) -> None:
        """Sets `requires_grad`: of the mask token where patches are masked, of what is of time where there is any."""
        self.requires_grad_(True)
        self.mask_token.requires_grad_(masked)
        for name, parameter in self.named_parameters():
            if name == "time" or ".time_" in name:
                parameter.requires_grad_(num_frames > 1)

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
        x = x + self.position
        if time > 1:
            x = x + resample_frames(self.time, time)[:, None]
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.checkpointing and self.training else block(x)
        x = self.norm(x)
        return torch.cat([x[:, :, 0].mean(dim=1, keepdim=True), x[:, :, 1:].flatten(1, 2)], dim=1)
