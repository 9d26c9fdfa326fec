"""From Salesforce's original BLIP (and LAVIS) to transformers' BLIP: key names, sizes, task.

The text side has the same names in both; the vision side is renamed. Sizes are read off the tensors' shapes, with
the one thing that no shape tells, the number of heads, from the head width of every published BLIP: 64.
Sources: github.com/salesforce/BLIP (models/vit.py, models/med.py), salesforce-lavis 1.0.2.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from litevl.blip.checkpoint import CheckpointError, name_some
from litevl.blip.depth import VISION_LAYERS, depth

HEAD_WIDTH = 64
VISION_EPS = 1e-6
TEXT_EPS = 1e-12
POSITIONS = "vision_model.embeddings.position_embedding"

_VISION_NAMES = (
    (r"^visual_encoder\.cls_token$", "vision_model.embeddings.class_embedding"),
    (r"^visual_encoder\.pos_embed$", POSITIONS),
    (r"^visual_encoder\.patch_embed\.proj\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual_encoder\.blocks\.(\d+)\.norm([12])\.", r"vision_model.encoder.layers.\1.layer_norm\2."),
    (r"^visual_encoder\.blocks\.(\d+)\.attn\.qkv\.", r"vision_model.encoder.layers.\1.self_attn.qkv."),
    (r"^visual_encoder\.blocks\.(\d+)\.attn\.proj\.", r"vision_model.encoder.layers.\1.self_attn.projection."),
    (r"^visual_encoder\.blocks\.(\d+)\.mlp\.", r"vision_model.encoder.layers.\1.mlp."),
    (r"^visual_encoder\.norm\.", "vision_model.post_layernorm."),
)
# What pre-training and retrieval training keep beside the model: momentum copies, queues and their pointers.
_TRAINING_STATE = re.compile(
    r"^(\w+_m\..+|temp|logit_scale|\w+_queue|queue_ptr|ptr_queue|(.+\.)?position_ids)$",
)
_PARTS = {
    "retrieval": ("vision_model", "text_encoder", "vision_proj", "text_proj", "itm_head"),
    "vqa": ("vision_model", "text_encoder", "text_decoder"),
    "captioning": ("vision_model", "text_decoder"),
}
TASKS = tuple(_PARTS)
_ALL_PARTS = {part for parts in _PARTS.values() for part in parts}
# The language-model head shares these with the word embeddings and its own bias; files keep either or both.
_TIED = (
    ("text_decoder.cls.predictions.decoder.weight", "text_decoder.bert.embeddings.word_embeddings.weight"),
    ("text_decoder.cls.predictions.decoder.bias", "text_decoder.cls.predictions.bias"),
)


@dataclass(frozen=True)
class Translation:
    """The tensors of a checkpoint under transformers' names, and what was left aside."""

    tensors: dict[str, Tensor]
    dropped: tuple[str, ...]
    temperature: float | None
    original: bool


def translate(tensors: Mapping[str, Tensor], origin: str) -> Translation:
    """Rename a checkpoint's tensors to transformers' names and set its training state aside.

    Args:
        tensors: A state dict under Salesforce's, LAVIS's or transformers' names.
        origin: The file or folder, for the error.

    Returns:
        Tensors by transformers' names; what was dropped, under the file's own names; the learned contrastive
        temperature (`temp`) where the file has one.

    Raises:
        CheckpointError: The names are of no BLIP.
    """
    original = any(name.startswith("visual_encoder.") for name in tensors)
    if not original and not any(name.startswith("vision_model.") for name in tensors):
        raise CheckpointError(
            f"{origin}: expected a BLIP checkpoint, with names starting in 'visual_encoder.' (Salesforce, LAVIS) or "
            f"'vision_model.' (transformers); got {name_some(sorted(tensors))}; pass another file"
        )
    kept: dict[str, Tensor] = {}
    dropped = []
    for name, tensor in tensors.items():
        if _TRAINING_STATE.match(name):
            dropped.append(name)
            continue
        renamed = _rename(name) if original else name
        if renamed in kept:
            raise CheckpointError(f"{origin}: expected each weight once, got {renamed} under two names; keep one")
        kept[renamed] = tensor
    temp = tensors.get("temp")
    if temp is not None and (temp.numel() != 1 or temp.is_complex()):
        raise CheckpointError(f"{origin}: expected temp, the contrastive temperature, as one number, got {temp.shape}")
    return Translation(kept, tuple(dropped), float(temp) if temp is not None else None, original)


