import os

import pytest

from litevl.search.folder import compare, stamp_of, videos_below


@pytest.fixture
def folder(tmp_path):
    for name in ("a.mp4", "b.MKV", "deep/c.webm", "notes.txt", ".hidden.mp4", ".trash/d.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode() * 10)
    return tmp_path


def test_videos_are_found_by_their_endings_below_a_folder(folder):
    assert [path.relative_to(folder).as_posix() for path in videos_below(folder)] == ["a.mp4", "b.MKV", "deep/c.webm"]
    assert videos_below(folder / "a.mp4") == [folder / "a.mp4"]
    with pytest.raises(FileNotFoundError, match="which is not there"):
        videos_below(folder / "nowhere")


def test_what_only_has_the_name_of_a_video_is_not_opened(folder):
    os.mkfifo(folder / "pipe.mp4")
    (folder / "folder.mp4").mkdir()
    (folder / "leads nowhere.mp4").symlink_to(folder / "nowhere.mp4")
    (folder / "linked.mp4").symlink_to(folder / "a.mp4")
    names = [path.name for path in videos_below(folder)]
    assert names == ["a.mp4", "b.MKV", "c.webm", "leads nowhere.mp4", "linked.mp4"]


def test_what_has_become_of_a_folder(folder):
    known = {path: stamp_of(path) for path in videos_below(folder)}
    assert compare(videos_below(folder), known).added == ()
    (folder / "a.mp4").rename(folder / "deep" / "renamed.mp4")
    (folder / "b.MKV").write_bytes(b"another content")
    (folder / "deep/c.webm").unlink()
    (folder / "new.mp4").write_bytes(b"new")
    found = compare(videos_below(folder), known)
    assert found.moved == ((folder / "a.mp4", folder / "deep/renamed.mp4"),)
    assert set(found.added) == {folder / "b.MKV", folder / "new.mp4"}
    assert set(found.gone) == {folder / "b.MKV", folder / "deep/c.webm"}


def test_a_copy_is_no_move_and_a_touched_file_is_looked_at_again(folder):
    known = {path: stamp_of(path) for path in videos_below(folder)}
    (folder / "copy.mp4").write_bytes((folder / "a.mp4").read_bytes())
    os.utime(folder / "b.MKV", ns=(1, 1))
    found = compare(videos_below(folder), known)
    assert (set(found.added), found.moved) == ({folder / "copy.mp4", folder / "b.MKV"}, ())
