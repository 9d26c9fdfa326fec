import numpy as np
import pytest
import torch
from PIL import Image

from litevl.data.preprocess import PreprocessConfig, normalize, resize_frames


@pytest.mark.parametrize(("height", "width", "size"), [(40, 52, 64), (61, 45, 16), (64, 64, 64), (30, 90, 48)])
def test_resize_is_pillows_bicubic(height, width, size):
    frames = np.random.default_rng(0).integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    resized = resize_frames(frames, size)
    expected = [np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BICUBIC)) for frame in frames]
    assert resized.shape == (2, 3, size, size)
    assert (resized.permute(0, 2, 3, 1).numpy() == np.stack(expected)).all()
    assert torch.equal(resize_frames(torch.from_numpy(frames), size), resized)


def test_normalize_by_hand():
    frames = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    out = normalize(frames)
    expected = [
        (0 - 0.48145466) / 0.26862954,
        (128 / 255 - 0.4578275) / 0.26130258,
        (1 - 0.40821073) / 0.27577711,
    ]
    assert out.dtype == torch.float32
    assert torch.allclose(out[1, :, 2, 3], torch.tensor(expected), atol=1e-6)


def test_normalize_takes_other_values_and_any_leading_axes():
    config = PreprocessConfig(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    out = normalize(torch.full((2, 4, 3, 8, 8), 255, dtype=torch.uint8), config)
    assert (out == 1).all()


def test_fingerprint_follows_every_setting():
    prints = {
        PreprocessConfig().fingerprint(),
        PreprocessConfig(224).fingerprint(),
        PreprocessConfig(mean=(0.5, 0.5, 0.5)).fingerprint(),
        PreprocessConfig(std=(0.5, 0.5, 0.5)).fingerprint(),
    }
    assert len(prints) == 4
    assert PreprocessConfig().fingerprint() == PreprocessConfig(384).fingerprint()


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="image_size"):
        PreprocessConfig(0)
    with pytest.raises(ValueError, match="positive deviations"):
        PreprocessConfig(std=(0.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="frames with pixels"):
        resize_frames(np.zeros((0, 4, 4, 3), np.uint8), 8)
