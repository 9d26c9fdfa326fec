"""A fingerprint of a backbone's weights, so that adapters are never loaded onto another backbone unnoticed."""

import hashlib
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from .adapter import adapter_parameter_names, peft_parameter_names
from .vision_encoder import find_vision_encoder, portable_names

POSITION_TABLE = "embeddings.position_embedding"


def fingerprint(model: nn.Module, part: Literal["whole", "vision encoder"] = "whole") -> str:
    """A short hash over the names, shapes and values of the stock parameters of a model, or of its vision encoder.

    Weights, not a name: the same checkpoint gives the same fingerprint from whatever file, on whatever device, and in
    transformers' classes as in LAVIS's. Left out are adapters, what peft adds, momentum copies, and the vision
    encoder's position table, which follows the image size.

    Returns:
        16 hexadecimal digits.
    """
    scope = find_vision_encoder(model).module if part == "vision encoder" else model
    added = adapter_parameter_names(scope) | peft_parameter_names(scope)
    parameters = dict(scope.named_parameters())
    stock = {
        portable.replace(".base_layer.", "."): parameters[name]
        for name, portable in portable_names(scope).items()
        if name not in added
    }
    return digest_of({name: value for name, value in stock.items() if not name.endswith(POSITION_TABLE)})


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """A short hash over names, shapes and values: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        # A copy, as a storage that numpy has seen can't be freed any more, which sharded training does.
        value = tensors[name].detach().cpu().clone(memory_format=torch.contiguous_format)
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
