"""The embedded corpus on disk: H.264 files and annotations in MSR-VTT's own schema, rendered on first use.

    videos/video0.mp4 ...     96 x 96, 30 frames, 15 frames per second
    MSRVTT_data.json          MSR-VTT's videodatainfo: "info", "videos", "sentences"; splits train, validate, test
    order_pairs.csv           the pairs of clips that are each other's reverse
    train_qa.json ...         questions in MSRVTT-QA's own schema, also val_qa.json and test_qa.json

`category` in the annotations (`category_id` of a question) is 0 for static clips, 1 for order of movement, 2 for order
of appearance, 3 for events.
"""

import csv
import hashlib
import json
import logging
import os
import random
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.progress import track

from litevl.corpus.clips import NUM_FRAMES, clip_frames
from litevl.corpus.drawing import Ground, draw
from litevl.corpus.plan import CorpusConfig, PlannedClip, plan_clips
from litevl.corpus.questions import ClipQuestion, clip_questions
from litevl.corpus.video_file import FRAMES_PER_SECOND, write_video

logger = logging.getLogger(__name__)

VERSION = 2
"""Raised whenever the same configuration would give other clips or captions; for other questions it need not be."""

ANNOTATIONS = "MSRVTT_data.json"
ORDER_PAIRS = "order_pairs.csv"
QUESTIONS = {"train": "train_qa.json", "validate": "val_qa.json", "test": "test_qa.json"}


def default_cache() -> Path:
    """The folder that holds rendered corpora: `$LITEVL_CACHE`, else the user's cache folder."""
    if chosen := os.environ.get("LITEVL_CACHE"):
        return Path(chosen)
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "litevl"


def ensure_corpus(
    cache_dir: str | Path | None = None, config: CorpusConfig | None = None, *, progress: bool = True
) -> Path:
    """Give the folder of the embedded corpus, rendering it where it is not there yet.

    It is written aside and renamed when it is complete, so a half-written corpus is never used, and of two processes
    that render at once the first to finish wins. A corpus that was rendered without these questions is given them; its
    videos stay.

    Args:
        cache_dir: where corpora are kept; `default_cache()` if not given.
        config: size and seed; each has a folder of its own.
        progress: show a progress bar while rendering.

    Returns:
        The folder, in the layout of this module's docstring.
    """
    config = config or CorpusConfig()
    cache = Path(cache_dir) if cache_dir is not None else default_cache()
    folder = cache / _folder_name(config)
    if folder.is_dir():
        _complete(folder, config)
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.partial-", dir=cache))
    try:
        _render(partial, config, progress)
        _rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _folder_name(config: CorpusConfig) -> str:
    text = json.dumps([VERSION, asdict(config)], sort_keys=True)
    return f"corpus-{VERSION}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _rename(partial: Path, folder: Path) -> None:
    partial.chmod(0o755)
    try:
        partial.rename(folder)
    except OSError:
        # Another process was faster; its corpus is the same.
        if not folder.is_dir():
            raise


def _render(folder: Path, config: CorpusConfig, progress: bool) -> None:
    clips = plan_clips(config)
    (folder / "videos").mkdir()
    _write_json(folder / ANNOTATIONS, annotations(clips))
    _write_pairs(folder / ORDER_PAIRS, clips)
    for name, text in question_files(clips, config.seed).items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    with ThreadPoolExecutor(max_workers=2) as pool:
        jobs = pool.map(lambda clip: _render_clip(clip, folder, config.seed), clips)
        title = f"rendering {len(clips)} clips, once"
        for _ in track(jobs, title, total=len(clips)) if progress else jobs:
            pass


def _complete(folder: Path, config: CorpusConfig) -> None:
    """Write the files of questions that are not there or are another version's, each at once for whoever reads it."""
    for name, text in question_files(plan_clips(config), config.seed).items():
        path = folder / name
        try:
            if path.is_file() and path.read_bytes() == text.encode():
                continue
            handle, partial = tempfile.mkstemp(prefix=f".{name}.", suffix=".partial", dir=folder)
            try:
                with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                    file.write(text)
                os.chmod(partial, 0o644)
                os.replace(partial, path)
            finally:
                Path(partial).unlink(missing_ok=True)
        except OSError as error:
            # Retrieval needs none of these; a shared cache may be read-only.
            logger.warning("the corpus in %s goes without %s: %s", folder, name, error.strerror)


def _render_clip(clip: PlannedClip, folder: Path, seed: int) -> None:
    rng = random.Random(f"{seed} {clip.layout}")
    ground = Ground(*clip.meaning.ground, shift=rng.randrange(24))
    marks = clip_frames(clip.laid_out(), rng)
    if clip.reverse_of:
        marks.reverse()
    write_video(folder / "videos" / f"{clip.video_id}.mp4", (draw(ground, each) for each in marks))


def annotations(clips: list[PlannedClip]) -> dict[str, Any]:
    """Describe clips in MSR-VTT's videodatainfo schema (its keys have spaces)."""
    videos: list[dict[str, Any]] = []
    sentences: list[dict[str, Any]] = []
    for number, clip in enumerate(clips):
        videos.append(
            {
                "video_id": clip.video_id,
                "category": clip.meaning.category(),
                "url": "",
                "start time": 0.0,
                "end time": NUM_FRAMES / FRAMES_PER_SECOND,
                "split": clip.split,
                "id": number,
            }
        )
        for caption in clip.captions:
            sentences.append({"sen_id": len(sentences), "video_id": clip.video_id, "caption": caption})
    info = {"description": "litevl embedded corpus", "version": str(VERSION)}
    return {"info": info, "videos": videos, "sentences": sentences}


def question_files(clips: list[PlannedClip], seed: int) -> dict[str, str]:
    """Name and text of each split's file of questions, in MSRVTT-QA's schema.

    Beside the schema's own keys each question has its kind as `answer_type`, the name that ALPRO and LAVIS use.
    """
    files: dict[str, str] = {}
    number = 0
    for split, name in QUESTIONS.items():
        asked = clip_questions([clip for clip in clips if clip.split == split], seed)
        rows = [json.dumps(_question_row(question, number + i)) for i, question in enumerate(asked)]
        number += len(asked)
        if not rows:
            continue
        files[name] = "[\n" + ",\n".join(rows) + "\n]\n"
    return files


def _question_row(question: ClipQuestion, number: int) -> dict[str, Any]:
    clip, asked = question.clip, question.asked
    return {
        "answer": asked.answer,
        "category_id": clip.meaning.category(),
        "id": number,
        "question": asked.question,
        "video_id": int(clip.video_id.removeprefix("video")),
        "answer_type": asked.kind,
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _write_pairs(path: Path, clips: list[PlannedClip]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("video_id", "reversed_video_id", "split"))
        writer.writerows((clip.reverse_of, clip.video_id, clip.split) for clip in clips if clip.reverse_of)
