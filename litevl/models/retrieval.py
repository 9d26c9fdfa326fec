"""Text-video retrieval with BLIP's two paths: embeddings to compare (ITC) and cross-attention to match (ITM)."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from litevl.adapters import Adapter, PoolingConfig
from litevl.adapters.frozen_blocks import draws
from litevl.adapters.text_pooling import pooled_rows, pooling_weights
from litevl.blip import enc_token_id, repair
from litevl.precision import full_precision

from .encoding import (
    VideoInput,
    encode_rows,
    match_all,
    require_plugged,
    tokenize,
    tokenizer_of,
    video_memory,
    whole,
    with_first,
)
from .features import TextFeatures, TokenBatch, VideoFeatures
from .matching import OneVideo, SeveralVideos, first_token_states, is_unwatched, project_rows
from .text_matching import first_token_of_each

TEMPERATURE_RANGE = (0.001, 0.5)  # the clamp of BLIP's own training


class RetrievalHeads(Adapter):
    """What retrieval trains beside the encoder: the temperature and, by choice, copies of BLIP's heads for video.

    Copies, so that the BLIP they came from still gives the stock output for images after training.
    """

    def __init__(self, blip: Any, temperature: float, copy_heads: bool):
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(float(temperature), device=blip.device))
        for name in ("vision_proj", "text_proj", "itm_head") if copy_heads else ():
            head = getattr(blip, name)
            copy = nn.Linear(head.in_features, head.out_features).to(head.weight)
            copy.load_state_dict(head.state_dict())
            setattr(self, name, copy)


class VideoTextRetrieval(nn.Module):
    """A plugged BLIP that encodes videos and texts, compares them and matches them.

    Args:
        blip: transformers' `BlipForImageTextRetrieval`, plugged.
        pooling: how a video's tokens are pooled by the text in the matching path.
        tokenizer: BLIP's tokenizer; by default the one that `load_blip` attached.
        temperature: start of the contrastive temperature; by default what the checkpoint learned, else 0.07.
        heads: `frozen` uses BLIP's heads as they are; `copied` trains copies of them.
        max_text_length: tokens a text is cut to, [CLS] and [SEP] counted; BLIP's retrieval uses 35.

    Raises:
        ValueError: if the model is not plugged, has no retrieval heads, or no tokenizer is at hand.
    """

    def __init__(
        self,
        blip: nn.Module,
        pooling: PoolingConfig | None = None,
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        temperature: float | None = None,
        heads: Literal["frozen", "copied"] = "frozen",
        max_text_length: int = 35,
    ):
        super().__init__()
        if not all(hasattr(blip, name) for name in ("vision_proj", "text_proj", "itm_head")):
            raise ValueError(
                f"expected a BLIP for retrieval (with vision_proj, text_proj and itm_head), got {type(blip).__name__}; "
                "load a retrieval, ITM or pre-training checkpoint, or pass task='retrieval' to load_blip"
            )
        if not hasattr(blip, "vision_model"):
            raise ValueError(
                f"expected transformers' BLIP, got {type(blip).__name__} of another library, which can be plugged and "
                "called by its own methods; for VideoTextRetrieval load its checkpoint with load_blip"
            )
        require_plugged(blip)
        tokenizer = tokenizer_of(blip, tokenizer)
        if temperature is None:
            temperature = getattr(getattr(blip, "load_report", None), "temperature", None) or 0.07
        self.blip: Any = repair(blip)
        self.tokenizer = tokenizer
        self.enc_token_id = enc_token_id(tokenizer)
        self.pooling = pooling or PoolingConfig()
        self.max_text_length = max_text_length
        self.heads = RetrievalHeads(blip, temperature, copy_heads=heads == "copied")

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return self.heads.temperature.device

    @property
    def image_size(self) -> int:
        """Side of the frames in pixels."""
        return self.blip.config.vision_config.image_size

    @property
    def embed_dim(self) -> int:
        """Width of the embeddings that are compared."""
        return self.blip.vision_proj.out_features

    @property
    def reads_texts_alike(self) -> bool:
        """Whether the text encoder makes the same of a text at every step: nothing of it is trained, nor dropped."""
        encoder = self.blip.text_encoder
        return not draws(encoder) and not any(parameter.requires_grad for parameter in encoder.parameters())

    @torch.no_grad()
    def clamp_temperature(self) -> None:
        """Brings the temperature back into BLIP's range, where it has a gradient again; done before a training step."""
        self.heads.temperature.clamp_(*TEMPERATURE_RANGE)

    def temperature(self) -> Float[Tensor, ""]:
        """The contrastive temperature, within BLIP's clamp."""
        return self.heads.temperature.clamp(*TEMPERATURE_RANGE)

    def forward(self, pixels: VideoInput, texts: TokenBatch) -> tuple[VideoFeatures, TextFeatures]:
        """Encodes a batch of videos and of texts, each alone."""
        return self.encode_video(pixels), self.encode_text(texts)

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Tokenises and pads to the longest of `texts`."""
        return tokenize(self.tokenizer, texts, self.max_text_length, self.device)

    def encode_video(self, pixels: VideoInput) -> VideoFeatures:
        """Encodes preprocessed clips; a batch of images counts as clips of one frame through the stock path.

        With one CLS per frame the embedding is the mean of the frames' projections, as in BLIP's video evaluation.
        """
        rows, num_frames, cls = encode_rows(self.blip, pixels)
        embed = F.normalize(self._project("vision_proj", rows[:, 0]).float(), dim=-1)
        return VideoFeatures(rows, embed, num_frames, cls)

    def encode_text(self, texts: Sequence[str] | TokenBatch) -> TextFeatures:
        """Encodes texts through the text encoder alone, or goes on from what it made of them where that is known."""
        tokens = texts if isinstance(texts, TokenBatch) else self.tokenize(texts)
        hidden = tokens.states
        if hidden is None:
            output = self.blip.text_encoder(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
            hidden = output.last_hidden_state[:, 0]
        return TextFeatures(tokens, hidden, F.normalize(self._project("text_proj", hidden).float(), dim=-1))

    def similarity(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "texts videos"]:
        """Cosine similarity of every text with every video, without temperature."""
        with full_precision(text.embed):
            return text.embed @ video.embed.T

    def match(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "texts videos"]:
        """The probability that text and video match, for every text with every video."""
        return match_all(self.match_video, text, video)

    def match_video(self, text: TextFeatures, video: VideoFeatures, pair_batch: int = 256) -> Float[Tensor, "texts 2"]:
        """The logits of `match_pairs` for every text with one video, in a fraction of the time; without dropout.

        Args:
            text: every text.
            video: the one video, as features of length one.
            pair_batch: texts that are matched at a time.
        """
        frames_and_positions = pooled_rows(video.patches)
        own = video.memory if self.pooling.keep_tokens else video.rows[:, :1]
        added = [] if self.pooling.mode == "none" else [pooled[0] for pooled in frames_and_positions]
        encoder = self.blip.text_encoder
        projected = project_rows(encoder, torch.cat([own[0], *added]))
        states = []
        for some in (text[start : start + pair_batch] for start in range(0, len(text), pair_batch)):
            weights = pooling_weights(frames_and_positions, *self._compared_in(some), self.pooling)
            of_rows = torch.cat(weights, dim=1).to(video.rows.dtype) if added else own.new_ones(len(some), 0)
            tokens = TokenBatch(with_first(some.tokens.input_ids, self.enc_token_id), some.tokens.attention_mask)
            states.append(first_token_states(encoder, tokens, OneVideo(projected, of_rows)))
        return self._project("itm_head", torch.cat(states))

    def match_among(
        self, text: TextFeatures, video: VideoFeatures, which: Int[Tensor, "texts"]
    ) -> Float[Tensor, "texts 2"]:
        """The logits of `match_pairs` for text i with video `which[i]`, with gradient and dropout, for training.

        Each video's rows are projected once for all its texts; not where something watches the text encoder's layers.
        """
        encoder = self.blip.text_encoder
        if not is_unwatched(encoder):
            return self.match_pairs(text, video[which])
        order = which.argsort(stable=True)
        text, which = text[order], which[order]
        pooled = pooled_rows(video.patches)
        own = video.memory if self.pooling.keep_tokens else video.rows[:, :1]
        of_rows = own.new_zeros(len(text), 0)
        if self.pooling.mode != "none":
            frames, positions = pooled
            weights = pooling_weights((frames[which], positions[which]), *self._compared_in(text), self.pooling)
            own, of_rows = torch.cat([own, *pooled], dim=1), torch.cat(weights, dim=1)
        memory = SeveralVideos(project_rows(encoder, own), of_rows, which)
        tokens = TokenBatch(with_first(text.tokens.input_ids, self.enc_token_id), text.tokens.attention_mask)
        states = first_token_states(encoder, tokens, memory)
        return self._project("itm_head", states)[order.argsort()]

    def match_text(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "videos 2"]:
        """The logits of `match_pairs` for one text with every video, in a fraction of the time; without dropout.

        Args:
            text: the one text, as features of length one.
            video: every video.
        """
        frames, positions = pooled_rows(video.patches)
        compared, project = self._compared_in(text)
        compared = compared.expand(len(video), -1)
        own = video.memory if self.pooling.keep_tokens else video.rows[:, :1]
        added = [] if self.pooling.mode == "none" else [frames, positions]
        weights = pooling_weights((frames, positions), compared, project, self.pooling)
        of_rows = torch.cat(weights, dim=1).to(own.dtype) if added else own.new_ones(len(video), 0)
        tokens = TokenBatch(with_first(text.tokens.input_ids, self.enc_token_id), text.tokens.attention_mask)
        states = first_token_of_each(self.blip.text_encoder, tokens, torch.cat([own, *added], dim=1), of_rows)
        return self._project("itm_head", states)

    def match_pairs(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "pairs 2"]:
        """ITM logits (no match, match) of text i with video i.

        The first token is [ENC], as in BLIP's training; the memory is the video's tokens and the rows pooled by text.
        """
        memory = self.matching_memory(text, video)
        output = self.blip.text_encoder(
            input_ids=with_first(text.tokens.input_ids, self.enc_token_id),
            attention_mask=text.tokens.attention_mask,
            encoder_hidden_states=memory,
            encoder_attention_mask=whole(memory),
        )
        return self._project("itm_head", output.last_hidden_state[:, 0])

    def matching_memory(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "pairs memory dim"]:
        """What text i cross-attends to in video i: the video's own rows (or its CLS alone) and the pooled ones."""
        return video_memory(video, *self._compared_in(text), self.pooling)

    def pooling_weights(
        self, text: TextFeatures, video: VideoFeatures
    ) -> tuple[Float[Tensor, "pairs time"], Float[Tensor, "pairs patches"]]:
        """How much text i makes of each frame, and of each patch position, of video i in its pooled rows; mean one."""
        return pooling_weights(pooled_rows(video.patches), *self._compared_in(text), self.pooling)

    def _compared_in(self, text: TextFeatures) -> tuple[Tensor, nn.Module | None]:
        """The texts in the space where pooling compares, and what maps video rows into it."""
        if self.pooling.space == "projected":
            return text.embed, self._head("vision_proj")
        return text.hidden, None

    def _project(self, name: str, features: Tensor) -> Tensor:
        head: Any = self._head(name)
        with full_precision(features):
            return head(features.to(head.weight.dtype))

    def _head(self, name: str) -> nn.Module:
        return getattr(self.heads, name) if hasattr(self.heads, name) else getattr(self.blip, name)
