"""Video captioning with BLIP's decoder, which cross-attends to the video's tokens.

Li et al., "BLIP", ICML 2022 (arXiv 2201.12086), section 4.1 and its captioning code: a caption starts with [DEC] and
the prompt "a picture of", of which no loss is taken, and ends with [SEP].
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from litevl.adapters import PoolingConfig
from litevl.blip import dec_token_id, repair

from .encoding import (
    VideoInput,
    encode_rows,
    log_likelihood,
    next_token_logits,
    require_plugged,
    tokenize,
    tokenizer_of,
    video_memory,
    whole,
    with_first,
)
from .features import TokenBatch, VideoFeatures


class VideoCaptioning(nn.Module):
    """A plugged BLIP that writes captions, of videos.

    Args:
        blip: transformers' `BlipForConditionalGeneration`, plugged.
        pooling: rows appended to the video's tokens; a caption that is yet to be written can't weight them, so `none`
            or `mean`.
        tokenizer: BLIP's tokenizer; by default the one that `load_blip` attached.
        prompt: what every caption begins with; BLIP's own.
        max_text_length: tokens a caption is cut to in training, prompt and [SEP] counted; BLIP uses 40.

    Raises:
        ValueError: if the model is not plugged, writes no captions, has no tokenizer, or is to be pooled by a text.
    """

    def __init__(
        self,
        blip: PreTrainedModel,
        pooling: PoolingConfig | None = None,
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        prompt: str = "a picture of",
        max_text_length: int = 40,
    ):
        super().__init__()
        if not hasattr(blip, "text_decoder") or hasattr(blip, "text_encoder"):
            raise ValueError(
                f"expected a BLIP for captioning (with text_decoder alone), got {type(blip).__name__}; load a "
                "captioning or pre-training checkpoint, or pass task='captioning' to load_blip"
            )
        require_plugged(blip)
        pooling = pooling or PoolingConfig("none")
        if pooling.mode == "text":
            raise ValueError("pooling.mode: expected 'none' or 'mean', got 'text'; there is no text yet to pool by")
        self.blip: Any = repair(blip)
        self.tokenizer = tokenizer_of(blip, tokenizer)
        self.dec_token_id = dec_token_id(self.tokenizer)
        self.pooling, self.prompt, self.max_text_length = pooling, prompt, max_text_length
        self.prompt_length = len(self.tokenizer(prompt)["input_ids"]) - 1
        """Tokens of [DEC] and the prompt."""

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return self.blip.device

    @property
    def image_size(self) -> int:
        """Side of the frames in pixels."""
        return self.blip.config.vision_config.image_size

    def encode_video(self, pixels: VideoInput) -> VideoFeatures:
        """Encodes preprocessed clips; a batch of images counts as clips of one frame. `embed` is the clip's CLS."""
        rows, num_frames, cls = encode_rows(self.blip, pixels)
        return VideoFeatures(rows, rows[:, 0], num_frames, cls)

    def tokenize(self, captions: Sequence[str]) -> TokenBatch:
        """[DEC], prompt, caption, [SEP], padded to the longest."""
        texts = [f"{self.prompt} {caption}".strip() for caption in captions]
        tokens = tokenize(self.tokenizer, texts, self.max_text_length, self.device)
        return TokenBatch(with_first(tokens.input_ids, self.dec_token_id), tokens.attention_mask)

    def forward(self, pixels: VideoInput, captions: TokenBatch) -> Float[Tensor, "videos"]:
        """The negative log-likelihood of caption i given video i, summed over its tokens after the prompt."""
        return -self.caption_log_likelihood(self.encode_video(pixels), captions)

    def caption_log_likelihood(self, video: VideoFeatures, captions: TokenBatch) -> Float[Tensor, "videos"]:
        """The log-likelihood of caption i given video i: of all its tokens after the prompt, [SEP] included."""
        return log_likelihood(self.caption_logits(video, captions), captions, self.predicted(captions))

    def caption_logits(self, video: VideoFeatures, captions: TokenBatch) -> Float[Tensor, "videos following words"]:
        """What the decoder makes of each token that follows another in caption i, given video i."""
        memory = video_memory(video, video.rows[:, 0], None, self.pooling)
        return next_token_logits(self.blip.text_decoder, captions, memory, whole(memory))[:, :-1]

    def predicted(self, captions: TokenBatch) -> Float[Tensor, "videos following"]:
        """1 on the tokens that are to be predicted, 0 on prompt and padding; the first token has no place here."""
        mask = captions.attention_mask[:, 1:].float()
        mask[:, : self.prompt_length - 1] = 0
        return mask

    @torch.no_grad()
    def generate(
        self, video: VideoFeatures, num_beams: int = 3, max_new_tokens: int = 20, min_new_tokens: int = 0
    ) -> list[str]:
        """Writes a caption of each video, by beam search as BLIP does; the prompt is left out."""
        start = self.tokenize([""])
        start_ids = start.input_ids[:, : self.prompt_length].expand(len(video), -1)
        memory = video_memory(video, video.rows[:, 0], None, self.pooling)
        written = self.blip.text_decoder.generate(
            input_ids=start_ids,
            encoder_hidden_states=memory,
            encoder_attention_mask=whole(memory),
            max_new_tokens=max_new_tokens,
            min_new_tokens=min_new_tokens,
            num_beams=num_beams,
            eos_token_id=self.tokenizer.sep_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        texts = self.tokenizer.batch_decode(written[:, self.prompt_length :], skip_special_tokens=True)
        return [text.strip() for text in texts]
