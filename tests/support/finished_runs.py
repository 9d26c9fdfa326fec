"""Run folders as recipes leave them, without a run: config.json, metrics.json, a log."""

import copy
import json
from dataclasses import asdict
from pathlib import Path

from litevl.adapters import LiteVLConfig
from litevl.training import RetrievalModelConfig
from litevl.training.captioning_model import CaptioningModelConfig
from litevl.training.question_model import QuestionModelConfig
from litevl.training.run_folder import to_json

PROTOCOL = {
    "dataset": "embedded corpus",
    "sampling": "midpoint",
    "coverage": {"train": "coverage 1000/1000", "val": "coverage 96/96", "test": "coverage 200/200"},
    "image_size": 48,
    "num_frames": 6,
    "backbone_fingerprint": "a279",
    "backbone_source": "embedded",
    "selected_on": "val",
}
BY_TASK = {
    "retrieval": {"test_split": "full", "train_split": "full", "caption_mode": "one", "max_text_length": 35, "k": 32},
    "question answering": {"answers": 3, "answer_source": "training answers"},
    "captioning": {"test_split": "full", "caption_mode": "many", "tokenizer": "plain"},
}
MODELS = {
    "retrieval": RetrievalModelConfig,
    "question answering": QuestionModelConfig,
    "captioning": CaptioningModelConfig,
}


def results(task, value):
    """Of one model, all figures around `value`."""
    if task == "question answering":
        return {"accuracy": value, "questions": 890, "coverage": "coverage 200/200"}
    if task == "captioning":
        return {"cider": value, "bleu4": value, "rouge_l": value, "references": 800, "coverage": "coverage 200/200"}
    both = {"t2v_r1": value, "v2t_r1": value - 1, "t2v_queries": 200, "t2v_gallery": 200}
    return {
        "contrastive": both,
        "reranked": {**both, "t2v_r1": value + 1},
        "order_accuracy": {"contrastive": 98.0, "reranked": 97.0},
        "coverage": "coverage 200/200",
        "k": 32,
    }


def config_of(task="retrieval", seed=0, model=None, **changes):
    """A run's config; `changes` are of its top level."""
    model = model or MODELS[task](adapter=LiteVLConfig(num_frames=6))
    training = {"epochs": 2, "batch_size": 4, "accumulation": 1, "tracker": "none"}
    given = {"model": to_json(asdict(model)), "training": training, "seed": seed, "output_dir": f"runs/{seed}"}
    return {**given, "baseline": True, "loss": {}, "evaluation": {"workers": 0}, **changes}


def write_run(folder: Path, config, trained=50.0, frozen=None, title="LiteVL", task="retrieval", **protocol):
    """Writes a run folder.

    Args:
        folder: made.
        config: see `config_of`.
        trained: the trained model's figures; None for a run that trained nothing.
        frozen: those of the frozen backbone, if it was evaluated.
        title: of the trained model.
        task: of the results.
        protocol: changes of the protocol; a value of `...` leaves a key out.
    """
    folder.mkdir(parents=True)
    found = {} if frozen is None else {"frame average": results(task, frozen)}
    if trained is not None:
        found[title] = results(task, trained)
        (folder / "log.jsonl").write_text('{"step": 1}\n{"step": 10}\n', encoding="utf-8")
    said = {**copy.deepcopy(PROTOCOL), **BY_TASK[task], **protocol}
    said = {key: value for key, value in said.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    metrics = {"protocol": said, "results": found, "epochs": []}
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return folder


def change(folder: Path, edit):
    """Changes a run's metrics.json in place."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    edit(metrics)
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
