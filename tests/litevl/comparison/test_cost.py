"""The counter against the formulas, exactly; parameters, latency and memory against what must hold."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from finished_runs import BY_TASK, config_of
from small_blip import make_blip
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import BlipVisionConfig

from litevl.adapters import FrameAverageConfig, LiteVLConfig, PoolingConfig, TemporalShiftConfig, count_parameters, plug
from litevl.comparison import CostConfig, RetrievalSubject, measure_costs
from litevl.comparison.analytic import blip_clip, blip_flops, evilm_flops
from litevl.comparison.cost import count_flops, operation_flops, step_flops
from litevl.comparison.full_size import blip_base
from litevl.comparison.latency import FEWEST_ROUNDS, measure_latency
from litevl.comparison.load import Source
from litevl.comparison.metrics import CAPTIONING, QUESTIONS, RETRIEVAL
from litevl.comparison.peak_memory import measure_memory
from litevl.evilm import FULL, SMALL, EViLM, save_evilm
from litevl.losses import RetrievalLossConfig, RetrievalObjective
from litevl.models import VideoTextRetrieval

FRAMES, DIM, HIDDEN, LAYERS, TOKENS, PATCHES, EMBED = 4, 128, 256, 3, 10, 9, 64
# Multiply-adds of a clip through the stock encoder: patches, then per block qkv, projection, attention, MLP; the head.
STOCK = FRAMES * (
    PATCHES * 3 * 16 * 16 * DIM + LAYERS * (TOKENS * (4 * DIM * DIM + 2 * DIM * HIDDEN) + 2 * TOKENS * TOKENS * DIM)
)
HEAD = DIM * EMBED
# Temporal attention: qkv, projection and FC_t on the patches, attention over the frames of each.
TEMPORAL = LAYERS * PATCHES * (FRAMES * 5 * DIM * DIM + 2 * FRAMES * FRAMES * DIM)
QUICK = CostConfig("cpu", batches=(1, 2), rounds=3, memory_batch=None, training=False)


def subject(blip, config, pooling=None, **options):
    model = VideoTextRetrieval(plug(blip, config, verbose=False), pooling or PoolingConfig("none"))
    objective = RetrievalObjective(model, RetrievalLossConfig())
    return RetrievalSubject(model.eval(), config.num_frames, 48, objective, **options)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (FrameAverageConfig(FRAMES), STOCK + HEAD),
        (TemporalShiftConfig(FRAMES), STOCK + HEAD),
        (LiteVLConfig(FRAMES), STOCK + TEMPORAL + HEAD),
    ],
)
def test_operations_are_those_counted_by_hand(blip, config, expected):
    assert operation_flops(subject(blip, config))["clip"] == 2 * expected


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        (FrameAverageConfig(FRAMES), PoolingConfig("none")),
        (LiteVLConfig(FRAMES), PoolingConfig("text")),
        (LiteVLConfig(FRAMES, layers=(1,), scaling="conditional"), PoolingConfig("mean")),
        (LiteVLConfig(FRAMES, cls="frame"), PoolingConfig("text", space="hidden")),
        (LiteVLConfig(2, scaling="none"), PoolingConfig("text", keep_tokens=False)),
    ],
)
def test_the_counter_agrees_with_the_formulas(blip, config, pooling):
    """Exactly, operation by operation: nothing that the formulas know is missed, and nothing else counts."""
    made = subject(blip, config, pooling)
    assert operation_flops(made) == blip_flops(made.model, config.num_frames)


@pytest.mark.parametrize("changes", [{}, {"attention": "frame"}, {"num_frames": 2, "fusion_layers": 1}])
def test_the_counter_agrees_with_the_formulas_of_evilm(tokenizer, changes):
    config = replace(SMALL, **changes)
    made = RetrievalSubject(EViLM(config, tokenizer).eval(), config.num_frames, config.image_size)
    assert operation_flops(made) == evilm_flops(config)


def test_formulas_give_the_known_size_of_vit_b_and_of_evilm():
    """ViT-B/16 at 224 pixels has 17.6 GMACs (Touvron et al., arXiv 2012.12877, table 5: DeiT-B)."""
    vision = blip_base().vision_config
    assert isinstance(vision, BlipVisionConfig)
    assert blip_clip(vision, None, 1, 256) / 2e9 == pytest.approx(17.6, abs=0.05)
    assert sum(evilm_flops(FULL).values()) / 2e9 == pytest.approx(12.4, abs=0.1)
    assert blip_flops_of_no_formula() == {}


def blip_flops_of_no_formula():
    from litevl.blip import load_blip

    blip = plug(load_blip("embedded", task="retrieval"), TemporalShiftConfig(), verbose=False)
    return blip_flops(VideoTextRetrieval(blip, PoolingConfig("none")), 8)


def test_a_training_step_is_carried_on(blip):
    made = subject(blip, LiteVLConfig(FRAMES), batch_size=6)
    made.model.blip.requires_grad_(False)
    plug_parts = [module for name, module in made.model.named_modules() if name.endswith(".litevl")]
    for part in plug_parts:
        part.requires_grad_(True)
    with sdpa_kernel(SDPBackend.MATH):  # of fused attention the counter does not know every kernel
        counted = count_flops(lambda: made.loss(6).backward())
        forward = count_flops(lambda: made.loss(6))
    made.model.zero_grad(set_to_none=True)
    # Which negatives are drawn settles how many texts a video is matched with, and so how much is padded.
    assert step_flops(made) == pytest.approx(counted, rel=1e-3)
    assert step_flops(made) > 1.3 * forward, "the backward pass counts"
    assert step_flops(replace(made, accumulation=2)) < step_flops(made), "fewer similarities"
    assert all(parameter.grad is None for parameter in made.model.parameters())
    assert not made.model.training


def test_costs_stand_side_by_side(tokenizer):
    blip = partial(make_blip, tokenizer)
    builders = {
        "frozen": lambda device: subject(blip(), FrameAverageConfig(FRAMES)),
        "LiteVL": lambda device: subject(blip(), LiteVLConfig(FRAMES)),
    }
    told = []
    costs = measure_costs(builders, QUICK, tell=told.append)
    assert told == ["costs of frozen", "costs of LiteVL", "latency of 2 models in turn"]
    litevl = costs["LiteVL"]
    assert (litevl.trainable, litevl.total) == count_parameters(builders["LiteVL"](None).model)
    assert litevl.clip_gflops == 2 * (STOCK + TEMPORAL + HEAD) / 1e9
    assert litevl.gflops == sum(litevl.flops.values()) / 1e9
    assert costs["frozen"].latency[2].ratio == 1.0
    assert (litevl.latency[1].ratio > 0, litevl.memory, litevl.step_flops) == (True, None, None)


def test_latency_ends_in_time(blip):
    made = subject(blip, FrameAverageConfig(FRAMES))
    assert measure_latency({"a": made}, "a", 1, rounds=1000, seconds=0.0)["a"].rounds == FEWEST_ROUNDS


SOURCES = {
    RETRIEVAL.name: ("clip", "text", "pair"),
    QUESTIONS.name: ("clip", "question", "answer"),
    CAPTIONING.name: ("clip", "caption"),
}


@pytest.mark.parametrize("task", SOURCES)
@pytest.mark.parametrize("frozen", [True, False])
def test_every_task_is_rebuilt_from_its_config(task, frozen, tmp_path):
    made = Source(config_of(task), BY_TASK[task], frozen, task, tmp_path)(torch.device("cpu"))
    flops = operation_flops(made)
    assert tuple(flops) == SOURCES[task]
    assert all(count > 0 for count in flops.values())
    assert (count_parameters(made.model)[0] == 0, made.objective is None) == (frozen, frozen)
    if not frozen:
        assert step_flops(made) > 2 * flops["clip"] * made.batch_size


@pytest.mark.parametrize("task", [RETRIEVAL.name, QUESTIONS.name])
def test_evilm_is_rebuilt_from_its_folder(task, tokenizer, tmp_path):
    save_evilm(EViLM(SMALL, tokenizer), tmp_path)
    config = config_of(task) | {"model": {"start": "gone", "num_frames": None}}
    made = Source(config, BY_TASK[task], False, task, tmp_path)(torch.device("cpu"))
    flops = operation_flops(made)
    assert tuple(flops) == SOURCES[task]
    assert flops["clip"] == evilm_flops(SMALL)["clip"]
    assert step_flops(made) > 2 * flops["clip"] * made.batch_size


def test_choosing_an_answer_counts_all_that_are_scored(tmp_path):
    """What the caption of the table says of it."""
    made = Source(config_of(QUESTIONS.name), BY_TASK[QUESTIONS.name], False, QUESTIONS.name, tmp_path)
    subject = made(torch.device("cpu"))
    one, three = (operation_flops(replace(subject, answers=3, k=k))["answer"] for k in (1, 3))
    assert three > 2 * one


def test_an_unknown_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a config of one of RetrievalModelConfig, .*EViLMModelConfig"):
        Source({"model": {"nonsense": 1}}, {}, False, "retrieval", tmp_path)(torch.device("cpu"))


def test_memory_is_that_of_a_process_of_its_own(tmp_path):
    source = Source(config_of(), BY_TASK["retrieval"], False, "retrieval", tmp_path)
    made = source(torch.device("cpu"))
    found = measure_memory(source, made, 0, clips=4)
    weights = 4 * count_parameters(made.model)[1]
    assert weights < found.bytes < weights + 2**30
    assert (found.clips, found.how.startswith("resident in a process of its own")) == (4, True)
