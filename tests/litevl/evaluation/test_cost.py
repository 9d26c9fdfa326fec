"""Costs against what is counted by hand."""

import pytest
import torch

from litevl.adapters import FrameAverageConfig, LiteVLConfig, PoolingConfig, TemporalShiftConfig, count_parameters, plug
from litevl.evaluation.cost import encoding_cost
from litevl.models import VideoTextRetrieval

FRAMES, DIM, HIDDEN, LAYERS, TOKENS, PATCHES, EMBED = 4, 128, 256, 3, 10, 9, 64
CLIPS = torch.randn(2, FRAMES, 3, 48, 48)
# Multiply-adds of a clip through the stock encoder: patches, then per block qkv, projection, attention, MLP; the head.
STOCK = FRAMES * (
    PATCHES * 3 * 16 * 16 * DIM + LAYERS * (TOKENS * (4 * DIM * DIM + 2 * DIM * HIDDEN) + 2 * TOKENS * TOKENS * DIM)
)
HEAD = DIM * EMBED
# Temporal attention: qkv, projection and FC_t on the patches, attention over the frames of each.
TEMPORAL = LAYERS * PATCHES * (FRAMES * 5 * DIM * DIM + 2 * FRAMES * FRAMES * DIM)


def model(blip, config):
    return VideoTextRetrieval(plug(blip, config, verbose=False), PoolingConfig("none"))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (FrameAverageConfig(FRAMES), STOCK + HEAD),
        (TemporalShiftConfig(FRAMES), STOCK + HEAD),
        (LiteVLConfig(FRAMES), STOCK + TEMPORAL + HEAD),
    ],
)
def test_operations_are_those_counted_by_hand(blip, config, expected):
    built = model(blip, config)
    cost = encoding_cost(built, built, CLIPS, rounds=3)
    assert cost.gflops == pytest.approx(2 * expected / 1e9, rel=1e-6)
    assert (cost.trainable, cost.total) == count_parameters(built)
    assert cost.time > 0


def test_the_mode_of_the_models_stays(blip):
    built = model(blip, FrameAverageConfig(FRAMES)).train()
    encoding_cost(built, built, CLIPS, rounds=1)
    assert built.training
