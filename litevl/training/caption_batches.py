"""Training batches of text-video retrieval: clips with one caption each, the same in every run of one seed."""

from collections.abc import Iterator

from accelerate import Accelerator
from torch.utils.data import DataLoader

from litevl.data.dataset import CaptionedVideoDataset, collate_captioned
from litevl.data.preprocess import PreprocessConfig, normalize
from litevl.data.retrieval import RetrievalData
from litevl.data.sampler import EpochSampler
from litevl.data.video import VideoError
from litevl.models import VideoTextRetrieval

from .fit import Batch, TrainingConfig


class CaptionBatches:
    """This process's share of every global batch, decoded by workers and put on the device.

    Args:
        data: the training split and its files.
        model: tokenises the captions.
        training: batch size and micro-batches.
        num_frames: of each clip, drawn at random within equal segments.
        preprocess: size, mean and deviation of the frames.
        accelerator: of this run.
        seed: of order, captions and frames.

    Raises:
        ValueError: if the batch does not divide by the processes.
    """

    def __init__(
        self,
        data: RetrievalData,
        model: VideoTextRetrieval,
        training: TrainingConfig,
        num_frames: int,
        preprocess: PreprocessConfig,
        accelerator: Accelerator,
        seed: int,
    ):
        self.model, self.preprocess, self.accelerator = model, preprocess, accelerator
        dataset = CaptionedVideoDataset(
            data.splits["train"],
            data.folder,
            num_frames,
            preprocess,
            captions=data.config.captions,
            decoder=data.config.decoder,
            on_bad_video=data.config.on_bad_video,
            seed=seed,
        )
        self.sampler = EpochSampler(
            len(dataset),
            training.local_batch_size(accelerator.num_processes) * accelerator.num_processes,
            seed=seed,
            num_processes=accelerator.num_processes,
            process_index=accelerator.process_index,
        )
        self.per_epoch = self.sampler.batches_per_epoch
        self.loader = DataLoader(
            dataset,
            batch_sampler=self.sampler,
            num_workers=data.config.workers,
            collate_fn=collate_captioned,
            persistent_workers=data.config.workers > 0,
        )

    def epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        """The batches of an epoch from batch `start` on.

        Raises:
            VideoError: a video can't be read under the policy `error`; or under `skip` with several processes, whose
                batches must stay equal in size.
        """
        self.sampler.set_epoch(epoch, start)
        for items in self.loader:
            if items["bad"] and self.accelerator.num_processes > 1:
                raise VideoError(
                    items["bad"][0],
                    f"{items['reasons'][0]}; processes need batches of one size, so find such files before the run "
                    "with --data.check-decoding",
                )
            if len(items["video_id"]) < 2:
                continue
            device = self.accelerator.device
            inputs = {
                "pixels": normalize(items["frames"].to(device), self.preprocess),
                "tokens": self.model.tokenize(items["caption"]),
                "video_ids": items["video_index"].to(device),
            }
            yield Batch(inputs, items["video_id"])
