"""Text-video retrieval: the recipes for MSR-VTT and the other sets are this with their own defaults."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from torch import nn

from litevl.data.retrieval import Gallery, RetrievalData, RetrievalDataConfig, load_retrieval_data
from litevl.evaluation.multiple_choice import choose_captions
from litevl.evaluation.report import show_retrieval
from litevl.evaluation.retrieval import EvaluationConfig, order_accuracy, summarise
from litevl.evaluation.scoring import score_gallery
from litevl.losses import RetrievalLossConfig, RetrievalObjective
from litevl.models import VideoTextRetrieval
from litevl.training import CaptionBatches, RetrievalModelConfig, TrainingConfig, preprocessing, save_model
from litevl.training.retrieval_model import plain, wrap

from .adapted import AdaptedBlip
from .run import RunConfig, run_task
from .task import Split, Task


@dataclass(frozen=True)
class RetrievalConfig(RunConfig):
    """Text-video retrieval: LiteVL adapters on a frozen BLIP."""

    model: Annotated[RetrievalModelConfig, tyro.conf.arg(name="")]
    """The backbone, what is inserted into it, and what of it is trained."""
    training: Annotated[TrainingConfig, tyro.conf.arg(name="")]
    """How long, how fast and in what batches."""
    evaluation: EvaluationConfig
    """How a split is scored."""
    data: RetrievalDataConfig = field(default_factory=RetrievalDataConfig)
    """The videos and their captions."""
    loss: RetrievalLossConfig = field(default_factory=RetrievalLossConfig)
    """The training objective."""


class Retrieval(Task):
    """Text-video retrieval, whatever the model."""

    kind = "retrieval"
    config: Any
    data: RetrievalData

    def load_data(self, folder: Path | None) -> RetrievalData:
        """Of a finished run the test split alone."""
        training = self.config.training.epochs > 0 and folder is None
        progress = self.accelerator.is_main_process
        return load_retrieval_data(self.config.data, training=training, progress=progress)

    def objective(self, model: Any) -> nn.Module:
        """VTC and VTM."""
        return RetrievalObjective(model, self.config.loss, self.config.seed)

    def batches(self, model: Any) -> CaptionBatches:
        """Clips with one caption each.

        Raises:
            ValueError: a batch of one clip, which has nothing to be told from.
        """
        config, training = self.config, self.config.training
        if training.batch_size // training.accumulation < 2:
            raise ValueError(
                f"a contrastive batch needs at least 2 clips; batch_size {training.batch_size} in "
                f"{training.accumulation} micro-batches has {training.batch_size // training.accumulation}"
            )
        preprocess = preprocessing(model)
        return CaptionBatches(self.data, model, training, self.num_frames, preprocess, self.accelerator, config.seed)

    @classmethod
    def leaves_parameters_unused(cls, config: Any) -> bool:
        """A part of the objective that is left out leaves its parameters out."""
        return 0 in (config.loss.vtc_weight, config.loss.vtm_weight)

    def evaluate(self, model: Any, split: Split) -> dict[str, Any]:
        """Recall and ranks; with the embedded corpus also how often a clip is told from its reversal."""
        settings, data = self.config.evaluation, self.data
        gallery = self.of_split("gallery", split, partial(Gallery, data, split, **self.clip_options(model)))
        scores = score_gallery(
            model,
            gallery.texts,
            gallery.text_ids,
            gallery,
            self.accelerator,
            k=settings.k,
            pair_batch=settings.pair_batch,
            num_videos=gallery.num_videos,
        )
        metrics = summarise(scores, data.groups, settings.bootstrap, self.config.seed)
        metrics["order_accuracy"] = order_accuracy(scores, data.order_pairs)
        metrics["coverage"] = str(data.coverage_of(split, scores.video_ids))
        metrics["k"] = min(settings.k, len(scores.video_ids))
        metrics["pairs_matched"] = scores.pairs_matched
        if split == "test" and data.choices:
            metrics["multiple_choice"] = self._choose(model)
        return metrics

    def _choose(self, model: Any) -> dict[str, Any]:
        data = self.data
        there = [choice for choice in data.choices if data.folder.find(choice.key) is not None]
        clips = self.clips(model, there)
        every = {choice.video_id: choice for choice in data.choices}
        settings = self.config.evaluation
        return choose_captions(model, every, clips, self.accelerator, settings.pair_batch, clips.num_videos)

    def score(self, metrics: Mapping[str, Any]) -> tuple[str, float]:
        """The mean R@1 of both directions, re-ranked."""
        reranked = metrics["reranked"]
        return "mean_r1", (reranked["t2v_r1"] + reranked["v2t_r1"]) / 2

    def protocol(self) -> dict[str, Any]:
        """How many candidates are re-ranked."""
        return {"k": self.config.evaluation.k}

    def show(self, metrics: Mapping[str, Any]) -> None:
        """Recall side by side, and by kind of caption."""
        show_retrieval(metrics)

    def for_card(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """Both kinds of score, and the multiple choice where there is one."""
        return {kind: results[kind] for kind in ("contrastive", "reranked", "multiple_choice") if kind in results}


class AdaptedRetrieval(AdaptedBlip, Retrieval):
    """Text-video retrieval by a BLIP with adapters."""

    config: RetrievalConfig

    def wrap(self, blip: Any) -> VideoTextRetrieval:
        """With the pooling and heads of the config."""
        return wrap(blip, self.config.model)

    def plain(self, blip: Any) -> VideoTextRetrieval:
        """Without pooling."""
        return plain(blip, self.config.model.max_text_length)

    def save(self, model: VideoTextRetrieval, folder: Path) -> None:
        """With the settings of the evaluation."""
        save_model(model, self.config.model, folder, evaluation=asdict(self.config.evaluation))

    def protocol(self) -> dict[str, Any]:
        """Also how long texts are."""
        return {"max_text_length": self.config.model.max_text_length, **super().protocol()}


def run_retrieval(config: RetrievalConfig, name: str, command: str | None = None) -> dict[str, Any]:
    """Trains and evaluates text-video retrieval, or evaluates a finished run again; see `run_task`."""
    return run_task(AdaptedRetrieval, config, name, command)
