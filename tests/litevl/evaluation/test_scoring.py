"""Two-stage scoring against the whole matrices, and the metrics made of it."""

import re

import numpy as np
import pytest
import torch

from litevl.adapters import LiteVLConfig, plug
from litevl.evaluation import scoring
from litevl.evaluation.report import category_table, retrieval_table, show
from litevl.evaluation.retrieval import order_accuracy, summarise
from litevl.evaluation.scoring import Scores, score_gallery
from litevl.evaluation.shortlist import shortlist
from litevl.models import VideoTextRetrieval
from litevl.training import start_accelerator

TEXTS = ["a red square", "a blue circle moves left", "the star before the circle", "a square", "a star and a circle"]
TEXT_IDS = ["v2", "v2", "v0", "v1", "v3"]


@pytest.fixture
def accelerator():
    return start_accelerator("no", 1, "none")[0]


@pytest.fixture
def model(blip):
    return VideoTextRetrieval(plug(blip, LiteVLConfig(num_frames=2), verbose=False)).eval()


@pytest.fixture
def videos():
    pixels = torch.randn(4, 2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    return [(["v3", "v1", "v2"], pixels[:3]), (["v0"], pixels[3:])]


@torch.no_grad()
def test_scores_are_those_of_the_whole_matrices(model, videos, accelerator):
    scores = score_gallery(model, TEXTS, TEXT_IDS, videos, accelerator, k=9, pair_batch=3)
    assert scores.video_ids == ("v0", "v1", "v2", "v3")
    assert scores.text_ids == tuple(TEXT_IDS)
    assert scores.pairs_matched == 20
    video = model.encode_video(torch.cat([pixels for _, pixels in videos])[[3, 1, 2, 0]])
    text = model.encode_text(TEXTS)
    similarity = model.similarity(text, video).numpy()
    assert scores.for_text.similarity == pytest.approx(
        np.take_along_axis(similarity, scores.for_text.items, 1), abs=1e-5
    )
    for row in range(5):
        pair = model.match_pairs(text[torch.full((4,), row)], video)[:, 1].numpy()
        assert scores.matched_for_text[row] == pytest.approx(pair[scores.for_text.items[row]], abs=1e-4)
        for column in range(4):
            assert scores.of_video("contrastive", column, row)[1] == pytest.approx(similarity[row, column], abs=1e-5)
            expected = pair[column] + similarity[row, column]
            assert scores.of_video("reranked", column, row)[1] == pytest.approx(expected, abs=1e-4)


def test_a_pair_that_both_directions_want_is_scored_once(model, videos, accelerator):
    scores = score_gallery(model, TEXTS, TEXT_IDS, videos, accelerator, k=1, pair_batch=64)
    of_text = {(row, int(column)) for row, column in enumerate(scores.for_text.items[:, 0])}
    of_video = {(int(row), column) for column, row in enumerate(scores.for_video.items[:, 0])}
    assert scores.pairs_matched == len(of_text | of_video) < 5 + 4
    for row, column in of_text & of_video:
        assert scores.matched_for_text[row, 0] == scores.matched_for_video[column, 0]
    without = score_gallery(model, TEXTS, TEXT_IDS, videos, accelerator, k=0, pair_batch=64)
    assert without.pairs_matched == 0
    for direction in (0, 1):
        assert np.array_equal(without.ranks("reranked")[direction], scores.ranks("contrastive")[direction])


def test_a_matching_score_that_is_nan_is_named(model, videos, accelerator, monkeypatch):
    monkeypatch.setattr(model, "match_video", lambda text, video, pair_batch: torch.full((len(text), 2), torch.nan))
    with pytest.raises(ValueError, match=r"NaN for video 'v0' and text 'the star before the circle'"):
        score_gallery(model, TEXTS, TEXT_IDS, videos, accelerator, k=1, pair_batch=64)


def test_long_matching_says_beforehand_what_it_takes(model, videos, accelerator, monkeypatch, capsys):
    monkeypatch.setattr(scoring, "LONG", 0.0)
    score_gallery(model, TEXTS, TEXT_IDS, videos, accelerator, k=9, pair_batch=64)
    assert re.search(
        r"to match 20 pairs of 5 texts and 4 videos: 0\.0 TFLOPs, about 00:0\d; .* 0\.0 GB", capsys.readouterr().out
    )


def test_texts_of_videos_that_do_not_come_are_left_out(model, videos, accelerator):
    scores = score_gallery(model, TEXTS, TEXT_IDS, videos[:1], accelerator, k=2, pair_batch=64)
    assert scores.video_ids == ("v1", "v2", "v3")
    assert scores.text_ids == ("v2", "v2", "v1", "v3")
    with pytest.raises(ValueError, match="no video to evaluate"):
        score_gallery(model, TEXTS, TEXT_IDS, [], accelerator, k=2, pair_batch=64)


def made_scores(contrastive=((0.9, 0.1, 0.0), (0.8, 0.2, 0.1), (0.0, 0.5, 0.4)), matched=None):
    """Scores of which everything is on the shortlists; `matched` is texts x videos."""
    similarity = np.array(contrastive)
    matched = np.zeros_like(similarity) if matched is None else np.array(matched)
    ids = ["a", "b", "c"][: len(similarity)]
    texts, videos = torch.eye(len(ids), dtype=torch.float64), torch.from_numpy(similarity).T.contiguous()
    for_text, for_video = shortlist(texts, videos, ids, ids, 3), shortlist(videos, texts, ids, ids, 3)
    return Scores(
        tuple(ids),
        tuple(ids),
        texts,
        videos,
        for_text,
        for_video,
        np.take_along_axis(matched, for_text.items, 1),
        np.take_along_axis(matched.T, for_video.items, 1),
        9,
    )


def test_summary_names_directions_and_categories():
    result = summarise(made_scores(), {"a": "still", "b": "moving", "c": "moving"}, bootstrap=50)
    assert result["contrastive"]["t2v_r1"] == pytest.approx(100 / 3)
    assert result["contrastive"]["v2t_r1"] == pytest.approx(200 / 3)
    assert result["contrastive"]["t2v_r1_by_category"] == {"moving": 0.0, "still": 100.0}
    assert result["contrastive"]["v2t_gallery"] == 3
    low, high = result["contrastive"]["intervals"]["t2v_r1"]
    assert low <= 100 / 3 <= high
    assert "t2v_r1_by_category" not in summarise(made_scores(), {})["contrastive"]


def test_order_accuracy_compares_a_clips_caption_with_its_partners():
    # In each column the own caption scores above the partner's, in both kinds of score.
    assert order_accuracy(made_scores(), [("a", "b")]) == {"contrastive": 100.0, "reranked": 100.0}
    ties = made_scores(np.zeros((2, 2)), [[1.0, 2.0], [0.0, 1.0]])
    assert order_accuracy(ties, [("a", "b")]) == {"contrastive": 50.0, "reranked": 50.0}
    matched = made_scores(matched=[[-1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert order_accuracy(matched, [("a", "b")]) == {"contrastive": 100.0, "reranked": 50.0}
    assert order_accuracy(made_scores(), []) == {}
    assert order_accuracy(made_scores(), [("a", "missing")]) == {}


def test_tables_show_every_number(capsys):
    values = summarise(made_scores(), {"a": "still", "b": "moving", "c": "moving"})
    values["order_accuracy"] = order_accuracy(made_scores(), [("a", "b")])
    rows = {"LiteVL, contrastive": values["contrastive"]}
    show(retrieval_table(rows, "Results", "three videos"), category_table({"LiteVL": values}))
    out = capsys.readouterr().out
    for text in ("t2v R@1", "v2t MnR", "33.3", "three videos", "told from its reversal", "100.0"):
        assert text in out
