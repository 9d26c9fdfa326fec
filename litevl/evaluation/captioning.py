"""Writing a caption for each video of a split; each process writes those of its videos."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from tqdm import tqdm

from litevl.distributed import gather_objects
from litevl.models import VideoCaptioning
from litevl.models.encoding import ClipBatch


@dataclass(frozen=True)
class CaptioningEvaluationConfig:
    """How captions are written."""

    num_beams: int = 3
    """Of the beam search."""
    max_new_tokens: int = 20
    """The longest caption, in tokens after the prompt."""
    min_new_tokens: int = 0
    """The shortest."""
    batch_size: int = 16
    """Clips at a time."""
    workers: int | None = None
    """Processes that decode; by default the cores of this process but one, without a GPU 2."""

    def __post_init__(self) -> None:
        for name, least in (("num_beams", 1), ("max_new_tokens", 1), ("min_new_tokens", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"evaluation.{name}: expected at least {least}, got {getattr(self, name)}")
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(
                f"evaluation.min_new_tokens: expected at most max_new_tokens {self.max_new_tokens}, got "
                f"{self.min_new_tokens}"
            )


@dataclass(frozen=True)
class WrittenCaptions:
    """What was written, by video id; and for clips with a reversal how they were told from it."""

    captions: dict[str, str]
    told: dict[str, bool]
    """Whether a clip's own caption is likelier than that of its reversal."""


@torch.no_grad()
def write_captions(
    model: VideoCaptioning,
    videos: Iterable[tuple[Sequence[str], ClipBatch]],
    accelerator: Accelerator,
    config: CaptioningEvaluationConfig,
    rivals: Mapping[str, tuple[str, str]] | None = None,
    num_videos: int | None = None,
) -> WrittenCaptions:
    """Writes a caption of every video that comes.

    Args:
        model: in eval mode.
        videos: ids and preprocessed clips in batches; this process's share.
        accelerator: of this run.
        config: how.
        rivals: of some videos a true caption and a false one, to see which is likelier.
        num_videos: how many come on this process, for the progress bar.

    Returns:
        The same on every process.
    """
    captions: dict[str, str] = {}
    told: dict[str, bool] = {}
    hidden = not accelerator.is_main_process
    with tqdm(total=num_videos, unit="video", desc="write captions", disable=hidden, leave=False) as bar:
        for names, pixels in videos:
            with accelerator.autocast():
                encoded = model.encode_video(pixels)
                written = model.generate(encoded, config.num_beams, config.max_new_tokens, config.min_new_tokens)
            captions |= dict(zip(names, written, strict=True))
            if rivalled := [row for row, name in enumerate(names) if rivals and name in rivals]:
                assert rivals is not None
                some = encoded[torch.tensor(rivalled, device=model.device)]
                true, false = (model.tokenize([rivals[names[row]][which] for row in rivalled]) for which in (0, 1))
                with accelerator.autocast():
                    better = model.caption_log_likelihood(some, true) > model.caption_log_likelihood(some, false)
                told |= {names[row]: bool(hit) for row, hit in zip(rivalled, better.tolist(), strict=True)}
            bar.update(len(names))
    shards = gather_objects((captions, told))
    return WrittenCaptions(
        {name: text for part, _ in shards for name, text in part.items()},
        {name: hit for _, part in shards for name, hit in part.items()},
    )
