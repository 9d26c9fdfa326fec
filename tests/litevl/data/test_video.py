"""One conformance test over the decoders: the same frames, in the same order, in the same colours."""

import io
import logging
import os
import pickle
import threading

import av
import numpy as np
import psutil
import pytest
from PIL import Image
from rendered_clips import COLOURS, edit_list, number, render, rotate

from litevl.data import pyav_reader
from litevl.data.decoders import PyAVReader, installed, open_reader
from litevl.data.preprocess import resize_frames
from litevl.data.sampling import frame_indices
from litevl.data.video import VideoError, read_frames
from litevl.data.video_index import index_video

H264 = {"crf": "12"}
DECODERS = ["decord", "pyav", "torchcodec"]

# name: (how to render it, numbers of the presented frames, decoders that may refuse it, which decord then must)
CLIPS = {
    "keys_every_10.mp4": ({"options": {**H264, "g": "10"}}, range(40), ()),
    "one_key.mp4": ({"options": {**H264, "g": "250"}}, range(40), ()),
    "no_b_frames.mp4": ({"options": {**H264, "bf": "0", "g": "10"}}, range(40), ()),
    "many_b_frames.mp4": ({"options": {**H264, "bf": "8", "b_strategy": "0", "g": "20"}}, range(40), ()),
    "pyramid.mp4": (
        {
            "frames": 80,
            "options": {**H264, "bf": "4", "b_strategy": "0", "b_pyramid": "normal", "refs": "5", "g": "32"},
        },
        range(80),
        (),
    ),
    "interlaced.mp4": ({"options": {**H264, "flags": "+ilme+ildct", "g": "10"}}, range(40), ("decord", "torchcodec")),
    "hd_colours.mp4": ({"options": H264, "colorspace": 1}, range(40), ()),
    "one_frame.mp4": ({"frames": 1, "options": H264}, range(1), ()),
    "odd_size.mp4": ({"height": 67, "width": 97, "pixels": "yuv444p", "options": H264}, range(40), ()),
    "odd_size.webm": ({"height": 67, "width": 97, "codec": "libvpx-vp9", "options": {"crf": "9"}}, range(40), ()),
    "variable_rate.mp4": (
        {"milliseconds": [40 * i + 13 * (i % 3) + (900 if i > 20 else 0) for i in range(40)], "options": H264},
        range(40),
        (),
    ),
    "fragmented.mp4": ({"options": H264, "container": {"movflags": "frag_keyframe+empty_moov"}}, range(40), ()),
    "plain.mkv": ({"options": {**H264, "g": "10"}}, range(40), ()),
    "hevc.mp4": ({"codec": "libx265", "options": {"crf": "9", "x265-params": "log-level=none"}}, range(40), ()),
    "open_gop.mp4": (
        {"options": {**H264, "x264-params": "open-gop=1:keyint=10:min-keyint=5"}},
        range(40),
        ("decord",),
    ),
    "intra_refresh.mp4": (
        {"options": {**H264, "x264-params": "intra-refresh=1:keyint=10"}},
        range(40),
        ("decord", "torchcodec"),
    ),
    "b_frames.avi": ({"options": {**H264, "g": "10"}}, range(40), ("decord", "torchcodec")),
    "mpeg4.avi": ({"codec": "mpeg4", "options": {"q": "2", "bf": "2"}}, range(40), ("decord", "torchcodec")),
    "stream.ts": ({"options": {**H264, "g": "10"}}, range(40), ("decord", "torchcodec")),
    "av1.mp4": ({"codec": "libsvtav1", "options": {"crf": "20"}}, range(40), ("decord",)),
    "animation.gif": ({"codec": "gif", "pixels": "rgb8"}, range(40), ("decord",)),
}


def skip_if_absent(decoder):
    if decoder != "auto" and not installed(decoder):
        pytest.skip(f"{decoder} is not installed")


@pytest.fixture(scope="module", params=[*CLIPS, "cut_start.mp4", "cut_end.mp4"])
def clip(request, clip_folder, plain_clip):
    """A file, the numbers it presents, and who must refuse it."""
    if request.param == "cut_start.mp4":  # hides frames 0..14, of which 10..14 must be decoded, and from 30 on
        path = edit_list(plain_clip, clip_folder / request.param, 15 * 512, 600)
        return path, range(15, 30), ("decord", "torchcodec")
    if request.param == "cut_end.mp4":
        return edit_list(plain_clip, clip_folder / request.param, 0, 600), range(15), ("decord",)
    how, presented, refused = CLIPS[request.param]
    codec = how.get("codec", "libx264")
    try:
        av.codec.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this PyAV has no {codec} to render with")
    return render(clip_folder / request.param, **how), presented, refused


