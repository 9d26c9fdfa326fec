"""Read the tensors of a checkpoint file without ever running code that the file carries.

A `.pth` is a pickle, and a pickle can run any program. So files are read with
`torch.load(weights_only=True)` or as safetensors, and everything that is not plain tensors under plain
names is refused with an error that names the file and the way out. So is a file that would take more memory than
disk: one that is packed, or whose tensors claim more numbers than it holds.
"""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt")
SUFFIXES = (*PICKLE_SUFFIXES, ".safetensors")
WRAPPERS = ("model", "state_dict")
# What weights are kept in. Others are packed (int8, 4 bits), and mean nothing without the scales beside them.
WEIGHT_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
# Put in front of every key by DistributedDataParallel and by torch.compile.
WRAPPER_PREFIXES = ("module.", "_orig_mod.")


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; says what was expected, what came, and what to do."""


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read every tensor of one checkpoint file, on the CPU and in the file's own precision.

    Args:
        path: A `.safetensors` file, or a `.pth`, `.pt`, `.bin` or `.ckpt` written by `torch.save`, with its
            tensors at the top level or under `model` or `state_dict` (as Salesforce, LAVIS and Lightning write).

    Returns:
        Names to tensors. A `module.` or `_orig_mod.` in front of every name is taken off.

    Raises:
        CheckpointError: The file is missing, truncated, not of these formats, would run code when unpickled,
            holds something other than tensors, or tensors larger than itself.
    """
    path = Path(path)
    if not path.is_file():
        came = "a folder" if path.is_dir() else "nothing"
        raise CheckpointError(f"expected a checkpoint file at {path}, found {came}; check the path")
    if path.suffix not in SUFFIXES:
        raise CheckpointError(
            f"{path}: expected a file ending in one of {', '.join(SUFFIXES)}, got {path.suffix or 'no suffix'!r}; "
            "rename it if it is one of these formats"
        )
    _refuse_what_is_not_weights(path)
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if not tensors:
        raise CheckpointError(f"{path}: expected tensors, the file holds none; save the model's state_dict()")
    for prefix in WRAPPER_PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def require_finite(tensors: Mapping[str, Tensor], origin: str) -> None:
    """Refuse weights with NaN or infinity in them: every score they give is NaN or meaningless.

    Args:
        tensors: Names to tensors, as they will be used (after a cast, which may itself overflow).
        origin: Where they come from, named in the error.

    Raises:
        CheckpointError: Names the first of the tensors that are not finite, and how many there are.
    """
    broken = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not _is_finite(tensor)]
    if broken:
        dtype = str(tensors[broken[0]].dtype).removeprefix("torch.")
        raise CheckpointError(
            f"{origin}: expected finite weights, got NaN or infinity in {len(broken)} of {len(tensors)} tensors "
            f"(as {dtype}), the first of them: {name_some(broken)}; take an earlier checkpoint of that run, "
            "or load in a wider dtype if the file itself is sound"
        )


def _is_finite(tensor: Tensor) -> bool:
    # A finite sum proves every term finite, and needs no mask of the tensor's size: seconds less on a whole BLIP.
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def require_weights(tensors: Mapping[str, Tensor], origin: str) -> None:
    """Refuse numbers that a cast to floating point would turn into other weights without a word.

    Args:
        tensors: Those that become parameters, as the file has them.
        origin: Where they come from, named in the error.

    Raises:
        CheckpointError: Names those that are integers, truth values or complex.
    """
    others = [
        f"{name} ({str(tensor.dtype).removeprefix('torch.')})"
        for name, tensor in tensors.items()
        if tensor.dtype not in WEIGHT_DTYPES
    ]
    if others:
        raise CheckpointError(
            f"{origin}: expected weights in float32, float16, bfloat16 or float64, got {len(others)} of "
            f"{len(tensors)} in another type: {name_some(others)}; take the checkpoint before it was quantised"
        )


