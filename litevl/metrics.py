"""Retrieval metrics from a score matrix and ids, with numpy alone: no model, no dataset, no torch.

Scores are compared through ranks, and two questions that other evaluation code leaves open are answered here:

* A tie is counted against the system: every wrong item that scores as high as the right one stands before it.
  So a model that gives one score to everything gets R@1 = 0 (for a gallery of two or more), not 100 and not a
  share that depends on the order of the rows.
* NaN is an error that names the pair. Dropping such a row changes how many queries are counted.

From the shell, on a matrix of texts (rows) by videos (columns), with the video's id of every row and of every
column:

    python -m litevl.metrics scores.npy --text-ids text_ids.json --video-ids video_ids.json --bootstrap
"""

import argparse
import json
from collections.abc import Hashable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Real

from litevl.bootstrap import Statistic, bootstrap_interval

BLOCK_ELEMENTS = 1 << 22
"""Scores compared at a time: bounds the working memory of `ranks` to some tens of MB."""

Ids = Sequence[Any] | np.ndarray


def ranks(scores: Real[np.ndarray, "queries gallery"], query_ids: Ids, gallery_ids: Ids) -> Int[np.ndarray, " queries"]:
    """Rank, counted from 1, of the best-scoring positive of each query.

    A gallery item is a positive of a query when their ids are equal; ids may repeat on either side. Text to
    video with several captions a video repeats `query_ids`; video to text repeats `gallery_ids`, and the best
    of a video's captions counts (as in BLIP's and CLIP4Clip's evaluation). Ties are pessimistic: a
    non-positive with an equal score stands before the positive, also at plus and minus infinity.

    Args:
        scores: Higher is more alike. Any real dtype; compared as it is, without a cast.
        query_ids: One id for each row of `scores`.
        gallery_ids: One id for each column of `scores`.

    Raises:
        ValueError: Shapes that do not agree, a NaN score, or a query without a positive in the gallery.
    """
    query_list, gallery_list = _id_list(query_ids), _id_list(gallery_ids)
    _check_shape(scores, query_list, gallery_list)
    query_codes, gallery_codes = _id_codes(query_list, gallery_list)

    lowest = -np.inf if scores.dtype.kind == "f" else np.iinfo(scores.dtype).min
    result = np.empty(len(query_list), dtype=np.int64)
    rows_in_block = max(1, BLOCK_ELEMENTS // max(1, len(gallery_list)))
    for start in range(0, len(query_list), rows_in_block):
        rows = slice(start, start + rows_in_block)
        block = np.asarray(scores[rows])
        _check_no_nan(block, start, query_list, gallery_list)
        positive = query_codes[rows, None] == gallery_codes[None, :]
        best_positive = block.max(axis=1, where=positive, initial=lowest)
        ahead = (block >= best_positive[:, None]) & ~positive
        result[rows] = 1 + np.count_nonzero(ahead, axis=1)
    return result


def recall_at_k(ranks: Int[np.ndarray, " queries"], k: int) -> float:
    """Percentage (0 to 100) of queries whose positive is among the first k; any k from 1, beyond the gallery too."""
    if k < 1:
        raise ValueError(f"expected k of at least 1 for recall at k, got {k}")
    _check_ranks(ranks)
    return 100.0 * float(np.mean(ranks <= k))


def median_rank(ranks: Int[np.ndarray, " queries"]) -> float:
    """MdR: the median rank; half-way between the middle two when the number of queries is even."""
    _check_ranks(ranks)
    return float(np.median(ranks))


def mean_rank(ranks: Int[np.ndarray, " queries"]) -> float:
    """MnR: the mean rank."""
    _check_ranks(ranks)
    return float(np.mean(ranks))


def rank_statistics(ranks: Int[np.ndarray, " queries"], ks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """`r1`, `r5`, ... in percent, `mdr` and `mnr`; whoever reports them puts the direction before the name."""
    return {name: statistic(ranks) for name, statistic in named_statistics(ks).items()}


def named_statistics(ks: Sequence[int] = (1, 5, 10)) -> dict[str, Statistic]:
    """The functions behind `rank_statistics`, by name, for the bootstrap."""
    recalls: dict[str, Statistic] = {f"r{k}": partial(recall_at_k, k=k) for k in ks}
    return recalls | {"mdr": median_rank, "mnr": mean_rank}


def retrieval_metrics(
    scores: Real[np.ndarray, "texts videos"],
    text_ids: Ids,
    video_ids: Ids,
    ks: Sequence[int] = (1, 5, 10),
) -> dict[str, float | int]:
    """Both directions of text-video retrieval.

    Args:
        scores: Texts by videos, higher is more alike.
        text_ids: For each text, the id of the video it describes (repeated for several captions of one
            video).
        video_ids: The id of each video, once each.
        ks: The cut-offs of recall.

    Returns:
        `t2v_r1`, `t2v_r5`, `t2v_r10` (percent), `t2v_mdr`, `t2v_mnr`, `t2v_queries`, `t2v_gallery` and the
        same as `v2t_`.

    Raises:
        ValueError: As `ranks`; and where a video has two columns, which would count it twice in v2t and let
            its copies compete in t2v (a sampler that pads its last batch leaves such copies).
    """
    return metrics_of_ranks(*directed_ranks(scores, text_ids, video_ids), ks)


def metrics_of_ranks(
    text_ranks: Int[np.ndarray, " texts"], video_ranks: Int[np.ndarray, " videos"], ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float | int]:
    """What `retrieval_metrics` returns, from the ranks of `directed_ranks`, which the bootstrap needs as well."""
    metrics: dict[str, float | int] = {}
    for direction, values, gallery in (
        ("t2v", text_ranks, len(video_ranks)),
        ("v2t", video_ranks, len(text_ranks)),
    ):
        metrics |= {f"{direction}_{name}": value for name, value in rank_statistics(values, ks).items()}
        metrics |= {f"{direction}_queries": len(values), f"{direction}_gallery": gallery}
    return metrics


def intervals_of_ranks(
    directed: tuple[np.ndarray, np.ndarray],
    ids: tuple[Ids, Ids],
    ks: Sequence[int] = (1, 5, 10),
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Bootstrap intervals, [low, high], of the statistics of `metrics_of_ranks`, under the same names.

    Args:
        directed: Ranks of the texts and of the videos, as `directed_ranks` gives them.
        ids: The video of each text, and the id of each video; what belongs to one video is drawn together.
        ks: The cut-offs of recall.
        resamples: How many times the queries are drawn.
        seed: Of the draws.
    """
    intervals = {}
    for direction, values, groups in zip(("t2v", "v2t"), directed, ids, strict=True):
        for name, statistic in named_statistics(ks).items():
            interval = bootstrap_interval(values, statistic, resamples=resamples, seed=seed, groups=groups)
            intervals[f"{direction}_{name}"] = [interval.low, interval.high]
    return intervals


def directed_ranks(
    scores: Real[np.ndarray, "texts videos"], text_ids: Ids, video_ids: Ids
) -> tuple[Int[np.ndarray, " texts"], Int[np.ndarray, " videos"]]:
    """Ranks of each text's video (t2v) and of each video's best text (v2t); see `retrieval_metrics`."""
    columns: dict[Hashable, int] = {}
    for column, video in enumerate(_id_list(video_ids)):
        if video in columns:
            raise ValueError(
                f"expected each video once, got id {video!r} in columns {columns[video]} and {column}; keep one of them"
            )
        columns[video] = column
    return ranks(scores, text_ids, video_ids), ranks(scores.T, video_ids, text_ids)


def _id_list(ids: Ids) -> list[Hashable]:
    return ids.tolist() if isinstance(ids, np.ndarray) else list(ids)


def _check_shape(scores: np.ndarray, query_ids: list[Hashable], gallery_ids: list[Hashable]) -> None:
    if scores.ndim != 2 or scores.dtype.kind not in "fiu":
        raise ValueError(
            f"expected a matrix of real scores (queries, gallery), got shape {scores.shape} and dtype {scores.dtype}"
        )
    if scores.shape != (len(query_ids), len(gallery_ids)):
        transposed = scores.shape == (len(gallery_ids), len(query_ids))
        raise ValueError(
            f"expected scores of shape ({len(query_ids)}, {len(gallery_ids)}), "
            f"for {len(query_ids)} query ids and {len(gallery_ids)} gallery ids, got {scores.shape}"
            + ("; transpose the scores or exchange the ids" if transposed else "")
        )


def _check_no_nan(block: np.ndarray, start: int, query_ids: list[Hashable], gallery_ids: list[Hashable]) -> None:
    if block.dtype.kind == "f" and np.isnan(block).any():
        row, column = (int(index) for index in np.argwhere(np.isnan(block))[0])
        raise ValueError(
            "expected a score for every pair, "
            f"got NaN in row {start + row} (query {query_ids[start + row]!r}), column {column} "
            f"(gallery item {gallery_ids[column]!r}); look for NaN in the two embeddings"
        )


def _id_codes(query_ids: list[Hashable], gallery_ids: list[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    codes: dict[Hashable, int] = {}
    gallery_codes = np.array([codes.setdefault(item, len(codes)) for item in gallery_ids], dtype=np.int64)
    for row, query in enumerate(query_ids):
        if query not in codes:
            kinds = sorted({type(item).__name__ for item in codes})
            raise ValueError(
                "expected a positive in the gallery for every query, got none for row "
                f"{row}, {type(query).__name__} {query!r}, among {len(codes)} gallery ids "
                f"of type {' and '.join(kinds) or 'none'}; "
                "add the item to the gallery or leave the query out, and count it as missing"
            )
    return np.array([codes[query] for query in query_ids], dtype=np.int64), gallery_codes


def _check_ranks(values: np.ndarray) -> None:
    if values.ndim != 1 or len(values) == 0 or values.min() < 1:
        what = f"shape {values.shape}" + (f", smallest {values.min()}" if values.size else "")
        raise ValueError(f"expected one rank of at least 1 for each of one or more queries, got {what}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of `python -m litevl.metrics`."""
    parser = argparse.ArgumentParser(
        prog="python -m litevl.metrics",
        description="Text-video retrieval metrics of a score matrix, both directions.",
    )
    parser.add_argument("scores", type=Path, help=".npy matrix, texts by videos, higher is more alike")
    parser.add_argument("--text-ids", type=Path, required=True, help="JSON list: the video id of each text")
    parser.add_argument("--video-ids", type=Path, required=True, help="JSON list: the id of each video")
    parser.add_argument("--ks", type=int, nargs="+", default=[1, 5, 10], help="cut-offs of recall (default: 1 5 10)")
    parser.add_argument("--bootstrap", action="store_true", help="add 95%% intervals over videos with their texts")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    options = parser.parse_args(arguments)
    try:
        scores = _read_scores(options.scores)
        text_ids, video_ids = _read_ids(options.text_ids), _read_ids(options.video_ids)
        directed = directed_ranks(scores, text_ids, video_ids)
        metrics = metrics_of_ranks(*directed, options.ks)
        found = intervals_of_ranks(directed, (text_ids, video_ids), options.ks) if options.bootstrap else {}
        intervals = {f"{name}_interval": interval for name, interval in found.items()}
    except (OSError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")
    print(json.dumps(metrics | intervals, indent=2) if options.json else _table(metrics, intervals, options.ks))


def _table(metrics: dict[str, float | int], intervals: dict[str, list[float]], ks: Sequence[int]) -> str:
    columns = {
        name: f"R@{name[1:]}" if name[0] == "r" else {"mdr": "MdR", "mnr": "MnR"}[name] for name in named_statistics(ks)
    }
    rows = [["", "queries", "gallery", *columns.values()]]
    for direction in ("t2v", "v2t"):
        cells = [direction, str(metrics[f"{direction}_queries"]), str(metrics[f"{direction}_gallery"])]
        for name in columns:
            interval = intervals.get(f"{direction}_{name}_interval")
            between = "" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]"
            cells.append(f"{metrics[f'{direction}_{name}']:.2f}{between}")
        rows.append(cells)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _read_scores(path: Path) -> np.ndarray:
    try:
        scores = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        # numpy's own message advises to load a pickle unsafely.
        raise ValueError(
            f"expected {path} to be a .npy array of numbers, got another kind of file; write it with numpy.save"
        ) from error
    if not isinstance(scores, np.ndarray):
        raise ValueError(f"expected {path} to be one .npy array, got an archive of several; write it with numpy.save")
    return scores


def _read_ids(path: Path) -> list[str | int]:
    try:
        ids = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"expected {path} to be a JSON list of ids, got: {error}") from error
    if not isinstance(ids, list) or not all(isinstance(item, str | int) for item in ids):
        raise ValueError(f"expected {path} to be a JSON list of strings or whole numbers, one id each")
    return ids


if __name__ == "__main__":
    main()
