import csv
import hashlib
import json
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest

from litevl.corpus import CorpusConfig, ensure_corpus
from litevl.corpus import corpus as module
from litevl.corpus.annotation_files import QUESTIONS
from litevl.corpus.meaning import held_out
from litevl.corpus.plan import plan_clips
from litevl.corpus.questions import QUESTION_KINDS
from litevl.data.paths import VideoFolder
from litevl.data.questions import load_questions

SMALL = CorpusConfig(train_families=2, validate_families=1, test_families=1)


def _frames(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return ensure_corpus(tmp_path_factory.mktemp("cache"), SMALL, progress=False)


def test_annotations_have_msrvtts_own_schema(corpus):
    content = json.loads((corpus / "MSRVTT_data.json").read_text(encoding="utf-8"))
    assert set(content) == {"info", "videos", "sentences"}
    assert set(content["videos"][0]) == {"video_id", "category", "url", "start time", "end time", "split", "id"}
    assert set(content["sentences"][0]) == {"sen_id", "video_id", "caption"}
    splits = Counter(video["split"] for video in content["videos"])
    assert splits == {"train": 16, "validate": 8, "test": 8}
    captions = Counter(sentence["video_id"] for sentence in content["sentences"])
    for video in content["videos"]:
        assert captions[video["video_id"]] == (4 if video["split"] == "train" else 1)


def test_every_video_is_h264_with_thirty_frames(corpus):
    content = json.loads((corpus / "MSRVTT_data.json").read_text(encoding="utf-8"))
    for video in content["videos"]:
        with av.open(str(corpus / "videos" / f"{video['video_id']}.mp4")) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert (stream.frames, stream.width, stream.height, stream.average_rate) == (30, 96, 96, 15)


def test_a_reversed_clip_decodes_to_exactly_the_reversed_frames(corpus):
    with (corpus / "order_pairs.csv").open(encoding="utf-8") as file:
        pairs = list(csv.DictReader(file))
    assert Counter(pair["split"] for pair in pairs) == {"train": 4, "validate": 2, "test": 2}
    for pair in pairs:
        one, other = (_frames(corpus / "videos" / f"{pair[k]}.mp4") for k in ("video_id", "reversed_video_id"))
        assert np.array_equal(one, other[::-1])
        assert not np.array_equal(one, other)


def test_the_second_call_renders_nothing(corpus, monkeypatch):
    monkeypatch.setattr(module, "_render", None)
    assert ensure_corpus(corpus.parent, SMALL) == corpus


def test_questions_have_msrvtt_qas_own_schema_and_the_loader_reads_them(corpus):
    rows = [row for name in QUESTIONS.values() for row in json.loads((corpus / name).read_text("utf-8"))]
    assert set(rows[0]) == {"answer", "category_id", "id", "question", "video_id", "answer_type"}
    assert [row["id"] for row in rows] == list(range(len(rows)))
    data = load_questions(corpus, "msrvtt")
    assert (data.schema, [file.name for file in data.files]) == ("original", [*QUESTIONS.values()])
    content = json.loads((corpus / "MSRVTT_data.json").read_text(encoding="utf-8"))
    for split, name in (("train", "train"), ("val", "validate"), ("test", "test")):
        asked = getattr(data, split)
        videos = {video["video_id"] for video in content["videos"] if video["split"] == name}
        assert {question.video_id for question in asked} == videos
        assert {question.kind for question in asked} <= set(QUESTION_KINDS)
    assert VideoFolder(corpus).resolve(data.test[0].video_id).is_file()
    assert [each.question for each in data.train] == [row["question"] for row in rows][: len(data.train)]


def test_a_corpus_without_questions_is_given_them_and_nothing_else(tmp_path, corpus, monkeypatch):
    old = shutil.copytree(corpus, tmp_path / corpus.name)
    (old / "train_qa.json").unlink()
    (old / "test_qa.json").write_text("[]")
    before = {path: path.stat().st_mtime_ns for path in old.rglob("*") if not path.name.endswith("_qa.json")}
    monkeypatch.setattr(module, "_render", None)
    for _ in range(2):
        assert ensure_corpus(tmp_path, SMALL) == old
        for name in QUESTIONS.values():
            assert (old / name).read_bytes() == (corpus / name).read_bytes()
        after = {path: path.stat().st_mtime_ns for path in old.rglob("*") if not path.name.endswith("_qa.json")}
        assert {path: time for path, time in after.items() if path.is_file()} == {
            path: time for path, time in before.items() if path.is_file()
        }


def test_a_cache_that_cannot_be_written_keeps_its_corpus(tmp_path, corpus, monkeypatch, caplog):
    old = shutil.copytree(corpus, tmp_path / corpus.name)
    (old / "val_qa.json").unlink()

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.os, "replace", refuse)
    assert ensure_corpus(tmp_path, SMALL) == old
    assert "goes without val_qa.json: Permission denied" in caplog.text
    assert {path.name for path in old.iterdir()} == {path.name for path in corpus.iterdir()} - {"val_qa.json"}


def test_the_retrieval_files_are_those_of_the_corpus_that_results_are_measured_on():
    clips = plan_clips(CorpusConfig())
    texts = json.dumps(module.annotations(clips), indent=1) + "\n", module.order_pairs(clips)
    digests = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]
    assert digests == ["2654adc0eddfac47", "0fc764b933a3f42a"]
    assert module._folder_name(CorpusConfig()) == "corpus-2-c3d536ee"


def test_nothing_is_left_of_a_rendering_that_failed(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(module, "write_video", fail)
    with pytest.raises(OSError, match="disk full"):
        ensure_corpus(tmp_path, SMALL, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_two_renderings_at_once_end_in_one_corpus(tmp_path):
    tiny = CorpusConfig(train_families=1, validate_families=0, test_families=1)
    with ThreadPoolExecutor(2) as pool:
        folders = set(pool.map(lambda _: ensure_corpus(tmp_path, tiny, progress=False), range(2)))
    assert list(tmp_path.iterdir()) == [*folders]
    assert len(list((folders.pop() / "videos").iterdir())) == 16


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("LITEVL_CACHE", str(tmp_path / "here"))
    assert module.default_cache() == tmp_path / "here"
    monkeypatch.delenv("LITEVL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if module.os.name != "nt":
        assert module.default_cache() == tmp_path / "litevl"


def test_the_full_plan_is_balanced_and_its_test_set_unambiguous():
    clips = plan_clips(CorpusConfig())
    assert Counter(clip.split for clip in clips) == {"train": 1000, "validate": 96, "test": 200}
    test = [clip for clip in clips if clip.split == "test"]
    assert Counter(clip.meaning.category() for clip in test) == {0: 50, 1: 50, 2: 50, 3: 50}
    assert len({clip.captions for clip in test}) == 200
    assert sum(clip.reverse_of is not None for clip in test) == 50
    trained = {caption for clip in clips if clip.split == "train" for caption in clip.captions}
    assert not trained & {clip.captions[0] for clip in test}


def test_test_clips_show_pairs_of_things_that_nothing_else_shows():
    for clip in plan_clips(CorpusConfig()):
        if clip.meaning.kind == "turn":
            continue
        assert held_out(clip.meaning.first, clip.meaning.second) == (clip.split == "test")


def test_the_plan_follows_the_seed():
    assert plan_clips(SMALL) == plan_clips(SMALL)
    assert plan_clips(SMALL) != plan_clips(CorpusConfig(seed=1, train_families=2, validate_families=1, test_families=1))


def test_too_many_families_are_refused():
    with pytest.raises(ValueError, match="test families"):
        plan_clips(CorpusConfig(test_families=1000))
