"""On a CUDA device: the same numbers as on the CPU, and training under both mixed precisions."""

import pytest
import torch
from accelerate.state import AcceleratorState
from small_blip import make_blip

from litevl.adapters import LiteVLConfig, plug
from litevl.blip import enable_gradient_checkpointing
from litevl.evilm import (
    PretrainingLossConfig,
    PretrainingObjective,
    VQTokenizer,
    VQTokenizerConfig,
    load_evilm,
    load_vq_tokenizer,
)
from litevl.evilm.files import EMBEDDED
from litevl.evilm.teacher import load_teacher
from litevl.evilm.vq_objective import VQObjective
from litevl.losses import RetrievalLossConfig, RetrievalObjective
from litevl.models import VideoTextRetrieval
from litevl.training import TrainingConfig, make_optimizer, start_accelerator

pytestmark = pytest.mark.gpu
TEXTS = ["a red square", "a blue circle moves left", "the star before the circle", "a square and a star"]


@pytest.fixture(autouse=True)
def _fresh_accelerate():
    """Accelerate keeps one state a process; each test here has its own precision."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def build(tokenizer):
    return VideoTextRetrieval(plug(make_blip(tokenizer), LiteVLConfig(num_frames=4), verbose=False)).eval()


@torch.no_grad()
def test_scores_equal_the_cpus(tokenizer):
    pixels = torch.randn(4, 4, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    results = []
    for device in ("cpu", "cuda"):
        model = build(tokenizer).to(device)
        video, text = model.encode_video(pixels.to(device)), model.encode_text(TEXTS)
        results.append((model.similarity(text, video).cpu(), model.match(text, video).cpu()))
    for on_cpu, on_gpu in zip(*results, strict=True):
        assert torch.allclose(on_cpu, on_gpu, atol=1e-4)


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_training_steps_with_checkpointing(tokenizer, precision):
    accelerator, _ = start_accelerator(precision, 1, "none")
    model = build(tokenizer)
    enable_gradient_checkpointing(model.blip)
    config = RetrievalLossConfig(momentum=0.99, queue_size=6)
    objective = RetrievalObjective(model.to(accelerator.device), config).to(accelerator.device).train()
    objective, optimizer = accelerator.prepare(objective, make_optimizer(objective, TrainingConfig(lr=1e-3)))
    pixels = torch.randn(4, 4, 3, 48, 48, device=accelerator.device)
    ids = torch.arange(4, device=accelerator.device)
    losses = []
    for step in range(40):
        loss = objective(pixels, model.tokenize(TEXTS), ids, step=step, epochs_done=0.0)["loss"]
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    # From when the queue is full: before, there is less to be told apart.
    assert losses[-1] < losses[2]


def test_compiles_with_inductor(tokenizer):
    blip = plug(make_blip(tokenizer), LiteVLConfig(num_frames=4), verbose=False).cuda().eval()
    pixels = torch.randn(2, 4, 3, 48, 48, device="cuda")
    expected = blip.vision_model(pixels).last_hidden_state
    compiled = torch.compile(blip.vision_model)(pixels).last_hidden_state
    assert torch.allclose(compiled, expected, atol=1e-3)


@torch.no_grad()
def test_evilms_scores_and_codes_equal_the_cpus():
    pixels = torch.randn(4, 6, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    results = []
    for device in ("cpu", "cuda"):
        model, codes = load_evilm("embedded").to(device), load_vq_tokenizer(EMBEDDED / "tokenizer").to(device)
        video, text = model.encode_video(pixels.to(device)), model.encode_text(TEXTS)
        scores = model.similarity(text, video).cpu(), model.match(text, video).cpu()
        results.append((*scores, codes.tokenize(pixels.to(device)).cpu()))
    assert torch.allclose(results[0][0], results[1][0], atol=1e-4)
    assert torch.allclose(results[0][1], results[1][1], atol=1e-4)
    assert (results[0][2] == results[1][2]).float().mean() > 0.99


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_evilm_pretrains_with_checkpointing(precision):
    accelerator, _ = start_accelerator(precision, 1, "none")
    device = accelerator.device
    model = load_evilm("embedded", vision_targets=512).to(device)
    model.enable_checkpointing()
    codes = load_vq_tokenizer(EMBEDDED / "tokenizer").to(device)
    objective = PretrainingObjective(model, PretrainingLossConfig(), codes.tokenize).train()
    objective, optimizer = accelerator.prepare(objective, make_optimizer(objective, TrainingConfig(lr=1e-3)))
    pixels, ids = torch.randn(4, 6, 3, 48, 48, device=device), torch.arange(4, device=device)
    losses = []
    for step in range(20):
        loss = objective(pixels, model.tokenize(TEXTS), ids, step=step, epochs_done=0.0)["loss"]
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_vq_tokenizer_trains(precision):
    accelerator, _ = start_accelerator(precision, 1, "none")
    teacher = load_teacher("blip", "embedded", 48, 12)
    config = VQTokenizerConfig(48, 12, width=32, layers=1, heads=2, codes=32, code_dim=8, teacher_source="embedded")
    objective = VQObjective(VQTokenizer(config, teacher.dim), teacher).to(accelerator.device).train()
    objective, optimizer = accelerator.prepare(objective, make_optimizer(objective, TrainingConfig(lr=1e-3)))
    pixels = torch.randn(4, 6, 3, 48, 48, device=accelerator.device)
    losses = []
    for step in range(20):
        loss = objective(pixels, step=step)["loss"]
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
