"""Matching texts with videos: the keys and values of a video's rows are projected once, not once for each text.

In BLIP's loop a pair costs two projections of all the video's rows in every layer: at 8 frames of 197 tokens some 25
billion multiply-adds, where a caption's own way through the encoder costs 1.5. Both commute with what a text changes:

    key    q (w K r + b) = w (q K r) + q b     a text weighs a pooled row by w; q b is the same for all rows: left out
    value  sum a (w V r + b) = sum (a w) (V r) + b     since attention sums to one

So rows of no text are projected, and texts, without their padding, are multiplied with them all at once: those of one
video (`OneVideo`, for evaluation), or of each of several, with gradient and dropout (`SeveralVideos`, for training).
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from litevl.blip.repairs import hand_on_cross_attention_mask

from .features import TokenBatch

TOKENS_AT_ONCE = {"cpu": 128}
FEW_TOKENS = 2048
"""Tokens of texts that cross-attend at a time, on a CPU and elsewhere. In each head there is a score for each token and
row of the video; on a CPU they should stay in its caches."""


KIND = ("transformers.models.blip.modeling_blip_text", "BlipTextLayer")
"""Module and name of the class whose forward is written out here."""


@dataclass(frozen=True)
class Attended:
    """The rows of videos as one layer's cross-attention reads them."""

    keys: Float[Tensor, "*videos heads width rows"]
    values: Float[Tensor, "*videos heads rows width"]
    offset: Float[Tensor, " dim"]
    """The values' bias, which attention passes on as it is."""


@runtime_checkable
class Memory(Protocol):
    """What texts cross-attend to."""

    def attend(
        self, number: int, attention: Any, hidden: Float[Tensor, "tokens dim"], text: Int[Tensor, "tokens"]
    ) -> Float[Tensor, "tokens dim"]:
        """Cross-attention of tokens in layer `number`, given which text each is of; tokens stand text after text."""


def project_rows(encoder: Any, rows: Float[Tensor, "*videos rows dim"]) -> list[Attended]:
    """The rows of videos as every layer of BLIP's text encoder reads them.

    Args:
        encoder: transformers' `BlipTextModel`, its Linears wrapped by peft or not.
        rows: of no text; those that texts weigh come last.
    """
    return [_project(layer.crossattention.self, rows) for layer in encoder.encoder.layer]


def first_token_states(encoder: Any, tokens: TokenBatch, memory: Memory) -> Float[Tensor, "texts dim"]:
    """The state of each text's first token after the text encoder.

    Equal to the encoder's own forward on a memory for each text. Padding is not computed.

    Args:
        encoder: as in `project_rows`.
        tokens: of each text.
        memory: what each text cross-attends to.
    """
    layers = encoder.encoder.layer
    longest = int(tokens.attention_mask.sum(dim=1).max())
    tokens = tokens.cut_to(longest)
    mask = tokens.attention_mask.bool()
    hidden = encoder.embeddings(tokens.input_ids)[mask]
    text = torch.arange(len(mask), device=mask.device)[:, None].expand_as(mask)[mask]
    for number, layer in enumerate(layers):
        context = _attend_within(layer.attention.self, hidden, mask)
        if number + 1 == len(layers):
            # Nothing reads the other tokens any more.
            first = torch.cat([text.new_ones(1, dtype=torch.bool), text[1:] != text[:-1]])
            context, hidden, text = context[first], hidden[first], text[first]
        hidden = layer.attention.output(context, hidden)
        cross = layer.crossattention
        hidden = cross.output(memory.attend(number, cross.self, hidden, text), hidden)
        hidden = layer.output(layer.intermediate(hidden), hidden)
    return hidden


def is_unwatched(encoder: Any) -> bool:
    """Whether nothing would miss the forwards that `first_token_states` goes past: no hook, no other class.

    Sharded weights are such hooks, and so is recomputation in the backward pass.
    """
    if any((type(layer).__module__, type(layer).__qualname__) != KIND for layer in encoder.encoder.layer):
        return False
    return not (encoder.encoder.gradient_checkpointing and encoder.training) and not any(
        part._forward_hooks
        or part._backward_hooks
        or part._backward_pre_hooks
        or "forward" in part.__dict__
        or any(hook is not hand_on_cross_attention_mask for hook in part._forward_pre_hooks.values())
        for part in encoder.encoder.modules()
    )


