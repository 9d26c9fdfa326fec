"""Training with sharded weights (FSDP2), on two processes: the losses, files and resumption of whole weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msrvtt_retrieval
import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import FullyShardedDataParallelPlugin
from safetensors.torch import load_file

from litevl.adapters import LiteVLConfig, plug
from litevl.losses import RetrievalLossConfig, RetrievalObjective
from litevl.models import VideoTextRetrieval
from litevl.tasks.command_line import parse
from litevl.training.sharding import clip_gradients, plan_shards, start_sharding

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
import torch
import msrvtt_retrieval
from litevl.tasks.command_line import parse

loop = sys.modules["litevl.training.fit"]
save = loop.save_state

def save_and_stop(folder, objective, *others):
    sharded = [name for name, p in objective.named_parameters() if type(p).__name__ == "DTensor"]
    held = sum(getattr(p, "_local_tensor", p).numel() for p in objective.parameters())
    whole = sum(p.numel() for p in objective.parameters())
    # In one piece: the other process writes to the same pipe.
    print(f"sharded {len(sharded)} held {held} of {whole}\\n", end="", flush=True)
    save(folder, objective, *others)
    raise KeyboardInterrupt

loop.save_state = save_and_stop
try:
    msrvtt_retrieval.main(parse(sys.argv[1:], msrvtt_retrieval.EMBEDDED, msrvtt_retrieval.MSRVTT, None))
except KeyboardInterrupt:
    print("stopped\\n", end="", flush=True)
torch.distributed.destroy_process_group()
"""


def words(corpus, backbone, folder):
    return [
        *("--no-baseline", "--data.root", str(corpus), "--data.train-split", "full", "--data.test-split", "full"),
        *("--data.workers", "0", "--evaluation.workers", "0", "--backbone", str(backbone), "--adapter.num-frames", "3"),
        *("--epochs", "3", "--batch-size", "8", "--lr", "1e-3", "--precision", "no", "--evaluation.k", "4"),
        *("--accumulation", "2", "--gradient-checkpointing", "--heads", "copied", "--output-dir", str(folder)),
    ]


def run(*given):
    return msrvtt_retrieval.main(parse(list(given), msrvtt_retrieval.EMBEDDED, msrvtt_retrieval.MSRVTT, None))


def steps(folder):
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_sharded_epochs_and_one_that_is_not_equal_a_run_of_one_process(corpus, backbone, tmp_path):
    """Stopped after each epoch; resumed sharded after the first, by one process with whole weights after the second."""
    program, parts, whole = tmp_path / "program.py", tmp_path / "parts", tmp_path / "whole"
    program.write_text(PROGRAM)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(program)]
    environment = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    environment["PYTHONPATH"] = str(ROOT / "recipes")
    # Each a launch of its own: gloo's threads now and then abort a process that trains sharded twice.
    for resume in ([], ["--resume"]):
        done = subprocess.run(
            [*launch, *words(corpus, backbone, parts), *resume],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, done.stderr[-4000:]
        assert "note: weights are sharded over 2 processes (FSDP2)" in done.stdout
        assert done.stdout.count("stopped") == 2
        told = [line.split() for line in done.stdout.splitlines() if line.startswith("sharded")]
        assert len(told) == 2
        assert all(int(line[1]) > 50 and 0.45 < int(line[3]) / int(line[5]) < 0.6 for line in told)
    run(*words(corpus, backbone, parts), "--resume")
    run(*words(corpus, backbone, whole))
    assert steps(parts) == pytest.approx(steps(whole), abs=1e-4)
    one, other = (load_file(folder / "adapter_model.safetensors") for folder in (parts, whole))
    assert {name: value.shape for name, value in one.items()} == {name: value.shape for name, value in other.items()}
    assert {path.name for path in parts.iterdir()} == {path.name for path in whole.iterdir()}


class TestRefusals:
    @pytest.fixture
    def accelerator(self, monkeypatch):
        """As on GPUs, where Accelerate has taken the launcher's FSDP up."""
        made = Accelerator(cpu=True, mixed_precision="no")
        monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
        monkeypatch.setattr(Accelerator, "num_processes", 2)
        made.state.fsdp_plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
        return made

    def test_what_would_train_otherwise(self, accelerator):
        assert start_sharding(accelerator) == ["weights are sharded over 2 processes (FSDP2)"]
        assert accelerator.state.fsdp_plugin.mixed_precision_policy is None
        accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2, cpu_offload=True, activation_checkpointing=True
        )
        with pytest.raises(ValueError, match="expected no --fsdp_offload_params, and --gradient-checkpointing of the"):
            start_sharding(accelerator)
        accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
        accelerator.state.fsdp_plugin.fsdp_version = 1  # the launcher's default
        with pytest.raises(ValueError, match=r"--use_fsdp: expected --fsdp_version 2$"):
            start_sharding(accelerator)

    def test_objectives_whose_weights_stay_whole(self, accelerator, monkeypatch, blip):
        monkeypatch.setattr(Accelerator, "is_fsdp2", True)
        with pytest.raises(ValueError, match="expected a BLIP with BlipEncoderLayer or BlipTextLayer, got Linear"):
            plan_shards(torch.nn.Linear(2, 2), accelerator)
        model = VideoTextRetrieval(plug(blip, LiteVLConfig(num_frames=2), verbose=False))
        plan_shards(RetrievalObjective(model, RetrievalLossConfig()), accelerator)
        assert accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap == ["BlipEncoderLayer", "BlipTextLayer"]
        assert list(accelerator.state.fsdp_plugin.ignored_modules) == [model.heads]
        with pytest.raises(ValueError, match=r"a momentum copy holds whole weights; leave --loss\.momentum out"):
            plan_shards(RetrievalObjective(model, RetrievalLossConfig(momentum=0.9)), accelerator)

    def test_one_process_shards_nothing_and_it_is_said(self, accelerator, monkeypatch):
        monkeypatch.setattr(Accelerator, "num_processes", 1)
        assert start_sharding(accelerator) == ["FSDP is asked for, and one process runs: nothing is sharded"]


def test_whole_and_sharded_gradients_are_clipped_together():
    parameters = [torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(()))]
    same = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
    for large, small in ((True, 4.0), (False, 0.01)):
        for mine, theirs in zip(parameters, same, strict=True):
            mine.grad, theirs.grad = (torch.full_like(mine, small) for _ in range(2))
        clip_gradients(parameters, 1.0)
        assert (float(torch.nn.utils.clip_grad_norm_(same, 1.0)) > 1) is large
        for mine, theirs in zip(parameters, same, strict=True):
            assert torch.allclose(mine.grad, theirs.grad)
