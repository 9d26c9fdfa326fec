"""A model's folder: tensors, and beside them a JSON record of its sizes and of how it came about.

What is written replaces an older file whole; what is read is checked, and named where it does not fit.
"""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from litevl.adapters.aside import file_aside
from litevl.blip import CheckpointError
from litevl.blip.checkpoint import name_some, require_finite, require_weights


def write_text(path: Path, text: str) -> None:
    """Writes a file aside first, so that it is there whole or not at all."""
    with file_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """The same for tensors, as safetensors."""
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with file_aside(path) as aside:
        save_file(whole, aside, metadata={"format": "pt"})


def require_fit(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    """Refuses tensors that are not a model's, all of them and no others.

    Args:
        tensors: as read.
        expected: the model's own.
        path: their file.

    Raises:
        CheckpointError: names those that are missing, unknown, of another shape or type, or not finite.
    """
    wrong = [
        f"{name}: expected {_shape(expected.get(name))}, got {_shape(tensors.get(name))}"
        for name in sorted(expected.keys() | tensors.keys())
        if _shape(expected.get(name)) != _shape(tensors.get(name))
    ]
    if wrong:
        raise CheckpointError(f"{path}: not the tensors of the sizes in the JSON file beside it: {name_some(wrong)}")
    require_weights({name: tensors[name] for name, own in expected.items() if own.is_floating_point()}, str(path))
    require_finite(tensors, str(path))


def _shape(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else str(tuple(tensor.shape))
