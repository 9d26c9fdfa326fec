"""Scaled dot-product attention without a mask: softmax(QK^T / sqrt(d)) V, by the fastest of PyTorch's ways."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def dot_product_attention(
    query: Float[Tensor, "*batch heads rows dim"],
    key: Float[Tensor, "*batch heads keys dim"],
    value: Float[Tensor, "*batch heads keys dim"],
    scale: float | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "*batch heads rows dim"]:
    """What each row gathers from the values.

    Args:
        query: what asks.
        key: what is compared.
        value: what is gathered.
        scale: of the products; by default `dim ** -0.5`.
        dropout: share of the weights that is dropped.
    """
    if _sums_pay(query, key) and not dropout:
        scaled = query * (query.shape[-1] ** -0.5 if scale is None else scale)
        weights = (scaled[..., :, None, :] * key[..., None, :, :]).sum(dim=-1).softmax(dim=-1)
        return (weights[..., None] * value[..., None, :, :]).sum(dim=-2)
    if _matrix_products_pay(query, key) and not dropout:
        scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-1, -2)
        return scores.softmax(dim=-1) @ value
    return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=scale)


def _sums_pay(query: Tensor, key: Tensor) -> bool:
    """Whether sums are faster than any kernel: compiled for a CPU they become one loop.

    So it was for 8 frames in float32; for 16 the kernel was faster, and in bfloat16 there was no difference.
    """
    few = query.device.type == "cpu" and query.dtype == torch.float32 and query.shape[-2] <= 8 and key.shape[-2] <= 8
    return torch.compiler.is_compiling() and few and not _wants_gradient(query, key)


def _matrix_products_pay(query: Tensor, key: Tensor) -> bool:
    """Whether PyTorch's fused kernel is the slower one: in bfloat16 on a CPU, where no gradient is wanted.

    There it converts to float32 block by block: 1.7 times the time of the products for 197 tokens, 2.6 times for the 8
    frames of a patch position (recipes/benchmarks/encode.py). With a gradient it still saves the memory of the scores.
    """
    return query.device.type == "cpu" and query.dtype == torch.bfloat16 and not _wants_gradient(query, key)


def _wants_gradient(query: Tensor, key: Tensor) -> bool:
    return torch.is_grad_enabled() and (query.requires_grad or key.requires_grad)
