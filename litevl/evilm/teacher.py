"""Frozen teachers: what the tokenizer learns to say of each patch of a frame.

"Semantic" comes from here: an encoder aligned with language (BLIP, CLIP) gives features that tell things apart as
words do. Pixels, the third teacher, are there for the ablation.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from litevl.blip import CheckpointError, load_blip

from .transformer import check_grid

TeacherKind = Literal["blip", "clip", "pixels"]
BLIPS = ("embedded", "Salesforce/blip-itm-base-coco")
"""Sources that are defaults, and no CLIP."""
CLIP = "openai/clip-vit-base-patch16"


class Teacher(nn.Module, ABC):
    """Gives a target for every patch of a frame, without gradient and always in eval mode.

    Args:
        dim: width of a target.
        grid: patches along a side of its own, which may differ from the tokenizer's: see `resample_grid`.
    """

    semantic: bool
    """Whether targets are directions in a space shared with language, compared by cosine; else values."""

    def __init__(self, dim: int, grid: int):
        super().__init__()
        self.dim, self.grid = dim, grid

    @abstractmethod
    def targets(self, frames: Float[Tensor, "frames 3 height width"]) -> Float[Tensor, "frames patches dim"]:
        """The targets of all patches, row by row."""

    @torch.no_grad()
    def forward(self, frames: Float[Tensor, "frames 3 height width"]) -> Float[Tensor, "frames patches dim"]:
        """The targets of all patches, row by row, as float32.

        Args:
            frames: normalised with BLIP's mean and deviation.
        """
        return self.targets(frames).float()

    def train(self, mode: bool = True) -> "Teacher":
        """Stays in eval mode whatever is asked: a teacher that drops out says something else each time."""
        return super().train(False)


class BlipTeacher(Teacher):
    """BLIP's patch tokens after the vision encoder's last norm, projected into the space of images and texts.

    BLIP learnt the projection on the CLS token alone; that patches are projected with it is ours, after what BEiT v2
    (arXiv 2208.06366) does with CLIP.

    Args:
        blip: a BLIP for retrieval without adapters, such as `load_blip(source, task="retrieval")`. Its vision encoder
            and projection are frozen in place, so it should be no model that is being trained.
    """

    semantic = True

    def __init__(self, blip: Any):
        config = blip.config.vision_config
        super().__init__(blip.vision_proj.out_features, check_grid(config.image_size, config.patch_size))
        self.vision_model, self.vision_proj = blip.vision_model, blip.vision_proj
        self.eval().requires_grad_(False)

    def targets(self, frames: Float[Tensor, "frames 3 height width"]) -> Float[Tensor, "frames patches dim"]:
        """The projected patch tokens."""
        return self.vision_proj(self.vision_model(frames).last_hidden_state[:, 1:])


class ClipTeacher(Teacher):
    """CLIP's patch tokens after the last norm, projected into the space of images and texts.

    This is the target of BEiT v2. CLIP's mean and deviation are BLIP's, so the same frames serve both.

    Args:
        clip: transformers' CLIPVisionModelWithProjection; frozen in place.
        image_size: side of the frames in pixels; where it is not CLIP's own, its position table is interpolated.

    Raises:
        ValueError: an image size that CLIP's patches do not fill.
    """

    semantic = True

    def __init__(self, clip: Any, image_size: int):
        super().__init__(clip.config.projection_dim, check_grid(image_size, clip.config.patch_size))
        self.clip, self.interpolate = clip, image_size != clip.config.image_size
        self.eval().requires_grad_(False)

    def targets(self, frames: Float[Tensor, "frames 3 height width"]) -> Float[Tensor, "frames patches dim"]:
        """The projected patch tokens."""
        encoder = self.clip.vision_model
        # Unlike BLIP's, CLIP's last hidden state comes before the last norm.
        hidden = encoder(frames, interpolate_pos_encoding=self.interpolate).last_hidden_state[:, 1:]
        return self.clip.visual_projection(encoder.post_layernorm(hidden))


class PixelTeacher(Teacher):
    """Each patch's own pixels, normalised to zero mean and unit variance as in MAE (arXiv 2111.06377)."""

    semantic = False

    def __init__(self, image_size: int, patch_size: int):
        super().__init__(3 * patch_size**2, check_grid(image_size, patch_size))
        self.patch_size = patch_size

    def targets(self, frames: Float[Tensor, "frames 3 height width"]) -> Float[Tensor, "frames patches dim"]:
        """The normalised pixels, row by row within a patch, a pixel's three values side by side."""
        side = self.patch_size
        pixels = rearrange(frames.float(), "f c (gh h) (gw w) -> f (gh gw) (h w c)", h=side, w=side)
        variance, mean = torch.var_mean(pixels, dim=-1, keepdim=True)
        return (pixels - mean) / (variance + 1e-6).sqrt()


