"""What is compared of a task: its metrics in the order of the table, the one that shares go by, and the protocol."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Results = Mapping[str, Any]
"""What a run's metrics.json holds of one model."""


@dataclass(frozen=True)
class ComparedTask:
    """A task as results of it are compared."""

    name: str
    sign: str
    """The key by which results are recognised as this task's."""
    metrics: Mapping[str, Callable[[Results], float | None]]
    """By title; None where a result does not have it. Higher is better in all."""
    headline: str
    """The metric of shares and plots."""
    protocol: tuple[str, ...]
    """Keys of the protocol that two runs must share, beside the data's."""
    items: tuple[str, ...]
    """What else of the results they must share: how many queries there were, among how many candidates."""

    def scores(self, results: Results) -> dict[str, float]:
        """The metrics that a result has."""
        found = {title: read(results) for title, read in self.metrics.items()}
        return {title: value for title, value in found.items() if value is not None}


def _at(*path: str) -> Callable[[Results], Any]:
    def read(results: Results) -> Any:
        found: Any = results
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    return read


RETRIEVAL = ComparedTask(
    "retrieval",
    "contrastive",
    {
        "t2v R@1, ITC": _at("contrastive", "t2v_r1"),
        "t2v R@1, re-ranked": _at("reranked", "t2v_r1"),
        "v2t R@1, ITC": _at("contrastive", "v2t_r1"),
        "v2t R@1, re-ranked": _at("reranked", "v2t_r1"),
        "order, ITC": _at("order_accuracy", "contrastive"),
        "order, re-ranked": _at("order_accuracy", "reranked"),
    },
    "t2v R@1, re-ranked",
    ("test_split", "caption_mode"),
    ("reranked.t2v_queries", "reranked.t2v_gallery", "k"),
)
QUESTIONS = ComparedTask(
    "question answering",
    "accuracy",
    {"accuracy": _at("accuracy"), "accuracy, only order tells": _at("order_accuracy")},
    "accuracy",
    ("answers", "answer_source"),
    ("questions",),
)
CAPTIONING = ComparedTask(
    "captioning",
    "cider",
    {
        "CIDEr": _at("cider"),
        "BLEU-4": _at("bleu4"),
        "ROUGE-L": _at("rouge_l"),
        "told from its reversal": _at("order_accuracy"),
    },
    "CIDEr",
    ("test_split", "caption_mode", "tokenizer"),
    ("references",),
)
TASKS = (RETRIEVAL, QUESTIONS, CAPTIONING)


def task_of(results: Results) -> ComparedTask | None:
    """The task that a result is of."""
    return next((task for task in TASKS if task.sign in results), None)


def look_up(results: Results, path: str) -> Any:
    """A value of nested results, by its keys joined with dots; None where it is not there."""
    return _at(*path.split("."))(results)
