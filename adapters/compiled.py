"""The vision encoder compiled for inference, in place: whoever calls it, and however, runs the compiled one."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from .vision_encoder import find_vision_encoder

Model = TypeVar("Model", bound=nn.Module)


def compile_for_inference(model: Model) -> Model:
    """Compiles the vision encoder of a model, in place, for calls without gradient; `merge` the adapters before.

    It is traced as one graph for any number of clips and frames, at its first call, which takes a minute or two for a
    full BLIP; on a CPU that needs a C++ compiler. There the weights become constants, laid out as oneDNN's products
    read them, beside those that the model holds: encoding takes about an eighth less time
    (recipes/benchmarks/encode.py), and the weights must stay as they are. On a GPU they may change.

    Args:
        model: a BLIP, plugged or not, or what holds one.

    Returns:
        The same object. A deep copy of it is not compiled.

    Raises:
        ValueError: the model has no vision encoder. Calling the encoder raises RuntimeError where weights that were
            made constants have changed.
    """
    encoder = find_vision_encoder(model).module
    if next(encoder.parameters()).device.type != "cpu":
        encoder.compile()
        return model
    encoder.compile(dynamic=True)
    called: Any = encoder._compiled_call_impl
    encoder._compiled_call_impl = _WithConstants(encoder, called)
    return model


class _WithConstants:
    """Calls a compiled module whose weights are constants of the compiled code.

    PyTorch makes them that where `freezing` is set while the module is traced, and only for products of open size takes
    oneDNN's; as an option of one `torch.compile` it is passed over without a word (torch 2.13).

    Args:
        module: whose weights they are.
        compiled: its compiled call.
    """

    def __init__(self, module: nn.Module, compiled: Callable[..., Any]):
        self.module, self.compiled = module, compiled
        self.weights = self._weights()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            return self.module._call_impl(*args, **kwargs)
        if self._weights() != self.weights:
            raise RuntimeError(
                "expected the weights that the vision encoder was compiled with, got others: compiled for a CPU, they "
                "are constants. Call compile_for_inference again after loading, merging or training"
            )
        with torch._inductor.config.patch(freezing=True):
            return self.compiled(*args, **kwargs)

    def _weights(self) -> list[tuple[int, int]]:
        """Which tensors they are, and how often each was written to."""
        return [(id(weight), weight._version) for weight in self.module.parameters()]
