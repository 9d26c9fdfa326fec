import multiprocessing

import numpy as np
import pytest
import torch
from rendered_clips import number, render
from torch.utils.data import DataLoader

from litevl.data.annotations import VideoCaptions
from litevl.data.coverage import BadVideo, Coverage, UnusableVideosError, apply_policy, find_bad_videos
from litevl.data.dataset import (
    CaptionedVideoDataset,
    EpochSampler,
    VideoDataset,
    collate_captioned,
    collate_videos,
)
from litevl.data.paths import VideoFolder
from litevl.data.preprocess import PreprocessConfig
from litevl.data.sampling import frame_indices
from litevl.data.video import VideoError, read_frames

SMALL = PreprocessConfig(64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six videos of 12..17 frames of 64 x 64, so that nothing is resized and the frames' numbers stay readable."""
    root = tmp_path_factory.mktemp("dataset")
    (root / "videos").mkdir()
    for place in range(6):
        render(root / "videos" / f"video{place}.mp4", frames=12 + place, height=64, width=64, options={"crf": "12"})
    return root


@pytest.fixture(scope="module")
def videos(folder):
    return [VideoCaptions(f"video{place}", tuple(f"{place} {word}" for word in "abc")) for place in range(6)]


@pytest.fixture
def broken(folder, videos):
    """The same split with one video missing, and one that is found but not a video."""
    bad = folder / "videos" / "video7.mp4"
    bad.write_bytes(b"no video" * 100)
    yield [videos[0], VideoCaptions("video6", ("x",)), videos[1], VideoCaptions("video7", ("y",)), videos[2]]
    bad.unlink()


def numbers(frames):
    return [number(frame) for frame in frames.permute(0, 2, 3, 1).numpy()]


def test_evaluation_items_are_the_mid_points_in_order(folder, videos):
    dataset = VideoDataset(videos, folder, 4, SMALL)
    assert len(dataset) == 6
    for place in range(6):
        item = dataset[place]
        assert (item["index"], item["video_id"], item["bad"]) == (place, f"video{place}", None)
        assert item["frames"].dtype == torch.uint8
        assert item["frames"].shape == (4, 3, 64, 64)
        assert numbers(item["frames"]) == frame_indices(12 + place, 4).tolist()


def test_frames_are_resized(folder, videos):
    item = VideoDataset(videos, VideoFolder(folder), 2, PreprocessConfig(32))[0]
    assert item["frames"].shape == (2, 3, 32, 32)


def test_evaluation_does_not_sample_at_random(folder, videos):
    with pytest.raises(ValueError, match="same frames each time"):
        VideoDataset(videos, folder, 4, SMALL, sampling="random")
    legacy = VideoDataset(videos, folder, 8, SMALL, sampling="legacy_blip")[0]
    assert numbers(legacy["frames"]) == list(range(8))


def test_one_caption_per_video_and_epoch(folder, videos):
    dataset = CaptionedVideoDataset(videos, folder, 3, SMALL, seed=1)
    assert len(dataset) == 6
    drawn = [[dataset[epoch, row]["caption"] for row in range(6)] for epoch in range(4)]
    assert all(caption[0] == str(row) for epoch in drawn for row, caption in enumerate(epoch))
    assert len({tuple(epoch) for epoch in drawn}) > 1


def test_all_captions_make_a_row_each(folder, videos):
    dataset = CaptionedVideoDataset(videos, folder, 3, SMALL, captions="all")
    assert len(dataset) == 18
    seen = [(dataset[0, row]["video_index"], dataset[0, row]["caption"]) for row in range(18)]
    assert seen == [(place, f"{place} {word}") for place in range(6) for word in "abc"]


def test_what_is_random_follows_from_seed_epoch_and_row(folder, videos):
    def frames(seed, epoch, row):
        return numbers(CaptionedVideoDataset(videos, folder, 4, SMALL, seed=seed)[epoch, row]["frames"])

    assert frames(0, 0, 5) == frames(0, 0, 5)
    others = {tuple(frames(*key)) for key in [(0, 0, 5), (1, 0, 5), (0, 1, 5), (0, 2, 5)]}
    assert len(others) > 1


def test_a_row_without_its_epoch_is_refused(folder, videos):
    with pytest.raises(TypeError, match="EpochSampler"):
        CaptionedVideoDataset(videos, folder, 4, SMALL)[3]


def epoch_of(folder, videos, sampler, workers, context=None, persistent=False):
    loader = DataLoader(
        CaptionedVideoDataset(videos, folder, 3, SMALL, seed=5),
        batch_sampler=sampler,
        num_workers=workers,
        multiprocessing_context=context,
        persistent_workers=persistent,
        collate_fn=collate_captioned,
    )
    seen = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        seen.append([(batch["caption"], [numbers(clip) for clip in batch["frames"]]) for batch in loader])
    return seen


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_change_nothing_and_decode_after_the_parent_did(folder, videos, context):
    if context not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {context} here")
    read_frames(folder / "videos" / "video0.mp4", 2)
    read_frames(folder / "videos" / "video0.mp4", 2, decoder="pyav")
    alone = epoch_of(folder, videos, EpochSampler(6, 2, seed=3), 0)
    assert alone[0] != alone[1]
    workers = 2 if context == "fork" else 1
    assert epoch_of(folder, videos, EpochSampler(6, 2, seed=3), workers, context, persistent=True) == alone


def test_an_error_in_a_worker_names_the_file(folder, broken):
    loader = DataLoader(VideoDataset(broken, folder, 2, SMALL), 2, num_workers=1, collate_fn=collate_videos)
    with pytest.raises(VideoError, match="video6"):
        list(loader)


def test_each_epoch_is_a_permutation_that_follows_from_the_seed():
    sampler = EpochSampler(20, 4, seed=1)
    first = [row for batch in sampler for row in batch]
    assert sorted(first) == [(0, row) for row in range(20)]
    assert first == [row for batch in EpochSampler(20, 4, seed=1) for row in batch]
    assert first != [row for batch in EpochSampler(20, 4, seed=2) for row in batch]
    sampler.set_epoch(1)
    second = [row for batch in sampler for row in batch]
    assert sorted(second) == [(1, row) for row in range(20)]
    assert [row for _, row in second] != [row for _, row in first]
    assert [row for batch in EpochSampler(5, 5, shuffle=False) for _, row in batch] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_any_number_of_processes_share_the_same_global_batches(processes):
    parts = [
        list(EpochSampler(27, 8, seed=4, num_processes=processes, process_index=rank)) for rank in range(processes)
    ]
    together = [[row for part in step for row in part] for step in zip(*parts, strict=True)]
    assert together == list(EpochSampler(27, 8, seed=4))
    assert all(len(part) == 8 // processes for step in parts for part in step)


def test_resuming_within_an_epoch_goes_on_where_it_was():
    sampler = EpochSampler(23, 4, seed=2)
    sampler.set_epoch(3)
    whole = list(sampler)
    assert len(whole) == len(sampler) == sampler.batches_per_epoch == 5
    sampler.set_epoch(3, start_batch=2)
    assert len(sampler) == 3
    assert list(sampler) == whole[2:]


def test_the_last_batch_may_be_kept():
    batches = list(EpochSampler(11, 4, num_processes=2, process_index=1, drop_last=False))
    assert [len(batch) for batch in batches] == [2, 2, 2]
    assert [len(batch) for batch in EpochSampler(11, 4, num_processes=2, drop_last=False)] == [2, 2, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_rows": 3, "global_batch_size": 4}, "3 training rows do not fill one batch of 4"),
        ({"num_rows": 9, "global_batch_size": 3, "num_processes": 2}, "2 processes share equally, got 3"),
        ({"num_rows": 9, "global_batch_size": 2, "num_processes": 2, "process_index": 2}, "process_index below"),
        ({"num_rows": 9, "global_batch_size": 4, "num_processes": 4, "drop_last": False}, "too few for 4"),
    ],
)
def test_samplers_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        EpochSampler(**settings)


def test_epochs_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match=r"a batch of 0\.\.5, got 0 and 6"):
        EpochSampler(20, 4).set_epoch(0, 6)


