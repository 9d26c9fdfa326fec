"""Text-video retrieval on MSR-VTT: LiteVL adapters on a frozen BLIP, trained and evaluated on the task itself.

    accelerate launch recipes/msrvtt_retrieval.py
    accelerate launch recipes/msrvtt_retrieval.py --data.root /data/msrvtt --backbone Salesforce/blip-itm-base-coco
    python recipes/msrvtt_retrieval.py --data.root /data/msrvtt --backbone model_base_retrieval_coco.pth --epochs 0
    python recipes/msrvtt_retrieval.py --evaluate runs/msrvtt_retrieval-...

With no arguments it runs on the embedded corpus (rendered on first use) with the small BLIP that ships with litevl.
Half of that corpus can only be told apart by the order of frames, so the tables it ends with set frozen frame-average
BLIP, which cannot see order, beside LiteVL. `--epochs 0` is zero-shot evaluation of the unadapted BLIP as BLIP's own
video evaluation does it: 8 frames, frame-wise tokens, mean of frame embeddings, top 128 re-ranked by ITM + ITC.
"""

import sys
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from accelerate import Accelerator
from accelerate.utils import set_seed

from litevl.adapters import (
    LiteVLConfig,
    PoolingConfig,
    describe_trainable,
    fingerprint,
    load_adapters,
    plug,
    save_adapters,
    unplug,
)
from litevl.blip import enable_gradient_checkpointing, load_blip, save_blip
from litevl.data.preprocess import PreprocessConfig
from litevl.data.retrieval import Gallery, RetrievalData, RetrievalDataConfig, Split, load_retrieval_data
from litevl.evaluation.report import category_table, retrieval_table, show
from litevl.evaluation.retrieval import EvaluationConfig, order_accuracy, summarise
from litevl.evaluation.scoring import score_gallery
from litevl.losses import RetrievalLossConfig, RetrievalObjective
from litevl.models import VideoTextRetrieval
from litevl.training import (
    CaptionBatches,
    LoraSettings,
    Progress,
    RunFolder,
    Train,
    TrainingConfig,
    describe_changes,
    fit,
    load_lora,
    load_state,
    make_optimizer,
    new_run_name,
    read_config,
    read_json,
    save_lora,
    select_trainable,
    start_accelerator,
)

FRAME_AVERAGE = LiteVLConfig(layers=(), cls="frame")


