"""Matching many texts with one video: the keys and values of its rows are projected once, not once for each text.

In BLIP's loop a pair costs two projections of all the video's rows in every layer: at 8 frames of 197 tokens some 25
billion multiply-adds, where a caption's own way through the encoder costs 1.5. Both commute with what a text changes:

    key    q (w K r + b) = w (q K r) + q b     a text weighs a pooled row by w; q b is the same for all rows: left out
    value  sum a (w V r + b) = sum (a w) (V r) + b     since attention sums to one

So rows of no text are projected, and texts, without their padding, are multiplied with them all at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from .features import TokenBatch

TOKENS_AT_ONCE = {"cpu": 128}
FEW_TOKENS = 2048
"""Tokens of texts that cross-attend at a time, on a CPU and elsewhere. In each head there is a score for each token and
row of the video; on a CPU they should stay in its caches."""


@dataclass(frozen=True)
class Attended:
    """The rows of one video as one layer's cross-attention reads them."""

    keys: Float[Tensor, "heads width rows"]
    values: Float[Tensor, "heads rows width"]
    offset: Float[Tensor, " dim"]
    """The values' bias, which attention passes on as it is."""


def project_rows(encoder: Any, rows: Float[Tensor, "rows dim"]) -> list[Attended]:
    """The rows of a video as every layer of BLIP's text encoder reads them.

    Args:
        encoder: transformers' `BlipTextModel`, its Linears wrapped by peft or not.
        rows: of no text; those that texts weigh come last.
    """
    return [_project(layer.crossattention.self, rows) for layer in encoder.encoder.layer]


def first_token_states(
    encoder: Any, tokens: TokenBatch, video: Sequence[Attended], weights: Float[Tensor, "texts pooled"]
) -> Float[Tensor, "texts dim"]:
    """The state of each text's first token after the text encoder, every text cross-attending to one video.

    Equal to the encoder's own forward on rows of which the last `pooled` are multiplied by the text's weights. Padding
    is not computed, and dropout takes no part.

    Args:
        encoder: as in `project_rows`.
        tokens: of each text.
        video: what `project_rows` gave.
        weights: of each text, for the last rows.
    """
    layers = encoder.encoder.layer
    longest = int(tokens.attention_mask.sum(dim=1).max())
    tokens = tokens.cut_to(longest)
    mask = tokens.attention_mask.bool()
    hidden = encoder.embeddings(tokens.input_ids)[mask]
    at_once = TOKENS_AT_ONCE.get(hidden.device.type, FEW_TOKENS)
    text = torch.arange(len(mask), device=mask.device)[:, None].expand_as(mask)[mask]
    for number, (layer, memory) in enumerate(zip(layers, video, strict=True)):
        context = _attend_within(layer.attention.self, hidden, mask)
        if number + 1 == len(layers):
            # Nothing reads the other tokens any more.
            first = torch.cat([text.new_ones(1, dtype=torch.bool), text[1:] != text[:-1]])
            context, hidden, text = context[first], hidden[first], text[first]
        hidden = layer.attention.output(context, hidden)
        cross = layer.crossattention
        parts = zip(hidden.split(at_once), text.split(at_once), strict=True)
        context = torch.cat([_attend_to(cross.self, part, memory, weights[which]) for part, which in parts])
        hidden = cross.output(context, hidden)
        hidden = layer.output(layer.intermediate(hidden), hidden)
    return hidden


def _project(attention: Any, rows: Tensor) -> Attended:
    nothing = rows.new_zeros(1, rows.shape[1])
    # What a projection makes of nothing is its bias, also where peft wraps it.
    offset = attention.value(nothing)
    keys, values = attention.key(rows) - attention.key(nothing), attention.value(rows) - offset
    heads = (len(rows), attention.num_attention_heads, attention.attention_head_size)
    keys, values = keys.view(heads).permute(1, 2, 0), values.view(heads).transpose(0, 1)
    return Attended(keys.contiguous(), values.contiguous(), offset[0])


def _attend_within(
    attention: Any, hidden: Float[Tensor, "tokens dim"], mask: Bool[Tensor, "texts length"]
) -> Float[Tensor, "tokens dim"]:
    """Self-attention of each text; only here do texts stand in a padded table."""
    qkv = torch.cat([part(hidden) for part in (attention.query, attention.key, attention.value)], dim=-1)
    table = qkv.new_zeros(*mask.shape, qkv.shape[-1])
    table[mask] = qkv
    heads = (*mask.shape, 3, attention.num_attention_heads, attention.attention_head_size)
    query, key, value = table.view(heads).permute(2, 0, 3, 1, 4)
    context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
    return context.transpose(1, 2).flatten(2)[mask]


def _attend_to(
    attention: Any,
    hidden: Float[Tensor, "tokens dim"],
    memory: Attended,
    weights: Float[Tensor, "tokens pooled"],
) -> Float[Tensor, "tokens dim"]:
    """Cross-attention of tokens, whichever text they are of, to the rows of one video."""
    width, pooled = attention.attention_head_size, weights.shape[1]
    query = attention.query(hidden) * width**-0.5
    query = query.view(len(hidden), -1, width).transpose(0, 1)
    scores = query @ memory.keys
    if pooled:
        scores[..., -pooled:] *= weights
    attention_weights = scores.softmax(dim=-1)
    if pooled:
        attention_weights[..., -pooled:] *= weights
    context = attention_weights.to(memory.values.dtype) @ memory.values
    return context.transpose(0, 1).flatten(1) + memory.offset
