"""What `plug` leaves on a vision encoder: which adapters it holds by name, and which of them runs."""

from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from .config import AdapterConfig
from .vision_encoder import VisionEncoder, find_vision_encoder


@dataclass
class Plugged:
    """The state of a plugged vision encoder; `unplug` takes all of it back."""

    adapters: dict[str, AdapterConfig] = field(default_factory=dict)
    active: str | None = None
    """The adapter that clips run through; None where adapters are disabled and BLIP reads frame by frame."""
    handles: list[RemovableHandle] = field(default_factory=list)
    replaced: dict[str, Any] = field(default_factory=dict)
    """What the encoder itself held under the attributes that were replaced."""
    frozen_before: dict[str, bool] = field(default_factory=dict)
    announced: set[tuple[str, int]] = field(default_factory=set)

    @property
    def config(self) -> AdapterConfig | None:
        """The active adapter's configuration, or None where adapters are disabled."""
        return None if self.active is None else self.adapters[self.active]


def plugged_state(model: nn.Module) -> Plugged | None:
    """What `plug` left on the vision encoder of `model`, or None for a stock model."""
    return state_of(find_vision_encoder(model).module)


def require_plugged(model: nn.Module) -> Plugged:
    """`plugged_state`, with an error where there is none.

    Raises:
        ValueError: if the model is not plugged.
    """
    state = plugged_state(model)
    if state is None:
        raise ValueError("expected a plugged model, got a stock one; call plug(model, LiteVLConfig(...)) first")
    return state


def state_of(encoder: nn.Module) -> Plugged | None:
    """The state on a vision encoder's own module."""
    return getattr(encoder, "litevl_plugged", None)


def both(encoder: VisionEncoder) -> tuple[VisionEncoder, ...]:
    """The encoder, and its momentum copy where it has one: what is inserted into one goes into the other.

    The training of the original BLIP walks the parameters of both in step, so they must stay alike.
    """
    return (encoder,) if encoder.momentum is None else (encoder, encoder.momentum)
