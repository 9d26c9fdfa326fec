"""Every form of MSRVTT-QA's and MSVD-QA's files and of a user's own, made up small."""

import json

import pytest

from litevl.data.annotations import AnnotationError
from litevl.data.paths import VideoFolder
from litevl.data.questions import VideoQuestion, load_questions, question_word, video_ids

ROWS = {
    "train": [(0, "what is a man fixing?", "bike"), (0, "who is fixing a bike?", "man"), (1, "how many cats?", "two")],
    "val": [(2, "where is the dog?", "car")],
    "test": [(3, "when does it rain?", "night"), (4, "does it rain?", "no")],
}
KINDS = {"train": ["what", "who", "how"], "val": ["where"], "test": ["when", "other"]}


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def each(split, make):
    return [make(number, *row) for number, row in enumerate(ROWS[split])]


def original(split, text=False, category=True):
    return each(
        split,
        lambda n, v, q, a: (
            {"answer": a, "id": 500 + n, "question": q, "video_id": str(v) if text else v}
            | ({"category_id": 9} if category else {})
        ),
    )


def lavis(split, stem="video"):
    return each(
        split,
        lambda n, v, q, a: {
            "video": f"{stem}{v}.mp4", "question": q, "answer": a, "answer_type": question_word(q), "question_id": n
        },
    )  # fmt: skip


def singularity(split):
    return each(split, lambda n, v, q, a: {"question_id": n, "video": f"video{v}.mp4", "question": q, "answer": a})


