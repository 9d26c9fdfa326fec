"""The run of any task with any model: train, keep the best epoch, evaluate beside a baseline, save, report.

A `Task` holds what is its own: its data, its model, its objective and its metrics.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn

from litevl.adapters import describe_trainable
from litevl.data.coverage import Coverage
from litevl.evaluation.stamp import describe_device
from litevl.training import (
    STATE_NAME,
    Progress,
    RunFolder,
    TrainingConfig,
    describe_changes,
    fit,
    load_state,
    make_optimizer,
    new_run_name,
    preprocessing,
    read_json,
    start_accelerator,
)
from litevl.training.clip_batches import ClipBatches
from litevl.training.run_folder import METRICS_NAME

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every recipe's config has beside its model, training, evaluation and data."""

    baseline: bool = True
    """Also evaluate what the run starts from: the frozen backbone frame by frame."""
    seed: int = 0
    """Of everything random."""
    output_dir: Path | None = None
    """The run's folder; by default a new one under runs/."""
    resume: bool = False
    """Go on with the run in --output-dir, from its last finished epoch."""
    evaluate: Path | None = None
    """Evaluate this run's folder again, from what it holds, and stop."""

    def __post_init__(self) -> None:
        training: TrainingConfig = getattr(self, "training")  # noqa: B009 - a field of every subclass
        if training.epochs == 0 and not self.baseline:
            raise ValueError("nothing to do: --epochs 0 evaluates the baseline, which --no-baseline leaves out")


