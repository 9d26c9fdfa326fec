"""Every benchmark, one after the other, and what was set out to be reached.

    python recipes/benchmarks/every.py                                  # prints all tables; an hour or more on a CPU
    python recipes/benchmarks/every.py --markdown recipes/benchmarks/RESULTS.md
    python recipes/benchmarks/every.py --only encode rerank --small     # that they run, in seconds; nothing is compiled

Each is a program of its own beside this one, run by itself, so that none measures what another has left in memory. That
against LAVIS's TimeSformer runs in LAVIS's environment, where there is one (`bash tests/lavis/run.sh` builds it).
"""

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import tyro

from litevl.evaluation.report import rows_table, show

HERE = Path(__file__).parent
LAVIS = Path(".venv-lavis/bin/python")

Name = Literal[
    "encode",
    "timesformer",
    "rerank",
    "evaluation",
    "search_rerank",
    "vector_store",
    "train_step",
    "feature_store",
    "decode",
    "scaling",
    "load",
]
PROGRAMS: dict[Name, tuple[str, ...]] = {
    "encode": ("--compile",),
    "timesformer": ("--compile",),
    "rerank": (),
    "evaluation": (),
    "search_rerank": (),
    "vector_store": (),
    "train_step": (),
    "feature_store": (),
    "decode": (),
    "scaling": (),
    "load": (),
}
"""What each is given."""


@dataclass(frozen=True)
class EveryConfig:
    """Which, and where."""

    only: tuple[Name, ...] = ()
    """These alone."""
    device: str | None = None
    """By default a GPU where there is one."""
    small: bool = False
    """Models of a toy's size: shows in seconds that the programs run, and nothing about speed."""
    markdown: Path | None = None
    """Also write the tables into this page, each in place of an earlier one."""
    json: Path | None = None
    """Also write all figures, unrounded."""


def main(config: EveryConfig) -> list[dict[str, Any]]:
    """Runs them, and prints what was reached.

    Returns:
        What each measured, as its own `--json` holds it.

    Raises:
        SystemExit: one of them failed; the others were run all the same.
    """
    found: list[dict[str, Any]] = []
    failed = []
    for name in config.only or PROGRAMS:
        python = LAVIS if name == "timesformer" else Path(sys.executable)
        if not python.exists():
            print(f"{name}: needs LAVIS's environment, {LAVIS}; `bash tests/lavis/run.sh` builds it", file=sys.stderr)
            continue
        with TemporaryDirectory() as folder:
            figures = Path(folder) / "figures.json"
            command = [str(python), str(HERE / f"{name}.py"), "--json", str(figures), *options(config, name)]
            print(shlex.join(command), file=sys.stderr)
            if subprocess.run(command).returncode:
                failed.append(name)
            else:
                found.append(json.loads(figures.read_text(encoding="utf-8")))
    title = "What was set out to be reached" + (" (toy models: the figures mean nothing)" if config.small else "")
    show(rows_table(title, reached(found), words=2))
    if config.json is not None:
        config.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; see above")
    return found


def options(config: EveryConfig, name: Name) -> list[str]:
    """What a program is given on its command line."""
    given = [] if config.small else list(PROGRAMS[name])
    for flag, value in (("--device", config.device), ("--markdown", config.markdown)):
        given += [] if value is None else [flag, str(value)]
    return given + ["--small"] * config.small


def reached(found: list[dict[str, Any]]) -> list[list[str]]:
    """A row for each that has a mark to reach, by how far it is from it."""
    rows = [row for each in found for row in each["rows"] if row["reach"] is not None]
    cells = [["work", "against", "ratio", "reach", "reached"]]
    for row in rows:
        within = "yes" if row["ratio"] <= row["reach"] else "no"
        cells.append([row["work"], row["against"], f"{row['ratio']:.3f}", f"<= {row['reach']:g}", within])
    return cells


if __name__ == "__main__":
    main(tyro.cli(EveryConfig, description=__doc__))
