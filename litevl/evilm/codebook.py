"""The codebook of the semantic tokenizer: unit-norm codes, moved by averages of what they stand for.

As in BEiT v2 (arXiv 2208.06366) codes are compared by cosine, follow an exponential moving average and start from a
spherical k-means over the first batch. The revival of dead codes is ours, after SoundStream (arXiv 2107.03312). Every
process computes the same codes, so none has to broadcast its buffers.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from litevl.distributed import gather_rows, world_size
from litevl.precision import full_precision

KMEANS_STEPS = 10
CHUNK = 1 << 25
"""Similarities held at a time, 128 MB: a batch of clips against 8192 codes would be gigabytes."""


class Codebook(nn.Module):
    """K codes on the unit sphere and the running averages that move them. Nothing in it has a gradient.

    Args:
        size: number of codes K.
        dim: their width.
        decay: share of the averages kept at each update.
        revive_below: a code used less often than this share of the mean use is dead and is replaced; 0 keeps all.
            At 0.1 a code that is used as often as the mean and then never again is replaced after 230 batches.
    """

    codes: Tensor
    counts: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, size: int, dim: int, decay: float = 0.99, revive_below: float = 0.1):
        super().__init__()
        if size < 1 or dim < 1 or not 0 <= decay < 1 or not 0 <= revive_below < 1:
            raise ValueError(
                f"expected size and dim of at least 1, decay and revive_below from 0 to below 1, got "
                f"{size}, {dim}, {decay}, {revive_below}"
            )
        self.decay, self.revive_below = decay, revive_below
        self.register_buffer("codes", F.normalize(torch.randn(size, dim), dim=-1))
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("sums", torch.zeros(size, dim))
        self.register_buffer("started", torch.tensor(False))

    @torch.no_grad()
    def assign(self, z: Float[Tensor, "*rows dim"]) -> Int[Tensor, "*rows"]:
        """The nearest code of each unit-norm row, by cosine."""
        with full_precision(z):
            return _nearest(z.float().reshape(-1, z.shape[-1]), self.codes).view(z.shape[:-1])

    def lookup(self, ids: Int[Tensor, "*rows"]) -> Float[Tensor, "*rows dim"]:
        """The codes with these numbers."""
        return self.codes[ids]

    def forward(self, z: Float[Tensor, "*rows dim"]) -> tuple[Float[Tensor, "*rows dim"], Int[Tensor, "*rows"]]:
        """The nearest code in place of each unit-norm row, and its number; the gradient passes straight to `z`."""
        ids, z = self.assign(z), z.float()
        return z + (self.lookup(ids) - z).detach(), ids

    @torch.no_grad()
    def start(self, z: Float[Tensor, "rows dim"], generator: torch.Generator) -> None:
        """Places the codes by spherical k-means over the rows of all processes.

        With fewer distinct rows than codes every distinct row becomes a code; the other codes point in random
        directions, with a count of zero, until `update` revives them.

        Args:
            z: unit-norm, as many rows on every process.
            generator: on the CPU and in the same state on every process.
        """
        with full_precision(z):
            rows = gather_rows(z.detach().float())
            # Patches of plain background are often equal to the bit, and equal codes would share one place.
            distinct = torch.unique(rows, dim=0)
            order = torch.randperm(len(distinct), generator=generator)[: len(self.codes)]
            chosen = distinct[order.to(z.device)]
            free = torch.randn(len(self.codes) - len(chosen), z.shape[-1], generator=generator)
            codes = torch.cat([chosen, F.normalize(free, dim=-1).to(z.device)])
            for _ in range(KMEANS_STEPS):
                hits, sums = _hits_and_sums(rows, _nearest(rows, codes), len(codes))
                codes = _toward(codes, hits, sums)
            hits, sums = _hits_and_sums(rows, _nearest(rows, codes), len(codes))
        # The averages begin at zero, and the first batch weighs in them what any batch does: so they follow the
        # encoder while it moves fastest. With the full counts here, codes that it left would seem alive for hundreds
        # of batches, and most of the codebook would be lost in the first ten.
        weight = 1 - self.decay
        # The sums of a GPU differ in the last bit from process to process; here they become the same.
        for buffer, value in ((self.codes, codes), (self.counts, weight * hits), (self.sums, weight * sums)):
            buffer.copy_(value)
            if world_size() > 1:
                dist.broadcast(buffer, src=0)
        self.started.fill_(True)

    @torch.no_grad()
    def update(
        self, z: Float[Tensor, "rows dim"], ids: Int[Tensor, "rows"], generator: torch.Generator
    ) -> Float[Tensor, "codes"]:
        """Moves the codes towards the rows assigned to them, then puts dead codes where rows are.

        Args:
            z: unit-norm, as many rows on every process.
            ids: what `assign` gave for them.
            generator: on the CPU and in the same state on every process.

        Returns:
            How often each code was used in this batch, over all processes.
        """
        with full_precision(z):
            z = z.detach().float()
            hits, sums = _hits_and_sums(z, ids, len(self.codes))
            if world_size() > 1:
                both = torch.cat([hits[:, None], sums], dim=1)
                dist.all_reduce(both)
                hits, sums = both[:, 0].clone(), both[:, 1:]
            self.counts.lerp_(hits, 1 - self.decay)
            self.sums.lerp_(sums, 1 - self.decay)
            self.codes.copy_(_toward(self.codes, hits, self.sums))
            self._revive(z, generator)
        return hits

    def _revive(self, z: Tensor, generator: torch.Generator) -> None:
        """Moves dead codes onto random rows. They count as barely alive: unused in the next batch, they move again."""
        floor = self.revive_below * self.counts.mean()
        dead = (self.counts < floor).nonzero().squeeze(1)
        if len(dead) == 0:
            return
        rows = gather_rows(z)
        # Each row revives one code at most, and chance says which: the first ones would be revived over and over.
        some = torch.randperm(len(dead), generator=generator)[: len(rows)]
        dead = dead[some.to(z.device)]
        chosen = torch.randperm(len(rows), generator=generator)[: len(dead)]
        self.codes[dead] = rows[chosen.to(z.device)]
        self.counts[dead] = floor
        self.sums[dead] = floor * self.codes[dead]


def _nearest(rows: Tensor, codes: Tensor) -> Tensor:
    chunk = max(1, CHUNK // len(codes))
    return torch.cat([(part @ codes.T).argmax(dim=1) for part in rows.split(chunk)])


def _hits_and_sums(rows: Tensor, ids: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How many rows each code has, and their sum."""
    hits = rows.new_zeros(size).index_add_(0, ids, rows.new_ones(len(rows)))
    return hits, rows.new_zeros(size, rows.shape[1]).index_add_(0, ids, rows)


def _toward(codes: Tensor, hits: Tensor, sums: Tensor) -> Tensor:
    """The directions of the sums, where a code was used; elsewhere the sum may long have faded to nothing."""
    return torch.where(hits[:, None] > 0, F.normalize(sums, dim=-1), codes)


def usage(counts: Shaped[Tensor, "codes"]) -> Float[Tensor, ""]:
    """The share of codes used at least once.

    Args:
        counts: how often each code was used.
    """
    return (counts > 0).float().mean()


def perplexity(counts: Shaped[Tensor, "codes"]) -> Float[Tensor, ""]:
    """The number of codes that, used equally often, would have the same entropy.

    Args:
        counts: how often each code was used.

    Raises:
        ValueError: if none was.
    """
    total = counts.sum()
    if total == 0:
        raise ValueError(f"expected a histogram with counts in it, got {len(counts)} zeros; count a batch first")
    return torch.special.entr(counts.double() / total).sum().exp().float()
