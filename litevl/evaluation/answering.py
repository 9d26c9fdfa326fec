"""Answering the questions of a split: each video is encoded once, and each process answers those of its videos."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from tqdm import tqdm

from litevl.bootstrap import bootstrap_interval
from litevl.data.answers import AnswerList, normalized, qa_metrics, right_answers
from litevl.data.question_files import VideoQuestion
from litevl.distributed import gather_objects
from litevl.models import TokenBatch, VideoQuestionAnswering
from litevl.models.encoding import ClipBatch
from litevl.models.interfaces import QuestionModel


@dataclass(frozen=True)
class QuestionEvaluationConfig:
    """How questions are answered."""

    inference: Literal["rank", "generate"] = "rank"
    """Choose from the list of answers, or let the decoder write one. A classifier always chooses."""
    k: int = 128
    """Answers of the list that are scored in full, those with the likeliest first token; BLIP uses 128."""
    num_beams: int = 3
    """Of the beam search that writes an answer."""
    batch_size: int = 16
    """Clips encoded at a time."""
    question_batch: int = 64
    """Questions read at a time."""
    pair_batch: int = 1024
    """Pairs of a question and an answer scored at a time."""
    bootstrap: int = 0
    """Resamples of a bootstrap over videos; with 1000, say, the accuracy gets a 95% interval."""
    workers: int | None = None
    """Processes that decode; by default the cores of this process but one, without a GPU 2."""

    def __post_init__(self) -> None:
        for name in ("k", "num_beams", "batch_size", "question_batch", "pair_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"evaluation.{name}: expected at least 1, got {getattr(self, name)}")


@torch.no_grad()
def answer_questions(
    model: QuestionModel,
    questions: Mapping[str, Sequence[VideoQuestion]],
    videos: Iterable[tuple[Sequence[str], ClipBatch]],
    answers: AnswerList,
    accelerator: Accelerator,
    config: QuestionEvaluationConfig,
    num_videos: int | None = None,
) -> tuple[dict[str, str], list[str]]:
    """Answers the questions about every video that comes.

    Args:
        model: in eval mode.
        questions: of each video, by its id.
        videos: ids and preprocessed clips in batches; this process's share.
        answers: what is chosen from.
        accelerator: of this run.
        config: how.
        num_videos: how many come on this process, for the progress bar.

    Returns:
        An answer for each question by its id, the same on every process; the ids of the videos that came.
    """
    listed = model.tokenize_answers(answers.answers) if model.classifier is None else None
    said: dict[str, str] = {}
    came: list[str] = []
    hidden = not accelerator.is_main_process
    with tqdm(total=num_videos, unit="video", desc="answer", disable=hidden, leave=False) as bar:
        for names, pixels in videos:
            with accelerator.autocast():
                encoded = model.encode_video(pixels)
            asked = [(row, each) for row, name in enumerate(names) for each in questions[name]]
            for start in range(0, len(asked), config.question_batch):
                some = asked[start : start + config.question_batch]
                rows = torch.tensor([row for row, _ in some], device=model.device)
                with accelerator.autocast():
                    tokens = model.tokenize_questions([each.question for _, each in some])
                    grounded = model.ground(encoded[rows], tokens)
                    chosen = _answer(model, grounded, listed, answers, config)
                said |= {each.question_id: text for (_, each), text in zip(some, chosen, strict=True)}
            came += names
            bar.update(len(names))
    shards = gather_objects((said, came))
    return {k: v for part, _ in shards for k, v in part.items()}, [name for _, names in shards for name in names]


def respell(
    said: Mapping[str, str], questions: Sequence[VideoQuestion], model: VideoQuestionAnswering
) -> dict[str, str]:
    """What was written, spelled as the data spells it where only the tokenizer's spelling differs ("t - shirt")."""
    spelled = dict(said)
    for question in questions:
        text = said.get(question.question_id)
        if text is not None and normalized(text) == normalized(model.as_written(question.answer)):
            spelled[question.question_id] = question.answer
    return spelled


def _answer(
    model: QuestionModel,
    grounded: Any,
    listed: TokenBatch | None,
    answers: AnswerList,
    config: QuestionEvaluationConfig,
) -> list[str]:
    if listed is None:
        places = model.classify(grounded).argmax(dim=1)
        return [answers.answers[place] for place in places.tolist()]
    assert isinstance(model, VideoQuestionAnswering)
    if config.inference == "generate":
        return model.generate(grounded, config.num_beams)
    places, _ = model.rank(grounded, listed, config.k, config.pair_batch)
    return [answers.answers[place] for place in places.tolist()]


def summarise_answers(
    said: Mapping[str, str],
    questions: Sequence[VideoQuestion],
    answers: AnswerList | None,
    order_kinds: Sequence[str] = (),
    bootstrap: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """The metrics of one evaluation, in percent.

    Args:
        said: an answer for each question by its id; a question without one counts as wrong.
        questions: all of the split.
        answers: what was chosen from, or None where answers were written freely.
        order_kinds: types of question that only the order of frames answers, also taken together.
        bootstrap: resamples for a 95% interval over videos; 0 for none.
        seed: of the bootstrap.

    Returns:
        What `qa_metrics` gives; `order_accuracy` over the `order_questions` of `order_kinds`; `interval` of `accuracy`.
    """

    def mean(values: np.ndarray) -> float:
        return float(values.mean())

    in_order = [said.get(question.question_id) for question in questions]
    metrics: dict[str, Any] = dict(qa_metrics(in_order, questions, answers))
    right = right_answers(in_order, questions, answers)
    of_order = np.array([question.kind in order_kinds for question in questions])
    if of_order.any():
        metrics["order_accuracy"] = 100 * float(right[of_order].mean())
        metrics["order_questions"] = int(of_order.sum())
    if bootstrap:
        videos = [question.video_id for question in questions]
        percent = bootstrap_interval(
            100.0 * right, lambda each: float(np.mean(each)), bootstrap, seed=seed, groups=videos
        )
        metrics["interval"] = [percent.low, percent.high]
    return metrics
