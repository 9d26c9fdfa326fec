"""Video captioning: the recipe for MSR-VTT is this with its own defaults."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from torch import nn

from litevl.adapters import PoolingConfig
from litevl.data.retrieval import Gallery, RetrievalData, RetrievalDataConfig, load_retrieval_data
from litevl.evaluation.caption_metrics import TOKENIZER, caption_metrics, require_scorers
from litevl.evaluation.captioning import CaptioningEvaluationConfig, write_captions
from litevl.evaluation.report import show_captions
from litevl.losses import CaptioningLossConfig, CaptioningObjective
from litevl.models import VideoCaptioning
from litevl.training import CaptionBatches, TrainingConfig, preprocessing
from litevl.training.captioning_model import CaptioningModelConfig, save, wrap

from .adapted import AdaptedBlip
from .run import RunConfig, run_task
from .task import Split

CORPUS_FOLDER: str | None = "captioning"
"""Where in the embedded corpus a test clip has all its captions, each of which may be written."""


@dataclass(frozen=True)
class CaptioningConfig(RunConfig):
    """Video captioning: LiteVL adapters on a frozen BLIP that describes images."""

    model: Annotated[CaptioningModelConfig, tyro.conf.arg(name="")]
    """The backbone, what is inserted into it, and what of it is trained."""
    training: Annotated[TrainingConfig, tyro.conf.arg(name="")]
    """How long, how fast and in what batches."""
    evaluation: CaptioningEvaluationConfig = field(default_factory=CaptioningEvaluationConfig)
    """How captions are written."""
    data: RetrievalDataConfig = field(default_factory=RetrievalDataConfig)
    """The videos and their captions."""
    loss: CaptioningLossConfig = field(default_factory=CaptioningLossConfig)
    """The training objective."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data.similar > 1:
            raise ValueError("data.similar: batches of look-alikes are for retrieval, where they are negatives")


class Captioning(AdaptedBlip):
    """Video captioning."""

    kind = "captioning"
    config: CaptioningConfig
    data: RetrievalData

    def load_data(self, folder: Path | None) -> RetrievalData:
        """Of a finished run the test split alone."""
        require_scorers()
        training = self.config.training.epochs > 0 and folder is None
        progress = self.accelerator.is_main_process
        data, folder_of_all = self.config.data, CORPUS_FOLDER
        if data.dataset != "msrvtt":
            # MSR-VTT's splits mean nothing here, and every caption of a clip is a reference.
            mode = data.caption_mode or ("many" if data.dataset == "own" else None)
            data, folder_of_all = replace(data, train_split="9k", test_split="1k-A", caption_mode=mode), None
        return load_retrieval_data(data, training=training, progress=progress, corpus_folder=folder_of_all)

    def wrap(self, blip: Any) -> VideoCaptioning:
        """With the pooling and the prompt of the config."""
        return wrap(blip, self.config.model)

    def plain(self, blip: Any) -> VideoCaptioning:
        """BLIP's decoder over the tokens of all frames."""
        model = self.config.model
        return VideoCaptioning(blip, PoolingConfig("none"), prompt=model.prompt, max_text_length=model.max_text_length)

    def objective(self, model: VideoCaptioning) -> nn.Module:
        """The captions' language-model loss."""
        return CaptioningObjective(model, self.config.loss)

    def batches(self, model: VideoCaptioning) -> CaptionBatches:
        """Clips with one caption each."""
        training, preprocess, seed = self.config.training, preprocessing(model), self.config.seed
        return CaptionBatches(self.data, model, training, self.num_frames, preprocess, self.accelerator, seed)

    def evaluate(self, model: VideoCaptioning, split: Split) -> dict[str, Any]:
        """Captions beside all references; with the embedded corpus also how often a clip is told from its reversal."""
        settings, data = self.config.evaluation, self.data
        gallery = self.of_split("gallery", split, partial(Gallery, data, split, **self.clip_options(model)))
        references = {video.video_id: video.captions for video in data.splits[split]}
        first = {name: captions[0] for name, captions in references.items()}
        pairs = [pair for one, other in data.order_pairs for pair in ((one, other), (other, one))]
        rivals = {one: (first[one], first[other]) for one, other in pairs if one in first and other in first}
        found = write_captions(model, gallery, self.accelerator, settings, rivals, gallery.num_videos)
        come = {name: references[name] for name in found.captions}
        metrics: dict[str, Any] = dict(caption_metrics(found.captions, come))
        if found.told:
            metrics["order_accuracy"] = 100 * sum(found.told.values()) / len(found.told)
        metrics["references"] = sum(map(len, come.values()))
        metrics["coverage"] = str(data.coverage_of(split, list(come)))
        metrics["captions"] = dict(sorted(found.captions.items())) if split == "test" else {}
        return metrics

    def score(self, metrics: Mapping[str, Any]) -> tuple[str, float]:
        """CIDEr."""
        return "cider", metrics["cider"]

    def save(self, model: VideoCaptioning, folder: Path) -> None:
        """With the settings of the evaluation."""
        save(model, self.config.model, folder, evaluation=asdict(self.config.evaluation))

    def protocol(self) -> dict[str, Any]:
        """How captions are written and read."""
        settings, model = self.config.evaluation, self.config.model
        return {
            "prompt": model.prompt,
            "max_text_length": model.max_text_length,
            "num_beams": settings.num_beams,
            "max_new_tokens": settings.max_new_tokens,
            "min_new_tokens": settings.min_new_tokens,
            "tokenizer": TOKENIZER,
        }

    def show(self, metrics: Mapping[str, Any]) -> None:
        """CIDEr, BLEU and ROUGE side by side."""
        show_captions(metrics)

    def for_card(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """The scores without the captions, which are in metrics.json."""
        return {name: value for name, value in results.items() if name != "captions"}


def run_captioning(config: CaptioningConfig, name: str, command: str | None = None) -> dict[str, Any]:
    """Trains and evaluates video captioning, or evaluates a finished run again; see `run_task`."""
    return run_task(Captioning, config, name, command)
