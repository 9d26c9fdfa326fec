"""The pre-training objective: what is hidden cannot be seen, and what is told is what was there."""

from dataclasses import replace

import pytest
import torch
from small_blip import WORDS

from litevl.evilm import EViLM, EViLMConfig, PretrainingLossConfig, PretrainingObjective
from litevl.evilm.pretraining import Hidden, MaskedPredictions, patch_loss

SIZES = EViLMConfig(24, 8, 3, "divided", 16, 2, 2, 16, 2, 1, 2, 8, max_positions=40)
CODES = 5
PATCHES = 9


def codes_of(pixels):
    """A label for each patch that can be seen in it: its brightness, in five steps."""
    batch, time = pixels.shape[:2]
    patches = pixels[:, :, 0].unfold(2, 8, 8).unfold(3, 8, 8).mean(dim=(-1, -2))
    return patches.reshape(batch, time, PATCHES).round().long().clamp(0, CODES - 1)


def clips(number, seed=0):
    """Each patch of one brightness, 0 to 4."""
    shade = torch.randint(0, CODES, (number, 3, 3, 3), generator=torch.Generator().manual_seed(seed)).float()
    return shade.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, :, None].expand(number, 3, 3, 24, 24).contiguous()


def objective(tokenizer, targets=codes_of, outputs=CODES, **loss):
    torch.manual_seed(0)
    model = EViLM(SIZES, tokenizer, outputs)
    return PretrainingObjective(model, PretrainingLossConfig(**loss), targets)


@pytest.fixture
def texts(tokenizer):
    return [" ".join(WORDS[-4:]), " ".join(WORDS[-6:-1])]


def hidden_at(*places, clips=2, tokens=None):
    patches = torch.zeros(clips, 3, PATCHES, dtype=torch.bool)
    for clip, time, patch in places:
        patches[clip, time, patch] = True
    return Hidden(patches, tokens.input_ids, torch.zeros_like(tokens.input_ids, dtype=torch.bool))


def test_what_is_told_belongs_to_the_place_that_is_hidden(tokenizer, texts):
    each = objective(tokenizer)
    tokens, pixels = each.model.tokenize(texts), clips(2)
    places = [(0, 0, 0), (0, 1, 4), (0, 2, 8), (1, 0, 7), (1, 2, 3)]
    told = each.predict(pixels, tokens, hidden_at(*places, tokens=tokens))
    labels = codes_of(pixels)
    assert told.true_patches.tolist() == [labels[place].item() for place in places]
    # What the fusion encoder gives at a place, read by hand, is what its prediction is made of.
    video = each.model.encode_video(pixels, hidden_at(*places, tokens=tokens).patches)
    rows = each.model.fuse(tokens, video)[1]
    for place, logits in zip(places, told.patches, strict=True):
        clip, time, patch = place
        by_hand = each.model.pretraining.patches(rows[clip, 1 + time * PATCHES + patch])
        assert torch.allclose(logits, by_hand, atol=1e-5)


def test_hidden_pixels_are_not_seen_and_others_are(tokenizer, texts):
    each = objective(tokenizer)
    tokens, pixels = each.model.tokenize(texts), clips(2)
    hidden = hidden_at((0, 1, 4), (1, 0, 0), tokens=tokens)
    before = each.predict(pixels, tokens, hidden).patches
    other = pixels.clone()
    other[0, 1, :, 8:16, 8:16] += 7  # patch 4 of frame 1
    other[1, 0, :, :8, :8] -= 3
    after = each.predict(other, tokens, hidden)
    assert torch.equal(after.patches, before)
    assert not torch.equal(after.true_patches, codes_of(pixels)[hidden.patches]), "labels are of the whole clip"
    seen = pixels.clone()
    seen[0, 2, :, :8, :8] += 7
    assert not torch.allclose(each.predict(seen, tokens, hidden).patches[0], before[0])


def test_words_are_told_from_what_is_read(tokenizer, texts):
    each = objective(tokenizer)
    tokens = each.model.tokenize(texts)
    hidden = each.hide(tokens, 3, step=4)
    told = each.predict(clips(2), tokens, hidden)
    assert told.true_words.tolist() == tokens.input_ids[hidden.words].tolist()
    assert len(told.words) == int(hidden.words.sum()) >= 2
    assert (hidden.read[~hidden.words] == tokens.input_ids[~hidden.words]).all()


