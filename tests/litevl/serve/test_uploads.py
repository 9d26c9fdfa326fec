"""What is uploaded: names, limits of each and of all, what is no video, and what a decoder hangs or crashes on."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
from filelock import FileLock
from shape_films import film
from spoiled_decoding import PLANTED

from litevl.search import SearchError
from litevl.serve import uploads as uploads_module
from litevl.serve.config import ServeConfig
from litevl.serve.errors import UNTOLD, RefusedError
from litevl.serve.media import Media
from litevl.serve.page import Page
from litevl.serve.speaking import Speaker
from litevl.serve.uploads import ABANDONED, KEPT_FREE, Uploads, safe_name


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("holiday.mp4", "holiday.mp4"),
        ("../../etc/passwd.mp4", "passwd.mp4"),
        ("C:\\videos\\cat.mov", "cat.mov"),
        (".hidden.mp4", "hidden.mp4"),
        (".mp4", "video.mp4"),
        ("..", "video"),
        ("<img src=x onerror=alert(1)>.mp4", "_img src_x onerror_alert_1_.mp4"),
        ("a\0b\n.mp4", "a_b_.mp4"),
        ("Grüße 日本.webm", "Grüße 日本.webm"),
        ("x" * 300 + ".mp4", "x" * 96 + ".mp4"),
    ],
)
def test_names_are_names_and_nothing_else(given, expected):
    assert safe_name(given) == expected


@pytest.fixture
def uploads(index, tmp_path):
    return Uploads(index, ServeConfig(tmp_path / "uploads", max_upload_mb=0.2, decode_timeout=1.5))


def arrive(uploads, name, content, folder="hash"):
    path = uploads.incoming / folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def test_what_is_refused_before_it_is_read(uploads, tmp_path):
    outside = tmp_path / "secret.mp4"
    outside.write_bytes(b"not theirs")
    link = uploads.incoming / "link.mp4"
    link.symlink_to(outside)
    for path, said in (
        (arrive(uploads, "large.mp4", bytes(200_001)), "0.2 MB; expected at most 0.2 MB"),
        (arrive(uploads, "page.html", b"<script>"), "expected a video (3gp, avi, "),
        (link, "expected a file that was uploaded here"),
    ):
        (taken,) = uploads.take([path])
        assert said in taken.refused
        assert not os.path.lexists(path)
    assert outside.read_bytes() == b"not theirs"
    (taken,) = uploads.take([outside])
    assert taken.refused == "expected a file that was uploaded here"
    assert outside.exists(), "what did not arrive here is not touched"
    assert uploads.index.catalog.stamps(uploads.folder) == {}


def test_all_together_have_a_limit_and_leave_room_on_the_disk(uploads, tmp_path, monkeypatch):
    arrive(uploads, "half.mp4", bytes(60_000))
    assert uploads.room() > 1e9
    uploads.config = replace(uploads.config, max_total_gb=1e-4)
    assert 20_000 < (room := uploads.room()) < 40_000
    (uploads.folder / ".cuts").mkdir()
    (uploads.folder / ".cuts" / "1.mp4").write_bytes(bytes(1000))
    assert uploads.room() <= room - 1000, "what was cut out counts"
    (taken,) = uploads.take([arrive(uploads, "rest.mp4", bytes(50_000))])
    assert "there is no room for more uploads" in taken.refused
    uploads.config = replace(uploads.config, max_total_gb=10.0)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=KEPT_FREE - 1))
    (taken,) = uploads.take([arrive(uploads, "rest.mp4", bytes(50_000))])
    assert "there is no room for more uploads" in taken.refused


def test_videos_are_taken_in_and_others_are_not(uploads, index, tmp_path):
    good = film(tmp_path / "good.mp4", [("star", "green")]).read_bytes()
    first, bad, cut, second = uploads.take(
        [
            arrive(uploads, "star.mp4", good),
            arrive(uploads, "text.mp4", b"this is no video"),
            arrive(uploads, "cut.mp4", good[: len(good) // 2]),
            arrive(uploads, "star.mp4", good + bytes(8), "other"),
        ]
    )
    assert (first.refused, second.refused) == (None, None)
    assert "expected a readable video" in bad.refused
    assert cut.refused
    kept = sorted(path.name for path in uploads.folder.iterdir() if not path.name.startswith("."))
    assert kept == ["star-2.mp4", "star.mp4"]
    assert list(uploads.incoming.iterdir()) == []
    assert {hit.path.name for hit in index.search("a green star", k=2)} == set(kept)
    assert index.catalog.bad() == []


def test_what_a_decoder_hangs_or_crashes_on_is_refused(uploads, index, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PLANTED))
    good = film(tmp_path / "good.mp4", [("star", "green")]).read_bytes()
    for name, said in (
        ("hangs", "decoding it was stopped after 1.5 seconds"),
        ("crashes", "the decoder crashed on it"),
    ):
        sign = uploads.folder / f"clip.mp4.{name}"
        sign.touch()
        (taken,) = uploads.take([arrive(uploads, "clip.mp4", good)])
        assert said in taken.refused
        sign.unlink()
        assert list(uploads.folder.iterdir()) == [uploads.incoming]
    assert index.update(uploads.folder, progress=False).unchanged == 0, "an empty folder of uploads is as it should be"
    uploads.config = replace(uploads.config, timeout=1e-6)
    (taken,) = uploads.take([arrive(uploads, "clip.mp4", good)])
    assert "took too long" in taken.refused
    assert list(uploads.folder.iterdir()) == [uploads.incoming]


def test_an_upload_waits_for_who_updates_the_index(uploads, index, tmp_path, monkeypatch):
    good = film(tmp_path / "good.mp4", [("star", "green")]).read_bytes()
    lock = FileLock(index.folder / "lock")
    monkeypatch.setattr(uploads_module, "LOOK_AGAIN", 0.05)
    with lock, ThreadPoolExecutor(1) as pool:
        taking = pool.submit(lambda: list(uploads.take([arrive(uploads, "star.mp4", good)])))
        time.sleep(0.3)
        assert not taking.done()
        lock.release()
        assert [taken.refused for taken in taking.result(60)] == [None]
    uploads.config = replace(uploads.config, timeout=0.2)
    with lock:
        (taken,) = uploads.take([arrive(uploads, "late.mp4", good)])
    assert taken.refused == uploads_module.BUSY


@pytest.mark.parametrize("kind", [SearchError, OSError])
def test_where_files_are_on_the_server_is_logged_and_not_told(uploads, index, monkeypatch, caplog, kind):
    def fail(*_, **__):
        raise kind(f"{index.folder}: the vector store can't be read")

    page = Page(index, uploads.config, Media(index, uploads.folder / ".cuts"), uploads, Speaker.__new__(Speaker))
    arrived = arrive(uploads, "star.mp4", b"1")
    for name in ("update", "search"):
        monkeypatch.setattr(index, name, fail)
    said = [page.search("a star")[0], *(lines for lines, _, _ in page.take(("", []), [str(arrived)]))]
    assert UNTOLD in said[0]
    assert UNTOLD in said[-1]
    assert not any(str(folder) in line for line in said for folder in (index.folder, uploads.folder))
    assert caplog.text.count(str(index.folder)) == 2


def test_what_nobody_took_in_is_deleted_in_time(uploads):
    uploads.config = replace(uploads.config, max_total_gb=1e-4)
    old, new = arrive(uploads, "old.mp4", bytes(80_000)), arrive(uploads, "new.mp4", b"2")
    with pytest.raises(RefusedError):
        uploads.reserve(50_000)
    os.utime(old, (0, old.stat().st_mtime - ABANDONED - 1))
    uploads.reserve(50_000)
    assert (old.exists(), new.exists()) == (False, True)
