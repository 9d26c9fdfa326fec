"""The comparison trains what is not trained, once, and sets it side by side."""

import inspect
import json
import re
from dataclasses import replace
from pathlib import Path

import compare as recipe
import evilm_pretrain
import evilm_qa
import evilm_retrieval
import evilm_tokenizer
import msrvtt_qa
import msrvtt_retrieval
import pytest

from litevl.adapters import LiteVLConfig
from litevl.comparison import CostConfig, compare
from litevl.evaluation.answering import QuestionEvaluationConfig
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.evilm import EViLMConfig
from litevl.training import TrainingConfig

TRAINING = TrainingConfig(epochs=1, batch_size=8, lr=1e-3, precision="no")
TINY = EViLMConfig(48, 12, 3, "divided", 16, 1, 2, 16, 2, 1, 1, 8, max_positions=40)


@pytest.fixture
def tiny(corpus, backbone, answering_backbone, tmp_path, monkeypatch):
    """The recipes' defaults for real data, cut to two steps on the corpus of the tests."""
    ranked = EvaluationConfig(k=4, batch_size=4, pair_batch=16, workers=0)
    asked = QuestionEvaluationConfig(k=4, batch_size=4, question_batch=8, pair_batch=16, workers=0)
    three = LiteVLConfig(num_frames=3)

    def cut(name, module, blip=None, **changes):
        config = getattr(module, name)
        data = replace(config.data, workers=0)
        if blip is not None:
            changes["model"] = replace(config.model, backbone=str(blip), adapter=three)
        else:
            data = replace(data, train_split="full", test_split="full") if module is not evilm_qa else data
        if module is msrvtt_retrieval:
            data = replace(data, train_split="full", test_split="full")
        monkeypatch.setattr(module, name, replace(config, data=data, training=TRAINING, **changes))

    cut("MSRVTT", msrvtt_retrieval, backbone, evaluation=ranked)
    cut("MSRVTT", msrvtt_qa, answering_backbone, evaluation=asked)
    cut("REAL", evilm_retrieval, evaluation=ranked)
    cut("REAL", evilm_qa, evaluation=asked)
    sizes = replace(evilm_pretrain.REAL.model, architecture=TINY, vocab=str(backbone / "vocab.txt"))
    cut("REAL", evilm_pretrain, evaluation=ranked, model=sizes)
    codes = replace(evilm_tokenizer.REAL.model, image_size=48, patch_size=12, width=16, layers=1, heads=2, codes=8)
    evaluation = replace(evilm_tokenizer.REAL.evaluation, workers=0)
    cut("REAL", evilm_tokenizer, model=codes, num_frames=3, evaluation=evaluation)
    monkeypatch.chdir(tmp_path)
    quick = CostConfig("cpu", batches=(1,), rounds=1, memory_batch=None)
    monkeypatch.setattr(recipe, "CostConfig", lambda device, **options: quick)
    return recipe.Config(data_root=corpus, seeds=(0, 1), folder=tmp_path / "compare")