@pytest.mark.parametrize("decoder", DECODERS)
def test_same_frames_same_order_same_colours(clip, decoder):
    path, presented, refused = clip
    skip_if_absent(decoder)
    index = index_video(path)
    expected = np.array(presented)
    reference = PyAVReader(index, strict=True).get(np.arange(len(expected)))
    assert [number(frame) for frame in reference] == expected.tolist()
    for seed in range(8):
        chosen = (
            np.sort(np.random.default_rng(seed).integers(0, len(expected), 5)) if seed else np.arange(len(expected))
        )
        try:
            reader = open_reader(decoder, index)
            frames = reader.get(chosen)
            reader.close()
        except VideoError:
            if decoder not in refused:
                raise
            continue
        assert len(reader.timestamps) == len(expected)
        if not seed:
            assert (np.concatenate(list(open_reader(decoder, index).every())) == frames).all()
        assert [number(frame) for frame in frames] == expected[chosen].tolist()
        # Equal bit for bit where the size is even and the depth 8; with chroma at odd sizes, which FFmpeg's versions
        # scale differently at the border, and that of interlaced frames, 0.6 of 255 was the largest mean seen.
        off = np.abs(frames.astype(int) - reference[chosen])
        assert off.mean() <= (1.0 if path.name in ("odd_size.webm", "interlaced.mp4") and decoder != "pyav" else 0.0)


def test_frames_that_nobody_refers_to_are_passed_over(clip_folder, monkeypatch):
    path = render(clip_folder / "passed_over.mp4", frames=80, options={**H264, "bf": "3", "b_strategy": "0", "g": "80"})
    asked, came = [], []
    original = pyav_reader._take

    def spied(frames, wanted, found):
        frames = list(frames)
        came.extend(frames)
        asked.append(len(wanted))
        original(frames, wanted, found)

    monkeypatch.setattr(pyav_reader, "_take", spied)
    reader = PyAVReader(index_video(path))
    assert [number(frame) for frame in reader.get(np.array([11, 70, 42]))] == [11, 70, 42]
    assert set(asked) == {3}
    assert 71 / 4 <= len(came) <= 71 * 0.6


def test_the_bridge_that_lavis_sets_does_not_matter(plain_clip):
    skip_if_absent("decord")
    import decord

    expected = read_frames(plain_clip, 3, decoder="decord")
    decord.bridge.set_bridge("torch")
    try:
        assert (read_frames(plain_clip, 3, decoder="decord") == expected).all()
    finally:
        decord.bridge.reset_bridge()


@pytest.mark.parametrize("decoder", ["auto", *DECODERS])
@pytest.mark.parametrize("colorspace", [None, 1, 5])
def test_colours_are_the_sources(clip_folder, decoder, colorspace):
    skip_if_absent(decoder)
    path = render(clip_folder / f"colours_{colorspace}.mp4", 3, options=H264, colorspace=colorspace)
    frame = read_frames(path, 1, decoder=decoder)[0]
    for place, colour in enumerate(COLOURS):
        seen = frame[16, 12 + 24 * place].astype(int)
        assert np.abs(seen - colour).max() <= 6, (seen, colour)


# Frame 13 made 8 x 8 by Pillow's bicubic from the picture that was encoded: top and bottom row of each colour.
GOLDEN = [
    [[202, 187, 44, 28, 28, 44, 187, 202], [213, 57, 218, 221, 37, 17, 20, 20]],
    [[28, 43, 189, 189, 41, 41, 187, 202], [213, 57, 218, 221, 37, 17, 20, 20]],
    [[30, 30, 28, 44, 188, 189, 53, 38], [213, 57, 218, 221, 37, 17, 20, 20]],
]


@pytest.mark.parametrize("decoder", ["auto", *DECODERS])
def test_golden_pixels(clip_folder, decoder):
    """From file to resized pixels, per decoder: at most 2 grey levels from the source, which is the codec's loss."""
    skip_if_absent(decoder)
    path = render(clip_folder / f"golden_{decoder}.mp4", 27, pixels="yuv444p", options={"crf": "1"})
    pixels = resize_frames(read_frames(path, 1, decoder=decoder), 8)[0].numpy().astype(int)
    assert np.abs(pixels[:, [0, 7]] - np.array(GOLDEN)).max() <= 2


