"""A process that decodes for another: what it gives, and what becomes of one that hangs, crashes, leaks or is left."""

import ctypes
import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
from hanging import gone, hang_in_c
from rendered_clips import render

from litevl.data import forked
from litevl.data.annotations import VideoCaptions
from litevl.data.dataset import VideoDataset, collate_videos
from litevl.data.decoding_process import DecodingProcess, decodes_apart
from litevl.data.loader import clip_loader
from litevl.data.paths import VideoFolder
from litevl.data.preprocess import PreprocessConfig
from litevl.data.video import VideoError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers decode by themselves elsewhere")
SHAPE = (2, 3, 4, 4)
KEPT: list[torch.Tensor] = []
PATH = Path("a.mp4")


def made(path, value, *rest):
    return torch.full(SHAPE, value, dtype=torch.uint8)


@pytest.fixture
def process():
    started = []

    def start(decode, seconds=30.0):
        started.append(DecodingProcess(decode, SHAPE, seconds))
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_a_clip_is_its_own_and_comes_from_another_process(process):
    decoder = process(lambda path, value: made(path, value if value else os.getpid() % 251))
    one, other, number = decoder(PATH, 7), decoder(PATH, 9), decoder(PATH, 0)
    assert (one == 7).all()
    assert (other == 9).all()
    assert (number == decoder._pid % 251).all()
    assert decoder._pid != os.getpid()


def test_what_it_raises_is_raised_here(process):
    def decode(path, error):
        raise error

    decoder = process(decode)
    with pytest.raises(VideoError, match=r"a\.mp4: cut short") as caught:
        decoder(PATH, VideoError(PATH, "cut short"))
    assert caught.value.path == PATH
    pid = decoder._pid
    with pytest.raises(ImportError, match="no decord"):
        decoder(PATH, ImportError("no decord"))
    assert decoder._pid == pid


def test_one_that_hangs_is_stopped_and_the_next_clip_comes(process):
    decoder = process(lambda path, value: made(path, value) if value else hang_in_c(path), 0.5)
    assert (decoder(PATH, 3) == 3).all()
    pid = decoder._pid
    with pytest.raises(VideoError, match=r"a\.mp4: decoding it was stopped after 0\.5 seconds.*--data\.decode-timeout"):
        decoder(PATH, 0)
    assert gone(pid)
    assert (decoder(PATH, 4) == 4).all()


@pytest.mark.parametrize(
    ("crash", "message"),
    [
        (os.abort, "SIGABRT"),
        (partial(ctypes.string_at, 0), "SIGSEGV"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL"),
        (partial(os._exit, 3), "exit status 3"),
    ],
)
def test_one_that_crashes_is_named_and_the_next_clip_comes(process, crash, message):
    def decode(path, value):
        faulthandler.disable()  # pytest's, which would print where
        return made(path, value) if value else crash()

    decoder = process(decode)
    with pytest.raises(VideoError, match=rf"a\.mp4: the decoder crashed on it \({message}\)"):
        decoder(PATH, 0)
    assert (decoder(PATH, 4) == 4).all()


def test_one_that_ends_between_two_clips_is_no_files_fault(process):
    decoder = process(made)
    decoder(PATH, 1)
    os.kill(decoder._pid, signal.SIGKILL)
    while not decoder._pipe.poll(0.01):
        pass
    assert (decoder(PATH, 2) == 2).all()


def test_one_that_leaks_is_replaced(process, monkeypatch):
    monkeypatch.setattr(forked, "GROWTH", 30 << 20)

    def leak(path, value):
        KEPT.append(torch.ones(10 << 20, dtype=torch.uint8))
        return made(path, value)

    decoder, pids, sizes = process(leak), set(), []
    for value in range(20):
        assert (decoder(PATH, value) == value).all()
        if decoder._pid is not None:
            pids.add(decoder._pid)
            sizes.append(psutil.Process(decoder._pid).memory_info().rss)
    assert len(pids) >= 3
    assert max(sizes) - min(sizes) < 60 << 20


def test_it_ends_with_its_worker_whatever_it_does(process, tmp_path):
    def work(connection):
        decoder = DecodingProcess(lambda path, value: made(path, value) if value else hang_in_c(path), SHAPE, 60.0)
        decoder(PATH, 1)
        connection.send(decoder._pid)
        decoder(PATH, 0)

    ours, theirs = multiprocessing.Pipe()
    worker = multiprocessing.get_context("fork").Process(target=work, args=(theirs,))
    worker.start()
    theirs.close()
    pid = ours.recv()
    time.sleep(0.2)
    worker.kill()
    worker.join()
    deadline = time.monotonic() + 10
    while not gone(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gone(pid)


@pytest.fixture
def dataset(tmp_path):
    for name in "abc":
        render(tmp_path / f"{name}.mp4", 8, 32, 48)
    videos = [VideoCaptions(name, ("x",)) for name in "abc"]
    return lambda **folder: VideoDataset(videos, VideoFolder(tmp_path, **folder), 2, PreprocessConfig(16))


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_give_the_same_clips_by_it_and_by_themselves(dataset, context):
    assert not decodes_apart()
    expected = torch.stack([dataset()[place]["frames"] for place in range(3)])
    for seconds in (0.0, 30.0):
        loader = clip_loader(
            dataset(decode_timeout=seconds),
            collate_videos,
            1,
            torch.device("cpu"),
            persistent=False,
            batch_size=3,
            multiprocessing_context=context,
        )
        (batch,) = loader
        assert torch.equal(batch["frames"], expected)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_limit_that_is_none(dataset, seconds):
    with pytest.raises(ValueError, match="decode_timeout in seconds, 0 for no limit"):
        dataset(decode_timeout=seconds)


FLAT = """
import itertools, sys
from pathlib import Path
import psutil
from litevl.data.decoding_process import DecodingProcess
from litevl.data.preprocess import resize_frames
from litevl.data.video import read_frames

decoders = itertools.cycle(["auto", "pyav"])
reader = DecodingProcess(
    lambda path: resize_frames(read_frames(path, 2, decoder=next(decoders)), 4), (2, 3, 4, 4), 60.0
)
for count in range(5000):
    reader(Path(sys.argv[1]))
    if count % 500 == 499:
        print(reader._pid, psutil.Process(reader._pid).memory_info().rss)
"""


@pytest.mark.slow
def test_memory_stays_flat_over_5000_clips(tmp_path):
    """Of the decoders in turn, in a program of its own: what enforces shape annotations here grows by itself."""
    path = render(tmp_path / "a.mp4", 4, 32, 48, options={"preset": "ultrafast"})
    done = subprocess.run([sys.executable, "-c", FLAT, str(path)], capture_output=True, text=True, check=True)
    pids, sizes = zip(*(map(int, line.split()) for line in done.stdout.splitlines()), strict=True)
    assert len(sizes) == 10
    assert len(set(pids)) == 1
    # The allocator takes a few MB in the first half; a leak of a frame a clip takes more than that in the second.
    assert max(sizes[4:]) - sizes[4] < 4 << 20, sizes
    assert max(sizes) - sizes[0] < 16 << 20, sizes
