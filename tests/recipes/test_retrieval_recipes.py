"""The recipes of the other retrieval data sets: each through its `main` with its own defaults, on a small corpus."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from forked_runs import said_by

from litevl.data import retrieval
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.tasks import parse

MODES = {"didemo": "paragraph", "activitynet": "paragraph", "msvd": "many", "own": "one"}
REPORTED = {"didemo": "DiDeMo", "activitynet": "ActivityNet Captions", "msvd": "MSVD", "own": "own data"}


@pytest.fixture(params=MODES)
def recipe(request):
    return importlib.import_module(f"{request.param}_retrieval")


@pytest.fixture
def config(recipe, corpus, backbone, tmp_path, monkeypatch):
    """What the recipe runs without arguments, in one epoch of two steps on a small corpus and backbone."""
    monkeypatch.setattr(retrieval, "ensure_corpus", lambda progress: corpus)
    default = recipe.EMBEDDED
    return replace(
        default,
        model=replace(default.model, backbone=str(backbone), adapter=replace(default.model.adapter, num_frames=3)),
        training=replace(default.training, epochs=1, batch_size=8, precision="no"),
        evaluation=EvaluationConfig(k=4, batch_size=4, pair_batch=16, workers=0),
        data=replace(default.data, workers=0, similar=2),
        baseline=False,
        output_dir=tmp_path / "run",
    )


def dataset(recipe):
    return recipe.__name__.removesuffix("_retrieval")


def real(recipe):
    return getattr(recipe, dataset(recipe).upper())


def steps(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_two_steps_and_what_is_reported(recipe, config):
    metrics = recipe.main(replace(config, baseline=True))
    name, stamp = dataset(recipe), metrics["protocol"]
    assert len(steps(config.output_dir)) == 2
    assert (stamp["dataset"], stamp["caption_mode"]) == (f"embedded corpus as {REPORTED[name]}", MODES[name])
    assert (stamp["test_split"], stamp["selected_on"]) == ("val_1" if name == "activitynet" else "test", "val")
    for values in metrics["results"].values():
        assert values["contrastive"]["t2v_queries"] == (32 if name == "msvd" else 8)
        assert values["coverage"] == "coverage 8/8"
        assert set(values["order_accuracy"]) == {"contrastive", "reranked"}
        assert len(values["reranked"]["t2v_r1_by_category"]) == 4
    assert metrics["results"]["frame average"]["order_accuracy"]["contrastive"] == 50.0


def test_the_same_seed_gives_the_same_losses(recipe, config, tmp_path):
    for folder, seed in (("one", 0), ("same", 0), ("other", 1)):
        recipe.main(replace(config, output_dir=tmp_path / folder, seed=seed))
    assert steps(tmp_path / "one") == steps(tmp_path / "same")
    assert steps(tmp_path / "one")[0]["loss"] != steps(tmp_path / "other")[0]["loss"]


@pytest.mark.parametrize("recipe", ["own"], indirect=True)
def test_own_tables_of_the_corpus_give_what_its_msrvtt_files_give(config, recipe, tmp_path):
    as_msrvtt = replace(config.data, dataset="msrvtt", caption_mode=None)
    metrics = [
        recipe.main(replace(config, data=data, output_dir=tmp_path / data.dataset)) for data in (config.data, as_msrvtt)
    ]
    assert steps(tmp_path / "own") == steps(tmp_path / "msrvtt")
    assert metrics[0]["results"] == metrics[1]["results"]


def test_a_run_is_evaluated_again_from_its_folder_alone(recipe, config, capsys):
    metrics = recipe.main(config)
    words = ["--evaluate", str(config.output_dir)]
    again = recipe.main(parse(words, recipe.EMBEDDED, real(recipe), recipe.__doc__))
    assert again["results"] == metrics["results"]
    assert "equal to the run's metrics.json" in capsys.readouterr().out


def test_defaults_follow_the_data(recipe, tmp_path):
    def parsed(*words):
        return parse([*words], recipe.EMBEDDED, real(recipe), recipe.__doc__)

    assert parsed() == recipe.EMBEDDED
    mine = parsed("--data.root", str(tmp_path))
    assert mine == replace(real(recipe), data=replace(real(recipe).data, root=tmp_path))
    assert mine.data.dataset == recipe.EMBEDDED.data.dataset == dataset(recipe)
    assert mine.model.max_text_length == (64 if MODES[dataset(recipe)] == "paragraph" else 35)
    assert (mine.training.lr, mine.data.val_file) == (1e-4, None)


def test_help_teaches(recipe, tmp_path):
    path = Path(recipe.__file__)
    said = said_by(path.stem, "--help", output=tmp_path / "help")
    for text in ("--data.root", "--backbone", "--data.val-file", f"recipes/{path.name}"):
        assert text in said


def test_own_tables_train_and_test_with_segments_and_several_captions(corpus, backbone, tmp_path):
    import own_retrieval as recipe

    rows = [f"video{n}.mp4,{caption}" for n in range(8) for caption in ("a red square", '"a star, then a circle"')]
    (tmp_path / "train.csv").write_text("\n".join(["video,caption", *rows]) + "\n")
    clips = [{"video": f"video{n}.mp4", "caption": f"thing {n}", "start": 0.5, "end": 1.5} for n in range(24, 28)]
    (tmp_path / "test.jsonl").write_text("".join(f"{json.dumps(clip)}\n" for clip in clips))
    words = ["--data.root", tmp_path, "--data.videos", corpus, "--backbone", backbone, "--no-baseline", "--epochs", 1]
    words += ["--batch-size", 4, "--data.workers", 0, "--evaluation.workers", 0, "--output-dir", tmp_path / "run"]
    words += ["--adapter.num-frames", 2, "--precision", "no"]
    metrics = recipe.main(parse([str(word) for word in words], recipe.EMBEDDED, recipe.OWN, recipe.__doc__))
    assert metrics["protocol"]["selected_on"] == "last"
    assert metrics["protocol"]["schema"] == "csv+jsonl"
    result = metrics["results"]["LiteVL"]
    assert (result["reranked"]["t2v_gallery"], result["coverage"]) == (4, "coverage 4/4")
    assert len(steps(tmp_path / "run")) == 2
