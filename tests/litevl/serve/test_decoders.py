"""Processes that decode for a server: several at once, and what stopped one is not tried again and again."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from spoiled_decoding import about, hang, leave, three_parts

from litevl.data.video_index import VideoError
from litevl.serve import decoders as decoders_module
from litevl.serve.decoders import Decoders


@pytest.fixture
def decoders():
    made = Decoders(2, 0.5)
    yield made
    made.close()


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "a.mp4"
    made.write_bytes(b"1")
    return made


def test_calls_go_to_as_many_processes_as_are_needed(decoders, path):
    assert len({decoders(about, path)[0] for _ in range(3)}) == 1
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: decoders(three_parts, path, 0.1), range(4))) == ["done"] * 4
        assert len(set(pool.map(lambda _: decoders(about, path)[0], range(20)))) <= 2
    with pytest.raises(VideoError, match="expected a video, found none"):
        decoders(about, path.with_name("no.mp4"))


@pytest.mark.parametrize("spoiled", [hang, leave])
def test_what_stopped_one_is_not_tried_again_until_it_changes(decoders, path, spoiled, monkeypatch):
    with pytest.raises(VideoError, match=r"stopped after|crashed on it"):
        decoders(spoiled, path)
    began = time.monotonic()
    with pytest.raises(VideoError, match=r"stopped after|crashed on it"):
        decoders(about, path)
    assert time.monotonic() - began < 0.3
    path.write_bytes(b"22")
    assert decoders(about, path)[0] != os.getpid()
    with pytest.raises(VideoError):
        decoders(leave, path)
    monkeypatch.setattr(decoders_module, "AGAIN", 0.0)
    assert decoders(about, path)[0] != os.getpid()


def test_without_such_processes_the_server_decodes(decoders, path, monkeypatch):
    monkeypatch.setattr(decoders_module, "HAS_ALARMS", False)
    assert decoders(about, path)[0] == os.getpid()
    with pytest.raises(VideoError, match="expected a video, found none"):
        decoders(about, path.with_name("no.mp4"))
