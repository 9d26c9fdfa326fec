"""Attention by either way, against the formula."""

import pytest
import torch
import torch.nn.functional as F

from litevl.adapters.dot_product_attention import dot_product_attention


def inputs(dtype, requires_grad=False):
    generator = torch.Generator().manual_seed(0)
    made = (torch.randn(2, 3, 5, 8, generator=generator).to(dtype) for _ in range(3))
    return [each.requires_grad_(requires_grad) for each in made]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [None, 0.2])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_is_the_formula(dtype, scale, requires_grad):
    query, key, value = inputs(dtype, requires_grad)
    wanted = (query.double() @ key.double().mT * (scale or 8**-0.5)).softmax(-1) @ value.double()
    found = dot_product_attention(query, key, value, scale)
    assert found.dtype == dtype
    assert torch.allclose(found.double(), wanted, atol=1e-5 if dtype == torch.float32 else 0.03)
    assert found.requires_grad == requires_grad


@pytest.mark.parametrize(
    ("dtype", "requires_grad", "dropout", "fused"),
    [
        (torch.float32, False, 0.0, True),
        (torch.bfloat16, False, 0.0, False),
        (torch.bfloat16, True, 0.0, True),
        (torch.bfloat16, False, 0.5, True),
    ],
)
def test_takes_the_fused_kernel_where_it_pays(dtype, requires_grad, dropout, fused, monkeypatch):
    kernel, calls = F.scaled_dot_product_attention, []
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda *args, **more: calls.append(more) or kernel(*args, **more)
    )
    dot_product_attention(*inputs(dtype, requires_grad), dropout=dropout)
    assert len(calls) == fused
    assert all(more["dropout_p"] == dropout for more in calls)
