"""The embedded corpus in other data sets' schemas: each is read by the project's own loader, with every video there."""

import hashlib
import json
import shutil

import pytest

from litevl.corpus import CorpusConfig, ensure_corpus
from litevl.corpus import corpus as module
from litevl.corpus.annotation_files import annotation_files, annotations, every_caption
from litevl.corpus.captions import TEMPLATES
from litevl.corpus.plan import plan_clips
from litevl.data.activitynet import load_activitynet
from litevl.data.didemo import load_didemo
from litevl.data.msrvtt import load_msrvtt
from litevl.data.msvd import load_msvd
from litevl.data.own import load_own
from litevl.data.paths import VideoFolder
from litevl.data.questions import load_questions

SMALL = CorpusConfig(train_families=2, validate_families=1, test_families=1)
CLIPS = plan_clips(SMALL)
COUNTS = {"train": 16, "val": 8, "test": 8}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return ensure_corpus(tmp_path_factory.mktemp("cache"), SMALL, progress=False)


def load_each(corpus):
    yield "didemo", load_didemo(corpus), load_didemo(corpus / "didemo")
    files = {"val": corpus / "activitynet" / "val.json"}
    yield "activitynet", load_activitynet(corpus, files=files), load_activitynet(corpus / "activitynet", files=files)
    videos = VideoFolder(corpus)
    yield "msvd", load_msvd(corpus, videos=videos), load_msvd(corpus / "msvd", videos=videos)
    tables = {split: corpus / "own" / f"{split}.csv" for split in COUNTS}
    own = (load_own(root, "one", files=tables, videos=corpus) for root in (corpus, corpus / "own"))
    yield "own", *own


def test_every_schema_is_read_from_the_corpus_and_from_its_folder(corpus):
    folder = VideoFolder(corpus)
    for name, found, again in load_each(corpus):
        for split, count in COUNTS.items():
            videos = getattr(found, split)
            assert videos == getattr(again, split)
            assert len(videos) == count, name
            files = [folder.resolve(video.key).stem for video in videos]
            wanted = {"val": "validate"}.get(split, split)
            assert files == [clip.video_id for clip in CLIPS if clip.split == wanted]
        modes = {"didemo": "paragraph", "activitynet": "paragraph", "msvd": "many", "own": "one"}
        assert found.caption_mode == modes[name]
        schemas = {"didemo": "original", "activitynet": "original", "msvd": "xpool+clip4clip", "own": "csv"}
        assert found.schema == schemas[name]


def test_own_is_found_without_naming_its_files(corpus):
    found = load_own(corpus / "own", "one", videos=corpus)
    assert [path.name for path in found.files] == ["train.csv", "val.csv", "test.csv"]
    assert [video.captions for video in (*found.train, *found.val, *found.test)] == [clip.captions for clip in CLIPS]


def test_paragraphs_are_one_query_a_video_and_wordings_one_each(corpus):
    assert all(len(video.captions) == 1 for video in load_didemo(corpus).test)
    (text,) = load_activitynet(corpus).test[0].captions
    assert text.count(". ") in (1, 2)
    for clip, video in zip((c for c in CLIPS if c.split == "test"), load_msvd(corpus).test, strict=True):
        assert video.captions == every_caption(clip)
        assert video.captions[0] == clip.captions[0]
        assert len(set(video.captions)) == len(TEMPLATES[clip.meaning.kind])


def test_activitynet_has_the_validation_clips_only_where_they_are_asked_for(corpus):
    found = load_activitynet(corpus)
    assert (found.train_split, found.test_split, found.val) == ("train", "val_1", ())
    assert "no validation videos: the last epoch counts; a best one could only be chosen on test" in found.notes


def test_captioning_is_msrvtts_release_with_every_wording_of_test_clips_too(corpus):
    found = load_msrvtt(corpus / "captioning", "full", "full")
    splits = {"train": found.train, "val": found.val, "test": found.test}
    assert {split: len(videos) for split, videos in splits.items()} == COUNTS
    assert {path.name for path in found.files} == {"train_val_videodatainfo.json", "test_videodatainfo.json"}
    worded = {clip.video_id: every_caption(clip) for clip in CLIPS}
    videos = [video for each in splits.values() for video in each]
    assert {video.video_id: video.captions for video in videos} == worded
    full = {video["video_id"]: video for video in annotations(CLIPS)["videos"]}
    for path in found.files:
        assert all(full[video["video_id"]] == video for video in json.loads(path.read_text())["videos"])


def test_msvd_qa_asks_what_msrvtt_qa_asks(corpus):
    one, other = load_questions(corpus, "msrvtt"), load_questions(corpus / "msvd-qa", "msvd")
    assert (other.dataset, other.schema) == ("msvd", "original")
    assert "youtube_mapping.txt" in [path.name for path in other.files]
    for split in COUNTS:
        assert getattr(other, split) == getattr(one, split)
    assert all(VideoFolder(corpus).find(question.video_id) for question in other.test)
    rows = json.loads((corpus / "msvd-qa" / "test_qa.json").read_text())
    assert set(rows[0]) == {"answer", "id", "question", "video_id", "answer_type"}


def test_other_schemas_leave_msrvtts_as_it_was(corpus):
    found = load_msrvtt(corpus, "full", "full")
    assert [path.name for path in found.files] == ["MSRVTT_data.json"]
    assert len(load_questions(corpus, "msrvtt").files) == 3


def test_no_wording_of_a_test_clip_is_one_of_another_and_every_test_clip_has_four():
    worded = [every_caption(clip) for clip in plan_clips(CorpusConfig()) if clip.split == "test"]
    assert {len(captions) for captions in worded} == {4}
    assert len({caption for captions in worded for caption in captions}) == 4 * len(worded)


def test_bytes_are_the_same_everywhere_and_at_any_time(corpus):
    texts = annotation_files(CLIPS, 0)
    assert texts == annotation_files(plan_clips(SMALL), 0)
    assert all((corpus / name).read_bytes() == text.encode() for name, text in texts.items())
    full = annotation_files(plan_clips(CorpusConfig()), 0)
    assert {path.split("/")[0] for path in full if "/" in path} == {
        *("didemo", "activitynet", "msvd", "msvd-qa", "captioning", "own"),
    }
    digest = hashlib.sha256("".join(f"{name}\n{full[name]}" for name in sorted(full)).encode()).hexdigest()
    assert digest[:16] == "8ffc9aae0ea7f52f"


def test_an_older_corpus_is_given_the_folders_and_nothing_else_changes(tmp_path, corpus, monkeypatch):
    old = shutil.copytree(corpus, tmp_path / corpus.name)
    shutil.rmtree(old / "didemo")
    (old / "own" / "test.csv").write_text("video,caption\n")
    kept = {path: path.stat().st_mtime_ns for path in old.rglob("*.*") if path != old / "own" / "test.csv"}
    monkeypatch.setattr(module, "_render", None)
    assert ensure_corpus(tmp_path, SMALL) == old
    for path in corpus.rglob("*.*"):
        assert (old / path.relative_to(corpus)).read_bytes() == path.read_bytes()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not list(old.rglob("*.partial"))


def test_files_that_cannot_be_written_are_named_in_one_warning(tmp_path, corpus, monkeypatch, caplog):
    old = shutil.copytree(corpus, tmp_path / corpus.name)
    shutil.rmtree(old / "didemo")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.os, "replace", refuse)
    ensure_corpus(tmp_path, SMALL)
    (record,) = caplog.records
    names = ", ".join(f"didemo/{split}_data.json" for split in COUNTS)
    assert record.getMessage() == f"the corpus in {old} goes without {names}: Permission denied"
