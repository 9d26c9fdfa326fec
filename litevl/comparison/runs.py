"""Run folders to compare: found by name, pattern or parent folder, and read."""

import glob
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litevl.training.run_folder import CONFIG_NAME, LOG_NAME, METRICS_NAME, read_json

from .metrics import ComparedTask, Results, task_of

BEFORE_TASKS = ("pre-training", "VQ tokenizer")
"""What is no task of its own, but what a model was trained on before."""
PRETRAINING = "mvm_target"
"""Key of a pre-training's protocol; the first version called the task of these runs retrieval."""
ANSWER_FILES = ("adapter_config.json", "evilm.json")
"""What was trained is described in one of them, with the list of answers."""


@dataclass(frozen=True)
class Run:
    """A finished run: its config and its metrics."""

    folder: Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    name: str | None = None
    """What the user calls it."""

    @property
    def protocol(self) -> dict[str, Any]:
        """What results were measured by."""
        return self.metrics["protocol"]

    @property
    def trained(self) -> tuple[str, Results] | None:
        """What was trained, by its title, with its results: the last; None for a run that trained nothing."""
        if self.config.get("training", {}).get("epochs") == 0:
            return None
        return list(self.metrics["results"].items())[-1]

    @property
    def untrained(self) -> dict[str, Results]:
        """What the run started from, by name: the frozen backbone frame by frame, or a model only pre-trained."""
        return {name: each for name, each in self.metrics["results"].items() if (name, each) != self.trained}

    @property
    def task(self) -> ComparedTask:
        """The task, by what its results hold."""
        found = task_of(next(iter(self.metrics["results"].values())))
        assert found is not None, "checked when it was read"
        return found

    @property
    def answers(self) -> list[str] | None:
        """The list of answers, where it was saved with the model."""
        files = [self.folder / name for name in ANSWER_FILES if (self.folder / name).is_file()]
        listed = read_json(files[0]).get("answers") if files else None
        return None if listed is None else listed["answers"] if isinstance(listed, dict) else listed

    @property
    def steps(self) -> int | None:
        """Optimizer steps of its training, from metrics.json or else from the log; None where neither is there."""
        if "training" in self.metrics:
            return self.metrics["training"]["steps"]
        log = self.folder / LOG_NAME
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        return json.loads(lines[-1])["step"] if lines else None

    @property
    def seconds(self) -> float | None:
        """How long its training took, where it says so."""
        return self.metrics.get("training", {}).get("seconds")


class NoTaskError(ValueError):
    """A run that is none of a downstream task, or a folder without runs."""


def find_runs(given: Sequence[str | Path], tell: Callable[[str], Any] = lambda line: None) -> list[Run]:
    """The runs that are meant, each once, in the order in which they are named.

    Among several, what is no run of a downstream task is left out and told: a pattern or a parent folder also finds the
    runs that models were trained by before. A shell puts in a pattern's place what it finds, so several folders may
    stem from one. What stands alone or is named by `NAME=` is meant, and refused.

    Args:
        given: run folders, folders that hold run folders, or patterns of such (`runs/*-seed*`); `NAME=` before one
            says what its runs are called.
        tell: is given a line on what was left out.

    Raises:
        ValueError: nothing is named, or what is named is not there, no run, not finished, or has two names.
    """
    if not given:
        raise ValueError("expected the folder of at least one run, got none")
    names: dict[Path, str | None] = {}
    meant: set[Path] = set()
    left: list[str] = []
    for text in map(str, given):
        name, path = _split_name(text)
        alone = len(given) == 1 or name is not None
        try:
            folders = _folders(path)
        except NoTaskError:
            if alone:
                raise
            left.append(path)
            continue
        if alone and folders == [Path(path)]:
            meant.add(folders[0].resolve())
        for folder in folders:
            before = names.setdefault(folder.resolve(), name)
            if name is not None and before not in (None, name):
                raise ValueError(f"{folder}: expected one name for a run, got {before!r} and {name!r}")
            names[folder.resolve()] = name or before
    here, runs = Path.cwd(), []
    for folder, name in names.items():
        try:
            runs.append(read_run(_short(folder, here), name))
        except NoTaskError:
            if folder in meant:
                raise
            left.append(str(_short(folder, here)))
    if not runs:
        raise ValueError(f"expected at least one run of a downstream task, got none in {', '.join(left)}")
    if left:
        tell(f"left out, as no run of a downstream task: {', '.join(left)}")
    return runs


def read_run(folder: Path, name: str | None = None) -> Run:
    """Reads a run folder.

    Raises:
        NoTaskError: it holds no results of a task that can be compared.
        ValueError: it is not finished.
    """
    if not (folder / METRICS_NAME).is_file():
        raise ValueError(
            f"{folder}: expected a finished run, got one without {METRICS_NAME}; go on with it by --resume "
            f"--output-dir {folder}, or leave it out"
        )
    run = Run(folder, _object(folder / CONFIG_NAME), _object(folder / METRICS_NAME), name)
    results, said = (run.metrics.get(key) or {} for key in ("results", "protocol"))
    if not isinstance(results, dict) or not isinstance(said, dict):
        raise ValueError(f"{folder / METRICS_NAME}: expected results and a protocol as objects; leave the run out")
    before = said["task"] if said.get("task") in BEFORE_TASKS else "pre-training" if PRETRAINING in said else None
    if not results or before or "protocol" not in run.metrics or task_of(next(iter(results.values()))) is None:
        raise NoTaskError(
            f"{folder / METRICS_NAME}: expected a protocol and results of retrieval, question answering or captioning; "
            f"got {before or 'neither'}; name the run of a downstream task"
        )
    return run


def _object(path: Path) -> dict[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected an object, got {found!r:.80}; leave the run out")
    return found


def _split_name(text: str) -> tuple[str | None, str]:
    name, equals, path = text.partition("=")
    if not equals or Path(text).exists():
        return None, text
    if not name.strip() or not path.strip():
        lacks = "a folder after it" if name.strip() else "a name before it"
        raise ValueError(f"{text}: expected NAME=FOLDER without spaces around the =, got one without {lacks}")
    return name.strip(), path


def _folders(text: str) -> list[Path]:
    path = Path(text)
    if path.exists():
        return _runs_in(path)
    found = [Path(match) for match in sorted(glob.glob(text)) if Path(match).is_dir()]
    if not found:
        raise ValueError(f"{text}: expected a run's folder, a folder of runs or a pattern of them; nothing is there")
    if not (inside := [folder for match in found for folder in _runs_in(match, needed=False)]):
        raise NoTaskError(f"{text}: expected a pattern of runs' folders, got one of folders without {CONFIG_NAME}")
    return inside


def _runs_in(path: Path, needed: bool = True) -> list[Path]:
    if (path / CONFIG_NAME).is_file():
        return [path]
    inside = sorted(config.parent for config in path.glob(f"*/{CONFIG_NAME}"))
    if not inside and needed:
        raise NoTaskError(
            f"{path}: expected a run's folder or a folder of runs, got neither ({CONFIG_NAME} is missing)"
        )
    return inside


def _short(folder: Path, here: Path) -> Path:
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
