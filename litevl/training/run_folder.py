"""The folder that a run writes: config, metrics, adapters, state and log, and what was printed."""

import json
import math
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, Union

import dacite

from litevl.adapters import FAMILIES, adapter_config
from litevl.adapters.aside import clear_asides, file_aside
from litevl.distributed import gather_objects

from .lock import FolderLock

Config = TypeVar("Config")
Own = TypeVar("Own", bound="RunFolder")
NEUTRAL = (
    *("data.decode_timeout", "data.frame_store", "data.workers", "evaluation.workers"),
    *("training.save_every", "training.timeout"),
)
"""Settings that leave every result as it is: a run may be resumed, or taken for finished, with others of these."""
CONFIG_NAME, METRICS_NAME, LOG_NAME = "config.json", "metrics.json", "log.jsonl"


def new_run_name(recipe: str) -> Path:
    """`runs/<recipe>-<date>-<time>`: a default output folder that no earlier run has, the same on every process."""
    return gather_objects(Path("runs") / f"{recipe}-{datetime.now():%Y%m%d-%H%M%S}")[0]


class RunFolder:
    """A run's folder on disk, locked against other processes until it is closed.

    Used as a context it closes itself. What a killed run left half-written in it is deleted.

    Args:
        path: made if it is not there.
        config: the resolved config, written to `config.json`.
        resume: go on with the run that the folder holds.
        write: False on all processes but the main one, which then neither look nor write.

    Raises:
        FileExistsError: if the folder holds a run and `resume` is not set, or another process is writing to it.
        ValueError: if it holds a run of another config.
    """

    def __init__(self, path: Path, config: Any, resume: bool = False, *, write: bool = True):
        self.path, self.write = path, write
        if not write:
            return
        path.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(path)
        try:
            self._claim(config, resume)
        except BaseException:
            self.close()
            raise

    def _claim(self, config: Any, resume: bool) -> None:
        path = self.path
        stored = path / CONFIG_NAME
        if stored.is_file() and not resume:
            raise FileExistsError(
                f"{path}: holds a run already; resume it with --resume, or choose another --output-dir"
            )
        mine = to_json(config)
        if stored.is_file():
            other = to_json(read_config(type(config), path))
            for key in ("resume", "output_dir"):
                mine.pop(key, None), other.pop(key, None)
            if changes := not_neutral(describe_changes(other, mine)):
                raise ValueError(f"{path}: holds a run with another config: {'; '.join(changes)}")
        clear_asides(path)
        if not stored.is_file():
            self.write_json(CONFIG_NAME, mine)

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the folder free for other runs."""
        if self.write:
            self._lock.release()

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file, whole or not at all, on the main process."""
        if self.write:
            with file_aside(self.path / name) as aside:
                aside.write_text(json.dumps(to_json(value), indent=2) + "\n", encoding="utf-8")

    def log(self, record: dict[str, Any]) -> None:
        """Appends one line to `log.jsonl`, on the main process."""
        if self.write:
            with (self.path / LOG_NAME).open("a", encoding="utf-8") as file:
                file.write(json.dumps(to_json(record)) + "\n")

    def rewind_log(self, step: int) -> None:
        """Takes out of the log what came after a step, which a run that goes on from there does, and logs, again."""
        path = self.path / LOG_NAME
        if not self.write or not path.is_file():
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if _step_of(line) <= step]
        if kept != lines:
            with file_aside(path) as aside:
                aside.write_text("".join(kept), encoding="utf-8")


def _step_of(line: str) -> float:
    # A line that was not written to its end is after all others.
    try:
        return float(json.loads(line)["step"]) if line.endswith("\n") else math.inf
    except ValueError:
        return math.inf


def read_json(path: Path) -> Any:
    """Reads a JSON file of a run folder.

    Raises:
        ValueError: if it is not there or not JSON; the message names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: expected a JSON file of a finished run; {error}") from error


def read_config(kind: type[Config], folder: Path) -> Config:
    """The config that a run folder was made with, as the recipe's dataclass.

    Raises:
        ValueError: the file is not there, or holds what the dataclass does not.
    """
    stored = read_json(folder / CONFIG_NAME)
    try:
        return from_json(kind, stored)
    except ValueError as error:
        raise ValueError(
            f"{folder / CONFIG_NAME}: not a config of this recipe and version ({error}); give the folder to the recipe "
            "that made it"
        ) from error


def from_json(kind: type[Config], stored: Any) -> Config:
    """A config as JSON keeps it, as its dataclass.

    Raises:
        ValueError: it holds what the dataclass does not, or values of other types.
    """
    if not isinstance(stored, dict):
        raise ValueError(f"expected an object, got {stored!r:.80}")
    hooks: Any = {Union[tuple(FAMILIES.values())]: adapter_config}  # noqa: UP007 - made from a tuple
    try:
        return dacite.from_dict(kind, stored, dacite.Config(cast=[Path, tuple], strict=True, type_hooks=hooks))
    except dacite.DaciteError as error:
        raise ValueError(str(error)) from error


def describe_changes(before: Any, after: Any, name: str = "") -> list[str]:
    """Lines such as ``evaluation.k: 128 -> 16`` for every value that differs; a last digit does not."""
    before, after = to_json(before), to_json(after)
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        return [
            line
            for key in keys
            for line in describe_changes(before.get(key), after.get(key), f"{name}.{key}" if name else key)
        ]
    if isinstance(before, float) and isinstance(after, float) and math.isclose(before, after, rel_tol=1e-6):
        return []
    return [] if before == after else [f"{name}: {before} -> {after}"]


def not_neutral(changes: list[str]) -> list[str]:
    """Of the lines of `describe_changes`, those of settings that change results."""
    return [line for line in changes if line.partition(":")[0] not in NEUTRAL]


def to_json(value: Any) -> Any:
    """Dataclasses, paths and tuples as what JSON holds."""
    if is_dataclass(value) and not isinstance(value, type):
        return to_json(asdict(value))
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return str(value) if isinstance(value, Path) else value
