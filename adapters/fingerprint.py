"""A fingerprint of a backbone's weights, so that adapters are never loaded onto another backbone unnoticed."""

import hashlib

import torch
from torch import nn

from .adapter import adapter_parameter_names
from .vision_encoder import portable_names


def fingerprint(model: nn.Module) -> str:
    """A short hash over the names, shapes and values of the model's stock parameters.

    Weights, not a name: the same checkpoint gives the same fingerprint from whatever file and on whatever device. Left
    out are adapters, what peft adds, and the vision encoder's position table, which follows the image size.

    Returns:
        16 hexadecimal digits.
    """
    added = adapter_parameter_names(model) | _peft_parameter_names(model)
    portable = portable_names(model)
    stock = sorted(
        ((_stock_name(portable[name]), value) for name, value in model.named_parameters() if name not in added),
        key=lambda item: item[0],
    )
    digest = hashlib.sha256()
    for name, parameter in stock:
        if name.endswith("embeddings.position_embedding"):
            continue
        value = parameter.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _stock_name(name: str) -> str:
    return name.replace(".base_layer.", ".")


def _peft_parameter_names(model: nn.Module) -> set[str]:
    # A layer that peft wraps keeps the stock layer as `base_layer`; everything beside it is peft's.
    return {
        f"{path}.{name}"
        for path, module in model.named_modules()
        if hasattr(module, "base_layer")
        for name, _ in module.named_parameters()
        if not name.startswith("base_layer.")
    }
