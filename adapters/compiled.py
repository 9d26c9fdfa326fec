"""The vision encoder compiled for inference, in place: whoever calls the encoder then runs the compiled one."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from .vision_encoder import find_vision_encoder

Model = TypeVar("Model", bound=nn.Module)


def compile_for_inference(model: Model) -> Model:
    """Compiles the vision encoder of a model, in place, for calls without gradient; `merge` the adapters before.

    One graph for any number of clips, which is made at the first call, within a minute or two for a full BLIP, and
    again for another kind of call: a clip by itself, another number of frames, images. Calls with gradient run as they
    did. `plug` and `unplug` take it back; hooks put on parts of the encoder later are not called.

    On a CPU it needs a C++ compiler. There the weights become constants, laid out as oneDNN's products read them,
    beside those that the model holds: encoding takes about an eighth less time (recipes/benchmarks/encode.py). So the
    weights must stay as they are; that they changed is noticed, other than by writing into their `.data`. On a GPU they
    may.

    Args:
        model: a BLIP of transformers, plugged or not, or what holds one; of LAVIS's, calls of the encoder itself are
            compiled, those of its `forward_features` are not.

    Returns:
        The same object. A deep copy of it is not compiled.

    Raises:
        ValueError: the model has no vision encoder. A call of the encoder raises RuntimeError where weights that were
            made constants have changed.
    """
    encoder = find_vision_encoder(model).module
    encoder._compiled_call_impl = _Compiled(encoder)
    return model


def run_as_written(encoder: nn.Module) -> None:
    """Takes `compile_for_inference` back."""
    if isinstance(encoder._compiled_call_impl, _Compiled):
        encoder._compiled_call_impl = None


class _Compiled:
    """Calls a module compiled, on a CPU with its weights as constants of the compiled code.

    PyTorch makes them that where `freezing` is set while the module is traced, and takes oneDNN's products only where
    sizes are open; given as an option of one `torch.compile`, `freezing` is passed over without a word (torch 2.13).
    """

    def __init__(self, module: nn.Module):
        self.module = module
        self.constant = next(module.parameters()).device.type == "cpu"
        self.compiled = torch.compile(_call_of(module), fullgraph=True, dynamic=self.constant or None)
        self.weights = self._weights()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            return self.module._call_impl(*args, **kwargs)
        if not self.constant:
            return self.compiled(*args, **kwargs)
        if self._weights() != self.weights:
            raise RuntimeError(
                "expected the weights that the vision encoder was compiled with, got others: compiled for a CPU, they "
                "are constants. Call compile_for_inference again after loading, merging or training"
            )
        with torch._inductor.config.patch(freezing=True):
            return self.compiled(*args, **kwargs)

    def _weights(self) -> list[tuple[int, torch.dtype, int]]:
        """Where each is, of what type, and how often it was written to, which is not counted in inference mode."""
        return [
            (weight.data_ptr(), weight.dtype, 0 if weight.is_inference() else weight._version)
            for weight in self.module.parameters()
        ]


def _call_of(module: nn.Module) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return module._call_impl(*args, **kwargs)

    # What was compiled is kept with a function's code, whatever the weights were then, and no more than eight times.
    call.__code__ = call.__code__.replace()
    return call
