"""E-ViLM on disk: `evilm.json` (sizes, and how it came about), `evilm.safetensors`, `vocab.txt`."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import dacite
from torch import Tensor, nn

from litevl.adapters.time_axis import resample_frames
from litevl.blip import CheckpointError, load_tokenizer
from litevl.blip.checkpoint import read_tensors
from litevl.blip.folder import read_json

from .config import EViLMConfig
from .model import EViLM
from .record import require_fit, write_tensors, write_text

CONFIG_NAME, WEIGHTS_NAME, VOCABULARY_NAME = "evilm.json", "evilm.safetensors", "vocab.txt"
EMBEDDED = Path(__file__).parent / "embedded"
"""What ships: `stills`, the small E-ViLM that recipes/pretrain_small_evilm.py made; `tokenizer`, of
recipes/evilm_tokenizer.py; `pretrained`, what recipes/evilm_pretrain.py made of the two."""


def save_evilm(model: EViLM, folder: Path, *, classifier: nn.Module | None = None, **details: Any) -> None:
    """Writes a model as a folder, each file aside first.

    Args:
        model: with or without heads for pre-training.
        folder: made if it is not there.
        classifier: of a question answering model, kept beside.
        details: more for `evilm.json`, as JSON holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = dict(model.state_dict())
    if classifier is not None:
        tensors |= {f"classifier.{name}": value for name, value in classifier.state_dict().items()}
    ids = model.tokenizer.get_vocab()
    words = sorted(ids, key=ids.__getitem__)
    write_tensors(folder / WEIGHTS_NAME, tensors)
    write_text(folder / VOCABULARY_NAME, "\n".join(words) + "\n")
    heads = model.pretraining
    targets = None if heads is None else 0 if heads.patches is None else heads.patches.out_features
    sizes = {"architecture": asdict(model.config), "vision_targets": targets}
    record = {"format": "litevl E-ViLM", **sizes, **details}
    write_text(folder / CONFIG_NAME, json.dumps(record, indent=2) + "\n")


def add_to_record(folder: Path, **details: Any) -> None:
    """Adds what became known after saving to `evilm.json`."""
    write_text(folder / CONFIG_NAME, json.dumps({**read_record(folder), **details}, indent=2) + "\n")


def load_evilm(
    source: str | Path,
    *,
    num_frames: int | None = None,
    max_text_length: int | None = None,
    vision_targets: int | None = None,
    labels: str | None = None,
) -> EViLM:
    """Reads a model, in eval mode.

    Args:
        source: a folder that `save_evilm` wrote, as a run of the E-ViLM recipes is, or "embedded".
        num_frames: read clips of so many frames, with the time embedding interpolated; by default as trained.
        max_text_length: cut texts to so many tokens; by default as trained.
        vision_targets: see `PretrainingHeads`; by default without those heads. Heads that the folder does not hold, and
            one for other targets, are fresh.
        labels: what the targets are, as saved; by default the number alone tells whether they are the saved model's.

    Raises:
        CheckpointError: no such folder, or a file that is damaged or another's.
    """
    folder = folder_of(source)
    record = read_record(folder)
    config = _architecture(record, folder)
    tokenizer = load_tokenizer(folder / VOCABULARY_NAME)
    tensors = read_tensors(folder / WEIGHTS_NAME)
    if max_text_length is not None:
        config = replace(config, max_text_length=max_text_length)
    if num_frames is not None:
        config = replace(config, num_frames=num_frames)
        if "video_encoder.time" in tensors:
            tensors["video_encoder.time"] = resample_frames(tensors["video_encoder.time"], num_frames)
    model = EViLM(config, tokenizer, vision_targets)
    aside = ["classifier."]
    if vision_targets is None or not any(name.startswith("pretraining.") for name in tensors):
        aside.append("pretraining.")
    elif record.get("vision_targets") != vision_targets or labels not in (None, record.get("labels")):
        aside.append("pretraining.patches.")
    _fill(model, tensors, folder, aside=tuple(aside))
    return model.eval()


def load_classifier(classifier: nn.Module, source: str | Path) -> None:
    """Fills a question answering model's classifier from its folder.

    Raises:
        CheckpointError: the folder holds none, or one of another size.
    """
    folder = folder_of(source)
    tensors = {
        name.removeprefix("classifier."): value
        for name, value in read_tensors(folder / WEIGHTS_NAME).items()
        if "classifier." in name
    }
    _fill(classifier, tensors, folder)


def is_evilm(source: str | Path) -> bool:
    """Whether there is an E-ViLM."""
    return str(source) == "embedded" or (Path(source) / CONFIG_NAME).is_file()


def folder_of(source: str | Path, embedded: str = "pretrained") -> Path:
    """The folder that a source names; `embedded` says which of those that ship "embedded" is.

    Raises:
        CheckpointError: there is no E-ViLM.
    """
    folder = EMBEDDED / embedded if str(source) == "embedded" else Path(source)
    if not (folder / CONFIG_NAME).is_file():
        raise CheckpointError(
            f"{source}: expected 'embedded' or the folder of an E-ViLM, which holds {CONFIG_NAME}, as "
            "recipes/evilm_pretrain.py writes it; found none"
        )
    return folder


def read_architecture(folder: Path) -> EViLMConfig:
    """The sizes of a saved model.

    Raises:
        CheckpointError: the file does not say them.
    """
    return _architecture(read_record(folder), folder)


def _architecture(record: dict[str, Any], folder: Path) -> EViLMConfig:
    try:
        return dacite.from_dict(EViLMConfig, record["architecture"], dacite.Config(strict=True))
    except (AttributeError, KeyError, ValueError, dacite.DaciteError) as error:
        message = f"{folder / CONFIG_NAME}: expected an E-ViLM's sizes under 'architecture'; {error}"
        raise CheckpointError(message) from error


def read_record(folder: Path) -> dict[str, Any]:
    """What `evilm.json` holds.

    Raises:
        CheckpointError: it is not a JSON object.
    """
    return read_json(folder / CONFIG_NAME, "the JSON file of an E-ViLM", "give the folder of one")


def _fill(module: nn.Module, tensors: dict[str, Tensor], folder: Path, aside: tuple[str, ...] = ()) -> None:
    """Fills all of a module from all of the tensors, but for names that begin with one of `aside`."""
    own = {name: value for name, value in module.state_dict().items() if not name.startswith(aside)}
    tensors = {name: value for name, value in tensors.items() if not name.startswith(aside)}
    require_fit(tensors, own, folder / WEIGHTS_NAME)
    module.load_state_dict({name: value.to(own[name].dtype) for name, value in tensors.items()}, strict=False)
