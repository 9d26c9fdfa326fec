"""E-ViLM for question answering: a classifier over a list of answers, on the fusion encoder's first token."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from litevl.models import GroundedQuestions, TokenBatch, VideoFeatures
from litevl.models.encoding import Pixels
from litevl.models.question_answering import AnswerClassifier
from litevl.precision import full_precision

from .model import EViLM


class EViLMQuestionAnswering(nn.Module):
    """Answers questions about videos by choosing from a list, the protocol of E-ViLM's relatives.

    Args:
        model: the encoders.
        classes: answers in the list.
    """

    def __init__(self, model: EViLM, classes: int):
        super().__init__()
        self.model = model
        self.classifier = AnswerClassifier(model.config.dim, classes).to(model.device)

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return self.model.device

    @property
    def image_size(self) -> int:
        """Side of the frames in pixels."""
        return self.model.image_size

    @property
    def num_frames(self) -> int:
        """Frames of a clip."""
        return self.model.num_frames

    def encode_video(self, pixels: Pixels) -> VideoFeatures:
        """Encodes preprocessed clips; a batch of images counts as clips of one frame."""
        return self.model.encode_video(pixels)

    def tokenize_questions(self, questions: Sequence[str]) -> TokenBatch:
        """Tokenises and pads to the longest of `questions`."""
        return self.model.tokenize(questions)

    def tokenize_answers(self, answers: Sequence[str]) -> TokenBatch:
        """The same for answers, which this model does not word."""
        return self.tokenize_questions(answers)

    def ground(self, video: VideoFeatures, questions: TokenBatch) -> GroundedQuestions:
        """Lets question i read video i."""
        return GroundedQuestions(self.model.fuse(questions, video)[0], questions.attention_mask)

    def classify(self, questions: GroundedQuestions) -> Float[Tensor, "questions answers"]:
        """The classifier's logits over the list of answers, in float32: in eight bits many would be equal."""
        with full_precision(questions.hidden):
            return self.classifier(questions.hidden[:, 0].float())
