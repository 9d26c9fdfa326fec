"""An index through what happens to it: folders that change, other models, other processes, kills and full disks."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import faults
import pytest
import torch
from rendered_clips import render
from spoiled_decoding import PLANTED

from litevl.adapters import LiteVLConfig, plug, save_adapters
from litevl.blip import load_blip
from litevl.data.video import VideoError
from litevl.evilm.files import EMBEDDED
from litevl.search import IndexConfig, SearchError, SegmentConfig, VideoIndex, record
from litevl.search import index as index_module
from litevl.search.catalog import Catalog
from litevl.search.tokens import TokenWriter
from litevl.tasks.saved import Source

QUIET = {"workers": 0, "progress": False}
QUERY = "a red square moves left to right"


def no_model(*_):
    raise AssertionError("nothing has to be encoded")


def names(index):
    return sorted(path.name for path in index.catalog.stamps(Path("/")))


def test_search_finds_segments_in_both_stages(made, index):
    hits = index.search(QUERY, k=10, rerank=3)
    assert {hit.path.relative_to(made[0]).as_posix() for hit in hits} == {"a.mp4", "b.mp4", "below/c.mp4", "long.mp4"}
    assert [hit.match is None for hit in hits] == [False] * 3 + [True] * (len(hits) - 3)
    assert [hit.score for hit in hits[:3]] == sorted((hit.score for hit in hits[:3]), reverse=True)
    plain = index.search(QUERY, k=2, rerank=0)
    assert len(plain) == 2
    assert plain[0].similarity == plain[0].score >= plain[1].score


def test_scores_are_those_of_the_model_itself(index):
    (hit,) = index.search(QUERY, k=1, rerank=1)
    with torch.inference_mode():
        video, text = index.model.encode_video(index.clip(index.pictures(hit))[None]), index.model.encode_text([QUERY])
        assert hit.similarity == pytest.approx(index.model.similarity(text, video).item(), abs=1e-5)
        logits = index.model.match_pairs(text, video)
    assert hit.score - hit.similarity == pytest.approx(logits[0, 1].item(), abs=1e-4)
    assert hit.match == pytest.approx(logits.softmax(dim=-1)[0, 1].item(), abs=1e-4)


def test_tokens_may_be_kept_small_or_not_at_all(videos, tmp_path, index):
    expected = [hit.score for hit in index.search(QUERY, k=2, rerank=2)]
    for tokens, tolerance in (("float16", 1e-2), ("none", 1e-4)):
        other = VideoIndex.create(tmp_path / tokens, IndexConfig(tokens=tokens), "cpu")
        other.update(videos, **QUIET)
        assert len(list(other.token_folder.iterdir())) == (4 if tokens == "float16" else 0)
        assert [hit.score for hit in other.search(QUERY, k=2, rerank=2)] == pytest.approx(expected, abs=tolerance)


def test_time_within_the_video_bounds_a_search(videos, tmp_path):
    index = VideoIndex.create(tmp_path / "index", IndexConfig(segments=SegmentConfig(seconds=3.0)), "cpu")
    index.update(videos / "long.mp4", **QUIET)
    assert index.catalog.counts()[1] == 4
    found = index.search(QUERY, after=4.0, before=8.0, rerank=0)
    assert sorted((hit.number, round(hit.start), round(hit.end)) for hit in found) == [(1, 3, 6), (2, 6, 9)]
    assert index.search(QUERY, after=1000.0) == []


def test_only_what_changed_is_done(videos, tmp_path, monkeypatch):
    where = tmp_path / "index"
    first = VideoIndex.create(where, device="cpu").update(videos, **QUIET)
    assert (len(first.added), first.unchanged) == (4, 0)

    monkeypatch.setattr(index_module, "load_retrieval", no_model)
    index = VideoIndex.open(where, device="cpu")
    assert index.update(**QUIET).unchanged == 4
    (videos / "a.mp4").rename(videos / "below" / "renamed.mp4")
    (videos / "b.mp4").unlink()
    done = index.update(**QUIET)
    assert ([pair[1].name for pair in done.moved], [path.name for path in done.removed]) == (["renamed.mp4"], ["b.mp4"])
    assert names(index) == ["c.mp4", "long.mp4", "renamed.mp4"]
    assert len(index.store) == index.catalog.counts()[1] == 3
    monkeypatch.undo()

    render(videos / "below/c.mp4", frames=33)
    render(videos / "new.mp4", frames=10)
    index = VideoIndex.open(where, device="cpu")
    done = index.update(**QUIET)
    assert ([path.name for path in done.added], [path.name for path in done.changed]) == (["new.mp4"], ["c.mp4"])
    ends = {hit.path.name: hit.end for hit in index.search(QUERY)}
    assert ends["c.mp4"] == pytest.approx(33 / 25)
    assert len(list(index.token_folder.iterdir())) == 4, "the tokens of what is gone are gone"


def test_bad_files_are_named_and_skipped_or_refused(videos, tmp_path):
    (videos / "bad.mp4").write_bytes(b"no video")
    index = VideoIndex.create(tmp_path / "index", device="cpu")
    with pytest.raises(VideoError, match=r"bad\.mp4.*--on-bad-video skip"):
        index.update(videos, on_bad="error", **QUIET)
    done = index.update(videos, **QUIET)
    assert [(file.path.name, "damaged or foreign" in file.reason) for file in done.bad] == [("bad.mp4", True)]
    again = index.update(**QUIET)
    assert (again.unchanged, [file.path.name for file in again.bad]) == (5, ["bad.mp4"])
    render(videos / "bad.mp4", frames=10)
    assert ([path.name for path in index.update(**QUIET).changed], index.catalog.bad()) == (["bad.mp4"], [])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_a_name_that_is_no_utf8_is_a_bad_file(videos, tmp_path):
    named = os.fsencode(videos) + b"/caf\xe9.mp4"
    os.rename(videos / "a.mp4", named)
    index = VideoIndex.create(tmp_path / "index", device="cpu")
    with pytest.raises(VideoError, match=r"caf\\xe9\.mp4: expected a name in UTF-8.*--on-bad-video skip"):
        index.update(videos, on_bad="error", **QUIET)
    first, again = index.update(videos, **QUIET), index.update(**QUIET)
    assert (len(first.added), again.unchanged) == (3, 3)
    for done in (first, again):
        assert [file.path for file in done.bad] == [videos / r"caf\xe9.mp4"]
        assert "caf" in json.dumps(done.to_json(), ensure_ascii=False).encode().decode()
    os.rename(named, videos / "café.mp4")
    done = index.update(**QUIET)
    assert ([path.name for path in done.added], done.bad) == (["café.mp4"], [])
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xe9")
    shutil.copytree(videos, folder)
    with pytest.raises(SearchError, match=r"\\xe9: expected a name in UTF-8, got other bytes; rename it"):
        index.update(folder, **QUIET)


def test_a_folder_without_videos_is_no_reason_to_forget_them(videos, index, made):
    (videos.parent / "empty").mkdir()
    with pytest.raises(SearchError, match="found none; name another folder"):
        index.update(videos.parent / "empty", **QUIET)
    held = made[0].rename(made[0].parent / "unmounted")
    try:
        made[0].mkdir()
        with pytest.raises(SearchError, match="it held 4 when it was indexed: is its disk mounted"):
            index.update(**QUIET)
        made[0].rmdir()
    finally:
        held.rename(made[0])
    assert index.catalog.counts()[0] == 4


def test_another_model_is_refused_by_its_fingerprint(index, tmp_path, monkeypatch):
    moved = replace(index.config, source=Source("embedded"))
    assert VideoIndex.open(index.folder, moved, "cpu").search(QUERY, k=1), "the same weights by another name"
    load = index_module.load_retrieval

    def trained(source, device):
        model = load(source, device)
        with torch.no_grad():
            model.heads.temperature += 1e-3
        return model

    monkeypatch.setattr(index_module, "load_retrieval", trained)
    other = VideoIndex.open(index.folder, device="cpu")
    with pytest.raises(
        SearchError, match=rf"fingerprint {index.record.maker.fingerprint}; the queries would come from"
    ):
        other.search(QUERY)
    with pytest.raises(SearchError, match="the queries would come from"):
        other.model  # noqa: B018


def test_a_model_may_move(videos, tmp_path):
    blip = plug(load_blip("embedded"), LiteVLConfig(num_frames=4), verbose=False)
    adapter = save_adapters(blip, tmp_path / "adapter", task="retrieval")
    config = IndexConfig(Source(adapter=adapter))
    VideoIndex.create(tmp_path / "index", config, "cpu").update(videos / "a.mp4", **QUIET)
    moved = adapter.rename(tmp_path / "moved")
    with pytest.raises(ValueError, match="adapter: expected the folder of a run"):
        VideoIndex.open(tmp_path / "index", device="cpu").search(QUERY)
    there = replace(config, source=Source(adapter=moved))
    assert VideoIndex.open(tmp_path / "index", there, "cpu").search(QUERY)
    assert VideoIndex.create(tmp_path / "index", there, "cpu").update(**QUIET).unchanged == 1
    assert VideoIndex.open(tmp_path / "index", device="cpu").search(QUERY), "the new place is remembered"
    with pytest.raises(SearchError, match="the queries would come from embedded, frame by frame, 8 frames"):
        VideoIndex.create(tmp_path / "index", IndexConfig(), "cpu")


def test_an_evilm_searches_too(videos, tmp_path):
    index = VideoIndex.create(tmp_path / "index", IndexConfig(Source(adapter=EMBEDDED / "pretrained")), "cpu")
    index.update(videos, **QUIET)
    hits = index.search(QUERY, rerank=2)
    assert [hit.match is None for hit in hits] == [False, False, True, True]
    assert index.explain(QUERY, hits[0]).frame_weights is None


def test_what_is_forgotten_is_gone(videos, index, made):
    index.update(videos / "a.mp4", videos / "below", **QUIET)
    assert index.forget(videos / "below") == 1
    (videos / "a.mp4").unlink()
    assert [path.name for path in index.update(**QUIET).removed] == ["a.mp4"]
    assert index.catalog.folders() == [made[0]]
    assert index.update(**QUIET).unchanged == len(index.search(QUERY)) == 4
    assert index.forget(made[0]) == 4
    assert (index.search(QUERY), list(index.token_folder.iterdir())) == ([], [])
    with pytest.raises(SearchError, match="expected a folder or file of this index"):
        index.forget(videos)


def test_other_settings_are_refused(index):
    with pytest.raises(SearchError, match=r"other settings \(segments.seconds: 10.0 -> 5.0\)"):
        VideoIndex.create(index.folder, replace(index.config, segments=SegmentConfig(seconds=5.0)), "cpu")
    with pytest.raises(SearchError, match="expected an index, found none; litevl index VIDEOS"):
        VideoIndex.open(index.folder.parent / "nowhere")
    (index.folder / "index.json").write_text('{"format": 99}')
    with pytest.raises(SearchError, match="expected format 1, got 99"):
        VideoIndex.open(index.folder)
    (index.folder / "index.json").write_text("{")
    with pytest.raises(SearchError, match="not the record of an index"):
        VideoIndex.open(index.folder)


@pytest.mark.parametrize("frames", [8, 4])
def test_two_that_make_an_index_at_once_make_one(tmp_path, monkeypatch, frames):
    both, one, load = threading.Barrier(2), threading.Lock(), index_module.load_retrieval

    def load_when_both_have_looked(source, device):
        both.wait(60)
        with one:
            return load(source, device)

    def create(number):
        try:
            return VideoIndex.create(tmp_path / "index", IndexConfig(num_frames=number), "cpu")
        except SearchError as error:
            return error

    monkeypatch.setattr(index_module, "load_retrieval", load_when_both_have_looked)
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(create, (8, frames)))
    good = [each for each in made if isinstance(each, VideoIndex)]
    assert {each.record for each in good} == {VideoIndex.open(tmp_path / "index", device="cpu").record}
    refused = [str(each) for each in made if each not in good]
    assert [" was made with other settings (num_frames: " in said for said in refused] == [True] * (frames != 8)


def test_a_model_that_moved_is_not_remembered_by_another_index(index):
    (index.folder / "index.json").unlink()
    there = record.write(index.folder, index.config, index.record.maker)
    with pytest.raises(SearchError, match="another process has removed or replaced the index; run this again"):
        record.remember(index.folder, index.record, index.config)
    assert record.read(index.folder) == there


def held_while_encoding(where, videos, reached, go_on):
    """Encodes, and waits as soon as the first video is about to be put away."""
    put = Catalog.put

    def wait_and_put(self, *values):
        reached.set()
        assert go_on.wait(60)
        put(self, *values)

    Catalog.put = wait_and_put
    torch.set_num_threads(1)
    VideoIndex.open(where, device="cpu").update(videos, searchable=False, **QUIET)


def test_two_do_not_update_at_once_and_others_search_meanwhile(index, videos):
    context = multiprocessing.get_context("fork")
    reached, go_on = context.Event(), context.Event()
    process = context.Process(target=held_while_encoding, args=(index.folder, videos, reached, go_on))
    process.start()
    assert reached.wait(60)
    with pytest.raises(SearchError, match="another process is updating it"):
        index.update(videos, **QUIET)
    assert len(index.search(QUERY)) == 4
    go_on.set()
    process.join(60)
    assert process.exitcode == 0
    assert index.update(videos, **QUIET).unchanged == 4
    assert len(index.search(QUERY)) == 8


def killed_while_encoding(where, videos):
    """Encodes, and dies as a process does that is killed, when the third video is about to be put away."""
    put, done = Catalog.put, []

    def put_or_die(self, *values):
        if len(done) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(values)
        put(self, *values)

    Catalog.put = put_or_die
    torch.set_num_threads(1)
    VideoIndex.open(where, device="cpu").update(videos, searchable=False, **QUIET)


def test_after_a_kill_the_rest_is_done(videos, tmp_path):
    where = tmp_path / "index"
    index = VideoIndex.create(where, device="cpu")
    process = multiprocessing.get_context("fork").Process(target=killed_while_encoding, args=(where, videos))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert index.catalog.counts()[0] == 2
    index.sync()
    assert len(index.search(QUERY)) == 2, "what was done can be searched"
    done = index.update(videos, **QUIET)
    assert (len(done.added), done.unchanged, len(index.search(QUERY))) == (2, 2, 4)
    assert {path.name for path in index.token_folder.iterdir()} == index.catalog.token_files()


def test_a_store_that_was_left_halfway_is_put_right(index, monkeypatch):
    ids = sorted(index.catalog.segment_ids())
    index.store.remove(ids[:2])
    index.store.add([(10**6, 0.0, 1.0, index.catalog.vectors(ids[:1])[0][3])])
    assert index.unindexed() == 1
    assert len(index.search(QUERY)) == 2, "what the catalog does not know is not shown"
    index.sync()
    assert (index.store.ids(), len(index.search(QUERY))) == (set(ids), 4)


def test_a_full_disk_leaves_what_was_there(index, videos, monkeypatch):
    def full(self, rows):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = index.search(QUERY)
    with monkeypatch.context() as patch:
        patch.setattr(TokenWriter, "write", full)
        with pytest.raises(SearchError, match=r"No space left on device.*can be searched, and the next run goes on"):
            index.update(videos, **QUIET)
    opened = Catalog._open
    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "_open", lambda self: Small(opened(self)))
        with pytest.raises(SearchError, match=r"database or disk is full.*can be searched"):
            index.update(videos, **QUIET)
    assert index.search(QUERY) == before
    index.update(videos, **QUIET)
    assert (index.catalog.counts()[0], len(index.search(QUERY))) == (8, 8)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 3 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small disk here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_full_leaves_what_was_there(small_disk, videos):
    index = VideoIndex.create(small_disk / "index", device="cpu")
    index.update(videos / "below", **QUIET)
    before = index.search(QUERY)
    faults.fill(str(small_disk / "others"))
    with pytest.raises(SearchError, match=r"can't be written .*can be searched, and the next run goes on"):
        index.update(videos, **QUIET)
    assert VideoIndex.open(index.folder, device="cpu").search(QUERY) == before
    (small_disk / "others").unlink()
    index.update(videos, **QUIET)
    assert (index.catalog.counts()[0], len(index.search(QUERY))) == (4, 4)
    assert {path.name for path in index.token_folder.iterdir()} == index.catalog.token_files()


class Small:
    """A catalog's transaction that may take no more pages than the file has."""

    def __init__(self, opened):
        self.opened = opened

    def __enter__(self):
        connection = self.opened.__enter__()
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    def __exit__(self, *error):
        return self.opened.__exit__(*error)


