"""What is uploaded: names, limits, what is no video, and the process that reads it, killed and started again."""

import os
import signal

import pytest
from shape_films import film

from litevl.serve.uploads import ABANDONED, Uploads, safe_name
from litevl.serve.worker import Worker


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
    worker = Worker(index.folder, "cpu", timeout=60.0)
    yield Uploads(tmp_path / "uploads", worker, 200_000)
    worker.stop()


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
    assert uploads.worker._running is None, "nothing was read"


@pytest.mark.slow  # a process with a model in it is started, twice
def test_videos_are_taken_in_by_a_process_that_may_hang_or_die(uploads, index, tmp_path):
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

    hanging, _ = uploads.worker._running
    os.kill(hanging.pid, signal.SIGSTOP)
    uploads.worker.timeout = 0.5
    (taken,) = uploads.take([arrive(uploads, "clip.mp4", good)])
    assert taken.refused.startswith("not done after 0.5 seconds")
    assert not hanging.is_alive()
    uploads.worker.timeout = 60.0
    (taken,) = uploads.take([arrive(uploads, "clip.mp4", good + bytes(16))])
    assert taken.refused is None
    uploads.worker._running[0].kill()
    (taken,) = uploads.take([arrive(uploads, "clip.mp4", good)])
    assert "was killed" in taken.refused
    assert not (uploads.folder / "clip-2.mp4").exists()


def test_what_nobody_took_in_is_deleted_in_time(uploads):
    old, new = arrive(uploads, "old.mp4", b"1"), arrive(uploads, "new.mp4", b"2")
    os.utime(old, (0, old.stat().st_mtime - ABANDONED - 1))
    Uploads(uploads.folder, uploads.worker, 1)
    assert (old.exists(), new.exists()) == (False, True)
