"""`litevl serve` in a process beside this one, for programs that look at the page or load it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
STOPPING = 30.0
"""Seconds after which a server that was told to stop is killed."""


@contextmanager
def serving(index: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Serves an index at a free port, and gives the address.

    Args:
        index: the index's folder.
        options: more of `litevl serve`.
        environment: variables of that process, beside those of this one.

    Raises:
        RuntimeError: the server does not start, and standard error says why; or it does not stop.
    """
    command = [sys.executable, "-m", "litevl", "serve", "--index", str(index), "--port", "0", *options]
    surroundings = {**os.environ, **(environment or {})}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=surroundings) as server:
        try:
            assert server.stdout is not None
            said = server.stdout.readline()
            if not said.startswith("open "):
                raise RuntimeError(f"the server did not start: {said!r}")
            yield said.split()[1]
        finally:
            server.terminate()
            try:
                server.wait(STOPPING)
            except subprocess.TimeoutExpired as error:
                server.kill()
                raise RuntimeError(f"the server did not stop within {STOPPING:g} seconds") from error


def chromium() -> str:
    """The Chromium that is installed, or that CHROMIUM names.

    Raises:
        RuntimeError: there is none.
    """
    names = (os.environ.get("CHROMIUM", ""), *BROWSERS)
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise RuntimeError("no Chromium: apt-get install chromium, or name one by CHROMIUM=/path/to/chrome")
    return found
