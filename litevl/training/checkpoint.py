"""The resumable state of a run: what is trained, the optimizer, where the run stands; no frozen weights.

Sharded tensors are gathered, so a run can be resumed by another number of processes, sharded or not.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from litevl.adapters.aside import file_aside

from .sharding import sharded_like, whole

STATE_NAME = "state.pt"


@dataclass
class Progress:
    """Where a run stands: `batch` batches into `epoch`, `step` steps and `seconds` in all, the best score so far.

    An epoch of which every batch is done, and which is not yet the next one, waits for its evaluation.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Videos that could not be read so far, and why."""
    processes: int = 1
    """How many share each step; others draw other dropout and add up in another order."""


def save_state(
    folder: Path, objective: nn.Module, optimizer: Optimizer, progress: Progress, accelerator: Accelerator
) -> None:
    """Writes the state aside and renames it, so that an interrupted or failed save leaves the one before whole."""
    # Every process takes part in gathering what is sharded.
    tensors = {name: whole(value.detach()) for name, value in _moving_tensors(objective).items()}
    moments = optimizer.state_dict()
    kept = {number: {key: whole(value) for key, value in own.items()} for number, own in moments["state"].items()}
    if not accelerator.is_main_process:
        return
    scaler = accelerator.scaler
    state = {
        "tensors": {name: value.cpu() for name, value in tensors.items()},
        "optimizer": {**moments, "state": kept},
        "scaler": scaler.state_dict() if scaler is not None else {},
        "progress": asdict(progress),
    }
    with file_aside(folder / STATE_NAME) as aside, aside.open("wb") as file:
        torch.save(state, file)


def load_state(folder: Path, objective: nn.Module, optimizer: Optimizer, accelerator: Accelerator) -> Progress:
    """Puts a saved state back.

    Raises:
        FileNotFoundError: if the folder holds none.
        ValueError: if it is damaged, or its tensors are not those of this run.
    """
    path = folder / STATE_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no saved state to resume from; start the run without --resume")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (EOFError, OSError, RuntimeError, UnpicklingError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{path}: expected a state that a run has saved, got a damaged file ({why}); delete it, and --resume "
            "trains from the start"
        ) from error
    if not isinstance(state, dict) or not {"tensors", "optimizer", "scaler", "progress"} <= state.keys():
        raise ValueError(
            f"{path}: expected a state that a run has saved, got something else; delete it, and --resume trains from "
            "the start"
        )
    own = _moving_tensors(objective)
    if differing := sorted(own.keys() ^ state["tensors"].keys()):
        raise ValueError(f"{path}: saved by another configuration; these tensors differ: {', '.join(differing[:5])}")
    with torch.no_grad():
        for name, value in state["tensors"].items():
            own[name].copy_(sharded_like(value, own[name]))
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, moments in state["optimizer"]["state"].items():
        for key, value in moments.items():
            if value.ndim:  # not the count of steps
                moments[key] = sharded_like(value, parameters[number])
    optimizer.load_state_dict(state["optimizer"])
    if accelerator.scaler is not None:
        accelerator.scaler.load_state_dict(state["scaler"])
    return Progress(**state["progress"])


def _moving_tensors(objective: nn.Module) -> dict[str, Tensor]:
    """Everything that training changes: trainable parameters, and the objective's buffers (momentum, queue)."""
    trainable = {name: p for name, p in objective.named_parameters() if p.requires_grad}
    buffers = {name: b for name, b in objective.named_buffers() if name.partition(".")[0] != "model"}
    return {**trainable, **buffers}
