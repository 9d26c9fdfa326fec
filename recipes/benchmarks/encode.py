"""Encoding clips: LiteVL with temporal attention in every layer, against transformers' BLIP frame by frame.

    python recipes/benchmarks/encode.py
    python recipes/benchmarks/encode.py --compile --markdown recipes/benchmarks/RESULTS.md

transformers' BLIP as it stands takes the frames as a batch of pictures. LiteVL, merged for inference, has temporal
attention beside; in fp32 and in bf16. Beside the ratio stands what the encoder takes of the time that its multiply-adds
would at the rate of this machine's matrix product. Full-size models with random weights.
"""

import shlex
import sys
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from side_by_side import Config, Row, measure, report, require_equal
from torch.nn.attention import SDPBackend, sdpa_kernel

from litevl.adapters import LiteVLConfig, merge, plug
from litevl.comparison.cost import count_flops
from litevl.comparison.full_size import random_blip

TITLE = "Encoding clips"
CLIPS = {"cpu": 1, "cuda": 16}
REACH = {torch.float32: 1.10, torch.bfloat16: 0.80}


@dataclass(frozen=True)
class EncodeConfig(Config):
    """Where and how long."""

    compile: bool = False
    """Compile LiteVL's encoder; transformers' stays as it stands."""
    frames: tuple[int, ...] = (8, 16)
    """Numbers of frames."""


def main(config: EncodeConfig, command: str = "python recipes/benchmarks/encode.py") -> list[Row]:
    """Measures, and prints the table."""
    stock = random_blip(**config.size).vision_model.eval().to(config.on)
    clips, rows = CLIPS.get(config.on.type, 1), []
    for frames in config.frames:
        for precision in (torch.float32, torch.bfloat16):
            rows += encode(config, stock, frames, clips, precision)
    said = (
        f"{clips} {'clip' if clips == 1 else 'clips'} at a time; fresh adapters with one CLS a frame give the stock "
        "tokens, which is checked first. *Matrix product*: the time that the encoder's multiply-adds would take."
    )
    report(TITLE, rows, config, command, said + (" LiteVL compiled." if config.compile else ""))
    return rows


def encode(config: EncodeConfig, stock: Any, frames: int, clips: int, precision: torch.dtype) -> list[Row]:
    """The rows of one number of frames in one precision."""
    size = stock.config.image_size
    name = f"{frames} frames, {str(precision).removeprefix('torch.')}"
    pixels = torch.randn(clips, frames, 3, size, size, generator=torch.Generator().manual_seed(0)).to(config.on)
    pixels, stock = pixels.to(precision), deepcopy(stock).to(precision)
    by_frame = lambda: stock(pixels.flatten(0, 1)).last_hidden_state  # noqa: E731
    same = plug(deepcopy(stock), LiteVLConfig(num_frames=frames, cls="frame"), verbose=False)
    merge(same)
    with torch.inference_mode():
        tokens = same(pixels).last_hidden_state[:, 1:].unflatten(1, (frames, -1)).flatten(0, 1)
        require_equal(name, tokens, by_frame(), 1e-4 if precision == torch.float32 else 0.25)
    ours = plug(deepcopy(stock), LiteVLConfig(num_frames=frames), verbose=False)
    merge(ours)
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH):
        operations = count_flops(lambda: ours(pixels))
    run = torch.compile(ours) if config.compile else ours
    by_clip = lambda: run(pixels).last_hidden_state  # noqa: E731
    width = stock.config.hidden_size
    left = torch.randn(tokens.shape[0] * tokens.shape[1], width, device=config.on, dtype=precision)
    right = torch.randn(width, 4 * width, device=config.on, dtype=precision)
    product = 2 * left.numel() * right.shape[1]
    works = {f"LiteVL, {name}": by_clip, f"BLIP frame by frame, {name}": by_frame}
    litevl, blip = works
    rows = measure(config, works, blip, reach={litevl: REACH[precision]})
    works = {litevl: by_clip, "matrix product": lambda: left @ right}
    units = {litevl: float(operations), "matrix product": float(product)}
    return rows + measure(config, works, "matrix product", units=units, reach={litevl: 1.25})


if __name__ == "__main__":
    torch.set_float32_matmul_precision("highest")
    main(
        tyro.cli(EncodeConfig, description=__doc__),
        shlex.join(["python", "recipes/benchmarks/encode.py", *sys.argv[1:]]),
    )