def load_teacher(kind: TeacherKind, source: str | Path, image_size: int, patch_size: int) -> Teacher:
    """Loads a teacher for frames of `image_size` pixels.

    Args:
        kind: `blip`, `clip` or `pixels`.
        source: what `load_blip` takes, or a hub id or folder of a CLIP; pixels need none.
        image_size: side of the frames in pixels.
        patch_size: the tokenizer's, which pixels follow; the others keep their own.

    Raises:
        ValueError: the patches do not fill the frames, or the source is no complete model of that kind.
        CheckpointError: there is nothing at `source` that can be read.
    """
    check_source(kind, source)
    if kind == "blip":
        return BlipTeacher(load_blip(source, task="retrieval", image_size=image_size))
    if kind == "clip":
        return ClipTeacher(_load_clip(source), image_size)
    if kind == "pixels":
        return PixelTeacher(image_size, patch_size)
    raise ValueError(f"teacher: expected blip, clip or pixels, got {kind!r}")


def check_source(kind: str, source: str | Path) -> None:
    """Refuses a teacher that its source can't be, without looking at it.

    Raises:
        ValueError: a CLIP from where BLIP comes from.
    """
    if kind == "clip" and str(source) in BLIPS:
        raise ValueError(
            f"teacher_source: expected the hub id or folder of a CLIP, got {source}, a BLIP; name one with "
            f"--teacher-source, such as {CLIP}"
        )


def _load_clip(source: str | Path) -> Any:
    from transformers import CLIPVisionModelWithProjection, PretrainedConfig

    try:
        named = PretrainedConfig.get_config_dict(str(source))[0].get("model_type")
    except OSError as error:
        raise _unread(source, error) from error
    if named not in ("clip", "clip_vision_model"):
        came = f"a model of type {named}" if named else "nothing that says what it is (config.json)"
        raise ValueError(f"{source}: expected a CLIP, got {came}; name one, such as {CLIP}")

    class VisionOfClip(CLIPVisionModelWithProjection):
        # A whole CLIP is as welcome as its half, without a report on every tensor of its text encoder.
        _keys_to_ignore_on_load_unexpected = [r"^text_model\.", r"^text_projection\.", r"^logit_scale$"]  # noqa: RUF012

    try:
        loaded: Any = VisionOfClip.from_pretrained(str(source), output_loading_info=True)
    except OSError as error:
        raise _unread(source, error) from error
    clip, found = loaded
    if lacking := sorted(found["missing_keys"]):
        raise ValueError(
            f"{source}: expected a CLIP with vision encoder and projection; {len(lacking)} tensors are missing, such "
            f"as {lacking[0]}, and would be random: take a complete checkpoint"
        )
    return clip


def _unread(source: str | Path, error: OSError) -> CheckpointError:
    reason = str(error).strip().splitlines()[0].rstrip(".")
    return CheckpointError(
        f"{source}: expected a CLIP on the hub, in its cache or in a folder, got: {reason}; check the name and the "
        "connection, or pass the path of a local copy"
    )


def resample_grid(features: Float[Tensor, "frames patches dim"], grid: int) -> Float[Tensor, "frames resampled dim"]:
    """Features on another grid of patches over the same frame, bilinear; averaged where the grid becomes coarser.

    Args:
        features: of a square grid, row by row.
        grid: patches wanted along a side.

    Raises:
        ValueError: features of a grid that is not square.
    """
    own = round(features.shape[1] ** 0.5)
    if own**2 != features.shape[1]:
        raise ValueError(f"expected the features of a square grid of patches, got {features.shape[1]} a frame")
    if own == grid:
        return features
    picture = rearrange(features, "f (h w) d -> f d h w", h=own)
    resampled = F.interpolate(picture, size=(grid, grid), mode="bilinear", align_corners=False, antialias=True)
    return rearrange(resampled, "f d h w -> f (h w) d")
