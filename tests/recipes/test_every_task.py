"""The table over all tasks, from finished runs and from one that is not."""

import json
from dataclasses import replace

import every_task as study
import pytest

from litevl.tasks import RetrievalConfig
from litevl.training.run_folder import to_json

RESULT = {
    "order_accuracy": {"contrastive": 50.0, "reranked": 50.0},
    "contrastive": {"t2v_r1": 10.0},
    "reranked": {"t2v_r1": 20.0},
}


def finished(folder, config, seed, value):
    """A run folder as the recipe leaves it."""
    path = folder / f"didemo_retrieval-seed{seed}"
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(to_json(replace(config, seed=seed, output_dir=path))))
    better = {**RESULT, "contrastive": {"t2v_r1": value}}
    (path / "metrics.json").write_text(json.dumps({"results": {"frame average": RESULT, "LiteVL": better}}))


def test_finished_runs_make_the_table_and_are_not_run_again(tmp_path, capsys, monkeypatch):
    job = study.JOBS["didemo_retrieval"]
    monkeypatch.setitem(study.JOBS, "didemo_retrieval", replace(job, main=lambda config: pytest.fail("ran again")))
    for seed, value in enumerate((60.0, 70.0)):
        finished(tmp_path / "runs", job.config, seed, value)
    page = tmp_path / "page.md"
    config = study.Config(("didemo_retrieval",), (0, 1), tmp_path / "runs", page)
    results = study.main(config, "python x.py")
    assert len(results["didemo_retrieval"]) == 2
    row = "| didemo_retrieval | t2v R@1, ITC | 10.0 | 60.0 | 70.0 | 65.0 ± 7.1 |"
    assert row in page.read_text()
    assert "By `python x.py`" in page.read_text()
    assert "65.0 ± 7.1" in capsys.readouterr().out


def test_a_folder_of_other_settings_is_refused(tmp_path):
    config = study.JOBS["didemo_retrieval"].config
    finished(tmp_path, replace(config, baseline=False), 0, 1.0)
    with pytest.raises(ValueError, match="baseline: False -> True"):
        study.main(study.Config(("didemo_retrieval",), (0,), tmp_path))
    with pytest.raises(ValueError, match="nonsense"):
        study.Config(("nonsense",))


def test_every_job_is_a_recipe_as_it_is_without_arguments():
    for name, job in study.JOBS.items():
        module = __import__(name.split()[0])
        assert job.main is module.main
        assert job.config == module.EMBEDDED or name.endswith("classifier")
        assert job.config.data.root is None
        assert isinstance(job.config, RetrievalConfig) == name.endswith("_retrieval")
