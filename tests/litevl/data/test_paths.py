import os
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

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


pieces = [
    "..",
    ".",
    "/",
    "\\",
    "a",
    "video1",
    ".mp4",
    "videos",
    "C:",
    "~",
    " ",
    "\0",
    "\ud800",
    "\n",
    "x" * 300,
    "link",
]


@given(st.text() | st.lists(st.sampled_from(pieces)).map("".join) | st.integers())
@settings(deadline=None)
@example("videos/video1")
@example("link/video1.mp4")
@example("a/" + "b/" * 3000)
def test_no_key_leads_out_of_the_root(tmp_path_factory, key):
    """Whatever an annotation says: no folder outside is listed, and no file outside is given."""
    outside = tmp_path_factory.mktemp("outside")
    root = outside / "root"
    touch(outside, "video1.mp4", "a.mp4", "videos/video1.mp4", "root/video1.mp4", "root/videos/a.mp4")
    (root / "link").symlink_to(root / "videos")
    listed = []
    os_scandir = os.scandir

    def scandir(folder):
        listed.append(folder)
        return os_scandir(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        try:
            found = VideoFolder(root).find(key)
        except ValueError as error:
            assert "expected a video's key" in str(error)  # noqa: PT017 - or nothing is raised
            found = None
    for path in [*listed, *([] if found is None else [found])]:
        assert Path(os.path.abspath(path)).is_relative_to(root)
    assert found is None or found.is_file()


def test_a_folder_that_may_not_be_listed_is_named(tmp_path, monkeypatch):
    touch(tmp_path, "videos/video1.mp4")

    def scandir(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(VideoError, match=r"the folder may not be listed \(permission denied\)"):
        resolve_video(tmp_path, "video1")
