"""Results as a table to read."""

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

COLUMNS = ("r1", "r5", "r10", "mdr", "mnr")
TITLES = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "mdr": "MdR", "mnr": "MnR"}
CAPTION_TITLES = {
    "cider": "CIDEr",
    "bleu4": "BLEU-4",
    "bleu1": "BLEU-1",
    "rouge_l": "ROUGE-L",
    "equal_to_reference": "equal to a reference",
    "order_accuracy": "told from its reversal (chance 50)",
}


def retrieval_table(rows: Mapping[str, Mapping[str, Any]], title: str, caption: str) -> Table:
    """A table of retrieval metrics, a row per model and kind of score, each column named with its direction.

    Args:
        rows: metrics as `litevl.evaluation.retrieval.summarise` gives them, by the row's name.
        title: above the table.
        caption: below it: the protocol.
    """
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    table.add_column("model and score")
    for direction in ("t2v", "v2t"):
        for column in COLUMNS:
            table.add_column(f"{direction} {TITLES[column]}", justify="right")
    for name, metrics in rows.items():
        cells = [f"{metrics[f'{direction}_{column}']:.1f}" for direction in ("t2v", "v2t") for column in COLUMNS]
        table.add_row(name, *cells)
    return table


def category_table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """t2v R@1 of each kind of caption, and how many clips are told from their reversal where that was measured.

    Args:
        results: for each model, the metrics of both kinds of score with `order_accuracy` beside them.
    """
    first = next(iter(results.values()))
    categories = list(first["reranked"]["t2v_r1_by_category"])
    table = Table(title="By kind of caption", title_justify="left")
    table.add_column("model and score")
    for category in categories:
        table.add_column(f"t2v R@1, {category}", justify="right")
    if first["order_accuracy"]:
        table.add_column("told from its reversal (chance 50)", justify="right")
    for name, values in results.items():
        for kind in ("contrastive", "reranked"):
            cells = [f"{values[kind]['t2v_r1_by_category'][category]:.1f}" for category in categories]
            if values["order_accuracy"]:
                cells.append(f"{values['order_accuracy'][kind]:.1f}")
            table.add_row(f"{name}, {kind}", *cells)
    return table


def show_retrieval(metrics: Mapping[str, Any]) -> None:
    """Prints a run's metrics as tables: its models side by side, with the protocol below."""
    protocol, results = metrics["protocol"], metrics["results"]
    kinds = ("contrastive", "reranked")
    rows = {f"{name}, {kind}": values[kind] for name, values in results.items() for kind in kinds}
    first = next(iter(results.values()))
    sizes = first["reranked"]
    caption = (
        f"{protocol['dataset']}, test {protocol['test_split']}: {first['coverage']}; gallery {sizes['t2v_gallery']} "
        f"videos, {sizes['v2t_gallery']} texts; top {first['k']} re-ranked by ITM + ITC; {protocol['num_frames']} "
        f"frames of {protocol['image_size']} px, {protocol['sampling']}; train {protocol['train_split']}, selected on "
        f"{protocol['selected_on']}; backbone {protocol['backbone_source']} {protocol['backbone_fingerprint']}"
    )
    tables = [retrieval_table(rows, "Text-video retrieval", caption)]
    if any(values["order_accuracy"] for values in results.values()):
        tables.append(category_table(results))
    if "multiple_choice" in first:
        tables.append(choice_table(results))
    show(*tables)


def choice_table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """How often the right caption of a few was chosen, by model and kind of score."""
    asked = next(iter(results.values()))["multiple_choice"]
    table = Table(title="Multiple choice, accuracy", title_justify="left")
    table.add_column(f"model ({asked['answered']} of {asked['videos']} videos)")
    for kind in ("contrastive", "reranked"):
        table.add_column(kind, justify="right")
    for name, values in results.items():
        found = values["multiple_choice"]
        table.add_row(name, *(f"{found[f'accuracy_{kind}']:.1f}" for kind in ("contrastive", "reranked")))
    return table


