"""Text-video retrieval from a config to its metrics: train, evaluate, re-rank, save, report.

The recipes for MSR-VTT and the other sets are this with their own defaults.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from accelerate import Accelerator
from accelerate.utils import set_seed

from litevl.adapters import add_details, describe_trainable, unplug
from litevl.blip import enable_gradient_checkpointing
from litevl.data.retrieval import Gallery, RetrievalData, RetrievalDataConfig, Split, load_retrieval_data
from litevl.evaluation.report import show_retrieval
from litevl.evaluation.retrieval import EvaluationConfig, order_accuracy, stamp, summarise
from litevl.evaluation.scoring import score_gallery
from litevl.losses import RetrievalLossConfig, RetrievalObjective
from litevl.models import VideoTextRetrieval
from litevl.training import (
    STATE_NAME,
    CaptionBatches,
    Progress,
    RetrievalModelConfig,
    RunFolder,
    TrainingConfig,
    build_model,
    describe_changes,
    fit,
    frame_average,
    load_backbone,
    load_model,
    load_state,
    make_optimizer,
    new_run_name,
    preprocessing,
    read_json,
    save_model,
    start_accelerator,
)


@dataclass(frozen=True)
class RetrievalConfig:
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
    baseline: bool = True
    """Also evaluate the frozen backbone frame by frame."""
    seed: int = 0
    """Of everything random."""
    output_dir: Path | None = None
    """The run's folder; by default a new one under runs/."""
    resume: bool = False
    """Go on with the run in --output-dir, from its last finished epoch."""
    evaluate: Path | None = None
    """Evaluate this run's folder again, from what it holds, and stop."""

    def __post_init__(self) -> None:
        if self.training.epochs == 0 and not self.baseline:
            raise ValueError("nothing to do: --epochs 0 evaluates the frozen backbone, which --no-baseline leaves out")


def run_retrieval(config: RetrievalConfig, name: str, command: str | None = None) -> dict[str, Any]:
    """Trains and evaluates, or evaluates a finished run again.

    Args:
        config: what to run.
        name: of the recipe, for the run folder and trackers.
        command: what the model card says made it.

    Returns:
        What `metrics.json` holds: the protocol, the results of frame-average BLIP and of LiteVL, the epochs' scores.
    """
    again = config.evaluate is not None
    accelerator = start(config)
    output_dir = config.evaluate or config.output_dir or new_run_name(name)
    training = config.training.epochs > 0
    with accelerator.main_process_first():
        progress = accelerator.is_main_process
        data = load_retrieval_data(config.data, training=training and not again, progress=progress)
    blip = load_backbone(config.model, accelerator.device)
    accelerator.print(blip.load_report, data.summary(), sep="\n")
    run = None if again else RunFolder(output_dir, config, config.resume, write=accelerator.is_main_process)
    if run is not None and config.training.tracker != "none":
        accelerator.project_configuration.logging_dir = str(output_dir)
        accelerator.init_trackers(name)

    metrics: dict[str, Any] = {"protocol": protocol(blip, data, config, accelerator), "results": {}, "epochs": []}
    if config.baseline:
        metrics["results"]["frame average"] = evaluate(
            frame_average(blip, config.model.max_text_length), data, "test", config, accelerator
        )
        unplug(blip)
    if training:
        if run is not None:
            metrics["epochs"], skipped = train(blip, data, config, accelerator, run)
            metrics["protocol"]["coverage"]["train"] = str(data.coverage["train"].without(skipped))
        accelerator.wait_for_everyone()
        model = load_model(config.model, output_dir, accelerator.device)
        metrics["results"][config.model.adapter.title] = evaluate(model, data, "test", config, accelerator)
    if run is not None:
        run.write_json("metrics.json", metrics)
        if training and run.write:
            results = metrics["results"][config.model.adapter.title]
            scores = {kind: results[kind] for kind in ("contrastive", "reranked")}
            add_details(output_dir, metrics=scores, protocol=metrics["protocol"], command=command)
    if accelerator.is_main_process:
        if again:
            written = read_json(output_dir / "metrics.json")
            metrics["protocol"]["selected_on"] = written["protocol"]["selected_on"]
        show_retrieval(metrics)
        print(compare(written, metrics) if again else f"run folder: {output_dir}")
    accelerator.end_training()
    return metrics


