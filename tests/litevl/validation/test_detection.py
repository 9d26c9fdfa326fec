"""Which data set lies in a folder: each kind is told from the others, and what is none of them is explained."""

import pytest
from made_up_data import msrvtt, own, pool, put

from litevl.validation.validate import ValidateConfig, validate

D = {"train": ["11@N00_111_aa", "12@N00_112_ab"], "val": ["21@N00_121_ba"], "test": ["31@N00_131_ca"]}
A = {"train": ["v_aaaaaaaaaaa", "v_bbbbbbbbbbb"], "val_1": ["v_ccccccccccc"]}
M = {"train": ["aaaaaaaaaaa_1_9", "bbbbbbbbbbb_2_8"], "val": ["ccccccccccc_3_7"], "test": ["ddddddddddd_4_6"]}
QUESTION = {"question": "what is it?", "answer": "bike"}


def questions(names):
    return [QUESTION | {"id": place, "video_id": name} for place, name in enumerate(names)]


def clip_lines(names):
    return [{"clip_name": name, "caption": f"{name} does things"} for name in names]


def table(names):
    return "video,caption\n" + "".join(f"{name},{name} does things\n" for name in names)


KINDS = {
    "msrvtt, original": (
        {"any.json": pool({"train": ["video1"], "validate": ["video2"], "test": ["video3"]})},
        "msrvtt",
    ),
    "msrvtt, jsonl": ({f"{s}.jsonl": clip_lines([f"video{n}"]) for n, s in enumerate(D)}, "msrvtt"),
    "didemo": (
        {f"{s}_data.json": [{"video": f"{v}.mov", "description": "a dog runs"} for v in D[s]] for s in D},
        "didemo",
    ),
    "didemo, lavis": ({f"retrieval_{s}.json": [{"video": v, "caption": "x"} for v in D[s]] for s in D}, "didemo"),
    "activitynet": ({f"{s}.json": {v: {"sentences": ["one.", " two."]} for v in A[s]} for s in A}, "activitynet"),
    "msvd": (
        {f"{s}_list.txt": "\n".join(M[s]) for s in M}
        | {"captions_msvd.json": {v: ["one", "two"] for s in M for v in M[s]}},
        "msvd",
    ),
    "own": ({f"{s}.csv": table([f"{s}/dog.mp4"]) for s in D}, "own"),
    "own, json": ({f"{s}.json": [{"video": f"{s}.mp4", "caption": "a dog"}] for s in D}, "own"),
    "msrvtt-qa": ({f"{s}_qa.json": questions([n]) for n, s in enumerate(D)}, "msrvtt"),
    "msvd-qa": ({f"MSVD-QA/{s}_qa.json": questions([n]) for n, s in enumerate(D)}, "msvd"),
    "msvd-qa, mapped": (
        {f"{s}_qa.json": questions([n]) for n, s in enumerate(D)}
        | {"youtube_mapping.txt": "".join(f"{'abcde'[n] * 11}_{n}_9 vid{n}\n" for n in range(3))},
        "msvd",
    ),
    "own questions": ({f"{s}.csv": f"video,question,answer\n{s}/cat.mp4,what is it?,cat\n" for s in D}, "own"),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_told_from_the_others(tmp_path, name):
    files, dataset = KINDS[name]
    report = validate(put(tmp_path / "data", files), ValidateConfig(decode=False), progress=False)
    (found,) = report.sets
    asked = "question" in name or "qa" in name
    assert (found.task, found.dataset) == ("questions" if asked else "captions", dataset)
    without_val = name in ("activitynet", "msrvtt, jsonl")
    assert [split.name for split in found.splits] == (["train", "test"] if without_val else [*D])
    assert not [finding for finding in report.findings if finding.kind in ("annotations", "data")]


def test_a_folder_may_hold_both(tmp_path):
    report = validate(msrvtt(tmp_path / "data"), progress=False)
    assert [(found.task, found.dataset) for found in report.sets] == [("captions", "msrvtt"), ("questions", "msrvtt")]
    for task in ("captions", "questions"):
        (found,) = validate(tmp_path / "data", ValidateConfig(task=task), progress=False).sets
        assert found.task == task


def test_sub_folders_of_other_data_sets_do_not_confuse(tmp_path):
    root = msrvtt(tmp_path / "data")
    put(root / "didemo", KINDS["didemo"][0])
    put(root / "msvd", KINDS["msvd"][0])
    put(root / "msvd-qa", KINDS["msvd-qa, mapped"][0])
    put(root / "own", KINDS["own"][0])
    report = validate(root, ValidateConfig(decode=False), progress=False)
    assert [(found.task, found.dataset) for found in report.sets] == [("captions", "msrvtt"), ("questions", "msrvtt")]
    told = [finding.message for finding in report.findings if finding.kind == "dataset"]
    assert any(f"litevl validate {root / 'didemo'} --dataset didemo" in message for message in told)
    (forced,) = validate(root, ValidateConfig(dataset="didemo", decode=False), progress=False).sets
    assert forced.dataset == "didemo"


def test_what_was_chosen_among_several_is_said(tmp_path):
    rows = {f"retrieval_{s}.json": [{"video": f"{s}{n}", "caption": "x"} for n in range(2)] for s in D}
    report = validate(put(tmp_path / "data", rows), ValidateConfig(decode=False), progress=False)
    (guess,) = [finding for finding in report.findings if finding.kind == "dataset"]
    assert guess.severity == "warning"
    assert "msrvtt was chosen, didemo or activitynet or msvd could be read" in guess.message
    assert "--dataset takes another" in guess.message


def test_msrvtt_splits_are_the_first_that_the_files_make(tmp_path):
    root = put(
        tmp_path / "data", {"MSRVTT_data.json": pool({"train": ["video1"], "validate": ["video2"], "test": ["video3"]})}
    )
    (found,) = validate(root, ValidateConfig(decode=False), progress=False).sets
    assert [split.called for split in found.splits] == ["full", "full", "full"]
    put(root, {"MSRVTT_JSFUSION_test.csv": "key,vid_key,video_id,sentence\nret0,msr3,video3,a man\n"})
    (found,) = validate(root, ValidateConfig(decode=False), progress=False).sets
    assert [split.called for split in found.splits] == ["9k", "1k-A"]
    asked = ValidateConfig(decode=False, train_split="7k", test_split="full")
    (found,) = validate(root, asked, progress=False).sets
    assert [split.called for split in found.splits] == ["7k", "full"]


def test_what_fits_none_is_told_what_each_expected(tmp_path):
    root = put(tmp_path / "data", {"notes.txt": "hello", "config.json": {"a": 1}, "more.json": {"b": 2}})
    report = validate(root, progress=False)
    (finding,) = report.findings
    assert (finding.severity, finding.kind, report.exit_code, report.sets) == ("error", "annotations", 2, ())
    reasons = {(item["task"], item["dataset"]): item["reason"] for item in finding.items}
    assert len(reasons) == 9
    assert "MSRVTT_data.json, MSRVTT_train.9k.csv and MSRVTT_JSFUSION_test.csv" in reasons["captions", "msrvtt"]
    assert "train_data.json, val_data.json and test_data.json" in reasons["captions", "didemo"]
    assert "train.csv, val.csv and test.csv" in reasons["captions", "own"]
    assert "the keys question, answer and video" in reasons["questions", "own"]


def test_settings_of_another_data_set_are_refused(tmp_path):
    report = validate(own(tmp_path / "data", {"train": [("a", "x")], "test": [("b", "y")]}),
                      ValidateConfig(dataset="own", train_split="7k", task="captions"), progress=False)  # fmt: skip
    (finding,) = report.findings
    assert "train_split and test_split are MSR-VTT's" in finding.items[0]["reason"]


def test_damaged_annotations_are_named_with_their_place(tmp_path):
    root = own(tmp_path / "data", {"train": [("a", "x"), ("b", "")], "test": [("c", "y")]})
    report = validate(root, ValidateConfig(decode=False), progress=False)
    (finding,) = [finding for finding in report.findings if finding.kind == "annotations"]
    assert f"{root / 'train.csv'}, line 3: expected a caption, got an empty one" in finding.message
    assert finding.message.endswith("only the test split was checked")
    assert report.exit_code == 2
    root = put(tmp_path / "other", {"MSRVTT_data.json": '{"videos": ['})
    (finding,) = validate(root, progress=False).findings
    assert "MSRVTT_data.json, line 1, column 13: expected JSON" in finding.message


def test_questions_are_no_damaged_captions(tmp_path):
    rows = [QUESTION | {"video_id": "video1"}], [QUESTION | {"video_id": "video2"}]
    files = {"txt/train.jsonl": rows[0], "txt/test.jsonl": rows[1]}
    report = validate(put(tmp_path / "msrvtt_qa", files), ValidateConfig(decode=False), progress=False)
    assert [(found.task, found.dataset) for found in report.sets] == [("questions", "msrvtt")]
    assert not [finding for finding in report.findings if finding.kind == "annotations"]


def test_a_test_split_alone(tmp_path):
    root = put(
        tmp_path / "data", {"MSRVTT_JSFUSION_test.csv": "key,vid_key,video_id,sentence\nret0,msr3,video3,a man\n"}
    )
    put(root, {"video3.mp4": 3})
    report = validate(root, progress=False)
    (split,) = report.sets[0].splits
    assert (split.name, split.called, report.exit_code) == ("test", "1k-A", 2)
    assert "only the test split was checked" in report.findings[0].message
    alone = validate(root, ValidateConfig(training=False), progress=False)
    assert [finding.kind for finding in alone.findings if finding.severity != "info"] == ["counts"]


@pytest.mark.parametrize("name", ["clips.csv", "clips.jsonl", "asked.json", "asked.csv", "split.csv"])
def test_one_file_of_ones_own(tmp_path, name):
    content = {
        "clips.csv": table(["a.mp4", "b.mp4"]),
        "clips.jsonl": [{"file": "a.mp4", "text": "x"}, {"file": "b.mp4", "text": "y"}],
        "asked.json": {"train": [QUESTION | {"video": "a.mp4"}], "test": [QUESTION | {"video": "b.mp4"}]},
        "asked.csv": "video,question,answer\na.mp4,what?,cat\nb.mp4,what?,dog\n",
        "split.csv": "video,caption,split\na.mp4,x,train\nb.mp4,y,test\n",
    }[name]
    root = put(tmp_path / "data", {name: content, "a.mp4": 0, "b.mp4": 1})
    report = validate(root / name, progress=False)
    (found,) = report.sets
    assert (found.dataset, found.files) == ("own", (str(root / name),))
    both = name in ("asked.json", "split.csv")
    assert [split.name for split in found.splits] == (["train", "test"] if both else ["test"])
    assert report.severity in ("info", "warning")


def test_a_file_of_a_published_data_set_asks_for_its_folder(tmp_path):
    root = msrvtt(tmp_path / "data")
    for file, config in (
        (root / "MSRVTT_data.json", ValidateConfig(dataset="msrvtt")),
        (root / "videos/video0.mp4", None),
    ):
        report = validate(file, config, progress=False)
        assert (report.sets, report.exit_code) == ((), 2)
        assert "expected" in report.findings[0].message
        assert "folder" in report.findings[0].message


def test_the_real_lists_of_msrvtt(shared_data):
    folder = shared_data / "msrvtt"
    report = validate(folder, ValidateConfig(decode=False), progress=False)
    (found,) = report.sets
    (split,) = found.splits
    assert (found.dataset, split.videos, split.usual_videos, split.texts) == ("msrvtt", 1000, (1000,), 1000)
    assert report.exit_code == 2


def test_a_mistake_in_ones_own_files_is_named_rather_than_another_data_set(tmp_path):
    content = "video,question,answer\n/elsewhere/a.mp4,what?,x\n"
    root = put(tmp_path / "data", {"train.csv": content, "test.csv": content})
    (finding,) = validate(root, progress=False).findings
    assert finding.kind == "annotations"
    assert f"questions: {root / 'train.csv'}, line 2: expected a video's path below" in finding.message