class Task(ABC):
    """What of a run is the task's own, and the model's.

    A task's half is its data, objective and metrics; a model's half is what it starts from, how it is made trainable,
    saved and loaded again (`AdaptedBlip` for adapters on BLIP).

    Args:
        config: with `model`, `training`, `evaluation` and `data`.
        accelerator: of the run.
    """

    kind: ClassVar[str]
    """What the task is called in results."""

    def __init__(self, config: Any, accelerator: Accelerator):
        self.config, self.accelerator = config, accelerator
        self.data: Any = None
        """What `load_data` found: with `splits`, `coverage`, `summary()` and `stamp()`."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What the trained model is called in results."""

    @property
    @abstractmethod
    def num_frames(self) -> int:
        """Frames of a clip."""

    @abstractmethod
    def load_data(self, folder: Path | None) -> Any:
        """Finds the data of the run; of a finished one's `folder`, what evaluating it again takes."""

    @abstractmethod
    def load_start(self, folder: Path | None) -> str:
        """Loads what the run starts from, and says what that is; of a finished one's `folder`, the same again."""

    @abstractmethod
    def baseline(self) -> tuple[str, Any] | None:
        """The model, untrained on the task, that the trained one is compared with, and its name; None has none."""

    @abstractmethod
    def trainable(self) -> Any:
        """The model to train, `requires_grad` set on what is trained."""

    @abstractmethod
    def load_trained(self, folder: Path) -> Any:
        """The trained model, from what `save` wrote."""

    @abstractmethod
    def save(self, model: Any, folder: Path) -> None:
        """Writes what was trained."""

    @abstractmethod
    def finish(self, folder: Path, metrics: Mapping[str, Any], command: str | None) -> None:
        """Writes what became known after saving beside what was trained, and what people read about it.

        Args:
            folder: the run's.
            metrics: what `metrics.json` holds.
            command: what made it.
        """

    @abstractmethod
    def stamp(self) -> dict[str, Any]:
        """What of the model and the software belongs to the protocol of a result."""

    @abstractmethod
    def objective(self, model: Any) -> nn.Module:
        """The training objective."""

    @abstractmethod
    def batches(self, model: Any) -> ClipBatches:
        """The training batches."""

    @abstractmethod
    def evaluate(self, model: Any, split: Split) -> dict[str, Any]:
        """The metrics of a split."""

    @abstractmethod
    def score(self, metrics: Mapping[str, Any]) -> tuple[str, float]:
        """The number that selects an epoch, higher is better, with its name."""

    @abstractmethod
    def protocol(self) -> dict[str, Any]:
        """What of the settings two results must share to be compared, beside what every task stamps."""

    @abstractmethod
    def show(self, metrics: Mapping[str, Any]) -> None:
        """Prints a run's metrics as tables."""

    @classmethod
    def leaves_parameters_unused(cls, config: Any) -> bool:
        """Whether some trainable parameters may take no part in the loss."""
        return False

    def clip_options(self, model: Any) -> dict[str, Any]:
        """What `Clips` takes of the run: this process's share of a split, as the model takes it."""
        settings, accelerator = self.config.evaluation, self.accelerator
        return {
            "num_frames": self.num_frames,
            "preprocess": preprocessing(model),
            "batch_size": settings.batch_size,
            "workers": settings.workers,
            "device": accelerator.device,
            "process": accelerator.process_index,
            "processes": accelerator.num_processes,
        }

    def for_card(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """What of the trained model's results the model card shows."""
        return dict(results)


def run_task(kind: type[Task], config: Any, name: str, command: str | None = None) -> dict[str, Any]:
    """Trains and evaluates, or evaluates a finished run again.

    Args:
        kind: the task.
        config: what to run.
        name: of the recipe, for the run folder and trackers.
        command: what the model card says made it.

    Returns:
        What `metrics.json` holds: the protocol, the results of the baseline and of what was trained, the epochs'
        scores, and what the training took.
    """
    again = config.evaluate is not None
    if again and not (config.evaluate / METRICS_NAME).is_file():
        raise ValueError(
            f"{config.evaluate}: expected a finished run, got one without {METRICS_NAME}; go on with it by --resume "
            f"--output-dir {config.evaluate} and the settings in its config.json"
        )
    accelerator = start(kind, config)
    output_dir = config.evaluate or config.output_dir or new_run_name(name)
    training = config.training.epochs > 0
    task = kind(config, accelerator)
    with accelerator.main_process_first():
        data = task.data = task.load_data(output_dir if again else None)
    accelerator.print(task.load_start(output_dir if again else None), data.summary(), sep="\n")
    run = None if again else RunFolder(output_dir, config, config.resume, write=accelerator.is_main_process)
    if run is not None and config.training.tracker != "none":
        accelerator.project_configuration.logging_dir = str(output_dir)
        accelerator.init_trackers(name)

    metrics: dict[str, Any] = {"protocol": protocol(task), "results": {}, "epochs": []}
    if config.baseline and (compared := task.baseline()) is not None:
        metrics["results"][compared[0]] = evaluate(task, compared[1], "test")
    if training:
        if run is not None:
            metrics |= train(task, run)
            coverage: Coverage = data.coverage["train"]
            metrics["protocol"]["coverage"]["train"] = str(coverage.without(metrics.pop("skipped")))
        accelerator.wait_for_everyone()
        metrics["results"][task.title] = evaluate(task, task.load_trained(output_dir), "test")
    if run is not None:
        run.write_json(METRICS_NAME, metrics)
        if training and run.write:
            task.finish(output_dir, metrics, command)
    if accelerator.is_main_process:
        if again:
            written = read_json(output_dir / METRICS_NAME)
            metrics["protocol"]["selected_on"] = written["protocol"]["selected_on"]
        task.show(metrics)
        if metrics["protocol"]["selected_on"] == "test":
            print("note: the epoch was selected on the test split, so the figures above are optimistic")
        print(compare(written, metrics) if again else f"run folder: {output_dir}")
    accelerator.end_training()
    return metrics


def train(task: Task, run: RunFolder) -> dict[str, Any]:
    """Trains, and saves what was trained of the selected epoch into the run folder.

    Returns:
        `epochs`, the score of each; `training`, what it took; `skipped`, the videos that could not be read.
    """
    config, accelerator = task.config, task.accelerator
    model = task.trainable()
    accelerator.print(describe_trainable(model))
    objective = task.objective(model).to(accelerator.device)
    objective, optimizer = accelerator.prepare(objective, make_optimizer(objective, config.training))
    # Before the state is loaded: which videos look alike is what the model thinks of them as it starts.
    batches = task.batches(model)
    progress = Progress()
    if config.resume and (run.path / STATE_NAME).is_file():
        progress = load_state(run.path, accelerator.unwrap_model(objective), optimizer, accelerator)
    split = selection_split(config.training, bool(task.data.splits["val"]))
    for state in fit(objective, optimizer, batches, config.training, accelerator, run, progress, config.seed):
        name, score = "score", None
        if split != "last":
            name, score = task.score(evaluate(task, model, split))
        state.history.append({"epoch": state.epoch, "split": split, name: score})
        if score is None or state.best is None or score > state.best:
            state.best = score
            if run.write:
                task.save(model, run.path)
    took = {
        "steps": progress.step,
        "clips": progress.step * config.training.batch_size,
        "seconds": round(progress.seconds, 1),
        "processes": accelerator.num_processes,
        "device": describe_device(accelerator.device),
    }
    return {"epochs": progress.history, "training": took, "skipped": list(batches.skipped)}


def evaluate(task: Task, model: Any, split: Split) -> dict[str, Any]:
    """The metrics of a split, of a model in eval mode on its device."""
    return task.evaluate(model.to(task.accelerator.device).eval(), split)


def start(kind: type[Task], config: Any) -> Accelerator:
    """Accelerate as the config says, and one seed for all processes."""
    accelerator, notes = start_accelerator(
        config.training.precision,
        config.training.accumulation,
        config.training.tracker,
        unused_parameters=kind.leaves_parameters_unused(config),
    )
    for note in notes:
        accelerator.print(f"note: {note}")
    set_seed(config.seed)
    return accelerator


def selection_split(training: TrainingConfig, validation: bool) -> Literal["val", "test", "last"]:
    """Which split selects the epoch: validation where there is one, else none, and test only if asked for.

    Raises:
        ValueError: to select on validation where there is none.
    """
    chosen = training.select_on or ("val" if validation else "last")
    if chosen == "val" and not validation:
        raise ValueError("select_on=val: this data has no validation videos; use last, or test knowingly")
    return chosen


def protocol(task: Task) -> dict[str, Any]:
    """Everything that two results must share to be compared."""
    config, accelerator = task.config, task.accelerator
    selected = config.training.epochs > 0 and config.evaluate is None
    return {
        "task": task.kind,
        **task.data.stamp(),
        **task.stamp(),
        "selected_on": selection_split(config.training, bool(task.data.splits["val"])) if selected else "nothing",
        "num_frames": task.num_frames,
        **task.protocol(),
        "seed": config.seed,
        "processes": accelerator.num_processes,
        "precision": accelerator.mixed_precision,
    }


def compare(written: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Says whether an evaluation from the run folder gave what the run had written, on the same backbone."""
    same = "backbone_fingerprint"
    changes = describe_changes({same: written["protocol"][same]}, {same: metrics["protocol"][same]})
    # What was left out, as the baseline by --no-baseline, is not compared.
    before = {name: value for name, value in written["results"].items() if name in metrics["results"]}
    changes += describe_changes(before, metrics["results"])
    return "\n".join(
        ["differs from the run's metrics.json:", *changes] if changes else ["equal to the run's metrics.json"]
    )
