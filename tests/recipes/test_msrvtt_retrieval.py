"""The main job through its `main`, on real files and a random backbone."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msrvtt_retrieval as recipe
import pytest
import torch
from forked_runs import said_by
from safetensors.torch import load_file

from litevl import load_clip
from litevl.adapters import AdapterLoadError, LiteVLConfig, fingerprint, load_adapters
from litevl.blip import load_blip
from litevl.data.annotations import AnnotationError
from litevl.data.coverage import UnusableVideosError
from litevl.data.retrieval import RetrievalDataConfig, load_retrieval_data
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.losses import RetrievalLossConfig
from litevl.tasks import RetrievalConfig, run
from litevl.tasks import parse as parse_any
from litevl.tasks import retrieval as task
from litevl.training import RetrievalModelConfig, TrainingConfig, load_model

RECIPE = Path(recipe.__file__)
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # peft 0.21 on 5.23


def parse(arguments):
    return parse_any(arguments, recipe.EMBEDDED, recipe.MSRVTT, recipe.__doc__)


@pytest.fixture
def config(corpus, backbone, tmp_path):
    """One epoch of two steps."""
    return RetrievalConfig(
        RetrievalModelConfig(str(backbone), adapter=LiteVLConfig(num_frames=3)),
        TrainingConfig(epochs=1, batch_size=8, lr=1e-3, precision="no"),
        EvaluationConfig(k=4, batch_size=4, pair_batch=16, workers=0),
        data=RetrievalDataConfig(root=corpus, train_split="full", test_split="full", workers=0),
        baseline=False,
        output_dir=tmp_path / "run",
    )


def steps(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_writes_all_that_another_needs(config, capsys):
    metrics = recipe.main(replace(config, baseline=True))
    folder = config.output_dir
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("config.json", "metrics.json", "adapter_config.json", "adapter_model.safetensors", "state.pt", "log.jsonl"),
        "README.md",
    }
    card = (folder / "README.md").read_text()
    assert "| | t2v_r1 |" in card
    assert f"| reranked | {metrics['results']['LiteVL']['reranked']['t2v_r1']:.4g} |" in card
    assert f"`{metrics['protocol']['backbone_fingerprint']}`" in card
    assert json.loads((folder / "metrics.json").read_text()) == json.loads(json.dumps(metrics))
    assert len(steps(folder)) == 2
    assert all(value == value for step in steps(folder) for value in step.values())
    results, stamp = metrics["results"], metrics["protocol"]
    assert set(results) == {"frame average", "LiteVL"}
    for values in results.values():
        assert values["contrastive"]["t2v_gallery"] == values["reranked"]["v2t_gallery"] == 8
        assert values["coverage"] == "coverage 8/8"
        assert set(values["order_accuracy"]) == {"contrastive", "reranked"}
        assert set(values["reranked"]["t2v_r1_by_category"]) == {
            *("static", "order of movement", "order of appearance", "event"),
        }
    # A clip and its reversal have one frame average, so of each pair one is right and one is wrong.
    assert results["frame average"]["order_accuracy"]["contrastive"] == 50.0
    assert stamp["selected_on"] == "val"
    assert (stamp["num_frames"], stamp["image_size"], stamp["k"]) == (3, 48, 4)
    assert len(stamp["backbone_fingerprint"]) == 16
    out = capsys.readouterr().out
    for text in ("t2v R@1", "v2t R@10", "frame average, reranked", "coverage 8/8", "top 4 re-ranked", "trainable"):
        assert text in out
    tensors = load_file(folder / "adapter_model.safetensors")
    assert "heads.temperature" in tensors
    assert all(
        "temporal_attention" in name or "time_embedding" in name for name in set(tensors) - {"heads.temperature"}
    )


def test_the_same_seed_gives_the_same_losses_with_and_without_workers(config, tmp_path):
    recipe.main(config)
    again = replace(config, output_dir=tmp_path / "again", data=replace(config.data, workers=2))
    recipe.main(again)
    other = replace(config, output_dir=tmp_path / "other", seed=1)
    recipe.main(other)
    assert steps(config.output_dir) == steps(again.output_dir)
    assert steps(config.output_dir)[0]["loss"] != steps(other.output_dir)[0]["loss"]
    first, second = (load_file(c.output_dir / "adapter_model.safetensors") for c in (config, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_is_evaluated_again_from_its_folder_alone(config, backbone, capsys):
    metrics = recipe.main(config)
    before = {path.name: path.read_bytes() for path in config.output_dir.iterdir()}
    again = recipe.main(parse(["--evaluate", str(config.output_dir)]))
    assert again["results"] == metrics["results"]
    assert "equal to the run's metrics.json" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in config.output_dir.iterdir()} == before
    recipe.main(parse(["--evaluate", str(config.output_dir), "--evaluation.k", "2"]))
    out = capsys.readouterr().out
    assert "not as in the run: evaluation.k: 4 -> 2" in out
    assert "differs from the run's metrics.json" in out


def test_a_run_without_its_first_checkpoint_can_be_resumed(config, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(run, "train", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            recipe.main(config)
    # The folder's own settings hold, none of which is a default here; older ones may lack what is new.
    stored = json.loads((config.output_dir / "config.json").read_text())
    del stored["training"]["gradient_cache"]
    (config.output_dir / "config.json").write_text(json.dumps(stored))
    words = ["--resume", "--output-dir", str(config.output_dir)]
    with pytest.raises(ValueError, match=r"another config: evaluation\.k: 4 -> 2$"):
        recipe.main(parse([*words, "--evaluation.k", "2"]))
    assert "LiteVL" in recipe.main(parse(words))["results"]


def test_a_run_folder_loads_onto_a_bare_blip(config, caplog):
    recipe.main(config)
    blip = load_blip(config.model.backbone)
    load_adapters(blip, config.output_dir, verbose=False)
    assert "these belong to a task model and stay in the file: heads.temperature" in caplog.text
    stored = json.loads((config.output_dir / "adapter_config.json").read_text())
    metrics = json.loads((config.output_dir / "metrics.json").read_text())
    assert stored["backbone_fingerprint"] == metrics["protocol"]["backbone_fingerprint"] == fingerprint(blip)


def test_adapters_trained_beside_lora_are_refused_without_it(config):
    recipe.main(replace(config, model=replace(config.model, train="adapters+lora")))
    with pytest.raises(AdapterLoadError, match="LoRA"):
        load_adapters(load_blip(config.model.backbone), config.output_dir, verbose=False)


def test_a_batch_of_one_is_refused(config):
    training = replace(config.training, accumulation=8)
    with pytest.raises(ValueError, match="at least 2 clips"):
        recipe.main(replace(config, training=training))


def test_similar_videos_share_batches(config):
    recipe.main(replace(config, data=replace(config.data, similar=4)))
    with pytest.raises(ValueError, match="captions='one'"):
        recipe.main(
            replace(
                config,
                data=replace(config.data, similar=4, captions="all"),
                output_dir=config.output_dir.with_name("all"),
            )
        )


def test_zero_epochs_evaluate_the_unadapted_backbone(config):
    metrics = recipe.main(replace(config, baseline=True, training=replace(config.training, epochs=0)))
    assert set(metrics["results"]) == {"frame average"}
    assert metrics["protocol"]["trained"] == "nothing (zero-shot)"
    assert not (config.output_dir / "adapter_model.safetensors").exists()


def test_multiple_choice_is_evaluated_beside_retrieval(config, corpus, tmp_path, capsys):
    """The right caption among those of other clips, checked against the model's own scores, one pair at a time."""
    test = load_retrieval_data(config.data, training=False, progress=False).splits["test"]
    texts = [video.captions[0] for video in test]
    rows = [
        {"video": f"{video.video_id}.mp4", "caption": texts[place:] + texts[:place], "answer": 0}
        for place, video in enumerate(test)
    ]
    path = tmp_path / "msrvtt_mc_test.json"
    path.write_text(json.dumps(rows))
    wanted = replace(config, data=replace(config.data, choices=path))
    metrics = recipe.main(wanted)
    found = metrics["results"]["LiteVL"]["multiple_choice"]
    assert (found["videos"], found["answered"]) == (8, 8)
    model = load_model(config.model, config.output_dir, torch.device("cpu")).eval()
    clips = {v.video_id: load_clip(corpus / "videos" / f"{v.video_id}.mp4", model) for v in test}
    hits = {"contrastive": 0, "reranked": 0}
    with torch.no_grad():
        text = model.encode_text(texts)
        for place, video in enumerate(test):
            seen = model.encode_video(clips[video.video_id][None])
            similar = model.similarity(text, seen)[:, 0]
            match = torch.stack([model.match_pairs(text[torch.tensor([n])], seen)[0, 1] for n in range(8)])
            hits["contrastive"] += int(similar.argmax()) == place
            hits["reranked"] += int((match + similar).argmax()) == place
    assert found["accuracy_contrastive"] == pytest.approx(100 * hits["contrastive"] / 8)
    assert found["accuracy_reranked"] == pytest.approx(100 * hits["reranked"] / 8)
    out = capsys.readouterr().out
    assert "Multiple choice, accuracy" in out
    assert "model (8 of 8 videos)" in out
    again = recipe.main(parse(["--evaluate", str(config.output_dir)]))
    assert again["results"] == metrics["results"]
    leaking = [{**rows[0], "video": load_retrieval_data(config.data, progress=False).splits["train"][0].video_id}]
    path.write_text(json.dumps(leaking))
    with pytest.raises(AnnotationError, match="1 of 1 videos are trained on"):
        recipe.main(replace(wanted, output_dir=tmp_path / "leak"))


