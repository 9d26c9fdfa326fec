"""The temporal scales as a heat map: how much each block uses its temporal attention in each frame."""

import math
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from litevl.adapters import find_vision_encoder, plugged_state
from litevl.adapters.describe import block_scalings, learned_scale
from litevl.adapters.temporal_scaling import ConditionalScaling, LearnedScaling

from .figure import COLOURS, add_colours, around_one, looked_at, new_figure

if TYPE_CHECKING:
    import matplotlib.figure


def plot_scales(
    model: nn.Module, name: str | None = None, clip: Float[Tensor, "time 3 height width"] | None = None
) -> "matplotlib.figure.Figure":
    """Draws the scale of every block (rows) and frame (columns), with its value.

    Args:
        model: a plugged BLIP, or a task model around one.
        name: the adapter's; by default the active one.
        clip: a preprocessed clip, to draw the scales that it gets: the only ones that conditional scaling has, and
            interpolated ones where a clip has another number of frames than the adapter was trained with.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is no such adapter, it has no scaling, or a clip is needed or cannot be run through it.
    """
    values = block_scales(model, name, clip)
    blocks, frames = values.shape
    figure = new_figure(max(6.4, 2.2 + 0.62 * frames), max(3.2, 1.4 + 0.36 * blocks))
    axes: Any = figure.subplots()
    axes.set_facecolor("0.93")
    limits = around_one(values)
    image = axes.imshow(values.numpy(), cmap=COLOURS, aspect="auto", **limits)
    for block in range(blocks):
        for frame in range(frames):
            value = values[block, frame].item()
            colour = "white" if abs(value - 1) > 0.7 * (limits["vmax"] - 1) else "black"
            text = "-" if math.isnan(value) else f"{value:.2f}"
            axes.text(frame, block, text, ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(frames))
    axes.set_yticks(range(blocks))
    axes.tick_params(length=0)
    axes.set_xlabel("frame of a clip" if clip is None else "frame of the given clip")
    axes.set_ylabel("block of the vision encoder")
    axes.set_title("How much each block uses its temporal attention")
    add_colours(figure, image, axes, "temporal scale\n0 = not at all, 1 = as before training")
    return figure


def block_scales(
    model: nn.Module, name: str | None = None, clip: Float[Tensor, "time 3 height width"] | None = None
) -> Float[Tensor, "blocks frames"]:
    """The values that `plot_scales` draws; NaN in blocks without scaling.

    Raises:
        ValueError: there is no such adapter, it has no scaling, or a clip is needed or cannot be run through it.
    """
    encoder, state = find_vision_encoder(model), plugged_state(model)
    held, active = ({}, None) if state is None else (state.adapters, state.active)
    name = name or active
    if name is None or name not in held:
        listed = ", ".join(map(repr, held)) or "none, a stock model"
        raise ValueError(f"name: expected one of the model's adapters ({listed}); got {name!r}")
    scalings = {block: each for block, each in enumerate(block_scalings(encoder, name)) if each is not None}
    if not scalings:
        raise ValueError(f"expected an adapter with temporal scaling; {name!r} is {held[name]}")
    if clip is not None:
        if name != active:
            raise ValueError(f"a clip runs through the active adapter, {active!r}; call set_adapter(model, {name!r})")
        found = _scales_of_clip(encoder.module, scalings, clip)
    else:
        found = {block: learned_scale(each) for block, each in scalings.items() if isinstance(each, LearnedScaling)}
        if not found:
            raise ValueError(f"the scales of {name!r} are conditional on the clip; pass clip=...")
    values = torch.full((len(encoder.blocks), len(next(iter(found.values())))), torch.nan)
    for block, scale in found.items():
        values[block] = scale.float().cpu()
    return values


def _scales_of_clip(
    encoder: nn.Module, scalings: dict[int, LearnedScaling | ConditionalScaling], clip: Tensor
) -> dict[int, Tensor]:
    found: dict[int, Tensor] = {}
    handles = [
        scaling.register_forward_hook(lambda _, args, scale, block=block: found.update({block: scale[0]}))
        for block, scaling in scalings.items()
    ]
    weight = next(encoder.parameters())
    try:
        with looked_at(encoder):
            encoder(clip[None].to(weight))
    finally:
        for handle in handles:
            handle.remove()
    return found
