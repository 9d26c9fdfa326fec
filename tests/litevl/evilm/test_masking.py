"""What pre-training hides: how much, where, and of what."""

import pytest
import torch

from litevl.evilm.masking import mask_patches, mask_words, special_ids


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("ratio", "count"), [(0.15, 10), (0.4, 26), (0.75, 48), (0.001, 1), (0.999, 63)])
@pytest.mark.parametrize("block_share", [0.0, 0.5, 1.0])
def test_every_clip_loses_as_many_patches(ratio, count, block_share):
    hidden = mask_patches(20, 4, 4, ratio, block_share, seeded())
    assert hidden.shape == (20, 4, 16)
    assert set(hidden.flatten(1).sum(dim=1).tolist()) == {count}
    assert len({tuple(clip.flatten().tolist()) for clip in hidden}) > 8


def test_the_generator_settles_the_masks():
    first, again, other = (mask_patches(8, 4, 6, 0.4, 0.5, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def hidden_neighbours(hidden, grid):
    """Of the pairs of neighbours in space and time with one hidden, the share with both hidden."""
    masks = hidden.unflatten(2, (grid, grid)).float()
    pairs = [(masks.narrow(d, 0, n - 1), masks.narrow(d, 1, n - 1)) for d, n in enumerate(masks.shape) if d > 0]
    both = sum((first * second).sum() for first, second in pairs)
    return float(both / sum(first.sum() for first, _ in pairs))


def test_blocks_hang_together():
    scattered, mixed, blocks = (
        hidden_neighbours(mask_patches(40, 4, 8, 0.4, share, seeded()), 8) for share in (0.0, 0.5, 1.0)
    )
    assert scattered == pytest.approx(0.4, abs=0.03)
    assert blocks > 0.6
    assert scattered + 0.05 < mixed < blocks - 0.05


def test_a_single_frame_and_a_single_patch_to_keep():
    assert mask_patches(3, 1, 2, 0.4, 1.0, seeded()).sum() == 6
    assert mask_patches(2, 2, 1, 0.9, 0.5, seeded()).sum() == 2


SPECIAL = torch.tensor([0, 1, 2, 3, 4])
MASK, WORDS = 4, 500


def drawn_texts(texts=400, length=12):
    """[CLS], words, [SEP], and padding to one length, with texts of one word and of none."""
    ids = torch.randint(5, WORDS, (texts, length), generator=seeded(7))
    ids[:, 0] = 2
    for row in range(texts):
        end = 1 + row % (length - 1)
        ids[row, end], ids[row, end + 1 :] = 3, 0
    return ids


def test_every_text_with_a_word_loses_one_and_specials_never_go():
    ids = drawn_texts()
    read, chosen = mask_words(ids, SPECIAL, MASK, WORDS, 0.15, seeded())
    special = torch.isin(ids, SPECIAL)
    assert not chosen[special].any()
    assert torch.equal(chosen.any(dim=1), (~special).any(dim=1))
    assert torch.equal(read[~chosen], ids[~chosen])
    assert (~chosen.any(dim=1)).any()


def test_berts_rule():
    ids = torch.randint(5, WORDS, (2000, 40), generator=seeded(1))
    read, chosen = mask_words(ids, SPECIAL, MASK, WORDS, 0.15, seeded())
    count = int(chosen.sum())
    assert count / ids.numel() == pytest.approx(0.15, abs=0.005)
    masked = int((read == MASK)[chosen].sum())
    kept = int((read == ids)[chosen].sum())
    assert masked / count == pytest.approx(0.8, abs=0.015)
    # A random word is by chance [MASK], or the word itself, once in five hundred times.
    assert kept / count == pytest.approx(0.1, abs=0.015)
    assert (count - masked - kept) / count == pytest.approx(0.1, abs=0.015)
    assert len(read[chosen & (read != MASK) & (read != ids)].unique()) > 0.8 * WORDS
    assert ((read >= 0) & (read < WORDS)).all()


def test_the_generator_settles_the_words():
    ids = drawn_texts(40)
    first, again, other = (mask_words(ids, SPECIAL, MASK, WORDS, 0.15, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_special_ids_are_the_tokenizers(tokenizer):
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"]
    assert special_ids(tokenizer).tolist() == sorted(tokenizer.convert_tokens_to_ids(names))