def alpro(split, stem="video"):
    rows = each(
        split,
        lambda n, v, q, a: {
            "answer": a,
            "question": q,
            "video_id": f"{stem}{v}",
            "answer_type": question_word(q),
        },
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


VOCAB = ["night", "no", "bike", "man", "two", "car"]


def violet(split, stem="video"):
    return each(split, lambda n, v, q, a: {"video": f"{stem}{v}", "question": q, "answer": VOCAB.index(a)})


def table(split, video="video_id"):
    rows = each(split, lambda n, v, q, a: f'"{q}",{a},video{v},{n}\n')
    return f"question,answer,{video},type\n" + "".join(rows)


MSRVTT = {
    "original": {f"{split}_qa.json": original(split) for split in ROWS},
    "original, digits as text, in its folder": {
        f"MSRVTT-QA/{split}_qa.json": original(split, text=True, category=False) for split in ROWS
    },
    "jsonl": {f"msrvtt_qa/txt/{split}.jsonl": alpro(split) for split in ROWS}
    | {f"msrvtt_ret/txt/{split}.jsonl": '{"clip_name": "video9", "caption": "a"}\n' for split in ROWS},
    "lavis": {f"msrvtt/annotations/qa_{split}.json": lavis(split) for split in ROWS}
    | {"msrvtt/annotations/retrieval_train.json": [{"video": "video9.mp4", "caption": "a"}]},
    "singularity": {f"anno_downstream/msrvtt_qa_{split}.json": singularity(split) for split in ROWS}
    | {f"anno_downstream/msvd_qa_{split}.json": [] for split in ROWS},
    "violet": {"txt_msrvtt-qa.json": {split: violet(split) for split in ROWS} | {"vocab": VOCAB}},
    "csv": {f"MSRVTT-QA/{split}.csv": table(split) for split in ROWS},
    "other names": {f"my-{split}-set.json": original(split) for split in ROWS}
    | {"train.csv": "video_id,sentence\nvideo1,a\n"},
}


@pytest.mark.parametrize("name", MSRVTT)
def test_every_form_of_msrvtt_qa_gives_the_same_questions(tmp_path, name):
    data = load_questions(write(tmp_path, MSRVTT[name]), "msrvtt")
    for split, rows in ROWS.items():
        questions = getattr(data, split)
        assert [(q.video_id, q.question, q.answer) for q in questions] == [(f"video{v}", q, a) for v, q, a in rows]
        assert [question.kind for question in questions] == KINDS[split]
        assert len({question.question_id for question in questions}) == len(rows)
        usual = {"train": 158581, "val": 12278, "test": 72821}[split]
        assert f"{split} has {len(rows)} questions, usually {usual}" in data.notes
    assert data.schema == {"original, digits as text, in its folder": "original", "other names": "own"}.get(name, name)
    assert data.dataset == "msrvtt"
    assert all(file.is_file() for file in data.files)
    assert any("VIOLET" in note for note in data.notes) == (name == "violet")


def test_a_question_is_as_the_file_says(tmp_path):
    (question, *_) = load_questions(write(tmp_path, MSRVTT["original"]), "msrvtt").train
    assert question == VideoQuestion("500", "video0", "what is a man fixing?", "bike", "what")
    with pytest.raises(AttributeError):
        question.answer = "car"
    rows = [row | {"answer_type": "Repeated Action"} for row in lavis("test")]
    data = load_questions(write(tmp_path / "typed", {"qa_test.json": rows}), "msrvtt", training=False)
    assert {question.kind for question in data.test} == {"repeated_action"}


def test_the_first_word_is_the_type():
    asked = ["What's up?", " who is it", "WHERE?", "how", "when, then?", "which one?", "whose dog?", "", "5 dogs?"]
    assert [question_word(each) for each in asked] == ["what", "who", "where", "how", "when", *["other"] * 4]


MAPPING = "".join(f"Abc_-{number}XYZ_5_15 vid{number}\n" for number in range(5))
MSVD = {
    "original": {f"MSVD-QA/{split}_qa.json": original(split, category=False) for split in ROWS},
    "jsonl": {f"msvd_qa/txt/{split}.jsonl": alpro(split, "vid") for split in ROWS},
    "lavis": {f"msvd/annotations/qa_{split}.json": lavis(split, "vid") for split in ROWS},
    "violet": {"txt_msvd-qa.json": {split: violet(split, "vid") for split in ROWS} | {"vocab": VOCAB}},
}


@pytest.mark.parametrize("name", MSVD)
def test_msvds_numbers_lead_to_files_through_the_mapping(tmp_path, name):
    files = {**MSVD[name], "youtube_mapping.txt": MAPPING, "YouTubeClips/Abc_-0XYZ_5_15.avi": ""}
    data = load_questions(write(tmp_path, files), "msvd")
    assert [question.video_id for question in data.test] == ["Abc_-3XYZ_5_15", "Abc_-4XYZ_5_15"]
    assert VideoFolder(tmp_path).resolve(data.train[0].video_id) == tmp_path / "YouTubeClips/Abc_-0XYZ_5_15.avi"
    assert data.files[-1].name == "youtube_mapping.txt"
    assert data.schema == name


def test_msvd_under_numbered_names_or_with_file_names_in_the_rows(tmp_path):
    files = {**MSVD["original"], "youtube_mapping.txt": MAPPING, "videos/vid0.avi": ""}
    data = load_questions(write(tmp_path / "a", files), "msvd")
    assert video_ids(data.train) == ("vid0", "Abc_-1XYZ_5_15")
    files = {**MSVD["original"], "youtube_mapping.txt": MAPPING}
    elsewhere = write(tmp_path / "elsewhere", {"vid0.avi": ""})
    data = load_questions(write(tmp_path / "annotations", files), "msvd", videos=elsewhere)
    assert video_ids(data.train) == ("vid0", "Abc_-1XYZ_5_15")
    data = load_questions(write(tmp_path / "b", MSVD["original"]), "msvd")
    assert video_ids(data.test) == ("vid3", "vid4")
    assert any("no youtube_mapping.txt" in note for note in data.notes)
    rows = [{"video": "Abc_-9XYZ_5_15.avi", "question": "what?", "answer": "a", "question_id": 0}]
    files = {"msvd_qa_test.json": rows, "youtube_mapping.txt": MAPPING}
    data = load_questions(write(tmp_path / "c", files), "msvd", training=False)
    assert video_ids(data.test) == ("Abc_-9XYZ_5_15",)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (MAPPING.replace("vid4", "vid7"), r"test_qa\.json, vid4: 1 of 2 videos are not in .*youtube_mapping\.txt"),
        ("Abc\n", r"youtube_mapping\.txt, line 1: expected a video's name and its id, as vid1300, got 'Abc'"),
        ("vid1 Abc\n", "line 1: expected a video's name and its id"),
        (MAPPING + "X vid1\n", "line 6: vid1 is there twice"),
        (MAPPING + "Abc_-1XYZ_5_15 vid9\n", "line 6: Abc_-1XYZ_5_15 is there twice"),
    ],
)
def test_a_mapping_that_does_not_fit_is_named(tmp_path, mapping, message):
    with pytest.raises(AnnotationError, match=message):
        load_questions(write(tmp_path, {**MSVD["original"], "youtube_mapping.txt": mapping}), "msvd")