def test_retrieval_from_nothing_to_tables(tiny, backbone, tmp_path, capsys, monkeypatch):
    config = replace(
        tiny,
        models=("LiteVL", "temporal shift", recipe.WHOLE, recipe.EVILM),
        backbone=str(backbone),
        markdown=tmp_path / "RESULTS.md",
        plot=tmp_path / "plot.png",
        json=tmp_path / "compare.json",
    )
    found = recipe.main(config, "the command")
    assert [line.name for line in found.lines] == ["frozen frame average", *config.models]
    assert found.large == recipe.WHOLE
    assert all(line.entry.seeds == (0, 1) for line in found.lines[1:]), "seeds of one model, E-ViLM's starts too"
    unnamed = compare([str(config.folder / "retrieval" / "*")], measure=False)
    assert [len(line.entry.runs) for line in unnamed.lines if not line.entry.frozen] == [2, 2, 2, 2]
    assert found.line("LiteVL").cost.trainable < found.line(recipe.WHOLE).cost.trainable
    page = config.markdown.read_text()
    for text in ("By `the command`", "E-ViLM", "Percent of LiteVL, whole model trained", "91.4%", "not measured here"):
        assert text in page
    assert config.plot.stat().st_size > 10_000
    models = {each["name"]: each for each in json.loads(config.json.read_text())["models"]}
    assert len(models) == 5
    stages = models["E-ViLM"]["earlier"]
    assert [stage["name"] for stage in stages] == ["pre-training", "tokenizer"]
    assert all(stage["steps"] == 2 and stage["clips"] == 16 and stage["flops"] > 0 for stage in stages)
    assert not models["LiteVL"]["earlier"]
    assert "E-ViLM, before: tokenizer" in page
    assert "Full size" not in page
    for module in (msrvtt_retrieval, evilm_retrieval, evilm_pretrain, evilm_tokenizer):
        monkeypatch.setattr(module, "main", lambda config: pytest.fail("ran again"))
    assert recipe.main(config).line("LiteVL").scores == found.line("LiteVL").scores
    capsys.readouterr()


def test_questions(tiny, backbone, tmp_path):
    start = recipe.main(replace(tiny, models=("LiteVL", recipe.EVILM), cost=False, backbone=str(backbone)))
    assert start.lines
    made = tmp_path / "compare" / "pretraining" / "semantic-VQ-seed0-pretrain"
    with pytest.raises(ValueError, match="evilm_start: questions alone"):
        replace(tiny, task="questions")
    config = replace(tiny, task="questions", models=("LiteVL, classifier", recipe.EVILM), evilm_start=str(made))
    found = recipe.main(config)
    assert [line.name for line in found.lines] == ["frozen frame average", "LiteVL, classifier", "E-ViLM"]
    assert set(found.line("E-ViLM").scores) >= {"accuracy"}


def test_unknown_models_are_named():
    with pytest.raises(ValueError, match=r"expected some of 'LiteVL', .*'LiteVL, whole model trained', .*got 'GPT'"):
        recipe.Config(models=("GPT",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evilm_start": "runs/nothing"}, "evilm_start: expected 'embedded' or the folder of .* got runs/nothing"),
        ({"device": "gpu"}, "device: expected one of this machine"),
        ({"device": "cuda:99"}, "device: expected one of this machine"),
        ({"markdown": Path("no/page.md")}, "markdown: expected a file in a folder that is there"),
        ({"json": Path("no/all.json")}, "json: expected a file in a folder that is there"),
        ({"plot": Path("no/x.png")}, "plot: expected a file in a folder that is there"),
        ({"plot": Path("x.xyz")}, "plot: expected a file that ends in"),
        ({"plot": Path("x.png"), "cost": False}, "plot: draws accuracy against cost"),
    ],
)
def test_what_would_fail_at_the_end_is_refused_at_the_start(changes, message):
    with pytest.raises(ValueError, match=message):
        recipe.Config(**changes)


def test_a_start_is_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made").mkdir()
    (tmp_path / "made/evilm.json").write_text("{}")
    assert recipe.Config(evilm_start="made").start(0) == str((tmp_path / "made").resolve())
    assert recipe.Config(evilm_start="embedded").start(0) == "embedded"


def test_help_names_the_models_of_each_task():
    help_of_models = inspect.getsource(recipe.Config).partition("models: tuple")[2].partition("seeds:")[0]
    for text in (recipe.__doc__, help_of_models):
        said = " ".join(text.split())
        told = said[said.lower().index("retrieval:") if text is help_of_models else said.index("The models of") :]
        for_retrieval, _, for_questions = told.partition("uestions: ")
        for task, part in (("retrieval", for_retrieval), ("questions", for_questions)):
            names = re.findall(r"'([^']+)'", part.partition(".")[0])
            assert names == list(recipe.MODELS[task]), task
