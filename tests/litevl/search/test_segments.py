import numpy as np
import pytest
from rendered_clips import number, render

from litevl.data import pyav_reader
from litevl.data.pyav_reader import PyAVReader
from litevl.data.resizing import square_frames
from litevl.data.video import with_reader
from litevl.data.video_index import index_video
from litevl.search import Segment, SegmentConfig, decoding
from litevl.search.decoding import Cutter, cut, read_segment, read_segments
from litevl.search.segments import divided, duration_of, windows
from litevl.search.shots import colours_of, cuts


def test_windows_are_equal_and_leave_no_rest():
    assert windows(0.0, 31.0, 10.0) == [Segment(0.0, 31 / 3), Segment(31 / 3, 62 / 3), Segment(62 / 3, 31.0)]
    assert windows(5.0, 9.0, 10.0) == [Segment(5.0, 9.0)]
    assert duration_of(np.array([0.0, 0.5, 1.0])) == 1.5
    assert duration_of(np.array([0.0])) == 0.04


def test_shots_are_neither_too_short_nor_too_long():
    config = SegmentConfig("shots", seconds=4.0, shortest=1.0)
    found = divided([0.5, 3.0, 3.5, 11.0, 11.8], 12.0, config)
    assert [(part.start, part.end) for part in found] == [(0.0, 3.0), (3.0, 7.0), (7.0, 11.0), (11.0, 12.0)]


def test_a_cut_stands_out_of_what_is_around_it():
    frame = np.zeros((8, 8, 3), np.uint8)
    dark, light = colours_of(frame), colours_of(frame + 200)
    assert cuts(np.stack([dark] * 5 + [light] * 5), 0.4) == [5]
    assert cuts(np.stack([dark, light] * 6), 0.4) == [], "flicker"
    mixed = [(1 - share) * dark + share * light for share in np.linspace(0, 1, 12)]
    assert cuts(np.stack(mixed), 0.4) == [], "a dissolve"


def two_shots(path):
    """Three seconds of one picture, three of another, five frames a second."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(30):
            picture = np.full((48, 64, 3), (30, 30, 200) if number < 15 else (220, 160, 30), np.uint8)
            picture[10:20, number : number + 10] = 128
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode())
    return path


def test_shots_of_a_file(tmp_path):
    path = two_shots(tmp_path / "cut.mp4")

    def shots(**options):
        return with_reader(index_video(path), "auto", lambda *of: cut(SegmentConfig("shots", **options), *of))

    seconds, found = shots()
    assert seconds == pytest.approx(6.0)
    assert [part.start for part in found] == pytest.approx([0.0, 3.0])
    assert found[-1].end == seconds
    assert len(shots(seconds=1.5)[1]) == 4, "the longest shot"
    assert len(shots(threshold=1.0)[1]) == 1


def test_segments_hold_their_own_frames(tmp_path):
    path = render(tmp_path / "clip.mp4", frames=40)
    (piece,) = Cutter(SegmentConfig(seconds=0.8), 4, 32, "auto").pieces([path], 0, 60.0)
    assert [part.end for part in piece.segments] == pytest.approx([0.8, 1.6])
    (whole,) = Cutter(SegmentConfig("whole"), 8, 32, "auto").pieces([path], 0, 60.0)
    assert (piece.frames.reshape(whole.frames[0].shape) == whole.frames[0]).all(), (
        "the middles of eighths are those of fourths of halves"
    )


@pytest.fixture
def decoded(monkeypatch):
    """The frames that PyAV decodes from the start of a file on."""
    count, decode = [], PyAVReader._decode

    def counted(self, container):
        for each in decode(self, container):
            count.append(each[0])
            yield each

    monkeypatch.setattr(PyAVReader, "_decode", counted)
    return count


def test_a_file_without_true_times_is_decoded_twice_however_many_segments_it_has(tmp_path, decoded, monkeypatch):
    beats = []
    monkeypatch.setattr(pyav_reader, "beat", lambda: beats.append(1))
    path = render(tmp_path / "clip.mpg", frames=150, codec="mpeg2video", options={"bf": "2", "g": "12"})
    cutter = Cutter(SegmentConfig(seconds=0.2), 4, 32, "auto")
    pieces = list(cutter.pieces([path], 0, 60.0))
    segments = pieces[0].segments
    assert (len(segments), len(pieces), pieces[-1].bad) == (30, 4, None)
    assert len(beats) == len(decoded) <= 2 * 150 + len(pieces), "once to count, once to take"

    decoded.clear()
    parts = list(read_segments(path, segments, 4, "auto"))
    assert len(decoded) <= 2 * 150
    assert [number(frame) for part in parts for frame in part] == [
        number(frame) for segment in segments for frame in read_segment(path, segment, 4, "auto")
    ]
    cut_up = np.concatenate([piece.frames for piece in pieces])
    assert all((square_frames(part, 32) == frames).all() for part, frames in zip(parts, cut_up, strict=True))


def test_frames_that_are_asked_for_in_any_order_are_the_same(tmp_path):
    path = render(tmp_path / "clip.mpg", codec="mpeg2video", options={"bf": "2"})
    reader = PyAVReader(index_video(path))
    for places in ([5, 9], [9, 12], [30], [2, 20], [20], [39], [0]):
        assert [number(frame) for frame in reader.get(np.array(places))] == places
    reader.close()
    assert number(reader.get(np.array([7]))[0]) == 7


def test_whatever_reading_a_file_ends_in_makes_it_a_bad_one(tmp_path, monkeypatch):
    def spoiled(path):
        raise (ImportError if path.stem == "all" else MemoryError)("no more")

    monkeypatch.setattr(decoding, "index_video", spoiled)
    cutter = Cutter(SegmentConfig(), 4, 32, "auto")
    (piece,) = cutter.pieces([tmp_path / "clip.mp4"], 0, 60.0)
    assert (piece.path.name, piece.bad) == ("clip.mp4", "reading it failed (MemoryError: no more); check the file")
    with pytest.raises(ImportError):
        list(cutter.pieces([tmp_path / "all.mp4"], 0, 60.0))


def test_settings_that_leave_nothing_are_refused():
    for options in ({"seconds": 0.0}, {"cut": "shots", "shortest": 11.0}, {"threshold": 0.0}):
        with pytest.raises(ValueError, match="expected"):
            SegmentConfig(**options)