class OneVideo:
    """The rows of one video as the memory of every text; without gradient or dropout.

    Args:
        projected: what `project_rows` gave.
        weights: of each text, for the last rows.
    """

    def __init__(self, projected: list[Attended], weights: Float[Tensor, "texts pooled"]):
        self.projected, self.weights = projected, weights

    def attend(
        self, number: int, attention: Any, hidden: Float[Tensor, "tokens dim"], text: Int[Tensor, "tokens"]
    ) -> Float[Tensor, "tokens dim"]:
        """As `Memory` has it."""
        at_once = TOKENS_AT_ONCE.get(hidden.device.type, FEW_TOKENS)
        parts = zip(hidden.split(at_once), text.split(at_once), strict=True)
        video = self.projected[number]
        return torch.cat([_attend_to(attention, part, video, self.weights[which]) for part, which in parts])


class SeveralVideos:
    """The rows of several videos, each the memory of some texts.

    The tokens of a video's texts stand in a row of a table; so every video's attention is one product in a batch of
    them, and its keys and values are not repeated. Scores are computed again in the backward pass.

    Args:
        projected: what `project_rows` gave.
        weights: of each text, for the last rows.
        which: the video of each text, in ascending order.
    """

    def __init__(self, projected: list[Attended], weights: Float[Tensor, "texts pooled"], which: Int[Tensor, "texts"]):
        self.projected, self.weights, self.which = projected, weights, which
        self.places, self.length = which, 0
        """Of the tokens in the table, its rows one after the other, and how long those are."""

    def attend(
        self, number: int, attention: Any, hidden: Float[Tensor, "tokens dim"], text: Int[Tensor, "tokens"]
    ) -> Float[Tensor, "tokens dim"]:
        """As `Memory` has it."""
        memory = self.projected[number]
        if self.length == 0 or len(self.places) != len(text):  # the last layer has fewer tokens
            self._place(self.which[text], len(memory.keys))
        query = attention.query(hidden) * attention.attention_head_size**-0.5
        query = rearrange(self._table(query, memory), "v s (h w) -> v h s w", h=memory.keys.shape[1])
        weights = self._table(self.weights[text], memory)[:, None]
        dropout = attention.dropout.p if attention.training else 0.0
        options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": dropout > 0}
        context = checkpoint(_attend_weighted, query, memory, weights, dropout, **options)
        return rearrange(context, "v h s w -> (v s) (h w)")[self.places]

    def _place(self, video: Int[Tensor, "tokens"], videos: int) -> None:
        counts = torch.bincount(video, minlength=videos)
        self.length = int(counts.max())
        before = counts.cumsum(0) - counts
        self.places = video * self.length + torch.arange(len(video), device=video.device) - before[video]

    def _table(self, values: Float[Tensor, "tokens dim"], memory: Attended) -> Float[Tensor, "videos length dim"]:
        videos = len(memory.keys)
        table = values.new_zeros(videos * self.length, values.shape[1])
        return table.index_copy(0, self.places, values).unflatten(0, (videos, self.length))


def _project(attention: Any, rows: Tensor) -> Attended:
    nothing = rows.new_zeros(1, rows.shape[-1])
    # What a projection makes of nothing is its bias, also where peft wraps it.
    offset = attention.value(nothing)
    keys, values = attention.key(rows) - attention.key(nothing), attention.value(rows) - offset
    heads = attention.num_attention_heads
    keys = rearrange(keys, "... r (h w) -> ... h w r", h=heads)
    values = rearrange(values, "... r (h w) -> ... h r w", h=heads)
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
    dropout = attention.dropout.p if attention.training else 0.0
    context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :], dropout_p=dropout)
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


def _attend_weighted(
    query: Float[Tensor, "videos heads length width"],
    memory: Attended,
    weights: Float[Tensor, "videos 1 length pooled"],
    dropout: float,
) -> Float[Tensor, "videos heads length width"]:
    """Attention of each video's tokens to its rows, of which the last are multiplied by the token's weights."""
    own = memory.values.shape[-2] - weights.shape[-1]
    scores = query @ memory.keys
    scores = torch.cat([scores[..., :own], scores[..., own:] * weights], dim=-1)
    shares = F.dropout(scores.softmax(dim=-1), dropout)
    offset = memory.offset.unflatten(0, (query.shape[1], -1))[:, None]
    if dropout:  # shares no longer sum to one
        offset = offset * shares.sum(dim=-1, keepdim=True)
    shares = torch.cat([shares[..., :own], shares[..., own:] * weights], dim=-1)
    return shares.to(memory.values.dtype) @ memory.values + offset
