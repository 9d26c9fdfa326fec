"""Question answering through its `main`, on real files and a random backbone."""

import json
from dataclasses import replace

import msrvtt_qa as recipe
import msvd_qa
import pytest
import torch
from forked_runs import run as run_apart
from forked_runs import said_by
from safetensors.torch import load_file

from litevl.adapters import LiteVLConfig
from litevl.data import question_answering
from litevl.data.question_answering import QuestionDataConfig, load_question_data
from litevl.data.video import VideoError
from litevl.evaluation.answering import QuestionEvaluationConfig
from litevl.tasks import QuestionAnsweringConfig, run
from litevl.tasks import parse as parse_any
from litevl.training import TrainingConfig
from litevl.training.question_model import QuestionModelConfig


def parse(arguments):
    return parse_any(arguments, recipe.EMBEDDED, recipe.MSRVTT, recipe.__doc__)


@pytest.fixture
def config(corpus, answering_backbone, tmp_path):
    """One epoch of two steps."""
    return QuestionAnsweringConfig(
        QuestionModelConfig(str(answering_backbone), adapter=LiteVLConfig(num_frames=3)),
        TrainingConfig(epochs=1, batch_size=8, lr=1e-3, precision="no"),
        QuestionEvaluationConfig(k=4, batch_size=4, question_batch=8, pair_batch=16, workers=0),
        QuestionDataConfig(root=corpus, questions=9, workers=0),
        baseline=False,
        output_dir=tmp_path / "run",
    )


