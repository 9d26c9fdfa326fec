"""What is compared: an entry for the runs that differ in nothing but their seed, and one for what they started from."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from litevl.training.run_folder import CONFIG_NAME, NEUTRAL, read_json

from .metrics import Results
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
    for run in runs:
        for title in run.untrained:
            frozen.setdefault((title, json.dumps(untrained_settings(run))), []).append(run)
        if run.trained is not None:
            trained.setdefault(json.dumps([run.name, settings(run)], sort_keys=True), []).append(run)
    before = [_untrained_entry(title, group) for (title, _), group in frozen.items()]
    return _told_apart(before + [_trained_entry(group) for group in trained.values()])


def settings(run: Run) -> dict[str, Any]:
    """A run's settings by their paths (`model.adapter.scaling`), without those that change no result."""
    return {path: value for path, value in _flat(with_origin(run.config)) if _last(path) not in ASIDE}


def with_origin(config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's config with what made the E-ViLM it starts from in place of its folder, which is another for each seed.

    The same of the VQ tokenizer of a pre-training. A folder that is gone, or is no run's, stays as it is named.
    """
    model = config.get("model")
    if not isinstance(model, Mapping):
        return dict(config)
    found = {key: _origin(value) if key in ("start", "tokenizer") else value for key, value in model.items()}
    return {**config, "model": found}


def _origin(source: Any) -> Any:
    made = Path(source) / CONFIG_NAME if isinstance(source, str) else None
    return with_origin(read_json(made)) if made is not None and made.is_file() else source


def _last(path: str) -> str:
    """A setting's path within the run that it is of."""
    return re.split(r"(?:^|\.)model\.(?:start|tokenizer)\.", path)[-1]


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
        if seed in entry.seeds[:number]:
            first = entry.runs[entry.seeds.index(seed)].folder
            raise ValueError(
                f"{runs[number].folder}: has the settings and the seed ({seed}) of {first}; a run that counts twice "
                "would make the interval too narrow, leave one out"
            )
    return entry


def _name(run: Run) -> str:
    if run.name is not None:
        return run.name
    assert run.trained is not None
    more = TRAINED.get(run.config.get("model", {}).get("train"))
    return run.trained[0] if more is None else f"{run.trained[0]}, {more}"


def _told_apart(entries: list[Entry]) -> list[Entry]:
    """Adds to names that several entries have the settings in which each differs from most of these."""
    named = []
    for entry in entries:
        same = [other for other in entries if other.name == entry.name]
        if len(same) > 1 and entry.run.name is not None:
            folders = ", ".join(str(each.run.folder) for each in same)
            raise ValueError(f"{entry.name}: expected the runs of one model, got several settings: {folders}")
        all_settings = [untrained_settings(each.run) if each.frozen else settings(each.run) for each in same]
        own = all_settings[same.index(entry)]
        told = [_told(path, own.get(path)) for path in own if _unusual(path, own, all_settings)]
        named.append(replace(entry, name=", ".join([entry.name, *told])))
    return named


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
