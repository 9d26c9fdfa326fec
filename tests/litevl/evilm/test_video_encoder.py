"""What the video encoder sees: frames, their order, and nothing of what is masked."""

from copy import deepcopy

import pytest
import torch
from transformers import BertTokenizer

from litevl.adapters.time_axis import resample_frames
from litevl.evilm import SMALL, EViLM, EViLMConfig
from litevl.evilm.video_encoder import VideoEncoder

SIZES = {
    "image_size": 24,
    "patch_size": 8,
    "num_frames": 4,
    "vision_dim": 32,
    "vision_layers": 2,
    "vision_heads": 2,
}
PATCHES = 9


def made(attention="divided", trained=True, **other):
    """An encoder; a trained one's attention over time has left its start of zero."""
    torch.manual_seed(0)
    encoder = VideoEncoder(EViLMConfig(**{**SIZES, "attention": attention, **other})).eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if trained and (parameter.ndim == 2 or "time_attention" in name):
                parameter.add_(0.1 * torch.randn(parameter.shape))
    return encoder


def drawn_clips(clips=2, time=4, size=24, seed=0):
    return torch.randn(clips, time, 3, size, size, generator=torch.Generator().manual_seed(seed))


def frames_of(rows, time=4):
    return rows[:, 1:].unflatten(1, (time, PATCHES))


@pytest.mark.parametrize("attention", ["divided", "frame"])
@torch.no_grad()
def test_rows_are_the_clips_cls_then_its_patches(attention):
    rows = made(attention)(drawn_clips())
    assert rows.shape == (2, 1 + 4 * PATCHES, 32)
    alone = made(attention)(drawn_clips()[1:])
    torch.testing.assert_close(rows[1:], alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_masked_pixels_are_not_seen():
    encoder, clips = made(), drawn_clips()
    masked = torch.zeros(2, 4, PATCHES, dtype=torch.bool)
    masked[0, 1, 4] = masked[1, 3, 0] = True
    other = clips.clone()
    other[0, 1, :, 8:16, 8:16] += 3.0
    other[1, 3, :, :8, :8] -= 3.0
    assert not torch.equal(encoder(clips), encoder(other))
    assert torch.equal(encoder(clips, masked), encoder(other, masked))
    assert not torch.equal(encoder(clips, masked), encoder(clips))
    other[0, 1, :, :8, 8:16] += 3.0
    assert not torch.equal(encoder(clips, masked)[0], encoder(other, masked)[0])


def test_the_mask_token_learns():
    encoder = made()
    masked = torch.zeros(2, 4, PATCHES, dtype=torch.bool)
    encoder(drawn_clips(), masked).sum().backward()
    assert encoder.mask_token.grad.abs().max() == 0
    masked[0, 0, 0] = True
    encoder(drawn_clips(), masked).square().sum().backward()
    assert encoder.mask_token.grad.abs().max() > 0


@torch.no_grad()
def test_frame_attention_takes_each_frame_alone():
    encoder, clips = made("frame"), drawn_clips()
    other = clips.clone()
    other[:, 2] += 1.0
    same = [torch.equal(a, b) for a, b in zip(*(frames_of(encoder(c)).unbind(1) for c in (clips, other)), strict=True)]
    assert same == [True, True, False, True]
    # The order of frames reaches its CLS through the time table, and through nothing else.
    assert not torch.allclose(encoder(clips)[:, 0], encoder(clips.flip(1))[:, 0], atol=1e-3)
    encoder.time.zero_()
    rows, backwards = encoder(clips), encoder(clips.flip(1))
    torch.testing.assert_close(rows[:, 0], backwards[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(frames_of(rows), frames_of(backwards).flip(1), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_divided_attention_sees_the_other_frames_and_their_order():
    encoder, clips = made(), drawn_clips()
    other = clips.clone()
    other[:, 2] += 1.0
    first, second = frames_of(encoder(clips)), frames_of(encoder(other))
    assert ((first - second).abs().amax(dim=(0, 2, 3)) > 1e-3).all()
    # Frames 1 and 3 change places: frame 0 keeps its own time and pixels, and is told.
    swapped = frames_of(encoder(clips[:, [0, 3, 2, 1]]))
    assert (first[:, 0] - swapped[:, 0]).abs().max() > 1e-3


@torch.no_grad()
def test_divided_attention_starts_as_frame_attention():
    divided, frame = made(trained=False), made("frame", trained=False)
    frame.load_state_dict({name: value for name, value in divided.state_dict().items() if ".time_" not in name})
    assert torch.equal(divided(drawn_clips()), frame(drawn_clips()))


@torch.no_grad()
def test_another_number_of_frames_interpolates_the_time_table():
    encoder, clips = made(), drawn_clips(time=6)
    other = made(num_frames=6)
    other.load_state_dict({**encoder.state_dict(), "time": resample_frames(encoder.time, 6)})
    assert torch.equal(encoder(clips), other(clips))
    assert encoder(clips[:, :1]).shape == (2, 1 + PATCHES, 32)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (28, 28), (8, 72), (16, 24)])
def test_frames_of_another_size_are_refused(height, width):
    """Also those of as many patches, or of a few pixels more, of which no patch is made."""
    with pytest.raises(ValueError, match=rf"expected frames of 24 x 24 pixels, got {height} x {width}"):
        made()(torch.zeros(1, 4, 3, height, width))


@pytest.mark.parametrize("attention", ["divided", "frame"])
def test_checkpointing_gives_the_same_gradients(attention):
    plain = made(attention).train()
    saving = deepcopy(plain)
    saving.checkpointing = True
    masked = torch.zeros(2, 4, PATCHES, dtype=torch.bool)
    masked[:, 1] = True
    for encoder in (plain, saving):
        encoder(drawn_clips(), masked).square().sum().backward()
    for (name, parameter), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert parameter.grad.abs().max() > 0, name
        torch.testing.assert_close(parameter.grad, other.grad, msg=name)


def test_the_full_size_has_about_thirty_million_parameters():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = {word: i for i, word in enumerate([*special, *(f"word{i}" for i in range(30519))])}
    with torch.device("meta"):
        full = EViLM(EViLMConfig(), BertTokenizer(words))
    assert 28e6 < sum(parameter.numel() for parameter in full.parameters()) < 33e6
    assert full.pretraining is None


def test_the_small_size_reads_the_frames_of_the_embedded_corpus():
    assert VideoEncoder(SMALL)(drawn_clips(1, 6, 48)).shape == (1, 1 + 6 * 16, 64)
