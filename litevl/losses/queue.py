"""A queue of embeddings of earlier batches: more contrastive candidates than the batch holds. Any size."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class FeatureQueue(nn.Module):
    """Holds the newest `size` pairs of embeddings; the oldest are dropped. Empty places carry the id -1."""

    video: Tensor
    text: Tensor
    ids: Tensor
    position: Tensor

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.register_buffer("video", torch.zeros(size, dim))
        self.register_buffer("text", torch.zeros(size, dim))
        self.register_buffer("ids", torch.full((size,), -1))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))

    def stored(self) -> tuple[Float[Tensor, "stored dim"], Float[Tensor, "stored dim"], Int[Tensor, "stored"]]:
        """The embeddings held, video and text, and the videos they belong to."""
        held = self.ids >= 0
        return self.video[held], self.text[held], self.ids[held]

    @torch.no_grad()
    def push(
        self, video: Float[Tensor, "batch dim"], text: Float[Tensor, "batch dim"], ids: Int[Tensor, "batch"]
    ) -> None:
        """Puts a batch in the place of the oldest; of a batch larger than the queue the last ones stay."""
        size = len(self.ids)
        video, text, ids = video[-size:], text[-size:], ids[-size:]
        places = (self.position + torch.arange(len(ids), device=self.ids.device)) % size
        self.video[places] = video.detach().float()
        self.text[places] = text.detach().float()
        self.ids[places] = ids
        self.position.copy_((self.position + len(ids)) % size)
