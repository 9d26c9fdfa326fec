import time

import pytest

from litevl.data.paths import VideoFolder, resolve_video
from litevl.data.video_index import VideoError


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("video7.mp4", "video7"),
        ("video7.mp4", "video7.mp4"),
        ("video7.webm", "video7.mp4"),
        ("video7.mp4", 7),
        ("video7.mp4", "7"),
        ("videos/all/video7.mp4", "video7"),
        ("videos/video7.mp4", "somewhere/video7.mp4"),
        ("extra/video7.mp4", "extra/video7"),
        ("train/v_abc.mkv", "v_abc"),
        ("val/v_abc.mkv", "abc"),
        ("test/abc.avi", "v_abc"),
        ("TrainValVideo/video7.mp4", 7),
        ("TestVideo/video7.mp4", "video7"),
        ("YouTubeClips/-4wsuPCjDBc_5_15.avi", "-4wsuPCjDBc_5_15"),
        ("compress/video7.mp4", "video7"),
        ("MSRVTT/videos/all/video7.mp4", "video7"),
        ("12@N00_34_ab.mov", "12@N00_34_ab.avi"),
        ("a.b.c.mp4", "a.b.c"),
        ("video7.MP4", "video7"),
        ("video7", "video7"),
        ("video7.mp4", " video7 "),
    ],
)
def test_where_a_key_leads(tmp_path, file, key):
    touch(tmp_path, file)
    assert resolve_video(tmp_path, key) == tmp_path / file


def test_the_order_of_places_and_extensions(tmp_path):
    ranked = [
        "video7.mp4",
        "video7.webm",
        "video7.mov",
        "videos/video7.mp4",
        "videos/all/video7.webm",
        "train/video7.mp4",
    ]
    touch(tmp_path, *ranked)
    for name in ranked:
        assert resolve_video(tmp_path, "video7") == tmp_path / name
        (tmp_path / name).unlink()


def test_the_key_itself_is_before_its_other_spellings(tmp_path):
    touch(tmp_path, "7.mp4", "video7.mp4", "videos/v_abc.mp4", "abc.mp4")
    assert resolve_video(tmp_path, "7").name == "7.mp4"
    assert resolve_video(tmp_path, 7).name == "video7.mp4"
    assert resolve_video(tmp_path, "v_abc") == tmp_path / "videos/v_abc.mp4"


def test_an_exact_name_is_before_another_extension(tmp_path):
    touch(tmp_path, "video7.mp4", "video7.avi")
    assert resolve_video(tmp_path, "video7.avi").name == "video7.avi"


@pytest.mark.parametrize(
    "key", ["../secret", "videos/../../secret", "/etc/passwd", "C:/secret", "..\\secret", "", "  ", -1, True, "a\0b"]
)
def test_keys_that_would_leave_the_root_are_refused(tmp_path, key):
    touch(tmp_path, "secret.mp4", "root/videos/video1.mp4", "root/video1.mp4")
    with pytest.raises(ValueError, match="key"):
        resolve_video(tmp_path / "root", key)


def test_a_folder_is_no_video(tmp_path):
    (tmp_path / "video7.mp4").mkdir()
    assert VideoFolder(tmp_path).find("video7") is None


def test_what_is_missing_is_named(tmp_path):
    touch(tmp_path, "videos/video1.mp4")
    with pytest.raises(VideoError, match=r"video7.*no file for the video 'video7'.*looked in \., videos\)"):
        resolve_video(tmp_path, "video7")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        VideoFolder(tmp_path / "nowhere")


def test_ten_thousand_keys_are_quick(tmp_path):
    (tmp_path / "videos").mkdir()
    for number in range(10_000):
        (tmp_path / "videos" / f"video{number}.mp4").touch()
    folder = VideoFolder(tmp_path)
    start = time.perf_counter()
    assert all(folder.find(f"video{number}") for number in range(10_000))
    assert time.perf_counter() - start < 5  # 0.2 s measured; a stat for each place and extension takes far longer
