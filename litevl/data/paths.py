"""Where in a folder a video lies, whatever layout the dataset was unpacked in."""

import errno
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from litevl.data.annotations import VIDEO_EXTENSIONS
from litevl.data.video_index import VideoError
from litevl.data.video_key import is_video_key

SUBFOLDERS = (
    "",
    "videos",
    "videos/all",
    "train",
    "val",
    "test",
    "TrainValVideo",
    "TestVideo",
    "YouTubeClips",
    "compress",
    # One level up, the folder that an archive unpacks into.
    "MSRVTT/videos/all",
    "MSRVTT/videos",
    "msrvtt_ret/videos",
    "msrvtt/videos",
    "MSRVTT_Videos",
    "msrvtt_data/MSRVTT_Videos",
)
"""Looked through in this order."""
DECODE_TIMEOUT = 120.0
"""A clip takes milliseconds, on a slow network or of a file of hours perhaps seconds."""
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)
"""What the system says of a folder that cannot be one of the videos'."""


class VideoFolder:
    """A dataset's folder, each of whose sub-folders is listed once, so that finding many videos costs no file access.

    Args:
        root: the folder.
        frame_store: where the videos' decoded frames are kept, if they are; see `litevl.data.frame_store`.
        features: the `FeatureStore` that is read in place of frames, if one is; its module imports torch, which
            commands that only look at files need not wait for.
        decode_timeout: seconds that a worker's decoder may take for a clip; 0 for no limit.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a limit that is none.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        frame_store: str | os.PathLike[str] | None = None,
        features: Any = None,
        decode_timeout: float = DECODE_TIMEOUT,
    ):
        check_decode_timeout(decode_timeout)
        self.root, self.frame_store, self.features = Path(root), frame_store, features
        self.decode_timeout = decode_timeout
        if not self.root.is_dir():
            raise FileNotFoundError(f"expected a folder of videos, got {self.root}, which is not one")
        self._listings: dict[str, dict[str, list[str]]] = {}

    def reading(self, features: Any) -> "VideoFolder":
        """The same folder, of whose videos stored features are read in place of frames."""
        return VideoFolder(self.root, self.frame_store, features, self.decode_timeout)

    def find(self, key: str | int) -> Path | None:
        """The video's file, or None.

        Tried in order: the key as it stands, the key with each of `VIDEO_EXTENSIONS` (in place of its own), in the
        root and then each of `SUBFOLDERS`; then the same for the key's other spellings: without its folder, with or
        without a leading `v_`, `video7` for 7.

        Raises:
            ValueError: a key that is empty or would lead out of the root (absolute, or with `..`).
            VideoError: a folder that it may be in cannot be listed.
        """
        for spelling in _spellings(key):
            for folder in SUBFOLDERS:
                found = self._look(PurePosixPath(folder) / spelling)
                if found is not None:
                    return found
        return None

    def resolve(self, key: str | int) -> Path:
        """As `find`, but a missing video is an error.

        Raises:
            ValueError: as `find`.
            VideoError: there is no such video, or a folder cannot be listed.
        """
        found = self.find(key)
        if found is None:
            looked = ", ".join(folder or "." for folder in SUBFOLDERS if (self.root / folder).is_dir())
            raise VideoError(
                self.root / str(key),
                f"no file for the video {key!r} with one of the extensions {', '.join(VIDEO_EXTENSIONS[:5])}, ... "
                f"(looked in {looked})",
            )
        return found

    def _look(self, wanted: PurePosixPath) -> Path | None:
        names = self._listing(str(wanted.parent)).get(_stem(wanted.name), ())
        if wanted.name in names:
            return self.root / wanted
        by_extension = {name.rpartition(".")[2].lower(): name for name in sorted(names, reverse=True)}
        for extension in VIDEO_EXTENSIONS:
            if extension in by_extension:
                return self.root / wanted.parent / by_extension[extension]
        return None

    def _listing(self, folder: str) -> dict[str, list[str]]:
        """The files of a folder by stem; nothing for a folder that is not there."""
        if folder not in self._listings:
            names: dict[str, list[str]] = {}
            try:
                with os.scandir(self.root / folder) as entries:
                    for entry in entries:
                        if entry.is_file():
                            names.setdefault(_stem(entry.name), []).append(entry.name)
            except PermissionError as error:
                raise VideoError(
                    self.root / folder, "the folder may not be listed (permission denied); change its permissions"
                ) from error
            except OSError as error:
                if error.errno not in NOT_THERE:
                    raise VideoError(self.root / folder, f"the folder cannot be listed: {error.strerror}") from error
            self._listings[folder] = names
        return self._listings[folder]


def check_decode_timeout(seconds: float) -> None:
    """Refuses a limit that is none.

    Raises:
        ValueError: it is negative, endless or not a number.
    """
    if not 0 <= seconds < math.inf:
        raise ValueError(f"expected decode_timeout in seconds, 0 for no limit, got {seconds}")


def resolve_video(root: str | os.PathLike[str], key: str | int) -> Path:
    """The file of one video. For many, keep a `VideoFolder`.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a key that is empty or would lead out of the root.
        VideoError: there is no such video.
    """
    return VideoFolder(root).resolve(key)


def _spellings(key: str | int) -> Iterator[str]:
    if isinstance(key, int):
        if isinstance(key, bool) or key < 0:
            raise ValueError(f"expected a video's key, got {key!r}")
        yield f"video{key}"
        return
    path = PurePosixPath(key.strip())
    if not is_video_key(key):
        out = ", which leads out of it" if path.name else ""
        raise ValueError(f"expected a video's key relative to its folder, got {key!r:.80}{out}")
    yield str(path)
    if len(path.parts) > 1:
        yield path.name
    yield path.name[2:] if path.name.startswith("v_") and len(path.name) > 2 else f"v_{path.name}"
    if _stem(path.name).isdecimal():
        yield f"video{path.name}"


def _stem(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    return stem if dot and extension.lower() in VIDEO_EXTENSIONS else name
