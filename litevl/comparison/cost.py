"""What models cost side by side: parameters, floating-point operations, latency, memory, and a training step.

Operations are counted by torch's own counter, with attention written out so that it is counted on every device. A
multiply-add is two floating-point operations (FLOPs); half the number is the multiply-adds (MACs) that others count.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from litevl.adapters import count_parameters
from litevl.devices import find_device

from .latency import Latency, measure_latency
from .peak_memory import Memory, measure_memory
from .subject import Subject

Builder = Callable[[torch.device], Subject]
"""Makes a subject on a device; for memory on a CPU it is sent to another process, so it must be picklable."""


@dataclass(frozen=True)
class CostConfig:
    """How costs are measured."""

    device: str | None = None
    """Where; by default a GPU where there is one."""
    batches: tuple[int, ...] = (1, 32)
    """Numbers of clips that latency is measured at."""
    rounds: int = 51
    """Rounds of the latency, each of which times all models."""
    seconds: float = 30.0
    """Start no more rounds of a batch size after so long, from the third on."""
    memory_batch: int | None = 32
    """Clips that peak memory is measured with; none leaves memory out."""
    training: bool = True
    """Count a training step."""


@dataclass(frozen=True)
class Cost:
    """What a model costs."""

    trainable: int
    """Parameters that are trained."""
    total: int
    """All parameters."""
    flops: dict[str, int]
    """Floating-point operations of each thing it does, by name, for one clip and one text."""
    analytic: dict[str, int]
    """The same by formula, where there is one."""
    step_flops: float | None
    """Of a training step (forward and backward, of all processes and micro-batches); None where nothing is trained."""
    latency: dict[int, Latency] = field(default_factory=dict)
    """Of encoding clips, by their number."""
    memory: Memory | None = None
    """Of encoding `memory_batch` clips."""

    @property
    def clip_gflops(self) -> float:
        """Billions of operations to encode a clip."""
        return self.flops["clip"] / 1e9

    @property
    def gflops(self) -> float:
        """Billions of operations of everything once: a clip and a text encoded and matched, a question answered."""
        return sum(self.flops.values()) / 1e9


def measure_costs(
    builders: Mapping[str, Builder],
    config: CostConfig | None = None,
    reference: str | None = None,
    tell: Callable[[str], Any] = lambda line: None,
) -> dict[str, Cost]:
    """Measures what models cost, all on one device.

    Args:
        builders: by the models' names.
        config: how.
        reference: the model that latencies are ratios to; by default the first.
        tell: is given a line when a measurement starts.
    """
    config = config or CostConfig()
    device = find_device(config.device)
    subjects: dict[str, Subject] = {}
    found: dict[str, dict[str, Any]] = {}
    for name, build in builders.items():
        tell(f"costs of {name}")
        before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        subject = subjects[name] = build(device)
        trainable, total = count_parameters(subject.model)
        memory = config.memory_batch and measure_memory(build, subject, before, config.memory_batch)
        step = step_flops(subject) if config.training and subject.objective is not None else None
        found[name] = {
            "trainable": trainable,
            "total": total,
            "flops": operation_flops(subject),
            "analytic": subject.analytic,
            "step_flops": step,
            "memory": memory or None,
        }
    tell(f"latency of {len(subjects)} models in turn")
    first = reference or next(iter(subjects))
    latency = {
        batch: measure_latency(subjects, first, batch, config.rounds, config.seconds) for batch in config.batches
    }
    return {
        name: Cost(**values, latency={batch: times[name] for batch, times in latency.items()})
        for name, values in found.items()
    }


def operation_flops(subject: Subject) -> dict[str, int]:
    """Floating-point operations of each thing a model does, counted."""
    subject.model.eval()
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH):
        return {name: count_flops(call) for name, call in subject.operations().items()}


def step_flops(subject: Subject) -> float:
    """Floating-point operations of a training step, forward and backward.

    Counted on two small batches and carried on to the step's own: all grows with the clips of a micro-batch but the
    similarities of a contrastive loss, which grow with their square.
    """
    subject.objective.train()  # type: ignore[union-attr]
    two, four = (_forward_and_backward(subject, clips) for clips in (2, 4))
    square = (four - 2 * two) / 8
    linear = (two - 4 * square) / 2
    clips = subject.batch_size / subject.accumulation
    subject.model.eval()
    return subject.accumulation * (linear * clips + square * clips**2)


def _forward_and_backward(subject: Subject, clips: int) -> int:
    with sdpa_kernel(SDPBackend.MATH):
        counted = count_flops(lambda: subject.loss(clips).backward())
    subject.model.zero_grad(set_to_none=True)
    return counted


def count_flops(call: Callable[[], Any]) -> int:
    """Floating-point operations of a call, a multiply-add as two."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()
