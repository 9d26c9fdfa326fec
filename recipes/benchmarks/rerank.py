"""Matching captions with a video: LiteVL by video, against BLIP's loop over pairs.

    python recipes/benchmarks/rerank.py
    python recipes/benchmarks/rerank.py --markdown recipes/benchmarks/RESULTS.md

BLIP's evaluation (and LAVIS's, and TESTA's) calls the text encoder on texts padded to 35 tokens, with the video's
tokens repeated for each of them. Full-size models with random weights; captions as long as those of MSR-VTT 1k-A.
"""

import shlex
import sys
from collections import Counter

import torch
import tyro
from side_by_side import Config, Row, measure, report, require_equal

from litevl.adapters import LiteVLConfig
from litevl.comparison.full_size import random_blip
from litevl.models import VideoTextRetrieval
from litevl.models.features import TextFeatures, TokenBatch, VideoFeatures
from litevl.training import RetrievalModelConfig, build_model

TITLE = "Re-ranking"
LENGTHS = Counter(
    {5: 1, 6: 52, 7: 66, 8: 121, 9: 106, 10: 109, 11: 106, 12: 91, 13: 75, 14: 63, 15: 52, 16: 33, 17: 26, 18: 23}
    | {19: 18, 20: 9, 21: 8, 22: 12, 23: 9, 24: 6, 25: 6, 26: 1, 27: 3, 28: 2, 30: 1, 34: 1}
)
"""How many of the 1,000 captions of MSR-VTT's 1k-A test split have so many tokens, [CLS] and [SEP] counted."""
LONGEST = 35
"""What BLIP pads to."""
TEXTS, PAIRS, FRAMES = 128, 4, 8


def main(config: Config, command: str = "python recipes/benchmarks/rerank.py") -> list[Row]:
    """Measures, and prints the table."""
    model = model_of(config)
    text, pixels = captions(model, TEXTS), torch.randn(1, FRAMES, 3, model.image_size, model.image_size)
    rows, exact = [], torch.empty(0)
    for precision in (torch.float32, torch.bfloat16):
        with torch.inference_mode(), torch.autocast(config.on.type, precision, enabled=precision != torch.float32):
            video = model.encode_video(pixels.to(config.on))
            few = padded(text[:PAIRS])
            repeated = VideoFeatures.cat([video] * PAIRS)
            by_video = lambda video=video: model.match_video(text, video)  # noqa: E731
            by_pair = lambda few=few, repeated=repeated: model.match_pairs(few, repeated)  # noqa: E731
            name = str(precision).removeprefix("torch.")
            loop = by_pair().float()
            exact = loop if name == "float32" else exact
            # In bfloat16 both round: ours may be twice as far from the scores of float32 as the loop is.
            tolerance = 1e-4 if name == "float32" else 2 * float((loop - exact).abs().max())
            require_equal(f"scores, {name}", by_video()[:PAIRS], exact, tolerance)
            works = {f"match_video, {name}": by_video, f"BLIP's loop, {name}": by_pair}
            ours, theirs = works
            rows += measure(config, works, theirs, units={ours: TEXTS, theirs: PAIRS}, reach={ours: 0.08})
    said = (
        f"Per pair; {FRAMES} frames of {model.image_size} px, pooled rows on, {TEXTS} captions of the lengths of "
        f"1k-A, against {PAIRS} padded to {LONGEST} tokens; scores equal to 1e-4 in float32, in bfloat16 no more "
        "than twice as far from those as BLIP's loop."
    )
    report(TITLE, rows, config, command, said)
    return rows


def model_of(config: Config) -> VideoTextRetrieval:
    """LiteVL with random weights."""
    torch.manual_seed(0)
    settings = RetrievalModelConfig(adapter=LiteVLConfig(num_frames=FRAMES))
    return build_model(random_blip(**config.size), settings).eval().to(config.on)


def captions(model: VideoTextRetrieval, number: int) -> TextFeatures:
    """Made-up captions of the real ones' lengths."""
    generator = torch.Generator().manual_seed(0)
    every = torch.tensor(sorted(LENGTHS.elements()))
    lengths = every[torch.randperm(len(every), generator=generator)[:number]]
    mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    ids = mask * model.tokenizer("a")["input_ids"][1]
    with torch.inference_mode():
        return model.encode_text(TokenBatch(ids.to(model.device), mask.to(model.device)))


def padded(text: TextFeatures) -> TextFeatures:
    """As BLIP pads."""
    return TextFeatures(text.tokens.pad_to(LONGEST), text.hidden, text.embed)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__), shlex.join(["python", "recipes/benchmarks/rerank.py", *sys.argv[1:]]))
