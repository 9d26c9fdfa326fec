"""A run's model half for adapters on BLIP: loaded, evaluated frame by frame, adapted, saved beside its backbone."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from litevl.adapters import add_details, find_vision_encoder, plugged_state, unplug
from litevl.blip import enable_gradient_checkpointing
from litevl.evaluation.stamp import stamp
from litevl.training import adapt, frame_by_frame, load_adapted, load_backbone, preprocessing
from litevl.training.feature_filling import fill, open_store

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

    @classmethod
    def check_features(cls, config: Any) -> None:
        """Below the first adapter there must be blocks, and they must be frozen.

        Raises:
            ValueError: there are none, they are trained, or frames are chosen otherwise than features are kept.
        """
        adapter, settings = config.model.adapter, config.data
        if config.model.train != "adapters":
            raise ValueError(
                f"feature_store: expected train=adapters, got {config.model.train}, which trains the blocks below the "
                "adapters too, so that what they make of a frame changes; use --data.frame-store"
            )
        if adapter.layers == "all" or 0 in adapter.layers or (not adapter.layers and adapter.cls == "clip"):
            raise ValueError(
                f"feature_store: expected adapters in upper blocks alone, as --adapter.layers 8 9 10 11, got layers="
                f"{adapter.layers}; where block 0 is adapted nothing below it can be computed once; use "
                "--data.frame-store"
            )
        if settings.sampling != "midpoint":
            raise ValueError(
                f"feature_store: keeps frames around the middles of equal segments; expected sampling=midpoint, got "
                f"{settings.sampling}; use --data.frame-store"
            )

    def store_features(self, model: Any) -> None:
        """With the clips of all splits, whatever model of the run comes first: its frozen blocks are those of all."""
        data, settings, accelerator = self.data, self.data.config, self.accelerator
        if settings.feature_store is None or data.folder.features is not None:
            return
        depth = len(find_vision_encoder(model.blip).blocks)
        layers, preprocess = self.config.model.adapter.layer_numbers(depth), preprocessing(model)
        store = open_store(
            model.blip,
            layers[0] if layers else depth,
            settings.feature_store,
            preprocess,
            computed_in=str(accelerator.mixed_precision),
            num_frames=self.num_frames,
            per_segment=settings.frames_per_segment or 1,
            precision=settings.feature_precision,
            decoder=settings.decoder,
        )
        kept = {split: store.per_segment if split == "train" else 1 for split in data.splits}
        clips = [(clip, kept[split]) for split, some in data.splits.items() for clip in some]
        clips += [(clip, 1) for clip in getattr(data, "choices", ()) if data.folder.find(clip.key) is not None]
        store.filled = fill(
            store,
            model.blip,
            clips,
            data.folder,
            preprocess,
            accelerator,
            decoder=settings.decoder,
            workers=settings.workers,
        )
        self.data = replace(data, folder=data.folder.reading(store))

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
