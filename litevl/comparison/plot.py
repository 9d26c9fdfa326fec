"""Accuracy against cost: one point a model, with its interval over seeds.

Needs matplotlib: `pip install 'litevl[plots]'`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from litevl.plots.figure import new_figure

from .comparison import Comparison, Line

if TYPE_CHECKING:
    import matplotlib.figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, told apart with every common colour blindness; their yellow is left out, too pale on white."""
MARKERS = "os^DvPX*"
"""One more than colours, so that many models differ in the pair of both."""
PANELS: tuple[tuple[str, Callable[[Line], float]], ...] = (
    ("GFLOPs to encode a clip (a multiply-add is two)", lambda line: line.cost.clip_gflops if line.cost else 0.0),
    ("parameters, all of them", lambda line: float(line.cost.total) if line.cost else 0.0),
)


def plot_comparison(comparison: Comparison) -> "matplotlib.figure.Figure":
    """Draws the headline metric against operations and against parameters, both on logarithmic axes.

    Names stand in a legend beside, the most accurate on top, since models of one backbone cost nearly the same and
    names at the points would cover each other.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: costs were not measured.
    """
    if any(line.cost is None for line in comparison.lines):
        raise ValueError("expected a comparison with costs to draw accuracy against; measure them (no --no-cost)")
    headline = comparison.task.headline
    longest = max(len(line.name) for line in comparison.lines)
    figure = new_figure(8.5 + 0.085 * longest, max(4.2, 1.6 + 0.27 * len(comparison.lines)))
    axes: Any = figure.subplots(1, 2, sharey=True)
    for panel, (label, cost) in zip(axes, PANELS, strict=True):
        for number, line in enumerate(comparison.lines):
            _draw(panel, line, cost(line), headline, number)
        _dress(panel, label, [cost(line) for line in comparison.lines])
    axes[0].set_ylabel(headline)
    handles, labels = axes[0].get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda number: -comparison.lines[number].scores[headline].mean)
    figure.legend(
        [handles[number] for number in order], [labels[number] for number in order], loc="outside right upper"
    )
    dataset = comparison.lines[0].entry.run.protocol["dataset"]
    title = f"{comparison.task.name.capitalize()}, {dataset}: {_shown(comparison)}"
    axes[0].set_title(title, loc="left", parse_math=False)
    return figure


def _shown(comparison: Comparison) -> str:
    """What points and bars are: an interval needs three seeds, and not every model may have them."""
    seeds = [len(line.entry.seeds) for line in comparison.lines if not line.entry.frozen]
    if not seeds or max(seeds) == 1:
        return "one seed each" if seeds else "nothing trained"
    if max(seeds) < 3:
        return "mean over seeds, too few for an interval"
    return "mean over seeds with its 95% interval" + ("" if min(seeds) > 2 else ", where there are three or more")


def _draw(axes: Any, line: Line, cost: float, headline: str, number: int) -> None:
    score = line.scores[headline]
    axes.errorbar(
        [cost],
        [score.mean],
        yerr=None if score.margin is None else [score.margin],
        fmt=MARKERS[number % len(MARKERS)],
        color=COLOURS[number % len(COLOURS)],
        # What was not trained has no interval, and is drawn hollow.
        markerfacecolor="white" if line.entry.frozen else COLOURS[number % len(COLOURS)],
        markersize=8,
        capsize=4,
        label=line.name,
    )


def _dress(axes: Any, label: str, costs: list[float]) -> None:
    """A logarithmic axis that holds at least a factor of two, so that nearly equal costs look nearly equal."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    low, high = min(costs), max(costs)
    around = max(1.15, (2 * low / high) ** 0.5)
    axes.set_xscale("log")
    axes.set_xlim(low / around, high * around)
    wide = high > 8 * low
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=12) if wide else MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)
    axes.grid(alpha=0.3)


def _short(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
