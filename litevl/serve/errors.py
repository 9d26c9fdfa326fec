"""What a server says no with, and what it says of errors."""

import logging
import os

from litevl.data.video_index import VideoError

UNTOLD = "it does not work on the server just now; who runs it finds the reason in its log"


class RefusedError(Exception):
    """Something that a person asked for can't be done; the message says why, in words for that person."""


def reason(error: Exception) -> str:
    """What an error says to somebody who may not know where files are on the server; what others say is logged."""
    if isinstance(error, RefusedError):
        return str(error)
    if isinstance(error, VideoError):
        return error.reason.replace(f"{error.path.parent}{os.sep}", "")
    logging.getLogger("litevl.serve").warning("%s: %s", type(error).__name__, error)
    return UNTOLD