def name_some(names: list[str] | tuple[str, ...], limit: int = 5) -> str:
    """Write a list of keys for an error message: the first few by name, the rest counted."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def in_one_line(error: Exception, limit: int = 300) -> str:
    """What an error of another library says, for the middle of a message of ours."""
    return " ".join(str(error).split())[:limit] or type(error).__name__


def _refuse_what_is_not_weights(path: Path) -> None:
    """Name the two files most often saved under a checkpoint's name: a git-lfs pointer and a web page."""
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise CheckpointError(f"{path}: expected a checkpoint, the file is empty; download it again")
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path}: expected weights, got a git-lfs pointer; run `git lfs pull` there")
    if head.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        raise CheckpointError(f"{path}: expected weights, got a web page; download the file itself")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path, device="cpu")
    except Exception as error:
        raise CheckpointError(
            f"{path}: expected a whole safetensors file, reading it failed ({error}); "
            f"it has {path.stat().st_size:,} bytes: if that is less than at its source, copy it again"
        ) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    _refuse_packed(path)
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Without a cause: torch's own message advises to load with weights_only=False.
        raise CheckpointError(_describe_pickle_failure(path, error)) from None
    tensors = _unwrap(path, payload)
    odd = [f"{name} ({kind})" for name, tensor in tensors.items() if (kind := _oddity(tensor))]
    if odd:
        raise CheckpointError(
            f"{path}: expected plain tensors with all their numbers in the file, got {len(odd)} others: "
            f"{name_some(odd)}; save the model's state_dict() with each tensor made contiguous()"
        )
    return tensors


def _refuse_packed(path: Path) -> None:
    """Refuse a zip that unpacks to more than its size, as torch.save's never does: it may be a thousand times more."""
    try:
        with zipfile.ZipFile(path) as file:
            unpacked = sum(entry.file_size for entry in file.infolist())
    except Exception:  # no zip, or a damaged one, which torch.load says
        return
    if unpacked > path.stat().st_size:
        raise CheckpointError(
            f"{path}: expected a file written by torch.save, which is not packed; this one has "
            f"{path.stat().st_size:,} bytes and unpacks to {unpacked:,}; do not trust it, or unpack it and save it anew"
        )


def _oddity(tensor: Tensor) -> str | None:
    """What keeps a tensor from being plain numbers that its file holds, or None."""
    if tensor.is_meta:
        return "without numbers"
    if tensor.is_nested or tensor.is_quantized or tensor.layout is not torch.strided:
        return "nested" if tensor.is_nested else "quantised" if tensor.is_quantized else "sparse"
    held = tensor.untyped_storage().nbytes()
    claimed = tensor.numel() * tensor.element_size()
    return f"of {claimed:,} bytes, {held:,} in the file" if claimed > held else None


def _describe_pickle_failure(path: Path, error: Exception) -> str:
    try:
        found = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:
        # The listing reads zip files only; for an older pickle torch's message names the first offender.
        found = re.findall(r"GLOBAL ([\w.]+)", str(error))
    if found:
        return (
            f"{path}: expected tensors only, but the pickle asks for Python objects ({name_some(found)}); "
            "it was not run. If you trust the file, save its weights alone where it was made: "
            f"`checkpoint = torch.load({path.name!r}, map_location='cpu', weights_only=False); "
            "torch.save({'model': checkpoint['model']}, 'weights.pth')` (drop ['model'] if there is no such entry), "
            "and load weights.pth"
        )
    reason = "not a pickle of tensors" if isinstance(error, pickle.UnpicklingError) else _first_line(error)
    return (
        f"{path}: expected a whole file written by torch.save, reading it failed ({reason}); "
        f"it has {path.stat().st_size:,} bytes: if that is less than at its source, copy it again"
    )


def _unwrap(path: Path, payload: Any) -> dict[str, Tensor]:
    where = ""
    for wrapper in WRAPPERS:
        if isinstance(payload, Mapping) and isinstance(payload.get(wrapper), Mapping):
            payload, where = payload[wrapper], f" under {wrapper!r}"
            break
    if not isinstance(payload, Mapping):
        raise CheckpointError(
            f"{path}: expected a state dict (names to tensors), alone or under 'model' or 'state_dict', "
            f"got {type(payload).__name__}; save the model's state_dict()"
        )
    others = [f"{name} ({type(value).__name__})" for name, value in payload.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(
            f"{path}: expected only tensors{where}, got {len(others)} other entries: {name_some(others)}; "
            "save the model's state_dict() alone or under 'model'"
        )
    return {str(name): tensor for name, tensor in payload.items()}


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
