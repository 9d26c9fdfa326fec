"""Filling a feature store: every clip of a run decoded once and brought through the frozen blocks, before training."""

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from litevl.adapters import encode_below, find_vision_encoder, fingerprint_below, require_frozen_below
from litevl.adapters.aside import ABANDONED, clear_asides
from litevl.data.annotations import VideoSource
from litevl.data.dataset import VideoDataset
from litevl.data.feature_store import FeatureKind, FeatureStore
from litevl.data.loader import clip_loader
from litevl.data.paths import VideoFolder
from litevl.data.preprocess import PreprocessConfig, normalize
from litevl.data.reading_config import FeaturePrecision
from litevl.data.video import Decoder, VideoError
from litevl.distributed import gather_objects

HEADER = 512
"""Bytes of a file beside the features, about."""


@dataclass(frozen=True)
class Wanted:
    """A clip whose features a run reads."""

    clip: VideoSource
    per_segment: int
    """Frames kept of each of its segments."""
    file: Path
    """Where."""


def open_store(
    blip: nn.Module,
    layer: int,
    folder: Path,
    preprocess: PreprocessConfig,
    *,
    computed_in: str,
    num_frames: int,
    per_segment: int,
    precision: FeaturePrecision,
    decoder: Decoder,
) -> FeatureStore:
    """The store of what the blocks below `layer` of a plugged BLIP make of frames; see `FeatureStore`.

    Args:
        blip: plugged.
        layer: the block that the frames are brought to.
        folder: of stores of all kinds.
        preprocess: size, mean and deviation of the frames.
        computed_in: the mixed precision that the features are computed in; `no` is float32.
        num_frames: frames of a clip.
        per_segment: frames kept of each segment for training.
        precision: of what is kept.
        decoder: see `read_frames`.

    Raises:
        ValueError: these blocks are trained, hold adapters, or draw at random.
    """
    require_frozen_below(blip, layer)
    encoder: Any = find_vision_encoder(blip)
    size, device = preprocess.image_size, next(encoder.module.parameters()).device
    with torch.no_grad():
        tokens = encode_below(blip, torch.zeros(1, 3, size, size, device=device), 0).shape[1]
    kind = FeatureKind(
        backbone=fingerprint_below(blip, layer),
        layer=layer,
        preprocessing=preprocess.fingerprint(),
        computed_in=computed_in,
        precision=precision,
        tokens=tokens,
        dim=encoder.embed_dim,
        decoder=decoder,
    )
    return FeatureStore(folder, kind, num_frames, per_segment)


def fill(
    store: FeatureStore,
    blip: nn.Module,
    clips: Iterable[tuple[VideoSource, int]],
    folder: VideoFolder,
    preprocess: PreprocessConfig,
    accelerator: Accelerator,
    *,
    decoder: Decoder,
    workers: int | None,
) -> dict[str, Any]:
    """Puts into a store what it lacks; its size is said, and that it fits, before anything is written.

    Each process makes its share. A video that can't be decoded is left out; what becomes of that is decided where the
    clip is read. Interrupted, it goes on where it stopped.

    Args:
        store: of the blocks of `blip`.
        blip: plugged.
        clips: each with how many frames of a segment are kept.
        folder: of the videos.
        preprocess: size, mean and deviation of the frames.
        accelerator: of this run.
        decoder: see `read_frames`.
        workers: processes that decode; see `decoding_workers` for None.

    Returns:
        `layer`, `clips`, `gigabytes`, and of what was made now `written` and `seconds`.

    Raises:
        ValueError: the disk has too little room, or the processes do not see one disk.
    """
    began = time.perf_counter()
    wanted = _wanted(store, clips, folder)
    missing = [each for each in wanted if not store.holds(each.file, each.per_segment)]
    accelerator.print(_announce(store, wanted, missing))
    accelerator.wait_for_everyone()  # nobody writes before everybody has looked
    if missing:
        clear_asides(store.folder, ABANDONED)
    own = missing[accelerator.process_index :: accelerator.num_processes]
    encoder = find_vision_encoder(blip).module
    training = encoder.training
    encoder.eval()
    with tqdm(total=len(own), unit="clip", desc="features", disable=not accelerator.is_main_process) as bar:
        for each, frames, bad in _decoded(store, own, folder, preprocess, decoder, workers, accelerator.device):
            if bad is None:
                with torch.no_grad(), accelerator.autocast():
                    pixels = normalize(frames.to(accelerator.device), preprocess)
                    store.write(each.file, encode_below(blip, pixels, store.kind.layer))
            else:
                store.bad[each.file.name] = bad
            bar.update()
    encoder.train(training)
    store.bad = {name: reason for part in gather_objects(store.bad) for name, reason in part.items()}
    _require_shared(store, missing)
    return {
        "layer": store.kind.layer,
        "clips": len(wanted),
        "gigabytes": round(_bytes(store, wanted) / 1e9, 3),
        "written": len(missing) - len(store.bad),
        "seconds": round(time.perf_counter() - began, 1),
    }


