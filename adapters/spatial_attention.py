"""The stock attention within a frame, computed by one fused kernel where only its output is wanted.

BLIP's own forward writes every head's scores to memory, 197 x 197 a frame, and reads them three times.
"""

from typing import Any

from einops import rearrange
from torch import Tensor

from .dot_product_attention import dot_product_attention
from .vision_encoder import Layout

FUSIBLE = {
    ("transformers.models.blip.modeling_blip", "BlipAttention"),
    ("lavis.models.vit", "Attention"),
    ("models.vit", "Attention"),
}
"""Module and name of the classes whose forward is what is computed here; the last is Salesforce's BLIP."""


def attend(attention: Any, layout: Layout, tokens: Tensor, options: dict[str, Any]) -> Tensor:
    """What `attention` makes of the tokens of frames, by its own forward wherever that is watched or is another's.

    Args:
        attention: of a block.
        layout: its library's names.
        tokens: normalised, `(batch*time, 1+patches, dim)`.
        options: keywords for its forward.
    """
    if not _fusible(attention, options):
        attended = attention(tokens, **options)
        return attended[0] if isinstance(attended, tuple) else attended
    query, key, value = rearrange(attention.qkv(tokens), "b n (c h d) -> c b h n d", c=3, h=attention.num_heads)
    dropout = attention.attn_drop if hasattr(attention, "attn_drop") else attention.dropout
    share = dropout.p if attention.training else 0.0
    attended = dot_product_attention(query, key, value, attention.scale, share)
    attended = getattr(attention, layout.projection)(rearrange(attended, "b h n d -> b n (h d)"))
    return attention.proj_drop(attended) if hasattr(attention, "proj_drop") else attended


def _fusible(attention: Any, options: dict[str, Any]) -> bool:
    kind = type(attention)
    watched = attention._forward_hooks or attention._forward_pre_hooks or attention._backward_hooks
    return (
        (kind.__module__, kind.__qualname__) in FUSIBLE
        and "forward" not in attention.__dict__
        and not watched
        and all(value is None or value is False for value in options.values())
    )