def steps(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_reports_every_type_of_question_with_its_ceiling(config, capsys):
    metrics = recipe.main(replace(config, baseline=True))
    assert len(steps(config.output_dir)) == 2
    stamp, result = metrics["protocol"], metrics["results"]["LiteVL"]
    assert set(metrics["results"]) == {"frame average", "LiteVL"}
    data = load_question_data(config.data, progress=False)
    asked = data.questions["test"]
    assert result["questions"] == len(asked) == result["answered"]
    words = ("what", "who", "how", "when", "where")
    assert sum(result.get(f"questions_{word}", 0) for word in words) < len(asked)  # "which shape ..." is none of them
    assert sum(result[f"questions_{kind}"] for kind in {each.kind for each in asked}) == len(asked)
    assert result["questions_how"] == sum(each.question.startswith("how ") for each in asked)
    assert result["answers"] == stamp["answers"] == len(data.answers)
    assert result["ceiling"] == pytest.approx(stamp["answer_ceiling"]["test"]) == data.answers.ceiling(asked) < 100.0
    assert stamp["answer_source"] == "training answers that occur twice or more"
    assert (stamp["inference"], stamp["head"], stamp["selected_on"]) == ("rank", "decoder", "val")
    assert result["order_questions"] == sum(each.kind in ("direction", "growth", "order") for each in asked)
    assert set(metrics["epochs"][0]) == {"epoch", "split", "accuracy"}
    out = capsys.readouterr().out
    for text in ("ceiling of the list", "frame average", "only order tells", "coverage 8/8"):
        assert text in out
    assert all(name.removeprefix("accuracy_") in out for name in result if name.startswith("accuracy_"))
    card = (config.output_dir / "README.md").read_text()
    assert "VideoQuestionAnswering(blip, PoolingConfig(" in card
    assert 'task="vqa"' in card


def test_the_same_seed_gives_the_same_losses_with_and_without_workers(config, tmp_path):
    recipe.main(config)
    recipe.main(replace(config, output_dir=tmp_path / "again", data=replace(config.data, workers=2)))
    recipe.main(replace(config, output_dir=tmp_path / "other", seed=1))
    first, again, other = (steps(folder) for folder in (config.output_dir, tmp_path / "again", tmp_path / "other"))
    assert first == again
    assert first[0]["loss"] != other[0]["loss"]


@pytest.mark.parametrize("head", ["decoder", "classifier"])
def test_a_run_is_evaluated_again_from_its_folder_alone(config, head, capsys):
    config = replace(config, model=replace(config.model, head=head))
    metrics = recipe.main(config)
    again = recipe.main(parse(["--evaluate", str(config.output_dir)]))
    assert again["results"] == metrics["results"]
    assert again["protocol"]["answers"] == metrics["protocol"]["answers"]
    assert "equal to the run's metrics.json" in capsys.readouterr().out
    tensors = load_file(config.output_dir / "adapter_model.safetensors")
    assert any(name.startswith("classifier.") for name in tensors) == (head == "classifier")
    card = (config.output_dir / "README.md").read_text()
    assert (f"classes={metrics['protocol']['answers']}" in card) == (head == "classifier")


def test_a_stopped_run_resumes_to_the_same_end(config, tmp_path, monkeypatch):
    training = replace(config.training, epochs=2, select_on="last")
    whole = replace(config, training=training)
    recipe.main(whole)
    parts = replace(whole, output_dir=tmp_path / "parts")
    evaluate = run.train

    def stop(task, *args):
        save = task.save

        def save_and_stop(model, path):
            if (parts.output_dir / "adapter_model.safetensors").exists():
                raise KeyboardInterrupt
            save(model, path)

        task.save = save_and_stop
        return evaluate(task, *args)

    with monkeypatch.context() as patch:
        patch.setattr(run, "train", stop)
        with pytest.raises(KeyboardInterrupt):
            recipe.main(parts)
    recipe.main(replace(parts, resume=True))
    first, second = (load_file(c.output_dir / "adapter_model.safetensors") for c in (whole, parts))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_answers_may_be_written_and_then_have_no_ceiling(config):
    written = replace(config, evaluation=replace(config.evaluation, inference="generate", num_beams=1))
    metrics = recipe.main(written)
    assert metrics["protocol"]["inference"] == "generate"
    assert "ceiling" not in metrics["results"]["LiteVL"]


def test_zero_shot_ranks_the_training_answers_and_can_be_repeated(config):
    zero = replace(config, baseline=True, training=replace(config.training, epochs=0))
    metrics = recipe.main(zero)
    assert set(metrics["results"]) == {"frame average"}
    again = recipe.main(replace(zero, output_dir=None, evaluate=config.output_dir))
    assert again["results"] == metrics["results"]


def test_a_missing_video_counts_as_wrong(config, corpus, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    data = load_question_data(config.data, progress=False)
    gone = data.splits["test"][0]
    for video in (corpus / "videos").iterdir():
        if video.stem != gone.video_id:
            (folder / video.name).symlink_to(video)
    settings = replace(config.data, videos=folder, on_bad_video="skip")
    result = recipe.main(replace(config, data=settings))["results"]["LiteVL"]
    assert result["questions"] == len(data.questions["test"])
    assert result["answered"] == result["questions"] - len(gone.questions)
    assert result["coverage"] == f"coverage 7/8 (missing: {gone.video_id})"


def test_a_run_that_is_not_finished_is_not_evaluated_again(config):
    recipe.main(config)
    (config.output_dir / "metrics.json").unlink()
    with pytest.raises(ValueError, match=r"expected a finished run, .*--resume"):
        recipe.main(parse(["--evaluate", str(config.output_dir)]))


def test_the_list_of_answers_is_the_runs_own(config):
    recipe.main(config)
    with pytest.raises(ValueError, match=r"the run's own and can't be changed: data.answers: None -> 3"):
        recipe.main(parse(["--evaluate", str(config.output_dir), "--data.answers", "3"]))


def test_what_does_not_go_together_is_refused(config, tmp_path):
    with pytest.raises(ValueError, match="expected one of them, got both"):
        replace(config.data, answers=5, answer_file=tmp_path)
    for name in ("k", "num_beams", "batch_size", "question_batch", "pair_batch"):
        with pytest.raises(ValueError, match=rf"evaluation\.{name}: expected at least 1, got 0"):
            replace(config.evaluation, **{name: 0})
    with pytest.raises(ValueError, match="expected inference=rank"):
        replace(
            config,
            model=replace(config.model, head="classifier"),
            evaluation=replace(config.evaluation, inference="generate"),
        )


def test_help_teaches(tmp_path):
    said = said_by("msrvtt_qa", "--help", output=tmp_path / "help")
    for text in ("--head", "--data.answers", "--evaluation.inference", "--adapter.scaling", "ceiling"):
        assert text in said


@pytest.mark.slow
def test_two_processes_train_as_one(config, tmp_path):
    """Each process holds another number of questions; the losses and metrics agree all the same."""
    results = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        words = [
            *("--data.root", config.data.root, "--backbone", config.model.backbone),
            *("--epochs", 1, "--batch-size", 8, "--lr", 1e-3, "--no-baseline", "--precision", "no"),
            *("--adapter.num-frames", 3, "--data.questions", 2, "--data.workers", 0),
            *("--evaluation.workers", 0, "--evaluation.k", 4, "--output-dir", folder),
        ]
        said_by("msrvtt_qa", *words, processes=processes, output=tmp_path / "said")
        results[processes] = (steps(folder), json.loads((folder / "metrics.json").read_text())["results"]["LiteVL"])
    (one, alone), (two, together) = results[1], results[2]
    assert [each["loss"] for each in two] == pytest.approx([each["loss"] for each in one], abs=1e-4)
    assert together["accuracy"] == alone["accuracy"]


def test_msvd_qa_is_the_same_with_its_own_data_set():
    assert replace(msvd_qa.EMBEDDED, data=recipe.EMBEDDED.data) == recipe.EMBEDDED
    assert replace(msvd_qa.MSVD, data=recipe.MSRVTT.data) == recipe.MSRVTT
    assert msvd_qa.EMBEDDED.data.dataset == msvd_qa.MSVD.data.dataset == "msvd"


def test_msvd_qa_runs_on_the_corpus_in_msvds_schema(config, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(question_answering, "ensure_corpus", lambda progress: corpus)
    data = replace(config.data, root=None)
    recipe.main(replace(config, data=data))
    metrics = msvd_qa.main(replace(config, data=replace(data, dataset="msvd"), output_dir=tmp_path / "msvd"))
    assert metrics["protocol"]["dataset"] == "embedded corpus"
    assert steps(tmp_path / "msvd") == steps(config.output_dir)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_video_in_training_is_named_with_what_to_do(config, corpus, tmp_path, workers):
    folder = tmp_path / "videos"
    folder.mkdir()
    train = load_question_data(config.data, progress=False).splits["train"][3]
    for video in (corpus / "videos").iterdir():
        if video.stem == train.video_id:
            (folder / video.name).write_bytes(video.read_bytes()[:900])
        else:
            (folder / video.name).symlink_to(video)
    settings = replace(config.data, videos=folder, workers=workers)
    with pytest.raises(VideoError, match=f"{train.video_id}.*--data.on-bad-video skip"):
        recipe.main(replace(config, data=settings))
    metrics = recipe.main(replace(config, data=replace(settings, on_bad_video="skip"), output_dir=tmp_path / "skipped"))
    assert train.video_id in metrics["protocol"]["coverage"]["train"]


def test_the_scales_of_a_run_are_drawn(config, tmp_path):
    pytest.importorskip("matplotlib")
    from litevl.plots.__main__ import main as plots

    recipe.main(replace(config, model=replace(config.model, head="classifier")))
    plots(["scales", str(config.output_dir), "--save", str(tmp_path / "scales.png")])
    assert (tmp_path / "scales.png").stat().st_size > 1000
    with pytest.raises(SystemExit):
        plots(["pooling", str(config.output_dir), "--video", "x.mp4", "--text", "x"])


def test_a_users_mistake_is_one_line(tmp_path):
    words = ["--data.root", tmp_path / "nowhere"]
    ended = run_apart("msrvtt_qa", words, output=tmp_path / "said")
    assert ended.code == 1
    assert ended.error.startswith("error: expected the folder of the questions")
    assert "Traceback" not in ended.said[0]
    ended = run_apart("msrvtt_qa", words, output=tmp_path / "said", LITEVL_DEBUG="1")
    assert "Traceback" in ended.said[0]
