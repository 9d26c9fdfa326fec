"""Written aside, then renamed: whole or not at all."""

import os
import sys

import pytest

from litevl.adapters.aside import ABANDONED, clear_asides, file_aside, folder_aside


def fill_and_fail(context, name=None):
    with context as aside:
        (aside / name if name else aside).write_text("after")
        raise KeyboardInterrupt


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_replaces_the_one_before_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "state"
    path.write_text("before")
    with file_aside(path) as aside:
        aside.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert names(tmp_path) == ["state"]


def test_a_block_that_fails_leaves_the_file_before(tmp_path):
    path = tmp_path / "state"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        fill_and_fail(file_aside(path))
    assert path.read_text() == "before"
    assert names(tmp_path) == ["state"]


def test_a_folder_replaces_its_files_and_those_of_its_folders(tmp_path):
    (tmp_path / "lora").mkdir()
    for name in ("config", "other", "lora/config"):
        (tmp_path / name).write_text("before")
    with folder_aside(tmp_path) as aside:
        (aside / "lora").mkdir()
        for name in ("config", "lora/config", "lora/weights"):
            (aside / name).write_text("after")
        assert (tmp_path / "lora" / "config").read_text() == "before"
    assert {name: (tmp_path / name).read_text() for name in names(tmp_path) if name != "lora"} == {
        **{"config": "after", "lora/config": "after", "lora/weights": "after"},
        "other": "before",
    }


def test_a_folder_that_fails_changes_nothing(tmp_path):
    (tmp_path / "config").write_text("before")
    with pytest.raises(KeyboardInterrupt):
        fill_and_fail(folder_aside(tmp_path), "config")
    assert (names(tmp_path), (tmp_path / "config").read_text()) == (["config"], "before")


def test_a_readme_of_the_users_stays(tmp_path, caplog):
    (tmp_path / "README.md").write_text("mine")
    with folder_aside(tmp_path) as aside:
        (aside / "README.md").write_text("a card")
    assert (tmp_path / "README.md").read_text() == "mine"
    assert "left as it is" in caplog.text


def test_what_killed_processes_left_is_deleted_and_nothing_else(tmp_path):
    (tmp_path / ".litevl-abc").mkdir()
    for name in (".litevl-abc/weights", "state.pt.1a2b3c4d.writing", "state.pt"):
        (tmp_path / name).write_text("")
    clear_asides(tmp_path, ABANDONED)
    assert len(names(tmp_path)) == 4, "others may be writing there now"
    os.utime(tmp_path / "state.pt.1a2b3c4d.writing", (0, 0))
    os.utime(tmp_path / ".litevl-abc", (0, 0))
    clear_asides(tmp_path, ABANDONED)
    assert names(tmp_path) == [".litevl-abc", ".litevl-abc/weights", "state.pt"], "its file is written to"
    clear_asides(tmp_path)
    assert names(tmp_path) == ["state.pt"]


def test_two_may_write_one_file_at_once(tmp_path):
    path = tmp_path / "state"
    with file_aside(path) as one, file_aside(path) as other:
        other.write_text("other")
        one.write_text("one")
    assert path.read_text() == "one"
    assert names(tmp_path) == ["state"]


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system for a file's name")
def test_all_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """No test can cut the power; this one sees the order of what it would need."""
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: done.append(os.readlink(f"/proc/self/fd/{file}")) or fsync(file))
    monkeypatch.setattr(os, "replace", lambda *paths: done.append(paths) or replace(*paths))
    with file_aside(tmp_path / "state") as aside:
        aside.write_text("after")
    assert done == [str(aside), (aside, tmp_path / "state"), str(tmp_path)]
    done.clear()
    with folder_aside(tmp_path) as aside:
        for name in ("b", "a"):
            (aside / name).write_text("after")
    written = [(aside / name, tmp_path / name) for name in "ab"]
    assert done == [*(str(path) for path, _ in written), *written, str(tmp_path)]