def train(
    blip: Any, data: RetrievalData, config: RetrievalConfig, accelerator: Accelerator, run: RunFolder
) -> tuple[list[dict[str, Any]], list[str]]:
    """Trains, and saves what was trained of the selected epoch into the run folder.

    Returns:
        The score of each epoch, and the videos that could not be read and were left out.
    """
    model = build_model(blip, config.model)
    accelerator.print(describe_trainable(model))
    if config.training.gradient_checkpointing:
        enable_gradient_checkpointing(blip)
    objective = RetrievalObjective(model, config.loss, config.seed).to(accelerator.device)
    objective, optimizer = accelerator.prepare(objective, make_optimizer(objective, config.training))
    progress = Progress()
    if config.resume and (run.path / STATE_NAME).is_file():
        progress = load_state(run.path, accelerator.unwrap_model(objective), optimizer, accelerator)
    num_frames = config.model.adapter.num_frames
    batches = CaptionBatches(data, model, config.training, num_frames, preprocessing(model), accelerator, config.seed)
    split = selection_split(config, bool(data.splits["val"]))
    for state in fit(objective, optimizer, batches, config.training, accelerator, run, progress, config.seed):
        score = None
        if split != "last":
            metrics = evaluate(model, data, split, config, accelerator)["reranked"]
            score = (metrics["t2v_r1"] + metrics["v2t_r1"]) / 2
        state.history.append({"epoch": state.epoch, "split": split, "mean_r1": score})
        if score is None or state.best is None or score > state.best:
            state.best = score
            if run.write:
                save_model(model, config.model, run.path, evaluation=asdict(config.evaluation))
    return progress.history, list(batches.skipped)


def evaluate(
    model: VideoTextRetrieval, data: RetrievalData, split: Split, config: RetrievalConfig, accelerator: Accelerator
) -> dict[str, Any]:
    """The metrics of a split; with the embedded corpus also how often a clip is told from its reversal."""
    model.to(accelerator.device).eval()
    settings = config.evaluation
    gallery = Gallery(
        data,
        split,
        num_frames=config.model.adapter.num_frames,
        preprocess=preprocessing(model),
        batch_size=settings.batch_size,
        workers=settings.workers,
        device=accelerator.device,
        process=accelerator.process_index,
        processes=accelerator.num_processes,
    )
    scores = score_gallery(
        model,
        gallery.texts,
        gallery.text_ids,
        gallery,
        accelerator,
        k=settings.k,
        pair_batch=settings.pair_batch,
        num_videos=gallery.num_videos,
    )
    metrics = summarise(scores, data.groups, settings.bootstrap, config.seed)
    metrics["order_accuracy"] = order_accuracy(scores, data.order_pairs)
    metrics["coverage"] = str(data.coverage_of(split, scores.video_ids))
    metrics["k"] = min(settings.k, len(scores.video_ids))
    metrics["pairs_matched"] = scores.pairs_matched
    return metrics


def start(config: RetrievalConfig) -> Accelerator:
    """Accelerate as the config says, and one seed for all processes."""
    accelerator, notes = start_accelerator(
        config.training.precision,
        config.training.accumulation,
        config.training.tracker,
        unused_parameters=0 in (config.loss.vtc_weight, config.loss.vtm_weight),
    )
    for note in notes:
        accelerator.print(f"note: {note}")
    set_seed(config.seed)
    return accelerator


def selection_split(config: RetrievalConfig, validation: bool) -> Literal["val", "test", "last"]:
    """Which split selects the epoch: validation where there is one, else none, and test only if asked for.

    Raises:
        ValueError: to select on validation where there is none.
    """
    chosen = config.training.select_on or ("val" if validation else "last")
    if chosen == "val" and not validation:
        raise ValueError("select_on=val: this split of MSR-VTT has no validation videos; use last, or test knowingly")
    return chosen


def protocol(blip: Any, data: RetrievalData, config: RetrievalConfig, accelerator: Accelerator) -> dict[str, Any]:
    """Everything that two results must share to be compared."""
    training = config.training.epochs > 0
    selected = training and config.evaluate is None
    return {
        **data.stamp(),
        **stamp(blip),
        "backbone_source": config.model.backbone,
        "selected_on": selection_split(config, bool(data.splits["val"])) if selected else "nothing",
        "trained": config.model.train if training else "nothing (zero-shot)",
        "num_frames": config.model.adapter.num_frames,
        "max_text_length": config.model.max_text_length,
        "k": config.evaluation.k,
        "seed": config.seed,
        "processes": accelerator.num_processes,
        "precision": accelerator.mixed_precision,
    }


def compare(written: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Says whether an evaluation from the run folder gave what the run had written, on the same backbone."""
    same = "backbone_fingerprint"
    changes = describe_changes({same: written["protocol"][same]}, {same: metrics["protocol"][same]})
    changes += describe_changes(written["results"], metrics["results"])
    return "\n".join(
        ["differs from the run's metrics.json:", *changes] if changes else ["equal to the run's metrics.json"]
    )
