"""How the videos of a run are read, whatever is asked of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .coverage import BadVideoPolicy
from .paths import DECODE_TIMEOUT
from .sampling import Sampling, check_per_segment
from .video import Decoder

FeaturePrecision = Literal["float16", "bfloat16", "float32"]
"""In which stored features are kept."""


@dataclass(frozen=True)
class ReadingConfig:
    """How videos are decoded, sampled and kept, and what becomes of bad ones.

    Raises:
        ValueError: a number of frames that leaves none.
    """

    decoder: Decoder = "auto"
    """PyAV, or decord where that is faster and right (as for AVI); or one of them, or torchcodec, by name."""
    sampling: Sampling = "midpoint"
    """Frames for evaluation: mid-points of equal segments, or `legacy_blip`, BLIP's own truncating rule."""
    frames_per_segment: int | None = None
    """Train on frames drawn among so many of each of a clip's segments, evenly placed: 1 is the middle frame alone, as
    in evaluation, 3 or 5 vary it; by default any frame may be drawn."""
    on_bad_video: BadVideoPolicy = "error"
    """Stop at a missing or unreadable video, or leave it out and say so: in every metric's coverage, where questions
    about it count as wrong."""
    check_decoding: bool = False
    """Decode one frame of every video before the run; without it only missing files are found beforehand."""
    workers: int | None = None
    """Processes that decode training clips; by default the cores of this process but one, without a GPU 2. With 0 the
    run decodes by itself, as for a debugger: what hangs or crashes then takes it along."""
    decode_timeout: float = DECODE_TIMEOUT
    """Seconds that a worker's decoder, or that of --data.check-decoding, may take for a clip before it is stopped, and
    the video counts as one that can't be read; 0 lets it hang. On Linux; with --data.workers 0 nothing can stop it."""
    frame_store: Path | None = None
    """A folder to keep all decoded frames in, resized (150 kB for each of 224 pixels): every epoch after the first, and
    every other run that names it, then reads them in place of decoding. The frames are the same, bit for bit.
    `litevl prepare` fills it beforehand, on every core, and says what it takes."""
    feature_store: Path | None = None
    """A folder to keep what the frozen blocks below the first adapter make of frames, for adapters in the upper blocks
    (--adapter.layers 8 9 10 11): no epoch then decodes or computes them again. It holds frames-per-segment frames of
    each segment (1 if that is not given), and says its size before it is written."""
    feature_precision: FeaturePrecision = "float16"
    """Of what the feature store holds: float16 rounds by 0.05%, an eighth of bfloat16's, which is for features beyond
    65504; float32 is exact, and twice as large."""

    def __post_init__(self) -> None:
        check_per_segment(self.frames_per_segment)
