"""Writing a stock BLIP out of a plugged one, for transformers to load."""

from pathlib import Path
from typing import Any

from litevl.adapters.adapter import adapter_parameter_names


def save_blip(blip: Any, folder: str | Path) -> None:
    """Writes weights, config and tokenizer of a BLIP as a transformers folder, without the adapters in it.

    Args:
        blip: any of transformers' BLIP models, plugged or not, with the tokenizer that `load_blip` attached.
        folder: made if it is not there.
    """
    added = adapter_parameter_names(blip)
    stock = {name: value for name, value in blip.state_dict().items() if name not in added}
    blip.save_pretrained(str(folder), state_dict=stock)
    blip.tokenizer.save_pretrained(str(folder))
