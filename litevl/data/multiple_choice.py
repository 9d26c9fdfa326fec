"""MSR-VTT's multiple-choice test: which of five captions is a video's (Yu et al., JSFusion, ECCV 2018).

The file is Singularity's and VindLU's `msrvtt_mc_test.json`: rows of a video, its captions, and the place of its own.
"""

from dataclasses import dataclass
from pathlib import Path

from litevl.data.annotations import AnnotationError, LeakError, need, read_json, video_name


@dataclass(frozen=True)
class CaptionChoice:
    """A video and the captions to choose from."""

    video_id: str
    captions: tuple[str, ...]
    answer: int
    """The place of the video's own caption."""
    start: float | None = None
    end: float | None = None

    @property
    def key(self) -> str:
        """What to look for in the folder of the videos."""
        return self.video_id


def load_choices(path: Path) -> tuple[CaptionChoice, ...]:
    """The rows of a multiple-choice file, in its order.

    Raises:
        AnnotationError: a row without video, captions or answer, an answer that is no place among them, a video twice,
            or no rows.
    """
    found: dict[str, CaptionChoice] = {}
    for number, row in enumerate(need(read_json(path), list, path, "", "the rows")):
        place = f"row {number}"
        need(row, dict, path, place, "a row")
        if missing := [key for key in ("video", "caption", "answer") if key not in row]:
            raise AnnotationError(path, place, f"expected video, caption and answer, got no {' and no '.join(missing)}")
        video = video_name(need(row["video"], str, path, place, "a video"), path, place)
        texts = need(row["caption"], list, path, place, "the captions to choose from")
        captions = tuple(need(text, str, path, place, "a caption").strip() for text in texts)
        answer = need(row["answer"], int, path, place, "the place of the right caption")
        if len(captions) < 2 or not 0 <= answer < len(captions):
            reason = f"expected the place of one of 2 captions or more, got {answer} of {len(captions)}"
            raise AnnotationError(path, place, reason)
        if video in found:
            raise AnnotationError(path, place, f"the video {video} is there twice; keep one row of each")
        found[video] = CaptionChoice(video, captions, answer)
    if not found:
        raise AnnotationError(path, "", "expected rows, got none")
    return tuple(found.values())


def refuse_trained(path: Path, choices: tuple[CaptionChoice, ...], trained: set[str]) -> None:
    """Checks that no video to choose for is trained on.

    Raises:
        LeakError: some are; MSR-VTT's multiple-choice videos are the original test split, of which 9k trains on most.
    """
    if shared := sorted({choice.video_id for choice in choices} & trained):
        raise LeakError(
            path,
            ("train", "multiple choice"),
            shared,
            f"{len(shared)} of {len(choices)} videos are trained on; train on --data.train-split 7k or full",
        )