def test_damaged_tokens_are_made_again(index, caplog):
    expected = [hit.score for hit in index.search(QUERY, k=1, rerank=4)]
    for path in index.token_folder.iterdir():
        path.write_bytes(b"\x93NUMPY damaged")
    assert [hit.score for hit in index.search(QUERY, k=1, rerank=4)] == pytest.approx(expected, abs=1e-4)
    assert "is encoded again" in caplog.text


@pytest.mark.parametrize("gone", [1, 4])
def test_a_candidate_that_can_not_be_read_is_not_matched(videos, tmp_path, caplog, gone):
    index = VideoIndex.create(tmp_path / "index", IndexConfig(tokens="none"), "cpu")
    index.update(videos, **QUIET)
    expected = index.search(QUERY, rerank=3)
    lost = [hit for hit in index.search(QUERY, rerank=0) if hit.path in {each.path for each in expected[:gone]}]
    for hit in lost:
        hit.path.unlink()
    hits = index.search(QUERY, rerank=3)
    matched = [hit for hit in expected if hit.match is not None and hit.path not in {each.path for each in lost}]
    assert [hit.id for hit in hits[: len(matched)]] == [hit.id for hit in matched]
    assert [hit.match is None for hit in hits] == [False] * len(matched) + [True] * (4 - len(matched))
    assert [hit for hit in hits if hit.path in {each.path for each in lost}] == lost, "as they were by similarity"
    for hit in lost[:3]:
        assert f"{hit.path}: expected a video file, got no such file; it is not matched" in caplog.text


