"""Every kind of finding is made to happen on small data sets, and is found where it belongs."""

import os
import shutil

import pytest
from made_up_data import clip, msrvtt, own, pool, put

from litevl.data.coverage import find_bad_videos
from litevl.data.retrieval_config import RetrievalDataConfig, find_set
from litevl.validation.validate import ValidateConfig, validate

CLEAN = {"train": [("a", "x"), ("b", "y")], "val": [("c", "z")], "test": [("d", "w")]}
CLIPS = {f"{name}.mp4": number for number, name in enumerate("abcd")}


def of(report, kind):
    return [finding for finding in report.findings if finding.kind == kind]


def kinds(report, *severities):
    return {finding.kind for finding in report.findings if finding.severity in severities}


@pytest.fixture
def root(tmp_path):
    """Own data with which nothing is wrong."""
    return put(own(tmp_path / "data", CLEAN), CLIPS)


def check(root, **settings):
    return validate(root, ValidateConfig(**settings), progress=False)


def test_nothing_is_wrong(root):
    report = check(root)
    assert (report.exit_code, report.severity, kinds(report, "warning", "error")) == (0, "info", set())
    assert (report.decoded, report.files_opened) == (True, 4)
    (found,) = report.sets
    assert (found.dataset, found.schema, found.caption_mode) == ("own", "csv", "one")
    assert [(s.name, s.videos, s.texts, s.usual_videos, s.usual_texts) for s in found.splits] == [
        ("train", 2, 2, None, None), ("val", 1, 1, None, None), ("test", 1, 1, None, None)
    ]  # fmt: skip
    train = found.splits[0]
    assert [(sample.video_id, sample.file, sample.text) for sample in train.samples] == [
        ("a", "a.mp4", "x"), ("b", "b.mp4", "y")
    ]  # fmt: skip
    assert train.hours == pytest.approx((5 + 6) / 25 / 3600)
    assert (train.opened, train.frame_rates, train.sizes) == (2, (pytest.approx(25), pytest.approx(25)), ("48x32",) * 2)
    assert report.seconds > 0
    assert "say it in training, --data.caption-mode one" in of(report, "caption_mode")[0].message


def test_paths_are_looked_up_without_decoding(root):
    put(root, {"a.mp4": b"no video"})
    report = check(root, decode=False)
    assert (report.exit_code, report.files_opened, report.decoded) == (0, 0, False)
    assert [split.hours for split in report.sets[0].splits] == [None] * 3


