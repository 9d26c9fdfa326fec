"""A model as its cost is measured: what it does, each alone, on made-up inputs of the right size, and a training step.

What inputs hold does not matter for the cost, only how large they are: clips are noise, and every text has as many
tokens as `TEXT_TOKENS` says, for all models alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from litevl.adapters import FrameFeatures
from litevl.models import TokenBatch

TEXT_TOKENS = 16
"""Of a text, [CLS] and [SEP] counted; a caption of MSR-VTT has about nine words."""
ANSWER_TOKENS = 3
"""Of an answer of one word."""
Operations = dict[str, Callable[[], Any]]


@dataclass(frozen=True)
class Subject(ABC):
    """A model and what it takes.

    One is made for each thing that is measured; `retrieval`, `question answering` and `captioning` below.
    """

    model: Any
    num_frames: int
    image_size: int
    """Side of the frames in pixels."""
    objective: nn.Module | None = None
    """The training objective around the model; None for one that is not trained."""
    batch_size: int = 1
    """Clips of a step."""
    accumulation: int = 1
    """Micro-batches of a step."""
    analytic: dict[str, int] = field(default_factory=dict)
    """FLOPs of its operations by formula, where there is one."""
    layer: int | None = None
    """Take stored features of clips as they enter this block, in place of pixels."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def clips(self, number: int) -> Float[Tensor, "clips time 3 height width"] | FrameFeatures:
        """Clips of noise."""
        size: tuple[int, ...] = number, self.num_frames, 3, self.image_size, self.image_size
        if self.layer is not None:
            vision = self.model.blip.config.vision_config
            size = *size[:2], 1 + (self.image_size // vision.patch_size) ** 2, vision.hidden_size
        noise = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(self.device)
        return noise if self.layer is None else FrameFeatures(noise, self.layer)

    def encode(self, clips: Float[Tensor, "clips time 3 height width"] | FrameFeatures) -> Any:
        """Encodes clips: what latency and memory are measured of."""
        return self.model.encode_video(clips)

    @abstractmethod
    def operations(self) -> Operations:
        """What using the model is made of, by name, each for one clip and one text, with its inputs at hand."""

    @abstractmethod
    def batch(self, clips: int) -> dict[str, Any]:
        """What the objective takes for a batch of clips."""

    def loss(self, clips: int) -> Float[Tensor, ""]:
        """The training loss of a batch."""
        assert self.objective is not None
        return self.objective(pixels=self.clips(clips), **self.batch(clips), step=0, epochs_done=1.0)["loss"]


class RetrievalSubject(Subject):
    """Encodes clips and texts, and matches pairs."""

    def operations(self) -> Operations:
        """A clip, a text, and a pair to match (re-ranking, k times a query)."""
        clip, text = self.clips(1), self._texts(1)
        video, words = self.model.encode_video(clip), self.model.encode_text(text)
        return {
            "clip": lambda: self.model.encode_video(clip),
            "text": lambda: self.model.encode_text(text),
            "pair": lambda: self.model.match_pairs(words, video),
        }

    def batch(self, clips: int) -> dict[str, Any]:
        """A caption of each clip."""
        return {"tokens": self._texts(clips), "video_ids": torch.arange(clips, device=self.device)}

    def _texts(self, number: int) -> TokenBatch:
        return repeat_tokens(self.model.tokenize(["a"]), number, TEXT_TOKENS)


@dataclass(frozen=True)
class QuestionSubject(Subject):
    """Reads questions about clips, and chooses an answer from a list."""

    answers: int = 1
    """How long the list is."""
    k: int = 128
    """Answers that are scored in full, by a model that ranks them."""
    chooses: bool = True
    """False for a model that writes its answers, which takes as long as they are."""
    questions: int = 1
    """Questions about each clip, in training."""

    def operations(self) -> Operations:
        """A clip, a question that reads it, and the choice of its answer."""
        clip, question = self.clips(1), self._questions(1)
        video = self.model.encode_video(clip)
        grounded = self.model.ground(video, question)
        found: Operations = {
            "clip": lambda: self.model.encode_video(clip),
            "question": lambda: self.model.ground(video, question),
        }
        if self.model.classifier is not None:
            found["answer"] = lambda: self.model.classify(grounded)
        elif self.chooses:
            listed = self._answers(self.answers)
            found["answer"] = lambda: self.model.rank(grounded, listed, self.k)
        return found

    def batch(self, clips: int) -> dict[str, Any]:
        """Questions about each clip, with their answers."""
        number = clips * self.questions
        return {
            "clip": torch.arange(clips, device=self.device).repeat_interleave(self.questions),
            "questions": self._questions(number),
            "answers": self._answers(number),
            "labels": torch.zeros(number, dtype=torch.long, device=self.device),
        }

    def _questions(self, number: int) -> TokenBatch:
        return repeat_tokens(self.model.tokenize_questions(["a"]), number, TEXT_TOKENS)

    def _answers(self, number: int) -> TokenBatch:
        return repeat_tokens(self.model.tokenize_answers(["a"]), number, ANSWER_TOKENS)


class CaptioningSubject(Subject):
    """Reads clips and writes captions."""

    def operations(self) -> Operations:
        """A clip, and one pass of the decoder over a caption; beam search takes one a word and beam."""
        clip, caption = self.clips(1), self._captions(1)
        video = self.model.encode_video(clip)
        return {
            "clip": lambda: self.model.encode_video(clip),
            "caption": lambda: self.model.caption_logits(video, caption),
        }

    def batch(self, clips: int) -> dict[str, Any]:
        """A caption of each clip."""
        return {"tokens": self._captions(clips), "video_ids": torch.arange(clips, device=self.device)}

    def _captions(self, number: int) -> TokenBatch:
        return repeat_tokens(self.model.tokenize(["a"]), number, TEXT_TOKENS)


def repeat_tokens(tokens: TokenBatch, number: int, length: int) -> TokenBatch:
    """As many texts of one length, all of the word after the first text's [CLS]."""
    ids = tokens.input_ids[:1, 1:2].expand(number, length).contiguous()
    return TokenBatch(ids, torch.ones_like(ids))
