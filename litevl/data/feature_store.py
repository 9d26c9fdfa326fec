"""What the frozen blocks below the first adapter made of frames, kept on disk: training then decodes nothing.

One file for each clip, the hidden states of its candidate frames, below a folder named after all that they depend on
beside the video: another backbone, image size, block or precision is another folder, another video another file.
"""

import hashlib
import json
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from litevl.adapters import FrameFeatures
from litevl.adapters.aside import file_aside
from litevl.data.annotations import VideoSource
from litevl.data.preprocess import PreprocessConfig, normalize
from litevl.data.reading_config import FeaturePrecision
from litevl.data.sampling import candidate_places
from litevl.data.video import VideoError

VERSION = 1
"""Of how features are computed and written; another one leaves older files unread."""
NAME = "hidden"


class DamagedFeaturesError(ValueError):
    """A stored file that does not hold what was written; it has been removed."""


@dataclass(frozen=True)
class FeatureKind:
    """What stored features depend on beside the video; written as `about.json` beside them."""

    backbone: str
    """Fingerprint of the blocks below."""
    layer: int
    """The block that the frames enter."""
    preprocessing: str
    """Fingerprint of the preprocessing."""
    computed_in: str
    """Mixed precision of the computation; `no` is float32."""
    precision: FeaturePrecision
    """Of what is kept."""
    tokens: int
    """Of a frame, CLS counted."""
    dim: int
    decoder: str
    version: int = VERSION

    @property
    def dtype(self) -> torch.dtype:
        """That is kept."""
        return getattr(torch, self.precision)

    @property
    def frame_bytes(self) -> int:
        """Of one frame on disk."""
        return self.tokens * self.dim * self.dtype.itemsize


class FeatureStore:
    """A folder of features of one kind; any number of processes may share it.

    A clip is known by its video's path, size and time of change, its start and end, and how many frames are kept. Files
    are written aside and renamed. What was damaged since is noticed by a checksum of each frame.

    Args:
        folder: of all kinds; made when something is written.
        kind: what the features depend on.
        num_frames: frames of a clip.
        per_segment: frames kept of each of the clip's segments for training; see `candidate_places`.
    """

    def __init__(self, folder: Path, kind: FeatureKind, num_frames: int, per_segment: int = 1):
        digest = hashlib.sha256(json.dumps(asdict(kind), sort_keys=True).encode()).hexdigest()[:16]
        self.folder, self.kind = folder / f"block{kind.layer}-{digest}", kind
        self.num_frames, self.per_segment = num_frames, per_segment
        self.bad: dict[str, str] = {}
        """Clips whose video could not be decoded when the store was filled, by their file's name, and why."""
        self.filled: dict[str, Any] = {}
        """What filling it took in this run."""

    def file_of(self, path: Path, clip: VideoSource, per_segment: int) -> Path:
        """Where the features of a clip are kept.

        Args:
            path: of the video.
            clip: which part of it.
            per_segment: frames kept of each segment.
        """
        about = path.stat()
        kept = (clip.start, clip.end, self.num_frames, per_segment)
        parts = (path.resolve(), about.st_size, about.st_mtime_ns, *kept)
        return self.folder / f"{hashlib.sha256(os.fsencode('|'.join(map(str, parts)))).hexdigest()[:24]}.safetensors"

    def holds(self, stored: Path, per_segment: int) -> bool:
        """Whether a file is there, whole by its length."""
        try:
            with safe_open(stored, "pt") as file:
                shape = file.get_slice(NAME).get_shape()
        except (OSError, SafetensorError):
            return False
        return shape == [self.num_frames * per_segment, self.kind.tokens, self.kind.dim]

    def write(self, stored: Path, hidden: Float[Tensor, "frames tokens dim"]) -> None:
        """Keeps the features of a clip.

        Raises:
            ValueError: they do not fit the precision, or can't be written.
        """
        kept = hidden.detach().to("cpu", self.kind.dtype).contiguous()
        if not torch.isfinite(kept).all():
            raise ValueError(
                f"feature_precision: expected finite features, got values up to {hidden.abs().max():g}, which "
                f"{self.kind.precision} does not hold; take bfloat16 or float32"
            )
        sums = json.dumps([_sum(frame) for frame in kept])
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            about = self.folder / "about.json"
            if not about.is_file():
                with file_aside(about) as aside:
                    aside.write_text(json.dumps(asdict(self.kind), indent=2) + "\n", encoding="utf-8")
            with file_aside(stored) as aside:
                aside.write_bytes(save({NAME: kept}, {"sums": sums}))  # a full disk is then an OSError
        except OSError as error:
            raise ValueError(f"feature_store: {self.folder} can't be written ({error}); name another folder") from error

    def read(self, path: Path, clip: VideoSource, rng: np.random.Generator | None) -> Float[Tensor, "time tokens dim"]:
        """The features of a clip's frames.

        Args:
            path: of the video.
            clip: which part of it.
            rng: draws among the candidates, for training; without it the mid-points come, as in evaluation.

        Raises:
            VideoError: there are none: the video could not be decoded, or changed since.
            DamagedFeaturesError: the file is damaged.
        """
        counts = (self.per_segment,) if rng is not None else dict.fromkeys((1, self.per_segment))
        files = [(count, self.file_of(path, clip, count)) for count in counts]
        for count, stored in files:
            if stored.is_file():
                return self._load(stored, candidate_places(self.num_frames, count, rng))
        reasons = [self.bad[stored.name] for _, stored in files if stored.name in self.bad]
        gone = f"expected its features in {self.folder}; it changed since the run began, or they were removed: --resume"
        raise VideoError(path, reasons[0] if reasons else gone)

    def _load(self, stored: Path, places: np.ndarray) -> Tensor:
        try:
            with safe_open(stored, "pt") as file:
                sums, kept = json.loads(file.metadata()["sums"]), file.get_slice(NAME)
                frames = [kept[place : place + 1] for place in places.tolist()]
            if [_sum(frame) for frame in frames] != [sums[place] for place in places.tolist()]:
                raise ValueError("its checksum is another")
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError) as error:
            stored.unlink(missing_ok=True)
            raise DamagedFeaturesError(
                f"{stored}: damaged ({error}) and removed; go on with the run by --resume, which makes it anew"
            ) from error
        return torch.cat(frames)


def to_model(frames: Tensor, preprocess: PreprocessConfig, store: FeatureStore | None) -> Tensor | FrameFeatures:
    """A batch of what a dataset gave, on its device, as a model takes it: pixels, or features from the store."""
    return normalize(frames, preprocess) if store is None else FrameFeatures(frames, store.kind.layer)


def _sum(frame: Tensor) -> int:
    return zlib.crc32(frame.contiguous().view(torch.uint8).numpy().data)
