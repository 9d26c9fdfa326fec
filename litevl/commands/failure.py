"""How a command ends that could not do what it was asked for."""

import sys


def fail(error: Exception) -> int:
    """Says the error in one line, and gives the exit code."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2
