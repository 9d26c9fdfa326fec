"""How large an E-ViLM is."""

from dataclasses import dataclass
from typing import Literal

from .transformer import check_grid


@dataclass(frozen=True)
class EViLMConfig:
    """The architecture; the defaults are the full size, about 32M parameters.

    The paper's abstract (Fang et al., arXiv 2311.17267) says only how E-ViLM compares: 15% of the parameters and 5.2%
    of the GFLOPs of a larger model. These sizes are ours: ViT-Ti/16, and BERT's layers of a quarter of its width.
    """

    image_size: int = 224
    """Side of the frames in pixels."""
    patch_size: int = 16
    """Side of a patch in pixels."""
    num_frames: int = 4
    """Frames of a clip; clips of another length are read with the time embedding interpolated."""
    attention: Literal["divided", "frame"] = "divided"
    """Attention over time and then over each frame's patches (TimeSformer's, arXiv 2102.05095), or over each frame
    alone: then only the fusion encoder sees several frames at once."""
    vision_dim: int = 192
    """Width of the video encoder."""
    vision_layers: int = 12
    """Its blocks."""
    vision_heads: int = 3
    """Its attention heads."""
    dim: int = 384
    """Width of the text encoder and of the fusion encoder."""
    heads: int = 12
    """Attention heads of both; as MiniLM's of this width, from which the text encoder can start."""
    text_layers: int = 4
    """Layers of the text encoder."""
    fusion_layers: int = 3
    """Layers over text and video together."""
    embed_dim: int = 256
    """Width of the embeddings that retrieval compares."""
    max_text_length: int = 35
    """Tokens a text is cut to, [CLS] and [SEP] counted."""
    max_positions: int = 512
    """Rows of the text encoder's table of positions."""

    def __post_init__(self) -> None:
        check_grid(self.image_size, self.patch_size)
        for name, value in vars(self).items():
            if isinstance(value, int) and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if self.max_text_length > self.max_positions:
            raise ValueError(
                f"max_text_length: expected at most max_positions, {self.max_positions}, got {self.max_text_length}"
            )
        for width, heads in ((self.vision_dim, self.vision_heads), (self.dim, self.heads)):
            if width % heads:
                raise ValueError(f"expected a width that its {heads} heads divide, got {width}")

    @property
    def grid(self) -> int:
        """Patches along a side of a frame."""
        return self.image_size // self.patch_size


FULL = EViLMConfig()
SMALL = EViLMConfig(
    image_size=48,
    patch_size=12,
    num_frames=6,
    vision_dim=64,
    vision_layers=3,
    vision_heads=2,
    dim=64,
    heads=2,
    text_layers=2,
    fusion_layers=2,
    embed_dim=64,
    max_positions=64,
)
"""For the embedded corpus: frames and patches as the small BLIP's, so that its features can be the tokenizer's."""
