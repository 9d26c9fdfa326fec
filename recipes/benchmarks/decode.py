"""Decoding 8 of 400 frames to 224 px: litevl's default against decord as LAVIS calls it, and the frame store.

    python recipes/benchmarks/decode.py
    python recipes/benchmarks/decode.py --markdown recipes/benchmarks/RESULTS.md

LAVIS 1.0.2's `load_video` opens decord at the wanted size and takes frames at equal steps. Both take those here
(`legacy_blip`), and then the mid-points that litevl takes by default, which lie farther behind key frames. What is
decoded is the same, bit for bit, which is checked first; then decord scales bilinearly in FFmpeg, litevl bicubically
with antialiasing in Pillow, as BLIP's pictures were. Clips of 640 x 360, rendered first, H.264 by x264's defaults but
for the distance of key frames.
"""

import os
import resource
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
import torch
import tyro
from PIL import Image
from side_by_side import Config, Row, measure, report, require_equal
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from litevl.data.cores import usable_cores
from litevl.data.frame_store import FrameStore
from litevl.data.preparation import Wanted, fill
from litevl.data.preprocess import resize_frames
from litevl.data.sampling import Sampling, frame_indices
from litevl.data.video import read_frames
from litevl.evaluation.report import rows_markdown, rows_table, show, write_section

TITLE, EPOCHS = "Decoding clips", "Decoding on every core"
FRAMES, SIZE, RATE = 8, 224, 30


@dataclass(frozen=True)
class DecodeConfig(Config):
    """Where and how long."""

    keys: tuple[int, ...] = (30, 250)
    """Frames from one key frame to the next, at most: 250 is x264's default, and has two in 400 frames."""
    clips: int = 48
    """Clips of an epoch, for the rates on every core."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, height and width of a clip."""
        return (48, 64, 96) if self.small else (400, 360, 640)


def main(config: DecodeConfig, command: str = "python recipes/benchmarks/decode.py") -> list[Row]:
    """Measures, and prints the tables."""
    import decord

    config, rows, cells = replace(config, device="cpu"), [], []
    try:
        with TemporaryDirectory() as folder:
            for keys in config.keys:
                path = render(Path(folder) / f"{keys}.mp4", keys, *config.shape)
                store = FrameStore(Path(folder) / "store", SIZE)
                rows += one_by_one(config, path, store, f"key frame every {keys}")
                cells += on_every_core(config, path, store, f"key frame every {keys}")
    finally:
        decord.bridge.reset_bridge()
    frames, height, width = config.shape
    said = (
        f"{FRAMES} of {frames} frames, {width} x {height} to {SIZE}, one clip after another on {usable_cores()} "
        "cores. *Store*: frames decoded and resized before, by `litevl prepare`."
    )
    report(TITLE, rows, config, command, said)
    head = ["work", "clips a second", "cores busy, %"]
    show(rows_table(EPOCHS, [head, *cells], words=1))
    if config.markdown is not None:
        text = f"By `{command}`, {usable_cores()} workers on as many cores, {config.clips} clips an epoch."
        write_section(config.markdown, EPOCHS, f"{text}\n\n{rows_markdown([head, *cells])}")
    return rows


def one_by_one(config: DecodeConfig, path: Path, store: FrameStore, name: str) -> list[Row]:
    """One clip after another in one process; each decoder takes what threads it likes."""
    import decord

    rows: list[Row] = []
    samplings: dict[Sampling, str] = {"legacy_blip": name, "midpoint": f"{name}, mid-points"}
    for sampling, which in samplings.items():
        decord.bridge.set_bridge("torch")
        theirs = decord.VideoReader(str(path)).get_batch(indices_of(sampling, config.shape[0]))
        require_equal(f"frames, {which}", torch.from_numpy(read_frames(path, FRAMES, sampling)), theirs, 0.0)
        lavis, ours = f"decord as LAVIS calls it, {which}", f"litevl, {which}"
        works = {ours: partial(litevl, path, sampling), lavis: partial(load_video, path, sampling)}
        rows += measure(config, works, lavis, reach={ours: 1.0})
    stored, decoded = partial(store.read, path, FRAMES), partial(litevl, path, "midpoint")
    stored()
    require_equal(f"store, {name}", stored(), decoded(), 0.0)
    against = f"litevl, {samplings['midpoint']}"
    return rows + measure(config, {f"store, {name}": stored, against: decoded}, against)


