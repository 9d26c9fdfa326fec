"""The vector store: exact up to a size, by its index beyond, with filters, and as another process sees it."""

import sys

import numpy as np
import pytest
from fake_lancedb import KEY, FakeLanceDB

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


@pytest.fixture
def server(tmp_path, monkeypatch):
    made = FakeLanceDB(tmp_path / "server")
    monkeypatch.setenv("LANCEDB_HOST", made.address)
    monkeypatch.setenv("LANCEDB_API_KEY", KEY)
    monkeypatch.setenv("LANCE_CLIENT_MAX_RETRIES", "0")
    yield made
    made.close()


def test_a_server_is_spoken_to_by_the_same_calls(server, monkeypatch):
    store = VectorStore("db://videos", "segments", 16)
    store.add((number, float(number), number + 1.0, vector) for number, vector in enumerate(VECTORS[:50]))
    store.remove([3])
    store.tidy()
    assert store.ids() == VectorStore("db://videos", "segments", 16).ids() == set(range(50)) - {3}
    assert store.search(VECTORS[7], 3, after=5.0, before=9.0)[0] == (7, pytest.approx(1.0, abs=1e-6))
    monkeypatch.setattr(store_module, "FLAT_UP_TO", 10)
    store.tidy()
    assert server.called[-1] == "create_index"
    assert {"create", "insert", "delete", "count_rows", "query"} <= set(server.called)


def test_a_server_that_does_not_let_us_in_is_said(server, monkeypatch):
    monkeypatch.setenv("LANCEDB_API_KEY", "another")
    with pytest.raises(SearchError, match="db://videos: the vector store can't be opened"):
        VectorStore("db://videos", "segments", 16)
    monkeypatch.delenv("LANCEDB_API_KEY")
    with pytest.raises(SearchError, match="api_key is required"):
        VectorStore("db://videos", "segments", 16)


def test_a_server_that_goes_away_is_said(server, monkeypatch):
    monkeypatch.setenv("LANCE_CLIENT_CONNECT_RETRIES", "0")
    store = VectorStore("db://videos", "segments", 16)
    server.close()
    with pytest.raises(SearchError, match="db://videos: the vector store can't be read"):
        store.search(VECTORS[0], 1)


def test_a_place_that_is_none_is_said(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SearchError, match="the vector store can't be opened"):
        VectorStore(tmp_path / "file", "segments", 16)
