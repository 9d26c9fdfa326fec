"""Captioning of clips: equal to what LAVIS computed, and captions that depend on the clip alone."""

import json
import lzma
from pathlib import Path

import pytest
import torch
from moved import moved
from safetensors import safe_open
from safetensors.torch import load_file

from litevl.adapters import FrameAverageConfig, LiteVLConfig, PoolingConfig, plug
from litevl.blip import load_blip
from litevl.models import VideoCaptioning

FIXTURES = Path(__file__).resolve().parents[1] / "blip" / "fixtures"
CAPTIONS = ["a dog catches the red ball", "two cats"]


@pytest.fixture
def blip(tmp_path):
    """A small random BLIP for captioning, from a checkpoint that LAVIS wrote."""
    path = tmp_path / "captioning.pth"
    path.write_bytes(lzma.decompress((FIXTURES / "captioning.pth.xz").read_bytes()))
    return load_blip(path, vocab=FIXTURES / "vocab.txt")


def trained(blip, **options):
    """A model whose adapters have moved."""
    return moved(VideoCaptioning(plug(blip, LiteVLConfig(num_frames=4, **options), verbose=False))).eval()


def clips(count=2):
    return torch.randn(count, 4, 3, 24, 24, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_clip_of_one_frame_gives_what_lavis_computed(blip):
    expected = load_file(FIXTURES / "captioning_expected.safetensors")
    with safe_open(FIXTURES / "captioning_expected.safetensors", framework="pt") as file:
        texts = json.loads(file.metadata()["texts"])
    model = VideoCaptioning(plug(blip, FrameAverageConfig(), verbose=False))
    tokens = model.tokenize([text.removeprefix("a picture of ") for text in texts])
    assert torch.equal(tokens.input_ids, expected["input_ids"])
    assert torch.equal(tokens.attention_mask, expected["attention_mask"])
    video = model.encode_video(expected["images"][:, None])
    mask = tokens.attention_mask[:, :-1].bool()
    logits = model.caption_logits(video, tokens)
    torch.testing.assert_close(logits[mask], expected["logits"][:, :-1][mask], rtol=0, atol=2e-5)
    # BLIP takes no loss of [DEC], of the prompt's words "a picture of", and of padding.
    scores = expected["logits"][:, :-1].log_softmax(-1).gather(-1, tokens.input_ids[:, 1:, None])[..., 0]
    own = [scores[row, 3 : int(tokens.attention_mask[row].sum()) - 1].sum() for row in range(2)]
    torch.testing.assert_close(model.caption_log_likelihood(video, tokens), torch.stack(own), rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("pooling", [PoolingConfig("none"), PoolingConfig("mean")])
def test_the_batch_does_not_change_a_caption(blip, pooling):
    model = trained(blip)
    model.pooling = pooling
    tokens = model.tokenize(CAPTIONS)
    together = model.encode_video(clips())
    likelihood, written = model.caption_log_likelihood(together, tokens), model.generate(together, max_new_tokens=6)
    for row, caption in enumerate(CAPTIONS):
        alone = model.encode_video(clips()[row : row + 1])
        its = model.caption_log_likelihood(alone, model.tokenize([caption]))
        torch.testing.assert_close(its[0], likelihood[row], rtol=0, atol=1e-4)
        assert model.generate(alone, max_new_tokens=6) == [written[row]]


@torch.no_grad()
def test_what_is_written_is_the_likeliest_and_lacks_the_prompt(blip):
    model = trained(blip)
    video = model.encode_video(clips(1))
    (written,) = model.generate(video, num_beams=1, max_new_tokens=4, min_new_tokens=4)
    prompt = model.tokenize([""]).input_ids[:, : model.prompt_length]
    assert model.tokenizer.decode(prompt[0, 1:]) == model.prompt
    tokens = prompt
    for _ in range(4):
        ones = torch.ones_like(tokens)
        padded = type(model.tokenize([""]))(torch.cat([tokens, tokens[:, :1]], 1), torch.cat([ones, ones[:, :1]], 1))
        scores = model.caption_logits(video, padded)[:, -1]
        scores[:, model.tokenizer.sep_token_id] = -torch.inf
        tokens = torch.cat([tokens, scores.argmax(-1, keepdim=True)], dim=1)
    expected = model.tokenizer.decode(tokens[0, model.prompt_length :], skip_special_tokens=True)
    assert written == expected.strip()
    assert not written.startswith("a picture of")


@pytest.mark.parametrize("cls", ["clip", "frame"])
def test_the_loss_trains_the_adapters_and_sees_order(blip, cls):
    model = VideoCaptioning(plug(blip, LiteVLConfig(num_frames=4, cls=cls), verbose=False))
    tokens = model.tokenize(CAPTIONS)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(6):
        loss = model(clips(), tokens).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    with torch.no_grad():
        forward, backward = (model(each, tokens) for each in (clips(), clips().flip(1)))
    assert not torch.allclose(forward, backward, rtol=0, atol=5e-6)


def test_misuse_is_named(blip, tokenizer):
    from small_blip import make_blip

    with pytest.raises(ValueError, match="stock one"):
        VideoCaptioning(blip)
    with pytest.raises(ValueError, match="text_decoder alone"):
        VideoCaptioning(make_blip(tokenizer))
    plug(blip, FrameAverageConfig(), verbose=False)
    with pytest.raises(ValueError, match="no text yet"):
        VideoCaptioning(blip, PoolingConfig("text"))
