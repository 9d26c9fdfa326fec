"""A task and its model: what of a run is its own."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from accelerate import Accelerator
from torch import nn

from litevl.data.annotations import VideoSource
from litevl.data.clips import Clips
from litevl.training import preprocessing
from litevl.training.clip_batches import ClipBatches

Split = Literal["train", "val", "test"]
Made = TypeVar("Made")


class Task(ABC):
    """What of a run is the task's own, and the model's.

    A task's half is its data, objective and metrics; a model's half is what it starts from, how it is made trainable,
    saved and loaded again (`AdaptedBlip` for adapters on BLIP).

    Args:
        config: with `model`, `training`, `evaluation` and `data`.
        accelerator: of the run.
    """

    kind: ClassVar[str]
    """What the task is called in results."""

    def __init__(self, config: Any, accelerator: Accelerator):
        self.config, self.accelerator = config, accelerator
        self.data: Any = None
        """What `load_data` found: with `splits`, `coverage`, `summary()` and `stamp()`."""
        self._kept: dict[tuple[str, Split], Any] = {}

    @property
    @abstractmethod
    def title(self) -> str:
        """What the trained model is called in results."""

    @property
    @abstractmethod
    def num_frames(self) -> int:
        """Frames of a clip."""

    @abstractmethod
    def load_data(self, folder: Path | None) -> Any:
        """Finds the data of the run; of a finished one's `folder`, what evaluating it again takes."""

    @abstractmethod
    def load_start(self, folder: Path | None) -> str:
        """Loads what the run starts from, and says what that is; of a finished one's `folder`, the same again."""

    @abstractmethod
    def baseline(self) -> tuple[str, Any] | None:
        """The model, untrained on the task, that the trained one is compared with, and its name; None has none."""

    @abstractmethod
    def trainable(self) -> Any:
        """The model to train, `requires_grad` set on what is trained."""

    @abstractmethod
    def load_trained(self, folder: Path) -> Any:
        """The trained model, from what `save` wrote."""

    @abstractmethod
    def save(self, model: Any, folder: Path) -> None:
        """Writes what was trained."""

    @abstractmethod
    def finish(self, folder: Path, metrics: Mapping[str, Any], command: str | None) -> None:
        """Writes what became known after saving beside what was trained, and what people read about it.

        Args:
            folder: the run's.
            metrics: what `metrics.json` holds.
            command: what made it.
        """

    @abstractmethod
    def stamp(self) -> dict[str, Any]:
        """What of the model and the software belongs to the protocol of a result."""

    @abstractmethod
    def objective(self, model: Any) -> nn.Module:
        """The training objective."""

    @abstractmethod
    def batches(self, model: Any) -> ClipBatches:
        """The training batches."""

    @abstractmethod
    def evaluate(self, model: Any, split: Split) -> dict[str, Any]:
        """The metrics of a split."""

    @abstractmethod
    def score(self, metrics: Mapping[str, Any]) -> tuple[str, float]:
        """The number that selects an epoch, higher is better, with its name."""

    @abstractmethod
    def protocol(self) -> dict[str, Any]:
        """What of the settings two results must share to be compared, beside what every task stamps."""

    @abstractmethod
    def show(self, metrics: Mapping[str, Any]) -> None:
        """Prints a run's metrics as tables."""

    @classmethod
    def leaves_parameters_unused(cls, config: Any) -> bool:
        """Whether some trainable parameters may take no part in the loss."""
        return False

    @classmethod
    def check_features(cls, config: Any) -> None:
        """Checks the settings of a run with a feature store, before anything is loaded.

        Raises:
            ValueError: nothing of the model is frozen below adapters.
        """
        raise ValueError(
            "feature_store: expected adapters on a frozen BLIP, got a model that is trained from its first layer, so "
            "that nothing of it can be computed once; use --data.frame-store, which keeps decoded frames"
        )

    def store_features(self, model: Any) -> None:  # noqa: B027 - most models have nothing to store
        """Lets clips be read from the feature store from here on, and fills it, where the run has one.

        Args:
            model: one of the run's.
        """

    def clip_options(self, model: Any) -> dict[str, Any]:
        """What `Clips` takes of the run: this process's share of a split, as the model takes it."""
        settings, accelerator = self.config.evaluation, self.accelerator
        return {
            "num_frames": self.num_frames,
            "preprocess": preprocessing(model),
            "batch_size": settings.batch_size,
            "workers": settings.workers,
            "device": accelerator.device,
            "process": accelerator.process_index,
            "processes": accelerator.num_processes,
        }

    def of_split(self, what: str, split: Split, make: Callable[..., Made]) -> Made:
        """What `make` makes of a split. That of the validation split is kept, with its workers, for the next epoch.

        Args:
            what: told from others of the same split by this name.
            split: of the data.
            make: takes `persistent`, as `Clips` does.
        """
        if split != "val":
            return make(persistent=False)
        if (what, split) not in self._kept:
            self._kept[what, split] = make(persistent=True)
        return self._kept[what, split]

    def clips(self, model: Any, videos: Sequence[VideoSource], persistent: bool = False) -> Clips:
        """This process's share of videos of the data, as the model takes them."""
        settings = self.data.config
        return Clips(
            videos,
            self.data.folder,
            **self.clip_options(model),
            decoder=settings.decoder,
            sampling=settings.sampling,
            on_bad_video=settings.on_bad_video,
            persistent=persistent,
        )

    def for_card(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """What of the trained model's results the model card shows."""
        return dict(results)
