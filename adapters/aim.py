"""AIM: the frozen spatial attention used again over time, with bottlenecks beside it.

Yang et al., "AIM: Adapting Image Models for Efficient Video Action Recognition", ICLR 2023 (arXiv 2302.03024). Per
block, A = down, GELU, up:

    x = x + A_t(MSA(LN1(x)))                over time, one sequence per token position, CLS too
    s = MSA(LN1(x));  x = x + s + A_s(s)    over space
    x = x + MLP(LN2(x)) + s_m A_m(LN2(x))   s_m = 0.5

MSA and LN1 are the block's own, frozen. Read in the authors' code (taoyang1122/adapt-image-models): a quarter of the
width, every up-projection at zero, a learnable time embedding. There A_s goes round the spatial attention as a skip, so
a fresh block is the identity of the image model.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from .adapter import Adapter, Position
from .config import AdapterConfig
from .time_axis import add_time_code
from .time_embedding import entry_embedding
from .vision_encoder import Block

MLP_SCALE = 0.5


@dataclass(frozen=True)
class AIMConfig(AdapterConfig):
    """AIM: the frozen attention reused over time, bottlenecks beside (arXiv 2302.03024)."""

    title: ClassVar[str] = "AIM"
    family: str = field(default="aim", init=False)
    cls: Literal["clip", "frame"] = "frame"
    """One CLS per clip, or one per frame, averaged at the end (the paper's)."""
    width: int | None = None
    """Width of the bottlenecks; by default a quarter of the encoder's (the paper's)."""
    time_embedding: Literal["learned", "sinusoidal", "none"] = "learned"
    """How the order of frames is told: a learnable embedding per frame (the paper's), or a fixed code added to what
    the attention over time reads (ours)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_width(self.width)

    def build(self, block: Block, first: bool) -> dict[str, Adapter]:
        """The three bottlenecks, and in the first adapted block the learnable time embedding."""
        dim = block.qkv.in_features
        width = self.width or max(dim // 4, 1)
        adapters = entry_embedding(self.time_embedding, first, self.num_frames, block)
        adapters["temporal"] = ReusedAttention(
            block, width, coded_time=self.time_embedding == "sinusoidal", with_cls=self.cls == "frame"
        )
        adapters["spatial"] = SpatialBottleneck(dim, width)
        adapters["joint"] = JointBottleneck(dim, width)
        return adapters


class Bottleneck(nn.Sequential):
    """Down, GELU, up; the up-projection starts at zero."""

    def __init__(self, dim: int, width: int):
        super().__init__(nn.Linear(dim, width), nn.GELU(), nn.Linear(width, dim))
        last: Any = self[2]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)


class ReusedAttention(Adapter):
    """The block's own norm and attention over time, then a bottleneck; residual, identity when fresh."""

    def __init__(self, block: Block, width: int, coded_time: bool, with_cls: bool):
        super().__init__()
        # In a tuple, so that the frozen modules do not become parts of this one.
        self.frozen = (block.norm, block.attention)
        self.coded_time, self.with_cls = coded_time, with_cls
        self.bottleneck = Bottleneck(block.qkv.in_features, width)

    def forward(
        self, tokens: Float[Tensor, "batch_time tokens dim"], num_frames: int
    ) -> Float[Tensor, "batch_time tokens dim"]:
        """Returns the tokens with the temporal residual added; CLS only where each frame has its own."""
        norm, attention = self.frozen
        start = 0 if self.with_cls else 1
        normed = rearrange(norm(tokens[:, start:]), "(b t) n d -> b t n d", t=num_frames)
        if self.coded_time:
            normed = add_time_code(normed, norm.weight)
        attended = attention(rearrange(normed, "b t n d -> (b n) t d"))
        attended = attended[0] if isinstance(attended, tuple) else attended
        residual = rearrange(self.bottleneck(attended), "(b n) t d -> (b t) n d", n=normed.shape[2])
        return tokens + nn.functional.pad(residual, (0, 0, start, 0))


class SpatialBottleneck(Adapter):
    """Adds a bottleneck of the spatial attention's residual to it."""

    position: Position = "after attention"

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.bottleneck = Bottleneck(dim, width)

    def forward(
        self, tokens: Float[Tensor, "batch_time tokens dim"], num_frames: int
    ) -> Float[Tensor, "batch_time tokens dim"]:
        """Returns the residual with the bottleneck's added."""
        return tokens + self.bottleneck(tokens)


class JointBottleneck(Adapter):
    """A bottleneck beside the MLP."""

    position: Position = "beside mlp"

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.bottleneck = Bottleneck(dim, width)

    def forward(
        self, tokens: Float[Tensor, "batch_time tokens dim"], num_frames: int
    ) -> Float[Tensor, "batch_time tokens dim"]:
        """Returns what is added to the MLP's residual."""
        return MLP_SCALE * self.bottleneck(tokens)
