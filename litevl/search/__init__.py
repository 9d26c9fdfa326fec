"""Searching one's own videos by text: an index that is kept up to date, and what a search finds in it."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import SearchError
    from .index import VideoIndex
    from .record import IndexConfig
    from .results import Hit
    from .segments import Segment, SegmentConfig
    from .update import Update
    from .why import Explanation

__all__ = ["Explanation", "Hit", "IndexConfig", "SearchError", "Segment", "SegmentConfig", "Update", "VideoIndex"]

PLACES = {
    "Explanation": "why",
    "Hit": "results",
    "IndexConfig": "record",
    "SearchError": "errors",
    "Segment": "segments",
    "SegmentConfig": "segments",
    "Update": "update",
    "VideoIndex": "index",
}


def __getattr__(name: str) -> Any:
    # Looked up on first use: a command line names choices, and must not wait for torch.
    if name in PLACES:
        return getattr(importlib.import_module(f".{PLACES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
