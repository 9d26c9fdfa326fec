import json
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litevl import metrics
from litevl.metrics import directed_ranks, mean_rank, median_rank, ranks, recall_at_k, retrieval_metrics


def slow_rank(row, query_id, gallery_ids):
    """The definition, item by item: 1 + wrong items that score as high as the best right one."""
    best = max(score for score, item in zip(row, gallery_ids, strict=True) if item == query_id)
    return 1 + sum(score >= best for score, item in zip(row, gallery_ids, strict=True) if item != query_id)


@st.composite
def retrieval_cases(draw):
    gallery_ids = draw(st.lists(st.integers(0, 4), min_size=1, max_size=8))
    query_ids = draw(st.lists(st.sampled_from(gallery_ids), max_size=6))
    # Few distinct values, so that ties and infinities are common.
    score = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, np.inf])
    rows = [draw(st.lists(score, min_size=len(gallery_ids), max_size=len(gallery_ids))) for _ in query_ids]
    return np.array(rows).reshape(len(query_ids), len(gallery_ids)), query_ids, gallery_ids


@given(retrieval_cases(), st.integers(1, 20))
@settings(max_examples=200, deadline=None)
def test_ranks_equal_the_definition_at_any_block_size(case, block_elements):
    scores, query_ids, gallery_ids = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "BLOCK_ELEMENTS", block_elements)
        result = ranks(scores, query_ids, gallery_ids)
    assert result.dtype == np.int64
    assert result.tolist() == [slow_rank(row, query, gallery_ids) for row, query in zip(scores, query_ids, strict=True)]


def test_hand_made_square_matrix():
    scores = np.array([[0.9, 0.1, 0.2], [0.8, 0.5, 0.7], [0.3, 0.2, 0.1]])
    ids = ["a", "b", "c"]
    assert ranks(scores, ids, ids).tolist() == [1, 3, 3]
    assert ranks(scores.T, ids, ids).tolist() == [1, 1, 3]
    result = retrieval_metrics(scores, ids, ids, ks=(1, 2, 3))
    assert result == {
        "t2v_r1": pytest.approx(100 / 3),
        "t2v_r2": pytest.approx(100 / 3),
        "t2v_r3": 100.0,
        "t2v_mdr": 3.0,
        "t2v_mnr": pytest.approx(7 / 3),
        "t2v_queries": 3,
        "t2v_gallery": 3,
        "v2t_r1": pytest.approx(200 / 3),
        "v2t_r2": pytest.approx(200 / 3),
        "v2t_r3": 100.0,
        "v2t_mdr": 1.0,
        "v2t_mnr": pytest.approx(5 / 3),
        "v2t_queries": 3,
        "v2t_gallery": 3,
    }


def test_several_captions_of_a_video_are_queries_in_t2v_and_the_best_counts_in_v2t():
    text_ids, video_ids = ["a", "a", "b"], ["a", "b"]
    scores = np.array([[0.1, 0.4], [0.9, 0.2], [0.5, 0.3]])
    text_ranks, video_ranks = directed_ranks(scores, text_ids, video_ids)
    assert text_ranks.tolist() == [2, 1, 2]
    # Video a: its second caption is first. Video b: 0.3 is behind 0.4, a caption of a.
    assert video_ranks.tolist() == [1, 2]
    result = retrieval_metrics(scores, text_ids, video_ids)
    assert (result["t2v_queries"], result["t2v_gallery"]) == (3, 2)
    assert (result["v2t_queries"], result["v2t_gallery"]) == (2, 3)


def test_one_query_against_many_and_many_against_one():
    assert ranks(np.array([[3, 1, 2]]), ["b"], ["a", "b", "c"]).tolist() == [3]
    assert ranks(np.array([[3], [1]]), ["a", "a"], ["a"]).tolist() == [1, 1]


@pytest.mark.parametrize("value", [0.0, -np.inf, np.inf])
def test_a_constant_matrix_is_no_success(value):
    ids = list(range(10))
    result = retrieval_metrics(np.full((10, 10), value), ids, ids)
    for direction in ("t2v", "v2t"):
        assert result[f"{direction}_r1"] == result[f"{direction}_r5"] == 0.0
        assert result[f"{direction}_r10"] == 100.0
        assert result[f"{direction}_mdr"] == result[f"{direction}_mnr"] == 10.0
        assert result[f"{direction}_queries"] == 10


def test_a_tie_between_positives_costs_nothing():
    assert ranks(np.array([[1.0, 1.0, 0.0]]), ["a"], ["a", "a", "b"]).tolist() == [1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.uint8])
def test_any_real_dtype_is_compared_as_it_is(dtype):
    scores = np.array([[3, 7], [9, 2]], dtype=dtype)
    assert ranks(scores, [0, 1], [0, 1]).tolist() == [2, 2]


def test_large_integers_are_not_rounded_into_ties():
    assert ranks(np.array([[2**60, 2**60 + 1]]), [1], [0, 1]).tolist() == [1]


