"""The answers a model chooses from, and the accuracy of what it chose, in plain Python and numpy.

The list is made of the answers of the training questions. A test question whose answer is not in it counts as wrong,
whatever is said to it: leaving it out, or making the list of the answers of the split under test, would raise the
accuracy without a better model. How many such questions there are is the ceiling, which stands beside each accuracy.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from litevl.data.annotations import AnnotationError, read_json
from litevl.data.question_files import QUESTION_WORDS, VideoQuestion, listed_answers, question_word

Predictions = Mapping[str, str | None] | Sequence[str | None]


def normalized(answer: str) -> str:
    """The answer as it is compared: lower case, single blanks."""
    return " ".join(answer.lower().split())


@dataclass(frozen=True)
class AnswerList:
    """The answers to choose from.

    Attributes:
        answers: normalized, each once.
        source: how the list was made, for the protocol of a result.
        notes: what a reader of results should know of it.
    """

    answers: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        twice = [answer for answer, count in Counter(map(normalized, self.answers)).items() if count > 1]
        if twice or not self.answers:
            came = f"{twice[0]!r} {Counter(map(normalized, self.answers))[twice[0]]} times" if twice else "none"
            raise ValueError(f"expected answers, each once, got {came}")
        object.__setattr__(self, "answers", tuple(map(normalized, self.answers)))

    @classmethod
    def from_training(cls, training: Sequence[VideoQuestion], size: int | None = None) -> "AnswerList":
        """The most frequent answers of the training questions, ties in alphabetical order.

        Args:
            training: the training questions, and no others.
            size: how many answers, or fewer where there are not so many; None takes all that occur twice or more.

        Raises:
            ValueError: a size below 1, or no answer that qualifies.
        """
        if size is not None and size < 1:
            raise ValueError(f"expected a size of at least 1, got {size}")
        counts = Counter(normalized(question.answer) for question in training)
        ordered = sorted(counts, key=lambda answer: (-counts[answer], answer))
        chosen = ordered[:size] if size is not None else [answer for answer in ordered if counts[answer] > 1]
        if not chosen:
            raise ValueError(
                f"expected training answers that occur twice or more, got none among {len(training)} questions; "
                "give the list's size"
            )
        rule = "that occur twice or more" if size is None else f"by frequency (at most {size})"
        return cls(tuple(chosen), f"training answers {rule}")

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        training: Sequence[VideoQuestion],
        test: Sequence[VideoQuestion] = (),
    ) -> "AnswerList":
        """A list that comes with a dataset: `ans2label.json`, `answer_list.json`, or a file whose key `vocab` has it.

        Answers that no training question has are kept, so that others' numbers can be had again, and noted: such a
        list was made with other splits at hand.

        Args:
            path: JSON, a list of answers or {answer: index}.
            training: the training questions.
            test: the test questions, to say how many of those answers are theirs.

        Raises:
            AnnotationError: not such a file, an answer twice, or indices that are not 0, 1, 2 ...
        """
        path = Path(path)
        content = read_json(path)
        inside = isinstance(content, dict) and isinstance(content.get("vocab"), list | dict)
        answers = [normalized(each) for each in listed_answers(content["vocab"] if inside else content, path, "")]
        if twice := [answer for answer, count in Counter(answers).items() if count > 1]:
            raise AnnotationError(path, "", f"expected each answer once, got {twice[0]!r} in two spellings; keep one")
        trained = {normalized(question.answer) for question in training}
        tested = {normalized(question.answer) for question in test}
        notes = []
        if unknown := [answer for answer in answers if answer not in trained]:
            named = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
            leaked = sum(answer in tested for answer in unknown)
            notes.append(
                f"{len(unknown)} of the {len(answers)} answers of {path.name} never occur in training ({named})"
                + (f", {leaked} of them are test answers" if test else "")
                + ": the list was made with other splits than the training questions"
            )
        if tested and set(answers) == tested:
            notes.append(f"{path.name} is the set of the test answers: the ceiling is 100 by construction")
        return cls(tuple(answers), f"file {path.name}", tuple(notes))

    def __len__(self) -> int:
        """How many answers there are."""
        return len(self.answers)

    def __contains__(self, answer: object) -> bool:
        """Whether an answer is in the list, in any spelling."""
        return isinstance(answer, str) and normalized(answer) in self._indices

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {answer: index for index, answer in enumerate(self.answers)}

    def index(self, answer: str) -> int | None:
        """The place of an answer; None for one outside the list, from which a classifier learns nothing."""
        return self._indices.get(normalized(answer))

    def ceiling(self, questions: Sequence[VideoQuestion]) -> float:
        """Percentage (0 to 100) of questions whose answer is in the list: no accuracy can be higher.

        Raises:
            ValueError: no questions.
        """
        return _percent(np.array([question.answer in self for question in questions], dtype=bool))

    def stamp(self) -> dict[str, Any]:
        """What of the list belongs to the protocol of a result."""
        return {"answers": len(self), "answer_source": self.source, "answer_notes": list(self.notes)}


def right_answers(
    predictions: Predictions, questions: Sequence[VideoQuestion], answers: AnswerList | None = None
) -> Bool[np.ndarray, " questions"]:
    """Which questions are answered rightly: for accuracies, and for `bootstrap_interval` with videos as groups.

    Args:
        predictions: an answer for each question, in their order or by `question_id`. None where there is none, as of a
            video that cannot be read, is wrong.
        questions: all of the split, also those whose answer is in no list.
        answers: what was chosen from; an answer outside is wrong. None where a model words its answers freely.

    Raises:
        ValueError: predictions that are not one for each question.
    """
    said = _in_order(predictions, questions)
    return np.array(
        [
            text is not None
            and normalized(text) == normalized(question.answer)
            and (answers is None or question.answer in answers)
            for text, question in zip(said, questions, strict=True)
        ],
        dtype=bool,
    )


def qa_metrics(
    predictions: Predictions, questions: Sequence[VideoQuestion], answers: AnswerList | None = None
) -> dict[str, float | int]:
    """Accuracy over all questions of a split and for each type of question, in percent.

    Args:
        predictions: as of `right_answers`.
        questions: all of the split.
        answers: what was chosen from, or None where a model words its answers freely.

    Returns:
        `accuracy`, `questions` (its denominator) and `ceiling` (with a list of answers), the same as `accuracy_what`,
        `questions_what`, `ceiling_what` for each question word and each type that the file gives beside them,
        `answered` (predictions that are not None) and `answers` (the size of the list).

    Raises:
        ValueError: no questions, or predictions that are not one for each.
    """
    right = right_answers(predictions, questions, answers)
    listed = None if answers is None else np.array([question.answer in answers for question in questions], dtype=bool)
    metrics: dict[str, float | int] = {}
    for kind, chosen in _types(questions).items():
        name = f"_{kind}" if kind else ""
        metrics[f"accuracy{name}"] = _percent(right[chosen])
        metrics[f"questions{name}"] = int(chosen.sum())
        if listed is not None:
            metrics[f"ceiling{name}"] = _percent(listed[chosen])
    metrics["answered"] = sum(text is not None for text in _in_order(predictions, questions))
    if answers is not None:
        metrics["answers"] = len(answers)
    return metrics


def _types(questions: Sequence[VideoQuestion]) -> dict[str, Bool[np.ndarray, " questions"]]:
    """All questions, then those of each question word, then those of each type that the file has beside the words."""
    words = np.array([q.kind if q.kind in QUESTION_WORDS else question_word(q.question) for q in questions])
    kinds = np.array([question.kind for question in questions])
    found = {"": np.ones(len(questions), dtype=bool)}
    found |= {word: words == word for word in QUESTION_WORDS if (words == word).any()}
    own = sorted(set(kinds.tolist()) - set(QUESTION_WORDS) - {"other"})
    found |= {kind: kinds == kind for kind in own}
    if (rest := kinds == "other").any():
        found["other"] = rest
    return found


def _in_order(predictions: Predictions, questions: Sequence[VideoQuestion]) -> list[str | None]:
    if not isinstance(predictions, Mapping):
        if isinstance(predictions, str) or len(predictions) != len(questions):
            raise ValueError(
                f"expected one prediction for each of {len(questions)} questions, got {len(predictions)}; give None "
                "where there is none"
            )
        return list(predictions)
    if len({question.question_id for question in questions}) != len(questions):
        raise ValueError("expected each question's id once, got some twice; give the predictions in their order")
    missing = [question.question_id for question in questions if question.question_id not in predictions]
    unknown = sorted(predictions.keys() - {question.question_id for question in questions})
    if missing or unknown:
        kind, named = ("no prediction for", missing) if missing else ("predictions for unknown", unknown)
        raise ValueError(
            f"expected one prediction for each of {len(questions)} questions, got {kind} {', '.join(named[:3])}"
            f"{' and others' if len(named) > 3 else ''} ({len(named)}); give None where there is none"
        )
    return [predictions[question.question_id] for question in questions]


def _percent(right: np.ndarray) -> float:
    if not len(right):
        raise ValueError("expected questions to measure on, got none")
    return 100.0 * float(right.mean())
