"""What is inside a model, as text: its blocks with their adapters, what is trained, and the learned scales."""

from collections.abc import Iterable
from dataclasses import asdict
from itertools import zip_longest

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .adapter import (
    CONTAINER,
    count_parameters,
    describe_trainable,
    named_adapters,
    peft_parameter_names,
    readable,
)
from .config import AdapterConfig
from .plugged import Plugged, plugged_state
from .temporal_attention import TemporalAttention
from .temporal_scaling import ConditionalScaling, LearnedScaling
from .vision_encoder import Block, VisionEncoder, find_vision_encoder

FRAMES_ABREAST = 8
"""Scales that stand right of the blocks' parts; those of further frames follow below, twice as many in a line."""


def describe(model: nn.Module, name: str | None = None) -> str:
    """The vision encoder block by block: its adapters, their parameters, and the learned scale of each frame.

    Made to be printed. Above the tables it says what the backbone is, how much is trainable, what was added beside
    (a task model's heads, what peft put in), and which adapters there are, the active one marked.

    Args:
        model: a BLIP, stock or plugged, or a task model around one.
        name: the adapter to show block by block; by default all of them.

    Raises:
        ValueError: if `model` has no vision encoder, or holds no adapter of that name.
    """
    encoder, state = find_vision_encoder(model), plugged_state(model)
    held = {} if state is None else state.adapters
    if name is not None and name not in held:
        raise ValueError(f"name: expected one of the adapters {', '.join(map(repr, held)) or '(none)'}; got {name!r}")
    lines = [_backbone(model, encoder), describe_trainable(model), *_beside_encoder(model), *_peft(model)]
    lines.append(f"adapters: {_names(state)}")
    for shown in held if name is None else [name]:
        lines += ["", *_adapter(encoder, held[shown], shown)]
    return "\n".join(lines)


def block_scalings(encoder: VisionEncoder, name: str) -> list[LearnedScaling | ConditionalScaling | None]:
    """The temporal scaling that the adapter `name` has in each block; None in a block without."""
    return [
        next((m for m in _parts(block, name).modules() if isinstance(m, LearnedScaling | ConditionalScaling)), None)
        for block in encoder.blocks
    ]


@torch.no_grad()
def learned_scale(scaling: LearnedScaling) -> Float[Tensor, " time"]:
    """The scale of each frame that it was trained for, as the forward pass computes it."""
    # Not by calling the module: a look must not trigger anyone's hooks.
    return scaling.forward(torch.zeros(1, len(scaling.gamma), 1, device=scaling.gamma.device))[0]


def _backbone(model: nn.Module, encoder: VisionEncoder) -> str:
    blocks, place = encoder.blocks, f" at {encoder.path}" if encoder.path else ""
    copy = "" if encoder.momentum is None else f"; its momentum copy {encoder.momentum.path} holds the same adapters"
    return (
        f"{type(model).__name__}: vision encoder {type(encoder.module).__name__}{place}, {len(blocks)} blocks of width "
        f"{encoder.embed_dim}, {blocks[0].num_heads} heads{copy}"
    )


def _beside_encoder(model: nn.Module) -> list[str]:
    """What a task model adds: its heads and temperature."""
    lines = []
    for path, adapter in named_adapters(model):
        if f".{CONTAINER}." not in f".{path}":
            values = {name.partition(".")[0]: value for name, value in adapter.named_parameters()}
            named = [f"{name} = {v.item():.4g}" if v.ndim == 0 else name for name, v in values.items()]
            lines.append(f"{path}: {', '.join(named)}; {_counted(adapter.parameters())}")
    return lines


def _peft(model: nn.Module) -> list[str]:
    names = peft_parameter_names(model)
    if not names:
        return []
    layers = [module for module in model.modules() if hasattr(module, "base_layer")]
    merged = sum(bool(getattr(layer, "merged", False)) for layer in layers)
    note = f", merged into {merged} of them" if merged else ""
    counted = _counted(value for name, value in model.named_parameters() if name in names)
    return [f"peft: {counted}, in {len(layers)} layers{note}"]


def _names(state: Plugged | None) -> str:
    if state is None:
        return "none, a stock model; plug(model, LiteVLConfig(...)) makes it take video"
    names = ", ".join(f"{name} (active)" if name == state.active else name for name in state.adapters)
    return names if state.active else f"{names} (disabled: clips are read frame by frame)"


def _adapter(encoder: VisionEncoder, config: AdapterConfig, name: str) -> list[str]:
    """One adapter: its options, and a row per block."""
    parts = [_parts(block, name) for block in encoder.blocks]
    merged = any(isinstance(m, TemporalAttention) and m.fc is None for held in parts for m in held.modules())
    options = ", ".join(f"{key}={value!r}" for key, value in asdict(config).items() if key != "family")
    lines = [f"{name}: {config.title}, {options}{'; merged for inference' if merged else ''}"]
    rows = [[str(number), " + ".join(held) or "-", *_sizes(held)] for number, held in enumerate(parts)]
    header, total = ["block", "adapters", "parameters", "trainable"], ["all", "", *_sizes(nn.ModuleList(parts))]
    left = _aligned([header, *rows, total], words=1)
    for right in _scale_columns(block_scalings(encoder, name)):
        margin = " " * len(left[0])
        lines += [f"{a}   {b}".rstrip() for a, b in zip_longest([margin, *left], right, fillvalue="")]
        left = _aligned([row[:1] for row in [header, *rows]])
    return lines


def _scale_columns(scalings: list[LearnedScaling | ConditionalScaling | None]) -> list[list[str]]:
    """What stands right of the blocks: a caption, a header, and a line per block; once for every few frames."""
    learned = [learned_scale(each).tolist() if isinstance(each, LearnedScaling) else [] for each in scalings]
    frames = max(map(len, learned))
    if frames == 0:
        notes = ["conditional: from the clip" if isinstance(each, ConditionalScaling) else "-" for each in scalings]
        return [["", "scale of the frames", *notes]]
    columns = []
    starts = [0, *range(FRAMES_ABREAST, frames, 2 * FRAMES_ABREAST)]
    for start, end in zip(starts, [*starts[1:], frames], strict=True):
        rows = [[f"{scale:.2f}" for scale in scales[start:end]] or ["-"] * (end - start) for scales in learned]
        columns.append(["scale, 1 + tanh(gamma), of frame", *_aligned([[str(i) for i in range(start, end)], *rows])])
    return columns


def _parts(block: Block, name: str) -> nn.ModuleDict:
    return getattr(block.module, CONTAINER)[name]


def _sizes(module: nn.Module) -> list[str]:
    trainable, total = count_parameters(module)
    return [readable(total), readable(trainable)]


def _counted(parameters: Iterable[nn.Parameter]) -> str:
    total, trainable = _sizes(nn.ParameterList(parameters))
    return f"{total} parameter{'' if total == '1' else 's'}, {trainable} trainable"


def _aligned(rows: list[list[str]], words: int | None = None) -> list[str]:
    """Rows as lines of one length, cells to the right; those of the column `words` to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(widths[i]) if i == words else cell.rjust(widths[i]) for i, cell in enumerate(row))
        for row in rows
    ]
