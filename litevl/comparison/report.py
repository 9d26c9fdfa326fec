"""A comparison as tables to read, as Markdown, and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from litevl.adapters.adapter import readable

from .comparison import Comparison, Line, Shares
from .cost import Cost
from .earlier import Stage
from .fitting import fit
from .metrics import look_up
from .published import PUBLISHED, SHARES, SHARES_SOURCE, shares_text
from .subject import TEXT_TOKENS

NOTHING = "-"
"""Where there is no number."""


COUNTED = {
    "pair": "Re-ranking matches k pairs a query; one is counted.",
    "caption": "A caption is one pass over it; beam search takes one a word and beam.",
    "answer": "An answer is one chosen from the list: a model that ranks scores up to k answers for it, all counted.",
}
"""What the name of an operation does not say, by that name."""


@dataclass(frozen=True)
class Section:
    """A table with what is above and below it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str

    def table(self) -> Table:
        """To print."""
        made = Table(title=self.title, caption=self.caption, title_justify="left", caption_justify="left")
        for number, name in enumerate(self.header):
            made.add_column(name, justify="right" if number else "left")
        for row in self.rows:
            made.add_row(*row)
        return made

    def fitted(self) -> list[Table]:
        """To print in a terminal, in parts where it is too wide for it; whole where the output is a file."""
        console = Console()
        if not console.is_terminal:
            return [self.table()]
        return fit(self.title, self.header, self.rows, self.caption, console.width)

    def markdown(self) -> str:
        """For a page."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return f"**{self.title}**\n\n{table}\n\n{self.caption}"


def sections(comparison: Comparison) -> list[Section]:
    """The comparison: accuracy, costs where they were measured, shares of the large model; then what others published.

    What is measured and what is published never stand in one table.
    """
    costs = {line.name: line.cost for line in comparison.lines if line.cost is not None}
    made = [accuracy_section(comparison)]
    if costs:
        made += [cost_section(costs, caption=_cost_caption(comparison)), training_section(comparison)]
    if comparison.large is not None:
        made.append(shares_section(comparison.shares, comparison.large, comparison.task.headline))
    return [*made, published_section()]


def accuracy_section(comparison: Comparison) -> Section:
    """Every metric with its interval, and what of the models differs."""
    titles = list(dict.fromkeys(title for line in comparison.lines for title in line.scores))
    rows = [
        (
            line.name,
            str(len(line.entry.seeds)) if line.entry.seeds else NOTHING,
            *(str(line.scores.get(title, NOTHING)) for title in titles),
            *(str(line.entry.run.protocol.get(key, NOTHING)) for key in ("num_frames", "image_size")),
            Path(str(line.entry.run.protocol.get("backbone_source", NOTHING))).name,
        )
        for line in comparison.lines
    ]
    protocol = comparison.lines[0].entry.run.protocol
    caption = (
        f"Mean over seeds ± half the 95% interval (Student's t), from three seeds on. {_measured_how(comparison)} "
        "Other test queries would move the figures too; that is not in the intervals."
    )
    where = f"{comparison.task.name.capitalize()}, {protocol['dataset']}"
    return Section(
        where, ("model", "seeds", *titles, "frames", "px", "start"), tuple(rows), _with_notes(caption, comparison)
    )


def cost_section(costs: Mapping[str, Cost], title: str = "Costs", caption: str = "") -> Section:
    """What models cost, by name; also for such as no run trained."""
    first = next(iter(costs.values()))
    operations = list(dict.fromkeys(name for cost in costs.values() for name in cost.flops))
    batches = list(first.latency)
    header = ["model", "trainable", "all parameters"]
    header += [*(f"GFLOPs {_a(name)} {name}" for name in operations), "GFLOPs in all"]
    header += [f"ms for {batch}{' clips' if batch > 1 else ' clip'} (ratio)" for batch in batches]
    header += [f"peak MiB, {first.memory.clips} clips"] if first.memory else []
    rows = []
    for name, cost in costs.items():
        row = [name, readable(cost.trainable), readable(cost.total)]
        row += [_giga(cost.flops.get(operation)) for operation in operations] + [_giga(sum(cost.flops.values()))]
        row += [
            f"{_milliseconds(cost.latency[batch].milliseconds)} ({cost.latency[batch].ratio:.2f})" for batch in batches
        ]
        row += [f"{cost.memory.bytes / 2**20:.0f}" if cost.memory else NOTHING] if first.memory else []
        rows.append(tuple(row))
    return Section(title, tuple(header), tuple(rows), f"{how_counted(costs)} {caption}".strip())


def training_section(comparison: Comparison) -> Section:
    """What training took."""
    rows: list[tuple[str, ...]] = []
    for line in comparison.lines:
        if not line.entry.frozen:
            step, took = line.cost.step_flops if line.cost else None, line.training
            seconds = took.seconds if took else None
            cells = (
                str(took.steps) if took else NOTHING,
                f"{step / 1e9:.4g}" if step else NOTHING,
                f"{took.flops / 1e12:.4g}" if took else NOTHING,
                f"{seconds:.0f}" if seconds is not None else NOTHING,
            )
            rows.append((line.name, *cells))
            rows += [_earlier_row(line, stage) for stage in line.earlier]
    caption = (
        "Of one run. A step's operations (forward and backward) are counted once and multiplied by the steps; "
        "evaluation between epochs is not in them. Before: what a model that is not a BLIP was trained on before the "
        "task, and part of its cost; of a BLIP's own pre-training there is no record. Seconds are by the clock, a mean "
        f"over the runs that say them; {NOTHING}: not known of these runs."
    )
    return Section("Training", ("model", "steps", "GFLOPs a step", "TFLOPs in all", "seconds"), tuple(rows), caption)


def _earlier_row(line: Line, stage: Stage) -> tuple[str, ...]:
    step = None if stage.flops is None or not stage.steps else stage.flops / stage.steps
    return (
        f"{line.name}, before: {stage.name}",
        NOTHING if stage.steps is None else str(stage.steps),
        NOTHING if step is None else f"{step / 1e9:.4g}",
        NOTHING if stage.flops is None else f"{stage.flops / 1e12:.4g}",
        NOTHING if stage.seconds is None else f"{stage.seconds:.0f}",
    )


def shares_section(shares: Mapping[str, Shares], large: str, headline: str) -> Section:
    """What each model keeps of the large one, with the paper's shares below."""
    header = ("model", "accuracy", "parameters", "trainable", "fewer GFLOPs a clip", "fewer GFLOPs in all")
    rows = tuple((name, *(_percent(value) for value in asdict(each).values())) for name, each in shares.items())
    what = "accuracy" if headline == "accuracy" else f"accuracy, which is {headline},"
    caption = f"Of {what} the means over seeds are compared. {shares_text()}"
    return Section(f"Percent of {large}", header, rows, caption)


