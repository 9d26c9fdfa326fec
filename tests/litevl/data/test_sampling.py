import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litevl.data.sampling import frame_indices

counts = st.integers(1, 5000)
wanted = st.integers(1, 64)


@given(counts, wanted, st.sampled_from(["midpoint", "random", "legacy_blip"]), st.integers(0, 2**32))
def test_always_that_many_sorted_and_in_range(total, num_frames, mode, seed):
    indices = frame_indices(total, num_frames, mode, np.random.default_rng(seed))
    assert indices.dtype == np.int64
    assert len(indices) == num_frames
    assert (np.diff(indices) >= 0).all()
    assert indices[0] >= 0
    assert indices[-1] < total


@given(counts, wanted, st.integers(0, 2**32))
def test_each_frame_lies_in_its_segment(total, num_frames, seed):
    edges = np.arange(num_frames + 1) * total / num_frames
    for mode in ("midpoint", "random"):
        indices = frame_indices(total, num_frames, mode, np.random.default_rng(seed))
        assert (indices >= np.floor(edges[:-1]) - 1e-9).all()
        assert (indices < edges[1:] + 1e-9).all()


@given(counts, wanted)
def test_midpoints_are_the_same_seen_from_either_end(total, num_frames):
    indices = frame_indices(total, num_frames)
    mirrored = total - 1 - indices[::-1]
    assert np.abs(indices - mirrored).max() <= 1


def test_midpoints_by_hand():
    assert frame_indices(15, 8).tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert frame_indices(300, 8).tolist() == [18, 56, 93, 131, 168, 206, 243, 281]
    assert frame_indices(3, 6).tolist() == [0, 0, 1, 1, 2, 2]
    assert frame_indices(1, 4).tolist() == [0, 0, 0, 0]


def test_random_reaches_every_frame_of_a_segment_equally():
    rng = np.random.default_rng(0)
    drawn = np.array([frame_indices(20, 4, "random", rng) for _ in range(2000)])
    for segment in range(4):
        values, times = np.unique(drawn[:, segment], return_counts=True)
        assert values.tolist() == list(range(5 * segment, 5 * segment + 5))
        assert times.min() > 300


def test_random_is_its_generator_and_nothing_else():
    first = frame_indices(500, 8, "random", np.random.default_rng(3))
    assert (first == frame_indices(500, 8, "random", np.random.default_rng(3))).all()
    with pytest.raises(ValueError, match="rng"):
        frame_indices(500, 8, "random")


def test_legacy_blip_truncates_its_step():
    assert frame_indices(15, 8, "legacy_blip").tolist() == list(range(8))
    assert frame_indices(300, 8, "legacy_blip")[-1] == 259
    assert frame_indices(7, 8, "legacy_blip").tolist() == [0] * 8
    # Here numpy's arange gives eight values for seven.
    assert len(np.arange(0, 17, 17 / 7, dtype=int)) == 8
    assert frame_indices(17, 7, "legacy_blip").tolist() == [0, 2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize(("total", "num_frames", "mode"), [(0, 4, "midpoint"), (5, 0, "midpoint")])
def test_counts_below_one_are_refused(total, num_frames, mode):
    with pytest.raises(ValueError, match="at least"):
        frame_indices(total, num_frames, mode)