def test_recall_beyond_the_gallery_is_the_whole_gallery():
    assert recall_at_k(ranks(np.eye(3), [0, 1, 2], [0, 1, 2]), 1000) == 100.0


def test_median_and_mean_rank():
    assert median_rank(np.array([1, 2, 4, 10])) == 3.0
    assert mean_rank(np.array([1, 2, 4, 10])) == 4.25


def test_ids_may_be_arrays_of_strings_or_numbers():
    assert ranks(np.eye(2), np.array(["x", "y"]), ["x", "y"]).tolist() == [1, 1]
    assert ranks(np.eye(2), np.array([7, 8]), [7, 8]).tolist() == [1, 1]


def test_nan_names_row_and_column(monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK_ELEMENTS", 3)
    scores = np.eye(3)
    scores[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN in row 2 \(query 'c'\), column 1 \(gallery item 'b'\)"):
        ranks(scores, list("abc"), list("abc"))


def test_a_query_without_a_positive_is_named():
    with pytest.raises(ValueError, match="none for row 1, str 'video9'"):
        ranks(np.eye(2), ["video1", "video9"], ["video1", "video2"])
    with pytest.raises(ValueError, match="int 1, among 2 gallery ids of type str"):
        ranks(np.eye(2), [1, 2], ["1", "2"])


def test_shape_mismatch_is_named():
    with pytest.raises(ValueError, match=r"expected scores of shape \(3, 2\).*got \(2, 2\)"):
        ranks(np.eye(2), ["a", "b", "a"], ["a", "b"])
    with pytest.raises(ValueError, match="transpose"):
        ranks(np.ones((2, 3)), ["a", "b", "a"], ["a", "b"])


def test_a_video_given_twice_is_refused():
    with pytest.raises(ValueError, match="each video once, got id 'a' in columns 0 and 1"):
        retrieval_metrics(np.ones((1, 2)), ["a"], ["a", "a"])


@pytest.mark.parametrize("statistic", [median_rank, mean_rank, lambda values: recall_at_k(values, 1)])
def test_no_queries_is_an_error_and_not_nan(statistic):
    with pytest.raises(ValueError, match="one or more queries"):
        statistic(np.array([], dtype=np.int64))


def test_ranks_counted_from_zero_are_refused():
    with pytest.raises(ValueError, match="smallest 0"):
        recall_at_k(np.array([0, 1]), 1)
    with pytest.raises(ValueError, match="k of at least 1"):
        recall_at_k(np.array([1]), 0)


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "scores.npy", np.array([[0.1, 0.4], [0.9, 0.2], [0.5, 0.3]]))
    (tmp_path / "texts.json").write_text('["a", "a", "b"]')
    (tmp_path / "videos.json").write_text('["a", "b"]')
    ids = ["--text-ids", str(tmp_path / "texts.json"), "--video-ids", str(tmp_path / "videos.json")]
    return tmp_path, [str(tmp_path / "scores.npy"), *ids]


def test_command_line_prints_a_table_or_json(files, capsys):
    _, arguments = files
    metrics.main(arguments)
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["queries", "gallery", "R@1", "R@5", "R@10", "MdR", "MnR"]
    assert table[1].split() == ["t2v", "3", "2", "33.33", "100.00", "100.00", "2.00", "1.67"]
    assert table[2].split() == ["v2t", "2", "3", "50.00", "100.00", "100.00", "1.50", "1.50"]
    metrics.main([*arguments, "--json", "--bootstrap", "--ks", "1", "2"])
    result = json.loads(capsys.readouterr().out)
    assert result["t2v_r1"] == pytest.approx(100 / 3)
    assert result["t2v_r2"] == 100.0
    low, high = result["t2v_r1_interval"]
    assert low <= result["t2v_r1"] <= high
    metrics.main([*arguments, "--bootstrap"])
    assert "100.00 [100.00, 100.00]" in capsys.readouterr().out


def test_command_line_runs_as_a_module_without_torch(files):
    """The module is for people who have a score matrix and no deep-learning stack, so torch must not be needed."""
    _, arguments = files
    code = "import sys, runpy; sys.modules['torch'] = None; runpy.run_module('litevl.metrics', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["v2t_r1"] == 50.0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("scores.npy", np.ones((2, 2)), r"expected scores of shape \(3, 2\)"),
        ("scores.npy", np.array([{}], dtype=object), "expected .*scores.npy to be a .npy array of numbers"),
        ("scores.npy", pickle.dumps([1.0]), "expected .*scores.npy to be a .npy array of numbers"),
        ("scores.npy", b"", "expected .*scores.npy to be a .npy array of numbers"),
        ("texts.json", b'{"a": 1}', "expected .*texts.json to be a JSON list"),
        ("texts.json", b"[", "expected .*texts.json to be a JSON list"),
    ],
)
def test_command_line_names_what_is_wrong(files, capsys, name, content, message):
    folder, arguments = files
    if isinstance(content, bytes):
        (folder / name).write_bytes(content)
    else:
        np.save(folder / name, content, allow_pickle=True)
    with pytest.raises(SystemExit) as stop:
        metrics.main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: expected")
    assert re.search(message, error)
