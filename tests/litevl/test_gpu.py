"""On a CUDA device: the same numbers as on the CPU, and training under both mixed precisions."""

import pytest
import torch
from small_blip import make_blip

from litevl.adapters import LiteVLConfig, plug
from litevl.blip import enable_gradient_checkpointing
from litevl.losses import RetrievalLossConfig, RetrievalObjective
from litevl.models import VideoTextRetrieval
from litevl.training import TrainingConfig, make_optimizer, start_accelerator

pytestmark = pytest.mark.gpu
TEXTS = ["a red square", "a blue circle moves left", "the star before the circle", "a square and a star"]


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
    for step in range(20):
        loss = objective(pixels, model.tokenize(TEXTS), ids, step=step, epochs_done=0.0)["loss"]
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_compiles_with_inductor(tokenizer):
    blip = plug(make_blip(tokenizer), LiteVLConfig(num_frames=4), verbose=False).cuda().eval()
    pixels = torch.randn(2, 4, 3, 48, 48, device="cuda")
    expected = blip.vision_model(pixels).last_hidden_state
    compiled = torch.compile(blip.vision_model)(pixels).last_hidden_state
    assert torch.allclose(compiled, expected, atol=1e-3)
