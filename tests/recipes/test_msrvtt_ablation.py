"""The ablation: one run folder per variant and seed, finished ones kept, a table with the spread."""

import re
from dataclasses import replace

import msrvtt_ablation as ablation
import msrvtt_retrieval as retrieval
import pytest

from litevl.adapters import LiteVLConfig
from litevl.comparison import Cost
from litevl.comparison.latency import Latency
from litevl.data.retrieval import RetrievalDataConfig
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.tasks import RetrievalConfig, run
from litevl.training import RetrievalModelConfig, TrainingConfig


@pytest.fixture
def config(corpus, backbone, tmp_path):
    base = RetrievalConfig(
        RetrievalModelConfig(str(backbone), adapter=LiteVLConfig(num_frames=2)),
        TrainingConfig(epochs=1, batch_size=16, lr=1e-3, precision="no"),
        EvaluationConfig(k=4, batch_size=8, pair_batch=64, workers=0),
        data=RetrievalDataConfig(root=corpus, train_split="full", test_split="full", workers=0),
    )
    variants = ("LiteVL", "no temporal attention, heads trained", "pooling none")
    return ablation.Config(base, "parts", variants, (0, 1), 2, tmp_path / "runs", tmp_path / "RESULTS.md")


def test_runs_every_variant_and_seed_once(config, capsys, monkeypatch):
    results = ablation.main(config)
    assert list(results) == ["frozen frame average", *config.variants]
    assert [len(found) for found in results.values()] == [1, 2, 2, 2]
    assert len(list((config.ablation_dir / "parts").iterdir())) == 7
    page = config.markdown.read_text()
    assert page.count("±") == 3 * (len(ablation.COLUMNS) + len(ablation.CORPUS_COLUMNS)) + 1
    assert "python recipes/msrvtt_ablation.py" in page
    assert page.startswith("# Results\n\n## What each part of LiteVL adds\n")
    monkeypatch.setattr(retrieval, "main", lambda config: pytest.fail("ran again"))
    capsys.readouterr()
    assert ablation.main(config) == results
    assert "What each part of LiteVL adds" in capsys.readouterr().out
    assert len(re.findall("^#", config.markdown.read_text(), re.MULTILINE)) == 2, "the section was replaced"


def test_every_family_trains_by_the_same_flags(config, capsys):
    names = tuple(ablation.FAMILIES)
    results = ablation.main(replace(config, study="families", variants=None, seeds=(0,)))
    assert list(results) == ["frozen frame average", *names]
    out = capsys.readouterr().out
    assert all(name in out for name in (*names, "GFLOPs a clip", "trainable"))
    assert results["no adapter"][0]["order_accuracy"]["contrastive"] == 50.0
    page = config.markdown.read_text()
    costs = {line.split(" | ")[0][2:]: line.split(" | ")[-3:] for line in page.splitlines() if line.startswith("| ")}
    assert float(costs["LiteVL"][1]) > float(costs["bottlenecked LiteVL"][1]) > float(costs["no adapter"][1])
    assert costs["temporal shift"][:2] == costs["no adapter"][:2], "a shift has no parameters and no products"


def test_an_interrupted_ablation_goes_on(config, monkeypatch):
    one = replace(config, variants=("LiteVL",), seeds=(0,))
    with monkeypatch.context() as patch:
        patch.setattr(run, "evaluate", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ablation.main(one)
    assert set(ablation.main(one)) == {"frozen frame average", "LiteVL"}


def test_other_data_has_the_columns_that_it_knows():
    metrics = {f"{direction}_r1": 50.0 for direction in ("t2v", "v2t")}
    result = {"contrastive": metrics, "reranked": metrics, "order_accuracy": {}}
    results = {ablation.FROZEN: [result], "LiteVL": [result, result]}
    cost = Cost(1000, 2000, {"clip": 10**9}, {}, None, {ablation.TIMED_CLIPS: Latency(1.0, 1.5, (1.4, 1.6), 101)})
    costs = dict.fromkeys(results, cost)
    page = ablation.markdown(results, costs, ablation.Config(retrieval.MSRVTT), "python x.py")
    assert "| LiteVL | 50.0 ± 0.0 |" in page
    assert page.endswith("| 1.0k | 1.000 | 1.50 |")
    assert "order" not in page.splitlines()[2]
    assert "by `python x.py`" in page


def test_a_folder_of_other_settings_is_refused(config):
    one = replace(config, variants=("LiteVL",), seeds=(0,))
    ablation.main(one)
    with pytest.raises(ValueError, match="other settings"):
        ablation.main(replace(one, base=ablation.model(one.base, heads="copied")))
    with pytest.raises(ValueError, match="nonsense"):
        replace(one, variants=("nonsense",))


def test_every_variant_changes_what_it_says():
    base = retrieval.EMBEDDED
    made = {name: change(base) for name, change in ablation.PARTS.items()}
    assert made["LiteVL"] == base
    assert len({repr(config) for config in made.values()}) == len(made)
    assert made["scaling none"].model.adapter == replace(base.model.adapter, scaling="none")
    assert made["cls frame"].model.adapter == replace(base.model.adapter, cls="frame")
    assert made["pooling mean"].model.pooling.mode == "mean"


def test_command_line_takes_the_main_jobs_flags():
    config = ablation.parse(["--epochs", "2", "--seeds", "5", "6", "--adapter.num-frames", "4"])
    assert (config.base.training.epochs, config.seeds, config.base.model.adapter.num_frames) == (2, (5, 6), 4)