def test_why_says_what_each_frame_is_to_the_query(index):
    hit = index.search(QUERY, k=1)[0]
    found = index.explain(QUERY, hit)
    assert len(found.times) == len(found.similarity) == len(found.frames) == 8
    assert found.frames.shape[1:] == (64, 96, 3)
    assert hit.start < found.times[0] < found.times[-1] < hit.end
    assert (found.frame_weights, found.patch_weights) == (None, None), "this model pools nothing by the text"
    with torch.inference_mode():
        image = index.clip(index.pictures(hit))[:1]
        alone = index.model.similarity(index.model.encode_text([QUERY]), index.model.encode_video(image)).item()
    assert found.similarity[0] == pytest.approx(alone, abs=1e-5)


def test_why_of_a_model_that_pools_by_the_text(videos, tmp_path):
    blip = plug(load_blip("embedded"), LiteVLConfig(num_frames=4), verbose=False)
    source = Source(adapter=save_adapters(blip, tmp_path / "adapter", task="retrieval"))
    index = VideoIndex.create(tmp_path / "index", IndexConfig(source), "cpu")
    index.update(videos / "a.mp4", **QUIET)
    found = index.explain(QUERY, index.search(QUERY)[0])
    assert sum(found.frame_weights) == pytest.approx(4.0, abs=1e-4)
    assert found.patch_weights.mean().item() == pytest.approx(1.0, abs=1e-5)
    assert found.patch_weights.shape[0] == found.patch_weights.shape[1]


