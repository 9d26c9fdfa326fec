"""DiDeMo, ActivityNet Captions and MSVD in every form of their annotations, made up small."""

import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litevl.data.activitynet import activitynet_name, load_activitynet
from litevl.data.annotations import AnnotationError
from litevl.data.didemo import load_didemo
from litevl.data.msvd import load_msvd
from litevl.data.paths import VideoFolder

SPLITS = ("train", "val", "test")


def said(video, count=3):
    return [f"{video[:4]} does thing {number}" for number in range(count)]


def paragraph(video):
    return " ".join(said(video))


def of(videos, name):
    return [video.video_id for video in getattr(videos, name)]


# DiDeMo

D = {
    "train": ["11@N00_111_aa", "12@N00_112_ab", "13@N01_113_ac"],
    "val": ["21@N00_121_ba"],
    "test": ["31@N00_131_ca", "32@N00_132_cb"],
}
ENDS = {"11@N00_111_aa": ".mov", "12@N00_112_ab": ".avi", "31@N00_131_ca": ".3gp"}


def file_name(video):
    return video + ENDS.get(video, ".mp4")


def descriptions(videos):
    return [
        {"annotation_id": 10 * place + number, "video": file_name(video), "description": f" {text} ",
         "times": [[0, 0], [0, 1]], "num_segments": 6, "dl_link": "https://example.org"}
        for number in range(3)
        for place, video in enumerate(videos)
        for text in [said(video)[number]]
    ]  # fmt: skip


def sentence_rows(videos, key="video"):
    return [{key: file_name(video), "caption": said(video)} for video in videos]


def paragraph_rows(videos, key="clip_name", extension=True):
    return [{key: file_name(video) if extension else video, "caption": paragraph(video)} for video in videos]


DIDEMO = {
    "original": ({f"{s}_data.json": descriptions(D[s]) for s in SPLITS}, "original"),
    "clip4clip": (
        {f"didemo_data/{s}_data.json": descriptions([*D[s], f"unlisted{s}"]) for s in SPLITS}
        | {f"didemo_data/{s}_list.txt": [file_name(video) for video in D[s]] for s in SPLITS},
        "original+clip4clip",
    ),
    "jsonl": ({f"didemo/txt/{s}.jsonl": paragraph_rows(D[s]) for s in SPLITS}, "jsonl"),
    "lavis": ({f"didemo/annotations/retrieval_{s}.json": paragraph_rows(D[s], "video") for s in SPLITS}, "lavis"),
    "singularity": ({f"anno_downstream/didemo_ret_{s}.json": sentence_rows(D[s]) for s in SPLITS}, "singularity"),
    "original, by keys": ({f"my_{s}.json": descriptions(D[s]) for s in SPLITS}, "original"),
    "jsonl, by keys": ({f"{s}_paragraphs.jsonl": paragraph_rows(D[s], extension=False) for s in SPLITS}, "jsonl"),
    "lists, by keys": ({f"{s}_rows.json": sentence_rows(D[s], "video_id") for s in SPLITS}, "lavis"),
    "csv, by keys": (
        {f"{s}.csv": "video,text\n" + "".join(f"{file_name(v)},{paragraph(v)}\n" for v in D[s]) for s in SPLITS},
        "lavis",
    ),
}


@pytest.mark.parametrize("name", DIDEMO)
def test_didemo_is_one_paragraph_a_video_in_every_form(annotated, name):
    files, schema = DIDEMO[name]
    data = load_didemo(annotated(files))
    assert {split: of(data, split) for split in SPLITS} == D
    assert all(video.captions == (paragraph(video.video_id),) for split in SPLITS for video in getattr(data, split))
    assert all((video.start, video.end) == (None, 30.0) for video in data.test)
    assert (data.dataset, data.caption_mode, data.schema) == ("DiDeMo", "paragraph", schema)
    assert (data.train_split, data.test_split) == ("train", "test")
    assert any("train (train) has 3 videos and 3 captions, usually 8395 or 8392" in note for note in data.notes)
    assert any("test (test) has 2 videos" in note for note in data.notes)
    assert any("first 30 seconds" in note for note in data.notes)
    assert any("1 videos are not in test_list.txt; left out" in note for note in data.notes) == (name == "clip4clip")