def test_a_stopped_run_resumes_to_the_same_end(config, tmp_path, monkeypatch):
    training = replace(config.training, epochs=3, select_on="last")
    whole = replace(config, training=training)
    recipe.main(whole)
    parts = replace(whole, output_dir=tmp_path / "parts")

    saved = task.save_model

    def save_and_stop_in_the_second_epoch(model, config, folder, **details):
        if (parts.output_dir / "adapter_model.safetensors").exists():
            raise KeyboardInterrupt
        saved(model, config, folder, **details)

    with monkeypatch.context() as patch:
        patch.setattr(task, "save_model", save_and_stop_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            recipe.main(parts)
    recipe.main(replace(parts, resume=True))
    first, second = (load_file(c.output_dir / "adapter_model.safetensors") for c in (whole, parts))
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(FileExistsError, match="--resume"):
        recipe.main(parts)


@pytest.mark.parametrize(
    "change",
    [
        {"train": "adapters+lora"},
        {"train": "all", "heads": "copied"},
        {"heads": "copied"},
        {"adapter": LiteVLConfig(num_frames=3, scaling="conditional", cls="frame", layers=(1,))},
    ],
    ids=["lora", "all", "heads", "conditional"],
)
def test_whatever_is_trained_comes_back_from_the_folder(config, change):
    loss = RetrievalLossConfig(momentum=0.995, queue_size=12)
    config = replace(config, model=replace(config.model, **change), loss=loss)
    metrics = recipe.main(config)
    again = recipe.main(parse(["--evaluate", str(config.output_dir)]))
    assert again["results"] == metrics["results"]


def test_checkpointing_bf16_accumulation_and_all_captions(config):
    training = replace(config.training, gradient_checkpointing=True, precision="bf16", accumulation=2)
    metrics = recipe.main(replace(config, training=training, data=replace(config.data, captions="all")))
    assert metrics["protocol"]["precision"] == "bf16"
    # Every caption is a row; rows that do not fill a batch wait for another epoch's order.
    assert len(steps(config.output_dir)) >= 5


def test_tensorboard(config):
    pytest.importorskip("tensorboard")
    recipe.main(replace(config, training=replace(config.training, tracker="tensorboard")))
    assert list(config.output_dir.rglob("events.out.tfevents.*"))


class TestMissingVideos:
    @pytest.fixture
    def spoiled(self, config, corpus, tmp_path):
        folder = tmp_path / "spoiled"
        shutil.copytree(corpus, folder)
        sentences = json.loads((folder / "MSRVTT_data.json").read_text())["videos"]
        test = [video["video_id"] for video in sentences if video["split"] == "test"]
        (folder / "videos" / f"{test[0]}.mp4").unlink()
        (folder / "videos" / f"{test[5]}.mp4").write_bytes(b"not a video")
        return replace(config, data=replace(config.data, root=folder)), test

    def test_are_an_error_that_names_them(self, spoiled):
        config, test = spoiled
        with pytest.raises(UnusableVideosError, match=test[0]):
            recipe.main(config)

    def test_are_skipped_by_choice_and_said(self, spoiled):
        config, test = spoiled
        metrics = recipe.main(replace(config, data=replace(config.data, on_bad_video="skip")))
        result = metrics["results"]["LiteVL"]
        assert result["coverage"] == f"coverage 6/8 (missing: {test[0]}, {test[5]})"
        assert result["reranked"]["t2v_queries"] == result["reranked"]["t2v_gallery"] == 6
        assert metrics["protocol"]["coverage"]["test"] == f"coverage 7/8 (missing: {test[0]})"

    def test_unreadable_training_videos_are_named(self, config, corpus, tmp_path, caplog):
        folder = tmp_path / "spoiled"
        shutil.copytree(corpus, folder)
        (folder / "videos" / "video0.mp4").write_bytes(b"not a video")
        data = replace(config.data, root=folder, on_bad_video="skip")
        metrics = recipe.main(replace(config, data=data))
        assert metrics["protocol"]["coverage"]["train"] == "coverage 15/16 (missing: video0)"
        assert "left out of training: video0" in caplog.text


class TestCommandLine:
    def test_defaults_follow_the_data(self, tmp_path):
        assert parse([]) == recipe.EMBEDDED
        mine = parse(["--data.root", str(tmp_path), "--backbone", "x/y"])
        assert mine.training == recipe.MSRVTT.training
        assert (mine.data.root, mine.model.backbone) == (tmp_path, "x/y")

    def test_help_shows_the_defaults_of_the_data_that_is_asked_for(self, capsys):
        for arguments, learning_rate in (([], "0.001"), (["--data.root", "x"], "0.0001")):
            with pytest.raises(SystemExit):
                parse([*arguments, "--help"])
            assert f"(default: {learning_rate})" in capsys.readouterr().out

    def test_nothing_to_do_is_named(self):
        with pytest.raises(ValueError, match="nothing to do"):
            replace(recipe.EMBEDDED, baseline=False, training=replace(recipe.EMBEDDED.training, epochs=0))

    def test_names_of_the_readme(self):
        config = parse(
            ["--train", "adapters+lora", "--epochs", "2", "--adapter.layers", "2", "3", "--pooling.mode", "mean"]
        )
        assert (config.model.train, config.training.epochs) == ("adapters+lora", 2)
        assert (config.model.adapter.layers, config.model.pooling.mode) == ((2, 3), "mean")

    def test_selection_on_missing_validation_is_refused(self, config):
        wanted = replace(config.training, select_on="val")
        with pytest.raises(ValueError, match="no validation videos"):
            run.selection_split(wanted, validation=False)
        assert run.selection_split(config.training, validation=False) == "last"

    def test_help_teaches(self, tmp_path):
        said = said_by("msrvtt_retrieval", "--help", output=tmp_path / "help")
        for text in ("--data.root", "--backbone", "--train", "--adapter.scaling", "--epochs", "zero-shot"):
            assert text in said


def launch(recipe, *words, processes, output):
    """By what people type: `accelerate launch` for one process, `torchrun` for two."""
    launchers = {
        1: ["accelerate.commands.launch", "--cpu", "--num_processes", "1"],
        2: ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
    }
    command = [sys.executable, "-m", *launchers[processes], str(RECIPE.with_name(f"{recipe}.py")), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=output.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("--no-baseline",),
        (
            *("--no-baseline", "--train", "adapters+lora", "--heads", "copied", "--accumulation", 2),
            *("--gradient-checkpointing", "--loss.momentum", 0.995, "--loss.queue-size", 12),
        ),
        ("adapter:st-adapter", "--no-baseline", "--loss.negatives", "local", "--no-train-temperature"),
        (
            *("--adapter.layers", 1, "--data.feature-store", "{folder}-features", "--data.frames-per-segment", 3),
            *("--data.captions", "all"),
        ),
    ],
    ids=["plain, by the launchers", "all options", "another family", "stored features, captions encoded once"],
)
def test_two_processes_equal_one(corpus, backbone, tmp_path, options):
    """The same global batches: losses and metrics agree to 1e-4."""
    words = [
        *options,
        *("--data.root", corpus, "--data.train-split", "full", "--data.test-split", "full"),
        *("--data.workers", 0, "--evaluation.workers", 0, "--backbone", backbone, "--adapter.num-frames", 3),
        *("--epochs", 1, "--batch-size", 8, "--lr", 1e-3, "--precision", "no", "--evaluation.k", 4),
    ]
    runs = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        given = [str(word).format(folder=folder) for word in (*words, "--output-dir", folder)]
        launched = options == ("--no-baseline",)
        program = launch if launched else said_by
        said = program("msrvtt_retrieval", *given, processes=processes, output=tmp_path / "said")
        assert "broadcast_buffers" not in said
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["protocol"]["processes"] == processes
        runs[processes] = steps(folder), list(metrics["results"].values())[-1]
        if "--data.feature-store" in options:
            assert metrics["training"]["features"]["written"] == 32
    (first, single), (second, double) = runs[1], runs[2]
    if "local" not in options:
        for one, two in zip(first, second, strict=True):
            assert one == pytest.approx(two, abs=1e-4)
        for kind in ("contrastive", "reranked"):
            one, two = (
                {k: v for k, v in result[kind].items() if not isinstance(v, dict)} for result in (single, double)
            )
            assert one == pytest.approx(two, abs=1e-4)
    else:
        # Negatives for matching come from each process's own half of the batch, so only the contrastive part agrees.
        assert first[0]["vtc"] == pytest.approx(second[0]["vtc"], abs=1e-4)