def published_section() -> Section:
    """What others published."""
    rows = tuple((each.model, each.data, each.metric, each.value, each.source) for each in PUBLISHED)
    caption = "On other data, with other training than above; not to be compared with figures of the embedded corpus."
    return Section("Published by others, not measured here", ("model", "data", "metric", "value", "by"), rows, caption)


def markdown(comparison: Comparison) -> str:
    """The comparison as the text of a Markdown page's section."""
    return "\n\n".join(section.markdown() for section in sections(comparison))


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison with every number unrounded; what is published stands apart."""
    return {
        "task": comparison.task.name,
        "headline": comparison.task.headline,
        "large": comparison.large,
        "measured_on": comparison.device,
        "notes": list(comparison.notes),
        "models": [_line_json(line) for line in comparison.lines],
        "shares_percent": {name: asdict(each) for name, each in comparison.shares.items()},
        "published": {
            "shares_percent": {**SHARES, "source": SHARES_SOURCE},
            "results": [asdict(each) for each in PUBLISHED],
        },
    }


def how_counted(costs: Mapping[str, Cost]) -> str:
    """How operations were counted, and how far the counts are from the formulas."""
    pairs = [(cost.flops[name], value) for cost in costs.values() for name, value in cost.analytic.items()]
    text = (
        "GFLOPs by torch's counter, a multiply-add as two operations (GMACs are half of them); each thing once, texts "
        f"of {TEXT_TOKENS} tokens, the sum in all."
    )
    text += "".join(f" {told}" for name, told in COUNTED.items() if any(name in cost.flops for cost in costs.values()))
    if not pairs:
        return text
    off = max(abs(counted - value) / value for counted, value in pairs)
    return f"{text} {len(pairs)} counts were checked by formula: " + ("equal." if off == 0 else f"within {off:.2%}.")


def _line_json(line: Line) -> dict[str, Any]:
    scores = {title: {**asdict(each), "low": each.low, "high": each.high} for title, each in line.scores.items()}
    cost = None if line.cost is None else {**asdict(line.cost), "gmacs_clip": line.cost.clip_gflops / 2}
    return {
        "name": line.name,
        "trained": not line.entry.frozen,
        "folders": [str(run.folder) for run in line.entry.runs],
        "seeds": list(line.entry.seeds),
        "protocol": line.entry.run.protocol,
        "scores": scores,
        "cost": cost,
        "training": None if line.training is None else asdict(line.training),
        "earlier": [asdict(stage) for stage in line.earlier],
    }


def _measured_how(comparison: Comparison) -> str:
    entry = comparison.lines[0].entry
    items = [
        f"{key.rpartition('.')[2].replace('_', ' ')} {look_up(entry.results[0], key)}" for key in comparison.task.items
    ]
    chosen = sorted(
        {
            str(run.protocol.get("selected_on"))
            for line in comparison.lines
            if not line.entry.frozen
            for run in line.entry.runs
        }
    )
    epoch = f" Epoch selected on: {', '.join(chosen)}." if chosen else ""
    return (
        f"Test: {entry.results[0]['coverage']}, {', '.join(items)}; frames by {entry.run.protocol['sampling']}.{epoch}"
    )


def _cost_caption(comparison: Comparison) -> str:
    first = comparison.lines[0]
    assert first.cost is not None
    text = (
        f"Measured on {comparison.device}, in float32: the time to encode clips, medians over rounds of all models in "
        f"turn. In brackets the median of each round's ratio to {first.name}, which need not be the ratio of the "
        "medians."
    )
    memory = first.cost.memory
    return text if memory is None else f"{text} Memory with weights, {memory.how}."


def _with_notes(caption: str, comparison: Comparison) -> str:
    return " ".join([caption, *(f"Note: {note}." for note in comparison.notes)])


def _a(name: str) -> str:
    return "an" if name[0] in "aeiou" else "a"


def _giga(flops: int | None) -> str:
    return NOTHING if flops is None else f"{flops / 1e9:.3g}"


def _milliseconds(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


def tables(sections: Sequence[Section]) -> list[Table]:
    """Tables to print, as `litevl.evaluation.report.show` takes them."""
    return [table for section in sections for table in section.fitted()]
