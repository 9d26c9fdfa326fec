"""Recipes run as from a command line in real processes, and what befalls these at a chosen moment.

The processes are forked by a server that has imported everything, so that each starts in a moment; nothing of the run
itself is replaced. A fault is a function that is called in the new process before the recipe starts.
"""

import multiprocessing
import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
Fault = Callable[[], None]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["forked_imports"])


@cache
def context() -> ForkServerContext:
    """Starts processes that have imported everything already."""
    # Before Python 3.13 the server doesn't take over sys.path, and goes without what it does not find.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), before]))
    forkserver.ensure_running()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
    return _context


@dataclass
class Started:
    """The processes of a run that goes on, and where what they print goes."""

    processes: list[BaseProcess]
    outputs: list[Path]

    def wait(self, seconds: float = 240) -> "Ended":
        """Waits for the end; what is still there after `seconds` is killed, and the test fails."""
        until = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(until - time.monotonic(), 0))
        late = [number for number, process in enumerate(self.processes) if process.is_alive()]
        for process in self.processes:
            process.kill()
            process.join()
        ended = Ended([process.exitcode for process in self.processes], [path.read_text() for path in self.outputs])
        assert not late, f"processes {late} did not end within {seconds} s:\n{ended.said[late[0]][-3000:]}"
        return ended


@dataclass
class Ended:
    """Exit codes, negative for a signal that killed, and what was printed, by process."""

    codes: list[int | None]
    said: list[str]

    @property
    def code(self) -> int | None:
        """Of the first process."""
        return self.codes[0]

    @property
    def error(self) -> str:
        """The line that the first process ended with."""
        return ([line for line in self.said[0].splitlines() if line.strip()] or [""])[-1]


def start(
    recipe: str,
    words: Sequence[object],
    fault: Fault | None = None,
    *,
    processes: int = 1,
    output: Path,
    at: int | None = 0,
    **environment: str,
) -> Started:
    """Starts a recipe.

    Args:
        recipe: name of its file.
        words: of its command line.
        fault: what befalls it.
        processes: how many; several find each other as those that torchrun starts.
        output: file for what is printed; further processes add their number.
        at: the process that the fault befalls; None for each.
        environment: variables to set.
    """
    work = partial(_run, recipe, [str(word) for word in words])
    return _start(work, fault, processes, output, at, environment)


def call(function: Callable[..., object], *args: object, processes: int = 1, output: Path) -> None:
    """Calls an importable function in processes that find each other as those that torchrun starts."""
    ended = _start(partial(function, *args), None, processes, output, 0, {}).wait()
    assert ended.codes == [0] * processes, ended.said


def _start(
    work: Callable[[], object],
    fault: Fault | None,
    processes: int,
    output: Path,
    at: int | None,
    environment: dict[str, str],
) -> Started:
    common = dict(environment)
    if processes > 1:
        common |= {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    started = Started([], [])
    for number in range(processes):
        own = {"RANK": str(number), "LOCAL_RANK": str(number)} if processes > 1 else {}
        path = output.with_name(f"{output.name}.{number}")
        befalls = fault if at in (number, None) else None
        process = context().Process(target=_work, args=(work, befalls, common | own, path))
        process.start()
        started.processes.append(process)
        started.outputs.append(path)
    return started


def run(*args: object, **options: object) -> Ended:
    """`start`, and waits for the end."""
    return start(*args, **options).wait()  # type: ignore[arg-type]


def said_by(recipe: str, *words: object, output: Path, processes: int = 1, **environment: str) -> str:
    """What the first process of a run prints that must end well."""
    ended = run(recipe, words, output=output, processes=processes, **environment)
    assert ended.codes == [0] * processes, ended.said
    return ended.said[0]


def _run(recipe: str, words: list[str]) -> None:
    sys.argv = [recipe, *words]
    sys.path.insert(0, str(RECIPES))
    runpy.run_path(str(RECIPES / f"{recipe}.py"), run_name="__main__")


def _work(work: Callable[[], object], fault: Fault | None, environment: dict[str, str], output: Path) -> None:
    import torch

    # As torchrun does; without it Accelerate gives each process all cores.
    common = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    os.environ.update(common | environment)
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1), os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which the server ignores
    torch.set_num_threads(1)
    if fault is not None:
        fault()
    work()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
