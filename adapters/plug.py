"""Turning a BLIP that takes images into one that also takes video, in place, and back.

`plug` adds adapters as children of the vision encoder's blocks and runs them by hooks; no stock parameter is renamed or
changed. Inside the encoder the layout stays `(batch*time, 1+patches, dim)`. The number of frames travels with the call,
as the keyword `num_frames` that transformers' encoder hands down to each block and each attention: a recomputation
under gradient checkpointing and two clips of different length in one graph each see their own.
"""

import logging
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .adapter import Adapter, describe_trainable, freeze_backbone, named_adapters
from .choices import check_choices
from .clip_cls import ClipCLS, EntryClipCLS
from .temporal_attention import TemporalAttention
from .temporal_scaling import LearnedScaling, Scaling
from .time_embedding import TimeEmbedding
from .vision_encoder import VisionEncoder, find_vision_encoder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiteVLConfig:
    """What is inserted into the vision encoder.

    Raises:
        ValueError: for a number of frames below one or a negative or repeated layer.
    """

    num_frames: int = 8
    """Frames per clip in training. Other numbers work at inference: what is learned per frame is interpolated."""
    layers: Literal["all"] | tuple[int, ...] = "all"
    """Blocks that get temporal attention, counted from 0. No layers at all is BLIP frame by frame."""
    scaling: Scaling = "learned"
    """Dynamic temporal scaling: none, learned per layer and frame (the paper's), or conditional on the clip (ours)."""
    cls: Literal["clip", "frame"] = "clip"
    """One CLS per clip, or one per frame; with `frame` a fresh model is BLIP frame by frame for any clip."""
    time_embedding: Literal["learned", "sinusoidal", "none"] = "learned"
    """How the order of frames is told: a learnable embedding per frame, zeros at the start, added to the patches
    before the first adapted block (TESTA's); or a fixed code, added to what each temporal attention reads (ours)."""

    def __post_init__(self) -> None:
        check_choices(self)
        if self.num_frames < 1:
            raise ValueError(f"num_frames: expected at least 1, got {self.num_frames}")
        if self.layers != "all" and (len(set(self.layers)) != len(self.layers) or min(self.layers, default=0) < 0):
            raise ValueError(f"layers: expected distinct block numbers from 0, or 'all'; got {self.layers}")

    def layer_numbers(self, depth: int) -> tuple[int, ...]:
        """The adapted blocks of an encoder of `depth` blocks, in order.

        Raises:
            ValueError: if a layer is not there.
        """
        layers = tuple(range(depth)) if self.layers == "all" else tuple(sorted(self.layers))
        if layers and layers[-1] >= depth:
            raise ValueError(f"layers: this vision encoder has blocks 0 to {depth - 1}; got {layers[-1]}")
        return layers


@dataclass
class Plugged:
    """What `plug` did to a vision encoder; kept on it so that `unplug` can take all of it back."""

    config: LiteVLConfig
    handles: list[RemovableHandle] = field(default_factory=list)
    frozen_before: dict[str, bool] = field(default_factory=dict)
    announced: set[int] = field(default_factory=set)


def plug(model: nn.Module, config: LiteVLConfig | None = None, *, verbose: bool = True) -> nn.Module:
    """Makes `model` take video beside images, and freezes all of it but the adapters.

    After it, `pixel_values` of shape `(batch, time, 3, height, width)` is video: the encoder's `last_hidden_state` is
    `(batch, 1 + rows, dim)`, row 0 the clip's CLS (see `pack_video`). Four dimensions are images, as ever, bit for bit.

    Args:
        model: a transformers BLIP of any class, or its `vision_model`.
        config: what to insert; `LiteVLConfig()` if not given.
        verbose: print how much is trainable.

    Returns:
        The same object.

    Raises:
        ValueError: if the model has no vision encoder, is plugged already, or a layer does not exist.
    """
    config = config or LiteVLConfig()
    encoder = find_vision_encoder(model)
    if plugged_state(model) is not None:
        raise ValueError("this model is plugged already; call unplug(model) first to insert other adapters")
    state = Plugged(config)
    state.frozen_before = {name: p.requires_grad for name, p in model.named_parameters()}
    _insert(encoder, config)
    module = encoder.module
    state.handles.append(module.register_forward_pre_hook(_fold_video, with_kwargs=True))
    state.handles.append(module.register_forward_hook(_pack_output, with_kwargs=True))
    for path in {name.rpartition(".")[0] for name, _ in named_adapters(module)}:
        parent = module.get_submodule(path)
        state.handles.append(parent.register_forward_pre_hook(_run_before, with_kwargs=True))
        state.handles.append(parent.register_forward_hook(_run_after, with_kwargs=True))
    module.litevl_plugged = state  # type: ignore[assignment]
    freeze_backbone(model)
    if verbose:
        print(describe_trainable(model))
    return model


def unplug(model: nn.Module) -> nn.Module:
    """Takes everything back that `plug` did: the stock model, bit for bit, with its former `requires_grad`.

    Raises:
        ValueError: if the model is not plugged.
    """
    encoder = find_vision_encoder(model)
    state = require_plugged(model)
    for handle in state.handles:
        handle.remove()
    for name, _ in list(named_adapters(encoder.module)):
        parent, _, child = name.rpartition(".")
        delattr(encoder.module.get_submodule(parent), child)
    del encoder.module.litevl_plugged
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(state.frozen_before.get(name, parameter.requires_grad))
    return model


def merge(model: nn.Module) -> nn.Module:
    """Folds FC_t of every temporal attention into its output projection, in place, for inference.

    The outputs stay the same up to rounding. A merged model can no longer be trained or saved as adapters.

    Raises:
        ValueError: if the model is not plugged.
    """
    require_plugged(model)
    for _, adapter in named_adapters(model):
        adapter.merge()
    return model


