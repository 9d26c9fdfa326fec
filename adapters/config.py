"""What every adapter family is told, and what it is asked: the adapters of one block."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from .adapter import Adapter
from .choices import check_choices
from .vision_encoder import Block


@dataclass(frozen=True)
class AdapterConfig:
    """What the adapter families share.

    Raises:
        ValueError: for a number of frames below one, or a negative or repeated layer.
    """

    title: ClassVar[str] = ""
    """The family's name in tables."""
    family: str = field(default="", init=False)
    """The family's name, in files and on the command line."""
    num_frames: int = 8
    """Frames per clip in training. Other numbers work at inference: what is learned per frame is interpolated."""
    layers: Literal["all"] | tuple[int, ...] = "all"
    """Blocks that get adapters, counted from 0. No layers at all is BLIP frame by frame."""
    cls: Literal["clip", "frame"] = "clip"
    """One CLS per clip, or one per frame; with `frame` a fresh model is BLIP frame by frame for any clip."""

    def __post_init__(self) -> None:
        check_choices(self)
        if self.num_frames < 1:
            raise ValueError(f"num_frames: expected at least 1, got {self.num_frames}")
        if self.layers != "all" and (len(set(self.layers)) != len(self.layers) or min(self.layers, default=0) < 0):
            raise ValueError(f"layers: expected distinct block numbers from 0, or 'all'; got {self.layers}")

    def layer_numbers(self, depth: int) -> tuple[int, ...]:
        """The adapted blocks of an encoder of `depth` blocks, in order.

        Raises:
            ValueError: if a layer is not there.
        """
        layers = tuple(range(depth)) if self.layers == "all" else tuple(sorted(self.layers))
        if layers and layers[-1] >= depth:
            raise ValueError(f"layers: this vision encoder has blocks 0 to {depth - 1}; got {layers[-1]}")
        return layers

    def build(self, block: Block, first: bool) -> dict[str, Adapter]:
        """The adapters of one block, by name, in the order in which those of one position run.

        Args:
            block: the stock block they are built for.
            first: whether this is the first adapted block, where the clip enters.
        """
        raise NotImplementedError

    def check_width(self, width: int | None) -> None:
        """Checks the width of a bottleneck.

        Raises:
            ValueError: if it is below one.
        """
        if width is not None and width < 1:
            raise ValueError(f"width: expected at least 1, got {width}")
