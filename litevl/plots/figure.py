"""What every picture here starts from: a figure of its own, colours around one, and a model that is only looked at."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

if TYPE_CHECKING:
    import matplotlib.figure

COLOURS = "RdBu_r"
"""Blue below one, white at one, red above: told apart with every common colour blindness."""


def new_figure(width: float, height: float) -> "matplotlib.figure.Figure":
    """An empty figure of that size in inches; no window and no state of matplotlib's is touched.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib, which is not installed; pip install 'litevl[plots]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def around_one(values: Float[Tensor, "..."]) -> dict[str, float]:
    """Limits of the colours, as far below one as above: from 0.1, so that small differences look small, to one."""
    reach = (values - 1).abs().nan_to_num().max().clamp(0.1, 1).item()
    return {"vmin": 1 - reach, "vmax": 1 + reach}


def add_colours(figure: "matplotlib.figure.Figure", image: Any, axes: Any, label: str) -> None:
    """A colour bar right of `axes`, a fifth of an inch wide whatever the figure's size."""
    inch = 1 / figure.get_figwidth()
    low, high = image.get_clim()
    ticks = [low + step * (high - low) / 4 for step in range(5)]
    extend = "max" if image.get_array().max() > high else "neither"  # drawn as an arrow: there are larger values
    bar = figure.colorbar(
        image, ax=axes, ticks=ticks, format="%.2f", extend=extend, fraction=0.2 * inch, pad=0.15 * inch, aspect=15
    )
    bar.set_label(label)


@contextmanager
def looked_at(model: nn.Module) -> Iterator[None]:
    """Within it the model runs without dropout and without gradients; after it, it is as before."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True