def _wanted(store: FeatureStore, clips: Iterable[tuple[VideoSource, int]], folder: VideoFolder) -> list[Wanted]:
    found: dict[Path, Wanted] = {}
    for clip, per_segment in clips:
        try:
            file = store.file_of(folder.resolve(clip.key), clip, per_segment)
        except VideoError:
            continue  # a missing video is an error, or left out, where it is read
        found[file] = Wanted(clip, per_segment, file)
    return list(found.values())


def _decoded(
    store: FeatureStore,
    wanted: Sequence[Wanted],
    folder: VideoFolder,
    preprocess: PreprocessConfig,
    decoder: Decoder,
    workers: int | None,
    device: torch.device,
) -> Iterator[tuple[Wanted, Tensor, str | None]]:
    """Clips with their frames, or with the reason why they could not be decoded."""
    for per_segment in sorted({each.per_segment for each in wanted}):
        some = [each for each in wanted if each.per_segment == per_segment]
        clips, frames = [each.clip for each in some], store.num_frames * per_segment
        dataset = VideoDataset(clips, folder, frames, preprocess, decoder, on_bad_video="skip")
        for item in clip_loader(dataset, dict, workers, device, persistent=False, batch_size=None):
            yield some[item["index"]], item["frames"], item["bad"]


def _bytes(store: FeatureStore, wanted: Sequence[Wanted]) -> int:
    frames = store.num_frames * sum(each.per_segment for each in wanted)
    return frames * store.kind.frame_bytes + HEADER * len(wanted)


def _announce(store: FeatureStore, wanted: Sequence[Wanted], missing: Sequence[Wanted]) -> str:
    kind, needed = store.kind, _bytes(store, missing)
    frames = store.num_frames * sum(each.per_segment for each in wanted)
    there = store.folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    said = (
        f"features at block {kind.layer}: {frames:,} frames of {len(wanted):,} clips x {kind.tokens} tokens x "
        f"{kind.dim} x {kind.dtype.itemsize} bytes = {_bytes(store, wanted) / 1e9:,.2f} GB in {store.folder}"
    )
    if not missing:
        return f"{said}; all there"
    said += f"; {needed / 1e9:,.2f} GB to be written, {free / 1e9:,.1f} GB free"
    if needed > free:
        raise ValueError(
            f"feature_store: {said}; name a folder on a larger disk, or keep fewer frames "
            "(--data.frames-per-segment 1, --adapter.num-frames)"
        )
    return said


def _require_shared(store: FeatureStore, missing: Sequence[Wanted]) -> None:
    absent = [each for each in missing if each.file.name not in store.bad and not each.file.is_file()]
    if absent:
        raise ValueError(
            f"feature_store: expected {absent[0].file}, which another process wrote; name a folder on a disk that all "
            "machines see"
        )
