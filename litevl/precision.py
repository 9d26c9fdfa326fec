"""Where mixed precision must not reach: what is compared at the end is computed in float32."""

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> torch.autocast:
    """A context without autocast on the tensor's device. Eight bits of bf16 make ties of scores that differ."""
    return torch.autocast(tensor.device.type, enabled=False)