@pytest.mark.parametrize("decoder", ["auto", *DECODERS])
@pytest.mark.parametrize(("turns", "matrix"), [(3, (0, 1, -1, 0)), (2, (-1, 0, 0, -1)), (1, (0, -1, 1, 0))])
def test_rotation_is_applied(clip_folder, plain_clip, decoder, turns, matrix):
    skip_if_absent(decoder)
    path = rotate(plain_clip, clip_folder / f"turned_{turns}.mp4", matrix)
    upright = read_frames(plain_clip, 3, decoder=decoder)
    assert (read_frames(path, 3, decoder=decoder) == np.rot90(upright, turns, axes=(1, 2))).all()


def test_auto_reads_every_file_rightly(clip, caplog):
    path, presented, refused = clip
    expected = np.array(presented)
    with caplog.at_level(logging.DEBUG, "litevl.data.video"):
        frames = read_frames(path, 5)
    assert [number(frame) for frame in frames] == [expected[(2 * i + 1) * len(expected) // 10] for i in range(5)]
    # decord only where the container does not tell the frames, so that PyAV must decode twice.
    unsure = not index_video(path).exact
    reader = "decord" if unsure and installed("decord") and "decord" not in refused else "pyav"
    assert f"read by {reader}" in caplog.text


@pytest.mark.parametrize("decoder", ["auto", *DECODERS])
def test_a_part_by_time(plain_clip, decoder):
    skip_if_absent(decoder)
    frames = read_frames(plain_clip, 5, decoder=decoder, start=0.4, end=0.6)
    assert [number(frame) for frame in frames] == [10, 11, 12, 13, 14]
    with pytest.raises(VideoError, match=r"the last frame is at 1\.56"):
        read_frames(plain_clip, 5, decoder=decoder, start=9.0)
    with pytest.raises(ValueError, match="start before end"):
        read_frames(plain_clip, 5, decoder=decoder, start=1.0, end=0.5)


def test_sampling_and_rng_are_passed_on(plain_clip):
    seen = [number(frame) for frame in read_frames(plain_clip, 4, "random", rng=np.random.default_rng(1))]
    assert seen == frame_indices(40, 4, "random", np.random.default_rng(1)).tolist()
    assert [number(frame) for frame in read_frames(plain_clip, 3, "legacy_blip")] == [0, 13, 26]
    assert [number(frame) for frame in read_frames(plain_clip, 3, decoder="pyav")] == [6, 20, 33]


REAL = {"action_demo.mp4": (280, 256, 340), "nasa_13013.mp4": (390, 270, 480), "xvid_audio.avi": (164, 240, 320)}


@pytest.mark.parametrize("name", REAL)
def test_real_clips_read_alike(shared_data, name):
    path = shared_data / "clips" / name
    index = index_video(path)
    frames, height, width = REAL[name]
    assert len(index.pts) == frames
    reference = read_frames(path, 6, decoder="pyav")
    assert reference.shape == (6, height, width, 3)
    assert reference.std() > 20
    for decoder in ("auto", "decord", "torchcodec"):
        if decoder == "auto" or (installed(decoder) and (decoder, name) != ("torchcodec", "xvid_audio.avi")):
            assert (read_frames(path, 6, decoder=decoder) == reference).all()


def huge(path, sides):
    """An AVI of grey squares; of 8,200 pixels a side one takes 70 KB."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = sides[0], sides[0], "gray"
        file.start_encoding()
        for place, side in enumerate(sides):
            picture = io.BytesIO()
            Image.new("L", (side, side), 128).save(picture, "png", compress_level=1)
            packet = av.Packet(picture.getvalue())
            packet.pts = packet.dts = place
            packet.stream, packet.is_keyframe = stream, True
            file.mux(packet)
    return path


def bad_files(folder, plain):
    """Files that are no readable video, each with what its error must say."""
    whole = render(folder / "whole.mp4", options=H264, container={"movflags": "faststart"}).read_bytes()
    matroska = render(folder / "whole.mkv", options=H264).read_bytes()
    # A size of all ones says that it was not known, as in a recording.
    place = matroska.index(bytes.fromhex("18538067")) + 4
    live = matroska[:place] + bytes.fromhex("01ffffffffffffff") + matroska[place + 8 :]
    gif = render(folder / "whole.gif", codec="gif", pixels="rgb8").read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2 :] = bytes(len(whole) - len(whole) // 2)
    with av.open(str(folder / "audio.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    with av.open(str(folder / "no_frames.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        file.start_encoding()
    huge(folder / "huge.avi", [8200])
    render(folder / "centuries.mkv", frames=2, codec="mjpeg", pixels="yuvj420p", milliseconds=[0, 2 * 10**12])
    return {
        "empty.mp4": (b"", "0 bytes"),
        "text.mp4": (b"<html>404 Not Found</html>\n" * 50, "damaged or foreign data"),
        "random.mp4": (
            np.random.default_rng(0).bytes(5000),
            "damaged or foreign data|cut short|no.* frame|without one",
        ),
        "audio.mp4": (None, "without one \\(streams: audio"),
        "no_frames.mp4": (None, "at least one video frame|without one|damaged or foreign"),
        "half_index_last.mp4": (plain.read_bytes()[: plain.stat().st_size // 2], "damaged or foreign data"),
        "half.mp4": (whole[: len(whole) // 2], "cut short"),
        "most.mp4": (whole[:-40], "cut short"),
        "half.mkv": (matroska[: len(matroska) // 2], "cut short: it promises"),
        "most.mkv": (matroska[:-100], "cut short: it promises"),
        "half_live.mkv": (live[: len(live) // 2], "cut short: its header promises 1.6"),
        "unknown_codec.mp4": (whole.replace(b"avc1", b"xyz1"), "known codec|cannot|damaged"),
        "half.gif": (gif[: len(gif) // 2], "cut short"),
        "huge.avi": (None, r"at most 67,108,864 pixels, got 8200 x 8200; scale the video down"),
        "centuries.mkv": (None, r"at most 7 days, got a last frame 2000000000 seconds after the first"),
        "zeroed_half.mp4": (bytes(damaged), "cannot be decoded|cannot decode it|damaged"),
    }


@pytest.fixture(scope="module")
def bad_folder(tmp_path_factory, plain_clip):
    folder = tmp_path_factory.mktemp("bad")
    for name, (data, _) in (listed := bad_files(folder, plain_clip)).items():
        if data is not None:
            (folder / name).write_bytes(data)
    (folder / "folder.mp4").mkdir()
    (folder / "dangling.mp4").symlink_to(folder / "nowhere.mp4")
    reasons = {name: reason for name, (_, reason) in listed.items()}
    return folder, reasons | {"folder.mp4": "got a folder", "dangling.mp4": "link", "missing.mp4": "no such file"}


@pytest.mark.parametrize("decoder", ["auto", *DECODERS])
def test_what_is_no_whole_video_is_an_error_that_names_it(bad_folder, decoder):
    skip_if_absent(decoder)
    folder, reasons = bad_folder
    for name, reason in reasons.items():
        with pytest.raises(VideoError, match=reason) as caught:
            read_frames(folder / name, 8, decoder=decoder)
        assert caught.value.path == folder / name
        assert str(folder / name) in str(caught.value)


def test_frames_that_grow_midway_are_not_decoded(tmp_path):
    path = huge(tmp_path / "grows.avi", [64, 8200])
    with pytest.raises(VideoError, match=r"can be decoded; fetch it again|damaged or foreign|damaged data"):
        PyAVReader(index_video(path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path, plain_clip):
    path = tmp_path / "locked.mp4"
    path.write_bytes(plain_clip.read_bytes())
    path.chmod(0)
    with pytest.raises(VideoError, match="permission"):
        read_frames(path, 2)


def test_names_that_ffmpeg_would_take_for_something_else(tmp_path, plain_clip, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a.mp4", "-dash first.mp4", "ünïcode 100%d.mp4"):
        (tmp_path / name).write_bytes(plain_clip.read_bytes())
        for decoder in ("auto", "pyav"):
            assert [number(frame) for frame in read_frames(name, 2, decoder=decoder)] == [10, 30]


def test_errors_survive_the_way_out_of_a_worker():
    error = pickle.loads(pickle.dumps(VideoError("a/b.mp4", "a reason")))
    assert str(error) == "a/b.mp4: a reason"
    assert error.reason == "a reason"


def test_readers_leave_nothing_behind(plain_clip):
    """An open decord reader decodes on in a thread; none may be left, and no file."""
    threads, files = threading.active_count(), len(psutil.Process().open_files())
    for decoder in ("auto", "pyav"):
        for _ in range(5):
            read_frames(plain_clip, 2, decoder=decoder)
    assert threading.active_count() == threads
    assert len(psutil.Process().open_files()) == files
