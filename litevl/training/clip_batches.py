"""Training batches of clips with something said about each, the same in every run of one seed."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from accelerate import Accelerator
from torch.utils.data import Dataset

from litevl.data.coverage import LEAVE_OUT, BadVideoPolicy
from litevl.data.feature_store import FeatureStore, to_model
from litevl.data.loader import clip_loader
from litevl.data.preprocess import PreprocessConfig
from litevl.data.sampler import EpochSampler
from litevl.data.video import VideoError

from .config import TrainingConfig
from .step import Batch

logger = logging.getLogger(__name__)


class ClipBatches(ABC):
    """This process's share of every global batch, decoded by workers and put on the device.

    Args:
        dataset: clips by (epoch, row), with bad videos skipped: what becomes of them is decided here, as an error that
            a worker process raises comes as its traceback.
        collate: makes a batch of them, with `video_id`, `frames`, `bad` and `reasons`.
        workers: processes that decode, from the first epoch to the last; see `decoding_workers` for None.
        preprocess: size, mean and deviation of the frames.
        training: batch size and micro-batches.
        accelerator: of this run.
        seed: of the order.
        on_bad_video: stop at a video that can't be read, or leave it out and name it.
        features: where the dataset reads features in place of frames, if it does.
        sampling: more for `EpochSampler`.

    Raises:
        ValueError: if the batch does not divide by the processes, or is larger than the dataset.
    """

    def __init__(
        self,
        dataset: Dataset,
        collate: Callable[[Any], Any],
        workers: int | None,
        preprocess: PreprocessConfig,
        training: TrainingConfig,
        accelerator: Accelerator,
        seed: int,
        on_bad_video: BadVideoPolicy,
        features: FeatureStore | None,
        **sampling: Any,
    ):
        self.preprocess, self.accelerator, self.on_bad_video = preprocess, accelerator, on_bad_video
        self.features = features
        self.skipped: dict[str, str] = {}
        """Videos that could not be read in training, and why."""
        rows: Any = dataset
        self.sampler = EpochSampler(
            len(rows),
            training.local_batch_size(accelerator.num_processes) * accelerator.num_processes,
            seed=seed,
            num_processes=accelerator.num_processes,
            process_index=accelerator.process_index,
            **sampling,
        )
        self.per_epoch = self.sampler.batches_per_epoch
        self.loader = clip_loader(
            dataset, collate, workers, accelerator.device, persistent=True, batch_sampler=self.sampler
        )

    @abstractmethod
    def inputs(self, items: Any) -> dict[str, Any]:
        """What the objective takes beside `pixels`, from a collated batch."""

    def epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        """The batches of an epoch from batch `start` on.

        Raises:
            VideoError: a video can't be read under the policy `error`; or under `skip` with several processes, whose
                batches must stay equal in size.
        """
        self.sampler.set_epoch(epoch, start)
        for number, items in enumerate(self.loader, start):
            if items["bad"] and self.on_bad_video == "error":
                raise VideoError(items["bad"][0], f"{items['reasons'][0]}; {LEAVE_OUT}")
            if items["bad"] and self.accelerator.num_processes > 1:
                raise VideoError(
                    items["bad"][0],
                    f"{items['reasons'][0]}; processes need batches of one size, so find such files before the run "
                    "with --data.check-decoding",
                )
            for video_id, reason in zip(items["bad"], items["reasons"], strict=True):
                if video_id not in self.skipped:
                    logger.warning("left out of training: %s: %s", video_id, reason)
                self.skipped[video_id] = reason
            if items["video_id"]:
                frames = items["frames"].to(self.accelerator.device, non_blocking=True)
                pixels = to_model(frames, self.preprocess, self.features)
                yield Batch({"pixels": pixels, **self.inputs(items)}, items["video_id"], number)
