"""Runs that read stored features are the runs that decode, and decode nothing; where they could not be, they say so."""

import json
import shutil
from dataclasses import replace

import msrvtt_captioning
import msrvtt_qa
import msrvtt_retrieval as recipe
import pytest
import torch
from safetensors.torch import load_file

from litevl.adapters import FrameAverageConfig, LiteVLConfig, STAdapterConfig
from litevl.data import clip_reader
from litevl.data.feature_store import DamagedFeaturesError
from litevl.data.question_answering import QuestionDataConfig
from litevl.data.retrieval import RetrievalDataConfig
from litevl.data.video import VideoError
from litevl.evaluation.answering import QuestionEvaluationConfig
from litevl.evaluation.captioning import CaptioningEvaluationConfig
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.losses import RetrievalLossConfig
from litevl.tasks import RetrievalConfig, parse
from litevl.tasks import retrieval as task
from litevl.tasks.captioning import CaptioningConfig
from litevl.tasks.question_answering import QuestionAnsweringConfig
from litevl.training import RetrievalModelConfig, TrainingConfig, feature_filling
from litevl.training.captioning_model import CaptioningModelConfig
from litevl.training.question_model import QuestionModelConfig

UPPER = LiteVLConfig(num_frames=3, layers=(1,))


@pytest.fixture
def config(corpus, backbone, tmp_path):
    """One epoch of two steps, adapters in the upper of two blocks, frames drawn among three of each segment."""
    return RetrievalConfig(
        RetrievalModelConfig(str(backbone), adapter=UPPER),
        TrainingConfig(epochs=1, batch_size=8, lr=1e-3, precision="no"),
        EvaluationConfig(k=4, batch_size=4, pair_batch=16, workers=0),
        data=RetrievalDataConfig(
            root=corpus, train_split="full", test_split="full", workers=0, similar=4, frames_per_segment=3
        ),
        output_dir=tmp_path / "run",
    )


def stored(config, folder, **settings):
    data = replace(config.data, feature_store=folder / "store", **settings)
    return replace(config, data=data, output_dir=folder / "stored")


