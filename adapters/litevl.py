"""LiteVL's adapters for one block: time embedding, and temporal attention with dynamic temporal scaling.

Chen et al., "LiteVL: Efficient Video-Language Learning with Enhanced Spatial-Temporal Modeling", EMNLP 2022
(arXiv 2210.11929).
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from .adapter import Adapter
from .config import AdapterConfig
from .temporal_attention import TemporalAttention
from .temporal_scaling import Scaling
from .time_embedding import entry_embedding
from .vision_encoder import Block


@dataclass(frozen=True)
class LiteVLConfig(AdapterConfig):
    """LiteVL: temporal attention with dynamic temporal scaling before each block."""

    title: ClassVar[str] = "LiteVL"
    family: str = field(default="litevl", init=False)
    scaling: Scaling = "learned"
    """Dynamic temporal scaling: none, learned per layer and frame (the paper's), or conditional on the clip (ours)."""
    time_embedding: Literal["learned", "sinusoidal", "none"] = "learned"
    """How the order of frames is told: a learnable embedding per frame, zeros at the start, added to the patches
    before the first adapted block (TESTA's); or a fixed code, added to what each temporal attention reads (ours)."""

    def build(self, block: Block, first: bool) -> dict[str, Adapter]:
        """Temporal attention, and in the first adapted block the learnable time embedding."""
        adapters = entry_embedding(self.time_embedding, first, self.num_frames, block)
        coded_time = self.time_embedding == "sinusoidal"
        adapters["temporal_attention"] = TemporalAttention(block, self.num_frames, self.scaling, coded_time)
        return adapters
