"""Whether runs may be compared: the same data, measured in the same way.

What belongs to a model (frames, image size, backbone, how answers are found) may differ, and is shown.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from .entries import Entry
from .metrics import ComparedTask, look_up
from .runs import Run

DATA = ("dataset", "sampling")
"""Keys of the protocol that runs of every task must share."""
TRAINING_DATA = ("train_split", "coverage.train")
"""What those that were trained must share too."""
DIGEST = "data_digest"
"""Key of the digests of what the splits held, by split; results of older versions do not have it."""
DIGESTS = {f"{DIGEST}.test": "of the test split's ids and texts", f"{DIGEST}.train": "of the training split's"}
ABSENT = object()
MOST_FOLDERS = 3
"""Named of runs that do not say a thing."""
TEXT_LENGTHS = ("max_text_length", "max_question_length")
"""May differ between models, but is said."""


def require_one_task(runs: Sequence[Run]) -> ComparedTask:
    """The task of all runs.

    Raises:
        ValueError: two runs are of different tasks.
    """
    first = runs[0]
    for run in runs:
        if run.task is not first.task:
            raise ValueError(_message(run, first, "task", first.task.name, run.task.name))
    return first.task


def check_protocol(entries: Sequence[Entry], task: ComparedTask) -> list[str]:
    """Checks that all entries were measured on the same data in the same way.

    Returns:
        Notes on what could not be checked, because a run of an older version does not say it.

    Raises:
        ValueError: two runs differ; the message names folders, key and both values.
    """
    notes: dict[str, None] = {}
    for key, values in _shared(entries, task):
        said = [(run, value) for run, value in values if value is not ABSENT]
        for run, value in said:
            if value != said[0][1]:
                raise ValueError(_message(run, said[0][0], key, said[0][1], value))
        silent = [run for run, value in values if value is ABSENT]
        if said and silent:
            folders = _folders(silent)
            what = f"what the splits held ({DIGEST}) is not said by {folders}, of an older version; taken as the same"
            other = f"{key} is not said by {folders}; taken as that of the others, {said[0][1]!r}"
            notes[what if key in DIGESTS else other] = None
    selecting = [run for entry in entries for run in entry.runs if run.protocol.get("selected_on") == "val"]
    if len({look_up(run.protocol, f"{DIGEST}.val") for run in selecting} - {None}) > 1:
        notes["epochs were selected on several sets of validation videos"] = None
    for key in TEXT_LENGTHS:
        lengths = {run.protocol[key]: entry.name for entry in entries for run in entry.runs if key in run.protocol}
        if len(lengths) > 1:
            read = ", ".join(f"{name} {length}" for length, name in lengths.items())
            notes[f"texts are cut at other lengths, which long ones feel: {key.replace('_', ' ')} {read}"] = None
    _check_answers([run for entry in entries for run in entry.runs])
    return list(notes)


def _shared(entries: Sequence[Entry], task: ComparedTask) -> Iterator[tuple[str, list[tuple[Run, Any]]]]:
    """Each thing that must be equal, with what every run says of it."""
    measured = [pair for entry in entries for pair in zip(entry.runs, entry.results, strict=True)]
    for key in (*DATA, *task.protocol):
        yield key, [(run, run.protocol.get(key, ABSENT)) for run, _ in measured]
    for key in TRAINING_DATA:
        trained = [run for entry in entries if not entry.frozen for run in entry.runs]
        yield key, [(run, _or_absent(look_up(run.protocol, key))) for run in trained]
    for key in ("coverage", *task.items):
        name = "coverage of test" if key == "coverage" else key
        yield name, [(run, _or_absent(look_up(results, key))) for run, results in measured]
    for key in DIGESTS:
        asked = measured if key == f"{DIGEST}.test" else [(run, None) for run in trained]
        yield key, [(run, _or_absent(look_up(run.protocol, key))) for run, _ in asked]


def _folders(runs: Sequence[Run]) -> str:
    named = list(dict.fromkeys(str(run.folder) for run in runs))
    more = f" and {len(named) - MOST_FOLDERS} more" if len(named) > MOST_FOLDERS else ""
    return ", ".join(named[:MOST_FOLDERS]) + more


def _or_absent(value: Any) -> Any:
    return ABSENT if value is None else value


def _check_answers(runs: Sequence[Run]) -> None:
    listed = [(run, run.answers) for run in runs]
    said = [(run, answers) for run, answers in listed if answers is not None]
    for run, answers in said:
        if answers != said[0][1]:
            more = _some(answers, said[0][1]), _some(said[0][1], answers)
            raise ValueError(_message(run, said[0][0], "list of answers", *(_listed(each) for each in reversed(more))))


def _some(answers: list[str], other: list[str]) -> list[str]:
    return [answer for answer in answers if answer not in set(other)]


def _listed(alone: list[str]) -> str:
    return f"{len(alone)} of its own ({', '.join(alone[:3])})" if alone else "none of its own, in its own order"


def _message(run: Run, first: Run, key: str, expected: Any, got: Any) -> str:
    told = f"{key} ({DIGESTS[key]})" if key in DIGESTS else key
    return (
        f"{run.folder}: not on the same data and protocol as {first.folder}: {told}: expected {expected!r}, got "
        f"{got!r}; compare runs that share it"
    )
