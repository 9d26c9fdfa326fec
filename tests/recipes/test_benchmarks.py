"""The benchmarks run, check that both sides do the same, and put what they measured where it is asked for."""

import json
from functools import partial

import decode
import encode
import evaluation
import pytest
import rerank
import side_by_side
import torch


@pytest.mark.parametrize(
    ("program", "config", "rows"),
    [
        (rerank, side_by_side.Config, 2),
        (encode, encode.EncodeConfig, 12),
        (evaluation, partial(evaluation.EvaluationBenchmark, items=50, k=8, growth=(50, 100)), 2),
        (decode, partial(decode.DecodeConfig, keys=(12,), clips=4), 3),
    ],
    ids=["rerank", "encode", "evaluation", "decode"],
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
