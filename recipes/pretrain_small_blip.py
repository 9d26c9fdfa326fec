"""Pre-train the small BLIP that ships with litevl, on still pictures and captions of the small world. No video.

    python recipes/pretrain_small_blip.py --output-dir litevl/blip/embedded/retrieval

The model is transformers' BlipForImageTextRetrieval with every part small: a ViT of 4 blocks x 128 for 48-pixel
pictures, a text encoder of 3 layers x 128 with cross-attention. Pictures come in pairs that differ in one detail, often
only in who is where, so the text encoder has to read the order of words. One pair of things in nine is never stated
anything about; the metrics are on those.

Objectives, optimizers and metrics are in training_on_stills.py; in matching, `[ENC]` comes first.

Cost and result: a trial of these settings (AdamW's weight decay 0.02) took 13 minutes on two cores; the run that ships
shared its cores with other work and took 41. On held-out stills 97.4% of the near-duplicate pairs are told apart by ITC
and 97.3% by ITM (90% of the static ones, 99% and more where the caption is about movement or order), and 77% of 200
pictures find their caption first (caption to picture: 75.5%).

The result is a folder that `load_blip` or `BlipForImageTextRetrieval.from_pretrained` reads (weights stored as
float16), with `vocab.txt`, and `training.json` of the configuration and the metrics.
"""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from training_on_stills import Objectives, train
from transformers import BlipConfig, BlipForImageTextRetrieval, PreTrainedTokenizerBase

from litevl.adapters import stock_state_dict
from litevl.blip import enc_token_id, load_tokenizer, repair
from litevl.corpus.captions import vocabulary

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Config(Objectives):
    """What is trained, for how long, and where it goes."""

    output_dir: Path = Path("runs/small_blip")
    """Folder for config.json, model.safetensors, vocab.txt and training.json."""
    patch_size: int = 12
    """Side of a patch; the picture has 48 pixels."""
    vision_layers: int = 4
    """Blocks of the vision encoder."""
    text_layers: int = 3
    """Layers of the text encoder."""
    width: int = 128
    """Width of both; heads are 64 wide."""


class SmallBlip(nn.Module):
    """The model with what training needs beside it: tokenizer, temperature, a head for masked words."""

    def __init__(self, config: Config, tokenizer: PreTrainedTokenizerBase):
        super().__init__()
        self.tokenizer = tokenizer
        self.enc = enc_token_id(tokenizer)
        self.blip = repair(BlipForImageTextRetrieval(blip_config(config, tokenizer)))
        width = config.width
        self.word_head = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, len(tokenizer))
        )
        self.log_temperature = nn.Parameter(torch.tensor(math.log(0.05)))

    def temperature(self) -> Tensor:
        """BLIP's temperature, kept within its bounds."""
        return self.log_temperature.exp().clamp(0.001, 0.5)

    def tokens(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask, padded to the longest caption."""
        encoded = self.tokenizer(captions, padding=True, return_tensors="pt")
        return encoded["input_ids"], encoded["attention_mask"]

    def see(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Vision tokens and contrastive embedding of uint8 pictures (batch, height, width, 3)."""
        vision: Any = self.blip.config.vision_config
        side = vision.image_size
        pixels = F.interpolate(pictures.permute(0, 3, 1, 2).float(), (side, side), mode="bicubic", antialias=True)
        pixels = (pixels.clamp(0, 255) / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        tokens = self.blip.vision_model(pixel_values=pixels).last_hidden_state
        return tokens, F.normalize(self.blip.vision_proj(tokens[:, 0]), dim=-1)

    def read(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Contrastive embedding of captions."""
        hidden = self.blip.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return F.normalize(self.blip.text_proj(hidden[:, 0]), dim=-1)

    def grounded(self, ids: Tensor, mask: Tensor, vision: Tensor) -> Tensor:
        """Hidden states of captions that attend to as many pictures; `[ENC]` takes the place of `[CLS]`."""
        ids = torch.cat([torch.full_like(ids[:, :1], self.enc), ids[:, 1:]], dim=1)
        seen = torch.ones(vision.shape[:2], dtype=torch.long)
        return self.blip.text_encoder(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=vision, encoder_attention_mask=seen
        ).last_hidden_state

    def words(self, hidden: Tensor) -> Tensor:
        """Logits over the vocabulary, for masked words."""
        return self.word_head(hidden)

    def match(self, ids: Tensor, mask: Tensor, vision: Tensor) -> Tensor:
        """Matching logits; column 1 is "they belong together"."""
        return self.blip.itm_head(self.grounded(ids, mask, vision)[:, 0])


def blip_config(config: Config, tokenizer: PreTrainedTokenizerBase) -> BlipConfig:
    """Describe the model to transformers; the ViT's epsilon is the original's 1e-6."""
    shared = {
        "hidden_size": config.width,
        "intermediate_size": 4 * config.width,
        "num_attention_heads": config.width // 64,
        "initializer_range": 0.04,
    }
    text = {
        "num_hidden_layers": config.text_layers,
        "vocab_size": len(tokenizer),
        "encoder_hidden_size": config.width,
        "max_position_embeddings": 64,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {"num_hidden_layers": config.vision_layers, "image_size": 48, "patch_size": config.patch_size}
    eps = {"layer_norm_eps": 1e-6}
    return BlipConfig(text_config={**shared, **text}, vision_config={**shared, **vision, **eps})


def main(config: Config) -> dict[str, float]:
    """Train, round the weights to float16, measure on held-out stills, save.

    Returns:
        The metrics, as in training.json.
    """
    started = time.time()
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    config.output_dir.mkdir(parents=True, exist_ok=True)
    (config.output_dir / "vocab.txt").write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    model = SmallBlip(config, load_tokenizer(config.output_dir / "vocab.txt")).train()

    metrics = train(model, config)
    metrics["temperature"] = round(model.temperature().item(), 5)
    metrics["seconds"] = round(time.time() - started)
    save(model.blip, config, config.output_dir, "recipes/pretrain_small_blip.py", metrics)
    print(json.dumps(metrics, indent=2))
    return metrics


def save(blip: Any, config: Any, folder: Path, recipe: str, metrics: dict[str, float]) -> None:
    """Write config.json, the weights as float16 and training.json; vocab.txt is there already."""
    blip.config.architectures = [type(blip).__name__]
    blip.config.save_pretrained(folder)
    weights = {name: tensor.half().contiguous() for name, tensor in stock_state_dict(blip).items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    settings = {name: value for name, value in asdict(config).items() if name != "output_dir"}
    record = {"recipe": recipe, "torch": torch.__version__.split("+")[0], "config": settings, "metrics": metrics}
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
