"""The environment never overrides the config in silence; fewer processes than asked for are noticed."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_runs import fresh_accelerate  # noqa: F401

from litevl.training import start_accelerator
from litevl.training.launch import _choose_precision, _compare_processes

PROGRAM = """
import sys, torch
from litevl.training import start_accelerator
accelerator, notes = start_accelerator({precision}, 1, "none")
print("precision", accelerator.mixed_precision, "accumulation", accelerator.gradient_accumulation_steps,
      "processes", accelerator.num_processes, "threads", torch.get_num_threads())
for line in notes:
    print("note", line)
"""


def launched(tmp_path, precision, launcher, **environment):
    import os

    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(precision=precision))
    done = subprocess.run(
        [*launcher, str(program)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **{k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"},
            **environment,
            "HF_HOME": str(tmp_path),
        },
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_environments_accumulation_is_ignored_and_said(monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    accelerator, notes = start_accelerator("no", 1, "none")
    assert accelerator.gradient_accumulation_steps == 1
    assert "ACCELERATE_GRADIENT_ACCUMULATION_STEPS=4 is ignored: the config says accumulation=1" in notes


@pytest.mark.parametrize(
    ("precision", "environment", "result", "note"),
    [
        ("no", "bf16", "no", "the launcher asks for bf16; the config says no, which is used"),
        (None, "bf16", "bf16", "mixed precision bf16, as the launcher asks"),
        ("bf16", "no", "bf16", None),
        (None, "fp8", "no", "mixed precision fp8 is not one of no, bf16 and fp16: it is ignored"),
    ],
)
def test_the_configs_precision_wins_and_a_difference_is_said(monkeypatch, precision, environment, result, note):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", environment)
    accelerator, notes = start_accelerator(precision, 1, "none")
    assert accelerator.mixed_precision == result
    assert any(line.startswith(note) for line in notes) if note else "launcher asks" not in str(notes)


def test_a_compiler_of_the_launcher_is_said(monkeypatch):
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "eager")
    _, notes = start_accelerator("no", 1, "none")
    assert "ACCELERATE_DYNAMO_BACKEND=eager: the model is compiled, as the launcher asks" in notes


def test_a_run_on_the_cpu_of_a_machine_with_a_gpu_stays_in_full_precision(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert _choose_precision(None) == ("bf16", [])
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert _choose_precision(None) == ("no", [])


def test_accelerate_launch_runs_one_process_on_a_cpu_and_it_is_said(tmp_path):
    launcher = [str(Path(sys.executable).with_name("accelerate")), "launch", "--cpu", "--num_processes", "2"]
    out = launched(tmp_path, "None", launcher)
    assert "processes 1 " in out
    assert "note 2 processes were asked for, 1 runs" in out
    assert "torchrun --standalone --nproc_per_node 2" in out


@pytest.mark.skipif(torch.cuda.is_available(), reason="of CPU runs")
def test_a_launched_process_uses_all_cores(tmp_path):
    import os

    mine = launched(tmp_path, "None", [sys.executable], OMP_NUM_THREADS="1")
    assert "threads 1" in mine
    launcher = [str(Path(sys.executable).with_name("accelerate")), "launch"]
    out = launched(tmp_path, "None", launcher, OMP_NUM_THREADS="1")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert f"threads {cores}" in out


def test_as_many_processes_as_asked_for_need_no_note():
    assert _compare_processes(1) == []
    accelerator, _ = start_accelerator("no", 1, "none")
    assert accelerator.num_processes == 1


def test_a_tracker_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="wandb is not installed"):
        start_accelerator("no", 1, "wandb")
