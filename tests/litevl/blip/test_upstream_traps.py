"""Four traps of transformers' BLIP: that each is repaired here, and a canary that tells when upstream mends it.

A canary shows the defect in stock transformers. On a version known to have it, not seeing it fails the test (the test
has gone blind); on a newer version it is skipped with the advice to remove the repair.
"""

import warnings

import pytest
import torch
import transformers
from packaging.version import Version
from transformers import BlipTextConfig, BlipVisionConfig

from litevl.blip import enable_gradient_checkpointing, load_blip, repair

LAST_VERSION_KNOWN_TO_HAVE_THEM = Version("5.23.0")


def expect_defect(seen: bool, trap: str, repaired_in: str) -> None:
    if seen:
        return
    installed = Version(transformers.__version__)
    if installed <= LAST_VERSION_KNOWN_TO_HAVE_THEM:
        pytest.fail(f"transformers {installed} is known for this trap, yet the test does not see it: {trap}")
    pytest.skip(f"upstream has mended it in transformers {installed} ({trap}): remove {repaired_in}")


def text_inputs(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.tensor([[2, 5, 6, 7, 3], [2, 8, 9, 3, 0]])
    memory = torch.randn(2, 12, 64, generator=generator)
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[:, 7:] = 0
    return ids, (ids != 0).long(), memory, mask


# Trap 1: the mask of the tokens that cross-attention reads is ignored (transformers 4.54 and later).


@torch.no_grad()
def masked_minus_truncated(encoder) -> float:
    """Masking the end of the memory must be the same as cutting it off."""
    ids, text_mask, memory, mask = text_inputs()
    kwargs = {"is_decoder": False} if hasattr(encoder, "pooler") else {}
    masked = encoder(ids, text_mask, encoder_hidden_states=memory, encoder_attention_mask=mask, **kwargs)
    cut = encoder(ids, text_mask, encoder_hidden_states=memory[:, :7], encoder_attention_mask=mask[:, :7], **kwargs)
    return (masked.last_hidden_state - cut.last_hidden_state).abs().max().item()


def test_canary_cross_attention_mask(small):
    difference = masked_minus_truncated(small.small_blip().text_encoder)
    expect_defect(difference > 1e-3, "padded tokens are attended in cross-attention", "litevl.blip.repair")


def test_repaired_cross_attention_mask(small):
    assert masked_minus_truncated(repair(small.small_blip()).text_encoder) < 1e-6
    assert masked_minus_truncated(repair(small.small_blip("vqa")).text_decoder.bert) < 1e-6


# Trap 2: gradient checkpointing of the whole model makes frozen word embeddings a leaf that is then changed in place.


def training_loss(model):
    ids, text_mask, _, _ = text_inputs()
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    tokens = model.vision_model(pixels).last_hidden_state
    mask = torch.ones(tokens.shape[:2], dtype=torch.long)
    fused = model.text_encoder(ids, text_mask, encoder_hidden_states=tokens, encoder_attention_mask=mask)
    return model.itm_head(fused.last_hidden_state[:, 0]).square().sum()


def mostly_frozen(small):
    model = repair(small.small_blip()).train().requires_grad_(False)
    model.vision_model.encoder.layers[0].mlp.fc1.requires_grad_(True)
    return model


def test_canary_gradient_checkpointing(small):
    model = mostly_frozen(small)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model.gradient_checkpointing_enable({"use_reentrant": False})
        try:
            training_loss(model).backward()
            failure = ""
        except RuntimeError as error:
            failure = str(error)
    trap = "gradient checkpointing of a frozen BLIP fails"
    expect_defect("in-place" in failure, trap, "litevl.blip.enable_gradient_checkpointing")


def test_checkpointed_gradients_are_the_same(small):
    plain, checkpointed = mostly_frozen(small), enable_gradient_checkpointing(mostly_frozen(small))
    calls = []
    checkpointed.vision_model.encoder.layers[1].layer_norm2.register_forward_hook(lambda *_: calls.append(1))
    for model in (plain, checkpointed):
        training_loss(model).backward()
    assert len(calls) == 2, "the block was not computed again in the backward pass"
    name = "vision_model.encoder.layers.0.mlp.fc1.weight"
    gradient = plain.get_parameter(name).grad
    assert gradient.abs().max() > 0
    torch.testing.assert_close(checkpointed.get_parameter(name).grad, gradient, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in checkpointed.text_encoder.parameters())


# Trap 3: image-text matching starts with [CLS], where BLIP was trained with [ENC].


@torch.no_grad()
def test_canary_matching_token(small):
    model = small.small_blip()
    ids, text_mask, _, _ = text_inputs()
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    enc_ids = ids.clone()
    enc_ids[:, 0] = small.ENC
    stock = model(ids, pixels, attention_mask=text_mask).itm_score
    with_enc = model(enc_ids, pixels, attention_mask=text_mask).itm_score
    expect_defect((stock - with_enc).abs().max().item() > 1e-4, "matching reads [CLS]", "the setting of [ENC]")


# Trap 4: default configs are not those of any BLIP that was trained.


def test_canary_default_configs():
    text, vision = BlipTextConfig(), BlipVisionConfig()
    expect_defect(text.num_attention_heads == 8, "8 text heads by default", "litevl.blip.conversion.mend_heads")
    expect_defect(vision.layer_norm_eps == 1e-5, "a vision epsilon of 1e-5 by default", "vision_eps of load_blip")
    expect_defect(vision.initializer_range == 1e-10, "vision weights start near zero", "initializer_range in tests")


def test_default_head_count_and_epsilon_are_mended_in_a_folder(small, tmp_path):
    config = small.small_config(layers=1)
    config.text_config.hidden_size, config.text_config.num_attention_heads = 768, 8
    config.vision_config.layer_norm_eps = 1e-5
    torch.manual_seed(0)
    folder = small.write_folder(tmp_path, transformers.BlipForImageTextRetrieval(config))
    blip = load_blip(folder)
    assert blip.config.text_config.num_attention_heads == 12
    assert blip.text_encoder.encoder.layer[0].crossattention.self.num_attention_heads == 12
    assert any("8 heads" in note for note in blip.load_report.notes)
    assert blip.vision_model.post_layernorm.eps == 1e-6 == blip.load_report.vision_eps
    assert load_blip(folder, vision_eps=None).vision_model.post_layernorm.eps == 1e-5
