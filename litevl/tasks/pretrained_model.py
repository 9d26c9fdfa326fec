"""What E-ViLM's pre-training starts from, and what its masked video modelling tells: codes or features."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from litevl.adapters.fingerprint import digest_of
from litevl.evilm.config import EViLMConfig
from litevl.evilm.teacher import TeacherKind, check_source, load_teacher, resample_grid
from litevl.evilm.vq_files import load_vq_tokenizer


@dataclass(frozen=True)
class PretrainedModelConfig:
    """The model that is pre-trained, and what it is told to predict."""

    start: str | None = None
    """Go on from this E-ViLM, whose sizes and vocabulary then hold: a folder, or `embedded`, the small one that ships:
    here the one before pre-training, which knows still pictures alone. `None` makes a fresh one, to which
    `architecture`, `vocab`, `vision_init` and `text_init` belong."""
    architecture: EViLMConfig = field(default_factory=EViLMConfig)
    """How large a fresh one is."""
    vocab: str = "google-bert/bert-base-uncased"
    """BERT's vocabulary for a fresh one: a vocab.txt, a transformers folder, or a hub id."""
    vision_init: str | None = None
    """Start a fresh one's video encoder from an image ViT of its size: a hub id or folder, as
    facebook/deit-tiny-patch16-224."""
    text_init: str | None = None
    """Start a fresh one's text encoder from the first layers of a BERT of its width, as
    microsoft/MiniLM-L12-H384-uncased."""
    target: Literal["codes", "features"] = "codes"
    """What is told of a masked patch: the tokenizer's code, or the teacher's features themselves, by regression."""
    tokenizer: str | None = "embedded"
    """The folder of a VQ tokenizer, as a run of recipes/evilm_tokenizer.py; or `embedded`, the small one that ships.
    With --data.root it has to be given, where masked patches are told by codes."""
    teacher: TeacherKind = "blip"
    """For --target features: a BLIP's vision encoder, a CLIP's, or the pixels."""
    teacher_source: str = "Salesforce/blip-itm-base-coco"
    """For --target features: which BLIP or CLIP, as openai/clip-vit-base-patch16."""

    def absolute(self) -> "PretrainedModelConfig":
        """With absolute paths, so that a run folder means the same from anywhere."""
        # A vocabulary that is not used stays as it is: a local folder of its name is none of the user's settings.
        named = ("tokenizer", "teacher_source", *(FRESH[1:] if self.start is None else ("start",)))
        given = {name: getattr(self, name) for name in named}
        there = [name for name, value in given.items() if value is not None and Path(value).exists()]
        paths: dict[str, Any] = {name: str(Path(given[name]).resolve()) for name in there}
        return replace(self, **paths)

    def require_used(self) -> None:
        """Refuses settings of a fresh model where there is none.

        Raises:
            ValueError: names them.
        """
        usual = PretrainedModelConfig()
        unused = [name for name in FRESH if getattr(self, name) != getattr(usual, name)]
        if self.start is not None and unused:
            raise ValueError(
                f"{', '.join(unused)}: expected for a fresh model alone, got with start {self.start}, whose sizes, "
                "vocabulary and weights hold; add `--start None` to make a fresh one, or leave them out"
            )

    def require_targets(self) -> None:
        """Refuses targets of masked video modelling that can't be.

        Raises:
            ValueError: no tokenizer, or a teacher that its source is not.
        """
        if self.target == "features":
            check_source(self.teacher, self.teacher_source)
        elif self.tokenizer is None:
            raise ValueError(
                "tokenizer: expected the folder of a VQ tokenizer, got none; give that of a run of "
                "recipes/evilm_tokenizer.py with --tokenizer, `--tokenizer embedded` for the toy one that ships, or "
                "leave masked video modelling out with --loss.mvm-weight 0"
            )


FRESH = ("architecture", "vocab", "vision_init", "text_init")
"""The settings that a fresh model alone has."""


@dataclass(frozen=True)
class Targets:
    """What masked video modelling tells."""

    of: Callable[[Tensor], Tensor]
    """From whole clips to labels or features."""
    outputs: int
    """The number of labels, or the features' width."""
    name: str
    """What it is, in words."""
    labels: str
    """The same by its weights."""


def load_targets(config: PretrainedModelConfig, size: EViLMConfig, device: torch.device) -> Targets:
    """What masked video modelling tells.

    Raises:
        ValueError: the tokenizer takes other frames or patches than the model; or there is none.
    """
    config.require_targets()
    if config.target == "features":
        teacher = load_teacher(config.teacher, config.teacher_source, size.image_size, size.patch_size).to(device)

        def features(pixels: Tensor) -> Tensor:
            found = resample_grid(teacher(pixels.flatten(0, 1)), size.grid)
            return found.unflatten(0, pixels.shape[:2])

        name = f"the features of {config.teacher} {config.teacher_source}"
        return Targets(features, teacher.dim, name, f"features {digest_of(teacher.state_dict())}")
    assert config.tokenizer is not None
    tokenizer = load_vq_tokenizer(config.tokenizer).to(device)
    own = tokenizer.config
    if (own.image_size, own.grid) != (size.image_size, size.grid):
        raise ValueError(
            f"tokenizer: expected one of frames of {size.image_size} px and {size.grid} x {size.grid} patches, as the "
            f"model's; {config.tokenizer} is of {own.image_size} px and {own.grid} x {own.grid}"
        )
    name = f"{own.codes} codes of {config.tokenizer} ({own.teacher})"
    return Targets(tokenizer.tokenize, own.codes, name, f"codes {digest_of(tokenizer.state_dict())}")
