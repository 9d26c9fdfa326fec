"""How many layers a checkpoint has: by its weights, so that neither a name nor a config can claim a billion of them."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from litevl.blip.checkpoint import CheckpointError, name_some

VISION_LAYERS = "vision_model.encoder.layers."
TEXT_LAYERS = ("text_encoder.encoder.layer.", "text_decoder.bert.encoder.layer.")


def depth(tensors: Mapping[str, Tensor], prefix: str, origin: str) -> int:
    """The number of layers whose weights are there, which the names alone may not claim to be more.

    Args:
        tensors: Under transformers' names.
        prefix: What stands before a layer's number.
        origin: The file, for the error.

    Raises:
        CheckpointError: There are none, or they are not numbered 0, 1, 2 ...
    """
    numbers = {name.removeprefix(prefix).partition(".")[0] for name in tensors if name.startswith(prefix)}
    absent = [str(number) for number in range(len(numbers)) if str(number) not in numbers]
    if not numbers or absent:
        got = name_some(sorted(numbers)) or "none"
        raise CheckpointError(
            f"{origin}: expected layers {prefix}0, 1, 2 ... without a gap, got {got}; take a complete checkpoint"
        )
    return len(numbers)


def require_depth(config: Mapping[str, Any], tensors: Mapping[str, Tensor], origin: str) -> None:
    """Refuse a config whose number of layers is not that of the weights, before anything of that number is built.

    Raises:
        CheckpointError: Names the two numbers.
    """
    for part, prefixes in (("vision_config", (VISION_LAYERS,)), ("text_config", TEXT_LAYERS)):
        said = config[part]["num_hidden_layers"]
        for prefix in prefixes:
            held = depth(tensors, prefix, origin) if any(name.startswith(prefix) for name in tensors) else None
            if held not in (None, said):
                raise CheckpointError(
                    f"{origin}: expected the {said} layers of {part} in config.json, the weights have {held} "
                    f"({prefix}0 ...); check that config.json belongs to these weights"
                )
