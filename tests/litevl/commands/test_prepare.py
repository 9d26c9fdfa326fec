"""`litevl prepare`: every video of a data set in the frame store, what it says, and what it does when it cannot."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from made_up_data import clip, msrvtt, own, put

from litevl.__main__ import main
from litevl.data import frame_store, preparation
from litevl.data.frame_store import FrameStore
from litevl.data.preprocess import resize_frames
from litevl.data.video import read_frames

SIZE = 16
SPLITS = {"train": [("a", "x"), ("b", "y")], "val": [("c", "z")], "test": [("d", "w")]}
CLIPS = {f"{name}.mp4": number for number, name in enumerate("abcd")}


@pytest.fixture
def root(tmp_path):
    return put(own(tmp_path / "data", SPLITS), CLIPS)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def run(capsys, store, *arguments, size=SIZE, workers=0):
    words = ["--frame-store", store, *(() if size is None else ("--image-size", size)), "--workers", workers]
    code = main(["prepare", *map(str, [*arguments, *words])])
    out, err = capsys.readouterr()
    return code, out, err


def report(capsys, store, *arguments, **options):
    code, out, _ = run(capsys, store, *arguments, "--json", **options)
    told = json.loads(out)
    assert told["exit_code"] == code
    return told


def refuse_to_decode(monkeypatch):
    for name in ("with_reader", "index_video"):
        monkeypatch.setattr(frame_store, name, None)


@pytest.mark.parametrize("workers", [0, 1])
def test_runs_read_from_it_what_decoding_gives(root, store, capsys, monkeypatch, workers):
    decoded = {path: resize_frames(read_frames(path, 3), SIZE) for path in sorted(root.glob("*.mp4"))}
    told = report(capsys, store, root, workers=workers)
    assert (told["exit_code"], told["videos"], told["stored"], told["left_out"]) == (0, 4, 4, [])
    assert told["frames"] == sum(5 + number for number in CLIPS.values())
    assert told["bytes"] == told["bytes_written"] == sum(path.stat().st_size for path in store.iterdir())
    refuse_to_decode(monkeypatch)
    for path, frames in decoded.items():
        assert torch.equal(FrameStore(store, SIZE).read(path, 3), frames)


def test_what_it_will_take_is_said_before_anything_is_written(root, store, capsys):
    code, out, err = run(capsys, store, root, "--dry-run")
    assert code == 0
    assert "captions of own: 4 videos; 26 frames of 16 px to decode, 0.02 MB into" in out
    assert "GB are free" in out
    assert not list(store.iterdir())
    assert "looking at videos" in err
    code, out, err = run(capsys, store, root)
    assert "stored 4 videos" in out
    assert "decoding: 100%" in err
    assert "\x1b" not in out


def test_a_second_time_there_is_nothing_to_do(root, store, capsys, monkeypatch):
    run(capsys, store, root)
    monkeypatch.setattr(preparation, "fill", None)
    told = report(capsys, store, root, "--dry-run")
    assert (told["stored_before"], told["frames"], told["bytes"]) == (4, 0, 0)
    put(root, {"a.mp4": 9})
    assert report(capsys, store, root, "--dry-run")["frames"] == 14, "a file that was replaced is another video"


def test_every_data_set_is_found_as_validate_finds_it(tmp_path, store, capsys):
    told = report(capsys, store, msrvtt(tmp_path / "data"))
    assert (told["exit_code"], told["stored"]) == (0, 4)
    assert told["data"] == "captions of msrvtt, questions of msrvtt"
    told = report(capsys, store, tmp_path / "data", "--no-training", "--task", "captions", size=SIZE + 1)
    assert told["stored"] == 1


def test_the_embedded_corpus(store, capsys, monkeypatch, tmp_path):
    from litevl import corpus

    put(tmp_path / "corpus", {"videos/video0.mp4": 3, "videos/video1.mp4": 4})
    monkeypatch.setattr(corpus, "ensure_corpus", lambda: tmp_path / "corpus")
    told = report(capsys, store, size=None)
    assert (told["image_size"], told["stored"]) == (48, 2)


def test_every_file_of_a_folder_without_annotations(tmp_path, store, capsys):
    data = put(tmp_path / "data", {"a.mp4": 0, "deep/er/b.MP4": 1, "notes.txt": "hello"})
    code, _, err = run(capsys, store, data)
    assert code == 2
    assert "expected annotations of captions or questions" in err
    assert "--every-file takes every video below the folder" in err
    assert report(capsys, store, data, "--every-file")["stored"] == 2
    code, _, err = run(capsys, store, tmp_path / "nowhere", "--every-file")
    assert (code, "expected a folder with videos" in err) == (2, True)


def test_bad_videos_are_refused_before_the_start_or_named_and_left_out(root, store, capsys):
    (root / "a.mp4").unlink()
    (root / "b.mp4").write_bytes(clip(1)[: len(clip(1)) // 2])
    code, out, err = run(capsys, store, root)
    assert code == 2
    assert "left out: a: no file for the video 'a'" in out
    assert f"left out: {root / 'b.mp4'}: expected a readable video" in out
    assert "got 2 of 4 missing or unreadable; fetch them, or --on-bad-video skip" in err
    assert not list(store.iterdir())
    told = report(capsys, store, root, "--on-bad-video", "skip")
    assert (told["exit_code"], told["stored"], len(told["left_out"])) == (1, 2, 2)


def test_a_video_with_a_damaged_frame_is_named_and_the_others_are_stored(root, store, capsys):
    # Its index is whole, the data of its last frames is not.
    whole = clip(3)
    start = whole.index(b"mdat")
    length = int.from_bytes(whole[start - 4 : start], "big")
    cut = start + 4 + (length - 8) * 2 // 3
    (root / "d.mp4").write_bytes(whole[:cut] + bytes(start + length - 4 - cut) + whole[start + length - 4 :])
    told = report(capsys, store, root)
    assert (told["exit_code"], told["stored"]) == (1, 3)
    (left,) = told["left_out"]
    assert left["video_id"] == str(root / "d.mp4")
    assert "damage" in left["reason"] or "cannot be decoded" in left["reason"]


def test_what_does_not_fit_is_refused(root, store, capsys, monkeypatch):
    usage = shutil.disk_usage(root)
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    code, _, err = run(capsys, store, root)
    assert code == 2
    assert "got 0.00 MB free for 0.02 MB; free some, name a folder on a larger disk" in err
    assert not list(store.iterdir())


def test_a_disk_that_fills_up_keeps_what_was_stored(root, store, capsys, monkeypatch):
    put = Path.replace
    moved = []

    def full(source, target):
        moved.append(target)
        if len(moved) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        put(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        code, out, err = run(capsys, store, root)
    assert code == 2
    assert "No space left on device" in err
    assert "What was stored is whole" in err
    assert "give the command again, which goes on from there" in err
    assert "stored 2 videos" in out
    assert len(list(store.iterdir())) == 4
    told = report(capsys, store, root)
    assert (told["exit_code"], told["stored_before"], told["stored"]) == (0, 2, 2)


def test_a_killed_process_leaves_whole_videos_and_the_next_goes_on(tmp_path, store, capsys):
    data = put(tmp_path / "data", {f"{number}.mp4": number % 5 for number in range(30)})
    command = ["prepare", str(data), "--every-file", "--frame-store", str(store), "--image-size", "64"]
    process = subprocess.Popen(
        [sys.executable, "-m", "litevl", *command, "--workers", "1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while sum(not path.name.startswith(".") for path in store.glob("*")) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (store / ".litevl-old").mkdir()
    (store / ".litevl-old" / "frames.npy").write_bytes(b"half")
    for path in ((store / ".litevl-old"), (store / ".litevl-old" / "frames.npy")):
        os.utime(path, (0, 0))
    told = report(capsys, store, data, "--every-file", size=64)
    assert told["stored_before"] in range(2, 30)
    assert told["stored_before"] + told["stored"] == 30
    assert not (store / ".litevl-old").exists(), "what was left half written long ago is gone"
    for path in sorted(data.iterdir())[:5]:
        assert torch.equal(FrameStore(store, 64).read(path, 4), resize_frames(read_frames(path, 4), 64))


def test_a_store_that_cannot_be_made_is_named(root, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, tmp_path / "file", root)
    assert (code, "expected a folder to keep decoded frames in" in err) == (2, True)