def test_didemos_files_are_found_by_stem_whatever_their_extension(annotated, tmp_path):
    root = annotated(DIDEMO["jsonl, by keys"][0])
    (tmp_path / "videos").mkdir()
    for video in D["test"]:
        (tmp_path / "videos" / f"{video}.m4v").touch()
    folder = VideoFolder(root)
    assert all(
        folder.find(video.key) == tmp_path / "videos" / f"{video.video_id}.m4v" for video in load_didemo(root).test
    )


def test_the_test_split_alone_and_a_schema_by_choice(annotated):
    both = DIDEMO["clip4clip"][0] | DIDEMO["singularity"][0]
    root = annotated(both)
    alone = load_didemo(annotated({"didemo_ret_test.json": sentence_rows(D["test"])}, "alone"), training=False)
    assert (alone.train, alone.val, alone.train_split, len(alone.test)) == ((), (), None, 2)
    assert not any("chosen on test" in note for note in alone.notes)
    assert load_didemo(root).schema == "original+clip4clip"
    assert len(load_didemo(root, schema="original").test) == 3
    assert len(load_didemo(root, schema="clip4clip").test) == 2
    chosen = load_didemo(root, schema="singularity")
    assert chosen.schema == "singularity"
    assert any("not used: didemo_data/train_data.json" in note or "train_data.json" in note for note in chosen.notes)
    with pytest.raises(
        AnnotationError, match=r"in the schema lavis; found .*didemo_data/train_data\.json \(original\)"
    ):
        load_didemo(root, schema="lavis")


def test_files_by_choice(annotated):
    root = annotated({"a.json": sentence_rows(D["train"]), "b.jsonl": paragraph_rows(D["test"])})
    files = {"train": Path("a.json"), "test": Path("b.jsonl")}
    with pytest.raises(AnnotationError, match="train_file, val_file and test_file"):
        load_didemo(root)
    data = load_didemo(root, files=files)
    assert (of(data, "train"), of(data, "test"), data.test_split) == (D["train"], D["test"], "b.jsonl")
    assert any("no validation videos" in note for note in data.notes)


# ActivityNet Captions

A = {"train": ["v_aaaaaaaaaa1", "v_v_aaaaaaaa2"], "val_1": ["v_bbbbbbbbbb1", "v_bb-bbb_bbb2"]}


def original(videos):
    return {
        video: {"duration": 82.73, "timestamps": [[0.83, 19.86], [17.37, 60.81], [1, 2]],
                "sentences": [text if number == 0 else f" {text}" for number, text in enumerate(said(video))]}
        for video in videos
    }  # fmt: skip


def anet_rows(videos, prefix=True, **keys):
    key = keys.get("key", "video")
    return [{key: f"{video if prefix else video[2:]}.mp4", "caption": said(video)} for video in videos]


