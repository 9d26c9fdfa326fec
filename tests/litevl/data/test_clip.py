"""A clip from a file is what evaluation sees of it."""

import pytest
import torch
from rendered_clips import render

from litevl import load_blip, load_clip
from litevl.adapters import LiteVLConfig, plug
from litevl.data.annotations import VideoCaptions
from litevl.data.dataset import VideoDataset
from litevl.data.preprocess import PreprocessConfig, normalize
from litevl.data.video import VideoError
from litevl.evilm import EViLMQuestionAnswering, load_evilm
from litevl.models import VideoTextRetrieval


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return render(tmp_path_factory.mktemp("clip") / "dog.mp4", frames=40)


def test_it_is_what_evaluation_sees(path):
    blip = plug(load_blip("embedded"), LiteVLConfig(num_frames=6), verbose=False)
    item = VideoDataset([VideoCaptions("dog", ("x",))], path.parent, 6, PreprocessConfig(48))[0]
    expected = normalize(item["frames"])
    assert torch.equal(load_clip(path, blip), expected)
    assert torch.equal(load_clip(str(path), VideoTextRetrieval(blip)), expected)
    assert torch.equal(load_clip(path, num_frames=6, image_size=48), expected)
    evilm = load_evilm("embedded")
    assert torch.equal(load_clip(path, evilm), expected)
    assert torch.equal(load_clip(path, EViLMQuestionAnswering(evilm, 3)), expected)
    assert load_clip(path, evilm, num_frames=2).shape == (2, 3, 48, 48)
    assert load_clip(path, blip, num_frames=3, image_size=32).shape == (3, 3, 32, 32)
    assert not torch.equal(load_clip(path, blip, start=0.5, end=1.0), expected)


def test_what_is_missing_is_named(path, tmp_path):
    for options in ({}, {"num_frames": 4}, {"image_size": 48}, {"model": load_blip("embedded")}):
        with pytest.raises(ValueError, match="expected a plugged model, or num_frames and image_size"):
            load_clip(path, **options)
    with pytest.raises(VideoError, match=r"nothing\.mp4"):
        load_clip(tmp_path / "nothing.mp4", num_frames=4, image_size=48)
