"""Encoding clips: LiteVL with temporal attention in every layer, against transformers' BLIP frame by frame.

    python recipes/benchmarks/encode.py
    python recipes/benchmarks/encode.py --compile --markdown recipes/benchmarks/RESULTS.md

transformers' BLIP as it stands takes the frames as a batch of pictures. LiteVL, merged for inference, has temporal
attention beside; in fp32 and in bf16, as it is and compiled. Beside the ratio stands what the encoder takes of the time
that its multiply-adds would at the rate of this machine's matrix product, and what the temporal attention of a block
takes by itself. Full-size models with random weights.
"""

import shlex
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
import tyro
from side_by_side import Config, Row, measure, report, require_equal
from torch.nn.attention import SDPBackend, sdpa_kernel

from litevl.adapters import LiteVLConfig, compile_for_inference, merge, named_adapters, plug
from litevl.adapters.temporal_attention import TemporalAttention
from litevl.comparison.cost import count_flops
from litevl.comparison.full_size import random_blip

TITLE = "Encoding clips"
CLIPS = {"cpu": 1, "cuda": 16}
REACH = {torch.float32: 1.10, torch.bfloat16: 0.80}


@dataclass(frozen=True)
class EncodeConfig(Config):
    """Where and how long."""

    compile: bool = False
    """Also time LiteVL's encoder compiled; transformers' stays as it stands. A model takes a minute to compile."""
    frames: tuple[int, ...] = (8, 16)
    """Numbers of frames."""
    precisions: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    """Of weights and pixels."""


def main(config: EncodeConfig, command: str = "python recipes/benchmarks/encode.py") -> list[Row]:
    """Measures, and prints the table."""
    stock = random_blip(**config.size).vision_model.eval().to(config.on)
    clips, rows = CLIPS.get(config.on.type, 1), []
    for frames in config.frames:
        for precision in config.precisions:
            rows += encode(config, stock, frames, clips, getattr(torch, precision))
    said = (
        f"{clips} {'clip' if clips == 1 else 'clips'} at a time; fresh adapters with one CLS a frame give the stock "
        "tokens, which is checked first. *Matrix product*: the time that the multiply-adds of the work would take."
    )
    report(TITLE, rows, config, command, said)
    return rows


def encode(config: EncodeConfig, stock: Any, frames: int, clips: int, precision: torch.dtype) -> list[Row]:
    """The rows of one number of frames in one precision."""
    size, tolerance = stock.config.image_size, 1e-4 if precision == torch.float32 else 0.25
    name = f"{frames} frames, {str(precision).removeprefix('torch.')}"
    pixels = torch.randn(clips, frames, 3, size, size, generator=torch.Generator().manual_seed(0)).to(config.on)
    pixels, stock = pixels.to(precision), deepcopy(stock).to(precision)
    by_frame = lambda: stock(pixels.flatten(0, 1)).last_hidden_state  # noqa: E731
    same = merge(plug(deepcopy(stock), LiteVLConfig(num_frames=frames, cls="frame"), verbose=False))
    with torch.inference_mode():
        tokens = same(pixels).last_hidden_state[:, 1:].unflatten(1, (frames, -1)).flatten(0, 1)
        require_equal(name, tokens, by_frame(), tolerance)
    ours: Any = merge(plug(deepcopy(stock), LiteVLConfig(num_frames=frames), verbose=False))
    litevl = {f"LiteVL, {name}": lambda: ours(pixels).last_hidden_state}
    if config.compile:
        compiled: Any = compile_for_inference(deepcopy(ours))
        with torch.inference_mode():
            require_equal(f"compiled, {name}", compiled(pixels)[0], ours(pixels)[0], tolerance)
        litevl[f"LiteVL compiled, {name}"] = lambda: compiled(pixels).last_hidden_state
    blip = f"BLIP frame by frame, {name}"
    rows = measure(config, {**litevl, blip: by_frame}, blip, reach=dict.fromkeys(litevl, REACH[precision]))

    block = next(adapter for _, adapter in named_adapters(ours) if isinstance(adapter, TemporalAttention))
    alone = {f"a block's temporal attention, {name}": lambda: block(tokens, frames)}
    return rows + [
        row
        for works, reach in ((litevl, 1.25), (alone, 1.3))
        for row in against_matrix_product(config, works, tokens, reach)
    ]


def against_matrix_product(
    config: EncodeConfig, works: dict[str, Callable[[], Any]], tokens: torch.Tensor, reach: float
) -> list[Row]:
    """Works that do the same, against the time of their multiply-adds in a product of tokens with an MLP's weight."""
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH):
        operations = float(count_flops(next(iter(works.values()))))
    left, width = tokens.flatten(0, 1), tokens.shape[-1]
    right = torch.randn(width, 4 * width).to(left)
    product = "matrix product"
    units = {**dict.fromkeys(works, operations), product: 2.0 * left.numel() * right.shape[1]}
    works = {**works, product: lambda: left @ right}
    return measure(config, works, product, units=units, reach=dict.fromkeys(units, reach))


if __name__ == "__main__":
    torch.set_float32_matmul_precision("highest")
    main(
        tyro.cli(EncodeConfig, description=__doc__),
        shlex.join(["python", "recipes/benchmarks/encode.py", *sys.argv[1:]]),
    )
