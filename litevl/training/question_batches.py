"""Training batches of clips with questions about them."""

from typing import Any

import torch
from accelerate import Accelerator

from litevl.data.preprocess import PreprocessConfig
from litevl.data.question_answering import QuestionAnsweringData
from litevl.data.question_dataset import QuestionedVideoDataset, collate_questioned
from litevl.models.interfaces import QuestionModel

from .clip_batches import ClipBatches
from .config import TrainingConfig


class QuestionBatches(ClipBatches):
    """Clips with a few questions each.

    Args:
        data: the training split and its files.
        model: tokenises questions and answers.
        training: batch size, in clips, and micro-batches.
        num_frames: of each clip, drawn at random within equal segments.
        preprocess: size, mean and deviation of the frames.
        accelerator: of this run.
        seed: of order, questions and frames.
    """

    def __init__(
        self,
        data: QuestionAnsweringData,
        model: QuestionModel,
        training: TrainingConfig,
        num_frames: int,
        preprocess: PreprocessConfig,
        accelerator: Accelerator,
        seed: int,
    ):
        self.model, self.answers, settings = model, data.answers, data.config
        dataset = QuestionedVideoDataset(
            data.splits["train"],
            data.folder,
            num_frames,
            preprocess,
            settings.questions,
            decoder=settings.decoder,
            on_bad_video="skip",
            seed=seed,
            per_segment=settings.frames_per_segment,
        )
        workers, policy, features = settings.workers, settings.on_bad_video, data.folder.features
        super().__init__(
            dataset, collate_questioned, workers, preprocess, training, accelerator, seed, policy, features
        )

    def inputs(self, items: Any) -> dict[str, Any]:
        """Questions and answers, the clip each question is about, and the answer's place in the list or -100."""
        device, asked = self.accelerator.device, items["questions"]
        places = [self.answers.index(each.answer) for each in asked]
        return {
            "clip": items["clip"].to(device),
            "questions": self.model.tokenize_questions([each.question for each in asked]),
            "answers": self.model.tokenize_answers([each.answer for each in asked]),
            "labels": torch.tensor([-100 if place is None else place for place in places], device=device),
        }
