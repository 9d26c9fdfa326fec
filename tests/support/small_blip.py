"""A small random BLIP for retrieval and the words it knows."""

import torch
from transformers import BlipConfig, BlipForImageTextRetrieval

from litevl.blip import repair

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "red",
    "blue",
    "square",
    "circle",
    "moves",
    "left",
    "right",
    "up",
    "down",
    "to",
    "the",
    "from",
    "and",
    "star",
    "before",
    "after",
]


def make_blip(tokenizer, seed: int = 0, layers: int = 3):
    width = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 2, "initializer_range": 0.06}
    config = BlipConfig(
        vision_config={
            **width,
            "num_hidden_layers": layers,
            "image_size": 48,
            "patch_size": 16,
            "layer_norm_eps": 1e-6,
        },
        text_config={
            **width,
            "num_hidden_layers": 2,
            "vocab_size": len(tokenizer),
            "encoder_hidden_size": 128,
            "max_position_embeddings": 40,
            "bos_token_id": tokenizer.bos_token_id,
            "sep_token_id": tokenizer.sep_token_id,
        },
        projection_dim=64,
        image_text_hidden_size=64,
    )
    torch.manual_seed(seed)
    model = repair(BlipForImageTextRetrieval(config).eval())
    # transformers starts CLS and position table at zero, where mistakes with them would not show.
    torch.nn.init.normal_(model.vision_model.embeddings.class_embedding, std=0.5)
    torch.nn.init.normal_(model.vision_model.embeddings.position_embedding, std=0.5)
    model.tokenizer = tokenizer
    return model
