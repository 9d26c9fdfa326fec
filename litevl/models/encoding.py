"""What the task models share: clips through a plugged BLIP, texts to tokens, and what a text cross-attends to."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from litevl.adapters import FrameFeatures, PoolingConfig, encode_above, plugged_state, pool_by_text
from litevl.precision import full_precision

from .features import TextFeatures, TokenBatch, VideoFeatures

Pixels = Float[Tensor, "videos time 3 height width"] | Float[Tensor, "videos 3 height width"]
VideoInput = Pixels | FrameFeatures
"""What a BLIP with adapters takes of videos: pixels, or what the blocks below its first adapter made of them."""
ClipBatch = Float[Tensor, "_ time 3 height width"] | FrameFeatures
"""The same of clips, as one of several batches, which need not be of one size."""


def require_plugged(blip: Any) -> None:
    """Checks that a BLIP takes clips.

    Raises:
        ValueError: for a stock one.
    """
    if plugged_state(blip) is None:
        raise ValueError(
            "expected a plugged BLIP, got a stock one; call plug(blip, LiteVLConfig(...)), or "
            "plug(blip, FrameAverageConfig()) for plain BLIP frame by frame"
        )


def tokenizer_of(blip: Any, tokenizer: PreTrainedTokenizerBase | None) -> Any:
    """The tokenizer that was given, or the one that `load_blip` attached.

    Raises:
        ValueError: there is neither.
    """
    tokenizer = tokenizer or getattr(blip, "tokenizer", None)
    if tokenizer is None:
        raise ValueError("no tokenizer: pass tokenizer=load_tokenizer(...), or load the BLIP with load_blip")
    return tokenizer


def tokenize(tokenizer: Any, texts: Sequence[str], max_length: int, device: torch.device) -> TokenBatch:
    """Tokenises and pads to the longest of `texts`, each cut to `max_length` tokens."""
    batch = tokenizer(list(texts), padding="longest", truncation=True, max_length=max_length, return_tensors="pt")
    return TokenBatch(batch["input_ids"].to(device), batch["attention_mask"].to(device))


def with_first(input_ids: Int[Tensor, "texts length"], token: int) -> Int[Tensor, "texts length"]:
    """The texts with another first token: BLIP's [ENC] and [DEC] take the place of [CLS]."""
    return torch.cat([torch.full_like(input_ids[:, :1], token), input_ids[:, 1:]], dim=1)


def encode_rows(
    blip: Any, pixels: VideoInput
) -> tuple[Float[Tensor, "videos rows dim"], int, Literal["clip", "frame"]]:
    """The tokens of clips, or of images as clips of one frame through the stock path.

    Returns:
        Rows, number of frames and kind of CLS, as in `VideoFeatures`.

    Raises:
        ValueError: for clips, if the BLIP is no longer plugged.
    """
    state = plugged_state(blip)
    if isinstance(pixels, FrameFeatures):
        rows, num_frames = encode_above(blip, pixels), pixels.num_frames
    else:
        if pixels.ndim == 5:
            require_plugged(blip)
        rows, num_frames = blip.vision_model(pixel_values=pixels).last_hidden_state, pixels.shape[1]
        if pixels.ndim == 4 or state is None:
            return rows, 1, "clip"
    return rows, num_frames, state.config.cls if state and state.config else "frame"


def video_memory(
    video: VideoFeatures, text: Float[Tensor, "pairs text_dim"], project: Any, pooling: PoolingConfig
) -> Float[Tensor, "pairs memory dim"]:
    """What text i cross-attends to in video i: the video's own rows (or its CLS alone) and the pooled ones.

    Args:
        video: of each pair.
        text: of each pair, in the space where pooling compares.
        project: maps video rows into that space, or None.
        pooling: the options.
    """
    own = video.memory if pooling.keep_tokens else video.rows[:, :1]
    return torch.cat([own, pool_by_text(video.patches, text, project, pooling)], dim=1)


def match_all(
    match_video: Callable[[TextFeatures, VideoFeatures], Tensor], text: TextFeatures, video: VideoFeatures
) -> Float[Tensor, "texts videos"]:
    """The probability that text and video match, for every text with every video.

    Args:
        match_video: logits (no match, match) of every text with one video.
        text: every text.
        video: every video.
    """
    columns = [match_video(text, video[index : index + 1]) for index in range(len(video))]
    return torch.stack([column.float().softmax(dim=-1)[:, 1] for column in columns], dim=1)


def whole(memory: Float[Tensor, "pairs memory dim"]) -> Int[Tensor, "pairs memory"]:
    """The mask of a memory that is attended to in all its rows."""
    return torch.ones(memory.shape[:2], dtype=torch.long, device=memory.device)


def next_token_logits(
    decoder: Any,
    tokens: TokenBatch,
    memory: Float[Tensor, "texts rows dim"],
    mask: Int[Tensor, "texts rows"],
) -> Float[Tensor, "texts length words"]:
    """What a BLIP decoder makes of the token after each token of text i, which cross-attends to memory i.

    Its head computes in float32 whatever the precision around it: likelihoods rounded to eight bits are often equal.
    """
    hidden = decoder.bert(
        input_ids=tokens.input_ids,
        attention_mask=tokens.attention_mask,
        encoder_hidden_states=memory,
        encoder_attention_mask=mask,
        use_cache=False,
        is_decoder=True,
    ).last_hidden_state
    with full_precision(hidden):
        return decoder.cls(hidden.to(decoder.cls.predictions.bias.dtype)).float()


def log_likelihood(
    logits: Float[Tensor, "texts following words"],
    tokens: TokenBatch,
    predicted: Float[Tensor, "texts following"] | Int[Tensor, "texts following"],
) -> Float[Tensor, "texts"]:
    """The log-likelihood of each text: the sum over its tokens where `predicted` is 1."""
    scores = logits.log_softmax(dim=-1)
    return (scores.gather(-1, tokens.input_ids[:, 1:, None])[..., 0] * predicted).sum(dim=1)
