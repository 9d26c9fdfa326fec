"""Files that a comparison is to be written into, looked at before anything is measured."""

import os
from pathlib import Path

from litevl.plots.figure import new_figure


def check_output(option: str, path: Path | None) -> None:
    """Refuses a file that can't be written.

    Args:
        option: what the user calls it, as `--markdown`.
        path: the file; None where none was asked for.

    Raises:
        ValueError: its folder is not there, it is a folder, or it may not be written.
    """
    if path is None:
        return
    folder = path.absolute().parent
    if path.is_dir():
        raise ValueError(f"{option}: expected a file to write, got the folder {path}; name a file in it")
    if not folder.is_dir():
        raise ValueError(f"{option}: expected a file in a folder that is there, got {path}; make {path.parent} first")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise ValueError(f"{option}: expected a file that may be written, got {path}; choose another place")


def check_picture(option: str, path: Path | None) -> None:
    """Refuses a picture that can't be drawn or written.

    Raises:
        ValueError: as `check_output`, or matplotlib is not installed, or does not draw what the ending says.
    """
    check_output(option, path)
    if path is None:
        return
    try:
        endings = sorted(new_figure(1.0, 1.0).canvas.get_supported_filetypes())
    except ImportError as error:
        raise ValueError(f"{option}: {error}") from error
    if path.suffix.lower().removeprefix(".") not in endings:
        raise ValueError(f"{option}: expected a file that ends in {', '.join(endings)}; got {path}; end it in .png")
