"""The training objective of the VQ tokenizer: say the teacher's features from codes, and stay near the codes."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from litevl.models.features import TokenBatch
from litevl.precision import full_precision

from .codebook import perplexity, usage
from .teacher import Teacher, resample_grid
from .vq_tokenizer import VQOutput, VQTokenizer


class VQObjective(nn.Module):
    """VQ-KD's loss (BEiT v2, arXiv 2208.06366), and the codebook's own start and updates.

    The codebook is part of what training changes, so it is saved with a run's state. The teacher is not: it goes to
    the tokenizer's device with it, but is no child module, so that no optimizer, state dict or wrapper meets it.

    Args:
        tokenizer: what is trained.
        teacher: whose features it learns; frozen.
        seed: with the number of the batch it settles what the codebook draws.

    Raises:
        ValueError: a teacher of another width than the tokenizer's, or one that is not frozen.
    """

    teacher: Teacher

    def __init__(self, tokenizer: VQTokenizer, teacher: Teacher, seed: int = 0):
        super().__init__()
        if teacher.dim != tokenizer.teacher_dim:
            raise ValueError(
                f"expected a teacher whose features are {tokenizer.teacher_dim} wide, as the tokenizer's decoder, got "
                f"{teacher.dim}; make the tokenizer with teacher_dim=teacher.dim"
            )
        if any(parameter.requires_grad for parameter in teacher.parameters()):
            raise ValueError("expected a frozen teacher, got one with parameters that require a gradient; freeze it")
        self.tokenizer, self.seed = tokenizer, seed
        object.__setattr__(self, "teacher", teacher.eval())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        self.teacher._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def forward(
        self,
        pixels: Float[Tensor, "batch time 3 height width"],
        tokens: TokenBatch | None = None,
        video_ids: Int[Tensor, "batch"] | None = None,
        step: int = 0,
        epochs_done: float = 0.0,
    ) -> dict[str, Tensor]:
        """The losses of one batch; in training mode the codebook starts on the first one and follows each.

        Args:
            pixels: preprocessed clips, as many on every process; their frames are taken one by one.
            tokens: not used; the training loop gives them to every objective.
            video_ids: not used, as `tokens`.
            step: number of the batch in the run.
            epochs_done: not used, as `tokens`.

        Returns:
            `loss`; its parts, `distance` (1 - cosine to the teacher; to pixels, the mean squared error) and
            `commitment`, which has its weight in `loss` only; and `perplexity` and `usage` of the codes in this batch,
            which cannot exceed the number of its patches. In training mode the last two are of all processes' batch.
        """
        frames = pixels.flatten(0, 1)
        codebook = self.tokenizer.codebook
        z = self.tokenizer.encode(frames)
        rows = z.detach().flatten(0, 1)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        if self.training and not codebook.started:
            codebook.start(rows, generator)
        output = self.tokenizer.quantise(z)
        ids = output.ids.flatten()
        if self.training:
            counts = codebook.update(rows, ids, generator)
        else:
            counts = torch.bincount(ids, minlength=len(codebook.codes))
        distance, commitment = self._distance(output, frames), _commitment(output)
        return {
            "loss": distance + self.tokenizer.config.commitment * commitment,
            "distance": distance.detach(),
            "commitment": commitment.detach(),
            "perplexity": perplexity(counts),
            "usage": usage(counts),
        }

    @torch.no_grad()
    def measure(
        self, pixels: Float[Tensor, "batch time 3 height width"]
    ) -> tuple[float, Int[Tensor, "batch time patches"]]:
        """The mean distance to the teacher over the frames of some clips, and their codes; nothing moves."""
        frames = pixels.flatten(0, 1)
        output = self.tokenizer(frames)
        return self._distance(output, frames).item(), output.ids.unflatten(0, pixels.shape[:2])

    def _distance(self, output: VQOutput, frames: Tensor) -> Tensor:
        targets = resample_grid(self.teacher(frames), self.tokenizer.config.grid)
        with full_precision(targets):
            predicted = output.predicted.float()
            if self.teacher.semantic:
                return (1 - F.cosine_similarity(predicted, targets, dim=-1)).mean()
            return F.mse_loss(predicted, targets)


def _commitment(output: VQOutput) -> Tensor:
    """How far the encoder is from its codes; only the encoder is drawn, the codes follow by their averages."""
    return F.mse_loss(output.z, output.quantised.detach())
