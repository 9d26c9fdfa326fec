"""Full-size models with random weights: what they cost does not depend on what they have learned.

Nothing is downloaded. The words of their vocabulary are made up, as many as BERT's.
"""

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import BlipConfig, BlipForImageTextRetrieval

from litevl.adapters import FrameAverageConfig, LiteVLConfig
from litevl.blip import load_tokenizer
from litevl.evilm import FULL, EViLM, EViLMConfig
from litevl.losses import RetrievalLossConfig, RetrievalObjective
from litevl.training import RetrievalModelConfig, build_model, frame_average

from .analytic import blip_flops, evilm_flops
from .subject import RetrievalSubject

WORDS = 30522
"""BERT's; with BLIP's two tokens its vocabulary has 30524."""


def full_size_litevl(
    device: torch.device, num_frames: int = 8, image_size: int = 224, train: Any = "adapters"
) -> RetrievalSubject:
    """LiteVL on BLIP's base size (ViT-B/16, BERT-base), for retrieval."""
    config = RetrievalModelConfig(adapter=LiteVLConfig(num_frames=num_frames), train=train)
    model = build_model(random_blip(image_size), config).to(device)
    objective = RetrievalObjective(model, RetrievalLossConfig())
    analytic = blip_flops(model, num_frames)
    return RetrievalSubject(model.eval(), num_frames, image_size, objective, analytic=analytic)


def full_size_frame_average(device: torch.device, num_frames: int = 8, image_size: int = 224) -> RetrievalSubject:
    """BLIP's base size frame by frame, nothing trained."""
    model = frame_average(random_blip(image_size)).requires_grad_(False).to(device)
    analytic = blip_flops(model, FrameAverageConfig(num_frames=num_frames).num_frames)
    return RetrievalSubject(model.eval(), num_frames, image_size, analytic=analytic)


def full_size_evilm(device: torch.device, config: EViLMConfig = FULL) -> RetrievalSubject:
    """E-ViLM at its full size, for retrieval."""
    model = EViLM(config, made_up_tokenizer()).to(device)
    objective = RetrievalObjective(model, RetrievalLossConfig())
    return RetrievalSubject(model.eval(), config.num_frames, config.image_size, objective, analytic=evilm_flops(config))


@lru_cache
def made_up_tokenizer() -> Any:
    """A tokenizer of BERT's size whose words are made up."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]
    words += [f"word{number}" for number in range(WORDS - len(words))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join(words) + "\n", encoding="utf-8")
        return load_tokenizer(path)


def blip_base(image_size: int = 224, layers: int = 12, dim: int = 768) -> BlipConfig:
    """The sizes of BLIP's base model, or of one with fewer layers or another width."""
    width = {
        "hidden_size": dim,
        "intermediate_size": 4 * dim,
        "num_hidden_layers": layers,
        "num_attention_heads": dim // 64,
    }
    # transformers starts BLIP's vision encoder at 1e-10, at which any two ways to compute would agree.
    vision = {**width, "image_size": image_size, "patch_size": 16, "layer_norm_eps": 1e-6, "initializer_range": 0.02}
    text = {**width, "vocab_size": WORDS + 2, "encoder_hidden_size": dim, "max_position_embeddings": 512}
    return BlipConfig(vision_config=vision, text_config=text, projection_dim=256, image_text_hidden_size=256)


def random_blip(image_size: int = 224, layers: int = 12, dim: int = 768) -> Any:
    """BLIP for retrieval at the sizes of `blip_base`, with random weights and a tokenizer."""
    blip = BlipForImageTextRetrieval(blip_base(image_size, layers, dim)).eval()
    # As `load_blip` attaches it: nn.Module declares that attributes are tensors or modules, and it is neither.
    object.__setattr__(blip, "tokenizer", made_up_tokenizer())
    return blip
