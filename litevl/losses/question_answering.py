"""The training objective of video question answering."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from litevl.adapters import FrameFeatures
from litevl.models import TokenBatch, VideoQuestionAnswering
from litevl.models.interfaces import QuestionModel

from .language import global_mean, language_loss


@dataclass(frozen=True)
class QuestionLossConfig:
    """The objective: the answers' language-model loss, or cross-entropy over the list for a classifier."""

    label_smoothing: float = 0.1
    """Share of the target that is spread over all words (or answers); BLIP's decoder uses 0.1."""

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing: expected a share from 0 to below 1, got {self.label_smoothing}")


class QuestionObjective(nn.Module):
    """The loss of answers, a mean over the questions of all processes, as BLIP's VQA takes it."""

    def __init__(self, model: QuestionModel, config: QuestionLossConfig):
        super().__init__()
        self.model, self.config = model, config

    def forward(
        self,
        pixels: Float[Tensor, "clips time 3 height width"] | FrameFeatures,
        clip: Int[Tensor, "questions"],
        questions: TokenBatch,
        answers: TokenBatch,
        labels: Int[Tensor, "questions"],
        step: int,
        epochs_done: float,
    ) -> dict[str, Tensor]:
        """The loss of one batch.

        Args:
            pixels: preprocessed clips, or their stored features.
            clip: which clip each question is about.
            questions: tokenised.
            answers: tokenised, for a model that words its answers.
            labels: the answer's place in the list, -100 for none; for a classifier, which learns nothing of those.
            step: number of the batch in the run.
            epochs_done: how far the run is, in epochs.
        """
        grounded = self.model.ground(self.model.encode_video(pixels)[clip], questions)
        smoothing = self.config.label_smoothing
        if self.model.classifier is not None:
            scores = self.model.classify(grounded).float()
            total = F.cross_entropy(scores, labels, reduction="sum", ignore_index=-100, label_smoothing=smoothing)
            return {"loss": global_mean(total, (labels != -100).sum())}
        assert isinstance(self.model, VideoQuestionAnswering)
        logits = self.model.answer_logits(grounded, answers)
        each = language_loss(logits, answers.input_ids[:, 1:], answers.attention_mask[:, 1:], smoothing)
        return {"loss": global_mean(each.sum(), torch.tensor(len(each), device=each.device))}
