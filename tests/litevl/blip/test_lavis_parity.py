"""What the real LAVIS package computed with its own checkpoints, against litevl's loading of the same files.

The fixtures are made by make_lavis_fixture.py, which runs in an environment of LAVIS's own.
"""

import json
import lzma
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn.functional import normalize

from litevl.blip import enc_token_id, load_blip

FIXTURES = Path(__file__).parent / "fixtures"
TOLERANCE = {"rtol": 0, "atol": 1e-5}


def load(task, folder, **kwargs):
    path = folder / f"{task}.pth"
    path.write_bytes(lzma.decompress((FIXTURES / f"{task}.pth.xz").read_bytes()))
    blip = load_blip(path, vocab=FIXTURES / "vocab.txt", **kwargs)
    return blip, load_file(FIXTURES / f"{task}_expected.safetensors")


@pytest.fixture(scope="module")
def retrieval(tmp_path_factory):
    return load("retrieval", tmp_path_factory.mktemp("retrieval"))


def test_everything_in_the_file_is_accounted_for(retrieval):
    blip, expected = retrieval
    report = blip.load_report
    assert (report.format, report.task, report.missing, report.unexpected) == ("original", "retrieval", (), ())
    assert set(report.matched) == set(blip.state_dict())
    assert {"temp", "image_queue", "text_queue", "idx_queue", "queue_ptr"} <= set(report.dropped)
    momentum = [name for name in report.dropped if name.split(".")[0].endswith("_m")]
    assert len(momentum) == len(blip.state_dict()) - 2 + 1  # no copy of itm_head's two; position_ids is a buffer
    assert report.temperature == expected["temperature"].item() == 0.0625
    vision, text = blip.config.vision_config, blip.config.text_config
    assert (vision.num_attention_heads, vision.hidden_size, vision.image_size, vision.patch_size) == (2, 128, 24, 8)
    assert (text.num_attention_heads, text.intermediate_size, text.layer_norm_eps) == (2, 192, 1e-12)
    assert blip.config.image_text_hidden_size == 32


def test_tokenizer(retrieval):
    blip, expected = retrieval
    with safe_open(FIXTURES / "retrieval_expected.safetensors", framework="pt") as file:
        captions = json.loads(file.metadata()["captions"])
    encoded = blip.tokenizer(captions, padding=True, return_tensors="pt")
    assert torch.equal(encoded["input_ids"], expected["input_ids"])
    assert torch.equal(encoded["attention_mask"], expected["attention_mask"])
    assert enc_token_id(blip.tokenizer) == expected["encoder_input_ids"][0, 0]


@torch.no_grad()
def test_vision_tokens_and_contrastive_embeddings(retrieval):
    blip, expected = retrieval
    tokens = blip.vision_model(expected["images"]).last_hidden_state
    texts = blip.text_encoder(expected["input_ids"], expected["attention_mask"]).last_hidden_state
    image = normalize(blip.vision_proj(tokens[:, 0]), dim=-1)
    text = normalize(blip.text_proj(texts[:, 0]), dim=-1)
    torch.testing.assert_close(tokens, expected["vision_tokens"], **TOLERANCE)
    torch.testing.assert_close(image, expected["image_embeds"], **TOLERANCE)
    torch.testing.assert_close(text, expected["text_embeds"], **TOLERANCE)
    torch.testing.assert_close(image @ text.T, expected["itc"], **TOLERANCE)


@torch.no_grad()
def test_matching_with_enc(retrieval):
    blip, expected = retrieval
    ids = expected["input_ids"].clone()
    ids[:, 0] = enc_token_id(blip.tokenizer)
    memory = blip.vision_model(expected["images"]).last_hidden_state
    mask = torch.ones(memory.shape[:2], dtype=torch.long)
    fused = blip.text_encoder(
        ids, expected["attention_mask"], encoder_hidden_states=memory, encoder_attention_mask=mask
    )
    torch.testing.assert_close(blip.itm_head(fused.last_hidden_state[:, 0]), expected["itm"], **TOLERANCE)


@torch.no_grad()
def test_matching_with_padded_frames(retrieval):
    blip, expected = retrieval
    tokens = blip.vision_model(expected["images"]).last_hidden_state
    fused = blip.text_encoder(
        expected["encoder_input_ids"],
        expected["attention_mask"],
        encoder_hidden_states=torch.cat([tokens, tokens.flip(0)], dim=1),
        encoder_attention_mask=expected["clip_mask"],
    ).last_hidden_state
    torch.testing.assert_close(fused, expected["fused"], **TOLERANCE)
    torch.testing.assert_close(blip.itm_head(fused[:, 0]), expected["fused_itm"], **TOLERANCE)


@torch.no_grad()
def test_position_interpolation(tmp_path):
    blip, expected = load("retrieval", tmp_path, image_size=40)
    assert (blip.load_report.image_size, blip.load_report.interpolated_from) == (40, 24)
    tokens = blip.vision_model(expected["larger_images"]).last_hidden_state
    torch.testing.assert_close(tokens, expected["larger_vision_tokens"], **TOLERANCE)


@torch.no_grad()
def test_hub_epsilon_would_not_pass(tmp_path):
    """The tolerance is fine enough to tell 1e-5, the epsilon of the hub's configs, from the original's 1e-6."""
    blip, expected = load("retrieval", tmp_path, vision_eps=1e-5)
    tokens = blip.vision_model(expected["images"]).last_hidden_state
    assert (tokens - expected["vision_tokens"]).abs().max() > TOLERANCE["atol"]


@torch.no_grad()
def test_question_answering(tmp_path):
    blip, expected = load("vqa", tmp_path)
    assert blip.load_report.task == "vqa"
    memory = blip.vision_model(expected["images"]).last_hidden_state
    question_mask = expected["question_mask"]
    states = blip.text_encoder(
        expected["question_ids"],
        question_mask,
        encoder_hidden_states=memory,
        encoder_attention_mask=torch.ones(memory.shape[:2], dtype=torch.long),
    ).last_hidden_state
    torch.testing.assert_close(states, expected["question_states"], **TOLERANCE)
    which = expected["question_of_answer"]
    logits = blip.text_decoder(
        expected["answer_ids"],
        attention_mask=expected["answer_mask"],
        encoder_hidden_states=states[which],
        encoder_attention_mask=question_mask[which],
    ).logits
    torch.testing.assert_close(logits, expected["answer_logits"], **TOLERANCE)


@torch.no_grad()
def test_captioning(tmp_path):
    blip, expected = load("captioning", tmp_path)
    assert blip.load_report.task == "captioning"
    memory = blip.vision_model(expected["images"]).last_hidden_state
    logits = blip.text_decoder(
        expected["input_ids"],
        attention_mask=expected["attention_mask"],
        encoder_hidden_states=memory,
        encoder_attention_mask=torch.ones(memory.shape[:2], dtype=torch.long),
    ).logits
    torch.testing.assert_close(logits, expected["logits"], **TOLERANCE)
