"""One's own data: columns under any of their names, splits, segments, caption modes, and LSMDC's lists."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litevl.data.annotations import AnnotationError, VideoCaptions
from litevl.data.own import load_own
from litevl.data.records import TEXT_KEYS, VIDEO_KEYS

ROWS = [("a", "a cat sits"), ("b", "a dog runs"), ("c", "rain falls")]


def table(rows, header=("video", "caption"), delimiter=","):
    return "".join(delimiter.join(map(str, row)) + "\n" for row in [header, *rows])


def objects(rows, video="video", text="caption"):
    return [{video: name, text: caption} for name, caption in rows]


def simple(videos):
    return [(video.video_id, video.captions) for video in videos]


TRAIN = {"train.csv": table([("t1", "one"), ("t2", "two")])}
EXPECTED = [(name, (text,)) for name, text in ROWS]


@pytest.mark.parametrize("video", [key for key in VIDEO_KEYS if key != "image"])
@pytest.mark.parametrize("text", TEXT_KEYS)
def test_columns_under_any_of_their_names_in_every_form(annotated, video, text):
    forms = {
        "test.csv": table(ROWS, (video, text)),
        "test.tsv": table(ROWS, (video, text), "\t"),
        "test.jsonl": objects(ROWS, video, text),
        "test.json": objects(ROWS, video, text),
    }
    for name, content in forms.items():
        root = annotated({**TRAIN, name: content}, name)
        data = load_own(root, "one")
        assert simple(data.test) == EXPECTED
        assert simple(data.train) == [("t1", ("one",)), ("t2", ("two",))]
        assert (data.dataset, data.caption_mode, data.val) == ("own data", "one", ())
        assert [path.name for path in data.files] == ["train.csv", name]
        assert data.notes == ("no validation videos: the last epoch counts; a best one could only be chosen on test",)
        alone = load_own(root, "one", training=False)
        assert (simple(alone.test), alone.train, alone.train_split, alone.notes) == (EXPECTED, (), None, ())


def test_a_column_says_the_split(annotated):
    rows = [("a", "one", "training"), ("b", "two", "Val"), ("c", "three", "test"), ("d", "four", "dev")]
    root = annotated({"anything.csv": table(rows, ("video", "caption", "split"))})
    data = load_own(root, "one")
    assert [[v.video_id for v in split] for split in (data.train, data.val, data.test)] == [["a"], ["b", "d"], ["c"]]
    assert data.notes == ()
    table_file = Path("anything.csv")
    given = load_own(root, "one", files={"train": table_file, "test": table_file})
    assert (given.train, given.val, given.test) == (data.train, data.val, data.test)
    other = annotated({"other.csv": table([("e", "five")])}) / "other.csv"
    mixed = load_own(root, "one", files={"train": other, "val": table_file, "test": table_file})
    assert simple(mixed.train) == [("e", ("five",))]
    assert "anything.csv: 1 rows of the split training are not used" in mixed.notes


def test_ids_paths_and_files(annotated):
    rows = [
        {"video": "cats/one.mp4", "text": "x"},
        {"video": "dogs/one.webm", "text": "y"},
        {"video_id": "third", "path": "./birds/b.mp4", "text": "z"},
        {"video_id": 7, "text": "w"},
        {"video_id": "v_AB.cd.mkv", "video": "v_AB.cd.mkv", "text": "v"},
    ]
    root = annotated({**TRAIN, "test.jsonl": rows})
    rows.append({"path": f"{root}/deep/down/x.mp4", "text": "u"})
    data = load_own(annotated({"test.jsonl": rows}), "one")
    assert [video.video_id for video in data.test] == ["cats/one", "dogs/one", "third", "7", "v_AB.cd", "deep/down/x"]
    assert [video.key for video in data.test] == [
        "cats/one.mp4", "dogs/one.webm", "birds/b.mp4", "7", "v_AB.cd.mkv", "deep/down/x.mp4",
    ]  # fmt: skip


def test_paths_are_below_the_folder_of_the_videos(annotated, tmp_path):
    videos = tmp_path / "clips"
    videos.mkdir()
    (tmp_path / "link").symlink_to(videos)
    rows = [{"path": f"{folder}/deep/{n}.mp4", "text": n} for n, folder in (("x", videos), ("y", tmp_path / "link"))]
    root = annotated({"test.jsonl": rows}, "tables")
    data = load_own(root, "one", training=False, videos=tmp_path / "link")
    assert [video.key for video in data.test] == ["deep/x.mp4", "deep/y.mp4"]
    with pytest.raises(AnnotationError, match=r"line 1: expected a video below .*/tables, got /.*/clips/deep/x\.mp4"):
        load_own(root, "one", training=False)


def test_segments_are_clips_of_their_own(annotated):
    rows = [("film.mp4", "first", 0, 2.5), ("film.mp4", "second", 2.5, 5), ("film.mp4", "the end", 60, ""),
            ("other.mp4", "all of it", "", "")]  # fmt: skip
    root = annotated({**TRAIN, "test.csv": table(rows, ("video", "caption", "start", "end"))})
    assert load_own(root, "one").test == (
        VideoCaptions("film@0.0-2.5", ("first",), file="film.mp4", start=0.0, end=2.5),
        VideoCaptions("film@2.5-5.0", ("second",), file="film.mp4", start=2.5, end=5.0),
        VideoCaptions("film@60.0-", ("the end",), file="film.mp4", start=60.0),
        VideoCaptions("other", ("all of it",), file="other.mp4"),
    )
    train = {"train.jsonl": [{"video": "film.mp4", "caption": "x", "start": 9, "end": None}]}
    data = load_own(annotated({"test.csv": (root / "test.csv").read_text(), **train}, "shared"), "one")
    assert "1 files give clips to both train and test, as film" in data.notes


def test_the_mode_says_what_several_captions_are(annotated):
    rows = [("a", "one"), ("b", "two"), ("a", "three")]
    root = annotated({**TRAIN, "test.csv": table(rows)})
    assert simple(load_own(root, "many").test) == [("a", ("one", "three")), ("b", ("two",))]
    assert simple(load_own(root, "paragraph").test) == [("a", ("one three",)), ("b", ("two",))]
    with pytest.raises(
        AnnotationError, match=r"test\.csv, line 4: expected one caption of a, .*in test\.csv, line 2\)"
    ):
        load_own(root, "one")
    listed = annotated({"train.jsonl": [{"video": "t", "captions": [" x ", "y"]}], "test.csv": table(ROWS)}, "listed")
    assert simple(load_own(listed, "one").train) == [("t", ("x", "y"))]
    assert simple(load_own(listed, "paragraph").train) == [("t", ("x y",))]


def test_what_is_odd_is_noted(annotated):
    rows = [("a", "one", 3, "x"), ("a", "one", 4, "y")]
    data = load_own(annotated({**TRAIN, "test.csv": table(rows, ("video", "caption", "likes", "who"))}), "many")
    assert "test.csv: columns not used: likes, who" in data.notes
    assert "test.csv: 1 captions are given twice for one clip; both are taken" in data.notes
    both = load_own(annotated({**TRAIN, "val.csv": table(ROWS), "test.csv": table(ROWS)}, "both"), "one")
    assert any("3 of 3 validation videos are test videos" in note for note in both.notes)


HEAD = "video,caption\n"
DAMAGED = {
    "no caption": ("test.csv", "video,title\na,b\n", r"line 2: expected a caption .*got the keys video, title"),
    "no video": ("test.csv", "clip,text\na,b\n", r"line 2: expected a video \(video_id, .*got the keys clip, text"),
    "two captions": ("test.csv", "video,caption,text\na,b,c\n", "one key for a caption, got caption and text; keep"),
    "a question": ("test.csv", "video,question,answer\na,b,c\n", "questions belong to video question answering"),
    "a long row": ("test.csv", HEAD + "a,b, and c\n", "line 2: expected 2 fields, got 3; quote texts that hold commas"),
    "a short row": ("test.tsv", "video\tcaption\na\n", "line 2: expected 2 fields, got 1; quote texts that hold tabs"),
    "a column twice": ("test.csv", "video,caption,caption\na,b,c\n", "line 1: expected columns of different names"),
    "an empty caption": ("test.csv", HEAD + "a, \n", "line 2: expected a caption, got an empty one"),
    "an empty video": ("test.csv", HEAD + " ,b\n", "line 2: expected a video's name or path below the root, got ' '"),
    "out of the root": ("test.csv", HEAD + "../a,b\n", r"line 2: expected a video's name .*got '\.\./a'"),
    "absolute": ("test.csv", HEAD + "/elsewhere/a.mp4,b\n", "expected a video below .*set videos to a folder"),
    "no rows": ("test.csv", HEAD, "expected rows of captioned videos, got none"),
    "an empty file": ("test.csv", "", "expected rows of captioned videos, got none"),
    "an object": ("test.json", {"a": ["x"]}, "expected a list of objects, got an object with the keys a"),
    "a text": ("test.json", "7", "expected rows, or an object, as list or dict, got 7"),
    "a row of text": ("test.json", ["a"], "row 0: expected a row as dict, got 'a'"),
    "a ragged row": ("test.jsonl", [*objects(ROWS), {"video": "x"}], r"line 4: expected a caption .*the keys video"),
    "a caption of a number": ("test.json", [{"video": "a", "caption": 7}], "row 0: expected a caption, .*got 7"),
    "a video of a list": ("test.json", [{"video": [], "caption": "x"}], r"row 0: expected a video as .*got \[\]"),
    "another split": ("test.csv", "video,caption,split\na,b,holdout\n", "line 2: expected the split .*got 'holdout'"),
    "no split in a row": (
        "test.json", [{"video": "a", "caption": "x", "split": "test"}, {"video": "b", "caption": "x"}],
        "row 1: expected a column split, or a file for each split; got a row without one"),
    "no test rows": ("test.csv", "video,caption,split\na,b,val\n", "expected test clips, got none in .*test_file"),
    "start after end": ("test.csv", "video,text,start,end\na,b,3,2\n", "line 2: expected start before end, got 3.0"),
    "no seconds": ("test.csv", "video,text,start\na,b,0:03\n", "line 2: expected start in seconds, .*got '0:03'"),
    "seconds below 0": ("test.csv", "video,text,end\na,b,-3\n", "line 2: expected end in seconds, as 12.5, got '-3'"),
    "true seconds": ("test.json", [{"video": "a", "text": "b", "end": True}], "row 0: expected end in seconds"),
    "one id, two files": (
        "test.csv", "video_id,path,text\na,x.mp4,1\na,y.mp4,2\n",
        r"line 3: a is the file y\.mp4 here, x\.mp4 in test\.csv, line 2"),
    "one file, two ids": (
        "test.csv", "video_id,path,text\na,x.mp4,1\nb,x.mp4,2\n",
        r"test\.csv, line 3: b is the same clip of x\.mp4 as a in test\.csv, line 2; give it one id"),
    "trained and tested on": ("test.csv", HEAD + "t1.mp4,x\n", "1 videos are both in train and test"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_with_its_place(annotated, name):
    file, content, message = DAMAGED[name]
    with pytest.raises(AnnotationError, match=message):
        load_own(annotated({**TRAIN, file: content}), "many")


def test_which_files_is_said(annotated, tmp_path):
    with pytest.raises(AnnotationError, match=r"expected train\.csv, .*got the tables none; give train_file"):
        load_own(tmp_path, "one")
    root = annotated({"a.csv": table(ROWS), "b.csv": table(ROWS)}, "two")
    with pytest.raises(AnnotationError, match=r"got the tables a\.csv, b\.csv"):
        load_own(root, "one")
    both = annotated({"test.csv": table(ROWS), "test.json": objects(ROWS)}, "both")
    with pytest.raises(AnnotationError, match=r"one file of the test split, got test\.csv and test\.json"):
        load_own(both, "one", training=False)
    unmarked = annotated({"a.csv": table(ROWS)}, "unmarked")
    with pytest.raises(AnnotationError, match="line 2: expected a column split, or a file for each split; got neither"):
        load_own(unmarked, "one")
    with pytest.raises(AnnotationError, match=r"nowhere\.csv: the file cannot be read"):
        load_own(unmarked, "one", files={"test": Path("nowhere.csv")})
    with pytest.raises(AnnotationError, match="expected train clips, got none"):
        load_own(unmarked, "one", files={"test": Path("a.csv")})
    with pytest.raises(FileNotFoundError, match="your data"):
        load_own(tmp_path / "nowhere", "one")
    assert simple(load_own(unmarked, "one", training=False, files={"test": Path("a.csv")}).test) == EXPECTED


TIMES = "00.00.51.926\t00.00.54.129\t00.00.51.926\t00.00.54.129"


def test_lsmdcs_lists(annotated):
    lines = [f'0001_Film_00.00.5{n}.926-00.00.54.129\t{TIMES}\tSOMEONE says "no {n}.' for n in (1, 1, 2)]
    test = f"1004_Other_Film_00.00.51.926-00.00.54.129\t{TIMES}\tHe runs.\n"
    files = {"train": Path("LSMDC16_annos_training.csv"), "test": Path("LSMDC16_challenge_1000_publictect.csv")}
    root = annotated({str(files["train"]): "\n".join(lines) + "\n", str(files["test"]): test})
    data = load_own(root, "one", files=files)
    assert data.schema == "lsmdc"
    assert data.train[0].captions == ('SOMEONE says "no 1.',) * 2
    assert data.test == (
        VideoCaptions(
            "1004_Other_Film_00.00.51.926-00.00.54.129",
            ("He runs.",),
            file="1004_Other_Film/1004_Other_Film_00.00.51.926-00.00.54.129",
        ),
    )
    assert (len(data.train), data.train[0].start, data.train[0].end) == (2, None, None)
    with pytest.raises(
        AnnotationError, match="line 2: expected a clip, four times and a sentence between tabs, got 'x'"
    ):
        load_own(annotated({str(files["train"]): lines[0] + "\nx\n", str(files["test"]): test}), "one", files=files)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcd"),
            st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=9),
            st.sampled_from([None, 0.0, 1.5]),
            st.sampled_from([None, 2.0, 7.25]),
        ),
        min_size=1,
    )
)
def test_no_caption_is_lost_and_each_clip_comes_once(tmp_path_factory, rows):
    root = tmp_path_factory.mktemp("own")
    header = ("video", "text", "start", "end")
    quoted = [
        (v, '"' + t.replace('"', '""') + '"', "" if s is None else s, "" if e is None else e) for v, t, s, e in rows
    ]
    (root / "test.csv").write_text(table(quoted, header), encoding="utf-8")
    data = load_own(root, "many", training=False)
    assert len({video.video_id for video in data.test}) == len(data.test) == len({(v, s, e) for v, _, s, e in rows})
    found = sorted((v.key, t, v.start or 0, v.end or math.inf) for v in data.test for t in v.captions)
    assert found == sorted((v, t, s or 0, e or math.inf) for v, t, s, e in rows)