ANET = {
    "original": (
        {"train.json": original(A["train"]), "val_1.json": original(A["val_1"]), "val_2.json": original(A["val_1"]),
         "train_ids.json": A["train"], "val_ids.json": A["val_1"]},
        "original", "val_1"),
    "original, without v_": (
        {"train.json": original([v[2:] for v in A["train"]]), "val_1.json": original(A["val_1"])}, "original", "val_1"),
    "testa": (
        {"activitynet/txt/train.json": anet_rows(A["train"]), "activitynet/txt/val.json": anet_rows(A["val_1"])},
        "testa", "val"),
    "singularity": (
        {"anno_downstream/anet_ret_train.json": anet_rows(A["train"], prefix=False),
         "anno_downstream/anet_ret_val_1.json": anet_rows(A["val_1"])},
        "singularity", "val_1"),
    "all-in-one": (
        {"train.jsonl": [{"clip_name": v, "caption": paragraph(v)} for v in A["train"]],
         "val.jsonl": [{"clip_name": v, "caption": paragraph(v)} for v in A["val_1"]]},
        "jsonl", "val"),
    "json lines called json": (
        {"train.json": "".join(f'{{"clip_name": "{v}", "caption": "{paragraph(v)}"}}\n' for v in A["train"]),
         "val.json": "".join(f'{{"clip_name": "{v}", "caption": "{paragraph(v)}"}}\n' for v in A["val_1"])},
        "jsonl", "val"),
    "by keys": (
        {"captions_train.json": original(A["train"]), "captions_val_1.json": original(A["val_1"])},
        "original", "val_1"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANET)
def test_activitynet_is_one_paragraph_a_video_in_every_form(annotated, name):
    files, schema, test_split = ANET[name]
    data = load_activitynet(annotated(files))
    assert of(data, "train") == A["train"]
    assert of(data, "test") == A["val_1"]
    expected = said("v_bb-bbb_bbb2")
    assert data.test[1].captions == (" ".join(expected),)
    assert "  " not in data.test[1].captions[0]
    assert (data.dataset, data.caption_mode, data.schema) == ("ActivityNet Captions", "paragraph", schema)
    assert (data.train_split, data.test_split, data.val) == ("train", test_split, ())
    assert any(f"test ({test_split}) has 2 videos and 2 captions, usually 4917" in note for note in data.notes)
    assert any("no validation videos: the last epoch counts" in note for note in data.notes)
    assert any("val_2.json" in note for note in data.notes) == (name == "original")


def test_activitynets_second_annotators_and_lists_that_exceed(annotated):
    files = dict(ANET["original"][0])
    files["val_2.json"] = original(A["val_1"][:1])
    root = annotated(files)
    second = load_activitynet(root, files={"test": Path("val_2.json")})
    assert (of(second, "test"), second.test_split) == (A["val_1"][:1], "val_2")
    assert any("usually 4885" in note for note in second.notes)
    more = annotated({**files, "val_ids.json": [*A["val_1"], "v_ccccccccccc"]}, "more")
    data = load_activitynet(more)
    assert of(data, "test") == A["val_1"]
    note = "val_ids.json: 1 of 3 listed videos have no captions in val_1.json, as v_ccccccccccc; left out"
    assert note in data.notes
    with pytest.raises(AnnotationError, match="2 of 2 listed videos have no captions"):
        load_activitynet(annotated({**files, "val_ids.json": ["v_ccccccccccc", "v_ddddddddddd"]}, "none"))


@given(st.from_regex(r"[A-Za-z0-9_-]{11}", fullmatch=True))
def test_activitynets_ids_have_one_spelling(tmp_path_factory, name):
    path = tmp_path_factory.getbasetemp() / "a.json"
    forms = [name, f"v_{name}", f"v_{name}.mp4", f"{name}.mkv", f"videos/v_{name}.webm", f" v_{name}"]
    assert {activitynet_name(form, path, "") for form in forms} == {f"v_{name}"}


# MSVD

M = {"train": ["aaaaaaaaaaa_5_15", "bbbbbbbbbbb_1_9"], "val": ["ccccccccccc_0_4"], "test": ["ddddddddddd_7_17"]}
EVERY = [video for split in SPLITS for video in M[split]]
LISTS = {f"msvd_data/{s}_list.txt": M[s] for s in SPLITS}
TOKENS = {video: [text.split() for text in said(video)] for video in EVERY}
MAPPING = [f"{video} vid{number}" for number, video in enumerate(EVERY, 1)]
MSVD = {
    "clip4clip": (LISTS | {"msvd_data/raw-captions.pkl": pickle.dumps(TOKENS)}, "clip4clip"),
    "clip4clip, Python 2": (LISTS | {"msvd_data/raw-captions.pkl": pickle.dumps(TOKENS, protocol=2)}, "clip4clip"),
    "xpool": (
        {f"{s}_list.txt": M[s] for s in SPLITS} | {"captions_msvd.json": {v: said(v) for v in EVERY}},
        "xpool+clip4clip"),
    "xpool, by keys": (
        {f"{s}_list.txt": M[s] for s in SPLITS} | {"all.json": {v: said(v) for v in EVERY}}, "xpool+clip4clip"),
    "singularity": (
        {f"anno_downstream/msvd_ret_{s}.json": [{"video": f"{v}.avi", "caption": said(v)} for v in M[s]]
         for s in SPLITS},
        "singularity"),
    "a row a caption": (
        {f"msvd/annotations/retrieval_{s}.json": [{"video": f"{v}.avi", "caption": c} for v in M[s] for c in said(v)]
         for s in SPLITS},
        "lavis"),
    "lists of vid": (
        {f"{s}_list.txt": [line.split()[1] for line in MAPPING if line.split()[0] in M[s]] for s in SPLITS}
        | {"captions_msvd.json": {v: said(v) for v in EVERY}, "youtube_mapping.txt": MAPPING},
        "xpool+clip4clip"),
}  # fmt: skip


@pytest.mark.parametrize("name", MSVD)
def test_msvd_is_many_captions_a_video_in_every_form(annotated, name):
    files, schema = MSVD[name]
    data = load_msvd(annotated(files))
    assert {split: of(data, split) for split in SPLITS} == M
    assert all(list(v.captions) == said(v.video_id) for split in SPLITS for v in getattr(data, split))
    assert (data.dataset, data.caption_mode, data.schema) == ("MSVD", "many", schema)
    assert any("test (test) has 1 videos and 3 captions, usually 670 and 27763" in note for note in data.notes)
    assert any(file.name == "youtube_mapping.txt" for file in data.files) == (name == "lists of vid")


def test_msvds_files_are_called_by_either_id(annotated, tmp_path):
    root = annotated(MSVD["lists of vid"][0])
    (tmp_path / "YouTubeClips").mkdir()
    for name in ("vid1.avi", f"{EVERY[1]}.avi"):
        (tmp_path / "YouTubeClips" / name).touch()
    data = load_msvd(root)
    assert [video.file for video in data.train] == ["vid1", None]
    assert [VideoFolder(root).find(video.key).name for video in data.train] == ["vid1.avi", f"{EVERY[1]}.avi"]
    elsewhere = load_msvd(root, videos=VideoFolder(tmp_path / "YouTubeClips"))
    assert elsewhere.train == data.train


# What is wrong with files

DD = DIDEMO["original"][0]
AA = ANET["original"][0]
XX = MSVD["xpool"][0]
ROW = descriptions(D["test"])[0]


def without(row, *keys):
    return {key: value for key, value in row.items() if key not in keys}


DAMAGED = {
    "no json": (load_didemo, DD | {"test_data.json": "[{"}, r"test_data\.json, line 1, column 3: expected JSON"),
    "an object": (load_didemo, DD | {"test_data.json": {"a": 1}}, r"test_data\.json, a: expected captions"),
    "no rows": (load_didemo, DD | {"test_data.json": []}, r"test_data\.json: expected captioned videos, got none"),
    "a row of text": (load_didemo, DD | {"test_data.json": ["x"]}, "row 0: expected a row as dict, got 'x'"),
    "no video": (
        load_didemo, DD | {"test_data.json": [without(ROW, "video")]}, r"row 0: expected a video \(video_id, "),
    "no description": (
        load_didemo, DD | {"test_data.json": [ROW, without(ROW, "description")]},
        r"row 1: expected a caption \(caption, captions, .* got the keys annotation_id, video"),
    "a question": (
        load_didemo, DD | {"test_data.json": [{"video": "a", "question": "what?"}]},
        "questions belong to video question answering"),
    "a number for an id": (load_didemo, DD | {"test_data.json": [ROW | {"video": 7}]}, "a video's id as str, got 7"),
    "a number for a text": (load_didemo, DD | {"test_data.json": [ROW | {"description": 7}]}, r"row 0: .*got 7"),
    "no text": (
        load_didemo, DD | {"test_data.json": [ROW | {"description": " "}]},
        "row 0: expected a caption of .*an empty one"),
    "a video twice": (
        load_didemo,
        {"train.jsonl": paragraph_rows(D["train"]), "test.jsonl": paragraph_rows([*D["test"], D["test"][0]])},
        r"test\.jsonl, line 3: 31@N00_131_ca is listed twice, first in line 1; expected one row a video"),
    "a listed video without captions": (
        load_didemo, DD | {"test_list.txt": [*D["test"], "99@N00_1_a.mov"]},
        r"test_list\.txt, 99@N00_1_a: 1 of 3 listed videos have no captions in test_data\.json"),
    "listed twice": (
        load_didemo, DD | {"test_list.txt": D["test"] * 2},
        r"test_list\.txt, line 3: .* listed twice, first in line 1"),
    "an empty list": (load_didemo, DD | {"test_list.txt": ""}, r"test_list\.txt: expected a list of videos, got none"),
    "trained and tested on": (
        load_didemo, DD | {"train_data.json": descriptions([*D["train"], D["test"][0]])},
        "31@N00_131_ca: 1 videos are both in train and test"),
    "trained and selected on": (
        load_didemo, DD | {"val_data.json": descriptions(D["train"][:1])}, "1 videos are both in train and val"),
    "no annotations": (load_didemo, {"readme.md": "x"}, "train and test of DiDeMo; found no annotation file"),
    "of another kind": (
        load_didemo, {"my_train.json": [{"a": 1}], "my_test.json": [1]},
        r"my_train\.json, row 0: expected a video .* got the keys a.*The usual set is train_data\.json"),
    "answers": (
        load_didemo, {"my_test.json": [{"video": "a", "caption": ["x", "y"], "answer": 1}]}, "answers of another task"),
    "times and sentences": (
        load_activitynet, AA | {"val_1.json": {"v_x": {"timestamps": [[1, 2]], "sentences": ["a", "b"]}}},
        r"val_1\.json, v_x: expected a time for each sentence, got 1 times and 2 sentences"),
    "no sentences": (
        load_activitynet, AA | {"val_1.json": AA["val_1.json"] | {"v_x": {"timestamps": []}}},
        "v_x: expected the key sentences, got timestamps"),
    "none but empty sentences": (
        load_activitynet, AA | {"val_1.json": {"v_x": {"timestamps": [[1, 2]], "sentences": [" "]}}},
        "v_x: expected a caption of v_x, got an empty one"),
    "a key twice": (
        load_activitynet, AA | {"val_1.json": '{"v_x": {"sentences": ["a"]}, "v_x": {"sentences": ["b"]}}'},
        r"val_1\.json: expected each key of an object once, got v_x twice"),
    "captions of a video no list": (
        load_msvd, XX | {"captions_msvd.json": {"a": ["x"], "b": 7}}, r"captions_msvd\.json, b: expected captions, or"),
    "no captions of a video": (
        load_msvd, XX | {"captions_msvd.json": {"a": []}}, "a: expected a caption of a, got none"),
    "no pickle": (
        load_msvd, LISTS | {"msvd_data/raw-captions.pkl": b"x"},
        "expected a pickle of a plain dict: .*captions_msvd.json"),
    "no words": (
        load_msvd, LISTS | {"msvd_data/raw-captions.pkl": pickle.dumps({"a": [["x", 3]]})},
        "a: expected a word as str"),
    "no lists": (
        load_msvd, {"captions_msvd.json": {"a": ["x"]}},
        r"train and test of MSVD; found captions_msvd\.json \(xpool\).*train_list\.txt"),
    "a mapping of three": (
        load_msvd, XX | {"youtube_mapping.txt": ["a b c"]}, r"youtube_mapping\.txt, line 1: expected two names"),
    "mapped twice": (
        load_msvd, XX | {"youtube_mapping.txt": ["a vid1", "b vid1"]}, "line 2: vid1 is mapped twice, first in line 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_with_its_place(annotated, name):
    load, files, message = DAMAGED[name]
    with pytest.raises(AnnotationError, match=message):
        load(annotated(files))


def test_empty_captions_and_repeated_annotations_are_noted(annotated):
    rows = descriptions(D["test"])
    data = load_didemo(annotated(DD | {"test_data.json": [*rows, rows[0]]}))
    assert "test_data.json: 1 rows repeat an annotation_id; all are taken" in data.notes
    captions = {video: said(video) for video in EVERY} | {"unlisted": ["x"]}
    captions[EVERY[0]] = ["", *captions[EVERY[0]]]
    data = load_msvd(annotated(XX | {"captions_msvd.json": captions}, "msvd"))
    assert list(data.train[0].captions) == said(EVERY[0])
    assert "captions_msvd.json: 1 empty captions left out" in data.notes
    assert "captions_msvd.json: 1 captioned videos are in no split" in data.notes


def test_validation_videos_that_are_test_videos_are_noted(annotated):
    data = load_didemo(annotated(DD | {"val_data.json": descriptions(D["test"])}))
    assert any("2 of 2 validation videos are test videos" in note for note in data.notes)


class Attack:
    def __reduce__(self):
        return os.mkdir, (os.environ["LITEVL_TEST_ATTACK"],)


def test_a_pickle_of_captions_runs_nothing(annotated, monkeypatch, tmp_path):
    monkeypatch.setenv("LITEVL_TEST_ATTACK", str(tmp_path / "ran"))
    with pytest.raises(AnnotationError, match=r"which is refused; use X-Pool's captions_msvd\.json instead"):
        load_msvd(annotated(LISTS | {"msvd_data/raw-captions.pkl": pickle.dumps({"a": [Attack()]})}))
    assert not (tmp_path / "ran").exists()


def test_a_folder_that_is_not_there(tmp_path):
    for load in (load_didemo, load_activitynet, load_msvd):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            load(tmp_path / "nowhere")
