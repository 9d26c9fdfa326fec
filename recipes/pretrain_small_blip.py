"""Pre-train the small BLIP that ships with litevl, on still pictures and captions of the small world. No video.

    python recipes/pretrain_small_blip.py --output-dir litevl/blip/embedded/retrieval

The model is transformers' BlipForImageTextRetrieval with every part small: a ViT of 4 blocks x 128 for 48-pixel
pictures, a text encoder of 3 layers x 128 with cross-attention. Pictures come in pairs that differ in one detail, often
only in who is where, so the text encoder has to read the order of words. One pair of things in nine is never stated
anything about; the metrics are on those.

The objectives are BLIP's contrastive (ITC, learnable temperature) and matching (ITM, `[ENC]` first, hard negatives),
and two that make small training runs work: telling the two of a pair apart, and filling masked words of a caption from
the picture's [CLS] alone, which brings what a caption says into the token that the contrastive embedding is made of.
The first pictures are plain; distractors and backgrounds come later. Weight matrices are trained by Muon, the rest by
AdamW: after 400 steps the retrieval rate was twice that of AdamW alone.

Cost and result: a trial of these settings (AdamW's weight decay 0.02) took 13 minutes on two cores; the run that ships
shared its cores with other work and took 41. On held-out stills 97.4% of the near-duplicate pairs are told apart by ITC
and 97.3% by ITM (90% of the static ones, 99% and more where the caption is about movement or order), and 77% of 200
pictures find their caption first (caption to picture: 75.5%).

The result is a folder that `load_blip` or `BlipForImageTextRetrieval.from_pretrained` reads (weights stored as
float16), with `vocab.txt`, and `training.json` of the configuration and the metrics.
"""

import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BlipConfig, BlipForImageTextRetrieval, PreTrainedTokenizerBase

from litevl.adapters import stock_state_dict
from litevl.blip import enc_token_id, load_tokenizer, repair
from litevl.corpus.captions import vocabulary
from litevl.corpus.meaning import CLUTTER
from litevl.corpus.stills import Still, still_pairs
from litevl.losses import contrastive_loss, hard_negatives, matching_loss

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
TEST_SEED = 10_000
Pairs = list[tuple[Still, Still]]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a small BLIP is trained."""

    steps: int = 3000
    """Optimizer steps."""
    muon_lr: float = 0.01
    """Peak learning rate of the blocks' weight matrices; linear warm-up, then a cosine to zero."""
    lr: float = 1e-3
    """Peak learning rate of everything else."""
    warmup: int = 60
    """Steps of warm-up."""
    weight_decay: float = 0.01
    """Of matrices."""


@dataclass(frozen=True)
class Config(Schedule):
    """What is trained, for how long, and where it goes."""

    output_dir: Path = Path("runs/small_blip")
    """Folder for config.json, model.safetensors, vocab.txt and training.json."""
    seed: int = 0
    """Seeds the pictures, the weights and the choice of negatives."""
    pairs: int = 32
    """Pairs of near-duplicate pictures in a batch: 32 pairs are 64 pictures."""
    masked_pairs: int = 16
    """Of these, how many also have words masked, to be filled from the picture's [CLS]."""
    mask: float = 0.4
    """Share of their words that is masked."""
    matching_pairs: int = 12
    """Of the pairs, how many also go through matching, each picture with its caption and two hard negatives."""
    matching_from: float = 0.45
    """Share of the steps before matching starts."""
    clutter_from: float = 0.35
    """Share of the steps with plain pictures only."""
    clutter_full: float = 0.6
    """Share of the steps after which distractors and backgrounds are as frequent as in the clips."""
    patch_size: int = 12
    """Side of a patch; the picture has 48 pixels."""
    vision_layers: int = 4
    """Blocks of the vision encoder."""
    text_layers: int = 3
    """Layers of the text encoder."""
    width: int = 128
    """Width of both; heads are 64 wide."""
    test_pairs: int = 500
    """Held-out pairs of stills for the metrics; the first 100 make the gallery of 200."""
    threads: int = 2
    """Threads of the processor."""


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


def batch_of(pairs: Pairs) -> tuple[Tensor, list[str]]:
    """Pictures and captions of pairs, the two of a pair next to each other."""
    stills = [still for pair in pairs for still in pair]
    return torch.stack([torch.from_numpy(still.picture) for still in stills]), [still.caption for still in stills]


def losses(
    model: SmallBlip, config: Config, pairs: Pairs, matching: bool, generator: torch.Generator
) -> dict[str, Tensor]:
    """Give the four objectives of one batch by name."""
    pictures, captions = batch_of(pairs)
    ids, mask = model.tokens(captions)
    vision, image = model.see(pictures)
    text = model.read(ids, mask)
    temperature = model.temperature()
    # Equal captions in a batch are positives of each other.
    names = torch.tensor([captions.index(caption) for caption in captions])
    forth = contrastive_loss(image, text, temperature, names, names)
    back = contrastive_loss(text, image, temperature, names, names)
    partner = torch.arange(len(captions)) ^ 1
    own, wrong_text, wrong_image = (
        (i * t).sum(1) for i, t in ((image, text), (image, text[partner]), (image[partner], text))
    )
    pair = F.softplus((wrong_text - own) / temperature) + F.softplus((wrong_image - own) / temperature)
    results = {"itc": (forth + back) / 2, "pair": pair.mean() / 2}
    m = 2 * config.masked_pairs
    hidden = (torch.rand(ids[:m].shape, generator=generator) < config.mask) & (ids[:m] >= 5)
    masked = ids[:m].masked_fill(hidden, model.tokenizer.mask_token_id)
    words = model.word_head(model.grounded(masked, mask[:m], vision[:m, :1])[hidden])
    results["words"] = F.cross_entropy(words, ids[:m][hidden])
    if matching:
        n = 2 * config.matching_pairs
        logits = (image[:n] @ text[:n].T / temperature).detach()
        other_text, _ = hard_negatives(logits, names[:n], names[:n], generator)
        other_image, _ = hard_negatives(logits.T, names[:n], names[:n], generator)
        texts = torch.cat([torch.arange(n), other_text, torch.arange(n)])
        images = torch.cat([torch.arange(n), torch.arange(n), other_image])
        labels = (torch.arange(3 * n) < n).long()
        scores = model.match(ids[texts], mask[texts], vision[images])
        results["itm"] = matching_loss(scores, labels, torch.ones(3 * n, dtype=torch.bool))
    return results


