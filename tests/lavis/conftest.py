"""What LAVIS needs to run from small random weights, without a network and without a CUDA build of torch."""

import importlib.util
import sys

import pytest
import torch
from small_blip import WORDS

torch.set_num_threads(1)


def _make_torchvision_importable() -> torch.library.Library | None:
    """PyPI's torchvision is compiled for CUDA, and beside a CPU-only torch its import ends at a missing operator.

    What LAVIS takes from it is Python alone, so it is enough that the operators exist.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        operators = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return operators
    return None


# Kept: the operators go with the object that defined them.
_operators = _make_torchvision_importable() if importlib.util.find_spec("lavis") else None


@pytest.fixture(autouse=True)
def vocabulary(tmp_path, monkeypatch):
    """LAVIS asks for "bert-base-uncased", which transformers looks for as a folder first."""
    folder = tmp_path / "bert-base-uncased"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return folder / "vocab.txt"
