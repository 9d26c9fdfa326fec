"""Faults at a chosen moment of a run: functions that make a function without arguments to be called in its process.

Each lays itself around a function that the run calls anyway, counts the calls, and acts in the chosen one (from 0).
"""

import errno
import io
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

Act = Callable[[], None]


def kill(number: int = signal.SIGKILL) -> None:
    """A signal to the process itself."""
    os.kill(os.getpid(), number)


def terminate() -> None:
    """SIGTERM."""
    kill(signal.SIGTERM)


def interrupt() -> None:
    """Ctrl-C."""
    kill(signal.SIGINT)


def insist() -> None:
    """Ctrl-C twice, with time between."""
    interrupt()
    time.sleep(1.1)
    interrupt()


def terminate_all() -> None:
    """SIGTERM to the process and its workers, as a scheduler sends it."""
    os.killpg(0, signal.SIGTERM)


def in_a_group_of_its_own(fault: Callable[[], None]) -> Callable[[], None]:
    """A fault of a process that leads a group of its own."""
    return partial(_in_a_group_of_its_own, fault)


def _in_a_group_of_its_own(fault: Callable[[], None]) -> None:
    os.setpgid(0, 0)
    fault()


def in_step(number: int, act: Act) -> Callable[[], None]:
    """In the middle of a step: its gradient is there, the weights have not moved yet."""
    return partial(_around, torch.optim.AdamW, "step", number, act)


def in_evaluation(number: int, act: Act) -> Callable[[], None]:
    """In an evaluation, once videos are encoded."""
    return partial(_in_evaluation, number, act)


def _in_evaluation(number: int, act: Act) -> None:
    from litevl.evaluation import scoring

    _around(scoring, "_encode_texts", number, act)


def half_way_through_the_state(number: int, act: Act) -> Callable[[], None]:
    """In a save of the state, half of its bytes written."""
    return partial(_half_way_through_the_state, number, act)


def _half_way_through_the_state(number: int, act: Act) -> None:
    from litevl.training import checkpoint

    save, calls = torch.save, iter(range(1_000_000))

    def half(state: Any, file: Any) -> None:
        if next(calls) != number:
            return save(state, file)
        whole = io.BytesIO()
        save(state, whole)
        file.write(whole.getvalue()[: whole.tell() // 2])
        file.flush()
        return act()

    checkpoint.torch = _Instead(torch, save=half)  # type: ignore[attr-defined]


def while_adapters_are_renamed(number: int, act: Act) -> Callable[[], None]:
    """In a save of the adapters, some of the files renamed and some not."""
    return partial(_while_adapters_are_renamed, number, act)


def _while_adapters_are_renamed(number: int, act: Act) -> None:
    from litevl.adapters import aside

    _around(aside.Path, "replace", number, act)


def in_forward(number: int, act: Act) -> Callable[[], None]:
    """In the forward pass of a micro-batch."""
    return partial(_in_forward, number, act)


def _in_forward(number: int, act: Act) -> None:
    from litevl.losses import RetrievalObjective

    _around(RetrievalObjective, "begin_step", number, act)


def poison_gradient(number: int) -> Callable[[], None]:
    """A gradient that is not finite while the loss is."""
    return partial(_poison_gradient, number)


def _poison_gradient(number: int) -> None:
    from litevl.losses import RetrievalObjective

    terms, calls = RetrievalObjective.terms, iter(range(1_000_000))

    def poisoned(*args: Any, **kwargs: Any) -> Any:
        now = next(calls) == number
        for name, value in terms(*args, **kwargs):
            if now:
                value.register_hook(lambda gradient: gradient * torch.nan)
            yield name, value

    RetrievalObjective.terms = poisoned  # type: ignore[method-assign]


def poison_loss(number: int) -> Callable[[], None]:
    """A loss that is not finite."""
    return partial(_poison_loss, number)


def _poison_loss(number: int) -> None:
    from litevl.losses import RetrievalObjective

    terms, calls = RetrievalObjective.terms, iter(range(1_000_000))

    def poisoned(*args: Any, **kwargs: Any) -> Any:
        factor = torch.inf if next(calls) == number else 1.0
        for name, value in terms(*args, **kwargs):
            yield name, value * factor

    RetrievalObjective.terms = poisoned  # type: ignore[method-assign]


def allocate() -> None:
    """More memory than there is, by torch's own allocator."""
    torch.empty(1 << 50)


def sleep(seconds: float = 600.0) -> None:
    """Being late."""
    time.sleep(seconds)


def fill(path: str) -> None:
    """A file that takes all the room of its disk."""
    with open(path, "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


class _Instead:
    """A module with some of its names replaced."""

    def __init__(self, module: Any, **names: Any):
        self.__dict__.update(names)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _around(owner: Any, name: str, number: int, act: Act) -> None:
    original, calls = getattr(owner, name), iter(range(1_000_000))

    def counted(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == number:
            act()
        return original(*args, **kwargs)

    setattr(owner, name, counted)