def test_missing_and_unreadable_videos_as_training_finds_them(root):
    (root / "b.mp4").unlink()
    put(root, {"c.mp4": b"no video", "d.mp4": clip(3)[: len(clip(3)) // 2]})
    report = check(root)
    assert kinds(report, "error") == {"missing", "unreadable"}
    assert report.exit_code == 2
    (missing,), (unreadable,) = of(report, "missing"), of(report, "unreadable")
    assert [(item["video_id"], item["splits"]) for item in missing.items] == [("b", ["train captions"])]
    assert "1 video is missing: 1 of 2 (train captions)" in missing.message
    assert "--videos" in missing.message
    assert [(item["video_id"], item["file"]) for item in unreadable.items] == [
        ("c", str(root / "c.mp4")), ("d", str(root / "d.mp4"))
    ]  # fmt: skip
    assert "expected a readable video" in unreadable.items[0]["reason"]
    data = find_set(RetrievalDataConfig(dataset="own", caption_mode="one"), root)
    bad = find_bad_videos([*data.train, *data.val, *data.test], root, decode=True, progress=False)
    assert [video.video_id for video in bad] == ["b", "c", "d"]
    assert report.sets[0].splits[0].opened == 1


def test_a_segment_that_is_not_in_its_file(tmp_path):
    rows = {"train": [("a", "x", 0, 0.1)], "test": [("b", "y", 0, 0.1), ("b", "z", 5, 9)]}
    root = put(own(tmp_path / "data", rows, "video,caption,start,end"), CLIPS)
    (finding,) = of(check(root), "unreadable")
    (item,) = finding.items
    assert item["video_id"] == "b@5.0-9.0"
    assert "expected frames between 5.0 and 9.0 seconds" in item["reason"]


def test_videos_are_elsewhere(root, tmp_path):
    (tmp_path / "films").mkdir()
    for name in CLIPS:
        shutil.move(root / name, tmp_path / "films")
    assert of(check(root, decode=False), "missing")[0].message.startswith("4 videos are missing")
    report = check(root, videos=tmp_path / "films")
    assert (report.exit_code, report.videos) == (0, str(tmp_path / "films"))
    absent = check(root, videos=tmp_path / "nowhere")
    assert (absent.exit_code, absent.findings[0].kind) == (2, "data")


def test_two_ids_with_one_file_and_files_with_one_content(root):
    own(root, {**CLEAN, "train": [(name, name) for name in "abefg"]})
    os.link(root / "a.mp4", root / "e.mp4")
    (root / "f.mp4").symlink_to(root / "a.mp4")
    put(root, {"g.mp4": CLIPS["b.mp4"]})
    report = check(root, decode=False)
    assert kinds(report, "warning", "error") == {"duplicate_file", "duplicate_content"}
    assert of(report, "duplicate_file")[0].items[0]["video_ids"] == ["a", "e", "f"]
    assert of(report, "duplicate_content")[0].items[0]["video_ids"] == ["b", "g"]
    assert report.exit_code == 1


@pytest.mark.parametrize(("split", "severity"), [("test", "error"), ("val", "error")])
def test_training_videos_under_other_names_in_another_split(root, split, severity):
    own(root, {**CLEAN, split: [("e", "x"), ("f", "y")]})
    put(root, {"e.mp4": CLIPS["a.mp4"]})
    os.link(root / "b.mp4", root / "f.mp4")
    report = check(root)
    (leak,) = of(report, "leak")
    assert (leak.severity, report.exit_code) == (severity, 2)
    assert [(item["train"], item[split], item["how"]) for item in leak.items] == [
        ("a", "e", "by content"), ("b", "f", "by file")
    ]  # fmt: skip


def test_validation_videos_in_test_are_a_warning(root):
    own(root, {**CLEAN, "val": [("c", "z"), ("d", "w")], "test": [("d", "w"), ("e", "v")]})
    put(root, {"e.mp4": CLIPS["c.mp4"]})
    report = check(root)
    (leak,) = of(report, "leak")
    assert (leak.severity, report.exit_code) == ("warning", 1)
    assert [item["how"] for item in leak.items] == ["by id", "by content"]
    assert "selecting on them is on test" in leak.message


def test_leaks_that_a_loader_refuses_are_findings(root):
    own(root, {**CLEAN, "test": [("a", "w"), ("b", "v")]})
    report = check(root, decode=False)
    (leak,) = of(report, "leak")
    assert (leak.severity, report.exit_code) == ("error", 2)
    assert "2 videos are both in train and test; use splits that share none" in leak.message
    assert leak.message.endswith("only the test split was checked")
    assert [item["video_id"] for item in leak.items] == ["a", "b"]
    assert [split.name for split in report.sets[0].splits] == ["test"]


def test_segments_of_one_file_leak_where_they_overlap(tmp_path):
    header = "video,caption,start,end"
    rows = {"train": [("a", "x", 0, 0.1)], "test": [("a", "y", 0.1, 0.2)]}
    root = put(own(tmp_path / "data", rows, header), {"a.mp4": 2})
    (leak,) = of(check(root), "leak")
    assert leak.severity == "warning"
    assert "of files that train has other segments of" in leak.message
    own(root, {**rows, "test": [("a", "y", 0.05, 0.2)]}, header)
    assert of(check(root), "leak")[0].severity == "error"


def test_own_questions_about_known_videos(tmp_path):
    def asked(rows):
        return "video,question,answer\n" + "".join(f"{video},{question},yes\n" for video, question in rows)

    root = put(tmp_path / "data", CLIPS | {"e.mp4": CLIPS["a.mp4"]})
    put(
        root, {"train.csv": asked([("a", "is it?"), ("b", "why?")]), "test.csv": asked([("b", "who?"), ("e", "what?")])}
    )
    (leak,) = of(check(root), "leak")
    assert (leak.severity, [item["how"] for item in leak.items]) == ("warning", ["by id", "by content"])
    put(root, {"test.csv": asked([("e", "is it?")])})
    assert of(check(root), "leak")[0].severity == "error"
    put(root, {"test.csv": asked([("a", "is it?")])})
    (leak,) = of(check(root), "leak")
    assert "1 questions are both in train and test" in leak.message


def test_texts_said_twice_and_too_long(root):
    long = " ".join(["word"] * 34)
    own(root, {**CLEAN, "train": [("a", "x"), ("a", "x"), ("b", long)]})
    report = check(root, decode=False)
    assert kinds(report, "warning", "error") == {"duplicate_text", "long_text"}
    assert of(report, "duplicate_text")[0].items == ({"split": "train", "video_id": "a", "text": "x", "times": 2},)
    joined = check(root, decode=False, caption_mode="paragraph")
    assert "1 captions are given twice for one clip" in of(joined, "note")[0].message
    (item,) = of(report, "long_text")[0].items
    assert (item["video_id"], item["words"]) == ("b", 34)


def test_questions_asked_twice_and_their_types(tmp_path):
    root = msrvtt(tmp_path / "data")
    rows = [{"video_id": 3, "question": "what is it?", "answer": answer} for answer in ("cat", "dog")]
    put(root, {"test_qa.json": [*rows, {"video_id": 3, "question": "who is it?", "answer": "man"}]})
    report = check(root, task="questions", decode=False)
    (again,) = of(report, "duplicate_text")
    assert "1 of them with different answers" in again.message
    assert again.items[0]["answers"] == ["cat", "dog"]
    test = report.sets[0].splits[-1]
    assert test.kinds == {"what": 2, "who": 1}
    assert test.samples[0].text == "what is it? cat / dog"


def test_unusual_counts_and_unused_files(tmp_path):
    root = msrvtt(tmp_path / "data")
    put(root, {"videos/video9.mp4": 9, "msrvtt_ret_train9k.json": [{"video": "video1", "caption": "x"}]})
    report = check(root)
    assert report.exit_code == 1
    assert kinds(report, "warning", "error") == {"counts", "unused"}
    captions, questions = of(report, "counts")
    assert captions.items[0] == {
        "split": "train", "videos": 2, "usual_videos": [6513], "texts": 4, "usual_texts": 130260
    }  # fmt: skip
    assert questions.items[0] == {"split": "train", "texts": 3, "usual_texts": 158581}
    assert any(
        "annotation files not used: msrvtt_ret_train9k.json" in finding.message for finding in of(report, "unused")
    )
    assert of(report, "unused")[-1].items == ({"file": str(root / "videos" / "video9.mp4")},)


def test_the_lists_of_other_splits_are_no_unused_files(tmp_path):
    root = put(tmp_path / "data", {
        "MSRVTT_data.json": pool({"train": ["video0"], "validate": ["video1"], "test": ["video2", "video3"]}),
        "MSRVTT_train.9k.csv": "video_id\nvideo0\nvideo1\nvideo2\n",
        "MSRVTT_train.7k.csv": "video_id\nvideo0\nvideo1\n",
        "MSRVTT_JSFUSION_test.csv": "key,vid_key,video_id,sentence\nret0,msr3,video3,a man\n",
    })  # fmt: skip
    (finding,) = of(check(root, decode=False), "unused")
    assert (finding.severity, finding.message) == ("info", "captions: annotation files not used: MSRVTT_train.7k.csv")


def test_paragraphs_that_are_cut(tmp_path):
    sentences = ["a dog runs over the grass and a man throws a ball"] * 4
    videos = {"train": "11@N00_1_a", "val": "12@N00_2_b", "test": "13@N00_3_c"}
    rows = {f"{s}_data.json": [{"video": v, "description": text} for text in sentences] for s, v in videos.items()}
    report = check(put(tmp_path / "data", rows), decode=False)
    assert [finding.severity for finding in of(report, "long_text")] == ["warning"] * 3
    assert "--max-text-length" in of(report, "long_text")[0].message


def test_other_ways_that_the_command_line_is_wrong(root, tmp_path):
    absent = validate(tmp_path / "nowhere", progress=False)
    assert (absent.exit_code, "which is not there" in absent.findings[0].message) == (2, True)
    foreign = check(root, schema="frozen")
    assert (foreign.exit_code, foreign.sets) == (2, ())


def test_the_same_whatever_the_number_of_workers(root):
    one, three = (check(root, workers=workers).to_json() for workers in (1, 3))
    one.pop("seconds"), three.pop("seconds")
    assert one == three