def choose_task(tensors: Mapping[str, Tensor], task: str | None, origin: str) -> str:
    """Tell which task a checkpoint is for, or check that it can serve the one asked for.

    A pre-training checkpoint has every part and serves all three: retrieval unless `task` says otherwise.

    Args:
        tensors: Under transformers' names.
        task: "retrieval", "vqa", "captioning", or None to infer it.
        origin: The file or folder, for the error.

    Raises:
        CheckpointError: No such task, or the checkpoint lacks a part that the task needs.
    """
    if task is not None and task not in TASKS:
        raise CheckpointError(f"expected task to be one of {', '.join(TASKS)} or None, got {task!r}")
    parts = sorted({name.split(".")[0] for name in tensors} & _ALL_PARTS)
    if task is None:
        if "text_encoder" in parts:
            # With neither head nor decoder it is read as retrieval, and the missing heads are then named.
            task = "vqa" if "text_decoder" in parts and "itm_head" not in parts else "retrieval"
        else:
            task = "captioning"
    lacking = [part for part in _PARTS[task] if part not in parts]
    if lacking:
        able = [name for name, needs in _PARTS.items() if set(needs) <= set(parts)]
        raise CheckpointError(
            f"{origin}: expected {', '.join(_PARTS[task])} for the task {task!r}, missing {', '.join(lacking)} "
            f"(it holds {', '.join(parts)}); "
            + (f"it can serve {' or '.join(able)}: pass task=" if able else "take a retrieval, VQA or caption model")
        )
    return task


