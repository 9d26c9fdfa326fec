"""Stage two of a search: one text matched with each candidate, from tokens on disk, against ways that know less.

    python recipes/benchmarks/search_rerank.py
    python recipes/benchmarks/search_rerank.py --markdown recipes/benchmarks/RESULTS.md

`by text` is `match_text`, which `litevl search` calls: the candidates' tokens read from a float16 file, the text's few
tokens projected in place of their rows. `by video` projects each candidate's rows (`match_video`, made for many texts
with one video); `by pair` is the text encoder's own forward, with the rows projected too; `encoded again` is what
--tokens none costs. Full-size models with random weights, a text of ten tokens.
"""

import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import tyro
from rerank import FRAMES, captions, model_of
from side_by_side import Config, Row, measure, report, require_equal

from litevl.models.features import TextFeatures, VideoFeatures
from litevl.search.rerank import AT_ONCE
from litevl.search.tokens import TokenWriter, read_tokens

TITLE = "Re-ranking a search"
TOKENS = 10


def main(config: Config, command: str = "python recipes/benchmarks/search_rerank.py") -> list[Row]:
    """Measures, and prints the table."""
    model = model_of(config)
    text = cut(captions(model, 128))
    pixels = torch.randn(1, FRAMES, 3, model.image_size, model.image_size).to(config.on)
    with TemporaryDirectory() as folder, torch.inference_mode():
        video = model.encode_video(pixels)
        writer = TokenWriter(Path(folder), AT_ONCE, "float16")
        writer.write(video.rows.expand(AT_ONCE, -1, -1))
        name = writer.finish()

        def stored() -> VideoFeatures:
            parts = [read_tokens(Path(folder), name, place) for place in range(AT_ONCE)]
            rows = torch.cat(parts).to(config.on).float()
            return VideoFeatures(rows, rows.new_zeros(AT_ONCE, model.embed_dim), video.num_frames, video.cls)

        some = stored()
        require_equal(
            "scores", model.match_text(text, some), model.match_video(text, some[:1]).expand(AT_ONCE, 2), 1e-4
        )
        works = {
            "by text, from disk": lambda: model.match_text(text, stored()),
            "by video": lambda: model.match_video(text, some[:1]),
            "by pair": lambda: model.match_pairs(text, some[:1]),
            "encoded again": lambda: model.match_text(text, model.encode_video(pixels)),
        }
        units = dict.fromkeys(works, 1.0) | {"by text, from disk": AT_ONCE}
        rows = measure(config, works, "by pair", units=units, reach={"by text, from disk": 0.5})
    held = some.rows.nbytes / 1e6
    said = (
        f"Per candidate; by text {AT_ONCE} at a time, which hold {held:.0f} MB (the column ms is of all of them); "
        f"{FRAMES} frames of {model.image_size} px, {held / 2 / AT_ONCE:.1f} MB a segment on disk, a text of "
        f"{TOKENS} tokens."
    )
    report(TITLE, rows, config, command, said)
    return rows


def cut(text: TextFeatures) -> TextFeatures:
    """The first of some texts that has so many tokens."""
    lengths = text.tokens.attention_mask.sum(dim=1)
    place = int((lengths == TOKENS).nonzero()[0])
    one = text[place : place + 1]
    return TextFeatures(one.tokens.cut_to(TOKENS), one.hidden, one.embed)


if __name__ == "__main__":
    main(
        tyro.cli(Config, description=__doc__),
        shlex.join(["python", "recipes/benchmarks/search_rerank.py", *sys.argv[1:]]),
    )
