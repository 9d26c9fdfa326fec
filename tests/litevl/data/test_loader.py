"""Workers that decode: how many there are, that they live on, and that nothing depends on them."""

import os
from types import SimpleNamespace

import pytest
import torch
from rendered_clips import render
from torch.utils.data import Dataset

from litevl.data import cores
from litevl.data.annotations import VideoCaptions
from litevl.data.clips import Clips
from litevl.data.cores import decoding_threads, decoding_workers, usable_cores
from litevl.data.loader import clip_loader
from litevl.data.paths import VideoFolder
from litevl.data.preprocess import PreprocessConfig
from litevl.data.sampler import EpochSampler
from litevl.tasks.task import Task


class Told(Dataset):
    """Who decodes, and on how many threads."""

    def __len__(self):
        return 8

    def __getitem__(self, row):
        return os.getpid(), decoding_threads(), torch.get_num_threads()


@pytest.mark.parametrize(
    ("number", "processes", "accelerated", "workers"),
    [
        *((16, None, True, 15), (16, 4, True, 3), (1, None, True, 1), (2, 8, True, 1), (128, 1, True, 32)),
        *((16, None, False, 2), (16, 2, False, 2), (1, None, False, 1)),
    ],
)
def test_by_default_workers_are_the_cores_of_a_process_but_one(monkeypatch, number, processes, accelerated, workers):
    monkeypatch.setattr(cores, "usable_cores", lambda: number)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if processes is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert decoding_workers(None, accelerated) == workers
    assert decoding_workers(0, accelerated) == 0
    assert decoding_workers(7, accelerated) == 7


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no processes")
def test_cores_are_those_that_the_process_may_use():
    allowed = os.sched_getaffinity(0)
    assert usable_cores() == len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize("persistent", [True, False])
def test_workers_live_from_pass_to_pass(persistent):
    loader = clip_loader(Told(), list, 1, torch.device("cpu"), persistent=persistent, batch_size=1)
    passes = [[told for batch in loader for told in batch] for _ in range(2)]
    pids = [{pid for pid, _, _ in each} for each in passes]
    assert [len(each) for each in pids] == [1, 1]
    assert os.getpid() not in pids[0]
    assert (pids[0] == pids[1]) == persistent
    assert {told[1:] for told in passes[0]} == {(1, 1)}


def test_epochs_reach_workers_that_live_on():
    class Rows(Told):
        def __getitem__(self, row):
            return row, os.getpid()

    sampler = EpochSampler(8, 4, seed=0)
    loader = clip_loader(Rows(), list, 1, torch.device("cpu"), persistent=True, batch_sampler=sampler)
    rows, pids = [], set()
    for epoch in range(2):
        sampler.set_epoch(epoch)
        told = [each for batch in loader for each in batch]
        rows.append([row for row, _ in told])
        pids |= {pid for _, pid in told}
    assert [{epoch for epoch, _ in each} for each in rows] == [{0}, {1}]
    assert len(pids) == 1


def test_a_kept_evaluation_gives_the_same_clips_again(tmp_path):
    render(tmp_path / "a.mp4")
    render(tmp_path / "b.mp4", frames=20)
    videos = [VideoCaptions("a", ("x",)), VideoCaptions("b", ("y",))]
    options = {"num_frames": 3, "preprocess": PreprocessConfig(16), "batch_size": 1, "device": torch.device("cpu")}
    kept = Clips(videos, VideoFolder(tmp_path), workers=1, persistent=True, **options)
    alone = list(Clips(videos, VideoFolder(tmp_path), workers=0, **options))
    for _ in range(2):
        for (names, pixels), (expected, decoded) in zip(kept, alone, strict=True):
            assert names == expected
            assert torch.equal(pixels, decoded)


def test_the_validation_split_keeps_its_workers_for_the_next_epoch():
    task, made = SimpleNamespace(_kept={}), []

    def make(persistent):
        made.append(persistent)
        return object()

    kept = Task.of_split(task, "clips", "val", make)
    assert Task.of_split(task, "clips", "val", make) is kept
    assert Task.of_split(task, "masked", "val", make) is not kept
    assert Task.of_split(task, "clips", "test", make) is not Task.of_split(task, "clips", "test", make)
    assert made == [True, True, False, False]