@dataclass(frozen=True)
class Config:
    """Text-video retrieval on MSR-VTT: LiteVL adapters on a frozen BLIP."""

    training: Annotated[TrainingConfig, tyro.conf.arg(name="")]
    """How long, how fast and in what batches."""
    evaluation: EvaluationConfig
    """How a split is scored."""
    backbone: str = "embedded"
    """A hub id, a transformers folder, an original or LAVIS .pth file, or `embedded`, the small BLIP that ships."""
    vocab: str | None = None
    """For a .pth file without a vocab.txt beside it: BERT's vocabulary file, or a hub id that has it."""
    image_size: int | None = None
    """Side of the frames in pixels; by default what the backbone was trained with."""
    data: RetrievalDataConfig = field(default_factory=RetrievalDataConfig)
    """The videos and their captions."""
    adapter: LiteVLConfig = field(default_factory=LiteVLConfig)
    """What is inserted into the vision encoder."""
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    """How a video's tokens are pooled for matching."""
    loss: RetrievalLossConfig = field(default_factory=RetrievalLossConfig)
    """The training objective."""
    train: Train = "adapters"
    """Train the adapters alone, LoRA beside them, or the whole model."""
    heads: Literal["frozen", "copied"] = "frozen"
    """Use BLIP's heads as they are, or train copies of them for video."""
    train_temperature: bool = True
    """Train the contrastive temperature."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    """LoRA, for --train adapters+lora."""
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


EMBEDDED = Config(
    TrainingConfig(epochs=10, batch_size=32, lr=1e-3),
    EvaluationConfig(k=32, batch_size=50, pair_batch=256),
    adapter=LiteVLConfig(num_frames=6),
)
"""The defaults on the embedded corpus."""

MSRVTT = Config(
    TrainingConfig(epochs=5, batch_size=64, lr=1e-4),
    EvaluationConfig(k=128, workers=8),
    backbone="Salesforce/blip-itm-base-coco",
    data=RetrievalDataConfig(workers=8),
)
"""The defaults with --data.root. Not tuned: no BLIP weights and no MSR-VTT were at hand where they were written."""


def main(config: Config) -> dict[str, Any]:
    """Trains and evaluates, or evaluates a finished run again.

    Returns:
        What `metrics.json` holds: the protocol, the results of frame-average BLIP and of LiteVL, the epochs' scores.
    """
    again = config.evaluate is not None
    output_dir = config.evaluate or config.output_dir or new_run_name("msrvtt_retrieval")
    accelerator = start(config, output_dir)
    run = None if again else RunFolder(output_dir, config, config.resume, write=accelerator.is_main_process)
    training = config.training.epochs > 0
    data = load_retrieval_data(config.data, training=training, progress=accelerator.is_main_process)
    blip = load_backbone(config, config.backbone, accelerator)
    accelerator.print(blip.load_report, data.summary(), sep="\n")

    metrics: dict[str, Any] = {"protocol": protocol(blip, data, config, accelerator), "results": {}, "epochs": []}
    if config.baseline:
        plug(blip, FRAME_AVERAGE, verbose=False)
        frame_average = VideoTextRetrieval(blip, PoolingConfig("none"))
        metrics["results"]["frame average"] = evaluate(frame_average, data, "test", config, accelerator)
        unplug(blip)
    if config.training.epochs:
        if run is not None:
            metrics["epochs"] = train(blip, data, config, accelerator, run)
        model = load_run(config, output_dir, accelerator)
        metrics["results"]["LiteVL"] = evaluate(model, data, "test", config, accelerator)
    if run is not None:
        run.write_json("metrics.json", metrics)
    if accelerator.is_main_process:
        report(metrics)
        print(compare(metrics, output_dir) if again else f"run folder: {output_dir}")
    accelerator.end_training()
    return metrics


def train(
    blip: Any, data: RetrievalData, config: Config, accelerator: Accelerator, run: RunFolder
) -> list[dict[str, Any]]:
    """Trains, and saves what was trained of the selected epoch into the run folder.

    Returns:
        The score of each epoch.
    """
    model = build_model(blip, config)
    accelerator.print(describe_trainable(model))
    if config.training.gradient_checkpointing:
        enable_gradient_checkpointing(blip)
    objective = RetrievalObjective(model, config.loss, config.seed).to(accelerator.device)
    objective, optimizer = accelerator.prepare(objective, make_optimizer(objective, config.training))
    progress = Progress()
    if config.resume:
        progress = load_state(run.path, accelerator.unwrap_model(objective), optimizer, accelerator)
    batches = CaptionBatches(
        data, model, config.training, config.adapter.num_frames, preprocessing(model), accelerator, config.seed
    )
    split = selection_split(config, data)
    for state in fit(objective, optimizer, batches, config.training, accelerator, run, progress, config.seed):
        score = None
        if split != "last":
            metrics = evaluate(model, data, split, config, accelerator)["reranked"]
            score = (metrics["t2v_r1"] + metrics["v2t_r1"]) / 2
        state.history.append({"epoch": state.epoch, "split": split, "mean_r1": score})
        if score is None or state.best is None or score > state.best:
            state.best = score
            save_model(model, config, run)
    return progress.history


def evaluate(
    model: VideoTextRetrieval, data: RetrievalData, split: Split, config: Config, accelerator: Accelerator
) -> dict[str, Any]:
    """The metrics of a split; with the embedded corpus also how often a clip is told from its reversal."""
    model.to(accelerator.device).eval()
    settings = config.evaluation
    gallery = Gallery(
        data,
        split,
        num_frames=config.adapter.num_frames,
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
    metrics["pairs_matched"] = scores.pairs_matched
    return metrics


def start(config: Config, output_dir: Path) -> Accelerator:
    """Accelerate as the config says, and one seed for all processes."""
    accelerator, notes = start_accelerator(
        config.training.precision,
        config.training.accumulation,
        config.training.tracker,
        output_dir,
        unused_parameters=0 in (config.loss.vtc_weight, config.loss.vtm_weight),
    )
    for note in notes.lines:
        accelerator.print(f"note: {note}")
    set_seed(config.seed)
    if config.training.tracker != "none":
        accelerator.init_trackers("msrvtt_retrieval")
    return accelerator


def load_backbone(config: Config, source: str | Path, accelerator: Accelerator) -> Any:
    """The stock BLIP of this run, on its device."""
    blip = load_blip(source, task="retrieval", image_size=config.image_size, vocab=config.vocab)
    return blip.to(accelerator.device)


def build_model(blip: Any, config: Config) -> VideoTextRetrieval:
    """LiteVL around a stock BLIP as the config says, with what is trained set."""
    plug(blip, config.adapter, verbose=False)
    select_trainable(blip, config.train, config.lora)
    model = VideoTextRetrieval(blip, config.pooling, heads=config.heads)
    model.heads.temperature.requires_grad_(config.train_temperature)
    return model


def load_run(config: Config, folder: Path, accelerator: Accelerator) -> VideoTextRetrieval:
    """The trained model, from its run folder and the backbone alone."""
    accelerator.wait_for_everyone()
    blip = load_backbone(config, folder / "backbone" if config.train == "all" else config.backbone, accelerator)
    if config.train == "adapters+lora":
        load_lora(blip, config.lora, folder / "lora")
    model = build_model(blip, replace(config, train="adapters"))
    load_adapters(model, folder, verbose=False)
    return model


def save_model(model: VideoTextRetrieval, config: Config, run: RunFolder) -> None:
    """Writes what was trained; with the backbone it is all that an evaluation needs."""
    if not run.write:
        return
    report = model.blip.load_report
    save_adapters(
        model,
        run.path,
        task="retrieval",
        backbone={"source": config.backbone, "revision": report.revision, "image_size": report.image_size},
        pooling=asdict(config.pooling),
        heads=config.heads,
        preprocessing=asdict(preprocessing(model)),
        evaluation=asdict(config.evaluation),
        litevl_version=version("litevl"),
    )
    if config.train == "adapters+lora":
        save_lora(model.blip, config.lora, run.path / "lora")
    if config.train == "all":
        save_blip(model.blip, run.path / "backbone")


def preprocessing(model: VideoTextRetrieval) -> PreprocessConfig:
    """BLIP's preprocessing at the size that the vision encoder takes."""
    return PreprocessConfig(model.blip.config.vision_config.image_size)


