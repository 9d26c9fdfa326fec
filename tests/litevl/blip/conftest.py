"""Small random BLIPs of transformers, and the way back to the original's key names, for the tests of loading."""

import sys
from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor

WORDS = ("a", "red", "blue", "square", "circle", "moves", "left", "right", "to", "the", "of", "dog", "##s", "?")
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)
ROWS = len(VOCABULARY) + 2
DEC, ENC = len(VOCABULARY), len(VOCABULARY) + 1
VISION_CLASS = "vision_model.embeddings.class_embedding"
CLASSES = {
    "retrieval": "BlipForImageTextRetrieval",
    "vqa": "BlipForQuestionAnswering",
    "captioning": "BlipForConditionalGeneration",
}


@pytest.fixture(scope="session")
def small():
    """This module: test modules cannot import one another under pytest's importlib mode."""
    return sys.modules[__name__]


def small_config(width: int = 64, layers: int = 2, image_size: int = 32, patch: int = 8, rows: int = ROWS):
    tower = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // 64),
        "initializer_range": 0.02,
    }
    text = {"vocab_size": rows, "max_position_embeddings": 32, "encoder_hidden_size": width}
    ids = {"bos_token_id": DEC, "sep_token_id": 3, "pad_token_id": 0}
    vision = {"image_size": image_size, "patch_size": patch, "layer_norm_eps": 1e-6}
    return transformers.BlipConfig(
        text_config={**tower, **text, **ids}, vision_config={**tower, **vision}, image_text_hidden_size=16
    )


def small_blip(task: str = "retrieval", seed: int = 0, **sizes):
    torch.manual_seed(seed)
    model = getattr(transformers, CLASSES[task])(small_config(**sizes))
    for name, parameter in model.named_parameters():
        # Norms at one and biases at zero would hide a swap of the two.
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
        elif "position" in name or "class_embedding" in name:
            parameter.data.normal_(std=0.3)
    return model.eval()


def original_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a transformers state dict to the names of Salesforce's code, by plain replacements."""
    pairs = (
        ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
        ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
        ("vision_model.embeddings.patch_embedding", "visual_encoder.patch_embed.proj"),
        ("vision_model.encoder.layers", "visual_encoder.blocks"),
        ("vision_model.post_layernorm", "visual_encoder.norm"),
        ("layer_norm", "norm"),
        ("self_attn.projection", "attn.proj"),
        ("self_attn", "attn"),
    )
    renamed = {}
    for name, tensor in state.items():
        for ours, theirs in pairs:
            name = name.replace(ours, theirs)
        renamed[name] = tensor.clone()
    return renamed


def write_vocabulary(folder: Path, tokens: tuple[str, ...] = VOCABULARY) -> Path:
    path = folder / "vocab.txt"
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return path


def write_folder(folder: Path, model, **options) -> Path:
    model.save_pretrained(folder, **options)
    write_vocabulary(folder)
    return folder


def write_original(folder: Path, model, wrapper: str | None = "model", **extra: Tensor) -> Path:
    """Save as Salesforce and LAVIS do: their names, the training state beside the model, under `model`."""
    state = original_names(model.state_dict()) | extra
    path = folder / "checkpoint.pth"
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 5}, path)
    write_vocabulary(folder)
    return path
