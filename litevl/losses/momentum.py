"""BLIP's momentum model, kept for what is trained alone: with a frozen backbone the copy holds only the adapters."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


class MomentumCopy(nn.Module):
    """An exponential moving average of a model's trainable parameters, through which the model can be called.

    Args:
        model: the model that is trained.
        decay: the share that is kept at each update; BLIP uses 0.995.
    """

    def __init__(self, model: nn.Module, decay: float):
        super().__init__()
        self.decay = decay
        self.names = [name for name, p in model.named_parameters() if p.requires_grad]
        values = dict(model.named_parameters())
        for number, name in enumerate(self.names):
            self.register_buffer(f"value_{number}", values[name].detach().clone())

    def _values(self) -> dict[str, Tensor]:
        return {name: getattr(self, f"value_{number}") for number, name in enumerate(self.names)}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Moves the average towards the model's present parameters."""
        values = dict(model.named_parameters())
        for name, average in self._values().items():
            average.lerp_(values[name].detach(), 1 - self.decay)

    @torch.no_grad()
    def forward(self, model: nn.Module, *args: Any) -> Any:
        """Calls `model` with the averaged parameters in place of its own."""
        return functional_call(model, self._values(), args)
