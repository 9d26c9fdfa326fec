"""No adapter at all: BLIP frame by frame, as its own video evaluation does it.

Li et al., "BLIP: Bootstrapping Language-Image Pre-training", ICML 2022 (arXiv 2201.12086), section 5.6.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from .adapter import Adapter
from .config import AdapterConfig
from .vision_encoder import Block


@dataclass(frozen=True)
class FrameAverageConfig(AdapterConfig):
    """None: nothing is inserted; frames alone, their embeddings averaged, their tokens joined for matching."""

    title: ClassVar[str] = "no adapter"
    family: str = field(default="none", init=False)
    layers: Literal["all"] | tuple[int, ...] = field(default=(), init=False)
    cls: Literal["clip", "frame"] = field(default="frame", init=False)

    def build(self, block: Block, first: bool) -> dict[str, Adapter]:
        """Nothing."""
        return {}
