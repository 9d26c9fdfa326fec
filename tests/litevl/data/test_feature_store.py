"""The feature store gives back what was put in, notices damage and change, and keeps the frames it says."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from rendered_clips import render
from safetensors import safe_open

from litevl.data.annotations import VideoCaptions
from litevl.data.feature_store import DamagedFeaturesError, FeatureKind, FeatureStore
from litevl.data.sampling import candidate_places, frame_indices
from litevl.data.video import VideoError

KIND = FeatureKind("backbone", 2, "preprocessing", "no", "float32", tokens=5, dim=8, decoder="auto")
CLIP = VideoCaptions("clip", ("a caption",))
FRAMES = 4


@pytest.fixture
def video(tmp_path):
    return render(tmp_path / "clip.mp4", frames=30)


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store", KIND, FRAMES, per_segment=3)


def features(frames=3 * FRAMES):
    return torch.randn(frames, KIND.tokens, KIND.dim, generator=torch.Generator().manual_seed(0))


class TestCandidates:
    @pytest.mark.parametrize("total", [1, 7, 30, 1001])
    @pytest.mark.parametrize("per_segment", [1, 3, 5])
    def test_the_middle_one_is_the_frame_of_evaluation(self, total, per_segment):
        every = frame_indices(total, FRAMES * per_segment)
        assert np.array_equal(every[candidate_places(FRAMES, per_segment)], frame_indices(total, FRAMES))

    def test_those_of_training_hold_the_frames_that_random_draws(self):
        total, per_segment = 1200, 3
        for seed in range(20):
            places = candidate_places(FRAMES, per_segment, np.random.default_rng(seed))
            drawn = frame_indices(total, FRAMES, "random", np.random.default_rng(seed))
            assert np.array_equal(drawn // (total // (FRAMES * per_segment)), places)
            assert np.array_equal(places // per_segment, np.arange(FRAMES))

    @pytest.mark.parametrize("number", [0, 2, -1])
    def test_an_even_number_has_no_middle(self, number):
        with pytest.raises(ValueError, match=r"frames_per_segment: expected an odd number .*got"):
            candidate_places(FRAMES, number)


def test_what_is_kept_comes_back(store, video):
    stored, kept = store.file_of(video, CLIP, 3), features()
    assert not store.holds(stored, 3)
    store.write(stored, kept)
    assert store.holds(stored, 3)
    assert torch.equal(store.read(video, CLIP, None), kept[1::3]), "evaluation takes the middle of each three"
    rng = np.random.default_rng(5)
    assert torch.equal(
        store.read(video, CLIP, rng), kept[candidate_places(FRAMES, 3, np.random.default_rng(5))].contiguous()
    )
    about = json.loads((store.folder / "about.json").read_text())
    assert (about["backbone"], about["layer"]) == ("backbone", 2)
    assert {path.suffix for path in store.folder.iterdir()} == {".json", ".safetensors"}, "nothing is left aside"


@pytest.mark.parametrize(("precision", "rounds_by"), [("float16", 2**-11), ("bfloat16", 2**-8), ("float32", 0.0)])
def test_precision(store, video, precision, rounds_by):
    small = FeatureStore(store.folder, replace(KIND, precision=precision), FRAMES)
    kept = features(FRAMES)
    small.write(small.file_of(video, CLIP, 1), kept)
    read = small.read(video, CLIP, None)
    assert read.dtype == getattr(torch, precision)
    assert ((read.float() - kept).abs() <= rounds_by * kept.abs()).all()
    assert small.kind.frame_bytes == 5 * 8 * read.element_size()


def test_what_float16_does_not_hold_is_refused(store, video):
    small = FeatureStore(store.folder, replace(KIND, precision="float16"), FRAMES)
    with pytest.raises(ValueError, match=r"feature_precision: .*values up to 70000, .*; take bfloat16 or float32"):
        small.write(small.file_of(video, CLIP, 1), torch.full((FRAMES, 5, 8), 7e4))
    assert not store.folder.exists()


@pytest.mark.parametrize(
    "change",
    [{"backbone": "other"}, {"layer": 1}, {"preprocessing": "x"}, {"precision": "float16"}, {"version": 2}],
)
def test_another_kind_is_another_folder(tmp_path, store, change):
    assert FeatureStore(tmp_path / "store", replace(KIND, **change), FRAMES).folder != store.folder


def test_a_clip_is_its_file_and_its_part_of_it(store, video):
    segment = VideoCaptions("clip", ("a caption",), start=0.2, end=1.0)
    other = FeatureStore(store.folder.parent, KIND, FRAMES + 1)
    files = {store.file_of(video, CLIP, 3), store.file_of(video, CLIP, 1), store.file_of(video, segment, 3)}
    assert len(files | {other.file_of(video, CLIP, 3)}) == 4
    before = store.file_of(video, CLIP, 3)
    store.write(before, features())
    os.replace(render(video.with_name("other.mp4"), frames=20), video)
    assert store.file_of(video, CLIP, 3) != before
    with pytest.raises(VideoError, match=r"clip\.mp4: expected its features in .*; it changed since the run began"):
        store.read(video, CLIP, None)


def test_a_video_that_could_not_be_decoded_says_so_again(store, video):
    store.bad[store.file_of(video, CLIP, 3).name] = "cut short"
    with pytest.raises(VideoError, match="cut short"):
        store.read(video, CLIP, np.random.default_rng(0))


@pytest.mark.parametrize("length", [0, 40, 0.5, None])
def test_damage_is_named_and_removed(store, video, length):
    stored = store.file_of(video, CLIP, 3)
    store.write(stored, features())
    content = bytearray(stored.read_bytes())
    if length is None:
        content[-KIND.frame_bytes - 7] ^= 1  # one bit of the last segment's middle frame; the length is right
        assert store.holds(stored, 3)
    else:
        del content[int(len(content) * length) if isinstance(length, float) else length :]
    stored.write_bytes(content)
    assert store.holds(stored, 3) == (length is None)
    with pytest.raises(DamagedFeaturesError, match=rf"^{stored}: damaged .* and removed; .* --resume"):
        store.read(video, CLIP, None)
    assert not stored.exists()


def test_a_file_of_another_shape_is_not_taken_for_whole(store, video):
    stored = store.file_of(video, CLIP, 3)
    store.write(stored, features(5))
    assert not store.holds(stored, 3)


def test_a_disk_that_takes_no_more_is_named(store, video, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ValueError, match=r"feature_store: .*written \(.*No space left.*\); name another folder"):
        store.write(store.file_of(video, CLIP, 3), features())
    assert not list(store.folder.iterdir())


def test_files_say_what_is_in_them(store, video):
    stored = store.file_of(video, CLIP, 3)
    store.write(stored, features())
    with safe_open(stored, "pt") as file:
        assert file.get_slice("hidden").get_shape() == [3 * FRAMES, 5, 8]
        assert len(json.loads(file.metadata()["sums"])) == 3 * FRAMES
