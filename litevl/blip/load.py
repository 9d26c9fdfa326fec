"""Load a BLIP from wherever people have one, as transformers' model, with every weight accounted for."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from litevl.blip import conversion
from litevl.blip.checkpoint import (
    CheckpointError,
    in_one_line,
    name_some,
    read_tensors,
    require_finite,
    require_weights,
)
from litevl.blip.depth import require_depth
from litevl.blip.folder import folder_of, read_config, read_folder
from litevl.blip.repairs import repair
from litevl.blip.report import LoadReport
from litevl.blip.source import Source, find_source
from litevl.blip.tokenizer import check_vocabulary, dec_token_id, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CLASSES = {
    "retrieval": "BlipForImageTextRetrieval",
    "vqa": "BlipForQuestionAnswering",
    "captioning": "BlipForConditionalGeneration",
}
BERT_VOCABULARY = "google-bert/bert-base-uncased"


def load_blip(
    source: str | Path,
    *,
    task: str | None = None,
    image_size: int | None = None,
    vocab: str | Path | None = None,
    vision_eps: float | None = conversion.VISION_EPS,
    dtype: torch.dtype = torch.float32,
) -> "PreTrainedModel":
    """Load a BLIP for video: transformers' model in eval mode, repaired, every weight placed.

    Args:
        source: "embedded" (the small BLIP that ships with litevl, one for each task), a hub id
            ("Salesforce/blip-itm-base-coco"), a transformers folder, or a file: Salesforce's original `.pth` or
            LAVIS's, or transformers' weights. Only a hub id touches the network.
        task: "retrieval", "vqa" or "captioning"; None takes what the checkpoint is for (retrieval for a
            pre-training checkpoint, which has the parts of all three).
        image_size: Side of the square images in pixels, a multiple of the patch size; where it differs from the
            checkpoint's, the position embeddings are interpolated. None keeps the checkpoint's.
        vocab: Where the tokenizer comes from (see `load_tokenizer`). None takes it from the folder or hub id; for a
            file, from `vocab.txt` beside it, else from a bert-base-uncased already in the hub's cache.
        vision_eps: Epsilon of the ViT's layer norms. 1e-6 is what every BLIP was trained with; the configs of
            transformers' converted models say 1e-5. None keeps the folder's.
        dtype: Of the parameters.

    Returns:
        `BlipForImageTextRetrieval`, `BlipForQuestionAnswering` or `BlipForConditionalGeneration`, with two more
        attributes: `tokenizer` and `load_report` (a `LoadReport`).

    Raises:
        CheckpointError: The source is not there, is no BLIP, cannot be read safely, lacks weights, has weights of
            other shapes or NaN in them, or its vocabulary does not fit.
        RuntimeError: transformers is older than 5.0.
    """
    _require_transformers()
    found = find_source(source, task)
    folder, revision = folder_of(found)
    raw = read_tensors(found.path) if folder is None else read_folder(folder, found.label)
    translation = conversion.translate(raw, found.label)
    task = conversion.choose_task(translation.tensors, task, found.label)
    tensors, others = conversion.keep_task(translation.tensors, task, found.label)

    notes: list[str] = []
    if folder is None:
        config = conversion.infer_config(tensors, task, found.label)
    else:
        config, notes = read_config(folder, found.label)
    if vision_eps is not None:
        config["vision_config"]["layer_norm_eps"] = vision_eps
    trained_size = config["vision_config"]["image_size"]
    _resize(tensors, config["vision_config"], image_size, found.label)

    tokenizer = load_tokenizer(vocab) if vocab is not None else _tokenizer_of(found, folder, config)
    check_vocabulary(tokenizer, config["text_config"]["vocab_size"], found.label)
    notes += _set_token_ids(config["text_config"], tokenizer, inferred=folder is None)

    model, unexpected = _build(CLASSES[task], config, tensors, dtype, found.label)
    vision = config["vision_config"]
    report = LoadReport(
        source=str(source),
        format="original" if translation.original else "transformers",
        task=task,
        matched=tuple(name for name in tensors if name not in unexpected),
        missing=(),
        unexpected=unexpected,
        dropped=translation.dropped + others,
        temperature=translation.temperature,
        image_size=vision["image_size"],
        interpolated_from=trained_size if trained_size != vision["image_size"] else None,
        vision_eps=vision["layer_norm_eps"],
        revision=revision,
        notes=tuple(notes),
    )
    model.config._name_or_path = found.label
    # nn.Module declares that attributes are tensors or modules; these two are neither, and are not saved.
    object.__setattr__(model, "tokenizer", tokenizer)
    object.__setattr__(model, "load_report", report)
    return repair(model).eval()


def _require_transformers() -> None:
    import transformers

    if int(transformers.__version__.split(".")[0]) < 5:
        raise RuntimeError(
            f"load_blip needs transformers 5.0 or newer, found {transformers.__version__}; "
            "run `pip install 'transformers>=5'`, in an environment without LAVIS, which needs an older one. "
            "With LAVIS, plug its own model: litevl.adapters.plug(lavis.models.load_model(...))"
        )


def _resize(tensors: dict[str, Tensor], vision: dict[str, Any], image_size: int | None, label: str) -> None:
    if image_size is None or image_size == vision["image_size"]:
        return
    patch = vision["patch_size"]
    if image_size <= 0 or image_size % patch:
        raise CheckpointError(
            f"{label}: expected an image size that is a positive multiple of the patch size {patch}, got "
            f"{image_size}; the nearest is {max(1, round(image_size / patch)) * patch}"
        )
    if conversion.POSITIONS in tensors:
        positions = tensors[conversion.POSITIONS]
        tensors[conversion.POSITIONS] = conversion.interpolate_positions(positions, image_size // patch, label)
    vision["image_size"] = image_size


def _tokenizer_of(found: Source, folder: Path | None, config: Mapping[str, Any]) -> "PreTrainedTokenizerBase":
    if folder is not None:
        return load_tokenizer(folder)
    beside = found.path.parent / "vocab.txt"
    if beside.is_file():
        return load_tokenizer(beside)
    cached = _cached_bert_vocabulary()
    if cached is not None and config["text_config"]["vocab_size"] == 30524:
        return load_tokenizer(cached)
    raise CheckpointError(
        f"{found.label}: expected a vocabulary, which this file does not hold; put BERT's vocab.txt beside it or pass "
        f'vocab=: the path of a vocab.txt, or "{BERT_VOCABULARY}" to fetch that of the published models'
    )


def _cached_bert_vocabulary() -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for repo_id in (BERT_VOCABULARY, "bert-base-uncased"):
        cached = try_to_load_from_cache(repo_id, "vocab.txt")
        if isinstance(cached, str):
            return Path(cached)
    return None


def _set_token_ids(text: dict[str, Any], tokenizer: "PreTrainedTokenizerBase", inferred: bool) -> list[str]:
    """Make the ids that generation starts and ends with the tokenizer's own; say what a folder's config had."""
    ids = {
        "bos_token_id": dec_token_id(tokenizer),
        "sep_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    changed = [] if inferred else [name for name, value in ids.items() if text.get(name) != value]
    notes = [f"text_config: {name} {text.get(name)} in the folder's config, {ids[name]} used" for name in changed]
    text |= ids
    return notes


def _build(
    class_name: str, config: dict[str, Any], tensors: Mapping[str, Tensor], dtype: torch.dtype, label: str
) -> tuple["PreTrainedModel", tuple[str, ...]]:
    """Build the model around the tensors: nothing is initialised at random, no random state is used up."""
    import transformers

    require_depth(config, tensors, label)
    try:
        with torch.device("meta"):
            model = getattr(transformers, class_name)(transformers.BlipConfig(**config))
    except Exception as error:  # whatever sizes that fit no model come to
        raise CheckpointError(
            f"{label}: expected the sizes of a {class_name}, none can be built of them ({in_one_line(error)}); "
            "check config.json, or take another checkpoint"
        ) from error
    expected = model.state_dict()
    missing = [name for name in expected if name not in tensors]
    if missing:
        raise CheckpointError(
            f"{label}: expected {len(expected)} tensors for {class_name}, {len(missing)} are missing: "
            f"{name_some(missing)}; they would be random: take a complete checkpoint"
        )
    shapes = [
        f"{name} {tuple(tensors[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if tensors[name].shape != tensor.shape
    ]
    if shapes:
        raise CheckpointError(
            f"{label}: expected the shapes of the config, got {len(shapes)} others: {name_some(shapes)}; "
            "check that config.json belongs to these weights"
        )
    require_weights({name: tensors[name] for name in expected}, label)
    cast = {name: tensors[name].to(dtype).contiguous() for name in expected}
    require_finite(cast, label)
    model.load_state_dict(cast, assign=True)
    model.tie_weights()
    _materialise_positions(model)
    return model, tuple(name for name in tensors if name not in expected)


def _materialise_positions(model: nn.Module) -> None:
    """Fill the one kind of buffer that no checkpoint holds: the text embeddings' position ids."""
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta and name == "position_ids":
                module.register_buffer(name, torch.arange(buffer.shape[-1]).expand(1, -1), persistent=False)
    left = [name for name, tensor in [*model.named_parameters(), *model.named_buffers()] if tensor.is_meta]
    if left:
        raise RuntimeError(
            f"expected every tensor to be filled, these were not: {name_some(left)}; this transformers has a part "
            "that litevl does not know: please report its version"
        )
