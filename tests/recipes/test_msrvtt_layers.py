"""The study of depths: a run of each variant and seed, finished ones kept, accuracy beside the cost of a step."""

from dataclasses import replace

import msrvtt_layers as layers
import msrvtt_retrieval as retrieval
import pytest

from litevl.adapters import LiteVLConfig
from litevl.data.retrieval import RetrievalDataConfig
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.tasks import RetrievalConfig
from litevl.training import RetrievalModelConfig, TrainingConfig


@pytest.fixture
def config(corpus, backbone, tmp_path):
    base = RetrievalConfig(
        RetrievalModelConfig(str(backbone), adapter=LiteVLConfig(num_frames=2)),
        TrainingConfig(epochs=1, batch_size=16, lr=1e-3, precision="no"),
        EvaluationConfig(k=4, batch_size=8, pair_batch=64, workers=0),
        data=RetrievalDataConfig(root=corpus, train_split="full", test_split="full", workers=0),
    )
    page, picture = tmp_path / "RESULTS.md", tmp_path / "layers.png"
    return layers.Config(base, (1,), (0,), tmp_path / "runs", rounds=2, markdown=page, plot=picture)


def test_runs_every_depth_once_and_shows_what_a_step_costs(config, monkeypatch):
    results = layers.main(config, "the command")
    stored = ["last 1, stored", "last 1, stored, 3 frames a segment"]
    assert list(results) == ["all blocks", "all blocks, middle frames", *stored]
    monkeypatch.setattr(retrieval, "main", lambda config: pytest.fail("ran again"))
    assert layers.main(config, "the command") == results
    page = config.markdown.read_text()
    assert page.count(f"## {layers.TITLE}") == 1
    assert "by `the command`" in page
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")][2:]
    costs = {name: float(cells[-2]) for name, *cells in lines}
    assert costs["all blocks"] == costs["all blocks, middle frames"]
    assert costs[stored[0]] == costs[stored[1]] < 0.9 * costs["all blocks"]
    assert config.plot.stat().st_size > 10_000


def test_variants_are_what_their_names_say(config):
    base = retrieval.EMBEDDED
    made = layers.variants(replace(config, base=base, last=(3, 2, 1)), depth=4)
    assert made.pop("all blocks") == base
    assert made.pop("all blocks, middle frames").data == replace(base.data, frames_per_segment=1)
    found = {name: (each.model.adapter.layers, each.data.frames_per_segment) for name, each in made.items()}
    assert found == {
        "last 3, stored": ((1, 2, 3), 1),
        "last 2, stored": ((2, 3), 1),
        "last 1, stored": ((3,), 1),
        "last 2, stored, 3 frames a segment": ((2, 3), 3),
    }
    assert len({each.data.feature_store for each in made.values()}) == 1
    with pytest.raises(ValueError, match=r"last: expected numbers from 1 to 3 of 4 blocks; got \(4,\)"):
        layers.variants(replace(config, last=(4,)), depth=4)


def test_command_line_takes_the_main_jobs_flags():
    config = layers.parse(["--epochs", "2", "--seeds", "5", "--last", "8", "4", "--adapter.num-frames", "4"])
    assert (config.base.training.epochs, config.seeds, config.last) == (2, (5,), (8, 4))
    assert config.base.model.adapter.num_frames == 4
