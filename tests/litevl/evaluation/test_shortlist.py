"""Shortlists and ranks made block by block, against the whole matrix."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from litevl.evaluation import shortlist as module
from litevl.evaluation.shortlist import Shortlist, reranked, shortlist
from litevl.metrics import ranks


@pytest.fixture
def made():
    generator = torch.Generator().manual_seed(0)
    queries, gallery = (F.normalize(torch.randn(size, 8, generator=generator), dim=-1) for size in (23, 11))
    query_ids, gallery_ids = [f"v{number % 11}" for number in range(23)], [f"v{number}" for number in range(11)]
    return queries, gallery, query_ids, gallery_ids


@pytest.mark.parametrize("elements", [1, 11 * 7, 1 << 20])
def test_blocks_give_what_the_whole_matrix_gives(made, elements, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ELEMENTS", elements)
    queries, gallery, query_ids, gallery_ids = made
    whole = queries @ gallery.T
    found = shortlist(queries, gallery, query_ids, gallery_ids, k=4)
    order = whole.argsort(dim=1, descending=True)[:, :4]
    assert np.array_equal(found.items, order)
    assert found.similarity == pytest.approx(whole.gather(1, order).numpy(), abs=1e-6)
    assert np.array_equal(found.ranks, ranks(whole.numpy(), query_ids, gallery_ids))


def test_k_is_clamped_and_may_be_nothing(made):
    assert shortlist(*made, k=99).items.shape == (23, 11)
    assert shortlist(*made, k=0).items.shape == (23, 0)


def test_a_similarity_that_is_nan_is_named(made):
    queries, gallery, query_ids, gallery_ids = made
    gallery[3, 0] = torch.nan
    with pytest.raises(ValueError, match=r"NaN in row 0 .* column 3 \(gallery item 'v3'\)"):
        shortlist(queries, gallery, query_ids, gallery_ids, k=2)


def test_reranking_is_that_of_the_whole_matrix_with_the_others_below(made):
    queries, gallery, query_ids, gallery_ids = made
    whole = (queries @ gallery.T).numpy().astype(np.float64)
    listed = shortlist(*made, k=3)
    matched = np.random.default_rng(0).normal(size=(23, 3))
    scores = whole - 100
    np.put_along_axis(scores, listed.items, matched + np.take_along_axis(whole, listed.items, 1), axis=1)
    found = reranked(listed, matched, query_ids, gallery_ids)
    assert np.array_equal(found, ranks(scores, query_ids, gallery_ids))
    assert not np.array_equal(found, listed.ranks)
    assert np.array_equal(reranked(shortlist(*made, k=0), matched[:, :0], query_ids, gallery_ids), listed.ranks)


def test_a_tie_counts_against_the_right_item():
    listed = Shortlist(np.array([[0, 1, 2]]), np.array([[0.3, 0.2, 0.1]]), np.array([1]))
    matched = np.array([[0.0, 0.1, -1.0]])
    assert reranked(listed, matched, ["v0"], ["v0", "v1", "v2"]).tolist() == [2]
    # Two of a query's own items do not stand before each other.
    assert reranked(listed, matched, ["v0"], ["v0", "v0", "v2"]).tolist() == [1]
