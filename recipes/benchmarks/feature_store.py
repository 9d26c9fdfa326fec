"""A training step with adapters in the last four blocks, from stored features, against adapters in all twelve.

    python recipes/benchmarks/feature_store.py
    python recipes/benchmarks/feature_store.py --markdown recipes/benchmarks/RESULTS.md

A step of text-video retrieval: forward, backward, optimizer; with matching (VTC + VTM) and without (VTC). Features are
read from the store's files, float16, and checked against their sums; nothing is decoded. The other side is handed its
pixels ready, as if decoding cost nothing. Full-size models with random weights.
"""

import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import tyro
from rerank import captions
from side_by_side import Config, Row, measure, report, require_equal
from torch import Tensor

from litevl.adapters import FrameFeatures, LiteVLConfig, blocks_below, encode_below
from litevl.comparison.full_size import random_blip
from litevl.data.annotations import VideoCaptions
from litevl.data.feature_store import to_model
from litevl.data.preprocess import PreprocessConfig
from litevl.losses import RetrievalLossConfig, RetrievalObjective
from litevl.models import TokenBatch, VideoTextRetrieval
from litevl.training import RetrievalModelConfig, TrainingConfig, build_model, make_optimizer
from litevl.training.feature_filling import open_store

TITLE = "A training step from stored features"
CLIPS = {"cpu": 2, "cuda": 32}
FRAMES, SHARE = 8, 3
"""Frames of a clip; every third of the blocks, the last ones, is adapted where features are stored."""
LOSSES = {"VTC + VTM": RetrievalLossConfig(), "VTC": RetrievalLossConfig(vtm_weight=0.0)}


def main(config: Config, command: str = "python recipes/benchmarks/feature_store.py") -> list[Row]:
    """Measures, and prints the table."""
    clips, rows = CLIPS.get(config.on.type, 2), []
    every, upper = adapted(config, None), adapted(config, SHARE)
    depth, below = len(every.blip.vision_model.encoder.layers), blocks_below(upper.blip)
    pixels = torch.randn(clips, FRAMES, 3, every.image_size, every.image_size).to(config.on)
    tokens = captions(every, clips).tokens
    with tempfile.TemporaryDirectory() as folder:
        read = stored(upper, pixels, Path(folder))
        check(upper, pixels, read)
        for name, loss in LOSSES.items():
            works = {
                f"last {depth - below} blocks from features, {name}": step(upper, loss, read, tokens),
                f"all {depth} blocks, {name}": step(every, loss, lambda: pixels, tokens),
            }
            ours, theirs = works
            rows += measure(config, works, theirs, reach={ours: 0.40}, training=True)
    said = (
        f"{clips} clips of {FRAMES} frames of {every.image_size} px a step, "
        f"{'bfloat16' if config.on.type == 'cuda' else 'float32'}; reading the features is part of it. The features "
        "give what the pixels give, which is checked first."
    )
    report(TITLE, rows, config, command, said)
    return rows


def adapted(config: Config, share: int | None) -> VideoTextRetrieval:
    """LiteVL with random weights, in all blocks or in the last of so many parts of them."""
    torch.manual_seed(0)
    blip = random_blip(**config.size)
    depth = len(blip.vision_model.encoder.layers)
    layers: Any = "all" if share is None else tuple(range(depth - max(depth // share, 1), depth))
    settings = RetrievalModelConfig(adapter=LiteVLConfig(num_frames=FRAMES, layers=layers))
    return build_model(blip, settings).to(config.on)


def stored(model: VideoTextRetrieval, pixels: Tensor, folder: Path) -> Callable[[], FrameFeatures]:
    """Puts the features of clips into a store; what reads them from it again."""
    preprocess, layer = PreprocessConfig(model.image_size), blocks_below(model.blip)
    store = open_store(
        model.blip,
        layer,
        folder / "store",
        preprocess,
        computed_in="no",
        num_frames=FRAMES,
        per_segment=1,
        precision="float16",
        decoder="auto",
    )
    videos = {VideoCaptions(f"video{number}", ("",)): folder / f"video{number}.mp4" for number in range(len(pixels))}
    for (video, path), clip in zip(videos.items(), pixels, strict=True):
        path.touch()
        with torch.no_grad():
            store.write(store.file_of(path, video, 1), encode_below(model.blip, clip, layer))

    def read() -> FrameFeatures:
        frames = torch.stack([store.read(path, video, None) for video, path in videos.items()])
        features = to_model(frames.to(pixels.device), preprocess, store)
        assert isinstance(features, FrameFeatures)
        return features

    return read


def check(model: VideoTextRetrieval, pixels: Tensor, read: Callable[[], FrameFeatures]) -> None:
    """Features computed anew give the tokens of pixels; those that are kept in float16, nearly."""
    with torch.no_grad():
        expected, kept = model.encode_video(pixels).rows, read()
        hidden = encode_below(model.blip, pixels.flatten(0, 1), kept.layer).unflatten(0, pixels.shape[:2])
        exact = model.encode_video(FrameFeatures(hidden, kept.layer)).rows
        require_equal("tokens", exact, expected, 1e-4)
        require_equal("tokens from float16", model.encode_video(kept).rows, expected, 2e-2)


def step(
    model: VideoTextRetrieval, loss: RetrievalLossConfig, videos: Callable[[], Any], tokens: TokenBatch
) -> Callable[[], None]:
    """A training step on videos that are read for it."""
    objective = RetrievalObjective(model, loss).train()
    optimizer = make_optimizer(objective, TrainingConfig())
    ids = torch.arange(len(tokens), device=model.device)

    def run() -> None:
        with torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type == "cuda"):
            losses = objective(videos(), tokens, ids, step=0, epochs_done=1.0)
        losses["loss"].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return run


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main(
        tyro.cli(Config, description=__doc__),
        shlex.join(["python", "recipes/benchmarks/feature_store.py", *sys.argv[1:]]),
    )
