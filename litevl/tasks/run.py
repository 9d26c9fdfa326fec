"""The run of any task with any model: train, keep the best epoch, evaluate beside a baseline, save, report."""

import sys
import warnings
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from accelerate import Accelerator
from accelerate.utils import set_seed

from litevl.adapters import describe_trainable
from litevl.adapters.aside import folder_aside
from litevl.corpus.corpus import default_cache
from litevl.data.coverage import Coverage
from litevl.data.frame_store import make_store
from litevl.evaluation.stamp import describe_device
from litevl.training import (
    STATE_NAME,
    Interrupted,
    Interruption,
    Progress,
    RunFolder,
    TrainingConfig,
    describe_changes,
    fit,
    load_state,
    make_optimizer,
    new_run_name,
    read_json,
    start_accelerator,
)
from litevl.training.failures import memory_in_words, surroundings_in_words
from litevl.training.run_folder import METRICS_NAME
from litevl.training.sharding import plan_shards, whole_weights

from .memory import in_evaluation, in_training
from .task import Split, Task


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
    """Go on with the run in --output-dir, from where its state was saved last."""
    evaluate: Path | None = None
    """Evaluate this run's folder again, from what it holds, and stop."""

    def __post_init__(self) -> None:
        training: TrainingConfig = getattr(self, "training")  # noqa: B009 - a field of every subclass
        if training.epochs == 0 and not self.baseline:
            raise ValueError("nothing to do: --epochs 0 evaluates the baseline, which --no-baseline leaves out")


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
    if config.data.frame_store is not None:
        make_store(config.data.frame_store)  # before minutes of loading, if it can't be made
    if config.data.feature_store is not None:
        kind.check_features(config)
        make_store(config.data.feature_store, "feature_store", "features")
    accelerator = start(kind, config)
    output_dir = config.evaluate or config.output_dir or new_run_name(name)
    task = kind(config, accelerator)
    data = config.data
    written = (data.frame_store, data.feature_store, default_cache() if data.root is None else None)
    also = [folder for folder in written if folder is not None]
    try:
        with surroundings_in_words(output_dir, also, config.training.timeout), Interruption() as interruption:
            metrics = _run(task, output_dir, name, command, interruption)
    except Interrupted as stop:
        if accelerator.is_main_process:
            saved = not again and (output_dir / STATE_NAME).is_file()
            then = f"the state is saved; go on with --resume --output-dir {output_dir}" if saved else "nothing is lost"
            print(f"stopped by {stop.name}: {then}", file=sys.stderr)
        raise
    accelerator.end_training()
    return metrics


def _run(task: Task, output_dir: Path, name: str, command: str | None, interruption: Interruption) -> dict[str, Any]:
    config, accelerator = task.config, task.accelerator
    again = config.evaluate is not None
    with accelerator.main_process_first():
        data = task.data = task.load_data(output_dir if again else None)
    accelerator.print(task.load_start(output_dir if again else None), data.summary(), sep="\n")
    if again:
        metrics = results(task, None, output_dir, interruption)
        written = read_json(output_dir / METRICS_NAME)
        metrics["protocol"]["selected_on"] = written["protocol"]["selected_on"]
        show(task, metrics, compare(written, metrics))
        return metrics
    with RunFolder(output_dir, config, config.resume, write=accelerator.is_main_process) as run:
        if config.training.tracker != "none":
            accelerator.project_configuration.logging_dir = str(output_dir)
            accelerator.init_trackers(name)
        metrics = results(task, run, output_dir, interruption)
        if run.write and config.training.epochs > 0:
            task.finish(output_dir, metrics, command)
        run.write_json(METRICS_NAME, metrics)  # last: a folder that holds it is a finished run's
    show(task, metrics, f"run folder: {output_dir}")
    return metrics


