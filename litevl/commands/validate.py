"""`litevl validate`: what is in a folder of videos and annotations, and what is wrong with it."""

import json as json_format
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from litevl.data.msrvtt import TestSplit, TrainSplit
from litevl.data.paths import DECODE_TIMEOUT
from litevl.data.retrieval_config import Dataset
from litevl.data.retrieval_set import CaptionMode
from litevl.data.video import Decoder
from litevl.validation.candidates import AnyForm, Task
from litevl.validation.findings import Finding
from litevl.validation.validate import Report, SetReport, SplitReport, ValidateConfig
from litevl.validation.validate import validate as validate_data

SHOWN = 3
FILE_WIDTH = 140
"""Columns where the output is no terminal."""
COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}


def validate(
    data: Positional[Path],
    dataset: Dataset | None = None,
    task: Task | None = None,
    videos: Path | None = None,
    train_split: TrainSplit | None = None,
    test_split: TestSplit | None = None,
    train_file: Path | None = None,
    val_file: Path | None = None,
    test_file: Path | None = None,
    schema: AnyForm | None = None,
    caption_mode: CaptionMode | None = None,
    training: bool = True,
    decode: bool = True,
    decoder: Decoder = "auto",
    workers: int | None = None,
    decode_timeout: float = DECODE_TIMEOUT,
    json: bool = False,
) -> int:
    """Checks a data set before anyone trains on it.

    Says which data set and form of annotations were found, counts beside the field's usual ones, three samples of each
    split, hours of video, and what is wrong: missing and unreadable videos, duplicates, videos in both train and test
    (by id, by file, by content), texts that are twice there or too long, files not used.

    Exit code: 0 nothing wrong (there may be things to know), 1 warnings (unusual counts, duplicates, unused files:
    training works, look before you believe its numbers), 2 errors (training would fail, or its numbers be wrong: no
    readable annotations, missing or unreadable videos, leaks; also a wrong command line).

    As in

    litevl validate /data/msrvtt

    litevl validate /data/didemo/annotations --dataset didemo --videos /data/didemo/videos --no-decode

    litevl validate my_clips.csv --caption-mode many --json > report.json

    Args:
        data: the data set's folder, in any of the layouts it comes in; or one csv, tsv, json or jsonl file of your own.
        dataset: which one lies there; by default it is detected.
        task: captions (retrieval) or questions (question answering) alone; by default both, where there are both.
        videos: the folder of the video files, where it is not that of the annotations.
        train_split: MSR-VTT's training videos; by default 9k, 7k or full, the first that the files make.
        test_split: MSR-VTT's test videos; by default likewise.
        train_file: the training captions' file, in the folder or absolute; by default it is found. Not for MSR-VTT.
        val_file: likewise of the validation split.
        test_file: likewise of the test split, as ActivityNet's val_2.json.
        schema: take annotation files of this form only.
        caption_mode: how the captions of a test video of your own are queries; by default one, or many where there are.
        training: look at all splits; with --no-training the test split alone is enough.
        decode: open every video and decode its middle frame; with --no-decode paths are looked up, and only files of
            equal size are read, to compare them.
        decoder: what to decode with, as in training.
        workers: processes; by default as many as this one may use cores.
        decode_timeout: seconds that a video may take to be opened, on Linux; what hangs is then named as unreadable. 0
            waits for ever.
        json: print the whole report as JSON, every item of every finding. Progress goes to standard error.
    """
    config = ValidateConfig(
        task, dataset, videos, train_split, test_split, train_file, val_file, test_file, schema, caption_mode, training,
        decode, decoder, workers, decode_timeout,
    )  # fmt: skip
    report = validate_data(data, config)
    if json:
        print(json_format.dumps(report.to_json(), indent=2))
    else:
        console = Console(markup=False, highlight=False, emoji=False)
        if not console.is_terminal:
            console = Console(markup=False, highlight=False, emoji=False, width=FILE_WIDTH)
        show(report, console)
    sys.stdout.flush()
    return report.exit_code


def show(report: Report, console: Console) -> None:
    """Prints a report, long lists with their first items."""
    for found in report.sets:
        _show_set(found, console)
    for finding in report.findings:
        _show_finding(finding, console)
    numbers = {
        severity: sum(finding.severity == severity for finding in report.findings) for severity in ("error", "warning")
    }
    counted = ", ".join(f"{number} {name}{'' if number == 1 else 's'}" for name, number in numbers.items())
    how = f"{report.files_opened:,} videos opened" if report.decoded else "paths looked up, no video opened"
    console.print(f"{counted}; {how}; {report.seconds:.1f} s; exit code {report.exit_code}", soft_wrap=True)


def _show_set(found: SetReport, console: Console) -> None:
    mode = {
        None: "",
        "one": ", one caption a query",
        "many": ", each caption of a video a query",
        "paragraph": ", a paragraph a query",
    }[found.caption_mode]
    console.print(f"{found.task}: {found.dataset}, schema {found.schema}{mode}", style="bold", soft_wrap=True)
    console.print(f"files: {', '.join(found.files)}", soft_wrap=True)
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False)
    table.add_column("split")
    for name in ("videos", "usual", found.task, "usual", "hours", "frames/s", "picture"):
        table.add_column(name, justify="right")
    for split in found.splits:
        usual = "" if split.usual_videos is None else " or ".join(f"{number:,}" for number in split.usual_videos)
        table.add_row(
            split.name if split.called in (split.name, "") else f"{split.name} ({split.called})",
            f"{split.videos:,}",
            usual,
            f"{split.texts:,}",
            "" if split.usual_texts is None else f"{split.usual_texts:,}",
            _hours(split),
            _between(split.frame_rates and tuple(f"{rate:.4g}" for rate in split.frame_rates)),
            _between(split.sizes),
        )
    console.print(table)
    for split in found.splits:
        if split.kinds:
            kinds = ", ".join(f"{kind} {number:,}" for kind, number in split.kinds.items())
            console.print(f"{split.name}, types of question: {kinds}", soft_wrap=True)
    samples = Table(box=None, show_header=False, pad_edge=False)
    for split in found.splits:
        for sample in split.samples:
            samples.add_row(split.name, sample.video_id, sample.file or "(missing)", sample.text)
    console.print("samples")
    console.print(samples)
    console.print()


def _hours(split: SplitReport) -> str:
    if split.hours is None:
        return "-"
    partly = "" if split.opened == split.videos else f" of {split.opened:,}"
    return (f"{split.hours:.1f}" if split.hours >= 10 else f"{split.hours:.2f}") + partly


def _between(ends: tuple[str, ...] | None) -> str:
    return "-" if not ends else ends[0] if ends[0] == ends[-1] else f"{ends[0]} to {ends[-1]}"


def _show_finding(finding: Finding, console: Console) -> None:
    console.print(f"{finding.severity}: ", style=COLOURS[finding.severity], end="")
    console.print(finding.message, soft_wrap=True)
    shown = len(finding.items) if finding.kind == "annotations" else SHOWN
    for item in finding.items[:shown]:
        console.print(f"    {_line(item)}", soft_wrap=True)
    if len(finding.items) > shown:
        console.print(f"    ... and {len(finding.items) - shown:,} more; --json has all", soft_wrap=True)


def _line(item: Mapping[str, Any]) -> str:
    """An item's keys and values, those that say nothing left out."""
    told = {key: ", ".join(map(str, value)) if isinstance(value, list) else value for key, value in item.items()}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in told.items() if value is not None)
