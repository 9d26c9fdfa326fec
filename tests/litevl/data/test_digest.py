"""What tells the data of two results apart, and what does not."""

import csv

import pytest

from litevl.corpus import CorpusConfig, ensure_corpus
from litevl.data.digest import digest_of
from litevl.data.question_answering import QuestionDataConfig, load_question_data
from litevl.data.retrieval import RetrievalDataConfig, load_retrieval_data

ROWS = {"train": [("a", "a dog"), ("b", "a cat")], "test": [("c", "a bird"), ("d", "A  fish")]}


def own(folder, **changes):
    """Own data in a folder: the stamp."""
    folder.mkdir()
    for split, rows in {**ROWS, **changes}.items():
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("video", "caption"), *rows])
        for name, _ in rows:
            (folder / f"{name}.mp4").touch()
    config = RetrievalDataConfig(root=folder, dataset="own", caption_mode="many")
    return load_retrieval_data(config, progress=False).stamp()["data_digest"]


def test_order_capitals_and_space_say_nothing():
    one = digest_of([("a", ("x", "y")), ("b", ("A  z",))])
    assert one == digest_of([("b", ("a z ",)), ("a", ("x", "y"))])
    assert (
        len({one, digest_of([("a", ("y", "x")), ("b", ("a z",))]), digest_of([("a", ("x",)), ("b", ("y", "z"))])}) == 3
    )
    assert digest_of([("ab", ("c",))]) != digest_of([("a", ("bc",))])


def test_equal_data_in_two_folders_has_one_digest(tmp_path):
    first = own(tmp_path / "one")
    assert set(first) == {"train", "test"}, "of splits that hold something"
    assert first == own(tmp_path / "two", test=[("d", "a fish"), ("c", "a bird")])


@pytest.mark.parametrize("rows", [[("c", "a bird"), ("d", "a whale")], [("c", "a bird"), ("e", "A  fish")]])
def test_another_caption_or_video_has_another(tmp_path, rows):
    first, other = own(tmp_path / "one"), own(tmp_path / "two", test=rows)
    assert (first["train"] == other["train"], first["test"] == other["test"]) == (True, False)


def test_questions_and_answers_are_told_apart(tmp_path):
    config = CorpusConfig(train_families=2, validate_families=1, test_families=1)
    corpus = ensure_corpus(tmp_path, config, progress=False)
    first = load_question_data(QuestionDataConfig(root=corpus), progress=False).stamp()["data_digest"]
    assert set(first) == {"train", "val", "test"}
    path = corpus / "test_qa.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"answer": "', '"answer": "not ', 1), encoding="utf-8")
    other = load_question_data(QuestionDataConfig(root=corpus), progress=False).stamp()["data_digest"]
    assert (first["train"] == other["train"], first["test"] == other["test"]) == (True, False)