OWN = {
    "json": {f"{split}-questions.json": [
        {"file": f"day/{v}.MP4", "question": q, "answer": a} for v, q, a in ROWS[split]] for split in ROWS},
    "jsonl": {f"{split}.jsonl": "".join(
        json.dumps({"path": f"day/{v}.mp4", "question": q, "answer": a}) + "\n" for v, q, a in ROWS[split])
        for split in ROWS},
    "csv": {f"qa.{split}.csv": "question,video,answer\r\n" + "".join(
        f'"{q}",day/{v}.mp4,{a}\r\n' for v, q, a in ROWS[split]) for split in ROWS},
    "one file": {"all.json": {split: [
        {"clip_name": f"day/{v}", "question": q, "answer": a} for v, q, a in ROWS[split]] for split in ROWS}},
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_own_files_keep_the_path_below_the_root(tmp_path, name):
    write(tmp_path, {**OWN[name], "day/0.mp4": "", "notes.json": {"a": 1}, "vocab.json": ["a"], "readme.txt": "x"})
    data = load_questions(tmp_path, "own")
    for split, rows in ROWS.items():
        got = [(q.video_id, q.question, q.answer) for q in getattr(data, split)]
        assert got == [(f"day/{v}", q, a) for v, q, a in rows]
        assert [question.question_id for question in getattr(data, split)] == [str(n) for n in range(len(rows))]
    assert VideoFolder(tmp_path).resolve(data.train[0].video_id) == tmp_path / "day/0.mp4"
    assert not any("usually" in note for note in data.notes)
    assert [file.name for file in data.answer_files] == ["vocab.json"]


def test_own_absolute_paths_lie_below_the_root(tmp_path):
    row = {"video_id": "b", "path": str(tmp_path / "a" / "b.mp4"), "question": "what?", "answer": "a"}
    data = load_questions(write(tmp_path, {"test.json": [row]}), "own", training=False)
    assert video_ids(data.test) == ("a/b",)
    for path in ("/elsewhere/a.mp4", "../a.mp4", "", "a/../../b.mp4"):
        with pytest.raises(AnnotationError, match=r"row 0: expected a video's path below"):
            load_questions(write(tmp_path, {"test.json": [row | {"path": path}]}), "own", training=False)


def test_questions_to_evaluate_need_no_training_file(tmp_path):
    data = load_questions(write(tmp_path / "a", {"qa_test.json": lavis("test")}), "msrvtt", training=False)
    assert (data.train, data.val, len(data.test)) == ((), (), 2)
    assert not any("chosen on test" in note for note in data.notes)
    with pytest.raises(AnnotationError, match=r"questions to train and test on; found qa_test\.json\. Usual are"):
        load_questions(tmp_path / "a", "msrvtt")
    rows = [{"video": "a.mp4", "question": "what?", "answer": "a"}]
    assert len(load_questions(write(tmp_path / "b", {"mine.json": rows}), "own", training=False).test) == 1
    with pytest.raises(AnnotationError, match=r"found mine\.json.*with train, val or test in their names"):
        load_questions(tmp_path / "b", "own")
    write(tmp_path / "b", {"more.json": rows})
    with pytest.raises(AnnotationError, match="questions to test on"):
        load_questions(tmp_path / "b", "own", training=False)


def test_forms_side_by_side(tmp_path):
    root = write(tmp_path, {**MSRVTT["original"], **MSRVTT["lavis"], "train_ans2label.json": {"a": 0}})
    data = load_questions(root, "msrvtt")
    assert data.schema == "original"
    assert any("not used" in note and "qa_train.json" in note for note in data.notes)
    assert [file.name for file in data.answer_files] == ["train_ans2label.json"]
    assert load_questions(root, "msrvtt", "lavis").schema == "lavis"
    with pytest.raises(AnnotationError, match="test on in jsonl files; found test_qa"):
        load_questions(root, "msrvtt", "jsonl")
    mixed = write(tmp_path / "mixed", {"train_qa.json": original("train"), "qa_test.json": lavis("test")})
    data = load_questions(mixed, "msrvtt")
    assert data.schema == "original+lavis"
    assert any("chosen on test" in note for note in data.notes)


def test_another_datasets_counts_are_recognised(tmp_path):
    rows = [{"video_id": n % 520, "id": n, "question": "what?", "answer": "a"} for n in range(13157)]
    root = write(tmp_path, {"test_qa.json": rows})
    with pytest.raises(AnnotationError, match=r"expected msrvtt's test questions, got 13157, which is .*msvd's test"):
        load_questions(root, "msrvtt", training=False)
    assert not any("usually" in note for note in load_questions(root, "msvd", training=False).notes)


def test_questions_that_were_dropped_show_in_the_count(tmp_path):
    rows = [{"video": "vid1", "question": "what?", "answer": 0}] * 11983
    root = write(tmp_path, {"txt_msvd-qa.json": {"test": rows, "vocab": ["a"]}})
    notes = load_questions(root, "msvd", training=False).notes
    assert "test has 11983 questions, usually 13157" in notes


def test_leaks_are_refused_or_said(tmp_path):
    files = MSRVTT["original"]
    for split in ("test", "val"):
        with pytest.raises(AnnotationError, match=rf"video0: 1 videos are both in train and {split}"):
            load_questions(write(tmp_path / split, {**files, f"{split}_qa.json": original("train")[:1]}), "msrvtt")
    data = load_questions(write(tmp_path / "same", {**files, "val_qa.json": original("test")}), "msrvtt")
    assert any("2 of 2 validation videos are test videos" in note for note in data.notes)


def test_in_own_data_a_known_video_is_noted_and_a_known_question_refused(tmp_path):
    row = {"video": "a.mp4", "question": "what?", "answer": "a"}
    files = {"train.json": [row], "test.json": [row | {"question": "who?"}]}
    notes = load_questions(write(tmp_path, files), "own").notes
    assert any("1 videos are both in train and test" in note for note in notes)
    with pytest.raises(AnnotationError, match="a: 1 questions are both in train and test"):
        load_questions(write(tmp_path, {**files, "test.json": [row]}), "own")


def changed(**change):
    rows = original("test")
    rows[1] = {key: value for key, value in (rows[1] | change).items() if value is not ...}
    return {**MSRVTT["original"], "test_qa.json": rows}


DAMAGED = {
    "no question": (changed(question=...), r"test_qa\.json, row 1: expected a question, an answer and a video"),
    "no answer": (changed(answer=...), "row 1: expected a question, an answer .*got the keys"),
    "no video": (
        changed(video_id=...),
        r"row 1: .*\(video_id, video, video_name, clip_name, path, file\), got the keys answer",
    ),
    "empty question": (changed(question=" "), "row 1: expected the question, got an empty one; take the row out"),
    "empty answer": (changed(answer=""), "row 1: expected the answer, got an empty one"),
    "question a number": (changed(question=3), "row 1: expected the question as str, got 3"),
    "answer an index": (changed(answer=3), r"row 1: expected the answer \(an index needs the vocabulary .*got 3"),
    "answer a list": (changed(answer=["a"]), "row 1: expected the answer as str"),
    "answer true": (changed(answer=True), "row 1: expected the answer .*got True"),
    "video a list": (changed(video_id=[1]), "row 1: expected a video's id as str or int"),
    "video empty": (changed(video_id=""), "row 1: expected a video's id, got ''"),
    "video below zero": (changed(video_id=-3), "row 1: expected a video's id, got -3"),
    "id twice": (changed(id=500), r"row 1: the question's id 500 is there twice, first in row 0"),
    "id missing": (changed(id=...), "row 1: expected a question's id as other rows have"),
    "id a list": (changed(id=[1]), "row 1: expected a question's id as str or int"),
    "row a text": ({**MSRVTT["original"], "test_qa.json": [*original("test"), "x"]}, "row 2: expected a row as dict"),
    "rows a text": ({**MSRVTT["original"], "test_qa.json": '"x"'}, "expected the rows as list, got 'x'"),
    "no rows": ({**MSRVTT["original"], "test_qa.json": []}, r"test_qa\.json, test: expected questions, got none"),
    "no json": ({**MSRVTT["original"], "test_qa.json": "[\n{"}, r"test_qa\.json, line 2, column 2: expected JSON"),
    "no utf-8": ({**MSRVTT["original"], "test_qa.json": b"\xff\xfe"}, "byte 0: expected UTF-8"),
    "index past the vocabulary": (
        {"txt_msrvtt-qa.json": {s: violet(s) for s in ROWS} | {"vocab": VOCAB[:3]}},
        r"txt_msrvtt-qa\.json, train row 1: expected an index into the 3 answers of vocab, got 3",
    ),
    "vocabulary twice": (
        {"txt_msrvtt-qa.json": {s: violet(s) for s in ROWS} | {"vocab": ["a", "a"]}},
        "vocab: expected answers, each once, got 'a' twice",
    ),
    "csv row too long": (
        {**MSRVTT["csv"], "MSRVTT-QA/test.csv": "question,answer,video_id\nwhat, now?,a,b\n"},
        r"test\.csv, line 2: expected 3 fields",
    ),
    "csv without video": (
        {**MSRVTT["csv"], "MSRVTT-QA/test.csv": "question,answer\nwhat?,a\n"},
        r"line 2: .*got the keys question, answer",
    ),
    "bad line": (
        {**MSRVTT["jsonl"], "msrvtt_qa/txt/test.jsonl": alpro("test") + "{bad}\n"},
        r"test\.jsonl, line 3, column 2: expected JSON",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_with_its_place(tmp_path, name):
    files, message = DAMAGED[name]
    with pytest.raises(AnnotationError, match=message) as caught:
        load_questions(write(tmp_path, files), "msrvtt")
    assert str(tmp_path) in str(caught.value)


def test_a_folder_without_questions_says_what_is_usual(tmp_path):
    with pytest.raises(AnnotationError, match=r"no file of questions at all.*train_qa\.json"):
        load_questions(tmp_path, "msrvtt")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_questions(tmp_path / "nowhere", "msvd")


def test_own_questions_may_be_about_segments(tmp_path):
    rows = "video,question,answer,start,end\nc,what first?,a,,2\nc,what then?,b,2,4.5\nd,what?,c,,\n"
    files = {"train.csv": rows.replace("c,what", "e,what").replace("d,what", "f,what"), "test.csv": rows}
    data = load_questions(write(tmp_path, files), "own")
    assert [(q.video_id, q.start, q.end) for q in data.test] == [("c", None, 2.0), ("c", 2.0, 4.5), ("d", None, None)]
    (tmp_path / "test.csv").write_text(rows.replace("2,4.5", "5,4.5"))
    with pytest.raises(AnnotationError, match=r"test\.csv, line 3: expected start before end, got 5\.0 and 4\.5"):
        load_questions(tmp_path, "own")
    (tmp_path / "test.csv").write_text(rows.replace("2,4.5", "soon,4.5"))
    with pytest.raises(AnnotationError, match=r"expected start in seconds, as 12\.5, got 'soon'"):
        load_questions(tmp_path, "own")


def activitynet(split, answers=True):
    """ActivityNet-QA's pair of files, (e) of its schemas."""
    names = {"train": ("aaaaaaaaaaa", "bbbbbbbbbbb"), "val": ("ccccccccccc",), "test": ("ddddddddddd",)}[split]
    asked = [
        {"video_name": name, "question": "is the person indoors", "question_id": f"v_{name}_{n}"}
        for name in names
        for n in range(2)
    ]
    said = [{"answer": "yes", "type": 3, "question_id": row["question_id"]} for row in reversed(asked)]
    return {f"{split}_q.json": asked, **({f"{split}_a.json": said} if answers else {})}


def test_activitynets_questions_and_answers_come_from_a_pair_of_files(tmp_path):
    files = {name: rows for split in ("train", "val", "test") for name, rows in activitynet(split).items()}
    data = load_questions(write(tmp_path, {**files, "videos/v_ddddddddddd.mkv": ""}), "activitynet")
    assert (len(data.train), len(data.val), len(data.test)) == (4, 2, 2)
    first = data.test[0]
    assert (first.question_id, first.video_id, first.kind) == ("v_ddddddddddd_0", "ddddddddddd", "yes_no")
    assert (first.question, first.answer, data.schema) == ("is the person indoors", "yes", "paired")
    assert VideoFolder(tmp_path).resolve(first.video_id).name == "v_ddddddddddd.mkv"
    assert "test has 2 questions, usually 8000" in data.notes


def test_a_question_without_its_answer_is_named(tmp_path):
    files = {**activitynet("train"), **activitynet("test")}
    gone = files["test_a.json"].pop()
    with pytest.raises(AnnotationError, match=rf"test_a\.json, {gone['question_id']}: expected an answer"):
        load_questions(write(tmp_path, files), "activitynet")
    files["test_a.json"] += [files["test_a.json"][0]]
    with pytest.raises(AnnotationError, match="twice"):
        load_questions(write(tmp_path, files), "activitynet")
