"""Segments of a file: the frames of their seconds, in every decoder, and no others decoded but those a seek needs."""

import contextlib

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendered_clips import number

from litevl.data import decoders, pyav_reader
from litevl.data.annotations import VideoCaptions
from litevl.data.coverage import find_bad_videos
from litevl.data.dataset import CaptionedVideoDataset, VideoDataset
from litevl.data.decoders import installed
from litevl.data.preprocess import PreprocessConfig
from litevl.data.sampling import frame_indices
from litevl.data.video import read_frames
from litevl.data.video_index import index_video

DECODERS = ["decord", "pyav"]


def segment(start, end, name="part", file="plain.mp4"):
    return VideoCaptions(name, ("a part",), file=file, start=start, end=end)


def numbers(frames):
    return [number(frame) for frame in frames.permute(0, 2, 3, 1).numpy()]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [(0.4, 0.8, 10, 20), (None, 0.5, 0, 13), (1.2, None, 30, 40), (0.5, 99.0, 13, 40), (None, None, 0, 40)],
)
def test_a_segments_frames_are_those_of_its_seconds(plain_clip, decoder, start, end, first, last):
    if not installed(decoder):
        pytest.skip(f"{decoder} is not installed")
    clip = segment(start, end)
    size = PreprocessConfig(96)
    seen = VideoDataset([clip], plain_clip.parent, 4, size, decoder)[0]
    assert seen["bad"] is None
    expected = (first + frame_indices(last - first, 4)).tolist()
    whole = read_frames(plain_clip, 4, decoder=decoder, start=start, end=end)
    assert [number(frame) for frame in whole] == expected
    drawn = CaptionedVideoDataset([clip], plain_clip.parent, 4, size, decoder, seed=3)
    for epoch in range(5):
        item = drawn[epoch, 0]
        chosen = numbers(item["frames"])
        assert all(first <= place < last for place in chosen)
        assert chosen == sorted(chosen)
        assert item["video_id"] == "part"


class Spy:
    """A container that counts the packets taken from it to be decoded, and is otherwise what it stands for."""

    def __init__(self, container, taken):
        self.container, self.taken = container, taken

    __class__ = av.container.InputContainer

    def __getattr__(self, name):
        return getattr(self.container, name)

    def demux(self, stream):
        for packet in self.container.demux(stream):
            if packet.size:
                self.taken.append(round(float(packet.pts * packet.time_base) * 25))
            yield packet


@contextlib.contextmanager
def counting():
    """Places of the frames whose packets PyAV takes inside the block, in the order in which they come."""
    places = []
    original = pyav_reader.open_container

    @contextlib.contextmanager
    def spied(path):
        with original(path) as container:
            yield Spy(container, places)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyav_reader, "open_container", spied)
        yield places


@given(first=st.integers(0, 39), length=st.integers(1, 40))
def test_pyav_decodes_from_the_key_frame_before_a_segment_to_its_end(plain_clip, first, length):
    last = min(first + length, 40)
    with counting() as places:
        frames = read_frames(plain_clip, 3, decoder="pyav", start=first / 25, end=last / 25)
    expected = first + frame_indices(last - first, 3)
    assert [number(frame) for frame in frames] == expected.tolist()
    index = index_video(plain_clip)
    entry = index.key_pts[index.key_pts <= index.pts[expected[0]]].max()
    assert min(places) == np.searchsorted(index.pts, entry)
    assert expected[-1] <= max(places) <= expected[-1] + 3, "no more than what it refers to, past x264's three B-frames"
    assert len(places) == len(set(places))


def test_decord_is_asked_for_a_segments_frames_only(plain_clip, monkeypatch):
    if not installed("decord"):
        pytest.skip("decord is not installed")
    asked = []
    original = decoders.DecordReader.get

    def spied(self, indices):
        asked.extend(indices.tolist())
        return original(self, indices)

    monkeypatch.setattr(decoders.DecordReader, "get", spied)
    read_frames(plain_clip, 4, decoder="decord", start=0.8, end=1.2)
    assert asked == (20 + frame_indices(10, 4)).tolist()


def test_a_segment_past_the_end_is_a_bad_video(plain_clip):
    good, late = segment(0.0, 1.0, "good"), segment(8.0, 9.0, "late")
    found = find_bad_videos([good, late], plain_clip.parent, decode=True, progress=False)
    assert [bad.video_id for bad in found] == ["late"]
    assert "between 8.0 and 9.0 seconds, got none: the last frame is at 1.56" in found[0].reason
    item = VideoDataset([late], plain_clip.parent, 2, PreprocessConfig(32), on_bad_video="skip")[0]
    assert item["bad"] is not None


def test_the_file_is_looked_for_by_its_own_name(plain_clip, tmp_path):
    (tmp_path / "videos" / "film").mkdir(parents=True)
    (tmp_path / "videos" / "film" / "one.mp4").write_bytes(plain_clip.read_bytes())
    clip = VideoCaptions("scene 1", ("x",), file="film/one.mp4")
    assert find_bad_videos([clip], tmp_path, progress=False) == []
    assert clip.key == "film/one.mp4"
    assert VideoCaptions("video7", ("x",)).key == "video7"
    missing = find_bad_videos([VideoCaptions("scene 2", ("x",), file="film/two.mp4")], tmp_path, progress=False)
    assert [bad.video_id for bad in missing] == ["scene 2"]
    assert "film/two.mp4" in missing[0].reason


@pytest.mark.parametrize(
    ("start", "end"), [(2.0, 1.0), (1.0, 1.0), (-1.0, 2.0), (np.nan, 1.0), (0.0, 0.0), (1.0, np.nan)]
)
def test_seconds_that_make_no_segment_are_refused(start, end):
    with pytest.raises(ValueError, match="0 <= start < end"):
        VideoCaptions("x", ("y",), start=float(start), end=float(end))
