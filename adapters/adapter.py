"""The one truth for "is an adapter": freezing, counting, saving, optimizer groups and unplugging all ask this class."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from torch import nn


class Adapter(nn.Module):
    """A module that was added to a backbone and that the backbone can do without.

    A subclass that runs inside the vision encoder is a child of the module it acts on and implements
    `forward(tokens, num_frames) -> tokens` on tokens `(batch*time, 1+patches, dim)`, CLS first. It is called for video
    only. `position` says when:

    - ``"before"``: on the input of its parent (temporal attention before the block);
    - ``"after"``: on the output of its parent (the clip's CLS after the spatial attention).

    Adapters that belong to a task model rather than to the encoder (heads, temperature) are never called by a hook.
    """

    position: ClassVar[Literal["before", "after"]] = "before"

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


def freeze_backbone(model: nn.Module) -> None:
    """Makes the adapters of `model` trainable and nothing else."""
    adapters = adapter_parameter_names(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in adapters)


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
    return f"trainable {_readable(trainable)} of {_readable(total)} ({100 * trainable / max(total, 1):.1f}%)"


def _readable(count: int) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)