@torch.no_grad()
def evaluate(model: SmallBlip, pairs: Pairs, gallery: int = 200) -> dict[str, float]:
    """Retrieval among `gallery` held-out stills, and telling the two of each pair apart, per category."""
    pictures, captions = batch_of(pairs)
    ids, mask = model.tokens(captions)
    vision, image = model.see(pictures)
    text = model.read(ids, mask)
    scores = image[:gallery] @ text[:gallery].T
    diagonal = torch.arange(len(scores))
    metrics = {
        "i2t_r1": (scores.argmax(1) == diagonal).float().mean().item(),
        "t2i_r1": (scores.argmax(0) == diagonal).float().mean().item(),
    }
    partner = torch.arange(len(captions)) ^ 1
    right, wrong = (model.match(ids[who], mask[who], vision)[:, 1] for who in (partner ^ 1, partner))
    correct = {"itc": (image * text).sum(1) > (image * text[partner]).sum(1), "itm": right > wrong}
    category = torch.tensor([pair[0].meaning.category() for pair in pairs for _ in range(2)])
    for name, hits in correct.items():
        metrics[f"{name}_pair_accuracy"] = hits.float().mean().item()
        for number, label in enumerate(("static", "motion", "appearance", "event")):
            metrics[f"{name}_pair_accuracy_{label}"] = hits[category == number].float().mean().item()
    return {name: round(value, 4) for name, value in metrics.items()}


def optimizers(model: nn.Module, config: Schedule) -> list[torch.optim.Optimizer]:
    """Muon for the weight matrices of the blocks, AdamW for embeddings, heads, norms and biases."""
    named = list(model.named_parameters())
    blocks = [p for name, p in named if p.ndim == 2 and ".layer" in name]
    others = [p for name, p in named if not (p.ndim == 2 and ".layer" in name)]
    groups = [
        {"params": [p for p in others if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0},
    ]
    muon = torch.optim.Muon(blocks, lr=config.muon_lr, weight_decay=config.weight_decay)
    return [muon, torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98))]


def schedule(step: int, config: Schedule) -> float:
    """Give the learning rate at a step as a share of its peak."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    return 0.5 * (1 + math.cos(math.pi * (step - config.warmup) / max(1, config.steps - config.warmup)))


def optimize(model: nn.Module, config: Schedule, step_losses: Callable[[int], dict[str, Tensor]]) -> None:
    """Train on the sum of the losses of each step, with a bar that says how long it still takes."""
    started = time.time()
    steppers = optimizers(model, config)
    rates = [torch.optim.lr_scheduler.LambdaLR(each, lambda step: schedule(step, config)) for each in steppers]
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("pre-training", total=config.steps)
        for step in range(config.steps):
            results = step_losses(step)
            model.zero_grad()
            torch.stack(list(results.values())).sum().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for stepper, rate in zip(steppers, rates, strict=True):
                stepper.step()
                rate.step()
            state = " ".join(f"{name} {loss.item():.3f}" for name, loss in results.items())
            progress.update(task, advance=1, description=state)
            if not progress.console.is_terminal and (step + 1) % 100 == 0:
                # A bar is drawn only on a terminal; a log file gets lines.
                left = (time.time() - started) / (step + 1) * (config.steps - step - 1)
                print(f"step {step + 1} of {config.steps}, {left / 60:.0f} min left: {state}", flush=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())


def main(config: Config) -> dict[str, float]:
    """Train, round the weights to float16, measure on held-out stills, save.

    Returns:
        The metrics, as in training.json.
    """
    started = time.time()
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    rng, generator = random.Random(config.seed), torch.Generator().manual_seed(config.seed)
    config.output_dir.mkdir(parents=True, exist_ok=True)
    (config.output_dir / "vocab.txt").write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    model = SmallBlip(config, load_tokenizer(config.output_dir / "vocab.txt")).train()

    def step_losses(step: int) -> dict[str, Tensor]:
        share = step / config.steps
        ramp = (share - config.clutter_from) / max(1e-9, config.clutter_full - config.clutter_from)
        pairs = still_pairs(rng, config.pairs, clutter=CLUTTER * min(1.0, max(0.0, ramp)))
        return losses(model, config, pairs, share >= config.matching_from, generator)

    optimize(model, config, step_losses)
    metrics = evaluate(model.eval(), still_pairs(random.Random(TEST_SEED), config.test_pairs, test=True))
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
