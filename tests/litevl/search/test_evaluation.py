"""Searching measures what the recipes' evaluation measures; ranks of ties and of videos with several segments."""

from pathlib import Path

import pytest
import search_corpus
import torch
from accelerate.state import AcceleratorState

from litevl.adapters import LiteVLConfig, plug, save_adapters
from litevl.adapters.adapter import adapter_parameter_names
from litevl.blip import load_blip
from litevl.corpus import CorpusConfig, ensure_corpus
from litevl.data.retrieval import RetrievalDataConfig
from litevl.search.evaluation import rank_of
from litevl.search.results import Hit


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    config = CorpusConfig(train_families=1, validate_families=1, test_families=3)
    return ensure_corpus(tmp_path_factory.mktemp("corpora"), config, progress=False)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    """Adapters that tell the order of frames, as if trained; without it a clip and its reversal differ by rounding."""
    blip = plug(load_blip("embedded"), LiteVLConfig(num_frames=6, time_embedding="sinusoidal"), verbose=False)
    torch.manual_seed(0)
    for name, parameter in blip.named_parameters():
        if name in adapter_parameter_names(blip):
            torch.nn.init.normal_(parameter, std=0.05)
    return save_adapters(blip, tmp_path_factory.mktemp("adapter"), task="retrieval")


def test_the_recipes_evaluation_is_met(corpus, adapter, tmp_path, capsys):
    picture = tmp_path / "found.png"
    data = RetrievalDataConfig(root=corpus, train_split="full", test_split="full")
    config = search_corpus.SearchConfig(adapter, rerank=5, tokens="float32", workers=0, picture=picture, data=data)
    try:
        result = search_corpus.main(config)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    assert set(result["index"]) == {"contrastive", "reranked"}
    for kind, metrics in result["index"].items():
        assert metrics["t2v_gallery"] == metrics["t2v_queries"] == 24
        assert {name: result["evaluation"][kind][name] for name in metrics} == metrics
    assert result["index"]["contrastive"]["t2v_mnr"] != result["index"]["reranked"]["t2v_mnr"]
    assert picture.stat().st_size > 10_000
    assert "reranked, t2v_r1" in capsys.readouterr().out


def hit(name, score, number=0):
    return Hit(Path(name), 0.0, 1.0, score, score, None, number, 0)


def test_a_video_stands_where_its_best_segment_does():
    hits = [hit("b", 0.9), hit("b", 0.8, 1), hit("a", 0.7), hit("c", 0.6)]
    assert [rank_of(Path(name), hits, 0) for name in "bac"] == [1, 2, 3]
    with pytest.raises(ValueError, match="found it nowhere"):
        rank_of(Path("d"), hits, 0)


def test_a_tie_counts_against_and_what_was_matched_stands_before():
    hits = [hit("a", 0.5), hit("b", 0.5), hit("c", 0.9)]
    assert rank_of(Path("a"), hits, 2) == rank_of(Path("b"), hits, 2) == 2
    assert rank_of(Path("c"), hits, 2) == 3
