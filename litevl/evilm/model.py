"""E-ViLM: a video encoder, a text encoder, and a fusion encoder over the tokens of both.

After Fang et al., "E-ViLM: Efficient Video-Language Model via Masked Video Modeling with Semantic Vector-Quantized
Tokenizer" (arXiv 2311.17267). No code of it is public; the layout is that of its relatives VIOLET (arXiv 2111.12681)
and ALPRO (arXiv 2112.09583), so this is E-ViLM-style.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import BertConfig, BertModel, PreTrainedTokenizerBase

from litevl.models import TextFeatures, TokenBatch, VideoFeatures
from litevl.models.encoding import Pixels, match_all, tokenize
from litevl.models.retrieval import TEMPERATURE_RANGE
from litevl.precision import full_precision

from .config import EViLMConfig
from .transformer import Block, initialise
from .video_encoder import VideoEncoder


class PretrainingHeads(nn.Module):
    """What pre-training predicts from the fusion encoder: masked words, and the labels of masked patches.

    Args:
        dim: width of the fusion encoder.
        vision_targets: number of labels, or width of the features that are regressed; 0 for no masked video modelling.
        words: size of the vocabulary.
    """

    def __init__(self, dim: int, vision_targets: int, words: int):
        super().__init__()
        self.words = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim))
        self.word_bias = nn.Parameter(torch.zeros(words))
        self.patches = nn.Linear(dim, vision_targets) if vision_targets else None
        self.apply(initialise)

    def word_logits(
        self, hidden: Float[Tensor, "words dim"], table: Float[Tensor, "vocabulary dim"]
    ) -> Float[Tensor, "words vocabulary"]:
        """Logits over the vocabulary, through the table of word embeddings as in BERT."""
        with full_precision(hidden):
            return self.words(hidden.float()) @ table.T + self.word_bias

    def patch_outputs(self, hidden: Float[Tensor, "patches dim"]) -> Float[Tensor, "patches targets"]:
        """Logits of labels, or features; in float32, since in eight bits many of thousands of logits would be equal."""
        assert self.patches is not None
        with full_precision(hidden):
            return self.patches(hidden.float())


class EViLM(nn.Module):
    """The model, for retrieval: it encodes videos and texts, compares them and matches them.

    Args:
        config: its sizes.
        tokenizer: BERT's, with BLIP's two tokens or without.
        vision_targets: see `PretrainingHeads`; None makes no heads for pre-training.
    """

    def __init__(self, config: EViLMConfig, tokenizer: PreTrainedTokenizerBase, vision_targets: int | None = None):
        super().__init__()
        self.config = config
        self.tokenizer: Any = tokenizer
        self.video_encoder = VideoEncoder(config)
        bert = BertConfig(
            vocab_size=len(self.tokenizer),
            hidden_size=config.dim,
            num_hidden_layers=config.text_layers,
            num_attention_heads=config.heads,
            intermediate_size=4 * config.dim,
            max_position_embeddings=config.max_positions,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        self.text_encoder = BertModel(bert, add_pooling_layer=False)
        self.video_to_fusion = nn.Linear(config.vision_dim, config.dim)
        self.modality = nn.Embedding(2, config.dim)
        self.fusion = nn.ModuleList(Block(config.dim, config.heads) for _ in range(config.fusion_layers))
        self.fusion_norm = nn.LayerNorm(config.dim, eps=1e-6)
        self.video_projection = nn.Linear(config.vision_dim, config.embed_dim)
        self.text_projection = nn.Linear(config.dim, config.embed_dim)
        self.match_head = nn.Linear(config.dim, 2)
        self.raw_temperature = nn.Parameter(torch.tensor(0.07))
        for part in (self.video_to_fusion, self.modality, self.fusion, self.video_projection, self.text_projection):
            part.apply(initialise)
        self.match_head.apply(initialise)
        words = len(self.tokenizer)
        self.pretraining = None if vision_targets is None else PretrainingHeads(config.dim, vision_targets, words)

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return self.raw_temperature.device

    @property
    def image_size(self) -> int:
        """Side of the frames in pixels."""
        return self.config.image_size

    @property
    def num_frames(self) -> int:
        """Frames of a clip."""
        return self.config.num_frames

    @property
    def embed_dim(self) -> int:
        """Width of the embeddings that are compared."""
        return self.config.embed_dim

    @torch.no_grad()
    def clamp_temperature(self) -> None:
        """Brings the temperature back into its range, where it has a gradient again; done before a training step."""
        self.raw_temperature.clamp_(*TEMPERATURE_RANGE)

    def temperature(self) -> Float[Tensor, ""]:
        """The contrastive temperature, within BLIP's clamp."""
        return self.raw_temperature.clamp(*TEMPERATURE_RANGE)

    def enable_checkpointing(self) -> None:
        """Recomputes the activations of the encoders in the backward pass: less memory, more time."""
        self.video_encoder.checkpointing = True
        # transformers 5.23 renamed the method and warns at the old name, the only one that others know.
        renamed = getattr(self.text_encoder, "activation_checkpointing_enable", None)
        (renamed or self.text_encoder.gradient_checkpointing_enable)({"use_reentrant": False})

    def forward(
        self, pixels: Float[Tensor, "videos time 3 height width"], texts: TokenBatch
    ) -> tuple[VideoFeatures, TextFeatures]:
        """Encodes a batch of videos and of texts, each alone."""
        return self.encode_video(pixels), self.encode_text(texts)

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Tokenises and pads to the longest of `texts`."""
        return tokenize(self.tokenizer, texts, self.config.max_text_length, self.device)

    def encode_video(self, pixels: Pixels, masked: Bool[Tensor, "videos time patches"] | None = None) -> VideoFeatures:
        """Encodes preprocessed clips; a batch of images counts as clips of one frame. `masked` patches are hidden."""
        clips = pixels if pixels.ndim == 5 else pixels[:, None]
        rows = self.video_encoder(clips, masked)
        with full_precision(rows):
            embed = F.normalize(self.video_projection(rows[:, 0].float()), dim=-1)
        return VideoFeatures(rows, embed, clips.shape[1], "clip")

    def encode_text(self, texts: Sequence[str] | TokenBatch) -> TextFeatures:
        """Encodes texts through the text encoder alone."""
        tokens = texts if isinstance(texts, TokenBatch) else self.tokenize(texts)
        hidden = self._read(tokens)[:, 0]
        with full_precision(hidden):
            embed = F.normalize(self.text_projection(hidden.float()), dim=-1)
        return TextFeatures(tokens, hidden, embed)

    def similarity(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "texts videos"]:
        """Cosine similarity of every text with every video, without temperature."""
        with full_precision(text.embed):
            return text.embed @ video.embed.T

    def match(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "texts videos"]:
        """The probability that text and video match, for every text with every video."""
        return match_all(self.match_video, text, video)

    def match_video(self, text: TextFeatures, video: VideoFeatures, pair_batch: int = 256) -> Float[Tensor, "texts 2"]:
        """The logits of `match_pairs` for every text with one video (features of length one), some texts at a time."""
        place = torch.zeros(len(text), dtype=torch.long, device=text.embed.device)
        parts = torch.arange(len(text), device=place.device).split(pair_batch)
        return torch.cat([self.match_pairs(text[some], video[place[some]]) for some in parts])

    def match_text(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "videos 2"]:
        """The logits of `match_pairs` for one text (features of length one) with every video."""
        return self.match_pairs(text[torch.zeros(len(video), dtype=torch.long, device=text.embed.device)], video)

    def match_pairs(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "pairs 2"]:
        """Matching logits (no match, match) of text i with video i."""
        first = self.fuse(text.tokens, video)[0][:, 0]
        with full_precision(first):
            return self.match_head(first.float())

    def match_among(
        self, text: TextFeatures, video: VideoFeatures, which: Int[Tensor, "texts"]
    ) -> Float[Tensor, "texts 2"]:
        """The same of text i with video `which[i]`; words and rows are fused, so nothing of a video is shared."""
        return self.match_pairs(text, video[which])

    def fuse(
        self, tokens: TokenBatch, video: VideoFeatures
    ) -> tuple[Float[Tensor, "pairs length dim"], Float[Tensor, "pairs rows dim"]]:
        """The fusion encoder over the tokens of text i and the rows of video i.

        Returns:
            Its outputs on the text's tokens, and on the video's rows (row 0 the clip's CLS).
        """
        words, rows = self._read(tokens), self.video_to_fusion(video.rows.to(self.video_to_fusion.weight.dtype))
        x = torch.cat([words + self.modality.weight[0], rows + self.modality.weight[1]], dim=1)
        seen = torch.cat([tokens.attention_mask.bool(), tokens.attention_mask.new_ones(rows.shape[:2]).bool()], dim=1)
        for block in self.fusion:
            x = block(x, seen)
        x = self.fusion_norm(x)
        return x[:, : words.shape[1]], x[:, words.shape[1] :]

    def _read(self, tokens: TokenBatch) -> Float[Tensor, "texts length dim"]:
        output = self.text_encoder(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        return output.last_hidden_state
