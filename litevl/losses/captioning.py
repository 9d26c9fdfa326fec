"""The training objective of video captioning."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from litevl.adapters import FrameFeatures
from litevl.models import TokenBatch, VideoCaptioning

from .language import global_mean, language_loss


@dataclass(frozen=True)
class CaptioningLossConfig:
    """The objective: the captions' language-model loss."""

    label_smoothing: float = 0.1
    """Share of the target that is spread over all words; BLIP's decoder uses 0.1."""

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing: expected a share from 0 to below 1, got {self.label_smoothing}")


class CaptioningObjective(nn.Module):
    """The loss of captions, a mean over the tokens of all processes, as BLIP's captioning takes it."""

    def __init__(self, model: VideoCaptioning, config: CaptioningLossConfig):
        super().__init__()
        self.model, self.config = model, config

    def forward(
        self,
        pixels: Float[Tensor, "clips time 3 height width"] | FrameFeatures,
        tokens: TokenBatch,
        video_ids: Int[Tensor, "clips"],
        step: int,
        epochs_done: float,
    ) -> dict[str, Tensor]:
        """The loss of one batch.

        Args:
            pixels: preprocessed clips, or their stored features.
            tokens: a caption of each, prompt first.
            video_ids: which video each clip is.
            step: number of the batch in the run.
            epochs_done: how far the run is, in epochs.
        """
        logits = self.model.caption_logits(self.model.encode_video(pixels), tokens)
        predicted = self.model.predicted(tokens)
        each = language_loss(logits, tokens.input_ids[:, 1:], predicted, self.config.label_smoothing)
        return {"loss": global_mean(each.sum(), predicted.sum())}
