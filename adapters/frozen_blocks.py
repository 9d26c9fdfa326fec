"""A plugged vision encoder in two halves: the frozen blocks below its first adapter, and what goes on from there.

Below the first adapter nothing is trained and each frame is seen alone. What comes out depends on the frame and the
backbone only, so that it can be computed once and kept; training and evaluation then cost the upper blocks alone.
"""

import re
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from .adapter import adapter_parameter_names, peft_parameter_names
from .fingerprint import digest_of
from .plugged import require_plugged
from .video_block import adapters_in
from .video_encoder import embed_frames, pack_clips, travelling
from .vision_encoder import VisionEncoder, find_vision_encoder, portable_names


@dataclass(frozen=True)
class FrameFeatures:
    """The frames of clips as they enter a block: what the blocks below made of each, alone."""

    hidden: Float[Tensor, "batch time tokens dim"]
    """In any precision; the block computes in its own."""
    layer: int
    """The block that they enter, counted from 0."""

    @property
    def num_frames(self) -> int:
        """Frames of each clip."""
        return self.hidden.shape[1]

    def __len__(self) -> int:
        return len(self.hidden)


def blocks_below(model: nn.Module) -> int:
    """How many blocks lie below the first one that has an active adapter; all of them where none has.

    Raises:
        ValueError: if the model is not plugged.
    """
    active, blocks = require_plugged(model).active, find_vision_encoder(model).blocks
    adapted = [number for number, block in enumerate(blocks) if adapters_in(block.module, active)]
    return adapted[0] if adapted else len(blocks)


def encode_below(
    model: nn.Module, frames: Float[Tensor, "frames 3 height width"], layer: int
) -> Float[Tensor, "frames tokens dim"]:
    """What the blocks below `layer` make of frames, each alone.

    Args:
        model: plugged.
        frames: preprocessed.
        layer: the block that the frames are brought to.

    Raises:
        ValueError: there are adapters below that block.
    """
    encoder = _cut(model, layer)
    tokens = embed_frames(encoder, frames)
    for block in encoder.blocks[:layer]:
        tokens = block.module(tokens, num_frames=1, adapter=None)
    return tokens


def encode_above(model: nn.Module, features: FrameFeatures) -> Float[Tensor, "batch rows dim"]:
    """Goes on from `encode_below`: the tokens of the clips as the whole encoder gives them, see `pack_video`.

    Raises:
        ValueError: there are adapters below the block that the features enter.
    """
    encoder = _cut(model, features.layer)
    tokens = features.hidden.flatten(0, 1).to(encoder.blocks[0].norm.weight.dtype)
    call = travelling(encoder.module, features.num_frames)
    for block in encoder.blocks[features.layer :]:
        tokens = block.module(tokens, **call)
    return pack_clips(encoder, tokens, call)


def require_frozen_below(model: nn.Module, layer: int) -> None:
    """Checks that what lies below `layer` makes the same of a frame each time, in training as in evaluation.

    Raises:
        ValueError: some of it is trained, or draws at random in training.
    """
    encoder = _cut(model, layer)
    parts = [block.module for block in encoder.blocks[:layer]]
    parts += [getattr(encoder.module, name) for name in ("embeddings", "pos_drop") if hasattr(encoder.module, name)]
    trained = any(parameter.requires_grad for part in parts for parameter in part.parameters())
    if trained or any(map(draws, parts)):
        came = "some that are trained" if trained else "some with dropout or stochastic depth"
        raise ValueError(
            f"expected frozen blocks below block {layer}, the same in training as in evaluation, got {came}; "
            "encode whole clips instead"
        )


def draws(module: nn.Module) -> bool:
    """Whether a module is random in training: dropout, or stochastic depth (`drop_prob`, as in timm)."""
    return any(
        (isinstance(part, nn.Dropout) and part.p > 0) or getattr(part, "drop_prob", None) for part in module.modules()
    )


def fingerprint_below(model: nn.Module, layer: int) -> str:
    """As `fingerprint`, of what `encode_below` computes with: embeddings, with the position table, and lower blocks."""
    encoder = find_vision_encoder(model).module
    parameters = dict(encoder.named_parameters())
    added = adapter_parameter_names(encoder) | peft_parameter_names(encoder)
    stock: dict[str, Tensor] = {}
    for name, portable in portable_names(encoder).items():
        number = re.match(r"vision_model\.encoder\.layers\.(\d+)\.", portable)
        below = int(number[1]) < layer if number else portable.startswith("vision_model.embeddings.")
        if below and name not in added:
            stock[portable.replace(".base_layer.", ".")] = parameters[name]
    return digest_of(stock)


def _cut(model: nn.Module, layer: int) -> VisionEncoder:
    below = blocks_below(model)
    if not 0 <= layer <= below:
        raise ValueError(f"expected a block up to {below}, the first that has an adapter, got {layer}; cut there")
    return find_vision_encoder(model)
