"""ST-Adapter: a bottleneck with a depthwise 3-D convolution over the patches of a clip.

Pan et al., "ST-Adapter: Parameter-Efficient Image-to-Video Transfer Learning", NeurIPS 2022 (arXiv 2206.13559):

    x = x + DWConv3D(x W_down) W_up       on the patch tokens; CLS takes no part

Read in the authors' code (linziyi96/st-adapter): width 384 for ViT-B, kernel 3 x 1 x 1 (time, height, width), no
activation, and the convolution starts at zero, so a fresh adapter is the identity. They place it before the attention,
before the MLP, or both.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from .adapter import Adapter, Position
from .config import AdapterConfig
from .vision_encoder import Block


@dataclass(frozen=True)
class STAdapterConfig(AdapterConfig):
    """ST-Adapter: depthwise 3-D convolution in a bottleneck (arXiv 2206.13559)."""

    title: ClassVar[str] = "ST-Adapter"
    family: str = field(default="st-adapter", init=False)
    cls: Literal["clip", "frame"] = "frame"
    """One CLS per clip, or one per frame, averaged at the end (the paper's)."""
    width: int | None = None
    """Width of the bottleneck; by default half of the encoder's (384 for ViT-B, the paper's)."""
    kernel: tuple[int, int, int] = (3, 1, 1)
    """Of the convolution, in frames, rows and columns of patches; odd numbers."""
    before: Literal["attention", "mlp", "both"] = "attention"
    """Where in the block it stands."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_width(self.width)
        if any(size < 1 or size % 2 == 0 for size in self.kernel):
            raise ValueError(f"kernel: expected odd sizes, so that a clip keeps its shape; got {self.kernel}")

    def build(self, block: Block, first: bool) -> dict[str, Adapter]:
        """One adapter before the attention, before the MLP, or one before each."""
        dim = block.qkv.in_features
        places: dict[str, Position] = {"attention": "before block", "mlp": "before mlp"}
        return {
            f"st_adapter_{place}": STAdapter(dim, self.width or max(dim // 2, 1), self.kernel, position)
            for place, position in places.items()
            if self.before in (place, "both")
        }


class STAdapter(Adapter):
    """Down, depthwise convolution over time and space, up; residual, identity when fresh."""

    def __init__(self, dim: int, width: int, kernel: tuple[int, int, int], position: Position):
        super().__init__()
        self.position = position
        self.down = nn.Linear(dim, width)
        time, height, across = kernel
        self.conv = nn.Conv3d(width, width, kernel, padding=(time // 2, height // 2, across // 2), groups=width)
        self.up = nn.Linear(width, dim)
        for start in (self.down.bias, self.conv.bias, self.up.bias, self.conv.weight):
            if start is not None:
                nn.init.zeros_(start)

    def forward(
        self, tokens: Float[Tensor, "batch_time tokens dim"], num_frames: int
    ) -> Float[Tensor, "batch_time tokens dim"]:
        """Returns the tokens, CLS untouched, patches with the convolved residual added.

        Raises:
            ValueError: if the kernel reaches across patches and these are no square.
        """
        patches = tokens.shape[1] - 1
        rows = round(patches**0.5)
        if self.conv.kernel_size[1:] == (1, 1):
            rows = 1
        elif rows * rows != patches:
            raise ValueError(f"kernel {self.conv.kernel_size} needs a square of patches, got {patches} patches")
        hidden = rearrange(self.down(tokens[:, 1:]), "(b t) (h w) c -> b c t h w", t=num_frames, h=rows)
        hidden = rearrange(self.conv(hidden), "b c t h w -> (b t) (h w) c")
        return tokens + nn.functional.pad(self.up(hidden), (0, 0, 1, 0))
