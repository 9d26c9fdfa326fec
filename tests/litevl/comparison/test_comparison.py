"""A comparison's numbers, its tables, JSON and picture, from run folders made by hand."""

import io
import json
import re
from dataclasses import replace

import pytest
from finished_runs import change, config_of, write_run
from rich.console import Console

from litevl.adapters import LiteVLConfig
from litevl.comparison import CostConfig, compare, plot_comparison
from litevl.comparison.fitting import fit
from litevl.comparison.published import PUBLISHED
from litevl.comparison.report import cost_section, markdown, sections, shares_section, to_json
from litevl.training import RetrievalModelConfig

QUICK = CostConfig("cpu", batches=(1,), rounds=1, memory_batch=None)
MODEL = RetrievalModelConfig(adapter=LiteVLConfig(num_frames=6))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """LiteVL over three seeds, the first with the frozen backbone; the whole model trained, one seed."""
    root = tmp_path_factory.mktemp("runs")
    for seed, value in enumerate((48.0, 50.0, 52.0)):
        write_run(root / f"litevl-{seed}", config_of(seed=seed), value, frozen=20.0 if seed == 0 else None)
    whole = write_run(root / "whole", config_of(model=replace(MODEL, train="all")), 60.0, selected_on="test")
    took = {"steps": 20, "seconds": 123.4, "clips": 80, "processes": 1, "device": "cpu"}
    change(whole, lambda metrics: metrics.update(training=took))
    return root


@pytest.fixture(scope="module")
def comparison(folder):
    return compare([folder], costs=QUICK)


def test_scores_are_means_over_seeds(comparison):
    litevl = comparison.line("LiteVL").scores["t2v R@1, re-ranked"]
    assert (litevl.mean, litevl.margin) == (51.0, pytest.approx(4.968, abs=1e-3))
    frozen = comparison.line("frozen frame average")
    assert (frozen.scores["t2v R@1, ITC"].values, frozen.training) == ((20.0,), None)
    assert comparison.line("LiteVL, whole model trained").scores["t2v R@1, ITC"].margin is None


def test_notes_say_what_to_beware_of(comparison):
    few, optimistic = sorted(comparison.notes, reverse=True)[::-1]
    assert "optimistic" in few + optimistic
    assert "fewer than three seeds, so no interval: LiteVL, whole model trained (1)" in comparison.notes


def test_the_large_model_is_the_one_that_trains_most(comparison):
    assert comparison.large == "LiteVL, whole model trained"
    shares = comparison.shares["LiteVL"]
    assert shares.accuracy == pytest.approx(100 * 51 / 61)
    assert shares.parameters == pytest.approx(100)
    assert shares.trainable < 25
    assert (shares.clip_gflops_saved, shares.gflops_saved) == (0, 0)
    assert comparison.shares["frozen frame average"].clip_gflops_saved == pytest.approx(26.8, abs=0.1)


def test_training_is_steps_times_a_step(comparison):
    whole, litevl = (comparison.line(name) for name in ("LiteVL, whole model trained", "LiteVL"))
    assert (litevl.training.steps, litevl.training.seconds) == (10, None), "from the log"
    assert (whole.training.steps, whole.training.seconds) == (20, 123.4), "from metrics.json"
    assert whole.training.flops == 20 * whole.cost.step_flops
    assert whole.cost.step_flops > litevl.cost.step_flops


def test_tables_hold_the_numbers_and_keep_published_ones_apart(comparison):
    accuracy, cost, training, shares, published = sections(comparison)
    rows = {row[0]: row for row in accuracy.rows}
    assert rows["LiteVL"][:4] == ("LiteVL", "3", "50.0 ± 5.0", "51.0 ± 5.0")
    assert rows["frozen frame average"][1:3] == ("-", "20.0")
    assert rows["LiteVL"][-3:] == ("6", "48", "embedded")
    assert "Student's t" in accuracy.caption
    assert "a multiply-add as two" in cost.caption
    assert "equal" in cost.caption, "the formulas agree with the counter"
    assert training.rows[0][:2] == ("LiteVL", "10")
    assert "91.4% of a larger model's accuracy with 15% of its parameters and 94.8% fewer" in shares.caption
    assert not [row for row in shares.rows if "E-ViLM" in row[0]]
    assert [row[0] for row in published.rows] == [each.model for each in PUBLISHED]
    assert all(row[-1] for row in published.rows), "by whom"
    assert {line.name for line in comparison.lines}.isdisjoint(row[0] for row in published.rows)


def test_markdown_has_every_table(comparison):
    page = markdown(comparison)
    assert page.count("| model |") == 5
    assert "| LiteVL | 3 | 50.0 ± 5.0 |" in page
    assert page.index("91.4%") < page.index("**Published by others, not measured here**")


