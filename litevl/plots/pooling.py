"""The weights of the text-conditioned pooling, drawn on the frames of the clip."""

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from litevl.data.preprocess import PreprocessConfig
from litevl.models import VideoTextRetrieval

from .figure import COLOURS, add_colours, around_one, looked_at, new_figure

if TYPE_CHECKING:
    import matplotlib.figure

ABREAST = 8
"""Frames in one row of the picture."""
CAPTION = (
    "How the text weighs the clip: above 1 it brings a frame or a patch forward, below 1 it holds it back.\n"
    "A patch position has one weight for the whole clip."
)


def plot_pooling(
    model: VideoTextRetrieval,
    clip: Float[Tensor, "time 3 height width"],
    text: str,
    frames: UInt8[np.ndarray, "pictures rows columns 3"] | None = None,
    preprocess: PreprocessConfig | None = None,
) -> "matplotlib.figure.Figure":
    """Draws what a text makes of a clip: the weight of each frame as a bar, that of each patch as a colour on it.

    The weights are those by which the model's matching path multiplies the clip's pooled rows (`pooling_weights`).
    Their mean is one. A patch position has one weight for the whole clip, so every frame shows the same colours.

    Args:
        model: the retrieval model.
        clip: preprocessed, as `encode_video` takes it.
        text: what is asked of the clip.
        frames: the pictures to draw; by default the clip itself with its preprocessing undone.
        preprocess: how `clip` was preprocessed; BLIP's own mean and deviation by default.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the model pools nothing, or there is not one picture for each frame.
    """
    if model.pooling.mode == "none":
        raise ValueError("expected a model that pools by the text; this one's pooling has mode='none'")
    pictures = as_pictures(clip, preprocess) if frames is None else frames
    if len(pictures) != len(clip):
        raise ValueError(f"frames: expected one picture for each of the clip's {len(clip)} frames, got {len(pictures)}")
    with looked_at(model):
        video, words = model.encode_video(clip[None].to(model.device)), model.encode_text([text])
        of_frames, of_patches = (weights[0].float().cpu() for weights in model.pooling_weights(words, video))
    side = (clip.shape[2] * clip.shape[3] / len(of_patches)) ** 0.5
    grid = of_patches.unflatten(0, (round(clip.shape[2] / side), -1))
    return _draw(pictures, text, of_frames.tolist(), grid)


def as_pictures(
    clip: Float[Tensor, "time 3 height width"], preprocess: PreprocessConfig | None = None
) -> UInt8[np.ndarray, "time height width 3"]:
    """The pixels of a preprocessed clip: `litevl.data.preprocess.normalize` undone."""
    preprocess = preprocess or PreprocessConfig()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocess.mean, preprocess.std))
    pixels = (clip.detach().float().cpu() * std + mean) * 255
    return pixels.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def _draw(pictures: np.ndarray, text: str, of_frames: list[float], grid: Tensor) -> "matplotlib.figure.Figure":
    abreast = min(max(len(pictures), 4), ABREAST)
    lines = -(-len(pictures) // abreast)
    width, height = 1.45 * abreast, 1.45 * pictures.shape[1] / pictures.shape[2]
    figure = new_figure(width + 1.6, 1.1 + lines * (2 * height + 1))
    figure.suptitle(textwrap.fill(f"“{text}”", int(9 * width)), fontsize=14, parse_math=False)
    figure.supxlabel(CAPTION, fontsize=10)
    axes = figure.subplots(3 * lines, abreast, squeeze=False, height_ratios=[height, height, 0.6] * lines)
    gray = _gray(pictures)
    for number in range(lines * abreast):
        line, place = divmod(number, abreast)
        frame, patches, bar = axes[3 * line : 3 * line + 3, place]
        for each in (frame, patches, bar):
            each.set(xticks=[], yticks=[])
            each.set_visible(number < len(pictures))
        if number < len(pictures):
            frame.imshow(pictures[number])
            frame.set_title(f"frame {number}", fontsize=10)
            image = _draw_patches(patches, gray[number], grid)
            _draw_bar(bar, of_frames[number], max(1.3, 1.05 * max(of_frames)))
        if place == 0:
            frame.set_ylabel("clip")
            patches.set_ylabel("weight of\neach patch")
            bar.set_ylabel("weight of\neach frame")
            bar.set_yticks([1])
    add_colours(figure, image, axes[:, : len(pictures)], "weight of a patch")
    return figure


def _gray(pictures: np.ndarray) -> np.ndarray:
    """The pictures without colour, which would mix with that of the weights, from light gray to white."""
    gray = pictures @ np.array([0.299, 0.587, 0.114], np.float32)  # as luminous as they look (BT.601)
    return 0.6 + 0.4 * (gray - gray.min()) / max(float(np.ptp(gray)), 1.0)


def _draw_patches(axes: Any, gray: np.ndarray, grid: Tensor) -> Any:
    height, width = gray.shape
    axes.imshow(gray, cmap="gray", vmin=0, vmax=1)
    edges = (-0.5, width - 0.5, height - 0.5, -0.5)
    return axes.imshow(grid.numpy(), cmap=COLOURS, alpha=0.55, extent=edges, **around_one(grid))


def _draw_bar(axes: Any, weight: float, top: float) -> None:
    axes.bar([0], [weight], width=0.5, color="0.35")
    axes.axhline(1, color="black", linewidth=1, linestyle=":")
    axes.set(xlim=(-0.5, 0.5), ylim=(0, top), xlabel=f"{weight:.2f}")
    axes.spines[["left", "right", "top"]].set_visible(False)
