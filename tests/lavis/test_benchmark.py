"""The benchmark against LAVIS's TimeSformer: equal tokens from the same weights, and a table."""

import pytest

pytest.importorskip("lavis")
pytest.importorskip("tyro")

import timesformer
from encode import EncodeConfig


def test_measures_and_writes(tmp_path):
    page = tmp_path / "RESULTS.md"
    config = EncodeConfig("cpu", rounds=2, seconds=0.0, small=True, markdown=page, frames=(4, 8))
    rows = timesformer.main(config, "the command")
    assert [row.work for row in rows] == [
        f"LiteVL, {frames} frames, {precision}" for frames in (4, 8) for precision in ("float32", "bfloat16")
    ]
    assert [row.reach for row in rows] == [None, 0.55, None, 0.55]
    assert "Toy models: the figures mean nothing." in page.read_text()


def test_other_weights_are_noticed(monkeypatch):
    whole = timesformer.encoders

    def spoiled(*sizes, **more):
        theirs, ours = whole(*sizes, **more)
        theirs.blocks[-1].temporal_fc.weight.data.neg_()
        return theirs, ours

    monkeypatch.setattr(timesformer, "encoders", spoiled)
    with pytest.raises(ValueError, match="expected equal outputs"):
        timesformer.main(EncodeConfig("cpu", rounds=2, seconds=0.0, small=True, frames=(4,)))