def steps(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def metrics_of(result):
    return {name: value for kind in ("contrastive", "reranked") for name, value in flat(result[kind], kind)}


def flat(values, kind):
    return [(f"{kind}.{name}", value) for name, value in values.items() if not isinstance(value, dict)]


def test_training_and_evaluation_are_those_of_decoding(config, tmp_path, monkeypatch, capsys):
    loss = RetrievalLossConfig(momentum=0.995, queue_size=12)
    config = replace(config, loss=loss, training=replace(config.training, epochs=2))
    decoded = recipe.main(config)
    capsys.readouterr()
    wanted = stored(config, tmp_path, feature_precision="float32")
    kept = recipe.main(wanted)
    said = capsys.readouterr().out
    # 16 training clips with 9 frames, 16 others with 3, of 10 tokens of 128 numbers of 4 bytes.
    assert "features at block 1: 192 frames of 32 clips x 10 tokens x 128 x 4 bytes = 0.00 GB in" in said
    assert kept["training"]["features"]["written"] == 32
    for one, other in zip(steps(config.output_dir), steps(wanted.output_dir), strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    before, after = weights(config.output_dir), weights(wanted.output_dir)
    assert max((before[name] - after[name]).abs().max() for name in before) < 1e-5
    for name in ("frame average", "LiteVL"):
        assert metrics_of(kept["results"][name]) == pytest.approx(metrics_of(decoded["results"][name]), abs=1e-5)

    # From here on no frame of a video is read, by no split of no run.
    monkeypatch.setattr(clip_reader, "read_frames", lambda *given, **more: pytest.fail("decoded"))
    again = recipe.main(replace(wanted, output_dir=tmp_path / "again"))
    assert "; all there" in capsys.readouterr().out
    assert again["training"]["features"]["written"] == 0
    assert steps(tmp_path / "again") == steps(wanted.output_dir)
    assert again["results"] == kept["results"]
    words = ["--evaluate", str(wanted.output_dir)]
    assert recipe.main(parse(words, recipe.EMBEDDED, recipe.MSRVTT, ""))["results"] == kept["results"]


def test_a_stopped_run_resumes_to_the_same_end(config, tmp_path, monkeypatch, capsys):
    training = replace(config.training, epochs=2, batch_size=32, select_on="last")
    data = replace(config.data, captions="all", similar=1)
    whole = stored(replace(config, training=training, data=data, baseline=False), tmp_path)
    recipe.main(whole)
    assert "captions encoded once" in capsys.readouterr().out, "both are kept, features and texts"
    parts, saved = replace(whole, output_dir=tmp_path / "parts"), task.save_model

    def save_and_stop_in_the_second_epoch(model, config, folder, **details):
        if (parts.output_dir / "adapter_model.safetensors").exists():
            raise KeyboardInterrupt
        saved(model, config, folder, **details)

    with monkeypatch.context() as patch:
        patch.setattr(task, "save_model", save_and_stop_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            recipe.main(parts)
    recipe.main(replace(parts, resume=True))
    first, second = weights(whole.output_dir), weights(parts.output_dir)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_interrupted_filling_goes_on_and_damage_is_made_anew(config, tmp_path, monkeypatch):
    wanted = stored(replace(config, baseline=False, training=replace(config.training, select_on="last")), tmp_path)
    written, write = [], feature_filling.FeatureStore.write

    def stop_after_five(store, *given):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(given)
        write(store, *given)

    with monkeypatch.context() as patch:
        patch.setattr(feature_filling.FeatureStore, "write", stop_after_five)
        with pytest.raises(KeyboardInterrupt):
            recipe.main(wanted)
    found = recipe.main(replace(wanted, resume=True))
    assert found["training"]["features"]["written"] == 32 - 5

    damaged = max((tmp_path / "store").rglob("*.safetensors"), key=lambda file: file.stat().st_size)
    content = bytearray(damaged.read_bytes())
    for frame in range(9):
        content[-1 - frame * len(content) // 10] ^= 1  # the length stays
    damaged.write_bytes(content)
    again = replace(wanted, output_dir=tmp_path / "again")
    with pytest.raises(DamagedFeaturesError, match=f"{damaged}: damaged .* --resume"):
        recipe.main(again)
    assert recipe.main(replace(again, resume=True))["training"]["features"]["written"] == 1
    assert steps(tmp_path / "again") == steps(wanted.output_dir)


def test_whatever_changes_the_features_is_computed_anew(config, tmp_path):
    base = stored(replace(config, baseline=False), tmp_path)
    recipe.main(base)
    assert len(list((tmp_path / "store").iterdir())) == 1
    family = STAdapterConfig(num_frames=3, layers=(1,))
    # Another size is another folder; another family above the same blocks reads what is there.
    for change, written in (({"image_size": 32}, 32), ({"adapter": family}, 0)):
        again = replace(base, model=replace(base.model, **change), output_dir=tmp_path / str(written))
        assert recipe.main(again)["training"]["features"]["written"] == written
        assert len(list((tmp_path / "store").iterdir())) == 2


def test_heads_alone_are_trained_on_what_the_whole_encoder_gives(config, tmp_path):
    model = replace(config.model, adapter=FrameAverageConfig(num_frames=3), heads="copied")
    wanted = stored(replace(config, model=model, baseline=False), tmp_path)
    assert recipe.main(wanted)["training"]["features"]["layer"] == 2


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"adapter": LiteVLConfig(num_frames=3)}, r"got layers=all; where block 0 is adapted"),
            ({"adapter": LiteVLConfig(num_frames=3, layers=(0, 1))}, r"got layers=\(0, 1\)"),
            ({"train": "adapters+lora"}, "expected train=adapters, got adapters[+]lora, which trains the blocks below"),
            ({"train": "all"}, "expected train=adapters, got all"),
        ],
    )
    def test_what_has_nothing_frozen_below(self, config, tmp_path, change, said):
        wanted = stored(replace(config, model=replace(config.model, **change)), tmp_path)
        with pytest.raises(ValueError, match=said):
            recipe.main(wanted)
        assert not (tmp_path / "stored").exists()

    def test_frames_that_are_not_kept(self, config, tmp_path):
        with pytest.raises(ValueError, match="expected sampling=midpoint, got legacy_blip"):
            recipe.main(stored(config, tmp_path, sampling="legacy_blip"))
        with pytest.raises(ValueError, match="frames_per_segment: expected an odd number"):
            stored(config, tmp_path, frames_per_segment=2)

    def test_evilm_has_no_frozen_blocks(self, config, tmp_path):
        import evilm_retrieval

        data = stored(config, tmp_path).data
        with pytest.raises(ValueError, match="feature_store: expected adapters on a frozen BLIP"):
            evilm_retrieval.main(replace(evilm_retrieval.EMBEDDED, data=data))

    def test_a_disk_that_is_too_small_before_anything_is_written(self, config, tmp_path, monkeypatch):
        monkeypatch.setattr(feature_filling.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
        with pytest.raises(ValueError, match=r"feature_store: .* 0\.0 GB free; name a folder on"):
            recipe.main(stored(config, tmp_path))
        assert not list((tmp_path / "store").iterdir())


def test_bad_videos_follow_the_policy(config, corpus, tmp_path):
    folder = tmp_path / "spoiled"
    shutil.copytree(corpus, folder)
    (folder / "videos" / "video0.mp4").write_bytes(b"not a video")
    spoiled = stored(replace(config, baseline=False), tmp_path, root=folder, similar=1)
    with pytest.raises(VideoError, match="video0"):
        recipe.main(spoiled)
    skipping = replace(spoiled, data=replace(spoiled.data, on_bad_video="skip"), output_dir=tmp_path / "skipping")
    metrics = recipe.main(skipping)
    assert metrics["protocol"]["coverage"]["train"] == "coverage 15/16 (missing: video0)"
    assert metrics["training"]["features"]["written"] == 0


def test_other_tasks(config, corpus, answering_backbone, captioning_backbone, tmp_path, monkeypatch):
    training = replace(config.training, batch_size=16)
    place = {"root": corpus, "feature_store": tmp_path / "store", "workers": 0}
    asked = QuestionAnsweringConfig(
        QuestionModelConfig(str(answering_backbone), adapter=UPPER),
        training,
        QuestionEvaluationConfig(workers=0, k=4),
        QuestionDataConfig(**place, questions=4),
        baseline=False,
    )
    written = CaptioningConfig(
        CaptioningModelConfig(str(captioning_backbone), adapter=UPPER),
        training,
        CaptioningEvaluationConfig(workers=0, num_beams=1, max_new_tokens=3),
        RetrievalDataConfig(**place, train_split="full", test_split="full"),
        baseline=False,
    )
    for main, wanted in ((msrvtt_qa.main, asked), (msrvtt_captioning.main, written)):
        main(replace(wanted, output_dir=tmp_path / main.__module__))
        with monkeypatch.context() as patch:
            patch.setattr(clip_reader, "read_frames", lambda *given, **more: pytest.fail("decoded"))
            again = main(replace(wanted, output_dir=tmp_path / f"{main.__module__}-again"))
        assert steps(tmp_path / main.__module__) == steps(tmp_path / f"{main.__module__}-again")
        assert again["training"]["features"]["written"] == 0
