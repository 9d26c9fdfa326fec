"""Finding the vision encoder of a BLIP by its structure, so that no class name and no import of a model is needed."""

from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Block:
    """The parts of one pre-norm ViT block that an adapter starts from."""

    module: nn.Module
    norm: nn.LayerNorm
    attention: nn.Module
    qkv: nn.Linear
    projection: nn.Linear
    num_heads: int


@dataclass(frozen=True)
class VisionEncoder:
    """A ViT found inside a model: `path` is its name there, `module` the part that takes pixels."""

    path: str
    module: nn.Module
    blocks: tuple[Block, ...]
    embed_dim: int


def find_vision_encoder(model: nn.Module) -> VisionEncoder:
    """Finds the one vision encoder of `model` (which may be the encoder itself).

    Recognised by structure: a module with `embeddings` and with `encoder.layers`, whose layers hold `layer_norm1` and
    `self_attn.{qkv,projection}`. That is transformers' BLIP.

    Raises:
        ValueError: if there is none, or more than one.
    """
    found = [
        VisionEncoder(path, module, blocks, blocks[0].qkv.in_features)
        for path, module in model.named_modules()
        if (blocks := _blocks_of(module))
    ]
    if len(found) != 1:
        names = ", ".join(encoder.path or "the model itself" for encoder in found) or "none"
        raise ValueError(
            "expected a model with exactly one BLIP vision encoder (a ViT whose blocks hold `layer_norm1` and "
            f"`self_attn.qkv`); found {names} in {type(model).__name__}. Pass a transformers BLIP model, or its "
            "`vision_model`."
        )
    return found[0]


def portable_names(model: nn.Module) -> dict[str, str]:
    """The name of each parameter relative to the BLIP itself, whatever that is wrapped in, by its name in `model`."""
    root = find_vision_encoder(model).path.rpartition(".")[0]
    return {name: name.removeprefix(f"{root}.") if root else name for name, _ in model.named_parameters()}


def _blocks_of(module: nn.Module) -> tuple[Block, ...]:
    layers = getattr(getattr(module, "encoder", None), "layers", None)
    if not isinstance(layers, nn.ModuleList) or not hasattr(module, "embeddings"):
        return ()
    blocks = []
    for layer in layers:
        attention: Any = getattr(layer, "self_attn", None)
        qkv, projection = getattr(attention, "qkv", None), getattr(attention, "projection", None)
        if not (isinstance(attention, nn.Module) and qkv is not None and projection is not None):
            return ()
        # peft wraps a Linear it adapts; the weights an adapter starts from are those of the layer inside.
        qkv, projection = getattr(qkv, "base_layer", qkv), getattr(projection, "base_layer", projection)
        norm: Any = layer.layer_norm1
        heads: Any = attention.num_heads
        blocks.append(Block(layer, norm, attention, qkv, projection, heads))
    return tuple(blocks)
