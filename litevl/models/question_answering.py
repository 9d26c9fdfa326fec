"""Video question answering in BLIP's layout: a question encoder that sees the video, a decoder that writes the answer.

Li et al., "BLIP", ICML 2022 (arXiv 2201.12086), section 4.1 and its VQA code: the question starts with [ENC] and
cross-attends to the video, the answer starts with [DEC] and cross-attends to the question. LiteVL (arXiv 2210.11929)
pools the video by the question's own [CLS].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from litevl.adapters import Adapter, PoolingConfig
from litevl.blip import dec_token_id, enc_token_id, repair
from litevl.precision import full_precision

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


@dataclass(frozen=True)
class GroundedQuestions:
    """Questions that have seen their videos: what the answer decoder attends to."""

    hidden: Float[Tensor, "questions length dim"]
    attention_mask: Int[Tensor, "questions length"]

    def __len__(self) -> int:
        return len(self.hidden)

    def __getitem__(self, index: Int[Tensor, "chosen"] | slice) -> "GroundedQuestions":
        return GroundedQuestions(self.hidden[index], self.attention_mask[index])


class AnswerClassifier(Adapter):
    """A head over a list of answers, on the question's first token: ALPRO's, of two layers (arXiv 2112.09583)."""

    def __init__(self, dim: int, classes: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, classes))

    def forward(self, hidden: Float[Tensor, "questions dim"]) -> Float[Tensor, "questions answers"]:
        """A logit for each answer of the list."""
        return self.layers(hidden)


class VideoQuestionAnswering(nn.Module):
    """A plugged BLIP for question answering, on videos.

    Args:
        blip: transformers' `BlipForQuestionAnswering`, plugged.
        pooling: how the video's tokens are pooled by the question; compared in the encoders' width, since this BLIP has
            no projected space.
        tokenizer: BLIP's tokenizer; by default the one that `load_blip` attached.
        max_question_length: tokens a question is cut to; BLIP uses 35.
        max_answer_length: tokens an answer is cut to, and the most that `generate` writes; BLIP uses 10.
        classes: also make a classifier over a list of so many answers.

    Raises:
        ValueError: if the model is not plugged, answers no questions, has no tokenizer, or pools in another space.
    """

    def __init__(
        self,
        blip: PreTrainedModel,
        pooling: PoolingConfig | None = None,
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        max_question_length: int = 35,
        max_answer_length: int = 10,
        classes: int | None = None,
    ):
        super().__init__()
        if not hasattr(blip, "text_decoder") or not hasattr(blip, "text_encoder"):
            raise ValueError(
                "expected a BLIP for question answering (with text_encoder and text_decoder), got "
                f"{type(blip).__name__}; load a VQA or pre-training checkpoint, or pass task='vqa' to load_blip"
            )
        require_plugged(blip)
        tokenizer = tokenizer_of(blip, tokenizer)
        pooling = pooling or PoolingConfig(space="hidden")
        if pooling.mode == "text" and pooling.space != "hidden":
            raise ValueError("pooling.space: a BLIP for question answering has no projected space; expected 'hidden'")
        widths = blip.config.vision_config.hidden_size, blip.config.text_config.hidden_size
        if pooling.mode == "text" and widths[0] != widths[1]:
            raise ValueError(
                f"pooling.mode: this BLIP's encoders are {widths[0]} (vision) and {widths[1]} (text) wide and have no "
                "projected space, so that no question can weight its video; expected 'mean' or 'none', got 'text'"
            )
        self.blip: Any = repair(blip)
        self.tokenizer: Any = tokenizer
        self.enc_token_id, self.dec_token_id = enc_token_id(tokenizer), dec_token_id(tokenizer)
        self.pooling = pooling
        self.max_question_length, self.max_answer_length = max_question_length, max_answer_length
        width = blip.config.text_config.hidden_size
        self.classifier = None if classes is None else AnswerClassifier(width, classes).to(blip.device)

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

    def tokenize_questions(self, questions: Sequence[str]) -> TokenBatch:
        """Tokenises and pads to the longest of `questions`."""
        return tokenize(self.tokenizer, questions, self.max_question_length, self.device)

    def tokenize_answers(self, answers: Sequence[str]) -> TokenBatch:
        """The same for answers, which start with [DEC] and end with [SEP]."""
        tokens = tokenize(self.tokenizer, answers, self.max_answer_length, self.device)
        return TokenBatch(with_first(tokens.input_ids, self.dec_token_id), tokens.attention_mask)

    def ground(self, video: VideoFeatures, questions: TokenBatch) -> GroundedQuestions:
        """Lets question i read video i: its tokens, and the rows pooled by the question's own [CLS]."""
        text = video.rows[:, 0]
        if self.pooling.mode == "text":
            alone = self.blip.text_encoder(input_ids=questions.input_ids, attention_mask=questions.attention_mask)
            text = alone.last_hidden_state[:, 0]
        memory = video_memory(video, text, None, self.pooling)
        output = self.blip.text_encoder(
            input_ids=with_first(questions.input_ids, self.enc_token_id),
            attention_mask=questions.attention_mask,
            encoder_hidden_states=memory,
            encoder_attention_mask=whole(memory),
        )
        return GroundedQuestions(output.last_hidden_state, questions.attention_mask)

    def forward(self, pixels: VideoInput, questions: TokenBatch, answers: TokenBatch) -> Float[Tensor, "questions"]:
        """The language-model loss of answer i to question i about video i, summed over its tokens, as BLIP's."""
        return -self.answer_log_likelihood(self.ground(self.encode_video(pixels), questions), answers)

    def answer_log_likelihood(self, questions: GroundedQuestions, answers: TokenBatch) -> Float[Tensor, "questions"]:
        """The log-likelihood of answer i, its [SEP] included, after question i."""
        return log_likelihood(self.answer_logits(questions, answers), answers, answers.attention_mask[:, 1:])

    def answer_logits(
        self, questions: GroundedQuestions, answers: TokenBatch
    ) -> Float[Tensor, "questions following words"]:
        """What the decoder makes of each token that follows another in answer i, after question i."""
        return self._decode(questions, answers)[:, :-1]

    def classify(self, questions: GroundedQuestions) -> Float[Tensor, "questions answers"]:
        """The classifier's logits over the list of answers.

        Raises:
            ValueError: the model was made without a classifier.
        """
        if self.classifier is None:
            raise ValueError("expected a model with a classifier; make it with classes=<answers in the list>")
        with full_precision(questions.hidden):
            return self.classifier(questions.hidden[:, 0].to(next(self.classifier.parameters()).dtype))

    @torch.no_grad()
    def rank(
        self, questions: GroundedQuestions, answers: TokenBatch, k: int = 128, pair_batch: int = 1024
    ) -> tuple[Int[Tensor, "questions"], Float[Tensor, "questions"]]:
        """The likeliest answer of a list to each question, found as BLIP does.

        The `k` answers whose first token is the likeliest are scored in full: by their likelihood, where BLIP's code
        takes its label-smoothed loss, which ranks answers of several tokens a little differently.

        Args:
            questions: grounded in their videos, which are thus encoded once.
            answers: the list, tokenised.
            k: how many are scored in full; at most the list's length.
            pair_batch: pairs of a question and an answer that go through the decoder at a time.

        Returns:
            For each question the number of its answer in the list, and that answer's log-likelihood.
        """
        k = min(k, len(answers))
        start = TokenBatch(answers.input_ids[:1, :1].expand(len(questions), 1), questions.attention_mask[:, :1])
        first = self._decode(questions, start)[:, 0].log_softmax(dim=-1)
        candidates = first[:, answers.input_ids[:, 1]].topk(k, dim=1).indices
        chosen = candidates.flatten()
        # Shorter answers first, so that a batch is padded to its own longest and not to that of the list.
        lengths = answers.attention_mask.sum(dim=1)[chosen]
        order = lengths.argsort(stable=True)
        likelihoods = torch.empty(len(chosen), device=chosen.device)
        for some in order.split(pair_batch):
            likelihoods[some] = self.answer_log_likelihood(
                questions[some // k], answers[chosen[some]].cut_to(int(lengths[some].max()))
            )
        best, position = likelihoods.view(-1, k).max(dim=1)
        return candidates.gather(1, position[:, None])[:, 0], best

    def as_written(self, answer: str) -> str:
        """An answer as `generate` would spell it: the tokenizer parts words at punctuation and drops accents."""
        ids = self.tokenizer(answer, add_special_tokens=False)["input_ids"]
        return self.tokenizer.decode(ids).strip()

    @torch.no_grad()
    def generate(self, questions: GroundedQuestions, num_beams: int = 3) -> list[str]:
        """Writes an answer to each question, by beam search as BLIP does."""
        start = torch.full((len(questions), 1), self.dec_token_id, device=self.device)
        written = self.blip.text_decoder.generate(
            input_ids=start,
            encoder_hidden_states=questions.hidden,
            encoder_attention_mask=questions.attention_mask,
            max_new_tokens=self.max_answer_length,
            num_beams=num_beams,
            eos_token_id=self.tokenizer.sep_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        return [text.strip() for text in self.tokenizer.batch_decode(written, skip_special_tokens=True)]

    def _decode(self, questions: GroundedQuestions, answers: TokenBatch) -> Float[Tensor, "questions length words"]:
        return next_token_logits(self.blip.text_decoder, answers, questions.hidden, questions.attention_mask)
