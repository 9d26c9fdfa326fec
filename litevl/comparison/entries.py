"""What is compared: an entry for the runs that differ in nothing but their seed, and one for what they started from."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from litevl.training.run_folder import CONFIG_NAME, METRICS_NAME, NEUTRAL, read_json

from .metrics import Results, look_up
from .runs import Run

UNTRAINED = {"frame average": "frozen frame average"}
"""How results of what was not trained are named, where not as in the run."""
TRAINED = {"all": "whole model trained", "adapters+lora": "LoRA beside"}
"""How a run that trained more than its adapters is named."""
ASIDE = {
    *NEUTRAL, "seed", "output_dir", "resume", "evaluate", "baseline", "training.tracker", "data.check_decoding",
    "evaluation.batch_size", "evaluation.pair_batch", "evaluation.question_batch",
}  # fmt: skip
"""Settings that change no result but by the seed."""
PLACES = {
    "data.root", "data.videos", "data.train_file", "data.val_file", "data.test_file", "data.answer_file",
    "data.choices",
}  # fmt: skip
"""Settings that only say where the data lies; what it holds is in the protocol."""
NOT_THERE = "not there"
MOST_KEYS = 5
"""Named of the settings in which models differ that have one name."""
UNTRAINED_BY = ("backbone_source", "backbone_fingerprint", "image_size", "num_frames", "max_text_length", "prompt")
"""What of the protocol the results of what was not trained follow from, beside what all runs must share."""


@dataclass(frozen=True)
class Entry:
    """One line of a comparison: a model, with a result for each of its runs."""

    name: str
    frozen: bool
    """Whether it is a model as it was before training, whose results are those of no seed: each run measured them."""
    runs: tuple[Run, ...]
    results: tuple[Results, ...]
    """What each run measured."""

    @property
    def run(self) -> Run:
        """The run that stands for all in everything but the results."""
        return self.runs[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of its runs; none for a frozen backbone."""
        return () if self.frozen else tuple(run.config.get("seed", 0) for run in self.runs)


def make_entries(runs: Sequence[Run]) -> list[Entry]:
    """Groups runs into entries, those of what was not trained first, each with a name that no other has.

    Raises:
        ValueError: two runs have all settings and the seed in common, or a user's name stands for several models.
    """
    frozen: dict[tuple[str, str], list[Run]] = {}
    trained: dict[str, list[Run]] = {}
    places = _places_tell(runs)
    for run in runs:
        for title in run.untrained:
            frozen.setdefault((title, json.dumps(untrained_settings(run))), []).append(run)
        if run.trained is not None:
            key = json.dumps([run.name, settings(run, places)], sort_keys=True)
            trained.setdefault(key, []).append(run)
    before = [_untrained_entry(title, group) for (title, _), group in frozen.items()]
    return _told_apart(before + [_trained_entry(group) for group in trained.values()], places)


def settings(run: Run, places: bool = False) -> dict[str, Any]:
    """A run's settings by their paths (`model.adapter.scaling`), without those that change no result.

    Args:
        run: whose.
        places: also say where its data lies.
    """
    found = {}
    for path, value in _flat(with_origin(run.config)):
        last = _last(path)
        kept = last not in PLACES or (value is not None and (places or last != path))
        if last not in ASIDE and kept:
            found[path] = value
    return found


def _places_tell(runs: Sequence[Run]) -> bool:
    """Whether data may be other data because it lies elsewhere: some run is too old to say what it held."""
    said = ({path: value for path, value in _flat(run.config) if path in PLACES and value} for run in runs)
    places = {json.dumps(each, sort_keys=True) for each in said}
    return len(places) > 1 and not all(run.protocol.get("data_digest") for run in runs)


