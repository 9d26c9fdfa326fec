"""The embedded corpus on disk: H.264 files and annotations in the schemas of the published sets, rendered on first use.

    videos/video0.mp4 ...     96 x 96, 30 frames, 15 frames per second
    MSRVTT_data.json          MSR-VTT's videodatainfo: "info", "videos", "sentences"; splits train, validate, test
    order_pairs.csv           the pairs of clips that are each other's reverse
    train_qa.json ...         questions in MSRVTT-QA's own schema, also val_qa.json and test_qa.json

The same videos as other data sets have them, each in a folder of its own:

| folder | files | what it says of a clip |
|---|---|---|
| didemo | {train,val,test}_data.json, as released | a paragraph, times in chunks of 5 seconds |
| activitynet | train.json, val_1.json (test clips), val.json (validation) | a paragraph, times in seconds |
| msvd | captions_msvd.json, {train,val,test}_list.txt, as X-Pool's | captions in every wording |
| msvd-qa | {train,val,test}_qa.json, youtube_mapping.txt | the questions above |
| captioning | {train_val,test}_videodatainfo.json, as MSR-VTT was released | captions in every wording |
| own | {train,val,test}.csv: video, caption | the captions of MSRVTT_data.json |

A clip of two seconds lies within DiDeMo's first chunk. ActivityNet has no validation split of its own, so that val.json
is read where it is given as `val_file`; its ids go without the release's `v_`, as the files' names do.

`category` in the annotations (`category_id` of a question) is 0 for static clips, 1 for order of movement, 2 for order
of appearance, 3 for events.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from rich.progress import track

from litevl.adapters.aside import file_aside
from litevl.corpus.annotation_files import VERSION, annotation_files, annotations, order_pairs
from litevl.corpus.clips import planned_frames
from litevl.corpus.drawing import draw
from litevl.corpus.plan import CorpusConfig, PlannedClip, plan_clips
from litevl.corpus.video_file import write_video

logger = logging.getLogger(__name__)

ANNOTATIONS = "MSRVTT_data.json"
ORDER_PAIRS = "order_pairs.csv"


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
    that render at once the first to finish wins. A corpus that was rendered without one of the annotation files below
    is given it; its videos and MSR-VTT's captions stay.

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
    (folder / ANNOTATIONS).write_text(json.dumps(annotations(clips), indent=1) + "\n", encoding="utf-8")
    (folder / ORDER_PAIRS).write_text(order_pairs(clips), encoding="utf-8", newline="")
    for name, text in annotation_files(clips, config.seed).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="")
    with ThreadPoolExecutor(max_workers=2) as pool:
        jobs = pool.map(lambda clip: _render_clip(clip, folder, config.seed), clips)
        title = f"rendering {len(clips)} clips, once"
        for _ in track(jobs, title, total=len(clips)) if progress else jobs:
            pass


def _complete(folder: Path, config: CorpusConfig) -> None:
    """Write the other annotation files that are not there or are another version's, each at once for its readers."""
    missing: dict[str, list[str]] = {}
    for name, text in annotation_files(plan_clips(config), config.seed).items():
        path = folder / name
        try:
            if not path.is_file() or path.read_bytes() != text.encode():
                path.parent.mkdir(exist_ok=True)
                with file_aside(path) as aside:
                    aside.write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            missing.setdefault(error.strerror or str(error), []).append(name)
    for reason, names in missing.items():
        # A shared cache may be read-only, and MSR-VTT's retrieval needs none of these.
        logger.warning("the corpus in %s goes without %s: %s", folder, ", ".join(names), reason)


def _render_clip(clip: PlannedClip, folder: Path, seed: int) -> None:
    ground, frames = planned_frames(clip, seed)
    write_video(folder / "videos" / f"{clip.video_id}.mp4", (draw(ground, each) for each in frames))
