"""What befalls a run from outside: a full disk, no memory, other runs and processes, numbers that break."""

import json
import re
import shutil
import signal
import subprocess
import time
from functools import partial

import faults
import forked_runs
import pytest
import torch
from outcome import differences, outcome


def goes_on(run, folder, reference):
    ended = run(resume=True)
    assert ended.codes == [0], ended.said
    assert differences(outcome(folder), reference) == []


class TestFullDisk:
    @pytest.fixture
    def small_disk(self, tmp_path):
        """A disk of 24 MB at `tmp_path / "run"`."""
        folder = tmp_path / "run"
        folder.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m", "none", folder], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip("may not mount a small disk here")
        yield folder
        subprocess.run(["umount", "--lazy", folder], check=True)

    @pytest.mark.parametrize("where", ["the state", "the adapters"])
    def test_while_saving(self, run, uninterrupted, small_disk, where):
        """The state of the second epoch, or its adapters, find no room; those of the first stay whole."""
        filled = small_disk / "other"
        fill = partial(faults.fill, str(filled))
        ended = run(faults.in_step(6, fill) if where == "the state" else faults.in_evaluation(1, fill))
        assert ended.code == 1, ended.said
        assert ended.error.startswith("error: no room to write"), ended.error
        assert re.search(r"free: 0\.\d MB on the disk of .*--resume --output-dir", ended.error)
        assert "Traceback" not in ended.said[0]
        step = torch.load(small_disk / "state.pt", weights_only=True)["progress"]["step"]
        assert step == (4 if where == "the state" else 8)
        assert not list(small_disk.glob("*.writing"))
        assert not list(small_disk.glob(".litevl-*"))
        filled.unlink()
        goes_on(run, small_disk, uninterrupted())

    def test_while_the_corpus_is_rendered(self, small_disk, tmp_path):
        filled = small_disk / "other"
        faults.fill(str(filled))
        words = ["--output-dir", tmp_path / "elsewhere"]
        ended = forked_runs.run("msrvtt_retrieval", words, output=tmp_path / "output", LITEVL_CACHE=str(small_disk))
        assert ended.code == 1, ended.said
        assert ended.error.startswith("error: no room to write")
        assert f"0.0 MB on the disk of {small_disk}" in ended.error
        assert list(small_disk.iterdir()) == [filled]  # no half of a corpus that would be taken for one


class TestLossNotFinite:
    @pytest.mark.parametrize(
        ("poison", "what"), [(faults.poison_loss(11), "loss"), (faults.poison_gradient(11), "gradient")]
    )
    def test_stops_with_its_step_and_samples(self, run, uninterrupted, tmp_path, poison, what):
        ended = run(poison, ("--save-every", 1e-6))
        assert ended.code == 1
        samples = ", ".join([r"video\d+"] * (2 if what == "loss" else 4))  # of a micro-batch, of the step
        assert re.match(rf"error: the {what} is (nan|inf) at step 5; its samples: {samples}\. The state", ended.error)
        state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
        assert state["progress"]["step"] == 5
        assert all(torch.isfinite(value).all() for value in state["tensors"].values())
        goes_on(run, tmp_path / "run", uninterrupted())


class TestMemory:
    @pytest.mark.parametrize("processes", [1, 2])
    def test_in_training(self, run, processes):
        ended = run(faults.in_forward(3, faults.allocate), processes=processes)
        assert ended.code == 1, ended.said
        for part in (
            f"out of memory in training, with --batch-size 4 over {processes} processes and 2 micro-batches",
            f"{2 // processes} clips at a time, 3 frames of 48x48 pixels, precision no",
            "--gradient-checkpointing",
            *("a smaller --batch-size than 4", "fewer frames than --adapter.num-frames 3", "a smaller --image-size"),
            "you tried to allocate 4503599627370496 bytes",
        ):
            assert part in ended.error
        smaller = "--accumulation 4 (smaller micro-batches) with --gradient-cache"
        assert (smaller in ended.error) == (processes == 1)  # with two a micro-batch is one clip in each

    def test_in_evaluation(self, run, uninterrupted, tmp_path):
        ended = run(faults.in_evaluation(0, faults.allocate))
        assert ended.code == 1
        for part in (
            "out of memory in evaluation, with --evaluation.batch-size 2 and --evaluation.pair-batch 256 in each of 1",
            "3 frames of 48x48 pixels",
            "try less than --evaluation.batch-size 2, less than --evaluation.pair-batch 256",
        ):
            assert part in ended.error
        goes_on(run, tmp_path / "run", uninterrupted())


