"""The account that load_blip gives of what it loaded."""

from dataclasses import dataclass

from litevl.blip.checkpoint import name_some


@dataclass(frozen=True)
class LoadReport:
    """What was loaded, from where, and what became of every tensor of the checkpoint."""

    source: str
    """As it was asked for."""
    format: str
    """"transformers" or "original" (Salesforce's and LAVIS's key names)."""
    task: str
    """"retrieval", "vqa" or "captioning"."""
    matched: tuple[str, ...]
    """The model's tensors that the checkpoint filled."""
    missing: tuple[str, ...]
    """The model's tensors that it did not fill; any is an error, so this is empty in a report that is returned."""
    unexpected: tuple[str, ...]
    """Tensors of the checkpoint that the model has no place for."""
    dropped: tuple[str, ...]
    """Tensors left aside on purpose: momentum copies, queues, temperature, and parts of other tasks."""
    temperature: float | None
    """The contrastive temperature that the checkpoint's training learned, where it is in the file."""
    image_size: int
    """Height and width of the images that the position table now stands for, in pixels."""
    interpolated_from: int | None
    """The checkpoint's own image size, where the position table was interpolated."""
    vision_eps: float
    """Epsilon of the vision encoder's layer norms."""
    revision: str | None
    """The commit of a model from the hub."""
    notes: tuple[str, ...]
    """What was changed with respect to the folder's own config, a sentence each."""

    def __str__(self) -> str:
        came = f"{self.source} at {self.revision}" if self.revision else self.source
        size = f"{self.image_size} px"
        if self.interpolated_from is not None:
            size += f" (positions interpolated from {self.interpolated_from} px)"
        lines = [
            f"loaded {came} ({self.format} names) for {self.task}, {size}, vision epsilon {self.vision_eps:g}",
            f"tensors: {len(self.matched)} matched, {len(self.missing)} missing, {len(self.unexpected)} unexpected, "
            f"{len(self.dropped)} dropped"
            + (f"; learned temperature {self.temperature:.4g}" if self.temperature is not None else ""),
        ]
        if self.unexpected:
            lines.append(f"unexpected: {name_some(self.unexpected)}")
        return "\n".join(lines + [f"note: {note}" for note in self.notes])
