"""Drawing one picture of the small world: marks on a background, anti-aliased, as an RGB array.

Things are coarse (a normal one is 28 of 96 pixels wide) so that they survive chroma subsampling, H.264 and the
resizing to the backbone's 48 pixels.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8

SIDE = 96
"""Width and height of a picture in pixels: twice the backbone's 48, so that 4:2:0 chroma loses nothing there."""

COLOUR_VALUES = {
    "red": (215, 35, 35),
    "yellow": (245, 230, 50),
    "green": (35, 160, 55),
    "blue": (40, 70, 220),
    "purple": (160, 50, 180),
    "white": (245, 245, 245),
    "black": (20, 20, 20),
}
GROUND_VALUES = {"gray": (125, 125, 125), "brown": (120, 95, 70)}
_PATTERN_DEPTH = 16.0
_PATTERN_PERIOD = 24
_FLASH_COLOUR = (255, 250, 190)


@dataclass(frozen=True)
class Mark:
    """One thing to draw: a shape of the world, or an "arrow right|left|up|down", a "flash", a "frame"."""

    shape: str
    colour: str
    x: float | int
    y: float | int
    radius: float | int


@dataclass(frozen=True)
class Ground:
    """The background; `shift` moves the pattern's phase, in pixels."""

    pattern: str
    colour: str
    shift: int = 0


def draw(ground: Ground, marks: tuple[Mark, ...]) -> UInt8[np.ndarray, "side side 3"]:
    """Draw marks, in order, on a background.

    Args:
        ground: the background.
        marks: what to draw; parts outside the picture are cut off.
    """
    picture = _background(ground).copy()
    for mark in marks:
        _blend(picture, mark)
    return (picture + 0.5).astype(np.uint8)


def _blend(picture: np.ndarray, mark: Mark) -> None:
    alpha = _alpha(mark.shape, round(mark.radius * 2))
    reach = alpha.shape[0] // 2
    left, top = round(mark.x) - reach, round(mark.y) - reach
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + alpha.shape[1], SIDE), min(top + alpha.shape[0], SIDE)
    if x0 >= x1 or y0 >= y1:
        return
    part = alpha[y0 - top : y1 - top, x0 - left : x1 - left]
    region = picture[y0:y1, x0:x1]
    region += part * (_paint(mark) - region)


def _paint(mark: Mark) -> np.ndarray:
    if mark.shape in ("flash", "frame"):
        return np.array(_FLASH_COLOUR, dtype=np.float32)
    return np.array(COLOUR_VALUES[mark.colour], dtype=np.float32)


@lru_cache(maxsize=512)
def _background(ground: Ground) -> np.ndarray:
    base = np.broadcast_to(np.array(GROUND_VALUES[ground.colour], dtype=np.float32), (SIDE, SIDE, 3))
    phase = (np.arange(SIDE)[:, None, None] + ground.shift) % _PATTERN_PERIOD
    light = {"plain": np.zeros((1, 1, 1)), "striped": np.where(phase * 2 < _PATTERN_PERIOD, 1.0, -1.0)}[ground.pattern]
    return base + _PATTERN_DEPTH * light.astype(np.float32)


@lru_cache(maxsize=4096)
def _alpha(shape: str, diameter: int) -> Float[np.ndarray, "height width 1"]:
    """Cover each pixel by 4 x 4 samples of the shape's outline; flash and frame reach beyond the radius."""
    radius = diameter / 2
    reach = int(np.ceil(radius * _REACH.get(shape.split()[0], 1.0)))
    steps = (np.arange((2 * reach + 1) * 4) + 0.5) / 4 - reach - 0.5
    x, y = np.meshgrid(steps / radius, steps / radius)
    inside = _inside(shape, x, y).astype(np.float32)
    side = 2 * reach + 1
    return inside.reshape(side, 4, side, 4).mean(axis=(1, 3))[..., None]


_REACH = {"flash": 1.8, "frame": 1.45}


def _inside(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Tell which points lie inside a shape of radius one; y grows downwards."""
    distance = np.hypot(x, y)
    if shape.startswith("arrow"):
        along, across = {"right": (x, y), "left": (-x, y), "up": (-y, x), "down": (y, x)}[shape.split()[1]]
        head = (along > 0.0) & (np.abs(across) < 0.85 * (1 - along))
        return head | ((along <= 0.0) & (along > -1) & (np.abs(across) < 0.24))
    if shape == "circle":
        return distance < 0.97
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) < 0.85
    if shape == "triangle":
        return (y < 0.8) & (np.abs(x) < (y + 1.0) / 1.8)
    if shape == "cross":
        return (np.minimum(np.abs(x), np.abs(y)) < 0.3) & (np.maximum(np.abs(x), np.abs(y)) < 0.97)
    if shape == "star":
        turn = (np.arctan2(x, -y) / (2 * np.pi) * 5) % 1.0
        return distance < 1.05 - 1.15 * np.minimum(turn, 1 - turn)
    if shape == "flash":
        rays = np.cos(8 * np.arctan2(y, x)) > 0.35
        return rays & (distance > 1.15) & (distance < 1.75)
    if shape == "frame":
        edge = np.maximum(np.abs(x), np.abs(y))
        return (edge > 1.12) & (edge < 1.4)
    raise ValueError(f"expected a shape of the small world, got {shape!r}")
