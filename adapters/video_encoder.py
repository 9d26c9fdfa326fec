"""A stock vision encoder that also takes clips: five dimensions in are folded into frames, tokens out packed by clip.

transformers' encoder hands keywords down to its blocks, so two hooks are enough. That of the original BLIP and LAVIS
does not, and some of its callers call `forward_features`; there the way through the blocks is written out for clips.
"""

import logging
from functools import partial
from inspect import Parameter, signature
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .plugged import Plugged, state_of
from .temporal_scaling import LearnedScaling
from .time_embedding import TimeEmbedding
from .vision_encoder import TRANSFORMERS, VisionEncoder

logger = logging.getLogger(__name__)


def require_clips_possible(encoder: VisionEncoder) -> None:
    """Checks that the encoder's library can be made to take clips.

    Raises:
        ValueError: for an encoder of transformers before 5.0, which hands no keywords down to its blocks.
    """
    kinds = {parameter.kind for parameter in signature(type(encoder.module).forward).parameters.values()}
    if encoder.layout is TRANSFORMERS and Parameter.VAR_KEYWORD not in kinds:
        raise ValueError(
            f"expected transformers' BLIP as of transformers 5.0, got an older {type(encoder.module).__name__}, whose "
            "blocks cannot be told the number of frames; upgrade transformers (in an environment without LAVIS, which "
            "needs an older one; LAVIS's own BLIPs can be plugged as they are)"
        )


def take_clips(encoder: VisionEncoder, state: Plugged) -> None:
    """Lets an encoder take clips beside images; what was changed is noted in `state`."""
    module = encoder.module
    if encoder.layout is TRANSFORMERS:
        state.handles.append(module.register_forward_pre_hook(_fold_video, with_kwargs=True))
        state.handles.append(module.register_forward_hook(_pack_output, with_kwargs=True))
        return
    for name in ("forward", "forward_features"):
        if hasattr(module, name):
            state.replaced[name] = module.__dict__.get(name)
            setattr(module, name, partial(_forward_original, module, name, state.replaced[name]))


def take_whole_images_only(encoder: VisionEncoder, state: Plugged) -> None:
    """Takes `take_clips` back."""
    for handle in state.handles:
        handle.remove()
    for name, stock in state.replaced.items():
        delattr(encoder.module, name)
        if stock is not None:
            setattr(encoder.module, name, stock)


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


def travelling(module: nn.Module, num_frames: int) -> dict[str, Any]:
    """What travels with clips through the blocks: their number of frames, and the adapter they run through."""
    state: Plugged = module.litevl_plugged  # type: ignore[assignment]
    _announce_resampling(module, state, num_frames)
    return {"num_frames": num_frames, "adapter": state.active}


def embed_frames(encoder: VisionEncoder, frames: Tensor) -> Tensor:
    """The tokens of frames as they enter block 0: patches and CLS, with their positions."""
    _require_size(encoder.module, frames)
    module: Any = encoder.module
    return module.embeddings(frames) if encoder.layout is TRANSFORMERS else _embed_original(module, frames)


def pack_clips(encoder: VisionEncoder, tokens: Tensor, call: dict[str, Any]) -> Tensor:
    """What comes out of the last block, normed and laid out by clip, as the whole encoder gives it."""
    norm: Any = getattr(encoder.module, encoder.layout.last_norm)
    return pack_video(norm(tokens), call["num_frames"], _cls(encoder.module, call["adapter"]))


def _fold_video(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
    pixels = kwargs["pixel_values"] if "pixel_values" in kwargs else (args[0] if args else None)
    if pixels is None or pixels.ndim == 4:
        return None
    call = _call(module, pixels, bool(kwargs.get("interpolate_pos_encoding")))
    return (), {**kwargs, "pixel_values": pixels.flatten(0, 1), **call}


def _pack_output(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
    num_frames = kwargs.get("num_frames")
    if num_frames is None:
        return None
    tokens, pooled = (
        (output[0], output[1]) if isinstance(output, tuple) else (output.last_hidden_state, output.pooler_output)
    )
    tokens = pack_video(tokens, num_frames, _cls(module, kwargs["adapter"]))
    pooled = pooled.unflatten(0, (-1, num_frames)).mean(dim=1)
    if isinstance(output, tuple):
        return (tokens, pooled, *output[2:])
    output.last_hidden_state, output.pooler_output = tokens, pooled
    return output


def _forward_original(module: Any, name: str, stock: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if x.ndim == 4:
        return getattr(type(module), name)(module, x, *args, **kwargs) if stock is None else stock(x, *args, **kwargs)
    return _encode_clips(module, x, *args, **kwargs)


def _encode_clips(module: Any, x: Tensor, register_blk: int = -1) -> Tensor:
    """The way through the original's encoder, with its own method's parameters."""
    call = _call(module, x, False)
    tokens = _embed_original(module, x.flatten(0, 1))
    for number, block in enumerate(module.blocks):
        tokens = block(tokens, register_hook=register_blk == number, **call)
    return pack_video(module.norm(tokens), call["num_frames"], _cls(module, call["adapter"]))


def _embed_original(module: Any, frames: Tensor) -> Tensor:
    tokens = module.patch_embed(frames)
    tokens = torch.cat([module.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
    return module.pos_drop(tokens + module.pos_embed[:, : tokens.shape[1]])


def _call(module: nn.Module, pixels: Tensor, interpolate: bool) -> dict[str, Any]:
    """What travels with a clip: its number of frames and the adapter it runs through."""
    if pixels.ndim != 5 or pixels.shape[1] == 0 or pixels.shape[2] != 3:
        raise ValueError(
            "expected pixel values of shape (batch, time, 3, height, width) for video or (batch, 3, height, width) for "
            f"images, got {tuple(pixels.shape)}"
        )
    if not interpolate:
        _require_size(module, pixels)
    return travelling(module, pixels.shape[1])


def _require_size(module: nn.Module, pixels: Tensor) -> None:
    # transformers takes a prefix of the position table for smaller frames: wrong positions without an error.
    size = _image_size(module)
    if size and tuple(pixels.shape[-2:]) != size:
        raise ValueError(
            f"expected frames of {size[0]} x {size[1]} pixels, got {pixels.shape[-2]} x {pixels.shape[-1]}; resize "
            "them, load the backbone with image_size=..., or pass interpolate_pos_encoding=True"
        )


def _image_size(module: Any) -> tuple[int, int] | None:
    size = getattr(getattr(module, "config", None), "image_size", None)
    size = size or getattr(getattr(module, "patch_embed", None), "img_size", None)
    return (size, size) if isinstance(size, int) else size


def _announce_resampling(module: nn.Module, state: Plugged, num_frames: int) -> None:
    if state.config is None or torch.compiler.is_compiling():
        return
    trained, key = state.config.num_frames, (str(state.active), num_frames)
    if num_frames == trained or key in state.announced:
        return
    state.announced.add(key)
    if any(isinstance(part, TimeEmbedding | LearnedScaling) for part in module.modules()):
        logger.warning("clips of %d frames: what was learned for %d frames is interpolated", num_frames, trained)


def _cls(module: nn.Module, adapter: str | None) -> Literal["clip", "frame"]:
    state = state_of(module)
    return "frame" if state is None or adapter is None else state.adapters[adapter].cls
