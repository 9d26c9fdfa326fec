"""Captioning through its `main`, on real files and a random backbone."""

import json
from dataclasses import replace

import msrvtt_captioning as recipe
import pytest
from forked_runs import said_by

from litevl.adapters import LiteVLConfig
from litevl.data import retrieval
from litevl.data.retrieval import RetrievalDataConfig
from litevl.evaluation import caption_metrics
from litevl.evaluation.captioning import CaptioningEvaluationConfig
from litevl.tasks import CaptioningConfig
from litevl.tasks import parse as parse_any
from litevl.training import TrainingConfig
from litevl.training.captioning_model import CaptioningModelConfig


@pytest.fixture
def config(corpus, captioning_backbone, tmp_path, monkeypatch):
    """One epoch of two steps, on what the recipe runs without arguments."""
    monkeypatch.setattr(retrieval, "ensure_corpus", lambda progress: corpus)
    return CaptioningConfig(
        CaptioningModelConfig(str(captioning_backbone), adapter=LiteVLConfig(num_frames=3), max_text_length=30),
        TrainingConfig(epochs=1, batch_size=8, lr=1e-3, precision="no"),
        CaptioningEvaluationConfig(batch_size=4, num_beams=2, max_new_tokens=6, workers=0),
        RetrievalDataConfig(workers=0),
        baseline=False,
        output_dir=tmp_path / "run",
    )


def steps(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_writes_captions_scores_and_what_another_needs(config, capsys):
    metrics = recipe.main(replace(config, baseline=True))
    assert len(steps(config.output_dir)) == 2
    result, stamp = metrics["results"]["LiteVL"], metrics["protocol"]
    assert len(result["captions"]) == 8
    assert result["references"] == 32  # every wording of eight clips
    for name in ("cider", "bleu1", "bleu4", "rouge_l", "equal_to_reference", "order_accuracy"):
        assert 0 <= result[name] <= 1000
    assert (stamp["prompt"], stamp["num_beams"], stamp["selected_on"]) == ("a picture of", 2, "val")
    assert set(metrics["epochs"][0]) == {"epoch", "split", "cider"}
    # The frames of a clip and of its reversal are the same ones, so of each pair one is right.
    assert metrics["results"]["frame average"]["order_accuracy"] == 50.0
    out = capsys.readouterr().out
    for text in ("CIDEr", "BLEU-4", "ROUGE-L", "32 references", "without Java"):
        assert text in out
    card = (config.output_dir / "README.md").read_text()
    assert 'VideoCaptioning(blip, PoolingConfig(mode="none"))' in card


def test_the_same_seed_gives_the_same_losses_and_the_folder_alone_the_same_captions(config, tmp_path, capsys):
    metrics = recipe.main(config)
    recipe.main(replace(config, output_dir=tmp_path / "again", data=replace(config.data, workers=2)))
    assert steps(config.output_dir) == steps(tmp_path / "again")
    arguments = ["--evaluate", str(config.output_dir)]
    again = recipe.main(parse_any(arguments, recipe.EMBEDDED, recipe.MSRVTT, recipe.__doc__))
    assert again["results"] == metrics["results"]
    assert "equal to the run's metrics.json" in capsys.readouterr().out


def test_scorers_that_are_not_there_are_named_before_the_training(config, monkeypatch):
    monkeypatch.setattr(caption_metrics, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"litevl\[captioning\]"):
        recipe.main(config)
    assert not config.output_dir.exists()


def test_settings_out_of_range_are_named(config):
    for name in ("num_beams", "max_new_tokens", "batch_size"):
        with pytest.raises(ValueError, match=rf"evaluation\.{name}: expected at least 1, got 0"):
            replace(config.evaluation, **{name: 0})
    with pytest.raises(ValueError, match="at most max_new_tokens 6, got 7"):
        replace(config.evaluation, min_new_tokens=7)


def test_another_data_set_of_the_corpus_is_captioned_too(config):
    metrics = recipe.main(replace(config, data=replace(config.data, dataset="msvd")))
    assert metrics["protocol"]["dataset"] == "embedded corpus as MSVD"
    assert metrics["results"]["LiteVL"]["references"] == 32


def test_captions_of_ones_own_are_references_all(config, corpus):
    """The defaults for real data name MSR-VTT's splits, which mean nothing there."""
    data = replace(recipe.MSRVTT.data, dataset="own", root=corpus / "own", videos=corpus, workers=0)
    metrics = recipe.main(replace(config, data=data))
    assert metrics["protocol"]["caption_mode"] == "many"
    assert len(metrics["results"]["LiteVL"]["captions"]) == 8


@pytest.mark.slow
def test_two_processes_train_and_write_as_one(config, corpus, tmp_path):
    """Each process holds another number of tokens; losses, captions and scores agree all the same."""
    results = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        words = [
            *("--data.root", corpus / "captioning", "--data.videos", corpus),
            *("--backbone", config.model.backbone, "--max-text-length", 30, "--adapter.num-frames", 3),
            *("--epochs", 1, "--batch-size", 8, "--lr", 1e-3, "--no-baseline", "--precision", "no"),
            *("--no-gradient-checkpointing", "--data.workers", 0, "--evaluation.workers", 0),
            *("--evaluation.max-new-tokens", 6, "--output-dir", folder),
        ]
        said_by("msrvtt_captioning", *words, processes=processes, output=tmp_path / "said")
        results[processes] = (steps(folder), json.loads((folder / "metrics.json").read_text())["results"]["LiteVL"])
    (one, alone), (two, together) = results[1], results[2]
    assert [each["loss"] for each in two] == pytest.approx([each["loss"] for each in one], abs=1e-4)
    assert together["captions"] == alone["captions"]
    assert together["cider"] == pytest.approx(alone["cider"], abs=1e-6)


def test_batches_of_look_alikes_are_refused(config):
    with pytest.raises(ValueError, match="look-alikes"):
        replace(config, data=replace(config.data, similar=2))


def test_help_teaches(tmp_path):
    said = said_by("msrvtt_captioning", "--help", output=tmp_path / "help")
    for text in ("--prompt", "--evaluation.num-beams", "--data.root", "CIDEr"):
        assert text in said
