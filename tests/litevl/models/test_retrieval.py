"""The retrieval model's two paths, against BLIP taken by hand."""

import pytest
import torch
import torch.nn.functional as F
from original_blip import OriginalBlip
from small_blip import make_blip

from litevl.adapters import LiteVLConfig, PoolingConfig, named_adapters, plug, unplug
from litevl.blip import enc_token_id
from litevl.models import TokenBatch, VideoTextRetrieval

TEXTS = ["a red square moves left to right", "a blue circle", "the star before the circle and after the square"]
FRAME_AVERAGE = LiteVLConfig(layers=(), cls="frame")


@pytest.fixture
def clips():
    return torch.randn(3, 4, 3, 48, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model(blip):
    return VideoTextRetrieval(plug(blip, LiteVLConfig(num_frames=4), verbose=False)).eval()


def test_frame_average_is_blips_own_video_evaluation(blip, clips):
    frames = blip.vision_model(clips.flatten(0, 1)).last_hidden_state.unflatten(0, (3, 4))
    model = VideoTextRetrieval(plug(blip, FRAME_AVERAGE, verbose=False), PoolingConfig("none")).eval()
    video, text = model.encode_video(clips), model.encode_text(TEXTS)
    expected = F.normalize(blip.vision_proj(frames[:, :, 0]).mean(dim=1), dim=-1)
    assert torch.allclose(video.embed, expected, atol=1e-6)
    tokens = blip.tokenizer(TEXTS, padding=True, return_tensors="pt")
    hidden = blip.text_encoder(tokens["input_ids"], tokens["attention_mask"]).last_hidden_state[:, 0]
    assert torch.allclose(text.embed, F.normalize(blip.text_proj(hidden), dim=-1), atol=1e-6)
    assert torch.allclose(model.similarity(text, video), text.embed @ expected.T, atol=1e-6)
    ids = tokens["input_ids"].clone()
    ids[:, 0] = enc_token_id(blip.tokenizer)
    memory = frames.flatten(1, 2)
    by_hand = blip.text_encoder(ids, tokens["attention_mask"], encoder_hidden_states=memory).last_hidden_state[:, 0]
    assert torch.allclose(model.match_pairs(text, video), blip.itm_head(by_hand), atol=1e-5)


def test_match_gives_every_pair(model, clips):
    video, text = model.encode_video(clips[:2]), model.encode_text(TEXTS)
    matrix = model.match(text, video)
    assert matrix.shape == (3, 2)
    pair = model.match_pairs(text[torch.tensor([2])], video[torch.tensor([1])]).softmax(-1)[0, 1]
    assert torch.allclose(matrix[2, 1], pair, atol=1e-6)


def test_texts_do_not_depend_on_what_they_are_padded_to(model):
    alone, together = model.encode_text(TEXTS[1:2]), model.encode_text(TEXTS)
    assert torch.allclose(alone.embed[0], together.embed[1], atol=1e-6)
    assert torch.allclose(model.encode_text(alone.tokens.pad_to(20)).embed, alone.embed, atol=1e-6)


def test_long_texts_are_cut(blip):
    model = VideoTextRetrieval(plug(blip, FRAME_AVERAGE, verbose=False), max_text_length=6)
    tokens = model.tokenize(["a red square moves left to right"])
    assert tokens.input_ids.shape == (1, 6)


@pytest.mark.parametrize("cls", ["clip", "frame"])
@pytest.mark.parametrize(
    ("pooling", "rows"),
    [
        (PoolingConfig("none"), {"clip": 1 + 36, "frame": 40}),
        (PoolingConfig("mean"), {"clip": 1 + 36 + 13, "frame": 40 + 13}),
        (PoolingConfig("text"), {"clip": 1 + 36 + 13, "frame": 40 + 13}),
        (PoolingConfig("text", space="hidden"), {"clip": 1 + 36 + 13, "frame": 40 + 13}),
        (PoolingConfig("text", keep_tokens=False), {"clip": 1 + 13, "frame": 1 + 13}),
    ],
)
def test_pooling_costs_time_plus_patches_rows(blip, clips, cls, pooling, rows):
    plug(blip, LiteVLConfig(num_frames=4, cls=cls), verbose=False)
    model = VideoTextRetrieval(blip, pooling).eval()
    video, text = model.encode_video(clips), model.encode_text(TEXTS)
    memory = model.matching_memory(text, video)
    assert memory.shape == (3, rows[cls], 128)
    assert torch.isfinite(model.match_pairs(text, video)).all()


def test_pooled_rows_follow_the_text(model, clips):
    video, text = model.encode_video(clips), model.encode_text(TEXTS)
    other = text[torch.tensor([1, 2, 0])]
    first, second = model.matching_memory(text, video), model.matching_memory(other, video)
    assert torch.equal(first[:, :37], second[:, :37])
    assert not torch.allclose(first[:, 37:], second[:, 37:])
    pooled = first[:, 37:41] / video.patches.mean(dim=2)
    assert torch.allclose(pooled, pooled[..., :1].expand_as(pooled), atol=1e-3)
    assert torch.allclose(pooled[..., 0].mean(dim=1), torch.ones(3), atol=1e-4)


def test_images_count_as_one_frame(model, clips):
    stock = model.blip.vision_model(clips[:, 0]).last_hidden_state
    image = model.encode_video(clips[:, 0])
    assert torch.equal(image.memory, stock)
    assert image.patches.shape == (3, 1, 9, 128)


def test_clips_after_unplugging_are_refused_in_words(model, clips):
    unplug(model.blip)
    assert len(model.encode_video(clips[:, 0])) == 3
    with pytest.raises(ValueError, match="expected a plugged BLIP"):
        model.encode_video(clips)


def test_copied_heads_leave_blips_own_alone(blip, clips):
    model = VideoTextRetrieval(plug(blip, LiteVLConfig(num_frames=4), verbose=False), heads="copied")
    before = model.encode_video(clips).embed
    assert torch.allclose(before, F.normalize(blip.vision_proj(model.encode_video(clips).rows[:, 0]), dim=-1))
    names = {name for name, p in model.named_parameters() if p.requires_grad and "heads" in name}
    assert names == {"heads.temperature"} | {
        f"heads.{head}.{kind}" for head in ("vision_proj", "text_proj", "itm_head") for kind in ("weight", "bias")
    }
    torch.nn.init.normal_(model.heads.vision_proj.weight)
    assert not torch.allclose(model.encode_video(clips).embed, before)
    assert {name for name, _ in named_adapters(model)} > {"heads"}


def test_temperature_is_clamped(model):
    for value, expected in ((-3.0, 0.001), (0.2, 0.2), (9.0, 0.5)):
        torch.nn.init.constant_(model.heads.temperature, value)
        assert model.temperature().item() == pytest.approx(expected)


def test_misuse_is_named(blip, tokenizer):
    with pytest.raises(ValueError, match="stock one"):
        VideoTextRetrieval(blip)
    with pytest.raises(ValueError, match="vision_proj"):
        VideoTextRetrieval(plug(make_blip(tokenizer).vision_model, FRAME_AVERAGE, verbose=False))
    plug(blip, FRAME_AVERAGE, verbose=False)
    del blip.tokenizer
    with pytest.raises(ValueError, match="tokenizer="):
        VideoTextRetrieval(blip)
    assert VideoTextRetrieval(blip, tokenizer=tokenizer).enc_token_id == len(tokenizer) - 1
    with pytest.raises(ValueError, match="keep_tokens"):
        PoolingConfig("none", keep_tokens=False)
    with pytest.raises(ValueError, match="tau"):
        PoolingConfig(tau=0.0)
    unplug(blip)


def test_features_index_and_join(model, clips):
    video, text = model.encode_video(clips), model.encode_text(TEXTS)
    joined = type(text).cat([text[torch.tensor([1])], text[torch.tensor([0, 2])]])
    assert torch.equal(joined.embed, text.embed[[1, 0, 2]])
    assert isinstance(joined.tokens, TokenBatch)
    assert torch.equal(type(video).cat([video[:1], video[1:]]).rows, video.rows)


def test_a_blip_of_another_library_is_refused(blip):
    original = OriginalBlip(blip)
    with pytest.raises(ValueError, match="load its checkpoint with load_blip"):
        VideoTextRetrieval(plug(original, LiteVLConfig(num_frames=2), verbose=False))
