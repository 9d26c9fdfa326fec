"""The benchmarks run, check that both sides do the same, and put what they measured where it is asked for."""

import json
import multiprocessing
import subprocess
from functools import partial
from pathlib import Path

import decode
import encode
import evaluation
import every
import feature_store
import pytest
import rerank
import scaling
import search_rerank
import side_by_side
import torch
import train_step
import vector_store
from forked_runs import context


@pytest.mark.parametrize(
    ("program", "config", "rows"),
    [
        (rerank, side_by_side.Config, 2),
        (search_rerank, side_by_side.Config, 3),
        (encode, encode.EncodeConfig, 12),
        (evaluation, partial(evaluation.EvaluationBenchmark, items=50, k=8, growth=(50, 100)), 2),
        (decode, partial(decode.DecodeConfig, keys=(12,), clips=4), 3),
        (feature_store, side_by_side.Config, 2),
    ],
    ids=["rerank", "search_rerank", "encode", "evaluation", "decode", "feature_store"],
)
def test_measures_and_writes(program, config, rows, tmp_path, capsys):
    page, figures = tmp_path / "RESULTS.md", tmp_path / "figures.json"
    found = program.main(config("cpu", rounds=2, seconds=0.0, small=True, markdown=page, json=figures), "the command")
    assert len(found) == rows
    assert all(row.ratio > 0 and row.quartiles[0] <= row.ratio <= row.quartiles[1] for row in found)
    assert [row["work"] for row in json.loads(figures.read_text())["rows"]] == [row.work for row in found]
    section = page.read_text().split(f"## {program.TITLE}\n")[1].split("\n## ")[0]
    assert section.count("\n| ") == rows + 2
    for told in (page.read_text(), capsys.readouterr().out):
        assert "the command" in told
        assert "Toy models: the figures mean nothing." in told


@pytest.fixture
def forked(monkeypatch):
    """Processes of a program's own start in a moment."""
    made = context()
    monkeypatch.setattr("multiprocessing.get_context", lambda method: made)


def test_a_training_step_is_timed_and_its_memory_measured(forked, tmp_path, capsys):
    page, figures = tmp_path / "RESULTS.md", tmp_path / "figures.json"
    config = train_step.TrainStepConfig("cpu", 2, 0.0, small=True, markdown=page, json=figures, clips=3)
    rows = train_step.main(config, "the command")
    assert [row.work for row in rows] == list(train_step.REACH)
    found = json.loads(figures.read_text())["memory"]
    assert all(0 < row["ratio"] < 1 and row["bytes"] > 1e6 for row in found)
    written = page.read_text()
    assert f"## {train_step.TITLE}\n" in written
    assert f"## {train_step.MEMORY}\n" in written
    assert "first losses of all are equal to 1e-3" in capsys.readouterr().out


def test_two_processes_are_timed_against_one(forked, tmp_path):
    page = tmp_path / "RESULTS.md"
    config = scaling.ScalingConfig("cpu", 1, small=True, markdown=page, steps=1, cores=(0, 0))
    together, machine, whole = scaling.main(config, "the command")
    assert whole.ratio == pytest.approx(together.ratio * machine.ratio)
    assert (together.work, together.against) == (scaling.TOGETHER, scaling.APART)
    assert (machine.work, machine.against, machine.rounds) == (scaling.APART, scaling.ALONE, 1)
    assert min(together.ratio, machine.ratio) > 0
    assert "two processes together | one process" in page.read_text()


def test_sides_of_a_training_step_that_differ_are_refused(monkeypatch):
    monkeypatch.setattr(train_step, "measure_peak", lambda *_: (1, "not measured"))
    made = train_step.make_step
    shifted = lambda name, config: lambda: made(name, config)() + ("frozen" in name)  # noqa: E731
    monkeypatch.setattr(train_step, "make_step", shifted)
    with pytest.raises(ValueError, match="first losses, frozen: expected equal outputs"):
        train_step.main(train_step.TrainStepConfig("cpu", 2, small=True, clips=2))


def test_ratios_are_per_unit():
    config = side_by_side.Config("cpu", rounds=5)
    matrix = torch.randn(600, 600)
    works = {"three": lambda: [matrix @ matrix for _ in range(3)], "one": lambda: matrix @ matrix}
    (plain,) = side_by_side.measure(config, works, "one", reach={"three": 4.0})
    (shared,) = side_by_side.measure(config, works, "one", units={"three": 3.0, "one": 1.0})
    assert 1.5 < plain.ratio < 6
    assert 0.5 < shared.ratio < 2
    assert (plain.work, plain.against, plain.reach, shared.reach) == ("three", "one", 4.0, None)


