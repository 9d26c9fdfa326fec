"""What losses, evaluation and training ask of a model, so that BLIP with adapters and E-ViLM go the same way."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .features import TextFeatures, TokenBatch, VideoFeatures
from .question_answering import GroundedQuestions


@runtime_checkable
class RetrievalModel(Protocol):
    """A model that compares and matches texts and videos; `VideoTextRetrieval` says what each method does."""

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""

    @property
    def image_size(self) -> int:
        """Side of the frames in pixels."""

    @property
    def embed_dim(self) -> int:
        """Width of the embeddings that are compared."""

    def __call__(self, pixels: Any, texts: TokenBatch, /) -> tuple[VideoFeatures, TextFeatures]:
        """Encodes a batch of videos and of texts, each alone."""

    def tokenize(self, texts: Sequence[str], /) -> TokenBatch:
        """Tokenises and pads to the longest of `texts`."""

    def encode_video(self, pixels: Any, /) -> VideoFeatures:
        """Encodes preprocessed clips, or what else the model takes of videos."""

    def encode_text(self, texts: Sequence[str] | TokenBatch, /) -> TextFeatures:
        """Encodes texts."""

    def similarity(self, text: TextFeatures, video: VideoFeatures, /) -> Float[Tensor, "texts videos"]:
        """Cosine similarity of every text with every video."""

    def match_pairs(self, text: TextFeatures, video: VideoFeatures, /) -> Float[Tensor, "pairs 2"]:
        """Logits (no match, match) of text i with video i."""

    def match_among(self, text: TextFeatures, video: VideoFeatures, which: Int[Tensor, "texts"], /) -> Tensor:
        """The same of text i with video `which[i]`."""

    def match_video(self, text: TextFeatures, video: VideoFeatures, /, pair_batch: int) -> Float[Tensor, "texts 2"]:
        """The same of every text with one video (features of length one), some texts at a time."""

    def match_text(self, text: TextFeatures, video: VideoFeatures, /) -> Float[Tensor, "videos 2"]:
        """The same of one text (features of length one) with every video."""

    def temperature(self) -> Float[Tensor, ""]:
        """The contrastive temperature."""

    def clamp_temperature(self) -> None:
        """Brings the temperature back into its range."""


@runtime_checkable
class QuestionModel(Protocol):
    """A model that answers questions about videos; `VideoQuestionAnswering` says what each method does."""

    classifier: Any
    """Chooses from the list of answers; None where a decoder words them."""

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""

    @property
    def image_size(self) -> int:
        """Side of the frames in pixels."""

    def encode_video(self, pixels: Any, /) -> VideoFeatures:
        """Encodes preprocessed clips, or what else the model takes of videos."""

    def tokenize_questions(self, questions: Sequence[str], /) -> TokenBatch:
        """Tokenises questions."""

    def tokenize_answers(self, answers: Sequence[str], /) -> TokenBatch:
        """Tokenises answers."""

    def ground(self, video: VideoFeatures, questions: TokenBatch, /) -> GroundedQuestions:
        """Lets question i read video i."""

    def classify(self, questions: GroundedQuestions, /) -> Float[Tensor, "questions answers"]:
        """The classifier's logits over the list of answers."""
