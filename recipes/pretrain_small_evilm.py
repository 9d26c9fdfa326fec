"""Start the small E-ViLM on still pictures and captions of the small world, as its relatives start on images. No video.

    python recipes/pretrain_small_evilm.py --output-dir litevl/evilm/embedded/stills

E-ViLM's relatives begin with encoders that know pictures and words, and pre-train on captioned images beside videos
(VIOLET, arXiv 2111.12681: WebVid and CC3M). Here that is one step before recipes/evilm_pretrain.py, which goes on from
it with clips; nothing is masked in pictures, so that what masked video modelling adds there can be told. The attention
over time, which a picture does not use, ends as a copy of that over space.

Pictures, objectives, optimizers and metrics are those of the small BLIP (training_on_stills.py), which LiteVL adapts:
the two models know the same world before they see a video. The result is a folder that `litevl.evilm.load_evilm` reads.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro
from torch import Tensor, nn
from training_on_stills import Objectives, train

from litevl.blip import load_tokenizer
from litevl.corpus.captions import vocabulary
from litevl.data.preprocess import normalize, resize_frames
from litevl.evilm import SMALL, EViLM, save_evilm
from litevl.models import TokenBatch, VideoFeatures


@dataclass(frozen=True)
class Config(Objectives):
    """What is trained, for how long, and where it goes."""

    output_dir: Path = Path("runs/small_evilm")
    """Folder for evilm.json, evilm.safetensors and vocab.txt."""


class SmallEViLM(nn.Module):
    """The model as the training on stills asks for it: a picture is a clip of one frame."""

    def __init__(self, model: EViLM):
        super().__init__()
        self.model, self.tokenizer = model, model.tokenizer

    def temperature(self) -> Tensor:
        """Of the contrastive loss."""
        return self.model.temperature()

    def tokens(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask, padded to the longest caption."""
        batch = self.model.tokenize(captions)
        return batch.input_ids, batch.attention_mask

    def see(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Vision tokens and contrastive embedding of uint8 pictures (batch, height, width, 3)."""
        video = self.model.encode_video(normalize(resize_frames(pictures, self.model.image_size))[:, None])
        return video.rows, video.embed

    def read(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Contrastive embedding of captions."""
        return self.model.encode_text(TokenBatch(ids, mask)).embed

    def grounded(self, ids: Tensor, mask: Tensor, vision: Tensor) -> Tensor:
        """Hidden states of captions fused with as many pictures."""
        video = VideoFeatures(vision, vision[:, 0], 1, "clip")
        return self.model.fuse(TokenBatch(ids, mask), video)[0]

    def words(self, hidden: Tensor) -> Tensor:
        """Logits over the vocabulary, for masked words."""
        heads = self.model.pretraining
        assert heads is not None
        return heads.word_logits(hidden, self.model.text_encoder.embeddings.word_embeddings.weight)

    def match(self, ids: Tensor, mask: Tensor, vision: Tensor) -> Tensor:
        """Matching logits; column 1 is "they belong together"."""
        return self.model.match_head(self.grounded(ids, mask, vision)[:, 0])


def main(config: Config) -> dict[str, float]:
    """Train, round the weights to float16, measure on held-out stills, save.

    Returns:
        The metrics, as in evilm.json.
    """
    started = time.time()
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    config.output_dir.mkdir(parents=True, exist_ok=True)
    (config.output_dir / "vocab.txt").write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    model = EViLM(SMALL, load_tokenizer(config.output_dir / "vocab.txt"), vision_targets=0).train()
    metrics = train(SmallEViLM(model), config)
    model.video_encoder.start_time_from_space()
    metrics["temperature"] = round(model.temperature().item(), 5)
    metrics["seconds"] = round(time.time() - started)
    settings = {name: value for name, value in asdict(config).items() if name != "output_dir"}
    save_evilm(model, config.output_dir, recipe="recipes/pretrain_small_evilm.py", config=settings, metrics=metrics)
    print(json.dumps(metrics, indent=2))
    return metrics


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
