"""The pre-norm transformer block that E-ViLM's encoders and its tokenizer are made of."""

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head self-attention, through torch's fused kernels."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"expected a width that {num_heads} heads divide, got {dim}")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self, x: Float[Tensor, "batch tokens dim"], mask: Bool[Tensor, "batch tokens"] | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        """Lets every token attend to all of its sequence, or to those where `mask` is True."""
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.num_heads)
        allowed = None if mask is None else mask[:, None, None, :]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        return self.proj(rearrange(out, "b h n d -> b n (h d)"))


class Block(nn.Module):
    """Self-attention and a feed-forward layer of four times the width, each normalised before and added."""

    def __init__(self, dim: int, num_heads: int, eps: float = 1e-6):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=eps), nn.LayerNorm(dim, eps=eps)
        self.attention = Attention(dim, num_heads)
        self.feed_forward = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(
        self, x: Float[Tensor, "batch tokens dim"], mask: Bool[Tensor, "batch tokens"] | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        """The tokens after the block; `mask` is True where attention may look."""
        x = x + self.attention(self.norm1(x), mask)
        return x + self.feed_forward(self.norm2(x))


def initialise(module: nn.Module) -> None:
    """ViT's and BERT's start, for `Module.apply`: matrices and tables normal with deviation 0.02, biases zero."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.trunc_normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def patches_to_conv(dim: int, patch_size: int) -> nn.Conv2d:
    """The embedding of square patches of a frame."""
    conv = nn.Conv2d(3, dim, kernel_size=patch_size, stride=patch_size)
    nn.init.trunc_normal_(conv.weight.view(dim, -1), std=0.02)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def check_grid(image_size: int, patch_size: int) -> int:
    """Patches along a side.

    Raises:
        ValueError: patches that do not fill the picture.
    """
    if image_size % patch_size:
        raise ValueError(f"expected an image_size that patches of {patch_size} fill, got {image_size}")
    return image_size // patch_size


def embed_frames(
    conv: nn.Conv2d, frames: Float[Tensor, "frames 3 height width"]
) -> Float[Tensor, "frames patches dim"]:
    """Patch embeddings of frames, row by row."""
    return rearrange(conv(frames.to(conv.weight.dtype)), "f d h w -> f (h w) d")
