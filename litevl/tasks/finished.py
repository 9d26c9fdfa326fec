"""Runs that are not made twice: what a study of many runs goes by, and goes on from where it was interrupted."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from litevl.training import describe_changes, read_config, read_json
from litevl.training.run_folder import not_neutral


def finished_or_run(wanted: Any, folder: Path, main: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """The results of one run, from its folder where it is finished.

    Args:
        wanted: the config of the run.
        folder: its folder.
        main: of the recipe; goes on with a run that was interrupted.

    Raises:
        ValueError: the folder holds a run of other settings.
    """
    wanted = replace(wanted, output_dir=folder)
    if (folder / "metrics.json").is_file():
        stored = replace(read_config(type(wanted), folder), output_dir=folder, resume=False)
        if changes := not_neutral(describe_changes(asdict(stored), asdict(wanted))):
            raise ValueError(f"{folder}: holds a run of other settings ({'; '.join(changes)}); choose another folder")
        return read_json(folder / "metrics.json")["results"]
    return main(replace(wanted, resume=folder.exists()))["results"]