def plugged_state(model: nn.Module) -> Plugged | None:
    """What `plug` left on the vision encoder of `model`, or None for a stock model."""
    return getattr(find_vision_encoder(model).module, "litevl_plugged", None)


def require_plugged(model: nn.Module) -> Plugged:
    """`plugged_state`, with an error where there is none.

    Raises:
        ValueError: if the model is not plugged.
    """
    state = plugged_state(model)
    if state is None:
        raise ValueError("expected a plugged model, got a stock one; call plug(model, LiteVLConfig(...)) first")
    return state


def pack_video(
    tokens: Float[Tensor, "batch_time tokens dim"], num_frames: int, cls: Literal["clip", "frame"]
) -> Float[Tensor, "batch rows dim"]:
    """Lays the tokens of each frame out as one sequence per clip, row 0 its CLS.

    `clip`: the clip's CLS, then the patches of frame after frame: `1 + time*patches` rows.
    `frame`: the mean of the frames' CLS, then the tokens of frame after frame, each with its CLS:
    `1 + time*(1+patches)` rows; without row 0 that is the memory of BLIP's own video evaluation.
    """
    frames = tokens.unflatten(0, (-1, num_frames))
    if cls == "clip":
        return torch.cat([frames[:, 0, :1], frames[:, :, 1:].flatten(1, 2)], dim=1)
    return torch.cat([frames[:, :, 0].mean(dim=1, keepdim=True), frames.flatten(1, 2)], dim=1)


def _insert(encoder: VisionEncoder, config: LiteVLConfig) -> None:
    layers = config.layer_numbers(len(encoder.blocks))
    first = layers[0] if layers else 0
    for number, block in enumerate(encoder.blocks):
        if number == first and config.cls == "clip" and first > 0:
            block.module.entry_clip_cls = EntryClipCLS()
        if number == first and layers and config.time_embedding == "learned":
            embedding = TimeEmbedding(config.num_frames, encoder.embed_dim)
            block.module.time_embedding = embedding.to(block.qkv.weight)
        if number in layers:
            coded_time = config.time_embedding == "sinusoidal"
            attention = TemporalAttention(block, config.num_frames, config.scaling, coded_time)
            block.module.temporal_attention = attention.to(block.qkv.weight)
        if number >= first and config.cls == "clip":
            block.attention.clip_cls = ClipCLS()


def _fold_video(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
    pixels = kwargs["pixel_values"] if "pixel_values" in kwargs else (args[0] if args else None)
    if pixels is None or pixels.ndim == 4:
        return None
    if pixels.ndim != 5 or pixels.shape[2] != 3 or pixels.shape[1] == 0:
        raise ValueError(
            "expected pixel_values (batch, time, 3, height, width) for video or (batch, 3, height, width) for images; "
            f"got {tuple(pixels.shape)}"
        )
    _check_size(module, pixels, kwargs)
    num_frames = pixels.shape[1]
    _announce_resampling(module, num_frames)
    return (), {**kwargs, "pixel_values": pixels.flatten(0, 1), "num_frames": num_frames}


def _check_size(module: nn.Module, pixels: Tensor, kwargs: dict[str, Any]) -> None:
    # transformers takes a prefix of the position table for smaller frames: wrong positions without an error.
    expected = getattr(getattr(module, "config", None), "image_size", None)
    if expected and tuple(pixels.shape[-2:]) != (expected, expected) and not kwargs.get("interpolate_pos_encoding"):
        raise ValueError(
            f"expected frames of {expected} x {expected} pixels, got {pixels.shape[-2]} x {pixels.shape[-1]}; resize "
            "them, load the backbone with image_size=..., or pass interpolate_pos_encoding=True"
        )


def _announce_resampling(module: nn.Module, num_frames: int) -> None:
    state: Plugged = module.litevl_plugged  # type: ignore[assignment]
    trained = state.config.num_frames
    if num_frames == trained or torch.compiler.is_compiling() or num_frames in state.announced:
        return
    state.announced.add(num_frames)
    per_frame = (TimeEmbedding, LearnedScaling)
    if any(isinstance(part, per_frame) for part in module.modules()):
        logger.warning("clips of %d frames: what was learned for %d frames is interpolated", num_frames, trained)


def _pack_output(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
    num_frames = kwargs.get("num_frames")
    if num_frames is None:
        return None
    state: Plugged = module.litevl_plugged  # type: ignore[assignment]
    tokens, pooled = (
        (output[0], output[1]) if isinstance(output, tuple) else (output.last_hidden_state, output.pooler_output)
    )
    tokens = pack_video(tokens, num_frames, state.config.cls)
    pooled = pooled.unflatten(0, (-1, num_frames)).mean(dim=1)
    if isinstance(output, tuple):
        return (tokens, pooled, *output[2:])
    output.last_hidden_state, output.pooler_output = tokens, pooled
    return output


def _run_before(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
    num_frames = kwargs.get("num_frames")
    if num_frames is None:
        return None
    tokens = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
    for adapter in module.children():
        if isinstance(adapter, Adapter) and adapter.position == "before":
            tokens = adapter(tokens, num_frames)
    if "hidden_states" in kwargs:
        return args, {**kwargs, "hidden_states": tokens}
    return (tokens, *args[1:]), kwargs


def _run_after(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
    num_frames = kwargs.get("num_frames")
    if num_frames is None:
        return None
    tokens = output[0] if isinstance(output, tuple) else output
    for adapter in module.children():
        if isinstance(adapter, Adapter) and adapter.position == "after":
            tokens = adapter(tokens, num_frames)
    return (tokens, *output[1:]) if isinstance(output, tuple) else tokens