def show_answers(metrics: Mapping[str, Any]) -> None:
    """Prints accuracies as a table: a row for all questions and for each type, a column for each model, the ceiling."""
    protocol, results = metrics["protocol"], metrics["results"]
    first = next(iter(results.values()))
    how = f"top {protocol['k']} by first token ranked" if protocol["inference"] == "rank" else "written"
    if protocol["head"] == "classifier":
        # The frozen BLIP has no classifier and ranks.
        said = [f"{how} ({name})" if name == "frame average" else f"by a classifier ({name})" for name in results]
        how = ", ".join(said)
    listed = f"{protocol['answers']} answers, {protocol['answer_source']}"
    caption = (
        f"{protocol['dataset']}: {first['coverage']}; all {first['questions']} questions count, {first['answered']} "
        f"answered; {how}, {listed}; {protocol['num_frames']} frames of "
        f"{protocol['image_size']} px, {protocol['sampling']}; selected on {protocol['selected_on']}; backbone "
        f"{protocol['backbone_source']} {protocol['backbone_fingerprint']}"
    )
    table = Table(
        title="Video question answering, accuracy", caption=caption, title_justify="left", caption_justify="left"
    )
    table.add_column("questions")
    for name in ("number", *results, *(["ceiling of the list"] if "ceiling" in first else [])):
        table.add_column(name, justify="right")
    kinds = [name.removeprefix("questions") for name in first if name.startswith("questions")]
    for kind in kinds:
        cells = [str(first[f"questions{kind}"]), *(f"{each[f'accuracy{kind}']:.1f}" for each in results.values())]
        cells += [f"{first[f'ceiling{kind}']:.1f}"] if "ceiling" in first else []
        table.add_row(kind.removeprefix("_") or "all", *cells)
    if "order_accuracy" in first:
        cells = [str(first["order_questions"]), *(f"{each['order_accuracy']:.1f}" for each in results.values())]
        table.add_row("only order tells", *cells)
    show(table)


def show_captions(metrics: Mapping[str, Any]) -> None:
    """Prints caption metrics as a table, a row for each model, with some of the captions below."""
    protocol, results = metrics["protocol"], metrics["results"]
    first = next(iter(results.values()))
    caption = (
        f"{protocol['dataset']}, test {protocol['test_split']}: {first['coverage']}; {first['references']} references; "
        f"{protocol['num_beams']} beams, prompt {protocol['prompt']!r}; {protocol['num_frames']} frames of "
        f"{protocol['image_size']} px, {protocol['sampling']}; selected on {protocol['selected_on']}; backbone "
        f"{protocol['backbone_source']} {protocol['backbone_fingerprint']}; {protocol['tokenizer']}"
    )
    table = Table(title="Video captioning", caption=caption, title_justify="left", caption_justify="left")
    table.add_column("model")
    names = [name for name in CAPTION_TITLES if name in first]
    for name in names:
        table.add_column(CAPTION_TITLES[name], justify="right")
    for model, values in results.items():
        table.add_row(model, *(f"{values[name]:.1f}" for name in names))
    show(table)


def rows_table(title: str, rows: Sequence[Sequence[str]], words: int = 1) -> Table:
    """A table of cells.

    Args:
        title: above it.
        rows: the names of the columns, then a row for each line.
        words: how many columns hold words, to the left; the others hold numbers.
    """
    table = Table(title=title, title_justify="left")
    names, *lines = rows
    for number, name in enumerate(names):
        table.add_column(name, justify="left" if number < words else "right")
    for line in lines:
        table.add_row(*line)
    return table


def rows_markdown(rows: Sequence[Sequence[str]]) -> str:
    """The same for a page."""
    names, *lines = rows
    return "\n".join("| " + " | ".join(line) + " |" for line in [names, ["---"] * len(names), *lines])


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds; of one seed its value."""
    mean = f"{statistics.mean(values):.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


def show(*tables: Table) -> None:
    """Prints tables as wide as they are, also where the output is a file."""
    console = Console()
    width = max([console.width, *(Console(width=400).measure(table).maximum for table in tables)])
    for table in tables:
        Console(width=width if not console.is_terminal else None).print(table)


def write_section(page: Path, title: str, text: str) -> None:
    """Writes a section of a Markdown page of results, in place of the one of the same title; other sections stay."""
    before = page.read_text(encoding="utf-8") if page.is_file() else "# Results\n"
    section = f"## {title}\n\n{text}\n"
    there = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    found = there.search(before)
    after = there.sub(lambda _: f"{section}\n", before) if found else f"{before.rstrip()}\n\n{section}"
    page.write_text(f"{after.rstrip()}\n", encoding="utf-8")
