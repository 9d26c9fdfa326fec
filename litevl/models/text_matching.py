"""Matching one text with many videos, as a search does: no row of a video is projected.

`matching` projects a video's rows to keys and values once and shares them among its texts. A search has one text, of
some ten tokens, and meets each video once; there the projections themselves (two of every row in every layer) are
nearly all of the cost. They commute with the sums over rows, so the text's few tokens are projected in their place:

    score of row r    q (K r) = (q K) r             q K: one vector of the rows' width for each token and head
    context           V (sum a r) instead of sum a (V r)

That is less work as long as the text has fewer tokens than a head is wide (64 in BLIP; texts are cut to 35), and
nothing but the video's tokens needs to be kept on disk: keys and values of all layers would be 24 times as large.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .features import TokenBatch

VIDEOS_AT_ONCE = 4
"""Videos whose rows are attended to at a time: more would leave a CPU's caches, and there is nothing left to share."""


def first_token_of_each(
    encoder: Any,
    tokens: TokenBatch,
    rows: Float[Tensor, "videos rows dim"],
    weights: Float[Tensor, "videos pooled"],
) -> Float[Tensor, "videos text_dim"]:
    """The state of one text's first token after the text encoder, for each of some videos that it cross-attends to.

    Equal to the encoder's own forward on rows of which the last `pooled` are multiplied by the weights. Dropout takes
    no part.

    Args:
        encoder: transformers' `BlipTextModel`, its Linears wrapped by peft or not.
        tokens: of the one text.
        rows: of each video, of no text; those that the text weighs come last.
        weights: what the text makes of each video's last rows.
    """
    ids = tokens.input_ids[:, : int(tokens.attention_mask.sum())]
    maps = [_rows_maps(layer.crossattention.self, rows) for layer in encoder.encoder.layer]
    parts = zip(rows.split(VIDEOS_AT_ONCE), weights.split(VIDEOS_AT_ONCE), strict=True)
    return torch.cat([_through(encoder, ids, maps, some, weigh) for some, weigh in parts])


def _through(
    encoder: Any, ids: Int[Tensor, "1 length"], maps: list[tuple[Tensor, Tensor, Tensor]], rows: Tensor, weights: Tensor
) -> Float[Tensor, "videos text_dim"]:
    hidden = encoder.embeddings(ids).expand(len(rows), -1, -1)
    layers = encoder.encoder.layer
    for number, (layer, (to_rows, from_rows, offset)) in enumerate(zip(layers, maps, strict=True)):
        own = layer.attention.self
        query, key, value = (_heads(part(hidden), own) for part in (own.query, own.key, own.value))
        context = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        if number + 1 == len(layers):
            # Nothing reads the other tokens any more.
            context, hidden = context[:, :1], hidden[:, :1]
        hidden = layer.attention.output(context, hidden)
        cross = layer.crossattention
        query = _heads(cross.self.query(hidden), cross.self) @ to_rows
        context = _attend(query, rows, weights) @ from_rows
        hidden = cross.output(context.transpose(1, 2).flatten(2) + offset, hidden)
        hidden = layer.output(layer.intermediate(hidden), hidden)
    return hidden[:, 0]


def _heads(states: Tensor, attention: Any) -> Float[Tensor, "videos heads length width"]:
    return states.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)


def _attend(
    query: Float[Tensor, "videos heads length dim"],
    rows: Float[Tensor, "videos rows dim"],
    weights: Float[Tensor, "videos pooled"],
) -> Float[Tensor, "videos heads length dim"]:
    """Every token and head's sum over the rows of its video, in the rows' own width."""
    # One matrix product for all tokens and heads of a video.
    pooled, flat = weights.shape[1], query.flatten(1, 2)
    scores = flat @ rows.to(flat.dtype).transpose(1, 2)
    if pooled:
        scores[..., -pooled:] *= weights[:, None]
    attention = scores.softmax(dim=-1)
    if pooled:
        attention[..., -pooled:] *= weights[:, None]
    return (attention.to(rows.dtype) @ rows).unflatten(1, query.shape[1:3])


def _rows_maps(
    attention: Any, rows: Tensor
) -> tuple[Float[Tensor, "heads width dim"], Float[Tensor, "heads dim width"], Float[Tensor, " text_dim"]]:
    """What takes queries to the rows' width (scaled), what takes sums of rows to context, and the values' bias.

    A key's bias adds the same to all of a token's scores and is left out.
    """
    heads, width = attention.num_attention_heads, attention.attention_head_size
    (key, _), (value, offset) = (_matrix(part, rows) for part in (attention.key, attention.value))
    return (
        key.unflatten(1, (heads, width)).permute(1, 2, 0) * width**-0.5,
        value.unflatten(1, (heads, width)).transpose(0, 1),
        offset,
    )


def _matrix(linear: Any, rows: Tensor) -> tuple[Float[Tensor, "dim text_dim"], Float[Tensor, " text_dim"]]:
    """A projection as the matrix that rows are multiplied with, and its bias."""
    nothing = rows.new_zeros(1, rows.shape[-1])
    # What a projection makes of nothing is its bias, also where peft wraps it.
    offset = linear(nothing)
    if type(linear) is torch.nn.Linear:
        return linear.weight.T.to(offset.dtype), offset[0]
    return linear(torch.eye(rows.shape[-1], dtype=rows.dtype, device=rows.device)) - offset, offset[0]
