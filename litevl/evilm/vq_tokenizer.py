"""The semantic VQ tokenizer: a frame's patches as numbers of codes that stand for what a teacher sees in them.

After BEiT v2's vector-quantised knowledge distillation (VQ-KD, arXiv 2208.06366). E-ViLM (arXiv 2311.17267) says that
it has such a tokenizer and not how it is made, so the sizes are ours.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from litevl.precision import full_precision

from .codebook import Codebook
from .teacher import TeacherKind, check_source
from .transformer import Block, check_grid, embed_frames, initialise, patches_to_conv


@dataclass(frozen=True)
class VQTokenizerConfig:
    """How large the tokenizer is, and what it learns from.

    The defaults are for a large corpus; for a small one 512 to 2048 codes.

    Raises:
        ValueError: for sizes that do not fit each other, or numbers out of range.
    """

    image_size: int = 224
    """Side of the frames in pixels."""
    patch_size: int = 16
    """Side of a patch in pixels; every patch of a frame gets one code."""
    width: int = 192
    """Width of the encoder and of the decoder."""
    layers: int = 6
    """Blocks of the encoder; more collapse on small data."""
    heads: int = 3
    """Attention heads of the encoder and of the decoder."""
    decoder_layers: int = 1
    """Blocks of the decoder. A small one leaves what there is to say to the codes."""
    codes: int = 8192
    """Codes in the codebook."""
    code_dim: int = 32
    """Width of a code; narrow codes are used more evenly."""
    teacher: TeacherKind = "blip"
    """What a patch's code is to tell: BLIP's or CLIP's feature of it, or, for the ablation, its pixels."""
    teacher_source: str = "Salesforce/blip-itm-base-coco"
    """Where BLIP or CLIP comes from: a hub id, a folder, and for BLIP a .pth file or `embedded`. A
    CLIP has to be named."""
    commitment: float = 1.0
    """Weight of the loss that keeps the encoder near its codes."""
    decay: float = 0.99
    """Share that the codes' running averages keep at each step."""

    def __post_init__(self) -> None:
        check_grid(self.image_size, self.patch_size)
        for name, value in vars(self).items():
            if isinstance(value, int) and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if self.width % self.heads:
            raise ValueError(f"width: expected a multiple of the {self.heads} heads, got {self.width}")
        if self.teacher not in get_args(TeacherKind):
            raise ValueError(f"teacher: expected one of {', '.join(get_args(TeacherKind))}; got {self.teacher!r}")
        check_source(self.teacher, self.teacher_source)
        if self.commitment < 0 or not 0 <= self.decay < 1:
            raise ValueError(
                f"expected a commitment of at least 0 and a decay from 0 to below 1, got {self.commitment} and "
                f"{self.decay}"
            )

    def absolute(self) -> "VQTokenizerConfig":
        """With an absolute path, so that a run folder means the same from anywhere."""
        there = Path(self.teacher_source).exists()
        return replace(self, teacher_source=str(Path(self.teacher_source).resolve())) if there else self

    @property
    def grid(self) -> int:
        """Patches along a side of a frame."""
        return self.image_size // self.patch_size


@dataclass(frozen=True)
class VQOutput:
    """What the tokenizer makes of the patches of some frames."""

    predicted: Float[Tensor, "frames patches teacher_dim"]
    """The decoder's word for the teacher's features."""
    ids: Int[Tensor, "frames patches"]
    """The nearest codes."""
    z: Float[Tensor, "frames patches code_dim"]
    """What the codes stand in for: unit-norm, float32."""
    quantised: Float[Tensor, "frames patches code_dim"]
    """The codes, with the gradient passed straight to `z`."""


class VQTokenizer(nn.Module):
    """A ViT that gives each patch a code, and the decoder that learns with it to say the teacher's features from codes.

    Args:
        config: sizes.
        teacher_dim: width of the teacher's features.
    """

    def __init__(self, config: VQTokenizerConfig, teacher_dim: int):
        super().__init__()
        self.config, self.teacher_dim = config, teacher_dim
        width, heads, patches = config.width, config.heads, config.grid**2
        self.patches = patches_to_conv(width, config.patch_size)
        self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty(patches, width), std=0.02))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.to_code = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, config.code_dim))
        self.codebook = Codebook(config.codes, config.code_dim, config.decay)
        self.from_code = nn.Linear(config.code_dim, width)
        self.decoder_positions = nn.Parameter(nn.init.trunc_normal_(torch.empty(patches, width), std=0.02))
        self.decoder_blocks = nn.ModuleList(Block(width, heads) for _ in range(config.decoder_layers))
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.to_teacher = nn.Linear(width, teacher_dim)
        self.apply(initialise)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.positions.device

    @property
    def image_size(self) -> int:
        """Side of the frames in pixels."""
        return self.config.image_size

    def encode(self, frames: Float[Tensor, "frames 3 height width"]) -> Float[Tensor, "frames patches code_dim"]:
        """The unit-norm rows that codes stand in for, in float32.

        Raises:
            ValueError: frames of another size.
        """
        size = self.config.image_size
        if frames.shape[-2:] != (size, size):
            raise ValueError(
                f"expected frames of {size} x {size} pixels, got {frames.shape[-2]} x {frames.shape[-1]}; preprocess "
                "with the tokenizer's image_size"
            )
        x = embed_frames(self.patches, frames) + self.positions
        for block in self.blocks:
            x = block(x)
        z = self.to_code(self.norm(x))
        with full_precision(z):
            return F.normalize(z.float(), dim=-1)

    def decode(self, quantised: Float[Tensor, "frames patches code"]) -> Float[Tensor, "frames patches teacher"]:
        """The teacher's features, said from the codes."""
        x = self.from_code(quantised) + self.decoder_positions
        for block in self.decoder_blocks:
            x = block(x)
        return self.to_teacher(self.decoder_norm(x))

    def quantise(self, z: Float[Tensor, "frames patches code_dim"]) -> VQOutput:
        """Codes of encoded frames, and what they say."""
        quantised, ids = self.codebook(z)
        return VQOutput(predicted=self.decode(quantised), ids=ids, z=z, quantised=quantised)

    def forward(self, frames: Float[Tensor, "frames 3 height width"]) -> VQOutput:
        """Codes of frames, and what they say.

        Args:
            frames: normalised with BLIP's mean and deviation.
        """
        return self.quantise(self.encode(frames))

    @torch.no_grad()
    def tokenize(self, frames: Float[Tensor, "*frames 3 height width"]) -> Int[Tensor, "*frames patches"]:
        """The codes of frames or of clips (batch, time, 3, height, width), row by row; labels to be predicted.

        Computed in float32: the labels do not depend on the precision that the model which learns them trains in.
        """
        with full_precision(frames):
            ids = self.codebook.assign(self.encode(frames.float().reshape(-1, *frames.shape[-3:])))
        return ids.view(*frames.shape[:-3], -1)