def test_bad_videos_are_found_before_a_run(folder, broken):
    assert [bad.video_id for bad in find_bad_videos(broken, folder)] == ["video6"]
    found = find_bad_videos(broken, VideoFolder(folder), decode=True, workers=2, progress=False)
    assert [bad.video_id for bad in found] == ["video6", "video7"]
    assert "no file for the video" in found[0].reason
    assert "damaged or foreign data" in found[1].reason


def test_the_scan_says_how_far_it_is(folder, videos, capsys):
    assert find_bad_videos(videos, folder, decode=True, workers=2) == []
    assert "checking videos" in capsys.readouterr().out


def test_the_policy_refuses_or_drops_and_never_replaces(broken):
    bad = [BadVideo("video6", "b/video6: gone"), BadVideo("video7", "b/video7.mp4: damaged")]
    with pytest.raises(
        UnusableVideosError, match=r"(?s)2 of 5 videos .*on-bad-video skip.*b/video6: gone.*b/video7\.mp4: damaged"
    ):
        apply_policy(broken, bad)
    kept, coverage = apply_policy(broken, bad, "skip")
    assert [video.video_id for video in kept] == ["video0", "video1", "video2"]
    assert (coverage.expected, coverage.available, coverage.missing) == (5, 3, ("video6", "video7"))
    with pytest.raises(UnusableVideosError, match="check the folder"):
        apply_policy(broken[1:2], bad[:1], "skip")
    assert apply_policy(broken, []) == (broken, Coverage(5, 5))


