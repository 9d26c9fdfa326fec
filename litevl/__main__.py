"""Tools for video-language data and models: `litevl COMMAND --help` explains each.

Training is a recipe's part: accelerate launch recipes/msrvtt_retrieval.py --data.root FOLDER
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from litevl import commands

COMMANDS: dict[str, Callable[..., int]] = {
    "validate": commands.validate,
    "prepare": commands.prepare,
    "encode": commands.encode,
    "index": commands.index,
    "search": commands.search,
    "serve": commands.serve,
    "ask": commands.ask,
    "caption": commands.caption,
    "compare": commands.compare,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line, and gives the exit code."""
    for stream in (sys.stdout, sys.stderr):
        # Captions are in any script; a file or pipe in an old encoding is no reason to fail.
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="backslashreplace")
    given: dict[str, Callable[..., Any]] = dict(COMMANDS)
    try:
        return tyro.extras.subcommand_cli_from_dict(given, prog="litevl", description=__doc__, args=arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