def keep_task(tensors: Mapping[str, Tensor], task: str, origin: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Keep what one task needs, each tied pair of the decoder filled from the half that the file kept.

    Returns:
        The tensors of the task (and names of no known part, to be reported as unexpected); the names of the other
        tasks' parts.

    Raises:
        CheckpointError: The two halves of a tied pair differ, so that tying them would change the model.
    """
    others = _ALL_PARTS.difference(_PARTS[task])
    kept = {name: tensor for name, tensor in tensors.items() if name.split(".")[0] not in others}
    for one, other in _TIED if "text_decoder" in _PARTS[task] else ():
        if one in kept and other in kept and not torch.equal(kept[one], kept[other]):
            raise CheckpointError(
                f"{origin}: expected {one} and {other} to be equal, as BLIP ties them; they differ, and "
                "transformers' BLIP cannot hold both; use the checkpoint as its own code saved it"
            )
        shared = kept.get(one, kept.get(other))
        if shared is not None:
            kept[one] = kept[other] = shared
    return kept, tuple(name for name in tensors if name.split(".")[0] in others)


def infer_config(tensors: Mapping[str, Tensor], task: str, origin: str) -> dict[str, Any]:
    """Read the sizes of a BLIP off its weights, as the arguments of transformers' `BlipConfig`.

    Epsilons are the original's (1e-6 in the ViT, 1e-12 in the text). Dropout stays at transformers' default of
    zero, as in the models on the hub.

    Args:
        tensors: Under transformers' names, for one task.
        task: As from `choose_task`.
        origin: The file, for the errors.

    Raises:
        CheckpointError: A tensor that tells a size is missing or of another rank, a width is no multiple of 64, the
            layers do not count from 0, or the grid of patches is not square.
    """
    text = "text_decoder.bert" if task == "captioning" else "text_encoder"

    def shape(name: str, rank: int = 2) -> tuple[int, ...]:
        if name not in tensors:
            raise CheckpointError(f"{origin}: expected {name} to read the model's sizes from, it is missing")
        sizes = tuple(tensors[name].shape)
        if len(sizes) != rank or 0 in sizes:
            raise CheckpointError(f"{origin}: expected {name} with {rank} axes that are not empty, got {sizes}")
        return sizes

    width, _, patch, _ = shape("vision_model.embeddings.patch_embedding.weight", 4)
    vocab, text_width = shape(f"{text}.embeddings.word_embeddings.weight")
    return {
        "vision_config": {
            "hidden_size": width,
            "intermediate_size": shape("vision_model.encoder.layers.0.mlp.fc1.weight")[0],
            "num_hidden_layers": depth(tensors, VISION_LAYERS, origin),
            "num_attention_heads": _heads(width, "vision encoder", origin),
            "patch_size": patch,
            "image_size": _grid(shape(POSITIONS, 3)[1], origin) * patch,
            "layer_norm_eps": VISION_EPS,
        },
        "text_config": {
            "vocab_size": vocab,
            "hidden_size": text_width,
            "encoder_hidden_size": shape(f"{text}.encoder.layer.0.crossattention.self.key.weight")[1],
            "intermediate_size": shape(f"{text}.encoder.layer.0.intermediate.dense.weight")[0],
            "num_hidden_layers": depth(tensors, f"{text}.encoder.layer.", origin),
            "num_attention_heads": _heads(text_width, "text encoder", origin),
            "max_position_embeddings": shape(f"{text}.embeddings.position_embeddings.weight")[0],
            "layer_norm_eps": TEXT_EPS,
        },
        "image_text_hidden_size": shape("vision_proj.weight")[0] if task == "retrieval" else 256,
    }


def mend_heads(config: dict[str, Any], part: str) -> str | None:
    """Correct the number of heads of a transformers folder where it can only be a converter's oversight.

    transformers' defaults (8 text heads, 12 vision heads) end up in folders converted without stating the number,
    and no shape contradicts them. Corrected to a head width of 64: 8 heads at BERT-base's width of 768 (every BLIP
    has 12), and a number that does not divide the width.

    Args:
        config: `hidden_size` and `num_attention_heads` of one tower; changed in place.
        part: "text_config" or "vision_config", for the note.

    Returns:
        A sentence for the load report, or None where nothing was changed.
    """
    width, heads = config["hidden_size"], config["num_attention_heads"]
    oversight = heads < 1 or width % heads != 0 or (part == "text_config" and (width, heads) == (768, 8))
    if not oversight or width % HEAD_WIDTH:
        return None
    config["num_attention_heads"] = width // HEAD_WIDTH
    return f"{part}: {heads} heads in the folder's config, {width // HEAD_WIDTH} used (head width {HEAD_WIDTH})"


def interpolate_positions(
    positions: Float[Tensor, "1 tokens width"], grid: int, origin: str = "the checkpoint"
) -> Float[Tensor, "1 new_tokens width"]:
    """Resize the ViT's position table to another grid of patches, bicubically; the CLS position is kept.

    As BLIP's own `interpolate_pos_embed` does it. The same grid gives the same tensor back, untouched.

    Args:
        positions: One CLS position, then a square grid of patches row by row.
        grid: Patches along a side of the new grid.
        origin: The file, for the error.
    """
    old = _grid(positions.shape[1], origin)
    if old == grid:
        return positions
    patches = positions[:, 1:].unflatten(1, (old, old)).permute(0, 3, 1, 2)
    resized = F.interpolate(patches.float(), size=(grid, grid), mode="bicubic", align_corners=False)
    table = positions.new_empty(1, 1 + grid * grid, positions.shape[2])
    table[:, :1] = positions[:, :1]
    table[:, 1:] = resized.permute(0, 2, 3, 1).flatten(1, 2)
    return table


def _rename(name: str) -> str:
    for pattern, replacement in _VISION_NAMES:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return name


def _grid(tokens: int, origin: str) -> int:
    grid = math.isqrt(max(tokens - 1, 0))
    if not grid or grid * grid != tokens - 1:
        raise CheckpointError(
            f"{origin}: expected positions for one CLS token and a square grid of patches, got {tokens} in all; "
            "only square images are supported"
        )
    return grid


def _heads(width: int, tower: str, origin: str) -> int:
    if width % HEAD_WIDTH:
        raise CheckpointError(
            f"{origin}: expected a {tower} width that is a multiple of {HEAD_WIDTH} (BLIP's head width), got {width}; "
            "the weights alone do not tell the number of heads: load a transformers folder with its config.json"
        )
    return width // HEAD_WIDTH
