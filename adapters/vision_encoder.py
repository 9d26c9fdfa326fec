"""Finding the vision encoder of a BLIP by its structure, so that no class name and no import of a model is needed.

Two layouts are known: that of transformers, and that of Salesforce's original BLIP and of LAVIS. Both are pre-norm ViTs
with the same weights under other names.
"""

import re
from dataclasses import dataclass
from typing import Any

from torch import nn

from .adapter import CONTAINER


@dataclass(frozen=True)
class Layout:
    """What one library calls the parts of a ViT: the list of blocks, and what each block holds."""

    blocks: str
    norm1: str
    attention: str
    projection: str
    norm2: str
    last_norm: str
    markers: tuple[str, ...]
    """What else the encoder must hold to be taken for one of this layout."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Patterns that turn names of its parameters into transformers' names."""

    def matches(self, module: nn.Module) -> bool:
        """Whether `module` is a vision encoder of this layout."""
        if not all(hasattr(module, name) for name in self.markers):  # nearly every module: models are searched often
            return False
        blocks = _get(module, self.blocks)
        wanted = (self.norm1, f"{self.attention}.qkv", f"{self.attention}.{self.projection}", self.norm2, "mlp")
        return (
            isinstance(blocks, nn.ModuleList)
            and len(blocks) > 0
            and all(_get(block, name) is not None for block in blocks for name in wanted)
        )


TRANSFORMERS = Layout(
    blocks="encoder.layers",
    norm1="layer_norm1",
    attention="self_attn",
    projection="projection",
    norm2="layer_norm2",
    last_norm="post_layernorm",
    markers=("embeddings", "post_layernorm"),
)
ORIGINAL = Layout(
    blocks="blocks",
    norm1="norm1",
    attention="attn",
    projection="proj",
    norm2="norm2",
    last_norm="norm",
    markers=("patch_embed", "cls_token", "pos_embed", "pos_drop", "norm"),
    renamed=(
        (r"^cls_token$", "embeddings.class_embedding"),
        (r"^pos_embed$", "embeddings.position_embedding"),
        (r"^patch_embed\.proj\.", "embeddings.patch_embedding."),
        (r"^norm\.", "post_layernorm."),
        (r"^(blocks\.\d+)\.norm([12])\.", r"\1.layer_norm\2."),
        (r"^(blocks\.\d+)\.attn\.proj\.", r"\1.self_attn.projection."),
        (r"^(blocks\.\d+)\.attn\.", r"\1.self_attn."),
        (r"^blocks\.", "encoder.layers."),
    ),
)


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
    layout: Layout
    momentum: "VisionEncoder | None" = None
    """The slowly moving copy of it that BLIP's training keeps beside it (`visual_encoder_m`)."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Its blocks, in order."""
        return tuple(_block(module, self.layout) for module in _get(self.module, self.layout.blocks))

    @property
    def embed_dim(self) -> int:
        """Width of its tokens."""
        return self.blocks[0].qkv.in_features


def find_vision_encoder(model: nn.Module) -> VisionEncoder:
    """Finds the one vision encoder of `model` (which may be the encoder itself), with its momentum copy if it has one.

    Recognised by structure, in transformers' layout (`encoder.layers` of `self_attn.{qkv,projection}`) or in that of
    the original BLIP and LAVIS (`blocks` of `attn.{qkv,proj}`).

    Raises:
        ValueError: if there is none, or more than one.
    """
    found = {
        path: VisionEncoder(path, module, layout)
        for path, module in model.named_modules()
        for layout in (TRANSFORMERS, ORIGINAL)
        if layout.matches(module)
    }
    copies = {path: found.pop(f"{path}_m") for path in list(found) if f"{path}_m" in found}
    if len(found) != 1:
        names = ", ".join(path or "the model itself" for path in found) or "none"
        raise ValueError(
            "expected a model with exactly one BLIP vision encoder (a ViT whose blocks hold `self_attn.qkv`, or "
            f"`attn.qkv` as in LAVIS and the original BLIP); found {names} in {type(model).__name__}. Pass a "
            "transformers or LAVIS BLIP model, or its vision encoder."
        )
    ((path, encoder),) = found.items()
    return VisionEncoder(path, encoder.module, encoder.layout, copies.get(path))


def portable_names(model: nn.Module) -> dict[str, str]:
    """What transformers' BLIP calls each parameter of `model`, whatever that is wrapped in, by its name in `model`.

    Adapters are named by the module they act on, without the name they were plugged in under. Momentum copies, which
    belong to the training of the original BLIP and not to the model, are left out.
    """
    encoder = find_vision_encoder(model)
    root, _, own = encoder.path.rpartition(".")
    names = {}
    for name, _ in model.named_parameters():
        relative = name.removeprefix(f"{root}.") if root else name
        if re.match(r"\w+_m\.", relative) or relative == "temp":
            continue
        if not own or relative.startswith(f"{own}."):
            inside = relative.removeprefix(f"{own}.") if own else relative
            relative = f"vision_model.{_in_encoder(inside, encoder.layout)}"
        names[name] = re.sub(rf"\.{CONTAINER}\.[^.]+\.", ".", relative)
    return names


def _in_encoder(name: str, layout: Layout) -> str:
    for pattern, replacement in layout.renamed:
        name = re.sub(pattern, replacement, name)
    return name


def _block(module: nn.Module, layout: Layout) -> Block:
    attention: Any = getattr(module, layout.attention)
    qkv, projection = attention.qkv, getattr(attention, layout.projection)
    # peft wraps a Linear it adapts; the weights an adapter starts from are those of the layer inside.
    qkv, projection = getattr(qkv, "base_layer", qkv), getattr(projection, "base_layer", projection)
    norm: Any = getattr(module, layout.norm1)
    return Block(module, norm, attention, qkv, projection, attention.num_heads)


def _get(module: nn.Module, path: str) -> Any:
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found
