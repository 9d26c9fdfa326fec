"""Training E-ViLM's VQ tokenizer as a task: on the frames of any videos that retrieval reads; captions play no part."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from jaxtyping import Int
from rich.table import Table
from torch import Tensor

from litevl.adapters.fingerprint import digest_of
from litevl.data.retrieval import RetrievalData, RetrievalDataConfig, load_retrieval_data
from litevl.distributed import gather_objects
from litevl.evaluation.report import show
from litevl.evaluation.stamp import stamp_software
from litevl.evilm.codebook import perplexity, usage
from litevl.evilm.teacher import Teacher, load_teacher
from litevl.evilm.vq_files import add_details, load_vq_tokenizer, save_vq_tokenizer
from litevl.evilm.vq_objective import VQObjective
from litevl.evilm.vq_tokenizer import VQTokenizer, VQTokenizerConfig
from litevl.models import TokenBatch
from litevl.training import TrainingConfig, preprocessing
from litevl.training.caption_batches import CaptionBatches

from .run import RunConfig, run_task
from .task import Split, Task

TITLE = "VQ tokenizer"


@dataclass(frozen=True)
class TokenizerEvaluationConfig:
    """How codes are measured."""

    batch_size: int = 16
    """Clips tokenised at a time."""
    workers: int | None = None
    """Processes that decode; by default the cores of this process but one, without a GPU 2."""


@dataclass(frozen=True)
class TokenizerTrainingConfig(RunConfig):
    """The VQ tokenizer's training."""

    baseline: bool = field(default=True, kw_only=True)
    """Changes nothing: a fresh tokenizer has no codes to measure."""
    model: Annotated[VQTokenizerConfig, tyro.conf.arg(name="")]
    """The tokenizer and its teacher."""
    training: Annotated[TrainingConfig, tyro.conf.arg(name="")]
    """How long, how fast and in what batches."""
    num_frames: int = 4
    """Frames of each clip that are seen at a time."""
    evaluation: TokenizerEvaluationConfig = field(default_factory=TokenizerEvaluationConfig)
    """How codes are measured."""
    data: RetrievalDataConfig = field(default_factory=RetrievalDataConfig)
    """The videos; their captions play no part."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.training.epochs == 0:
            raise ValueError(
                "epochs: expected at least 1, got 0: a fresh tokenizer has no codes to measure; a finished run is "
                "measured again with --evaluate"
            )
        if self.data.similar > 1:
            raise ValueError("data.similar: batches of look-alikes are for retrieval, where they are negatives")


class Unread:
    """Stands where captions are tokenised for a model that reads none."""

    def tokenize(self, texts: Any) -> TokenBatch:
        """Texts of no tokens."""
        nothing = torch.zeros(len(texts), 0, dtype=torch.long)
        return TokenBatch(nothing, nothing)


class TokenizerTraining(Task):
    """The VQ tokenizer's training."""

    kind = "VQ tokenizer"
    config: TokenizerTrainingConfig
    data: RetrievalData
    teacher: Teacher
    start: VQTokenizer

    @property
    def title(self) -> str:
        """The model's."""
        return TITLE

    @property
    def num_frames(self) -> int:
        """The config's."""
        return self.config.num_frames

    def load_data(self, folder: Path | None) -> RetrievalData:
        """Of a finished run the test split alone."""
        return load_retrieval_data(self.config.data, training=folder is None, progress=self.accelerator.is_main_process)

    def load_start(self, folder: Path | None) -> str:
        """The teacher, and a fresh tokenizer."""
        config, device = self.config.model, self.accelerator.device
        self.teacher = load_teacher(config.teacher, config.teacher_source, config.image_size, config.patch_size)
        self.teacher.to(device)
        self.start = VQTokenizer(config, self.teacher.dim).to(device)
        count = sum(parameter.numel() for parameter in self.start.parameters())
        size = f"{count / 1e6:.1f}M parameters, {config.codes} codes"
        return f"VQ tokenizer, fresh, {size}; teacher {config.teacher} {config.teacher_source}"

    def baseline(self) -> None:
        """None: a fresh tokenizer has no codes."""
        return

    def trainable(self) -> VQTokenizer:
        """The fresh tokenizer."""
        return self.start.requires_grad_(True)

    def load_trained(self, folder: Path) -> VQTokenizer:
        """From its folder alone."""
        return load_vq_tokenizer(folder)

    def save(self, model: VQTokenizer, folder: Path) -> None:
        """The tokenizer, without its teacher."""
        save_vq_tokenizer(model, folder, litevl_version=version("litevl"))

    def finish(self, folder: Path, metrics: Mapping[str, Any], command: str | None) -> None:
        """Into `vq_tokenizer.json`."""
        kept = {name: metrics[name] for name in ("protocol", "training")}
        add_details(folder, metrics=self.for_card(metrics["results"][self.title]), **kept, command=command)

    def stamp(self) -> dict[str, Any]:
        """The teacher by its weights."""
        config = self.config.model
        return {
            "teacher": config.teacher,
            "teacher_source": config.teacher_source,
            "backbone_fingerprint": digest_of(self.teacher.state_dict()),
            **stamp_software(config.image_size),
        }

    def objective(self, model: VQTokenizer) -> VQObjective:
        """The teacher's features, told by codes."""
        return VQObjective(model, self.teacher, self.config.seed)

    def batches(self, model: VQTokenizer) -> CaptionBatches:
        """Clips."""
        training, seed = self.config.training, self.config.seed
        return CaptionBatches(
            self.data, Unread(), training, self.num_frames, preprocessing(model), self.accelerator, seed
        )

    @torch.no_grad()
    def evaluate(self, model: VQTokenizer, split: Split) -> dict[str, Any]:
        """How far from the teacher, and how many of the codes are used, over all frames of a split."""
        sums = [0.0, 0]
        objective = VQObjective(model, self.teacher, self.config.seed).eval()
        counts = torch.zeros(model.config.codes, dtype=torch.long)
        came: list[str] = []
        clips = self.of_split("clips", split, partial(self.clips, model, self.data.splits[split]))
        for names, pixels in clips:
            distance, ids = objective.measure(pixels)
            sums[0] += distance * len(names)
            sums[1] += len(names)
            counts += histogram(ids, model.config.codes)
            came += names
        shards = gather_objects((sums, counts, came))
        total, number = (sum(shard[0][which] for shard in shards) for which in (0, 1))
        counts = torch.stack([shard[1] for shard in shards]).sum(dim=0)
        return {
            "distance": total / max(number, 1),
            "usage": 100 * usage(counts).item(),
            "perplexity": perplexity(counts).item(),
            "codes": model.config.codes,
            "coverage": str(self.data.coverage_of(split, [name for shard in shards for name in shard[2]])),
        }

    def score(self, metrics: Mapping[str, Any]) -> tuple[str, float]:
        """How near to the teacher."""
        return "nearness", -metrics["distance"]

    def protocol(self) -> dict[str, Any]:
        """The number of codes."""
        return {"codes": self.config.model.codes}

    def show(self, metrics: Mapping[str, Any]) -> None:
        """Distance, usage and perplexity; a tokenizer that uses few codes has failed."""
        protocol = metrics["protocol"]
        table = Table(
            title="VQ tokenizer",
            caption=f"{protocol['dataset']}, test {protocol['test_split']}; teacher {protocol['teacher']} "
            f"{protocol['teacher_source']} {protocol['backbone_fingerprint']}; distance is 1 - cosine to its features "
            "(of pixels the squared error); usage, the share of codes that occur; perplexity, how many codes as often "
            "used would be as varied",
            title_justify="left",
            caption_justify="left",
        )
        for name in ("codes", "distance", "usage", "perplexity"):
            table.add_column(name, justify="right")
        for values in metrics["results"].values():
            table.add_row(
                str(values["codes"]),
                f"{values['distance']:.3f}",
                f"{values['usage']:.0f}%",
                f"{values['perplexity']:.0f}",
            )
        show(table)


def histogram(ids: Int[Tensor, "..."], codes: int) -> Int[Tensor, "codes"]:
    """How often each code occurs."""
    return torch.bincount(ids.flatten().cpu(), minlength=codes)


def run_tokenizer_training(config: TokenizerTrainingConfig, name: str, command: str | None = None) -> dict[str, Any]:
    """Trains a VQ tokenizer, or measures a finished one again; see `run_task`."""
    return run_task(TokenizerTraining, config, name, command)