def with_origin(config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's config with what made the E-ViLM it starts from in place of its folder, which is another for each seed.

    The same of the VQ tokenizer of a pre-training. A folder that is gone, or is no run's, stays as it is named. In
    place of where the data of these lay stands what it held, where they say it.
    """
    model = config.get("model")
    if not isinstance(model, Mapping):
        return dict(config)
    found = {key: _origin(value) if key in ("start", "tokenizer") else value for key, value in model.items()}
    return {**config, "model": found}


def _origin(source: Any) -> Any:
    folder = Path(source) if isinstance(source, str) else None
    if folder is None or not (folder / CONFIG_NAME).is_file():
        return source
    made = with_origin(read_json(folder / CONFIG_NAME))
    data = {f"data.{key}": value for key, value in (made.get("data") or {}).items()}
    if all(data.get(path) is None for path in PLACES) or not (folder / METRICS_NAME).is_file():
        return made
    digest = look_up(read_json(folder / METRICS_NAME), "protocol.data_digest.train")
    if digest is None:
        return made
    kept = {path.removeprefix("data."): value for path, value in data.items() if path not in PLACES}
    return {**made, "data": {**kept, "digest": digest}}


def _last(path: str) -> str:
    """A setting's path within the run that it is of."""
    return re.split(r"(?:^|(?<=\.))model\.(?:start|tokenizer)\.", path)[-1]


def untrained_settings(run: Run) -> dict[str, Any]:
    """What the results of what a run started from follow from."""
    return {key: run.protocol.get(key) for key in UNTRAINED_BY}


def _untrained_entry(title: str, runs: list[Run]) -> Entry:
    named = [run.name for run in runs if run.name is not None and run.trained is None]
    name = named[0] if named else UNTRAINED.get(title, title)
    return Entry(name, True, tuple(runs), tuple(run.untrained[title] for run in runs))


def _trained_entry(runs: list[Run]) -> Entry:
    found = [run.trained for run in runs]
    entry = Entry(_name(runs[0]), False, tuple(runs), tuple(each[1] for each in found if each is not None))
    for number, seed in enumerate(entry.seeds):
        first = entry.runs[entry.seeds.index(seed)]
        if first is not runs[number] and not _other_data(first, runs[number]):
            raise ValueError(
                f"{runs[number].folder}: has the settings and the seed ({seed}) of {first.folder}; a run that counts "
                "twice would make the interval too narrow, leave one out"
            )
    return entry


def _other_data(one: Run, other: Run) -> bool:
    """Whether both say what their data held, and it differs; `check_protocol` refuses these, with the reason."""
    held, its = (run.protocol.get("data_digest") for run in (one, other))
    return bool(held and its) and held != its


def _name(run: Run) -> str:
    if run.name is not None:
        return run.name
    assert run.trained is not None
    more = TRAINED.get(run.config.get("model", {}).get("train"))
    return run.trained[0] if more is None else f"{run.trained[0]}, {more}"


def _told_apart(entries: list[Entry], places: bool) -> list[Entry]:
    """Adds to names that several entries have the settings in which each differs from most of these."""
    named = []
    for entry in entries:
        same = [other for other in entries if other.name == entry.name]
        all_settings = [untrained_settings(each.run) if each.frozen else settings(each.run, places) for each in same]
        if len(same) > 1 and entry.run.name is not None:
            raise ValueError(_several(entry, same, all_settings))
        own = all_settings[same.index(entry)]
        told = [_told(path, own.get(path)) for path in own if _unusual(path, own, all_settings)]
        named.append(replace(entry, name=", ".join([entry.name, *told])))
    return named


def _several(entry: Entry, same: Sequence[Entry], all_settings: Sequence[Mapping[str, Any]]) -> str:
    """Why a name that a user gave stands for several models."""
    name, own = entry.name, all_settings[same.index(entry)]
    for other, its in zip(same, all_settings, strict=True):
        if other is not entry and other.frozen == entry.frozen and its == own:
            folders = ", ".join(str(run.folder) for run in other.runs)
            return (
                f"{name}: expected the name before each of its runs, got {folders} with the settings of "
                f"{entry.run.folder} and without it; put {name}= before each, or once before a pattern that finds all, "
                f"as {name}='runs/FOLDER-seed*'"
            )
    trained = [each for other, each in zip(same, all_settings, strict=True) if not other.frozen]
    compared = trained if len(trained) > 1 else all_settings
    paths = dict.fromkeys(path for each in compared for path in each)
    values = {path: [str(each.get(path, NOT_THERE)) for each in compared] for path in paths}
    apart = [f"{path} ({', '.join(dict.fromkeys(each))})" for path, each in values.items() if len(set(each)) > 1]
    more = f" and {len(apart) - MOST_KEYS} more" if len(apart) > MOST_KEYS else ""
    folders = ", ".join(str(each.run.folder) for each in same)
    return (
        f"{name}: expected the runs of one model, got several settings: {folders}; they differ in "
        f"{', '.join(apart[:MOST_KEYS])}{more}; give each its own name"
    )


def _unusual(path: str, own: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> bool:
    """Whether an entry differs there from most others; where no value is the most common, all differ."""
    counts = Counter(json.dumps(each.get(path)) for each in others).most_common()
    tied = len(counts) > 1 and counts[0][1] == counts[1][1]
    return tied or json.dumps(own.get(path)) != counts[0][0]


def _told(path: str, value: Any) -> str:
    """As in `adapter scaling none`; a setting that is on or off, and one that has none, in the same way."""
    words = path.removeprefix("model.").removeprefix("training.").removeprefix("data.").replace(".", " ")
    return f"{words.replace('_', ' ')} {value if value is not None else 'none'}"


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
