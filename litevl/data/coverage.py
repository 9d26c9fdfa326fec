"""Which videos of a split can be used, and what becomes of those that cannot."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from rich.progress import track

from litevl.data.annotations import VideoSource
from litevl.data.cores import usable_cores
from litevl.data.forked import each_forked
from litevl.data.paths import VideoFolder
from litevl.data.video import Decoder, VideoError, read_frames

BadVideoPolicy = Literal["error", "skip"]
LEAVE_OUT = "--data.on-bad-video skip goes on without such videos and reports the coverage"
Source = TypeVar("Source", bound=VideoSource)


class UnusableVideosError(Exception):
    """Videos of a split are missing or cannot be read, and the policy is not to go on without them."""


@dataclass(frozen=True)
class BadVideo:
    """A video that cannot be used, and why."""

    video_id: str
    reason: str


@dataclass(frozen=True)
class Coverage:
    """How much of a split there is. To be said beside every number measured on it.

    Attributes:
        expected: videos of the split.
        available: those of them that could be used.
        missing: the ids of the others.
    """

    expected: int
    available: int
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.available + len(self.missing) != self.expected:
            raise ValueError(
                f"expected {self.expected} videos to be available or missing, got {self.available} and "
                f"{len(self.missing)}"
            )

    def without(self, video_ids: Iterable[str]) -> "Coverage":
        """The coverage when these videos too turn out to be unusable, as in decoding. Each counts once."""
        more = tuple(dict.fromkeys(video for video in video_ids if video not in self.missing))
        return Coverage(self.expected, self.available - len(more), self.missing + more)

    def __str__(self) -> str:
        text = f"coverage {self.available}/{self.expected}"
        if not self.missing:
            return text
        named = ", ".join(self.missing[:5])
        more = f" and {len(self.missing) - 5} more" if len(self.missing) > 5 else ""
        return f"{text} (missing: {named}{more})"


def find_bad_videos(
    videos: Sequence[VideoSource],
    root: VideoFolder | str | os.PathLike[str],
    *,
    decode: bool = False,
    decoder: Decoder = "auto",
    workers: int | None = None,
    progress: bool = True,
) -> list[BadVideo]:
    """Find the videos that are not there, before a run rather than in its third hour.

    Args:
        videos: the split.
        root: the folder they are in.
        decode: also list each file's packets and decode its middle frame, which finds what is no video, damaged in
            its container, cut short, or ends before its segment. About 20 to 100 ms a video and core; without it,
            only paths are looked up.
        decoder: what to decode with.
        workers: processes to decode in, each file within the folder's `decode_timeout`; as many as this process may use
            cores if not given.
        progress: show a progress bar with the time left while decoding.

    Returns:
        The bad ones in the order of `videos`.
    """
    folder = root if isinstance(root, VideoFolder) else VideoFolder(root)
    reasons: dict[int, str] = {}
    paths: dict[int, Path] = {}
    for place, video in enumerate(videos):
        try:
            paths[place] = folder.resolve(video.key)
        except VideoError as error:
            reasons[place] = str(error)
    if decode:
        places = list(paths)
        calls = [(paths[place], decoder, videos[place].start, videos[place].end) for place in places]
        limits = (workers or usable_cores(), folder.decode_timeout, "--data.decode-timeout")
        checked = each_forked(_read_one, calls, *limits)
        for called, bad in track(checked, "checking videos", total=len(calls), disable=not progress):
            if bad is not None:
                reasons[places[called]] = str(bad)
    return [BadVideo(videos[place].video_id, reasons[place]) for place in sorted(reasons)]


def _read_one(path: Path, decoder: Decoder, start: float | None, end: float | None) -> None:
    read_frames(path, 1, decoder=decoder, start=start, end=end)


def apply_policy(
    videos: Sequence[Source], bad: Sequence[BadVideo], policy: BadVideoPolicy = "error"
) -> tuple[list[Source], Coverage]:
    """Go on without the bad videos of a split, or not at all. Never with others in their place.

    Args:
        videos: the split.
        bad: those of it that cannot be used.
        policy: `error` refuses, `skip` drops them from the split.

    Returns:
        The videos to use, and the coverage to report.

    Raises:
        UnusableVideosError: there are bad videos and the policy is `error`, or no other video is left.
        ValueError: an unknown policy.
    """
    if policy not in ("error", "skip"):
        raise ValueError(f"expected the policy 'error' or 'skip', got {policy!r}")
    names = {video.video_id for video in bad}
    kept = [video for video in videos if video.video_id not in names]
    missing = tuple(video.video_id for video in videos if video.video_id in names)
    if missing and (policy == "error" or not kept):
        first = "\n".join(f"  {video.reason}" for video in bad[:5])
        more = f"\n  ... and {len(bad) - 5} more" if len(bad) > 5 else ""
        advice = "check the folder of the videos" if not kept else f"fetch them; {LEAVE_OUT}"
        raise UnusableVideosError(f"{len(missing)} of {len(videos)} videos cannot be used; {advice}:\n{first}{more}")
    return kept, Coverage(len(videos), len(kept), missing)
