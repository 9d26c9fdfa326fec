"""Two processes with half a batch each: the loss and gradients of one process with all of it, and half its work."""

import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from forked_runs import context
from small_blip import make_blip
from torch.nn.parallel import DistributedDataParallel
from torch.utils.flop_counter import FlopCounterMode

from litevl.adapters import LiteVLConfig, plug
from litevl.blip import load_tokenizer
from litevl.distributed import gather_objects, gather_rows, rank, world_size
from litevl.losses import RetrievalLossConfig, RetrievalObjective
from litevl.models import VideoTextRetrieval

TEXTS = ["a red square", "a blue circle moves left", "the star before the circle and after the square", "a square"]
CONFIGS = {
    "plain": RetrievalLossConfig(),
    "momentum, queue, soft labels": RetrievalLossConfig(momentum=0.9, queue_size=5),
}


def run(vocab_file, config, part):
    """Two steps of a seeded model on `part` of a seeded batch: losses, the adapters' gradients, operations of each."""
    model = VideoTextRetrieval(plug(make_blip(load_tokenizer(vocab_file)), LiteVLConfig(num_frames=2), verbose=False))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.ndim:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    objective = RetrievalObjective(model, config, seed=3).train()
    called = DistributedDataParallel(objective, broadcast_buffers=False) if world_size() > 1 else objective
    pixels = torch.randn(4, 2, 3, 48, 48, generator=generator)
    ids = torch.tensor([7, 8, 7, 9])
    losses, operations = [], []
    for step in range(2):
        objective.zero_grad()
        batch = {"pixels": pixels[part], "tokens": model.tokenize(TEXTS[part]), "video_ids": ids[part]}
        with FlopCounterMode(display=False) as counter:
            parts = called(**batch, step=step, epochs_done=0.7)
            parts["loss"].backward()
        operations.append(counter.get_total_flops())
        losses.append({name: sum(gather_objects(value.item())) / world_size() for name, value in parts.items()})
    return losses, {name: p.grad for name, p in objective.named_parameters() if p.grad is not None}, operations


def one_of_two(process, vocab_file, config, folder):
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=process, world_size=2)
    part = slice(0, 2) if process == 0 else slice(2, 4)
    torch.save(run(vocab_file, config, part), f"{folder}/{process}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_two_processes_equal_one(vocab_file, tmp_path, config):
    losses, gradients, operations = run(vocab_file, config, slice(0, 4))
    context()
    mp.start_processes(one_of_two, args=(vocab_file, config, tmp_path), nprocs=2, start_method="forkserver")
    halves = []
    for process in range(2):
        other_losses, other_gradients, half = torch.load(tmp_path / f"{process}.pt", weights_only=True)
        for mine, theirs in zip(losses, other_losses, strict=True):
            assert mine == pytest.approx(theirs, abs=1e-4)
        assert gradients.keys() == other_gradients.keys()
        for name, gradient in gradients.items():
            assert torch.allclose(gradient, other_gradients[name], atol=1e-5), name
        halves.append(half)
    # A video that both processes want is projected by one of them; what differs is how texts are padded.
    for both, one in zip(map(sum, zip(*halves, strict=True)), operations, strict=True):
        assert both == pytest.approx(one, rel=0.02)


def test_one_process_gathers_nothing():
    rows = torch.randn(3, 2)
    assert gather_rows(rows) is rows
    assert gather_objects("x") == ["x"]
    assert (rank(), world_size()) == (0, 1)
