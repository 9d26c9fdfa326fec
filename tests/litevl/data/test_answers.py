"""Answer lists from training answers or files, and accuracies worked out by hand."""

import json

import numpy as np
import pytest

from litevl.bootstrap import bootstrap_interval
from litevl.data.annotations import AnnotationError
from litevl.data.answers import AnswerList, normalized, qa_metrics, right_answers
from litevl.data.questions import VideoQuestion


def asked(*answers, kinds=None):
    return [
        VideoQuestion(str(number), f"video{number // 2}", "what?", answer, kinds[number] if kinds else "what")
        for number, answer in enumerate(answers)
    ]


TRAIN = asked("man", "bike", "bike", "man", "dog", "cat", "cat", "bike", "zoo")


def test_the_list_is_the_training_answers_by_count_then_by_alphabet():
    assert AnswerList.from_training(TRAIN).answers == ("bike", "cat", "man")
    assert AnswerList.from_training(TRAIN, 2).answers == ("bike", "cat")
    assert AnswerList.from_training(TRAIN, 4).answers == ("bike", "cat", "man", "dog")
    assert len(AnswerList.from_training(TRAIN, 1500)) == 5
    assert AnswerList.from_training(list(reversed(TRAIN)), 4) == AnswerList.from_training(TRAIN, 4)
    assert AnswerList.from_training(TRAIN, 4).stamp() == {
        "answers": 4,
        "answer_source": "training answers by frequency (at most 4)",
        "answer_notes": [],
    }
    assert AnswerList.from_training(TRAIN).source == "training answers that occur twice or more"


def test_spellings_are_one_answer():
    answers = AnswerList.from_training(asked("Man", " man", "old  Man", "old man"))
    assert answers.answers == ("man", "old man")
    assert "OLD MAN" in answers
    assert (answers.index("Man "), answers.index("dog")) == (0, None)
    assert 3 not in answers
    assert normalized(" Two\tWords ") == "two words"


def test_no_list_is_made_of_nothing():
    with pytest.raises(ValueError, match=r"occur twice or more, got none among 2 questions; give the list's size"):
        AnswerList.from_training(asked("a", "b"))
    with pytest.raises(ValueError, match="size of at least 1, got 0"):
        AnswerList.from_training(TRAIN, 0)
    with pytest.raises(ValueError, match="'man' 2 times"):
        AnswerList(("man", "Man"), "by hand")
    with pytest.raises(ValueError, match="got none"):
        AnswerList((), "by hand")


@pytest.mark.parametrize(
    "content", [["bike", "man", "cat"], {"man": 1, "cat": 2, "bike": 0}, {"vocab": ["bike", "man", "cat"], "test": []}]
)
def test_a_file_gives_the_list_in_its_order(tmp_path, content):
    path = tmp_path / "train_ans2label.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    answers = AnswerList.from_file(path, TRAIN)
    assert answers.answers == ("bike", "man", "cat")
    assert answers.source == "file train_ans2label.json"
    assert answers.notes == ()


def test_a_list_with_answers_that_training_lacks_is_a_leak_that_is_said(tmp_path):
    path = tmp_path / "answer_list.json"
    path.write_text(json.dumps(["bike", "sheep", "oboe", "man"]), encoding="utf-8")
    (note,) = AnswerList.from_file(path, TRAIN).notes
    assert note.startswith("2 of the 4 answers of answer_list.json never occur in training (sheep, oboe): ")
    test = asked("bike", "sheep", "oboe", "man", "man")
    leak, whole = AnswerList.from_file(path, TRAIN, test).notes
    assert "(sheep, oboe), 2 of them are test answers" in leak
    assert "is the set of the test answers: the ceiling is 100" in whole


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("bike", "expected answers as list or dict, got 'bike'"),
        ([], "expected answers, each once, got none"),
        (["a", "b", "a"], "'a' twice"),
        (["a", "A"], "'a' in two spellings"),
        (["a", " "], "got an empty one"),
        (["a", 3], "expected the answer .*got 3"),
        ({"a": 0, "b": 2}, r"expected the indices 0 to 1, each once, got \[0, 2\]"),
        ({"a": "0"}, "'a': expected an answer's index as int"),
    ],
)
def test_a_file_that_is_no_list_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "ans2label.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(AnnotationError, match=message) as caught:
        AnswerList.from_file(path, TRAIN)
    assert str(path) in str(caught.value)


