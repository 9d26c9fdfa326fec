"""Many files at once in processes apart: each answer is its own, and what hangs or crashes takes no other with it."""

import os
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from hanging import gone, hang_in_c

from litevl.data import forked
from litevl.data.cores import decoding_threads
from litevl.data.forked import Forked, each_forked
from litevl.data.video import VideoError

linux = pytest.mark.skipif(sys.platform != "linux", reason="calls are made in threads elsewhere")
SETTING = "--a-flag"


def told(path: Path, number: int) -> tuple[str, int]:
    """The name and the double; odd numbers are bad files."""
    if number % 2:
        raise VideoError(path, f"number {number} is odd")
    return path.name, 2 * number


CALLS = [(Path(f"{number}.mp4"), number) for number in range(7)]


@pytest.mark.parametrize("workers", [1, 3, 20])
@pytest.mark.parametrize("forks", [pytest.param(True, marks=linux), False])
def test_each_call_has_its_own_answer(monkeypatch, forks, workers):
    monkeypatch.setattr(forked, "can_fork", lambda: forks)
    answers = dict(each_forked(told, CALLS, workers, 30.0, SETTING))
    assert sorted(answers) == list(range(7))
    for place, answer in answers.items():
        if place % 2:
            assert str(answer) == f"{place}.mp4: number {place} is odd"
        else:
            assert answer == (f"{place}.mp4", 2 * place)
    assert list(each_forked(told, [], workers, 30.0, SETTING)) == []


@linux
def test_what_hangs_or_crashes_is_named_and_the_others_are_answered():
    def spoiled(path, number):
        if number == 2:
            hang_in_c(path)
        if number == 4:
            os.abort()
        return os.getpid()

    answers = dict(each_forked(spoiled, CALLS, 2, 0.5, SETTING))
    assert "2.mp4: decoding it was stopped after 0.5 seconds" in str(answers[2])
    assert str(answers[2]).endswith("allow more with --a-flag")
    assert "4.mp4: the decoder crashed on it (SIGABRT)" in str(answers[4])
    others = [pid for place, pid in answers.items() if place not in (2, 4)]
    assert len(others) == 5
    assert os.getpid() not in others
    assert all(gone(pid) for pid in others)


@linux
@pytest.mark.parametrize("seconds", [0.0, 30.0])
def test_they_come_as_they_end_and_no_process_is_left_by_who_breaks_off(seconds):
    def late(path, number):
        time.sleep(60 * (number == 0))
        return os.getpid()

    before = psutil.Process().children()
    answers = each_forked(late, CALLS, 2, seconds, SETTING)
    assert next(answers)[0] == 1
    children = [child for child in psutil.Process().children() if child not in before]
    answers.close()
    assert children
    assert all(gone(child.pid) for child in children)


@linux
def test_an_error_that_is_no_videos_is_raised():
    def wrong(path, number):
        raise ImportError("no decord")

    with pytest.raises(ImportError, match="no decord"):
        list(each_forked(wrong, CALLS, 2, 30.0, SETTING))


@linux
def test_an_error_that_can_not_be_sent_is_told_in_words():
    class OwnError(Exception):
        def __init__(self, one, two):
            super().__init__(one)
            self.lock = threading.Lock()

    def wrong(path):
        raise OwnError("what happened", 2)

    call = Forked(wrong, 30.0, SETTING)
    with pytest.raises(RuntimeError, match=r"a\.mp4: OwnError: what happened"):
        call(Path("a.mp4"))
    call.close()


@linux
def test_the_cores_are_left_to_the_others():
    import torch

    call = Forked(lambda path: (decoding_threads(), torch.get_num_threads()), 30.0, SETTING)
    assert call(Path("a.mp4")) == (1, 1)
    assert decoding_threads() == 0
    call.close()