def results(task: Task, run: RunFolder | None, output_dir: Path, interruption: Interruption) -> dict[str, Any]:
    """What `metrics.json` holds: of the baseline and of what is trained into `run`, or was trained before."""
    config = task.config
    metrics: dict[str, Any] = {"protocol": protocol(task), "results": {}, "epochs": []}
    if config.baseline and (compared := task.baseline()) is not None:
        metrics["results"][compared[0]] = evaluate(task, compared[1], "test")
    if config.training.epochs > 0:
        if run is not None:
            metrics |= train(task, run, interruption)
            coverage: Coverage = task.data.coverage["train"]
            metrics["protocol"]["coverage"]["train"] = str(coverage.without(metrics.pop("skipped")))
        task.accelerator.wait_for_everyone()
        metrics["results"][task.title] = evaluate(task, task.load_trained(output_dir), "test")
    return metrics


def show(task: Task, metrics: dict[str, Any], last: str) -> None:
    """Prints the metrics, on the main process, and a last line."""
    if not task.accelerator.is_main_process:
        return
    task.show(metrics)
    if metrics["protocol"]["selected_on"] == "test":
        print("note: the epoch was selected on the test split, so the figures above are optimistic")
    print(last)


def train(task: Task, run: RunFolder, interruption: Interruption) -> dict[str, Any]:
    """Trains, and saves what was trained of the selected epoch into the run folder.

    Returns:
        `epochs`, the score of each; `training`, what it took; `skipped`, the videos that could not be read.
    """
    config, accelerator = task.config, task.accelerator
    model = task.trainable()
    accelerator.print(describe_trainable(model))
    task.store_features(model)
    objective = task.objective(model).to(accelerator.device)
    # Before the state is loaded: which videos look alike is what the model thinks of them as it starts.
    batches = task.batches(model)
    plan_shards(objective, accelerator)
    with warnings.catch_warnings():
        # torch 2.13 has another name for an argument of Accelerate's that earlier ones know.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        objective, optimizer = accelerator.prepare(objective, make_optimizer(objective, config.training))
    progress = Progress(processes=accelerator.num_processes)
    if config.resume and (run.path / STATE_NAME).is_file():
        progress = load_state(run.path, accelerator.unwrap_model(objective), optimizer, accelerator)
        accelerator.print(f"going on after step {progress.step}")
        if progress.processes != accelerator.num_processes:
            came = f"{progress.processes} processes before, {accelerator.num_processes} now"
            accelerator.print(f"note: {came}; the run ends about as it would have, not bit for bit")
            progress.processes = accelerator.num_processes
    batches.skipped = progress.skipped
    split = selection_split(config.training, bool(task.data.splits["val"]))
    steps = fit(objective, optimizer, batches, config.training, accelerator, run, progress, config.seed, interruption)
    with memory_in_words("training", *in_training(task, model)), closing(steps):
        for state in steps:
            name, score = "score", None
            with whole_weights(objective, accelerator):
                if split != "last":
                    name, score = task.score(measure(task, model, split))
                state.history.append({"epoch": state.epoch + 1, "split": split, name: score})
                if score is None or state.best is None or score > state.best:
                    state.best = score
                    if run.write:
                        with folder_aside(run.path) as aside:
                            task.save(model, aside)
    took: dict[str, Any] = {
        "steps": progress.step,
        "clips": progress.step * config.training.batch_size,
        "seconds": round(progress.seconds, 1),
        "processes": accelerator.num_processes,
        "device": describe_device(accelerator.device),
    }
    if task.data.folder.features is not None:
        took["features"] = task.data.folder.features.filled
    return {"epochs": progress.history, "training": took, "skipped": list(batches.skipped)}


def evaluate(task: Task, model: Any, split: Split) -> dict[str, Any]:
    """The metrics of a split, of a model in eval mode on its device."""
    model = model.to(task.accelerator.device).eval()
    task.store_features(model)
    return measure(task, model, split)


def measure(task: Task, model: Any, split: Split) -> dict[str, Any]:
    """The same of a model that is where it should be, and whose features are stored."""
    with memory_in_words("evaluation", *in_evaluation(task, model)):
        return task.evaluate(model.eval(), split)


def start(kind: type[Task], config: Any) -> Accelerator:
    """Accelerate as the config says, and one seed for all processes."""
    accelerator, notes = start_accelerator(
        config.training.precision,
        config.training.accumulation,
        config.training.tracker,
        unused_parameters=kind.leaves_parameters_unused(config),
        timeout=config.training.timeout,
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
