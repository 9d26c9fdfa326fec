"""BLIP, the image-language model that litevl turns into a video-language one: loading, repairs, tokenizer."""

from litevl.blip.checkpoint import CheckpointError
from litevl.blip.load import load_blip
from litevl.blip.repairs import enable_gradient_checkpointing, repair
from litevl.blip.report import LoadReport
from litevl.blip.save import save_blip
from litevl.blip.tokenizer import dec_token_id, enc_token_id, load_tokenizer

__all__ = [
    "CheckpointError",
    "LoadReport",
    "dec_token_id",
    "enable_gradient_checkpointing",
    "enc_token_id",
    "load_blip",
    "load_tokenizer",
    "repair",
    "save_blip",
]
