"""The annotation files of the embedded corpus: its clips and captions in the forms that the published data sets have.

All are of the same videos, in `videos/`. What each holds beside MSR-VTT's own is told in `corpus`.
"""

import csv
import io
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from litevl.corpus.captions import captions
from litevl.corpus.clips import NUM_FRAMES, planned_frames
from litevl.corpus.paragraphs import Sentence, paragraph
from litevl.corpus.plan import PlannedClip
from litevl.corpus.questions import ClipQuestion, clip_questions
from litevl.corpus.video_file import FRAMES_PER_SECOND

VERSION = 2
"""Raised whenever the same configuration would give other clips or captions; for other files beside them it need not
be."""

SPLITS = {"train": "train", "validate": "val", "test": "test"}
"""MSR-VTT's names of the splits, and everyone else's."""
QUESTIONS = {split: f"{name}_qa.json" for split, name in SPLITS.items()}
ACTIVITYNET = {"train": "train.json", "validate": "val.json", "test": "val_1.json"}
DURATION = NUM_FRAMES / FRAMES_PER_SECOND
CHUNK = 5
"""Seconds in which DiDeMo counts time."""


def annotation_files(clips: Sequence[PlannedClip], seed: int) -> dict[str, str]:
    """The text of every file but MSR-VTT's captions and the pairs, by its path below the corpus's folder.

    Args:
        clips: the corpus's.
        seed: the corpus's.
    """
    files = question_files(clips, seed)
    files |= {f"msvd-qa/{name}": text for name, text in question_files(clips, seed, "category_id").items()}
    files["msvd-qa/youtube_mapping.txt"] = _lines(f"{clip.video_id} vid{_number(clip)}" for clip in clips)
    files |= _paragraph_files(clips, seed)
    worded = {clip.video_id: every_caption(clip) for clip in clips}
    files["msvd/captions_msvd.json"] = _rows_of_object(worded)
    spoken = [replace(clip, captions=worded[clip.video_id]) for clip in clips]
    known, unknown = ([clip for clip in spoken if (clip.split == "test") == test] for test in (False, True))
    files["captioning/train_val_videodatainfo.json"] = _json(annotations(known))
    files["captioning/test_videodatainfo.json"] = _json(annotations(unknown))
    for split, name in SPLITS.items():
        members = [clip for clip in clips if clip.split == split]
        if members:
            files[f"msvd/{name}_list.txt"] = _lines(clip.video_id for clip in members)
            said = [(_file(clip), caption) for clip in members for caption in clip.captions]
            files[f"own/{name}.csv"] = _table(("video", "caption"), said)
    return files


def annotations(clips: Sequence[PlannedClip]) -> dict[str, Any]:
    """Describe clips in MSR-VTT's videodatainfo schema (its keys have spaces)."""
    videos: list[dict[str, Any]] = []
    sentences: list[dict[str, Any]] = []
    for clip in clips:
        videos.append(
            {
                "video_id": clip.video_id,
                "category": clip.meaning.category(),
                "url": "",
                "start time": 0.0,
                "end time": DURATION,
                "split": clip.split,
                "id": _number(clip),
            }
        )
        for caption in clip.captions:
            sentences.append({"sen_id": len(sentences), "video_id": clip.video_id, "caption": caption})
    info = {"description": "litevl embedded corpus", "version": str(VERSION)}
    return {"info": info, "videos": videos, "sentences": sentences}


def every_caption(clip: PlannedClip) -> tuple[str, ...]:
    """Every wording of a clip: its own captions first, then those that are left."""
    every = captions(clip.meaning, random.Random(f"wordings {clip.video_id}"), 100)
    return (*clip.captions, *(caption for caption in every if caption not in clip.captions))


def order_pairs(clips: Sequence[PlannedClip]) -> str:
    """The table of clips that are each other's reverse; lines end as the `csv` module ends them."""
    rows = [(clip.reverse_of, clip.video_id, clip.split) for clip in clips if clip.reverse_of]
    return _table(("video_id", "reversed_video_id", "split"), rows, "\r\n")


def question_files(clips: Sequence[PlannedClip], seed: int, without: str = "") -> dict[str, str]:
    """Name and text of each split's file of questions, in MSRVTT-QA's schema.

    Beside the schema's own keys each question has its kind as `answer_type`, the name that ALPRO and LAVIS use.

    Args:
        clips: the corpus's.
        seed: the corpus's.
        without: a key to leave out: MSVD-QA has no `category_id`.
    """
    files: dict[str, str] = {}
    number = 0
    for split, name in QUESTIONS.items():
        asked = clip_questions([clip for clip in clips if clip.split == split], seed)
        rows = [_question_row(question, number + i) for i, question in enumerate(asked)]
        number += len(asked)
        if rows:
            files[name] = _rows([{key: row[key] for key in row if key != without} for row in rows])
    return files


def _question_row(question: ClipQuestion, number: int) -> dict[str, Any]:
    clip, asked = question.clip, question.asked
    return {
        "answer": asked.answer,
        "category_id": clip.meaning.category(),
        "id": number,
        "question": asked.question,
        "video_id": _number(clip),
        "answer_type": asked.kind,
    }


def _paragraph_files(clips: Sequence[PlannedClip], seed: int) -> dict[str, str]:
    """The splits of DiDeMo and of ActivityNet Captions, each with a wording of its own."""
    files: dict[str, str] = {}
    frames = {clip.video_id: planned_frames(clip, seed)[1] for clip in clips}

    def told(clip: PlannedClip, dataset: str) -> tuple[Sentence, ...]:
        return paragraph(clip.meaning, frames[clip.video_id], random.Random(f"{dataset} {seed} {clip.video_id}"))

    number = 0
    for split, name in SPLITS.items():
        members = [clip for clip in clips if clip.split == split]
        if not members:
            continue
        rows = []
        for clip in members:
            for sentence in told(clip, "didemo"):
                rows.append(_didemo_row(clip, sentence, number))
                number += 1
        files[f"didemo/{name}_data.json"] = _rows(rows)
        videos = {clip.video_id: _activitynet_entry(told(clip, "activitynet")) for clip in members}
        files[f"activitynet/{ACTIVITYNET[split]}"] = _rows_of_object(videos)
    return files


def _didemo_row(clip: PlannedClip, sentence: Sentence, number: int) -> dict[str, Any]:
    # The last chunk is the one before whose end the sentence ends.
    first, last = int(sentence.start // CHUNK), int(-(-sentence.end // CHUNK)) - 1
    return {
        "annotation_id": number,
        "video": _file(clip),
        "description": sentence.text,
        "times": [[first, last]],
        "num_segments": int(-(-DURATION // CHUNK)),
        "dl_link": "",
    }


def _activitynet_entry(sentences: Sequence[Sentence]) -> dict[str, Any]:
    return {
        "duration": DURATION,
        "timestamps": [[sentence.start, sentence.end] for sentence in sentences],
        "sentences": [sentence.text for sentence in sentences],
    }


def _number(clip: PlannedClip) -> int:
    return int(clip.video_id.removeprefix("video"))


def _file(clip: PlannedClip) -> str:
    return f"{clip.video_id}.mp4"


def _json(content: Any) -> str:
    return json.dumps(content, indent=1) + "\n"


def _rows(rows: Sequence[dict[str, Any]]) -> str:
    return "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n"


def _rows_of_object(content: dict[str, Any]) -> str:
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()) + "\n}\n"


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _table(header: Sequence[str], rows: Iterable[Sequence[str | None]], end: str = "\n") -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
