"""Adapters as after training."""

import torch

from litevl.adapters import named_adapters


def moved(model, seed=2):
    """The model, every adapter parameter moved away from its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, adapter in named_adapters(model):
            for parameter in adapter.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model
