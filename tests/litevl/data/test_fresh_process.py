"""A process apart that decodes: what it gives, and what becomes of one that hangs, crashes or is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from spoiled_decoding import (
    PLANTED,
    about,
    hang,
    hold_more,
    leave,
    raise_unsendable,
    read_where_nothing_is,
    three_parts,
)

from litevl.data import fresh_process
from litevl.data.fresh_process import END, FreshProcess, decoding_apart
from litevl.data.video import read_frames
from litevl.data.video_index import VideoError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="other systems have no alarms")
PATH = Path("a.mp4")


@pytest.fixture
def apart():
    made = FreshProcess(0.5, "or wait longer")
    yield made
    made.close()


def test_calls_are_answered_by_one_other_process_without_torch(apart, tmp_path):
    pid, threads, torch = apart(about, PATH)
    assert (pid != os.getpid(), threads, torch) == (True, 1, False)
    with pytest.raises(VideoError, match="no such file") as caught:
        apart(read_frames, tmp_path / "no.mp4", 2)
    assert caught.value.path == tmp_path / "no.mp4"
    assert apart(about, PATH)[0] == pid


def test_values_come_one_by_one_and_may_be_waited_for(apart):
    here = Path(__file__).parent
    apart.ask(Path.iterdir, here)
    found = [apart.answer()]
    time.sleep(0.7)  # longer than a value may take
    while (value := apart.answer()) is not END:
        found.append(value)
    assert sorted(found) == sorted(here.iterdir())


@pytest.mark.parametrize(
    ("spoiled", "message"),
    [
        (hang, r"decoding it was stopped after 0\.5 seconds; check the file, or wait longer"),
        (read_where_nothing_is, r"the decoder crashed on it \(SIGSEGV\)"),
        (leave, r"the decoder crashed on it \(exit status 3\)"),
    ],
)
def test_one_that_hangs_or_crashes_is_named_and_the_next_call_is_answered(apart, spoiled, message):
    with pytest.raises(VideoError, match=rf"^a\.mp4: {message}"):
        apart(spoiled, PATH)
    assert not apart.running
    assert apart(three_parts, PATH, 0.01) == "done"


def test_what_goes_on_may_take_longer(apart):
    assert apart(three_parts, PATH, 0.3) == "done"
    with pytest.raises(VideoError, match="stopped after"):
        apart(three_parts, PATH, 0.7)


def test_one_that_ends_between_two_calls_is_no_files_fault(apart):
    pid, *_ = apart(about, PATH)
    os.kill(pid, signal.SIGKILL)
    apart._process.wait()
    assert apart(about, PATH)[0] != pid


def test_one_that_does_not_start_is_no_files_fault(apart, monkeypatch):
    monkeypatch.setattr(sys, "path", ["/nowhere"])
    with pytest.raises(RuntimeError, match=r"did not start \(exit status 1\)"):
        apart(about, PATH)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell what a process holds")
def test_one_that_has_grown_gives_way_to_another():
    apart = FreshProcess(30.0, "or wait longer")
    try:
        first, *_ = apart(about, PATH)
        assert apart(hold_more, PATH) == first
        assert not apart.running
        assert apart(about, PATH)[0] != first
    finally:
        apart.close()


def test_an_error_that_can_not_be_made_again_comes_in_words(apart):
    with pytest.raises(RuntimeError, match=r"^a\.mp4: UnsendableError: a\.mp4 is spoiled"):
        apart(raise_unsendable, PATH)
    assert apart(three_parts, PATH, 0.01) == "done"


LEFT = """
import sys
from pathlib import Path
from spoiled_decoding import about, hang
from litevl.data.fresh_process import FreshProcess
apart = FreshProcess(0.3, "")
print(apart(about, Path("a.mp4"))[0], flush=True)
apart(hang, Path("a.mp4"))
"""


def test_one_that_is_left_ends_though_it_hangs():
    surroundings = {**os.environ, "PYTHONPATH": str(PLANTED.parent)}
    program = [sys.executable, "-c", LEFT]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=surroundings) as left:
        process = psutil.Process(int(left.stdout.readline()))
        left.kill()
    psutil.wait_procs([process], timeout=20)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_while_it_lasts_what_stopped_it_is_not_tried_again():
    with decoding_apart(0.5, "or wait longer") as call:
        first = call(about, PATH)[0]
        with pytest.raises(VideoError, match=r"a\.mp4: decoding it was stopped after 0\.5 seconds"):
            call(hang, PATH)
        began = time.monotonic()
        with pytest.raises(VideoError, match=r"a\.mp4: decoding it was stopped after 0\.5 seconds"):
            call(about, PATH)
        assert time.monotonic() - began < 0.4, "remembered"
        second = call(about, Path("b.mp4"))[0]
    assert len({os.getpid(), first, second}) == 3
    assert not psutil.pid_exists(second)


def test_where_there_are_no_alarms_this_process_decodes(monkeypatch):
    monkeypatch.setattr(fresh_process, "HAS_ALARMS", False)
    with decoding_apart(0.5, "") as call:
        assert call(about, PATH)[0] == os.getpid()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_a_limit_that_is_none_is_refused(seconds):
    with (
        pytest.raises(ValueError, match="decode_timeout: expected a number of seconds above 0"),
        decoding_apart(seconds, ""),
    ):
        pass
