"""Annotations that come as pickles: what is plain in them, without running anything that they ask for."""

import io
import pickle
from pathlib import Path
from typing import Any

from litevl.data.annotations import AnnotationError


def read_caption_indices(path: Path) -> dict[str, int]:
    """Read a pickled {video id: caption index} without running anything that the pickle asks for.

    Raises:
        AnnotationError: the pickle names any class or function, or holds something else.
    """
    content = read_pickle(path, "use MSRVTT_JSFUSION_test.csv instead")
    plain = isinstance(content, dict) and all(
        isinstance(key, str) and type(value) is int and value >= 0 for key, value in content.items()
    )
    if not plain:
        raise AnnotationError(path, "", "expected {video id: caption index}; use MSRVTT_JSFUSION_test.csv instead")
    return content


def read_pickle(path: Path, advice: str) -> Any:
    """The numbers, texts, lists and dicts of a pickle, without running anything that it asks for.

    Args:
        path: the file; of Python 2 or 3.
        advice: what to do where it can't be read.

    Raises:
        AnnotationError: damaged, or it names any class or function.
    """
    try:
        return _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="utf-8").load()
    except Exception as error:
        raise AnnotationError(path, "", f"expected a pickle of a plain dict: {error}; {advice}") from error


class _PlainUnpickler(pickle.Unpickler):
    """Numbers, texts, lists and dicts need no globals; everything that could run code does."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")
