"""E-ViLM for question answering: a classifier over a list of answers, on the fusion encoder's first token."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from litevl.models import GroundedQuestions, TokenBatch, VideoFeatures
from litevl.models.encoding import Pixels, tokenize
from litevl.models.question_answering import AnswerClassifier

from .model import EViLM


class EViLMQuestionAnswering(nn.Module):
    """Answers questions about videos by choosing from a list, the protocol of E-ViLM's relatives.

    Args:
        model: the encoders.
        classes: answers in the list.
        max_question_length: tokens a question is cut to.
    """

    def __init__(self, model: EViLM, classes: int, max_question_length: int = 35):
        super().__init__()
        self.model, self.max_question_length = model, max_question_length
        self.classifier = AnswerClassifier(model.config.dim, classes).to(model.device)

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return self.model.device

    @property
    def image_size(self) -> int:
        """Side of the frames in pixels."""
        return self.model.image_size

    def encode_video(self, pixels: Pixels) -> VideoFeatures:
        """Encodes preprocessed clips; a batch of images counts as clips of one frame."""
        return self.model.encode_video(pixels)

    def tokenize_questions(self, questions: Sequence[str]) -> TokenBatch:
        """Tokenises and pads to the longest of `questions`."""
        return tokenize(self.model.tokenizer, questions, self.max_question_length, self.device)

    def tokenize_answers(self, answers: Sequence[str]) -> TokenBatch:
        """The same for answers, which this model does not word."""
        return self.tokenize_questions(answers)

    def ground(self, video: VideoFeatures, questions: TokenBatch) -> GroundedQuestions:
        """Lets question i read video i."""
        return GroundedQuestions(self.model.fuse(questions, video)[0], questions.attention_mask)

    def classify(self, questions: GroundedQuestions) -> Float[Tensor, "questions answers"]:
        """The classifier's logits over the list of answers."""
        return self.classifier(questions.hidden[:, 0])