def test_json_holds_every_seed_and_says_what_is_published(comparison, folder):
    found = json.loads(json.dumps(to_json(comparison)))
    (litevl,) = [model for model in found["models"] if model["name"] == "LiteVL"]
    assert litevl["scores"]["t2v R@1, ITC"]["values"] == [48.0, 50.0, 52.0]
    assert (litevl["seeds"], len(litevl["folders"]), litevl["trained"]) == ([0, 1, 2], 3, True)
    assert litevl["cost"]["flops"]["clip"] == litevl["cost"]["analytic"]["clip"]
    assert litevl["cost"]["gmacs_clip"] == litevl["cost"]["flops"]["clip"] / 2e9
    assert found["published"]["shares_percent"]["accuracy"] == 91.4
    assert (found["task"], found["large"]) == ("retrieval", "LiteVL, whole model trained")


def test_the_picture_holds_every_model(comparison, tmp_path):
    figure = plot_comparison(comparison)
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {line.name for line in comparison.lines}
    assert figure.legends[0].get_texts()[0].get_text() == "LiteVL, whole model trained", "the most accurate on top"
    gflops, parameters = figure.axes
    assert (gflops.get_xscale(), parameters.get_xscale()) == ("log", "log")
    drawn = [container.lines[0].get_xydata()[0].tolist() for container in gflops.containers]
    assert drawn == [[line.cost.clip_gflops, line.scores["t2v R@1, re-ranked"].mean] for line in comparison.lines]
    bars = [bool(container.has_yerr) for container in gflops.containers]
    assert bars == [line.scores["t2v R@1, re-ranked"].margin is not None for line in comparison.lines]
    figure.savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("seeds", "told"),
    [
        ((3, 1), "mean over seeds with its 95% interval, where there are three or more"),
        ((3, 3), "mean over seeds with its 95% interval"),
        ((2, 1), "mean over seeds, too few for an interval"),
        ((1, 1), "one seed each"),
    ],
)
def test_the_picture_says_what_its_points_are(comparison, seeds, told):
    litevl = comparison.line("LiteVL")
    lines = tuple(replace(litevl, entry=replace(litevl.entry, runs=(litevl.entry.run,) * number)) for number in seeds)
    figure = plot_comparison(replace(comparison, lines=lines))
    assert figure.axes[0].get_title(loc="left") == f"Retrieval, embedded corpus: {told}"


def test_captions_say_what_the_numbers_are(comparison):
    _, cost, _, shares, _ = sections(comparison)
    assert "In brackets the median of each round's ratio to frozen frame average" in cost.caption
    assert "Re-ranking matches k pairs a query; one is counted." in cost.caption
    assert shares.caption.startswith("Of accuracy, which is t2v R@1, re-ranked, the means over seeds are compared. ")
    asked = shares_section(comparison.shares, comparison.large, "accuracy")
    assert asked.caption.startswith("Of accuracy the means over seeds are compared. ")
    found = comparison.line("LiteVL").cost
    answers = cost_section({"a": replace(found, flops={"clip": 1, "answer": 2}, analytic={})})
    assert "GFLOPs an answer" in answers.header
    assert "a model that ranks scores up to k answers for it, all counted" in answers.caption
    assert "Re-ranking" not in answers.caption


@pytest.mark.parametrize("width", [60, 80, 200])
def test_tables_fit_a_terminal_and_cut_nothing(comparison, width):
    for section in sections(comparison):
        parts = fit(section.title, section.header, section.rows, section.caption, width)
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(*parts)
        printed = console.export_text()
        assert "…" not in printed
        assert max(map(len, printed.splitlines())) <= width
        words = set(re.split(r"[\s│┃]+", printed))
        for cell in (*section.header, *(cell for row in section.rows for cell in row)):
            assert set(cell.split()) <= words, "no word is broken"
        for part in parts:
            assert part.columns[0].header == "model"
        headers = [column.header for part in parts for column in part.columns[1:]]
        assert headers == list(section.header[1:])
    assert (len(parts) == 1) == (width == 200)


def test_numbers_stay_on_one_line():
    (table,) = fit("", ("model", "accuracy of all of them"), [("a b", "50.0 ± 5.0")], "", 24)
    assert [column.width for column in table.columns] == [5, 12]


def test_accuracy_alone_needs_no_model(folder):
    found = compare([folder], measure=False)
    assert (found.large, found.shares, found.device) == (None, {}, None)
    assert [section.header[0] for section in sections(found)] == ["model", "model"]
    with pytest.raises(ValueError, match="comparison with costs"):
        plot_comparison(found)
    named = compare([folder], measure=False, large="LiteVL")
    assert named.shares["frozen frame average"].accuracy == pytest.approx(100 * 21 / 51)
    assert named.shares["frozen frame average"].parameters is None


def test_an_unknown_large_model_is_refused_before_anything_is_measured(folder):
    with pytest.raises(ValueError, match=r"large: expected one of 'frozen frame average', 'LiteVL', .*; got 'GPT'"):
        compare([folder], large="GPT", tell=lambda line: pytest.fail("measured"))


def test_a_frozen_backbone_that_varies_is_noted(tmp_path):
    for seed, value in enumerate((20.0, 21.0)):
        write_run(tmp_path / str(seed), config_of(seed=seed), frozen=value)
    found = compare([tmp_path], measure=False)
    assert found.line("frozen frame average").scores["t2v R@1, ITC"].values == (20.0,)
    assert any("differs between runs, 21.0 to 22.0; the first is shown" in note for note in found.notes)
