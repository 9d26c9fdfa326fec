"""How a hit came about, in HTML: its score's parts, and what the text makes of each frame and of each place in them."""

import base64
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from litevl.search import Explanation, Hit
from litevl.search.results import clock

from .media import encoded

WIDTH = 240
"""Pixels that a frame is wide, at most; one of fewer is enlarged by the browser."""
FORWARD, BACK = (198, 40, 40), (33, 102, 172)
"""Of what a text brings forward and what it holds back: told apart with every common colour blindness."""


def score_html(hit: Hit, hits: Sequence[Hit]) -> str:
    """The sum that a hit's score is.

    Args:
        hit: one of them.
        hits: all that are shown.
    """
    by_similarity = 1 + sum(other.similarity > hit.similarity for other in hits)
    lines = [
        (
            "similarity of text and segment, each encoded alone",
            f"cosine; by it alone, number {by_similarity} of these {len(hits)}",
            f"{hit.similarity:.3f}",
        )
    ]
    if hit.match is None:
        lines.append(("not matched word by word", "it was not among the most similar", ""))
    else:
        said = f"the text read over the segment's tokens: they match with {percent(hit.match)}"
        lines.append(("matching logit", said, f"{hit.score - hit.similarity:+.3f}"))
    lines.append(("score", "what hits are ordered by", f"{hit.score:.3f}"))
    rows = (f"<div><p>{name} <span>({said})</span></p><b>{value}</b></div>" for name, said, value in lines)
    return f'<div class="score">{"".join(rows)}</div>'


def frames_html(explanation: Explanation) -> str:
    """The frames that the model saw, each with what the text makes of it."""
    weights, patches = explanation.frame_weights, explanation.patch_weights
    if weights is None or patches is None:
        said = (
            "The similarity of the text to each frame alone. This model does not pool by the text, so frames and "
            "patches have no weights; a trained adapter does (<code>litevl index --adapter RUN</code>)."
        )
        values, name, middle = list(explanation.similarity), "similar", None
    else:
        said = (
            "How the text weighs the segment in matching: <b class=forward>above 1</b> it brings a frame or a place "
            "forward, <b class=back>below 1</b> it holds it back. A place has one weight for the whole segment."
        )
        values, name, middle = list(weights), "weight", 1.0
    shown = zip(explanation.frames, explanation.times, explanation.similarity, values, strict=True)
    top = max(max(values), 1e-6)
    cells = []
    for picture, time, similar, value in shown:
        overlaid = "" if patches is None else f'<img class="over" alt="" src="{_uri(_overlay(patches))}">'
        kind = "even" if middle is None else "forward" if value >= middle else "back"
        lines = [f"{name} {value:.2f}"] if middle is None else [f"{name} {value:.2f}", f"similar {similar:.2f}"]
        cells.append(
            f'<figure><div class="frame"><img alt="frame at {clock(time, 1)}" src="{_uri(_small(picture))}">'
            f"{overlaid}</div>"
            f'<div class="bar"><i class="{kind}" style="width:{100 * max(value, 0) / top:.0f}%"></i></div>'
            f"<figcaption>{clock(time, 1)}<br>{'<br>'.join(lines)}</figcaption></figure>"
        )
    return f'<p>{said}</p><div class="frames">{"".join(cells)}</div>'


def percent(share: float) -> str:
    """A probability as people write it; never all or nothing."""
    return "over 99%" if share > 0.995 else "under 1%" if share < 0.005 else f"{100 * share:.0f}%"


def _small(picture: UInt8[np.ndarray, "height width 3"]) -> Image.Image:
    small = Image.fromarray(picture)
    small.thumbnail((WIDTH, WIDTH))
    return small


def _overlay(weights: Float[Tensor, "rows columns"]) -> Image.Image:
    """A pixel for each place, the more opaque the further its weight is from one."""
    values = weights.numpy() - 1
    reach = float(np.clip(np.abs(values).max(), 0.1, 1))
    alpha = np.clip(np.abs(values) / reach, 0, 1) * 0.65 * 255
    colour = np.where((values >= 0)[..., None], np.array(FORWARD), np.array(BACK))
    return Image.fromarray(np.concatenate([colour, alpha[..., None]], axis=-1).round().astype(np.uint8), "RGBA")


def _uri(picture: Image.Image) -> str:
    data = encoded(picture)
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