def test_accuracy_by_hand():
    questions = asked("bike", "man", "zoo", "cat", "2", kinds=["what", "who", "where", "what", "how"])
    answers = AnswerList.from_training(TRAIN)
    result = qa_metrics(["bike", "cat", "zoo", "Cat ", None], questions, answers)
    # zoo and 2 are outside the list: wrong, though zoo was said.
    assert result == {
        "accuracy": 40.0,
        "questions": 5,
        "ceiling": 60.0,
        "accuracy_what": 100.0,
        "questions_what": 2,
        "ceiling_what": 100.0,
        "accuracy_who": 0.0,
        "questions_who": 1,
        "ceiling_who": 100.0,
        "accuracy_how": 0.0,
        "questions_how": 1,
        "ceiling_how": 0.0,
        "accuracy_where": 0.0,
        "questions_where": 1,
        "ceiling_where": 0.0,
        "answered": 4,
        "answers": 3,
    }
    assert list(result)[3::3] == ["accuracy_what", "accuracy_who", "accuracy_how", "accuracy_where", "answered"]
    assert answers.ceiling(questions) == 60.0


def test_without_a_list_any_wording_that_is_right_counts():
    questions = asked("zoo", "bike", kinds=["where", "color"])
    assert qa_metrics({"1": "car", "0": "zoo"}, questions) == {
        "accuracy": 50.0,
        "questions": 2,
        # A type of the file's own stands beside the question's word, and in its place where it is such a word.
        "accuracy_what": 0.0,
        "questions_what": 1,
        "accuracy_where": 100.0,
        "questions_where": 1,
        "accuracy_color": 0.0,
        "questions_color": 1,
        "answered": 2,
    }


def test_every_question_is_in_the_denominator():
    questions = asked("bike", "man", "cat")
    assert qa_metrics([None, None, "cat"], questions)["accuracy"] == pytest.approx(100 / 3)
    for predictions in (["bike", "man"], ["bike", "man", "cat", "cat"], "man"):
        with pytest.raises(ValueError, match="one prediction for each of 3 questions"):
            qa_metrics(predictions, questions)
    with pytest.raises(ValueError, match=r"no prediction for 1, 2 \(2\); give None"):
        qa_metrics({"0": "bike"}, questions)
    with pytest.raises(ValueError, match=r"predictions for unknown 7 \(1\)"):
        qa_metrics({"0": "bike", "1": "a", "2": "b", "7": "x"}, questions)
    with pytest.raises(ValueError, match="id once, got some twice"):
        qa_metrics({"0": "bike"}, [questions[0], questions[0]])
    with pytest.raises(ValueError, match="got none"):
        qa_metrics([], [])
    with pytest.raises(ValueError, match="got none"):
        AnswerList(("a",), "by hand").ceiling([])


def test_no_accuracy_is_above_its_ceiling():
    questions = asked("bike", "zoo", "dog", "man")
    answers = AnswerList.from_training(TRAIN)
    result = qa_metrics([question.answer for question in questions], questions, answers)
    assert result["accuracy"] == result["ceiling"] == 50.0


def test_right_answers_go_into_the_bootstrap_by_video():
    questions = asked("a", "a", "b", "b")
    right = right_answers(["a", "a", "a", "a"], questions)
    assert right.tolist() == [True, True, False, False]
    interval = bootstrap_interval(
        100.0 * right, lambda r: float(np.mean(r)), resamples=50, groups=[question.video_id for question in questions]
    )
    assert (interval.value, interval.low, interval.high) == (50.0, 0.0, 100.0)
