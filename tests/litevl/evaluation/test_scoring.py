"""Two-stage scoring against the whole matrices, and the metrics made of it."""

import numpy as np
import pytest
import torch

from litevl.adapters import LiteVLConfig, plug
from litevl.evaluation.report import category_table, retrieval_table, show
from litevl.evaluation.retrieval import order_accuracy, summarise
from litevl.evaluation.scoring import Scores, candidates, rerank, score_gallery
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


def test_candidates_are_the_k_best_of_each_row():
    similarity = np.array([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1]])
    assert candidates(similarity, 2).tolist() == [[False, True, True], [True, True, False]]
    assert candidates(similarity, 9).all()
    assert not candidates(similarity, 0).any()


def test_reranking_puts_candidates_first_and_keeps_the_order_of_the_others():
    similarity = np.array([[0.9, 0.5, 0.4, 0.1]])
    matched = np.array([[-7.0, -3.0, np.nan, np.nan]])
    scores = rerank(similarity, matched, np.array([[True, True, False, False]]))
    assert np.argsort(-scores[0]).tolist() == [1, 0, 2, 3]
    assert scores[0, :2].tolist() == pytest.approx([-6.1, -2.5])
    assert np.isfinite(scores).all()


@torch.no_grad()
def test_scores_are_those_of_the_whole_matrices(model, videos, accelerator):
    scores = score_gallery(model, TEXTS, TEXT_IDS, videos, accelerator, k=9, pair_batch=3)
    assert scores.video_ids == ("v0", "v1", "v2", "v3")
    assert scores.text_ids == tuple(TEXT_IDS)
    assert scores.pairs_matched == 20
    video = model.encode_video(torch.cat([pixels for _, pixels in videos])[[3, 1, 2, 0]])
    text = model.encode_text(TEXTS)
    similarity = model.similarity(text, video).numpy()
    assert scores.contrastive == pytest.approx(similarity, abs=1e-5)
    for row in range(5):
        pair = model.match_pairs(text[torch.full((4,), row)], video)[:, 1].numpy()
        assert scores.reranked_t2v[row] == pytest.approx(pair + similarity[row], abs=1e-4)
    assert scores.reranked_v2t == pytest.approx(scores.reranked_t2v)


def test_a_pair_that_both_directions_want_is_scored_once(model, videos, accelerator):
    scores = score_gallery(model, TEXTS, TEXT_IDS, videos, accelerator, k=1, pair_batch=64)
    wanted = candidates(scores.contrastive, 1) | candidates(scores.contrastive.T, 1).T
    assert scores.pairs_matched == wanted.sum() < 5 + 4
    without = score_gallery(model, TEXTS, TEXT_IDS, videos, accelerator, k=0, pair_batch=64)
    assert without.pairs_matched == 0
    assert np.array_equal(without.reranked_t2v, without.contrastive)


def test_texts_of_videos_that_do_not_come_are_left_out(model, videos, accelerator):
    scores = score_gallery(model, TEXTS, TEXT_IDS, videos[:1], accelerator, k=2, pair_batch=64)
    assert scores.video_ids == ("v1", "v2", "v3")
    assert scores.text_ids == ("v2", "v2", "v1", "v3")
    with pytest.raises(ValueError, match="no video to evaluate"):
        score_gallery(model, TEXTS, TEXT_IDS, [], accelerator, k=2, pair_batch=64)


def made_scores():
    contrastive = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.1], [0.0, 0.5, 0.4]])
    return Scores(("a", "b", "c"), ("a", "b", "c"), contrastive, contrastive, np.eye(3), 9)


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
    ties = Scores(("a", "b"), ("a", "b"), np.zeros((2, 2)), np.zeros((2, 2)), np.array([[1.0, 2.0], [0.0, 1.0]]), 4)
    assert order_accuracy(ties, [("a", "b")]) == {"contrastive": 50.0, "reranked": 50.0}
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
