"""How long, how fast and in what batches a run trains."""

from dataclasses import dataclass
from typing import Literal

from .launch import Precision, Tracker


@dataclass(frozen=True)
class TrainingConfig:
    """How long, how fast and in what batches.

    Raises:
        ValueError: for a batch that does not divide by its micro-batches, or numbers out of range.
    """

    epochs: int = 5
    """Passes over the training videos; 0 evaluates what the run starts from, where that can do the task."""
    batch_size: int = 64
    """Clips per optimizer step, over all processes and micro-batches together."""
    accumulation: int = 1
    """Micro-batches per step; each is its own contrastive batch, so that alone adds no negatives."""
    gradient_cache: bool = False
    """Retrieval: contrast all clips of a step with each other, across micro-batches, by encoding each of them twice."""
    lr: float = 1e-4
    """Peak learning rate. Fresh adapters want 1e-4 to 1e-3; a whole BLIP about 1e-5."""
    weight_decay: float = 0.05
    """AdamW's decay, on matrices only."""
    beta2: float = 0.999
    """AdamW's memory of squared gradients."""
    warmup: float = 0.1
    """Share of all steps over which the rate rises from zero; after it follows half a cosine to zero."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    precision: Precision | None = None
    """Mixed precision; by default the launcher's, else bf16 where a GPU has it."""
    gradient_checkpointing: bool = False
    """Recompute the vision encoder's activations in the backward pass: less memory, more time."""
    select_on: Literal["val", "test", "last"] | None = None
    """Keep the epoch that is best on this split, or the last; by default `val` where there is one, else `last`."""
    save_every: float = 10.0
    """Minutes between saves of the state within an epoch: what a killed run does again at most. 0 saves at its end."""
    timeout: float = 30.0
    """Minutes that a process waits for the others of a distributed run before it gives up."""
    tracker: Tracker = "none"
    """Also log to TensorBoard or Weights & Biases."""

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 1 or self.accumulation < 1 or not 0 <= self.warmup <= 1:
            raise ValueError("expected epochs >= 0, batch_size >= 1, accumulation >= 1 and warmup from 0 to 1")
        if self.save_every < 0 or self.timeout <= 0:
            raise ValueError("expected save_every >= 0 and timeout > 0, in minutes")
        if self.batch_size % self.accumulation:
            raise ValueError(f"batch_size {self.batch_size} does not divide into {self.accumulation} micro-batches")

    def local_batch_size(self, processes: int) -> int:
        """Clips that one process takes at a time.

        Raises:
            ValueError: if the batch does not divide by processes times micro-batches.
        """
        parts = processes * self.accumulation
        if self.batch_size % parts:
            raise ValueError(
                f"batch_size {self.batch_size} is over all processes; expected a multiple of {processes} processes x "
                f"{self.accumulation} micro-batches = {parts}"
            )
        return self.batch_size // parts
