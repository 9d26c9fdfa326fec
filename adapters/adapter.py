"""The one truth for "is an adapter": freezing, counting, saving, optimizer groups and unplugging all ask this class."""

from collections.abc import Iterator
from typing import Literal

from torch import nn

Position = Literal["before block", "before attention", "after attention", "before mlp", "beside mlp"]

CONTAINER = "litevl"
"""The child of a block that holds its adapters: a ModuleDict by adapter name, of ModuleDicts by part."""


class Adapter(nn.Module):
    """A module that was added to a backbone and that the backbone can do without.

    A subclass that runs inside the vision encoder implements `forward(tokens, num_frames) -> tokens` on tokens
    `(batch*time, 1+patches, dim)`, CLS first, and is called for video only. `position` says where in its block:

    - ``"before block"``: on the block's input (temporal attention);
    - ``"before attention"``: on the normed tokens that the spatial attention reads;
    - ``"after attention"``: on the spatial attention's residual (the clip's CLS);
    - ``"before mlp"``: on the tokens between the two halves of the block;
    - ``"beside mlp"``: on the normed tokens that the MLP reads; what comes out is added to the MLP's residual.

    Adapters that belong to a task model rather than to the encoder (heads, temperature) are never called by a block.
    """

    position: Position = "before block"

    def merge(self) -> None:
        """Folds what can be folded for inference, in place. Most adapters have nothing to fold."""


def named_adapters(model: nn.Module) -> Iterator[tuple[str, Adapter]]:
    """Yields the outermost adapters of `model` with their names, in the order of the module tree."""

    def walk(module: nn.Module, name: str) -> Iterator[tuple[str, Adapter]]:
        for child_name, child in module.named_children():
            path = f"{name}.{child_name}" if name else child_name
            if isinstance(child, Adapter):
                yield path, child
            else:
                yield from walk(child, path)

    yield from walk(model, "")


def adapter_parameter_names(model: nn.Module) -> set[str]:
    """The names, as in `model.named_parameters()`, of every parameter that an adapter holds."""
    return {f"{name}.{key}" for name, module in named_adapters(model) for key, _ in module.named_parameters()}


def peft_parameter_names(model: nn.Module) -> set[str]:
    """The names of every parameter that peft put into `model`.

    A layer that peft wraps keeps the stock layer as `base_layer`; everything beside that is peft's.
    """
    return {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if hasattr(module, "base_layer")
        for name, _ in module.named_parameters()
        if not name.startswith("base_layer.")
    }


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Counts parameters.

    Returns:
        The trainable and the total number of scalars; a tensor shared by two modules counts once.
    """
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


def describe_trainable(model: nn.Module) -> str:
    """One line such as ``trainable 35.5M of 259.3M (13.7%)``."""
    trainable, total = count_parameters(model)
    return f"trainable {readable(trainable)} of {readable(total)} ({100 * trainable / max(total, 1):.1f}%)"


def readable(count: int) -> str:
    """A count as ``35.5M``, ``249.1k`` or ``12``."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)
