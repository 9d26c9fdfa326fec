"""E-ViLM on disk: `evilm.json` (sizes, and how it came about), `evilm.safetensors`, `vocab.txt`."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import dacite
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from litevl.adapters.time_axis import resample_frames
from litevl.blip import load_tokenizer

from .config import EViLMConfig
from .model import EViLM

CONFIG_NAME, WEIGHTS_NAME, VOCABULARY_NAME = "evilm.json", "evilm.safetensors", "vocab.txt"
EMBEDDED = Path(__file__).parent / "embedded"
"""What ships: `stills`, the small E-ViLM that recipes/pretrain_small_evilm.py made; `tokenizer`, of
recipes/evilm_tokenizer.py; `pretrained`, what recipes/evilm_pretrain.py made of the two."""


class EViLMFileError(ValueError):
    """A folder is no E-ViLM, or is damaged; the message names the file and the key."""


def save_evilm(model: EViLM, folder: Path, *, classifier: nn.Module | None = None, **details: Any) -> None:
    """Writes a model as a folder, each file aside first.

    Args:
        model: with or without heads for pre-training.
        folder: made if it is not there.
        classifier: of a question answering model, kept beside.
        details: more for `evilm.json`, as JSON holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if classifier is not None:
        tensors |= {f"classifier.{name}": value.detach().cpu() for name, value in classifier.state_dict().items()}
    ids = model.tokenizer.get_vocab()
    words = sorted(ids, key=ids.__getitem__)
    save_file(tensors, folder / f".{WEIGHTS_NAME}", metadata={"format": "pt"})
    os.replace(folder / f".{WEIGHTS_NAME}", folder / WEIGHTS_NAME)
    _write(folder / VOCABULARY_NAME, "\n".join(words) + "\n")
    heads = model.pretraining
    targets = None if heads is None else 0 if heads.patches is None else heads.patches.out_features
    sizes = {"architecture": asdict(model.config), "vision_targets": targets}
    record = {"format": "litevl E-ViLM", **sizes, **details}
    _write(folder / CONFIG_NAME, json.dumps(record, indent=2) + "\n")


def add_to_record(folder: Path, **details: Any) -> None:
    """Adds what became known after saving to `evilm.json`."""
    _write(folder / CONFIG_NAME, json.dumps({**read_record(folder), **details}, indent=2) + "\n")


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
        EViLMFileError: no such folder, or a file that is damaged or another's.
    """
    folder = folder_of(source)
    config = read_architecture(folder)
    tokenizer = load_tokenizer(folder / VOCABULARY_NAME)
    tensors = _read_weights(folder)
    if max_text_length is not None:
        config = replace(config, max_text_length=max_text_length)
    if num_frames is not None:
        config = replace(config, num_frames=num_frames)
        if "video_encoder.time" in tensors:
            tensors["video_encoder.time"] = resample_frames(tensors["video_encoder.time"], num_frames)
    model = EViLM(config, tokenizer, vision_targets)
    aside, record = ["classifier."], read_record(folder)
    if vision_targets is None or not any(name.startswith("pretraining.") for name in tensors):
        aside.append("pretraining.")
    elif record.get("vision_targets") != vision_targets or labels not in (None, record.get("labels")):
        aside.append("pretraining.patches.")
    _fill(model, tensors, folder, aside=tuple(aside))
    return model.eval()


def load_classifier(classifier: nn.Module, source: str | Path) -> None:
    """Fills a question answering model's classifier from its folder.

    Raises:
        EViLMFileError: the folder holds none, or one of another size.
    """
    folder = folder_of(source)
    tensors = {
        name.removeprefix("classifier."): value
        for name, value in _read_weights(folder).items()
        if "classifier." in name
    }
    _fill(classifier, tensors, folder)


def is_evilm(source: str | Path) -> bool:
    """Whether there is an E-ViLM."""
    return str(source) == "embedded" or (Path(source) / CONFIG_NAME).is_file()


def folder_of(source: str | Path, embedded: str = "pretrained") -> Path:
    """The folder that a source names; `embedded` says which of those that ship "embedded" is.

    Raises:
        EViLMFileError: there is no E-ViLM.
    """
    folder = EMBEDDED / embedded if str(source) == "embedded" else Path(source)
    if not (folder / CONFIG_NAME).is_file():
        raise EViLMFileError(
            f"{source}: expected 'embedded' or the folder of an E-ViLM, which holds {CONFIG_NAME}, as "
            "recipes/evilm_pretrain.py writes it; found none"
        )
    return folder


def read_architecture(folder: Path) -> EViLMConfig:
    """The sizes of a saved model.

    Raises:
        EViLMFileError: the file does not say them.
    """
    try:
        return dacite.from_dict(EViLMConfig, read_record(folder)["architecture"], dacite.Config(strict=True))
    except (AttributeError, KeyError, ValueError, dacite.DaciteError) as error:
        message = f"{folder / CONFIG_NAME}: expected an E-ViLM's sizes under 'architecture'; {error}"
        raise EViLMFileError(message) from error


def read_record(folder: Path) -> dict[str, Any]:
    """What `evilm.json` holds.

    Raises:
        EViLMFileError: it is not a JSON object.
    """
    try:
        record = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EViLMFileError(f"{folder / CONFIG_NAME}: expected the JSON file of an E-ViLM; {error}") from error
    if not isinstance(record, dict):
        raise EViLMFileError(
            f"{folder / CONFIG_NAME}: expected the JSON file of an E-ViLM, an object, got {type(record).__name__}"
        )
    return record


def _read_weights(folder: Path) -> dict[str, Tensor]:
    try:
        return load_file(folder / WEIGHTS_NAME)
    except (OSError, SafetensorError) as error:
        raise EViLMFileError(f"{folder / WEIGHTS_NAME}: expected the weights of an E-ViLM; {error}") from error


def _fill(module: nn.Module, tensors: dict[str, Tensor], folder: Path, aside: tuple[str, ...] = ()) -> None:
    """Fills all of a module from all of the tensors, but for names that begin with one of `aside`."""
    own = {name: value for name, value in module.state_dict().items() if not name.startswith(aside)}
    tensors = {name: value for name, value in tensors.items() if not name.startswith(aside)}
    for name in sorted(own.keys() | tensors.keys()):
        expected, got = own.get(name), tensors.get(name)
        if expected is None or got is None or expected.shape != got.shape:
            shapes = ["nothing" if value is None else str(tuple(value.shape)) for value in (expected, got)]
            raise EViLMFileError(f"{folder / WEIGHTS_NAME}: {name}: expected {shapes[0]}, got {shapes[1]}")
    module.load_state_dict({name: value.to(own[name].dtype) for name, value in tensors.items()}, strict=False)


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)