def test_works_that_do_not_do_the_same_are_refused():
    side_by_side.require_equal("sums", torch.ones(2), torch.ones(2) + 1e-6, 1e-5)
    for other in (torch.zeros(2), torch.full((2,), torch.nan)):
        with pytest.raises(ValueError, match="sums: expected equal outputs, within 1e-05, got a difference of"):
            side_by_side.require_equal("sums", other, torch.ones(2), 1e-5)


def test_equality_of_next_to_nothing_is_no_equality():
    with pytest.raises(ValueError, match="outputs of at most 1e-06 can't be told apart within 1e-05"):
        side_by_side.require_equal("sums", torch.full((2,), 1e-6), torch.full((2,), 1e-6), 1e-5)


def test_the_pairs_of_an_evaluation_grow_with_its_queries(tmp_path):
    config = evaluation.EvaluationBenchmark("cpu", k=4, growth=(50, 200), markdown=tmp_path / "RESULTS.md")
    _, small, large = evaluation.grow(config, "the command")
    for cells, items in ((small, 50), (large, 200)):
        assert items * 4 <= int(cells[2].replace(",", "")) <= 2 * items * 4
    pairs = evaluation.wanted_pairs(50, 4)
    assert len(set(pairs.tolist())) == len(pairs)
    assert "200" in (tmp_path / "RESULTS.md").read_text()


def test_every_benchmark_is_one_of_all():
    programs = {path.stem for path in every.HERE.glob("*.py")} - {"every", "side_by_side", "stores"}
    assert programs == set(every.PROGRAMS)


def test_all_of_them_by_one_command(tmp_path, capfd):
    page, figures = tmp_path / "RESULTS.md", tmp_path / "figures.json"
    config = every.EveryConfig(only=("rerank",), device="cpu", small=True, markdown=page, json=figures)
    found = every.main(config)
    assert [each["title"] for each in found] == ["Re-ranking"]
    assert json.loads(figures.read_text()) == found
    assert "## Re-ranking\n" in page.read_text()
    out, told = capfd.readouterr()
    assert "What was set out to be reached (toy models: the figures mean nothing)" in out
    assert "rerank.py --json" in told


def test_one_that_fails_does_not_end_the_others(tmp_path, monkeypatch, capfd):
    ran = []

    def run(command):
        ran.append(Path(command[1]).stem)
        if ran[-1] == "encode":
            return subprocess.CompletedProcess(command, 1)
        Path(command[3]).write_text(json.dumps({"title": ran[-1], "rows": []}))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(every.subprocess, "run", run)
    with pytest.raises(SystemExit, match="failed: encode; see above"):
        every.main(every.EveryConfig(only=("encode", "rerank"), json=tmp_path / "figures.json"))
    assert ran == ["encode", "rerank"]
    assert [each["title"] for each in json.loads((tmp_path / "figures.json").read_text())] == ["rerank"]


def test_what_was_reached_is_told_row_by_row():
    row = {"work": "ours", "against": "theirs", "ratio": 0.5, "reach": 0.6}
    rows = [row, {**row, "ratio": 0.61}, {**row, "reach": None}]
    _, *cells = every.reached([{"rows": rows}])
    assert [cell[2:] for cell in cells] == [["0.500", "<= 0.6", "yes"], ["0.610", "<= 0.6", "no"]]


def test_a_vector_store_is_held_against_every_vector(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(vector_store, "in_process", lambda config, work, *values: work(*values))
    page = tmp_path / "RESULTS.md"
    config = vector_store.StoreConfig(sizes=(50, 400), queries=6, k=5, markdown=page, json=tmp_path / "figures.json")
    rows = vector_store.main(config, "the command")
    assert [(row.store, row.vectors, row.recall) for row in rows] == [("litevl", 50, 1.0), ("litevl", 400, 1.0)]
    assert rows[1].megabytes > rows[0].megabytes > 0
    assert [row["recall"] for row in json.loads((tmp_path / "figures.json").read_text())["rows"]] == [1.0, 1.0]
    assert page.read_text().count("| litevl |") == 2
    assert "the command" in capsys.readouterr().out


def test_a_store_that_takes_too_long_is_given_up(monkeypatch):
    def slow(config, work, *values):
        raise multiprocessing.TimeoutError

    monkeypatch.setattr(vector_store, "in_process", slow)
    (row,) = vector_store.main(vector_store.StoreConfig(sizes=(50,)), "the command")
    assert (row.recall, row.fill) == (None, None)
