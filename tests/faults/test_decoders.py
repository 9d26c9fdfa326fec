"""Decoders that hang or crash in a worker, in runs of a recipe: named, by the policy, and the run goes on."""

import ctypes
import os
import sys
from dataclasses import replace
from pathlib import Path

import own_retrieval as recipe
import pytest
from numbered_videos import plain

from litevl.adapters import LiteVLConfig
from litevl.data import dataset
from litevl.data.retrieval import RetrievalDataConfig
from litevl.data.video import VideoError
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.tasks import RetrievalConfig
from litevl.training import RetrievalModelConfig, TrainingConfig

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers decode by themselves elsewhere")


@pytest.fixture
def config(backbone, tmp_path) -> RetrievalConfig:
    """One epoch of two steps with one worker, whose decoder has five seconds."""
    root = tmp_path / "data"
    root.mkdir()
    for split, numbers in (("train", range(8)), ("val", (8, 9)), ("test", range(10, 14))):
        for number in numbers:
            plain(root / f"v{number}.mp4", number, 5)
        rows = "".join(f"v{number},caption {number}\n" for number in numbers)
        (root / f"{split}.csv").write_text(f"video,caption\n{rows}")
    return RetrievalConfig(
        RetrievalModelConfig(str(backbone), adapter=LiteVLConfig(num_frames=3)),
        TrainingConfig(epochs=1, batch_size=4, precision="no", select_on="last"),
        EvaluationConfig(k=4, batch_size=4, pair_batch=16, workers=1),
        data=RetrievalDataConfig(root=root, dataset="own", caption_mode="one", workers=1, decode_timeout=5.0),
        baseline=False,
        output_dir=tmp_path / "run",
    )


@pytest.fixture
def spoiled(monkeypatch):
    """Makes the decoder do as it is told at some videos."""

    def spoil(names: list[str], what):
        read = dataset.read_frames

        def read_frames(path: Path, *arguments, **options):
            if path.stem in names:
                what()
            return read(path, *arguments, **options)

        monkeypatch.setattr(dataset, "read_frames", read_frames)

    return spoil


def hang():
    """In C, with Python's lock held: nothing of Python runs in that process from here on."""
    ctypes.PyDLL(None).pause()


FAULTS = {
    "hangs": (hang, "decoding it was stopped after 5 seconds"),
    "crashes": (os.abort, "the decoder crashed on it .SIGABRT"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("video", ["v3", "v12"])
def test_it_ends_the_run_and_names_the_file(config, spoiled, fault, video):
    what, message = FAULTS[fault]
    spoiled([video], what)
    with pytest.raises(VideoError, match=message) as caught:
        recipe.main(config)
    assert str(config.data.root / f"{video}.mp4") in str(caught.value)
    assert "--data.on-bad-video skip" in str(caught.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_run_goes_on_without_the_file_and_names_it(config, spoiled, fault, caplog):
    what, message = FAULTS[fault]
    spoiled(["v3", "v12"], what)
    metrics = recipe.main(replace(config, data=replace(config.data, on_bad_video="skip")))
    assert metrics["protocol"]["coverage"]["train"] == "coverage 7/8 (missing: v3)"
    assert metrics["results"]["LiteVL"]["coverage"] == "coverage 3/4 (missing: v12)"
    assert metrics["training"]["steps"] == 2
    for video in ("v3", "v12"):
        assert f"{video}: {config.data.root}/{video}.mp4: " in caplog.text
    assert message.replace(".SIG", "(SIG") in caplog.text
