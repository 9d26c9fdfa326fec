"""Every form of MSR-VTT's annotations, made up small, and the real lists where they are at hand."""

import csv
import io
import json
import os
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litevl.data.annotations import AnnotationError
from litevl.data.msrvtt import load_msrvtt
from litevl.data.plain_pickle import read_caption_indices

TRAIN, VAL, TEST = ["video0", "video1", "video2"], ["video3"], ["video4", "video5"]
ALL = [*TRAIN, *VAL, *TEST]


def captions(video, count=2):
    return [f"{video} shows thing {number}, in English" for number in range(count)]


def original(videos=ALL, split=True):
    splits = {**dict.fromkeys(TRAIN, "train"), **dict.fromkeys(VAL, "validate"), **dict.fromkeys(TEST, "test")}
    sentences = [(video, text) for number in range(2) for video in videos for text in [captions(video)[number]]]
    return {
        "info": {"year": "2016"},
        "videos": [
            {"video_id": video, "category": int(video[5:]), "start time": 1.5, "end time": 9.0, "id": int(video[5:])}
            | ({"split": splits[video]} if split else {})
            for video in videos
        ],
        "sentences": [
            {"sen_id": number, "video_id": video, "caption": text} for number, (video, text) in enumerate(sentences)
        ],
    }


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            path.write_text(json.dumps(content), encoding="utf-8")
    return root


def rows(videos, key="video", listed=False, count=2, extension=".mp4"):
    if listed:
        return [{key: video + extension, "caption": captions(video, count)} for video in videos]
    return [{key: video + extension, "caption": text} for video in videos for text in captions(video, count)]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def ids(videos, header=""):
    return header + "".join(f"{video}\n" for video in videos)


