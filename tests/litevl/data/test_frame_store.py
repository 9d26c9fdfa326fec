"""The frame store gives what decoding gives, bit for bit, and decodes a video once."""

import errno
import os

import numpy as np
import pytest
import torch
from rendered_clips import render

from litevl.data import frame_store
from litevl.data.frame_store import FrameStore
from litevl.data.preprocess import resize_frames
from litevl.data.video import VideoError, read_frames

SIZE = 32


@pytest.fixture
def clip(tmp_path):
    return render(tmp_path / "clip.mp4", frames=75)


@pytest.mark.parametrize("sampling", ["midpoint", "random", "legacy_blip"])
@pytest.mark.parametrize(("start", "end"), [(None, None), (0.4, 1.7)])
def test_frames_are_those_of_decoding(clip, tmp_path, sampling, start, end):
    store = FrameStore(tmp_path / "store", SIZE)
    for _ in range(2):  # while it is stored, and from the store
        frames = store.read(clip, 6, sampling, np.random.default_rng(5), start, end)
        decoded = read_frames(clip, 6, sampling, rng=np.random.default_rng(5), start=start, end=end)
        assert torch.equal(frames, resize_frames(decoded, SIZE))


def test_a_video_is_decoded_once_and_again_when_it_changed(clip, tmp_path, monkeypatch):
    used = []
    original = frame_store.with_reader
    monkeypatch.setattr(frame_store, "with_reader", lambda *given: used.append(given) or original(*given))
    store = FrameStore(tmp_path / "store", SIZE)
    before = store.read(clip, 4)
    assert torch.equal(store.read(clip, 4), before)
    assert torch.equal(FrameStore(tmp_path / "store", SIZE).read(clip, 4), before)
    assert len(used) == 1
    FrameStore(tmp_path / "store", SIZE // 2).read(clip, 4)
    assert len(used) == 2, "another size is another file"
    os.replace(render(clip.with_name("other.mp4"), frames=30), clip)
    assert not torch.equal(store.read(clip, 4), before)
    assert len(used) == 3


def test_a_file_whose_packets_are_not_its_frames(tmp_path):
    """A broadcast cut at any byte: some packets at its start can't be decoded, so that there are fewer frames."""
    options = {"g": "25", "bf": "2"}
    whole = render(tmp_path / "whole.ts", frames=100, codec="mpeg2video", options=options).read_bytes()
    cut = tmp_path / "cut.ts"
    cut.write_bytes(whole[len(whole) // 7 // 188 * 188 :])
    store = FrameStore(tmp_path / "store", SIZE)
    for start, end in ((None, None), (0.5, 1.5)):
        decoded = resize_frames(read_frames(cut, 6, start=start, end=end), SIZE)
        for _ in range(2):
            assert torch.equal(store.read(cut, 6, start=start, end=end), decoded)


def test_damage_in_a_frame_that_nobody_asks_for_changes_nothing(clip, tmp_path, monkeypatch):
    store = FrameStore(tmp_path / "store", SIZE)
    decoded = resize_frames(read_frames(clip, 4), SIZE)
    tries = []

    def fails(self, reader, stored):
        tries.append(stored)
        raise VideoError(clip, "a frame cannot be decoded")

    monkeypatch.setattr(FrameStore, "_write", fails)
    assert torch.equal(store.read(clip, 4), decoded)
    once = len(tries)
    assert torch.equal(store.read(clip, 4), decoded)
    assert len(tries) == once > 0
    assert not list((tmp_path / "store").iterdir())


def test_a_full_disk_is_said_once_and_decoding_goes_on(clip, tmp_path, monkeypatch, caplog):
    store = FrameStore(tmp_path / "store", SIZE)
    decoded = resize_frames(read_frames(clip, 4), SIZE)

    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(frame_store.np.lib.format, "write_array_header_1_0", full)
        for _ in range(2):
            assert torch.equal(store.read(clip, 4), decoded)
    assert caplog.text.count("No space left") == 1
    assert not list((tmp_path / "store").iterdir())


@pytest.mark.parametrize("which", ["frames", "times"])
@pytest.mark.parametrize("length", [0, 40, 0.5, None])
def test_a_damaged_file_is_named_and_written_anew(clip, tmp_path, caplog, which, length):
    store = FrameStore(tmp_path / "store", SIZE)
    decoded = store.read(clip, 6)
    (times,) = (tmp_path / "store").glob("*-times.npy")
    frames = times.with_name(times.name.replace("-times", ""))
    file = {"frames": frames, "times": times}[which]
    whole = file.read_bytes()
    if length is None:
        np.save(file, np.load(file)[:-1])  # whole, but of another number of frames
    else:
        file.write_bytes(whole[: int(len(whole) * length) if isinstance(length, float) else length])
    assert torch.equal(store.read(clip, 6), decoded)
    assert f"{frames}: damaged" in caplog.text
    assert file.read_bytes() == whole
    caplog.clear()
    assert torch.equal(store.read(clip, 6), decoded)
    assert not caplog.text


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"frame_store: expected a folder .*file, a file; name another"):
        FrameStore(tmp_path / "file", SIZE)
    with pytest.raises(ValueError, match=r"frame_store: expected a folder .*store, one that can't be made"):
        FrameStore(tmp_path / "file" / "store", SIZE)


def test_a_bad_video_leaves_nothing_behind(clip, tmp_path):
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError, match=r"clip\.mp4"):
        FrameStore(tmp_path / "store", SIZE).read(clip, 4)
    assert not list((tmp_path / "store").iterdir())


def test_retrieval_reads_from_the_store(tmp_path, monkeypatch):
    from litevl.data.annotations import VideoCaptions
    from litevl.data.dataset import CaptionedVideoDataset
    from litevl.data.paths import VideoFolder
    from litevl.data.preprocess import PreprocessConfig

    (tmp_path / "videos").mkdir()
    render(tmp_path / "videos" / "video0.mp4")
    videos = [VideoCaptions("video0", ("a caption",))]
    size = PreprocessConfig(SIZE)
    decoded = CaptionedVideoDataset(videos, VideoFolder(tmp_path), 6, size)[(3, 0)]["frames"]
    kept = CaptionedVideoDataset(videos, VideoFolder(tmp_path, tmp_path / "store"), 6, size)
    assert torch.equal(kept[(3, 0)]["frames"], decoded)
    monkeypatch.setattr(frame_store, "with_reader", None)
    assert torch.equal(kept[(3, 0)]["frames"], decoded)
