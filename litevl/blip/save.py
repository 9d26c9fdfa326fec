"""Writing a stock BLIP out of a plugged one, for transformers to load."""

from pathlib import Path
from typing import Any

from litevl.adapters import stock_state_dict


def save_blip(blip: Any, folder: str | Path) -> None:
    """Writes weights, config and tokenizer of a BLIP as a transformers folder, without the adapters in it.

    Args:
        blip: any of transformers' BLIP models, plugged or not, with the tokenizer that `load_blip` attached.
        folder: made if it is not there.
    """
    # Not the method on the object, which keeps a plugged model's adapters too.
    type(blip).save_pretrained(blip, str(folder), state_dict=stock_state_dict(blip))
    blip.tokenizer.save_pretrained(str(folder))