def selection_split(config: Config, data: RetrievalData) -> Literal["val", "test", "last"]:
    """Which split selects the epoch; with a note where that is the test split.

    Raises:
        ValueError: to select on validation where there is none.
    """
    chosen = config.training.select_on or ("val" if data.splits["val"] else "last")
    if chosen == "val" and not data.splits["val"]:
        raise ValueError("select_on=val: this split of MSR-VTT has no validation videos; use last, or test knowingly")
    return chosen


def protocol(blip: Any, data: RetrievalData, config: Config, accelerator: Accelerator) -> dict[str, Any]:
    """Everything that two results must share to be compared."""
    chosen = selection_split(config, data)
    return {
        "dataset": data.dataset,
        "schema": data.schema,
        "train_split": data.train_split,
        "test_split": data.test_split,
        "selected_on": chosen,
        "coverage": {split: str(coverage) for split, coverage in data.coverage.items()},
        "num_frames": config.adapter.num_frames,
        "sampling": config.data.sampling,
        "image_size": blip.config.vision_config.image_size,
        "preprocessing": PreprocessConfig(blip.config.vision_config.image_size).fingerprint(),
        "k": config.evaluation.k,
        "backbone": {
            "source": config.backbone,
            "revision": blip.load_report.revision,
            "fingerprint": fingerprint(blip),
        },
        "train": config.train if config.training.epochs else "nothing (zero-shot)",
        "seed": config.seed,
        "processes": accelerator.num_processes,
        "precision": accelerator.mixed_precision,
        "versions": {name: version(name) for name in ("litevl", "torch", "transformers")},
    }


def report(metrics: dict[str, Any]) -> None:
    """Prints the results as tables, frame-average BLIP and LiteVL side by side."""
    stamp, results = metrics["protocol"], metrics["results"]
    rows = {f"{name}, {kind}": values[kind] for name, values in results.items() for kind in ("contrastive", "reranked")}
    first = next(iter(results.values()))
    caption = (
        f"{stamp['dataset']}, test {stamp['test_split']}: {first['coverage']}; gallery "
        f"{first['reranked']['t2v_gallery']} videos, {first['reranked']['v2t_gallery']} texts; top {stamp['k']} "
        f"re-ranked by ITM + ITC; {stamp['num_frames']} frames of {stamp['image_size']} px; train "
        f"{stamp['train_split']}, selected on {stamp['selected_on']}; backbone {stamp['backbone']['source']} "
        f"{stamp['backbone']['fingerprint']}"
    )
    tables = [retrieval_table(rows, "Text-video retrieval", caption)]
    if "t2v_r1_by_category" in first["reranked"]:
        tables.append(category_table(results))
    show(*tables)
    if stamp["selected_on"] == "test":
        print("note: the epoch was selected on the test split; the figures above are optimistic")


def compare(metrics: dict[str, Any], folder: Path) -> str:
    """Says whether an evaluation from the run folder gave what the run had written."""
    written = read_json(folder / "metrics.json")["results"]
    changes = describe_changes(written, metrics["results"])
    return (
        "\n".join(["differs from the run's metrics.json:", *changes]) if changes else "equal to the run's metrics.json"
    )


def parse(arguments: list[str]) -> Config:
    """The config of a command line: defaults of the embedded corpus, of MSR-VTT, or of the run to evaluate again."""
    config = tyro.cli(Config, default=EMBEDDED, args=arguments, description=__doc__)
    if config.evaluate is not None:
        stored = replace(read_config(Config, config.evaluate), evaluate=config.evaluate)
        config = tyro.cli(Config, default=stored, args=arguments)
        for change in describe_changes(asdict(stored), asdict(config)):
            print(f"not as in the run: {change}")
        return config
    return config if config.data.root is None else tyro.cli(Config, default=MSRVTT, args=arguments)


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main(parse(sys.argv[1:]))