JSFUSION = "key,vid_key,video_id,sentence\n" + "".join(
    f'ret{number},msr{video[5:]},{video},"{captions(video)[1]}"\n' for number, video in enumerate(TEST)
)
PAIRS = {"MSRVTT_JSFUSION_test.csv": JSFUSION}
FROZEN = {
    "MSRVTT/annotation/MSR_VTT.json": {
        "annotations": [
            {"image_id": video, "id": number, "caption": text}
            for video in ALL
            for number, text in enumerate(captions(video))
        ]
    },
    "MSRVTT/high-quality/structured-symlinks/train_list_jsfusion.txt": ids(TRAIN + VAL),
    "MSRVTT/high-quality/structured-symlinks/val_list_jsfusion.txt": ids(TEST),
    "MSRVTT/high-quality/structured-symlinks/train_list_full.txt": ids(TRAIN),
    "MSRVTT/high-quality/structured-symlinks/val_list_full.txt": ids(VAL),
    "MSRVTT/high-quality/structured-symlinks/test_list_full.txt": ids(TEST),
    "MSRVTT/high-quality/structured-symlinks/jsfusion_val_caption_idx.pkl": pickle.dumps(dict.fromkeys(TEST, 1)),
}
HF = {
    "msrvtt_train_9k.json": [
        {"video_id": video, "video": f"{video}.mp4", "caption": captions(video), "category": 3} for video in TRAIN + VAL
    ],
    "msrvtt_test_1k.json": [
        {"video_id": video, "video": f"{video}.mp4", "caption": captions(video)[1]} for video in TEST
    ],
}
PICKS = "MSRVTT/high-quality/structured-symlinks/jsfusion_val_caption_idx.pkl"
LAYOUTS = {
    "clip4clip": (
        {"MSRVTT_data.json": original(), "MSRVTT_train.9k.csv": ids(TRAIN + VAL, "video_id\n"), **PAIRS},
        "clip4clip",
    ),
    "clip4clip in a folder": (
        {"msrvtt_data/MSRVTT_data.json": original(),
         "msrvtt_data/MSRVTT_train.9k.csv": ids(TRAIN + VAL, "video_id\r\n"),
         "msrvtt_data/MSRVTT_JSFUSION_test.csv": "\ufeff" + JSFUSION},
        "clip4clip",
    ),
    "original pair with the pairs, 9k by exclusion": (
        {"train_val_videodatainfo.json": original(TRAIN + VAL), "test_videodatainfo.json": original(TEST), **PAIRS},
        "clip4clip+original",
    ),
    "frozen": (FROZEN, "frozen"),
    "all-in-one": (
        {"MSR_VTT.json": FROZEN["MSRVTT/annotation/MSR_VTT.json"], "train_list_9k.txt": ids(TRAIN + VAL),
         "val_list_jsfusion.txt": ids(TEST), "jsfusion_val_caption_idx.pkl": pickle.dumps(dict.fromkeys(TEST, 1))},
        "frozen",
    ),
    "frozen with the csv": (
        {name: data for name, data in FROZEN.items() if not name.endswith(".pkl")} | PAIRS,
        "clip4clip+frozen",
    ),
    "jsonl": (
        {"msrvtt_ret/txt/train.jsonl": lines(rows(TRAIN + VAL, "clip_name", extension="")),
         "msrvtt_ret/txt/test.jsonl": lines(
             {"clip_name": v, "caption": captions(v)[1], "retrieval_key": "r"} for v in TEST)},
        "jsonl",
    ),
    "lavis": (
        {"msrvtt/annotations/retrieval_train.json": rows(TRAIN + VAL),
         "msrvtt/annotations/retrieval_test.json": [{"video": f"{v}.mp4", "caption": captions(v)[1]} for v in TEST]},
        "lavis",
    ),
    "singularity": (
        {"anno_downstream/msrvtt_ret_train9k.json": rows(TRAIN + VAL, listed=True),
         "anno_downstream/msrvtt_mc_test.json": [{"video": "video4.mp4", "caption": ["a", "b"], "answer": 1}],
         "anno_downstream/msrvtt_ret_test1k.json": [{"video": f"{v}.mp4", "caption": [captions(v)[1]]} for v in TEST]},
        "singularity",
    ),
    "hf": (HF, "hf"),
    "violet": (
        {"txt_msrvtt-retrieval.json": {
            "train": rows(TRAIN + VAL, extension=""), "val": rows(TEST, extension=""),
            "test": [{"video": v, "caption": captions(v)[1]} for v in TEST]}},
        "violet",
    ),
    "other names, known by keys": (
        {"my_train.json": HF["msrvtt_train_9k.json"], "my_test.json": HF["msrvtt_test_1k.json"],
         "train_qa.json": [{"question": "what?", "answer": "bike", "video_id": 0}], "order_pairs.csv": "video_id\nx\n"},
        "hf",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_form_gives_the_same_9k_and_1k_a(tmp_path, name):
    files, schema = LAYOUTS[name]
    data = load_msrvtt(write(tmp_path, files), "9k", "1k-A")
    assert [video.video_id for video in data.train] == TRAIN + VAL
    assert all(list(video.captions) == captions(video.video_id) for video in data.train)
    assert {video.video_id: video.captions for video in data.test} == {v: (captions(v)[1],) for v in TEST}
    assert data.val == ()
    assert "+".join(sorted(data.schema.split("+"))) == schema
    assert all(file.is_file() for file in data.files)
    assert any("train 9k has 4 videos and 8 captions, usually 9000 and 180000" in note for note in data.notes)
    assert any("test 1k-A has 2 videos" in note for note in data.notes)
    assert any("chosen on test" in note for note in data.notes)


@pytest.mark.parametrize("name", ["clip4clip", "original pair with the pairs, 9k by exclusion", "frozen"])
def test_full_has_a_validation_split_and_all_test_captions(tmp_path, name):
    files = dict(LAYOUTS[name][0])
    files.pop("MSRVTT_JSFUSION_test.csv", None)
    data = load_msrvtt(write(tmp_path, files), "full", "full")
    assert [[video.video_id for video in split] for split in (data.train, data.val, data.test)] == [TRAIN, VAL, TEST]
    assert all(len(video.captions) == 2 for video in data.test)


def test_7k_is_train_and_validation(tmp_path):
    for number, name in enumerate(["clip4clip", "frozen"]):
        root = write(tmp_path / str(number), LAYOUTS[name][0])
        assert [video.video_id for video in load_msrvtt(root, "7k", "1k-A").train] == TRAIN + VAL
    listed = {**LAYOUTS["clip4clip"][0], "MSRVTT_train.7k.csv": ids(TRAIN, "video_id\n")}
    assert len(load_msrvtt(write(tmp_path / "list", listed), "7k", "1k-A").train) == 3


def test_categories_and_evaluation_only(tmp_path):
    data = load_msrvtt(write(tmp_path, LAYOUTS["clip4clip"][0]), "full", "full")
    assert [video.category for video in data.train] == [0, 1, 2]
    alone = load_msrvtt(write(tmp_path / "alone", PAIRS), None, "1k-A")
    assert (alone.train, len(alone.test)) == ((), 2)


def test_an_explicit_format_and_what_is_passed_over(tmp_path):
    root = write(tmp_path, {**LAYOUTS["clip4clip"][0], **HF})
    assert load_msrvtt(root, "9k", "1k-A").schema == "clip4clip"
    data = load_msrvtt(root, "9k", "1k-A", format="hf")
    assert data.schema == "hf"
    assert data.train[0].category == 3
    assert any("MSRVTT_data.json" in note for note in data.notes)
    with pytest.raises(AnnotationError, match=r"found .*MSRVTT_data\.json"):
        load_msrvtt(root, "9k", "1k-A", format="lavis")


def test_training_on_test_videos_is_refused(tmp_path):
    files = {**LAYOUTS["clip4clip"][0], "MSRVTT_train.9k.csv": ids([*TRAIN, "video4"], "video_id\n")}
    with pytest.raises(AnnotationError, match=r"video4.*both in train and test"):
        load_msrvtt(write(tmp_path, files), "9k", "1k-A")
    with pytest.raises(AnnotationError, match="both in train and test"):
        load_msrvtt(
            write(tmp_path / "b", LAYOUTS["hf"][0] | {"msrvtt_test_1k.json": HF["msrvtt_train_9k.json"]}), "9k", "1k-A"
        )


def test_a_file_with_another_splits_count_is_not_taken_for_this_one(tmp_path):
    train = [{"clip_name": f"video{number}", "caption": "a cat"} for number in range(7010)]
    root = write(
        tmp_path, {"train.jsonl": lines(train), "test.jsonl": lines([{"clip_name": "video9999", "caption": "x"}])}
    )
    with pytest.raises(AnnotationError, match="expected the train split 9k, got 7010 videos, which is 7k"):
        load_msrvtt(root, "9k", "1k-A")
    data = load_msrvtt(root, "7k", "1k-A")
    assert len(data.train) == 7010


def test_validation_videos_that_are_test_videos_are_noted(tmp_path):
    files = {"retrieval_train.json": rows(TRAIN), "retrieval_val.json": rows(TEST), "retrieval_test.json": rows(TEST)}
    data = load_msrvtt(write(tmp_path, files), "full", "full")
    assert any("2 of 2 validation videos are test videos" in note for note in data.notes)


BASE = LAYOUTS["clip4clip"][0]


def changed(change):
    content = json.loads(json.dumps(original()))
    change(content)
    return {**BASE, "MSRVTT_data.json": content}


DAMAGED = {
    "bad json": ({**BASE, "MSRVTT_data.json": '{"videos": [\n1, }'}, r"MSRVTT_data\.json, line 2, column 4: .*JSON"),
    "cut json": ({**BASE, "MSRVTT_data.json": json.dumps(original())[:200]}, "expected JSON"),
    "not utf-8": ({**BASE, "MSRVTT_JSFUSION_test.csv": JSFUSION.encode() + b"\xff\xfe"}, "byte .*expected UTF-8"),
    "a list": ({**BASE, "MSRVTT_data.json": [1]}, "expected an object as dict"),
    "no sentences": (changed(lambda c: c.pop("sentences")), "expected the key sentences, got info, videos"),
    "sentences no list": (changed(lambda c: c.update(sentences={})), "sentences: expected a list as list"),
    "empty caption": (changed(lambda c: c["sentences"][3].update(caption=" ")), r"sentences\[3\]: .*an empty one"),
    "caption a number": (changed(lambda c: c["sentences"][3].update(caption=5)), r"sentences\[3\]: .*got 5"),
    "caption missing": (changed(lambda c: c["sentences"][3].pop("caption")), r"sentences\[3\]: expected the keys"),
    "id a list": (changed(lambda c: c["videos"][1].update(video_id=[1])), r"videos\[1\]: expected a video's id"),
    "id missing": (changed(lambda c: c["videos"][1].pop("video_id")), r"videos\[1\]: expected the key video_id"),
    "split a number": (changed(lambda c: c["videos"][1].update(split=1)), r"videos\[1\]: expected a split"),
    "category text": (changed(lambda c: c["videos"][1].update(category="a")), r"videos\[1\]: expected a category"),
    "video a text": (changed(lambda c: c["videos"].append("video9")), r"videos\[6\]: expected a video as dict"),
    "duplicate video": (changed(lambda c: c["videos"].append(c["videos"][0])), r"videos\[6\]: video0 is listed twice"),
    "sentence of nobody": (
        changed(lambda c: c["sentences"][0].update(video_id="video77")),
        r"sentences\[0\]: a sentence of video77, which is not among the videos",
    ),
    "unknown in list": (
        {**BASE, "MSRVTT_train.9k.csv": "video_id\nvideo0\nvideo88\n"},
        r"MSRVTT_train\.9k\.csv, video88: 1 of 2 listed videos have no captions",
    ),
    "listed twice": ({**BASE, "MSRVTT_train.9k.csv": "video_id\nvideo0\nvideo0\n"}, "line 3: video0 is listed twice"),
    "wrong header": ({**BASE, "MSRVTT_train.9k.csv": "id\nvideo0\n"}, "line 1: expected the columns video_id; got id"),
    "empty list": ({**BASE, "MSRVTT_train.9k.csv": "video_id\n"}, "expected a list of videos, got none"),
    "empty file": ({**BASE, "MSRVTT_train.9k.csv": ""}, "line 1: expected the columns video_id"),
    "unquoted comma": (
        {**BASE, "MSRVTT_JSFUSION_test.csv": "key,vid_key,video_id,sentence\nret0,msr4,video4,a dog, a cat\n"},
        "line 2: expected 4 fields",
    ),
    "pair twice": (
        {**BASE, "MSRVTT_JSFUSION_test.csv": "key,vid_key,video_id,sentence\nr,m,video4,a\nr,m,video4,b\n"},
        "line 3: video4 is listed twice; expected one caption",
    ),
    "bad jsonl": (
        {"train.jsonl": '{"clip_name": "video0", "caption": "a"}\n\n{bad}\n',
         "test.jsonl": lines(rows(TEST, "clip_name"))},
        r"train\.jsonl, line 3, column 2: expected JSON",
    ),
    "rows of nothing": (
        {"retrieval_train.json": [{"name": "a"}], "retrieval_test.json": rows(TEST)},
        r"row 0: expected a video .*got the keys name",
    ),
    "no captions in a list": (
        {"retrieval_train.json": [{"video": "a.mp4", "caption": []}], "retrieval_test.json": rows(TEST)},
        "row 0: expected a caption, got an empty one",
    ),
    "violet without test": (
        {"txt_msrvtt-retrieval.json": {"train": rows(TRAIN), "val": []}},
        "expected the split 'test', got train, val",
    ),
    "pick past the captions": (
        {**FROZEN, PICKS: pickle.dumps(dict.fromkeys(TEST, 9))},
        "video4: expected an index below 2, its number of captions, got 9",
    ),
    "no pick": (
        {**FROZEN, PICKS: pickle.dumps({"video4": 0})},
        "video5: expected the index of its caption",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_with_its_place(tmp_path, name):
    files, message = DAMAGED[name]
    with pytest.raises(AnnotationError, match=message) as caught:
        load_msrvtt(write(tmp_path, files), "9k", "1k-A")
    assert str(tmp_path) in str(caught.value)


class Attack:
    def __reduce__(self):
        return os.mkdir, (os.environ["LITEVL_TEST_ATTACK"],)


def test_a_pickle_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("LITEVL_TEST_ATTACK", str(tmp_path / "ran"))
    for number, content in enumerate([{"video4": Attack()}, [1, 2], {"video4": "a"}, {"video4": True}, {"video4": -1}]):
        path = tmp_path / f"{number}.pkl"
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(AnnotationError, match=r"use MSRVTT_JSFUSION_test\.csv instead"):
            read_caption_indices(path)
    assert not (tmp_path / "ran").exists()


def test_a_folder_without_annotations_says_what_is_usual(tmp_path):
    with pytest.raises(AnnotationError, match=r"no annotation file at all.*MSRVTT_data\.json"):
        load_msrvtt(tmp_path, "9k", "1k-A")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_msrvtt(tmp_path / "nowhere", "9k", "1k-A")


def test_the_real_lists(shared_data, tmp_path):
    root = shared_data / "msrvtt"
    data = load_msrvtt(root, None, "1k-A")
    assert len(data.test) == 1000
    assert not any("usually" in note for note in data.notes)
    train = (root / "MSRVTT_train.9k.csv").read_text().split()[1:]
    sentences = [{"video_id": video, "caption": "a made-up caption"} for video in train]
    content = {"videos": [{"video_id": video} for video in train], "sentences": sentences}
    for name in ("MSRVTT_train.9k.csv", "MSRVTT_JSFUSION_test.csv"):
        (tmp_path / name).write_bytes((root / name).read_bytes())
    data = load_msrvtt(write(tmp_path, {"MSRVTT_data.json": content}), "9k", "1k-A")
    assert len(data.train) == 9000
    assert not any("test 1k-A has" in note for note in data.notes)


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(lambda text: text.strip())
pools = st.dictionaries(st.integers(0, 9999).map("video{}".format), st.lists(texts, min_size=1, max_size=3), min_size=2)


@given(pools, st.randoms())
@settings(max_examples=25, deadline=None)
def test_what_is_written_in_any_form_is_what_is_read(tmp_path_factory, said, random):
    """Whatever characters captions have: commas, quotes, line ends, those that look like line ends, other scripts."""
    train, test = {**said}, {}
    for video in random.sample(sorted(said), random.randint(1, len(said) - 1)):
        test[video] = train.pop(video)[:1]
    split_rows = {
        split: [(video, text) for video in videos for text in videos[video]]
        for split, videos in (("train", train), ("test", test))
    }
    table = io.StringIO()
    header = ("key", "vid_key", "video_id", "sentence")
    csv.writer(table).writerows([header, *((0, 0, *row) for row in split_rows["test"])])
    asked = [{"video_id": v, "caption": text} for each in split_rows.values() for v, text in each]
    listed = [{"video_id": v, "split": "train" if v in train else "test"} for v in {**train, **test}]
    forms = {
        "clip4clip": {
            "MSRVTT_data.json": {"videos": listed, "sentences": asked},
            "MSRVTT_train.9k.csv": ids(train, "video_id\n"),
            "MSRVTT_JSFUSION_test.csv": table.getvalue(),
        },
        "jsonl": {
            f"{split}.jsonl": lines({"clip_name": v, "caption": text} for v, text in each)
            for split, each in split_rows.items()
        },
        "lavis": {
            f"retrieval_{split}.json": [{"video": f"{v}.mp4", "caption": text} for v, text in each]
            for split, each in split_rows.items()
        },
    }
    for schema, files in forms.items():
        data = load_msrvtt(write(tmp_path_factory.mktemp(schema), files), "9k", "1k-A")
        assert data.schema == schema
        for split, videos in ((data.train, train), (data.test, test)):
            read = {video.video_id: video.captions for video in split}
            assert read == {video: tuple(text.strip() for text in videos[video]) for video in videos}