def test_a_query_of_nothing_is_refused(index):
    for query, k, rerank in (("  ", 1, 1), ("a", 0, 1), ("a", 1, -1)):
        with pytest.raises(SearchError, match="expected a text, k from 1 on and rerank from 0 on"):
            index.search(query, k, rerank)


def test_a_file_that_hangs_or_crashes_a_decoder_is_a_bad_one(videos, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PLANTED))
    (videos / "a.mp4.hangs").touch()
    (videos / "below" / "c.mp4.crashes").touch()
    index = VideoIndex.create(tmp_path / "index", device="cpu")
    done = index.update(videos, workers=2, decode_timeout=1.5, progress=False)
    assert [(file.path.name, file.reason.split(";")[0]) for file in done.bad] == [
        ("a.mp4", "decoding it was stopped after 1.5 seconds"),
        ("c.mp4", "the decoder crashed on it (SIGABRT)"),
    ]
    assert {hit.path.name for hit in index.search(QUERY)} == {"b.mp4", "long.mp4"}
    (videos / "a.mp4.hangs").unlink()
    assert index.update(workers=1, progress=False).unchanged == 4, "it is remembered as a bad one"
    index.forget(videos / "a.mp4")
    assert [path.name for path in index.update(**QUIET).added] == ["a.mp4"]
    for seconds in (0.0, float("inf")):
        with pytest.raises(SearchError, match="decode_timeout: expected more than 0 seconds"):
            index.update(videos, decode_timeout=seconds)


def test_an_update_that_takes_too_long_stops_and_goes_on_later(videos, tmp_path):
    index = VideoIndex.create(tmp_path / "index", device="cpu")
    with pytest.raises(SearchError, match="took too long, so it was stopped"):
        index.update(videos, limit=1e-6, **QUIET)
    assert list(index.token_folder.iterdir()) == []
    assert len(index.update(videos, **QUIET).added) == 4