def on_every_core(config: DecodeConfig, path: Path, store: FrameStore, name: str) -> list[list[str]]:
    """An epoch by as many workers as there are cores: how many clips a second, and how busy the cores are."""
    clips = [path.with_name(f"{path.stem}-{number}.mp4") for number in range(min(4, config.clips))]
    for clip in clips:
        clip.write_bytes(path.read_bytes())
    start = time.perf_counter()
    fill(store, [Wanted(clip, config.shape[0]) for clip in clips], usable_cores(), progress=False)
    prepared = (time.perf_counter() - start) / len(clips)
    works: dict[str, Callable[[Path], Any]] = {
        "decord as LAVIS calls it": load_video,
        "litevl": partial(litevl, sampling="legacy_blip"),
        "store": partial(store.read, num_frames=FRAMES),
    }
    paths = [clips[number % len(clips)] for number in range(config.clips)]
    cells, best = [], dict.fromkeys(works, (float("inf"), 0.0))
    for _ in range(3):
        for work, of in works.items():
            best[work] = min(best[work], epoch(of, paths))
    for work, (seconds, busy) in best.items():
        cells.append([f"{work}, {name}", f"{len(paths) / seconds:.1f}", f"{100 * busy:.0f}"])
    saved = (best["litevl"][0] - best["store"][0]) / len(paths)
    paid = f", pays after {prepared / saved:.1f} epochs" if saved > 0 else ""
    return [*cells, [f"litevl prepare, {name}{paid}", f"{1 / prepared:.1f}", ""]]


class Clips(Dataset[Tensor]):
    """What a work makes of each file."""

    def __init__(self, work: Callable[[Path], Tensor], paths: Sequence[Path]):
        self._work, self._paths = work, paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, place: int) -> Tensor:
        return self._work(self._paths[place])


def epoch(work: Callable[[Path], Tensor], paths: Sequence[Path]) -> tuple[float, float]:
    """Seconds of an epoch with the start of its workers, and the share of the cores' time that they computed."""
    loader: DataLoader[Tensor] = DataLoader(Clips(work, paths), batch_size=4, num_workers=usable_cores())
    start, before = time.perf_counter(), _computed()
    number = sum(len(batch) for batch in loader)
    assert number == len(paths)
    del loader
    seconds = time.perf_counter() - start
    return seconds, min((_computed() - before) / (seconds * usable_cores()), 1.0)


def _computed() -> float:
    """Seconds that this process and its ended children computed."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def litevl(path: Path, sampling: Sampling) -> Tensor:
    """A clip as litevl's datasets make it."""
    return resize_frames(read_frames(path, FRAMES, sampling), SIZE)


def load_video(path: Path, sampling: Sampling = "legacy_blip") -> Tensor:
    """LAVIS 1.0.2, lavis/datasets/data_utils.py, with LAVIS's `sampling="uniform"`; its import sets the bridge."""
    import decord

    decord.bridge.set_bridge("torch")
    reader = decord.VideoReader(uri=str(path), height=SIZE, width=SIZE)
    return reader.get_batch(indices_of(sampling, len(reader))).permute(3, 0, 1, 2).float()


def indices_of(sampling: Sampling, frames: int) -> np.ndarray:
    """The frames that LAVIS takes of a video of so many, or its mid-points."""
    if sampling == "midpoint":
        return frame_indices(frames, FRAMES)
    return np.arange(0, frames, frames / min(FRAMES, frames)).astype(int)


def render(path: Path, keys: int, frames: int, height: int, width: int) -> Path:
    """A clip: a camera moves over a textured ground, a square runs over it, with a sensor's noise."""
    rng = np.random.default_rng(0)
    coarse = np.clip(128 + 40 * rng.normal(size=(height // 8, width // 8, 3)), 0, 255).astype(np.uint8)
    ground = np.asarray(Image.fromarray(coarse).resize((width + 400, height + 400), Image.Resampling.BICUBIC))
    with av.open(os.fspath(path), "w") as file:
        stream: Any = file.add_stream("libx264", rate=RATE, options={"g": str(keys)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            left, top = int(200 + 180 * np.sin(number / 30)), int(200 + 150 * np.cos(number / 40))
            picture = ground[top : top + height, left : left + width].astype(np.int16)
            place = number * 5 % (width - width // 8)
            picture[height // 4 : height // 2, place : place + width // 8] = (200, 30, 30)
            picture = np.clip(picture + rng.integers(-3, 4, picture.shape), 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


if __name__ == "__main__":
    main(
        tyro.cli(DecodeConfig, description=__doc__),
        shlex.join(["python", "recipes/benchmarks/decode.py", *sys.argv[1:]]),
    )
