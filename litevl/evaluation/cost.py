"""What a model costs beside another: parameters, floating-point operations and time to encode clips."""

import statistics
import time
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from litevl.adapters import count_parameters
from litevl.models import VideoTextRetrieval


@dataclass(frozen=True)
class EncodingCost:
    """The cost of a model and of encoding clips with it."""

    trainable: int
    """Parameters that are trained."""
    total: int
    """All parameters."""
    gflops: float
    """Billions of floating-point operations a clip; a multiply-add is two."""
    time: float
    """Time to encode the clips, as a ratio to the reference model's: the median over rounds taken in turn."""


@torch.inference_mode()
def encoding_cost(
    model: VideoTextRetrieval,
    reference: VideoTextRetrieval,
    clips: Float[Tensor, "clips time 3 height width"],
    rounds: int = 101,
) -> EncodingCost:
    """Counts and times the encoding of clips by `model`, beside `reference` on the same clips.

    Operations are counted by torch's own counter, with attention written out so that it is counted on every device.
    """
    was_training = model.training, reference.training
    model.eval(), reference.eval()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model.encode_video(clips[:1])
    ratios = []
    for number in range(rounds + 1):
        times = [_time(each, clips) for each in (model, reference)]
        if number:  # the first round warms up
            ratios.append(times[0] / times[1])
    model.train(was_training[0]), reference.train(was_training[1])
    return EncodingCost(*count_parameters(model), counter.get_total_flops() / 1e9, statistics.median(ratios))


def _time(model: VideoTextRetrieval, clips: Tensor) -> float:
    synchronise = torch.cuda.synchronize if clips.is_cuda else lambda: None
    synchronise()
    start = time.perf_counter()
    model.encode_video(clips)
    synchronise()
    return time.perf_counter() - start