def test_a_clip_is_hidden_alike_in_any_batch(tokenizer, texts):
    each = objective(tokenizer)
    both, alone = each.model.tokenize(texts), each.model.tokenize(texts[:1])
    assert both.input_ids.shape[1] > alone.input_ids.shape[1]
    together, one = each.hide_each(both, 3, [6, 2]), each.hide_each(alone, 3, [6])
    assert torch.equal(together.patches[:1], one.patches)
    assert torch.equal(together.read[:1, : one.read.shape[1]], one.read)
    assert not together.words[:1, one.words.shape[1] :].any()
    assert not torch.equal(together.patches[0], together.patches[1])


def test_a_step_hides_other_places_than_the_next_and_a_seed_than_another(tokenizer, texts):
    each = objective(tokenizer)
    tokens = each.model.tokenize(texts)
    first = each.hide(tokens, 3, step=0)
    assert torch.equal(first.patches, each.hide(tokens, 3, step=0).patches)
    assert not torch.equal(first.patches, each.hide(tokens, 3, step=1).patches)
    each.seed = 1
    assert not torch.equal(first.patches, each.hide(tokens, 3, step=0).patches)


def test_the_loss_is_the_sum_of_its_weighted_parts(tokenizer, texts):
    each = objective(tokenizer, mvm_weight=0.5, mlm_weight=2.0)
    pixels, tokens = clips(2), each.model.tokenize(texts)
    losses = each(pixels, tokens, torch.arange(2), step=0, epochs_done=0.0)
    clean = each.retrieval(pixels, tokens, torch.arange(2), 0, 0.0)["loss"]
    told = each.predict(pixels, tokens, each.hide(tokens, 3, 0))
    assert losses["mvm"] == pytest.approx(patch_loss(told).item(), abs=1e-5)
    expected = clean + 0.5 * losses["mvm"] + 2.0 * losses["mlm"]
    assert losses["loss"].item() == pytest.approx(expected.item(), abs=1e-5)


def test_it_learns_to_tell_masked_patches(tokenizer, texts):
    """Every frame of a clip is the same, so that a masked patch can be told from the other frames."""
    each = objective(tokenizer, mlm_weight=0.0, vtm_weight=0.0, vtc_weight=0.0, mask_ratio=0.2, block_share=0.0)
    pixels = clips(32)[:, :1].expand(-1, 3, -1, -1, -1).contiguous()
    tokens = each.model.tokenize([texts[0]] * 32)
    optimizer = torch.optim.AdamW(each.parameters(), lr=3e-3)
    for step in range(150):
        losses = each(pixels, tokens, torch.arange(32), step=step, epochs_done=0.0)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    right, count = each.predict(pixels, tokens, each.hide(tokens, 3, 999)).right()["patches"]
    assert right / count > 0.35, "chance is 0.2"


def test_features_are_regressed_by_their_direction(tokenizer, texts):
    def features(pixels):
        return codes_of(pixels)[..., None].float() * torch.tensor([1.0, -1.0, 0.5]) + 0.1

    each = objective(tokenizer, features, 3)
    tokens = each.model.tokenize(texts)
    told = each.predict(clips(2), tokens, each.hide(tokens, 3, 0))
    assert told.true_patches.shape == told.patches.shape
    perfect = replace(told, patches=4 * told.true_patches)
    assert patch_loss(perfect) == pytest.approx(0.0, abs=1e-6)
    assert patch_loss(replace(told, patches=-told.true_patches)) == pytest.approx(2.0, abs=1e-5)
    assert perfect.right()["patches"] == (pytest.approx(len(told.patches)), len(told.patches))


def test_what_is_counted_as_right():
    logits = torch.eye(4)
    told = MaskedPredictions(logits, torch.tensor([0, 1, 2, 0]), logits[:3], torch.tensor([0, 0, 2]))
    assert told.right() == {"words": (3.0, 4), "patches": (2.0, 3)}


def test_misuse_is_named(tokenizer):
    with pytest.raises(ValueError, match="expected a model with heads"):
        PretrainingObjective(EViLM(SIZES, tokenizer), PretrainingLossConfig())
    with pytest.raises(ValueError, match="needs targets"):
        PretrainingObjective(EViLM(SIZES, tokenizer, CODES), PretrainingLossConfig())
    for wrong in ({"mask_ratio": 0.0}, {"word_share": 1.0}, {"block_share": -0.1}, {"mvm_weight": -1.0}):
        with pytest.raises(ValueError, match="expected"):
            PretrainingLossConfig(**wrong)
