"""What a model says of a video: an answer to a question, or a caption, of each stretch of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from litevl.data.fresh_process import Call, here
from litevl.data.preprocess import PreprocessConfig, normalize, resize_frames
from litevl.data.video import Decoder
from litevl.data.video_key import is_text
from litevl.models import VideoCaptioning, VideoQuestionAnswering

from .decoding import length_of, read_segment
from .segments import Segment, windows


@dataclass(frozen=True)
class Said:
    """What was said of a stretch of a video."""

    start: float
    end: float
    text: str
    probability: float
    """That the model gives to these words."""


@dataclass(frozen=True)
class Stretch:
    """Which part of a video is looked at, and how.

    Raises:
        ValueError: lengths or times that leave nothing.
    """

    start: float | None = None
    """In seconds; by default the video's start."""
    end: float | None = None
    """By default its end."""
    seconds: float = 30.0
    """A longer part is divided into equal windows of about so many seconds, each of which is spoken of by itself."""
    num_frames: int = 8
    """Of each window."""
    decoder: Decoder = "auto"
    """See `read_frames`."""

    def __post_init__(self) -> None:
        if not self.seconds > 0 or self.num_frames < 1:
            raise ValueError(
                f"expected windows longer than 0 seconds and at least 1 frame, got {self.seconds} and {self.num_frames}"
            )
        if (self.start or 0.0) >= (float("inf") if self.end is None else self.end):
            raise ValueError(f"expected start before end, got {self.start} and {self.end}")

    def windows_of(self, path: Path, call: Call = here) -> list[Segment]:
        """The windows of a video; see `VideoIndex.call`.

        Raises:
            VideoError: it can't be read.
            ValueError: it ends before the part begins.
        """
        whole = call(length_of, path, self.decoder)
        start, end = self.start or 0.0, whole if self.end is None else min(self.end, whole)
        if start >= end:
            raise ValueError(f"{path}: expected a start before its end at {whole:.1f} seconds, got {start:.1f}")
        return windows(start, end, self.seconds)


def answer(
    model: VideoQuestionAnswering,
    path: Path,
    question: str,
    stretch: Stretch,
    answers: Sequence[str] = (),
    call: Call = here,
) -> Iterator[Said]:
    """Answers a question about each window of a video.

    Args:
        model: in eval mode.
        path: the video.
        question: the question.
        stretch: which part of it.
        answers: choose from these; by default the answer is written. Needed by a model with a classifier, whose list
            they are.
        call: see `VideoIndex.call`.

    Raises:
        VideoError: the video can't be read.
        ValueError: no question, or one that is no text; or a classifier without its answers.
    """
    if not question.strip() or not is_text(question):
        raise ValueError(f"expected a question in UTF-8, got {question!r:.80}")
    classes = None if model.classifier is None else model.classifier.layers[-1].out_features
    if classes not in (None, len(answers)):
        raise ValueError(f"this model chooses among the {classes} answers of its training, got {len(answers)} others")
    for window, clip in _clips(model, path, stretch, call):
        yield Said(window.start, window.end, *_answer(model, clip, question, answers))


def caption(model: VideoCaptioning, path: Path, stretch: Stretch, call: Call = here) -> Iterator[Said]:
    """Writes a caption of each window of a video.

    Raises:
        VideoError: the video can't be read.
    """
    for window, clip in _clips(model, path, stretch, call):
        yield Said(window.start, window.end, *_caption(model, clip))


@torch.inference_mode()
def _answer(model: VideoQuestionAnswering, clip: Tensor, question: str, answers: Sequence[str]) -> tuple[str, float]:
    asked = model.ground(model.encode_video(clip), model.tokenize_questions([question]))
    if model.classifier is not None:
        probability, chosen = model.classify(asked)[0].float().softmax(dim=-1).max(dim=-1)
        return answers[int(chosen)], float(probability)
    if answers:
        best, logarithm = model.rank(asked, model.tokenize_answers(answers))
        return answers[int(best)], float(logarithm.exp())
    (text,) = model.generate(asked)
    return text, float(model.answer_log_likelihood(asked, model.tokenize_answers([text])).exp())


@torch.inference_mode()
def _caption(model: VideoCaptioning, clip: Tensor) -> tuple[str, float]:
    video = model.encode_video(clip)
    (text,) = model.generate(video)
    return text, float(model.caption_log_likelihood(video, model.tokenize([text])).exp())


def _clips(
    model: VideoQuestionAnswering | VideoCaptioning, path: Path, stretch: Stretch, call: Call
) -> Iterator[tuple[Segment, Float[Tensor, "1 time 3 side side"]]]:
    preprocess = PreprocessConfig(model.image_size)
    for window in stretch.windows_of(path, call):
        pictures = call(read_segment, path, window, stretch.num_frames, stretch.decoder)
        frames = resize_frames(pictures, model.image_size)
        yield window, normalize(frames.to(model.device), preprocess)[None]
