"""Weights, clips and an adapter that are known by name, so that two libraries in two environments can be compared.

`known_adapter/` holds what `save_adapters` writes for them and the rows that come out. The main tests hold it against
transformers' BLIP, tests/lavis against LAVIS's. Every value is a small whole number over a power of two: the same bits
on every machine, and so the same fingerprint. To write it anew: `python tests/support/known_blip.py`.
"""

import json
import zlib
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from litevl.adapters import LiteVLConfig, find_vision_encoder, plug, save_adapters
from litevl.adapters.vision_encoder import portable_names

FOLDER = Path(__file__).parent / "known_adapter"
FRAMES, IMAGE, PATCH, WIDTH, DEPTH, HEADS, PROJECTED = 4, 32, 16, 32, 3, 2, 16
TEXT = {
    "vocab_size": 24,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}
CONFIG = LiteVLConfig(num_frames=FRAMES)
MEANING = ("format_version", "peft_type", "adapter", "backbone_fingerprint", "vision_encoder_fingerprint")
"""What of `adapter_config.json` says what the adapter is; the rest says how it came about."""


def known(name: str, shape: tuple[int, ...], one: int = 8) -> torch.Tensor:
    """Whole numbers from the name alone, over 8 `one`: between -1/`one` and 1/`one`."""
    numbers = torch.randint(-8, 9, shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    return numbers / (8 * one)


def clips() -> torch.Tensor:
    return known("clips", (2, FRAMES, 3, IMAGE, IMAGE), one=1)


@torch.no_grad()
def fill(model):
    """Gives every parameter its known value, adapters too, by the name that transformers has for it."""
    parameters = dict(model.named_parameters())
    for name, portable in portable_names(model).items():
        value = known(portable, tuple(parameters[name].shape))
        is_norm = parameters[name].ndim == 1 and name.endswith("weight")
        parameters[name].copy_(1 + value if is_norm else value)
    return model


def rows_of(model) -> torch.Tensor:
    with torch.no_grad():
        output = find_vision_encoder(model).module(clips())
    return output if isinstance(output, torch.Tensor) else output.last_hidden_state


def expected_rows() -> torch.Tensor:
    return load_file(FOLDER / "rows.safetensors")["rows"]


def read_config(folder: Path) -> dict:
    return json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))


def assert_known(folder: Path):
    """Checks that what was saved there is the known adapter."""
    written, wanted = read_config(folder), read_config(FOLDER)
    assert {key: written[key] for key in MEANING} == wanted
    tensors, wanted = (load_file(each / "adapter_model.safetensors") for each in (folder, FOLDER))
    assert tensors.keys() == wanted.keys()
    assert all(torch.equal(tensors[name], wanted[name]) for name in wanted)


def make_known():
    """transformers' `BlipForImageTextRetrieval` with the known weights."""
    from transformers import BlipConfig, BlipForImageTextRetrieval

    vision = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": DEPTH}
    vision |= {"num_attention_heads": HEADS, "image_size": IMAGE, "patch_size": PATCH, "layer_norm_eps": 1e-6}
    text = {**TEXT, "encoder_hidden_size": WIDTH, "bos_token_id": 22, "sep_token_id": 3}
    config = BlipConfig(vision_config=vision, text_config=text, image_text_hidden_size=PROJECTED)
    return fill(BlipForImageTextRetrieval(config).eval())


if __name__ == "__main__":
    blip = fill(plug(make_known(), CONFIG, verbose=False))
    save_adapters(blip, FOLDER)
    (FOLDER / "README.md").unlink()  # the model card, which says nothing here
    config = {key: value for key, value in read_config(FOLDER).items() if key in MEANING}
    (FOLDER / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file({"rows": rows_of(blip)}, FOLDER / "rows.safetensors")
