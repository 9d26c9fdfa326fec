"""Decoders that hang or crash, in runs of a recipe and in commands: named, by the policy, and all else goes on."""

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import own_retrieval as recipe
import pytest
from hanging import hang_in_c
from numbered_videos import plain

from litevl.adapters import LiteVLConfig
from litevl.commands.validate import validate
from litevl.data import clip_reader, preparation, video_index
from litevl.data.coverage import UnusableVideosError
from litevl.data.frame_store import FrameStore
from litevl.data.preparation import fill, plan
from litevl.data.pyav_reader import PyAVReader
from litevl.data.retrieval import RetrievalDataConfig
from litevl.data.video import VideoError
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.tasks import RetrievalConfig
from litevl.training import RetrievalModelConfig, TrainingConfig

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers decode by themselves elsewhere")


@pytest.fixture
def config(backbone, tmp_path) -> RetrievalConfig:
    """One epoch of two steps with one worker, whose decoder has two seconds."""
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
        data=RetrievalDataConfig(root=root, dataset="own", caption_mode="one", workers=1, decode_timeout=2.0),
        baseline=False,
        output_dir=tmp_path / "run",
    )


@pytest.fixture
def spoiled(monkeypatch):
    """Makes the decoder do as it is told at some videos."""

    def spoil(names: list[str], what):
        read = clip_reader.read_frames

        def read_frames(path: Path, *arguments, **options):
            if path.stem in names:
                what()
            return read(path, *arguments, **options)

        monkeypatch.setattr(clip_reader, "read_frames", read_frames)

    return spoil


FAULTS = {
    "hangs": (hang_in_c, "decoding it was stopped after"),
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


@pytest.fixture
def spoiled_file(config, monkeypatch):
    """Makes whatever decodes a file, or lists its packets, do as it is told at v3."""

    def spoil(what, *, listing: bool):
        path = config.data.root / "v3.mp4"

        def spoiled(original):
            def call(self, *given, **more):
                if path == (self if listing else self._index.path):
                    what()
                return original(self, *given, **more)

            return call

        if listing:
            monkeypatch.setattr(video_index, "open_container", spoiled(video_index.open_container))
        else:
            for name in ("get", "every"):
                monkeypatch.setattr(PyAVReader, name, spoiled(getattr(PyAVReader, name)))
        return path

    return spoil


@pytest.mark.parametrize("fault", FAULTS)
class TestCommands:
    def test_checking_before_a_run(self, config, spoiled_file, fault):
        what, message = FAULTS[fault]
        path = spoiled_file(what, listing=False)
        with pytest.raises(UnusableVideosError, match=f"1 of 8 videos cannot be used.*\n.*{path}: {message}"):
            recipe.main(replace(config, data=replace(config.data, check_decoding=True, decode_timeout=1.0)))

    def test_validate(self, config, spoiled_file, fault, capsys):
        what, message = FAULTS[fault]
        path = spoiled_file(what, listing=fault == "hangs")
        assert validate(config.data.root, decode_timeout=1.0, workers=2, json=True) == 2
        (found,) = [each for each in json.loads(capsys.readouterr().out)["findings"] if each["severity"] == "error"]
        assert found["kind"] == "unreadable"
        (item,) = found["items"]
        assert item["file"] == str(path)
        assert re.search(message, item["reason"])

    @pytest.mark.parametrize("listing", [True, False])
    def test_prepare(self, config, spoiled_file, fault, listing, tmp_path, monkeypatch):
        what, message = FAULTS[fault]
        paths = sorted(config.data.root.glob("*.mp4"))
        store = FrameStore(tmp_path / "store", 16, "auto")
        if not listing:
            planned = plan(store, paths, 2, progress=False)
            monkeypatch.setattr(preparation, "STORING", 1)
        bad_path = spoiled_file(what, listing=listing)
        if listing:
            (bad,) = plan(store, paths, 2, 1.0, progress=False).bad
        else:
            filled = fill(store, planned.wanted, 2, 1.0, progress=False)
            assert filled.stored == len(paths) - 1
            (bad,) = filled.damaged
        assert bad.video_id == str(bad_path)
        assert re.search(message, bad.reason)
