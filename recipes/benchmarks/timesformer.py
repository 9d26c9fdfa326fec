"""Encoding clips: LiteVL on LAVIS's ViT, against LAVIS's TimeSformer, the video encoder of ALPRO.

    bash tests/lavis/run.sh --collect-only                       # builds LAVIS's environment, .venv-lavis
    .venv-lavis/bin/python recipes/benchmarks/timesformer.py
    .venv-lavis/bin/python recipes/benchmarks/timesformer.py --markdown recipes/benchmarks/RESULTS.md

Both are ViT-B/16 with divided space-time attention in every block and one CLS a clip. They get the same random weights,
of which both must make the same tokens. LiteVL is merged for inference, as it stands and compiled.
"""

import importlib.util
import shlex
import sys
from copy import deepcopy
from functools import partial
from typing import Any

import torch
import tyro
from einops import rearrange
from encode import CLIPS, EncodeConfig
from side_by_side import Row, measure, report, require_equal
from torch import nn

from litevl.adapters import LiteVLConfig, compile_for_inference, merge, named_adapters, plug
from litevl.adapters.temporal_attention import TemporalAttention

TITLE = "Encoding clips, beside LAVIS"
REACH = 0.55


def main(config: EncodeConfig, command: str = ".venv-lavis/bin/python recipes/benchmarks/timesformer.py") -> list[Row]:
    """Measures, and prints the table.

    Raises:
        SystemExit: LAVIS is not installed.
    """
    if importlib.util.find_spec("lavis") is None:
        raise SystemExit("LAVIS is not installed here; build its environment by: bash tests/lavis/run.sh")
    rows = [row for frames in config.frames for name in config.precisions for row in encode(config, frames, name)]
    clips = CLIPS.get(config.on.type, 1)
    said = f"{clips} {'clip' if clips == 1 else 'clips'} at a time; the same weights and, within rounding, tokens."
    report(TITLE, rows, config, command, said)
    return rows


def encode(config: EncodeConfig, frames: int, precision: str) -> list[Row]:
    """The rows of one number of frames in one precision."""
    theirs, ours = encoders(frames, **config.size)
    kind, clips = getattr(torch, precision), CLIPS.get(config.on.type, 1)
    theirs, ours = theirs.to(config.on, kind), ours.to(config.on, kind)
    size = ours.patch_embed.img_size[0]
    pixels = torch.randn(clips, frames, 3, size, size, generator=torch.Generator().manual_seed(0)).to(config.on, kind)
    channels_first = pixels.transpose(1, 2)
    name, tolerance = f"{frames} frames, {precision}", 1e-4 if kind == torch.float32 else 0.25
    with torch.inference_mode():
        cls, patches = theirs.forward_features(channels_first).split([1, ours.pos_embed.shape[1] * frames - frames], 1)
        wanted = torch.cat([cls, rearrange(patches, "b (n t) d -> b (t n) d", t=frames)], dim=1)
        require_equal(name, ours(pixels), wanted, tolerance)
    works = {f"LiteVL, {name}": lambda: ours(pixels)}
    if config.compile:
        compiled = compile_for_inference(deepcopy(ours))
        with torch.inference_mode():
            require_equal(f"compiled, {name}", compiled(pixels), wanted, tolerance)
        works[f"LiteVL compiled, {name}"] = lambda: compiled(pixels)
    peer = f"TimeSformer, {name}"
    reach = dict.fromkeys(works, REACH) if kind == torch.bfloat16 else {}
    return measure(config, {**works, peer: lambda: theirs.forward_features(channels_first)}, peer, reach=reach)


def encoders(frames: int, image_size: int = 224, layers: int = 12, dim: int = 768) -> tuple[Any, Any]:
    """LAVIS's TimeSformer, and its image ViT with LiteVL's adapters merged, of the same random weights."""
    from lavis.models.timesformer.vit import VisionTransformer as TimeSformer
    from lavis.models.vit import VisionTransformer

    sizes = {"img_size": image_size, "embed_dim": dim, "depth": layers, "num_heads": dim // 64, "qkv_bias": True}
    norm = partial(nn.LayerNorm, eps=1e-6)
    theirs = TimeSformer(**sizes, num_frames=frames, drop_path_rate=0.0, norm_layer=norm).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    stock = VisionTransformer(**sizes, norm_layer=norm).eval()
    kept = {name: value for name, value in theirs.state_dict().items() if name in stock.state_dict()}
    stock.load_state_dict(kept)
    plug(stock, LiteVLConfig(num_frames=frames), verbose=False)
    adapters = [each for _, each in named_adapters(stock) if isinstance(each, TemporalAttention)]
    for adapter, block in zip(adapters, theirs.blocks, strict=True):
        adapter.norm.load_state_dict(block.temporal_norm1.state_dict())
        adapter.qkv.load_state_dict(block.temporal_attn.qkv.state_dict())
        adapter.projection.load_state_dict(block.temporal_attn.proj.state_dict())
        assert adapter.fc is not None
        adapter.fc.load_state_dict(block.temporal_fc.state_dict())
    embedding = next(parameter for name, parameter in stock.named_parameters() if "time_embedding" in name)
    embedding.data.copy_(theirs.time_embed[0])
    return theirs, merge(deepcopy(stock))


if __name__ == "__main__":
    torch.set_float32_matmul_precision("highest")
    main(
        tyro.cli(EncodeConfig, description=__doc__),
        shlex.join([".venv-lavis/bin/python", "recipes/benchmarks/timesformer.py", *sys.argv[1:]]),
    )
