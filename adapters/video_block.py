"""A stock block that also takes the frames of clips: its two halves written out once, with the adapters in between.

For images the stock `forward` runs. How many frames a clip has, and which adapter it runs through, come with the call:
a recomputation under gradient checkpointing, and two clips of different length in one graph, each see their own.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from .adapter import CONTAINER, Adapter, Position
from .spatial_attention import attend
from .vision_encoder import Layout


def take_video(block: nn.Module, layout: Layout) -> None:
    """Lets a block of `layout` take frames beside images."""
    stock = block.__dict__.get("forward")  # what an offloading or checkpointing library put there
    block.forward = partial(_forward, block, layout, stock)


def take_images_only(block: nn.Module) -> None:
    """Takes `take_video` back."""
    stock = block.__dict__.pop("forward").args[2]
    if stock is not None:
        block.forward = stock


def _forward(
    block: Any,
    layout: Layout,
    stock: Callable | None,
    *args: Any,
    num_frames: int | None = None,
    adapter: str | None = None,
    **kwargs: Any,
) -> Any:
    if num_frames is None:
        return type(block).forward(block, *args, **kwargs) if stock is None else stock(*args, **kwargs)
    tokens = kwargs.pop("hidden_states") if "hidden_states" in kwargs else args[0]
    run = partial(_video_forward, block, layout, adapters_in(block, adapter), num_frames=num_frames, options=kwargs)
    return block._gradient_checkpointing_func(run, tokens) if _checkpoints(block) else run(tokens)


def _checkpoints(block: Any) -> bool:
    """Whether the stock `forward`, for which this one stands, would recompute itself in the backward pass.

    transformers 5.23 does it there; 5.17 still does it in the layer's `__call__`, which runs in any case.
    """
    asked = getattr(block, "gradient_checkpointing", False) and block.training
    return asked and type(block).__call__ is nn.Module.__call__


def _video_forward(
    block: Any, layout: Layout, adapters: list[Adapter], tokens: Tensor, *, num_frames: int, options: dict[str, Any]
) -> Tensor:
    def run(position: Position, hidden: Tensor) -> Tensor:
        for adapter in adapters:
            if adapter.position == position:
                hidden = adapter(hidden, num_frames)
        return hidden

    def drop_path(residual: Tensor) -> Tensor:
        if not hasattr(block, "drop_path"):
            return residual
        # Stochastic depth drops samples: whole clips, not single frames, whose CLS would then differ.
        return block.drop_path(residual.unflatten(0, (-1, num_frames))).flatten(0, 1)

    tokens = run("before block", tokens)
    normed = run("before attention", getattr(block, layout.norm1)(tokens))
    attended = attend(getattr(block, layout.attention), layout, normed, options)
    tokens = run("before mlp", tokens + drop_path(run("after attention", attended)))
    normed = getattr(block, layout.norm2)(tokens)
    residual = block.mlp(normed)
    for adapter in adapters:
        if adapter.position == "beside mlp":
            residual = residual + adapter(normed, num_frames)
    return tokens + drop_path(residual)


def adapters_in(block: nn.Module, name: str | None) -> list[Adapter]:
    """The adapters of a plugged block under a name, in their order."""
    container: Any = getattr(block, CONTAINER, None)
    return list(container[name].values()) if container is not None and name in container else []
