"""The plots from the shell, for the folder of a run or of saved adapters.

python -m litevl.plots scales runs/NAME --save scales.png
python -m litevl.plots pooling runs/NAME --video clip.mp4 --text "a dog catches a frisbee" --save pooling.png
python -m litevl.plots codes runs/evilm_tokenizer-... --videos /data/msrvtt/videos --save codes.png
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from jaxtyping import Float, UInt8
from torch import Tensor
from tyro.conf import Positional

from litevl.adapters import load_adapters, plugged_state
from litevl.blip import load_blip
from litevl.corpus import ensure_corpus
from litevl.data.annotations import VIDEO_EXTENSIONS
from litevl.data.clip import load_clip
from litevl.data.preprocess import normalize, resize_frames
from litevl.data.video import VideoError, read_frames
from litevl.evilm.vq_files import load_vq_tokenizer
from litevl.models import VideoTextRetrieval
from litevl.tasks.saved import Source, load_retrieval
from litevl.training import LoraSettings, load_lora, preprocessing, read_json
from litevl.training.run_folder import CONFIG_NAME

from .codes import plot_codes
from .pooling import plot_pooling
from .scales import plot_scales


def scales(
    folder: Positional[Path],
    save: Path = Path("scales.png"),
    video: Path | None = None,
    backbone: str | None = None,
    vocab: str | None = None,
) -> None:
    """Draws how much each block uses its temporal attention in each frame.

    Args:
        folder: the folder of a finished run, or of saved adapters.
        save: the picture's file; its ending says the format.
        video: draw the scales that this video gets; needed where they are conditional on it.
        backbone: where the backbone is now, if it is not where it was in training.
        vocab: for a .pth backbone without a vocab.txt beside it, as in training.
    """
    model = load_blip_of(folder, backbone, vocab)
    clip = None if video is None else load_clip(video, model)
    _write(plot_scales(model, clip=clip), save)


def pooling(
    folder: Positional[Path],
    video: Path,
    text: str,
    save: Path = Path("pooling.png"),
    backbone: str | None = None,
    vocab: str | None = None,
) -> None:
    """Draws what a text makes of a video's frames and patches.

    Args:
        folder: the folder of a finished run, or of saved adapters.
        video: the video file.
        text: what is asked of it.
        save: the picture's file; its ending says the format.
        backbone: where the backbone is now, if it is not where it was in training.
        vocab: for a .pth backbone without a vocab.txt beside it, as in training.
    """
    model = load_folder(folder, backbone, vocab)
    frames, clip = read_clip(model, video)
    _write(plot_pooling(model, clip, text, frames), save)


def codes(
    folder: Positional[str],
    videos: Path | None = None,
    save: Path = Path("codes.png"),
    clips: int = 100,
    frames: int = 6,
    rows: int = 16,
    examples: int = 10,
) -> None:
    """Draws what codes of a VQ tokenizer look at: the commonest, and the commonest of patches with much contrast.

    Args:
        folder: the folder of a run of recipes/evilm_tokenizer.py; or `embedded`, the small one that ships.
        videos: a folder of video files to look through; by default the folder that the run was trained on.
        save: the picture's file; its ending says the format.
        clips: how many videos to look through, evenly chosen.
        frames: of each.
        rows: codes that are drawn; the first half are the commonest.
        examples: patches of each.
    """
    tokenizer = load_vq_tokenizer(folder)
    size = tokenizer.config.image_size
    place = videos or trained_on(folder) or ensure_corpus() / "videos"
    files = sorted(path for path in place.rglob("*") if path.suffix.lower().lstrip(".") in VIDEO_EXTENSIONS)
    if not files:
        raise ValueError(f"{place}: expected video files in it, found none")
    chosen = [files[number] for number in np.unique(np.linspace(0, len(files) - 1, clips).astype(int))]
    pictures = []
    for path in chosen:
        try:
            pictures.append(resize_frames(read_frames(path, frames), size).permute(0, 2, 3, 1).numpy())
        except VideoError as error:
            print(f"left out: {error}", file=sys.stderr)
    if not pictures:
        raise ValueError(f"{place}: expected videos that can be read, got none of {len(chosen)}")
    _write(plot_codes(tokenizer, np.concatenate(pictures), rows, examples), save)


def trained_on(folder: str) -> Path | None:
    """The folder of videos of a tokenizer's run; None for one of the embedded corpus, or without its config."""
    config = Path(folder) / CONFIG_NAME
    data = read_json(config)["data"] if config.is_file() else {}
    given = data.get("videos") or data.get("root")
    return None if given is None else Path(given)


def load_blip_of(folder: Path, backbone: str | None = None, vocab: str | None = None) -> Any:
    """The adapted BLIP of a run folder or of saved adapters, of any task.

    Raises:
        ValueError: the folder is none of both, does not say which backbone it belongs to, or does not fit it.
    """
    details = read_json(folder / "adapter_config.json")
    task, trained_on = details.get("task") or "retrieval", details.get("backbone") or {}
    if task == "retrieval":
        return load_folder(folder, backbone, vocab).blip
    source = folder / "backbone" if details["train"] == "all" else backbone or trained_on["source"]
    blip = load_blip(source, task=task, image_size=trained_on.get("image_size"), vocab=vocab)
    if details["lora"]:
        load_lora(blip, LoraSettings(**details["lora"]), folder / "lora")
    load_adapters(blip, folder, verbose=False)
    return blip.eval()


def load_folder(folder: Path, backbone: str | None = None, vocab: str | None = None) -> VideoTextRetrieval:
    """The model of a run folder; of saved adapters alone, the task model with its defaults around them.

    Raises:
        ValueError: the folder is none of both, does not say which backbone it belongs to, or does not fit it; or texts
            weight nothing in its model.
    """
    model = load_retrieval(Source(backbone, folder, vocab), torch.device("cpu"))
    if not isinstance(model, VideoTextRetrieval):
        raise ValueError(
            f"{folder}: expected a BLIP with adapters, got {type(model).__name__}, which pools no rows by text"
        )
    return model


def read_clip(
    model: VideoTextRetrieval, video: Path
) -> tuple[UInt8[np.ndarray, "time height width 3"], Float[Tensor, "time 3 size size"]]:
    """As many frames of a video as the adapter was trained with, as pictures and as the model takes them."""
    state, settings = plugged_state(model), preprocessing(model)
    num_frames = state.config.num_frames if state and state.config else 8
    frames = read_frames(video, num_frames)
    return frames, normalize(resize_frames(frames, settings.image_size), settings)


def _write(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=150)
    print(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; what cannot be drawn is said in a line, with exit status 2."""
    commands: dict[str, Any] = {"scales": scales, "pooling": pooling, "codes": codes}
    try:
        tyro.extras.subcommand_cli_from_dict(
            commands, prog="python -m litevl.plots", description=__doc__, args=arguments
        )
    except (ImportError, OSError, ValueError, VideoError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