class TestOneFolder:
    def test_belongs_to_one_run_at_a_time_and_to_no_dead_one(self, run, uninterrupted, tmp_path):
        folder = tmp_path / "run"
        # With workers that outlive a killed run for some seconds.
        first = run(faults.in_step(6, faults.sleep), instead={0: 1}, start=forked_runs.start)
        until = time.monotonic() + 200
        while not (folder / "log.jsonl").exists() or len((folder / "log.jsonl").read_text().splitlines()) < 6:
            assert time.monotonic() < until, first.outputs[0].read_text()
            time.sleep(0.1)
        second = run(resume=True)
        assert second.code == 1
        assert f"{folder}: expected a folder that no other run is writing to, got that of process" in second.error
        assert f"process {first.processes[0].pid} on " in second.error
        assert "choose another --output-dir" in second.error
        first.processes[0].kill()
        assert first.wait().code == -signal.SIGKILL
        assert (folder / ".running").exists()
        goes_on(run, folder, uninterrupted())

    def test_that_holds_a_run_is_refused(self, run, tmp_path):
        run(faults.in_step(0, faults.terminate))
        ended = run()
        assert ended.error == (
            f"error: {tmp_path / 'run'}: holds a run already; resume it with --resume, or choose another --output-dir"
        )
        ended = run(resume=True, more=("--lr", 0.5))
        assert ended.error == f"error: {tmp_path / 'run'}: holds a run with another config: training.lr: 0.001 -> 0.5"


class TestProcesses:
    def test_one_that_is_late_is_not_waited_for_for_ever(self, run):
        late = faults.in_step(2, faults.sleep)
        started = run(late, ("--timeout", 0.1), processes=2, at=1, start=forked_runs.start)
        started.processes[0].join(200)
        assert not started.processes[0].is_alive()
        started.processes[1].kill()
        ended = started.wait()
        assert ended.codes == [1, -signal.SIGKILL]
        assert ended.error.startswith("error: process 0 of 2 waited 0.1 minutes for another one, which did not come")
        assert "--timeout" in ended.error

    def test_one_that_fails_ends_the_others(self, run, tmp_path):
        ended = run(faults.poison_loss(5), processes=2, at=1)
        assert ended.codes == [1, 1]
        assert ended.error.startswith("error: process 0 of 2 lost another one, which has ended: its own message")
        assert "the loss is" in ended.said[1]

    def test_one_without_videos_to_evaluate(self, run, corpus, tmp_path):
        """A test and a validation video for two processes: the second has none, and the metrics are those of one."""
        folder = tmp_path / "few"
        shutil.copytree(corpus, folder)
        videos = json.loads((folder / "MSRVTT_data.json").read_text())["videos"]
        for split in ("test", "validate"):
            for video in [each["video_id"] for each in videos if each["split"] == split][1:]:
                (folder / "videos" / f"{video}.mp4").unlink()
        results = []
        for processes in (1, 2):
            ended = run(more=("--data.on-bad-video", "skip"), instead={corpus: folder}, processes=processes)
            assert ended.codes == [0] * processes, ended.said
            metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
            assert metrics["protocol"]["processes"] == processes
            results.append(metrics["results"]["LiteVL"])
            shutil.rmtree(tmp_path / "run")
        assert results[0]["coverage"].startswith("coverage 1/8")
        assert results[0] == results[1]