def test_coverage_reads_well_and_counts_what_failed_later():
    assert str(Coverage(1000, 1000)) == "coverage 1000/1000"
    coverage = Coverage(1000, 998, ("video12", "video77"))
    assert str(coverage) == "coverage 998/1000 (missing: video12, video77)"
    later = coverage.without(["video77", "video5", "video5"])
    assert str(later) == "coverage 997/1000 (missing: video12, video77, video5)"
    many = Coverage(10, 3, tuple(f"v{number}" for number in range(7)))
    assert str(many) == "coverage 3/10 (missing: v0, v1, v2, v3, v4 and 2 more)"
    with pytest.raises(ValueError, match="available or missing"):
        Coverage(10, 10, ("video1",))


def test_what_fails_in_decoding_leaves_the_batch_and_is_named(folder, broken):
    dataset = VideoDataset(broken, folder, 2, SMALL, on_bad_video="skip")
    batches = list(DataLoader(dataset, 3, collate_fn=collate_videos))
    assert [batch["video_id"] for batch in batches] == [["video0", "video1"], ["video2"]]
    assert [batch["index"].tolist() for batch in batches] == [[0, 2], [4]]
    assert [batch["bad"] for batch in batches] == [["video6"], ["video7"]]
    assert [len(batch["frames"]) for batch in batches] == [2, 1]
    assert "no file for the video" in batches[0]["reasons"][0]
    with pytest.raises(VideoError, match="video6"):
        VideoDataset(broken, folder, 2, SMALL)[1]


def test_a_batch_of_bad_videos_only_is_empty(folder, broken):
    dataset = CaptionedVideoDataset(broken, folder, 2, SMALL, on_bad_video="skip")
    batch = collate_captioned([dataset[0, 1], dataset[0, 3]])
    assert batch["frames"].shape[0] == 0
    assert (batch["caption"], batch["bad"], batch["video_index"].tolist()) == ([], ["video6", "video7"], [])


def test_training_batches_keep_video_caption_and_frames_together(folder, broken):
    dataset = CaptionedVideoDataset(broken, folder, 2, SMALL, on_bad_video="skip")
    batch = collate_captioned([dataset[0, row] for row in range(5)])
    assert batch["video_index"].tolist() == [0, 2, 4]
    assert [caption[0] for caption in batch["caption"]] == ["0", "1", "2"]
    assert batch["frames"].shape == (3, 2, 3, 64, 64)
    for place, clip in zip(batch["video_index"].tolist(), batch["frames"], strict=True):
        assert torch.equal(clip, dataset[0, place]["frames"])


@pytest.mark.parametrize("setting", [{"on_bad_video": "zeros"}, {"captions": "two"}, {"num_frames": 0}])
def test_unknown_settings_are_refused(folder, videos, setting):
    arguments = {"num_frames": 2, "preprocess": SMALL} | setting
    with pytest.raises(Exception, match=next(iter(setting))):
        CaptionedVideoDataset(videos, folder, **arguments)


def test_samplers_draw_from_numpy_not_from_global_state(folder, videos):
    np.random.seed(0)
    torch.manual_seed(0)
    first = list(EpochSampler(6, 2, seed=9))
    torch.manual_seed(1)
    assert list(EpochSampler(6, 2, seed=9)) == first


def test_similar_rows_stand_together_and_each_comes_once():
    # Rows 4k .. 4k+3 are alike.
    similar = np.array(
        [[other for other in range(row // 4 * 4, row // 4 * 4 + 4) if other != row] for row in range(24)]
    )
    sampler = EpochSampler(24, 8, seed=3, similar=similar, group=4)
    batches = [[row for _, row in batch] for batch in sampler]
    assert sorted(row for batch in batches for row in batch) == list(range(24))
    for batch in batches:
        assert all(len({row // 4 for row in batch[start : start + 4]}) == 1 for start in (0, 4))
    sampler.set_epoch(1)
    assert [[row for _, row in batch] for batch in sampler] != batches
    shares = [
        [batch for batch in EpochSampler(24, 8, seed=3, similar=similar, group=4, num_processes=2, process_index=p)]
        for p in range(2)
    ]
    assert [[row for _, row in a + b] for a, b in zip(*shares, strict=True)] == batches
