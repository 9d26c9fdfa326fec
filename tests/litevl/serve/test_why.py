"""The words and pictures beside a hit say what the model computed."""

import base64
import io
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from litevl.serve.server import is_loopback
from litevl.serve.why import frames_html, percent, score_html

QUERY = "a blue star"


def pictures(html, kind="png"):
    found = re.findall(rf"data:image/{kind};base64,([^\"]+)", html)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


def test_the_score_is_the_sum_of_its_parts(index):
    hits = index.search(QUERY, k=5, rerank=2)
    for hit in hits[:2]:
        said = score_html(hit, hits)
        first, second, total = map(float, re.findall(r"<b>([+-]?[\d.]+)</b>", said))
        assert first + second == pytest.approx(total, abs=2e-3)
        assert total == pytest.approx(hit.score, abs=1e-3)
        assert f"match with {percent(hit.match)}" in said
    assert "number 1 of these 5" in score_html(max(hits, key=lambda hit: hit.similarity), hits)
    assert "not matched" in score_html(hits[-1], hits)


def test_frames_and_places_have_the_weights_of_the_pooling(index):
    explanation = index.explain(QUERY, index.search(QUERY, k=1)[0])
    said = frames_html(explanation)
    weights = [float(value) for value in re.findall(r"weight ([\d.]+)", said)]
    assert weights == pytest.approx(explanation.frame_weights, abs=0.006)
    frames, overlays = pictures(said)[::2], pictures(said)[1::2]
    assert np.array_equal(np.asarray(frames[1]), explanation.frames[1])
    drawn, patches = np.asarray(overlays[0]).astype(int), explanation.patch_weights
    assert drawn.shape == (*patches.shape, 4)
    place = divmod(int((patches - 1).abs().argmax()), patches.shape[1])
    assert drawn[..., 3].max() == drawn[(*place, 3)] > 100
    red, _, blue, _ = drawn[place]
    assert (red > blue) == bool(patches[place] >= 1)


def test_a_model_that_does_not_pool_shows_similarities_alone(index):
    explanation = index.explain(QUERY, index.search(QUERY, k=1)[0])
    said = frames_html(replace(explanation, frame_weights=None, patch_weights=None))
    assert "have no weights" in said
    shown = [float(value) for value in re.findall(r"similar (-?[\d.]+)", said)]
    assert shown == pytest.approx(explanation.similarity, abs=0.006)


def test_searches_and_explanations_run_side_by_side(index):
    queries = [f"a {colour} {shape}" for colour in ("red", "blue", "green") for shape in ("star", "circle")]

    def work(query):
        hits = index.search(query, k=3)
        explanation = index.explain(query, hits[0])
        return [hit.id for hit in hits], explanation.frame_weights, explanation.patch_weights

    alone = [work(query) for query in queries]
    with ThreadPoolExecutor(6) as pool:
        for (ids, weights, patches), expected in zip(pool.map(work, queries * 3), alone * 3, strict=True):
            assert ids == expected[0]
            assert weights == pytest.approx(expected[1], abs=1e-5)
            torch.testing.assert_close(patches, expected[2])


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.3.2.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("a.b", False)],
)
def test_loopback_is_told(host, expected):
    assert is_loopback(host) is expected
