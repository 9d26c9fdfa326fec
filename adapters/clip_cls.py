"""One CLS per clip, as in TESTA (arXiv 2310.19060): every frame sees the same, its residual averaged over frames."""

import torch
from einops import reduce, repeat
from jaxtyping import Float
from torch import Tensor

from .adapter import Adapter, Position


class ClipCLS(Adapter):
    """Replaces the CLS row of each frame by its mean over the clip's frames; no parameters.

    After the spatial attention of a block it averages the CLS residual. Since all that follows in the block acts on
    each token alone, the CLS then stays the same in every frame, which is one CLS per clip in the stock layout.
    """

    position: Position = "after attention"

    def forward(
        self, tokens: Float[Tensor, "batch_time tokens dim"], num_frames: int
    ) -> Float[Tensor, "batch_time tokens dim"]:
        """Returns the tokens with the clip's mean in every frame's CLS row."""
        mean = reduce(tokens[:, :1], "(b t) one d -> b one d", "mean", t=num_frames)
        return torch.cat([repeat(mean, "b one d -> (b t) one d", t=num_frames), tokens[:, 1:]], dim=1)


class EntryClipCLS(ClipCLS):
    """The same on the input of a block: where adapters start above block 0, the CLS still differs by frame."""

    position: Position = "before block"
