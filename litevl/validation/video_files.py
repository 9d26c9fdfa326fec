"""The video files of a data set, whatever its annotations look like."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from litevl.data.annotations import VIDEO_EXTENSIONS, MissingAnnotationsError
from litevl.data.coverage import BadVideo
from litevl.data.paths import VideoFolder
from litevl.data.video import VideoError
from litevl.validation.candidates import Asked
from litevl.validation.detection import detect
from litevl.validation.findings import splits_of
from litevl.validation.own_file import detect_file


@dataclass(frozen=True)
class VideoFiles:
    """What a data set's annotations ask for."""

    said: str
    """Which data sets they are."""
    paths: tuple[Path, ...]
    """The files that are there, each once."""
    missing: tuple[BadVideo, ...] = ()
    """The videos without one."""


def files_of(data: Path, asked: Asked) -> VideoFiles:
    """The files of all videos of all splits of the data sets that are found, as `validate` finds them.

    Args:
        data: the data set's folder, or one file of one's own captions or questions.
        asked: what is there, where it cannot be told.

    Raises:
        AnnotationError: no annotations that make the splits, or damaged ones.
        FileNotFoundError: no such folder, of annotations or videos.
    """
    if not data.exists():
        raise FileNotFoundError(f"expected a folder of annotations and videos, got {data}, which is not there")
    root = data if data.is_dir() else data.parent
    detection = detect(root, asked) if data.is_dir() else detect_file(data, asked)
    for candidate in detection.chosen:
        if candidate.problem is not None and candidate.found is None:
            raise candidate.problem
    if not detection.chosen:
        raise MissingAnnotationsError(
            data,
            "",
            "expected annotations of captions or questions, got none that a loader takes (litevl validate says what "
            "each expected); --every-file takes every video below the folder, annotations or not",
        )
    folder = VideoFolder(root if asked.videos is None else asked.videos)
    paths: dict[Path, None] = {}
    missing: dict[str, BadVideo] = {}
    for clip in (clip for candidate in detection.chosen for split in splits_of(candidate) for clip in split.clips):
        try:
            paths[folder.resolve(clip.key).resolve()] = None
        except (VideoError, ValueError) as error:
            missing[str(clip.key)] = BadVideo(str(clip.key), getattr(error, "reason", str(error)))
    said = ", ".join(f"{candidate.task} of {candidate.dataset}" for candidate in detection.chosen)
    return VideoFiles(said, tuple(paths), tuple(missing.values()))


def all_files(folder: Path) -> VideoFiles:
    """Every file below a folder that is called like a video.

    Raises:
        FileNotFoundError: there is no such folder, or none in it.
    """
    found: Iterable[Path] = sorted(folder.rglob("*")) if folder.is_dir() else ()
    endings = {f".{extension}" for extension in VIDEO_EXTENSIONS}
    paths = dict.fromkeys(path.resolve() for path in found if path.suffix.lower() in endings and path.is_file())
    if not paths:
        came = "one without" if folder.is_dir() else "no folder"
        raise FileNotFoundError(f"expected a folder with videos ({', '.join(sorted(endings))}), got {folder}, {came}")
    return VideoFiles(f"all videos below {folder}", tuple(paths))
