"""The vector store: exact up to a size, by its index beyond, with filters, and as another process sees it."""

import sys

import numpy as np
import pytest

from litevl.search import store as store_module
from litevl.search.errors import SearchError
from litevl.search.store import VectorStore

VECTORS = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


@pytest.fixture
def store(tmp_path):
    found = VectorStore(tmp_path / "vectors", "segments", 16)
    found.add((number, float(number), number + 1.0, vector) for number, vector in enumerate(VECTORS))
    return found


def test_finds_the_most_similar(store):
    expected = VECTORS @ VECTORS[7]
    found = store.search(VECTORS[7], 20)
    assert [number for number, _ in found] == np.argsort(-expected)[:20].tolist()
    assert np.allclose([value for _, value in found], np.sort(expected)[::-1][:20], atol=1e-6)


def test_an_empty_store_finds_nothing(tmp_path):
    empty = VectorStore(tmp_path / "vectors", "segments", 16)
    assert (len(empty), empty.ids(), empty.search(VECTORS[0], 5)) == (0, set(), [])


def test_bounds_of_time(store):
    found = {number for number, _ in store.search(VECTORS[0], 300, after=10.0, before=12.5)}
    assert found == {10, 11, 12}
    assert len(store.search(VECTORS[0], 300, after=290.0)) == 10


def test_others_see_what_was_written_and_removed(store, tmp_path):
    other = VectorStore(tmp_path / "vectors", "segments", 16)
    assert other.ids() == set(range(300))
    store.remove([3, 4, 5])
    assert len(other) == 297
    assert 4 not in {number for number, _ in other.search(VECTORS[4], 297)}
    store.tidy()
    assert other.ids() == store.ids() == set(range(300)) - {3, 4, 5}


def test_a_large_store_goes_by_an_index(store, monkeypatch):
    monkeypatch.setattr(store_module, "FLAT_UP_TO", 100)
    store.tidy()
    assert [index.index_type for index in store._table.list_indices()] == ["IvfFlat"]
    assert store.search(VECTORS[9], 1) == [(9, pytest.approx(1.0, abs=1e-6))]
    monkeypatch.setattr(store_module, "CELLS_LOOKED_INTO", 1.0)
    expected = np.argsort(-(VECTORS @ VECTORS[9]))[:10].tolist()
    assert [number for number, _ in store.search(VECTORS[9], 10)] == expected, "in all cells it is exact"


def test_without_lancedb_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(ImportError, match=r"pip install 'litevl\[search\]'"):
        VectorStore(tmp_path, "segments", 16)


def test_a_place_that_is_none_is_said(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SearchError, match="the vector store can't be opened"):
        VectorStore(tmp_path / "file", "segments", 16)
