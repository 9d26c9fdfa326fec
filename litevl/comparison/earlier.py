"""What an E-ViLM was trained on before its task: its tokenizer, its pre-training, and what that went on from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dacite
import torch

from litevl.blip import CheckpointError
from litevl.evilm import PretrainingLossConfig, PretrainingObjective, load_evilm, load_vq_tokenizer
from litevl.evilm.files import folder_of, read_record
from litevl.evilm.teacher import load_teacher
from litevl.evilm.vq_files import CONFIG_NAME as TOKENIZER_RECORD
from litevl.evilm.vq_files import tokenizer_folder
from litevl.evilm.vq_objective import VQObjective
from litevl.tasks.pretrained_model import PretrainedModelConfig, load_targets
from litevl.training.run_folder import METRICS_NAME, read_json

from .cost import step_flops
from .runs import Run
from .subject import RetrievalSubject


@dataclass(frozen=True)
class Stage:
    """A training before that of the task."""

    name: str
    source: str
    """Its folder, or `embedded` for what ships."""
    steps: int | None
    clips: int | None
    """Clips (or pictures) seen, each time counted."""
    flops: float | None
    """A step's operations, as counted, times the steps; None where they can't be counted from what is there."""
    seconds: float | None
    """By the clock."""


def earlier_stages(run: Run) -> list[Stage]:
    """What a run's model was trained on before, the last first; nothing for a BLIP, of which no record is kept.

    Stages whose folders are gone are left out.
    """
    start = run.config.get("model", {}).get("start")
    return [] if start is None else _pretraining(start, "pretrained")


def _pretraining(source: str, embedded: str) -> list[Stage]:
    try:
        folder = folder_of(source, embedded)
    except CheckpointError:
        return []
    record, name = read_record(folder), "" if source != "embedded" else f"embedded, {embedded}"
    before = record.get("start") or {}
    if "recipe" in record:
        # The small one that ships, which knows pictures: its recipe says what it took in words of its own.
        took, settings = record["metrics"], record["config"]
        pictures = 2 * settings["pairs"] * settings["steps"]
        return [Stage("still pictures", name or str(folder), settings["steps"], pictures, None, took["seconds"])]
    stages = [_stage("pre-training", folder, name, record, lambda batch: _pretraining_flops(folder, record, batch))]
    if record.get("vision_targets") and before.get("target") == "codes":
        place = tokenizer_folder(before["tokenizer"])
        if (place / TOKENIZER_RECORD).is_file():
            named = "embedded, tokenizer" if before["tokenizer"] == "embedded" else ""
            told = read_json(place / TOKENIZER_RECORD)
            stages.append(_stage("tokenizer", place, named, told, lambda batch: _tokenizer_flops(place, told, batch)))
    return stages + ([] if before.get("start") is None else _pretraining(before["start"], "stills"))


def _stage(name: str, folder: Path, named: str, record: dict[str, Any], count: Callable[[int], float]) -> Stage:
    took = record.get("training")
    if took is None and (folder / METRICS_NAME).is_file():
        took = read_json(folder / METRICS_NAME).get("training")
    if took is None:
        return Stage(name, named or str(folder), None, None, None, None)
    try:
        flops = took["steps"] * count(took["clips"] // took["steps"])
    except (OSError, ValueError, dacite.DaciteError):
        flops = None  # a teacher or tokenizer that is no longer there, or of another version
    return Stage(name, named or str(folder), took["steps"], took["clips"], flops, took["seconds"])


def _pretraining_flops(folder: Path, record: dict[str, Any], batch: int) -> float:
    model = load_evilm(folder, vision_targets=record["vision_targets"])
    size, of = model.config, None
    if record["vision_targets"]:
        settings = dacite.from_dict(PretrainedModelConfig, record["start"])
        of = load_targets(settings, size, torch.device("cpu")).of
    objective = PretrainingObjective(model, PretrainingLossConfig(**record["pretraining"]), of)
    return step_flops(RetrievalSubject(model, size.num_frames, size.image_size, objective, batch_size=batch))


def _tokenizer_flops(folder: Path, record: dict[str, Any], batch: int) -> float:
    tokenizer = load_vq_tokenizer(folder).requires_grad_(True)
    size, frames = tokenizer.config, record["protocol"]["num_frames"]
    teacher = load_teacher(size.teacher, size.teacher_source, size.image_size, size.patch_size)
    objective = VQObjective(tokenizer, teacher)
    return step_flops(_Frames(tokenizer, frames, size.image_size, objective, batch_size=batch))


class _Frames(RetrievalSubject):
    """Clips without captions."""

    def batch(self, clips: int) -> dict[str, Any]:
        """Nothing beside the clips."""
        return {}

    @property
    def device(self) -> torch.device:
        """Where the tokenizer is."""
        return self.model.codebook.codes.device
