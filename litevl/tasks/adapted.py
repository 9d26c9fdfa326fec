"""A run's model half for adapters on BLIP: loaded, evaluated frame by frame, adapted, saved beside its backbone."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from litevl.adapters import add_details, plugged_state, unplug
from litevl.blip import enable_gradient_checkpointing
from litevl.evaluation.stamp import stamp
from litevl.training import adapt, frame_by_frame, load_adapted, load_backbone

from .task import Task

BASELINE = "frame average"


class AdaptedBlip(Task):
    """A task on a BLIP with adapters in it."""

    blip: Any

    @property
    def title(self) -> str:
        """The adapter family's."""
        return self.config.model.adapter.title

    @property
    def num_frames(self) -> int:
        """The adapters'."""
        return self.config.model.adapter.num_frames

    @abstractmethod
    def wrap(self, blip: Any) -> Any:
        """The task's model around an adapted BLIP."""

    @abstractmethod
    def plain(self, blip: Any) -> Any:
        """The model around a BLIP that takes clips frame by frame, as published for the task."""

    def load_start(self, folder: Path | None) -> str:
        """The stock BLIP, with what is known of its checkpoint."""
        self.blip = load_backbone(self.config.model, self.accelerator.device)
        return str(self.blip.load_report)

    def baseline(self) -> tuple[str, Any]:
        """The frozen BLIP frame by frame."""
        return BASELINE, self.plain(frame_by_frame(self.blip))

    def trainable(self) -> Any:
        """The task's model around the BLIP with fresh adapters."""
        if plugged_state(self.blip) is not None:
            unplug(self.blip)
        model = self.wrap(adapt(self.blip, self.config.model))
        if self.config.training.gradient_checkpointing:
            enable_gradient_checkpointing(self.blip)
        return model

    def load_trained(self, folder: Path) -> Any:
        """From the adapters and the backbone alone."""
        return load_adapted(self.config.model, folder, self.accelerator.device, self.wrap)

    def finish(self, folder: Path, metrics: Mapping[str, Any], command: str | None) -> None:
        """Into `adapter_config.json` and the model card."""
        scores = self.for_card(metrics["results"][self.title])
        add_details(folder, metrics=scores, protocol=metrics["protocol"], command=command)

    def stamp(self) -> dict[str, Any]:
        """The backbone by its weights, and what of it is trained."""
        config = self.config.model
        return {
            **stamp(self.blip),
            "backbone_source": config.backbone,
            "trained": config.train if self.config.training.epochs > 0 else "nothing (zero-shot)",
        }
