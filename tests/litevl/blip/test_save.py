"""A stock BLIP written out of a plugged one."""

import torch
from small_blip import make_blip
from transformers import BlipForImageTextRetrieval

from litevl.adapters import LiteVLConfig, fingerprint, plug
from litevl.blip import load_blip, save_blip


def test_stock_transformers_and_load_blip_read_it_back(tokenizer, tmp_path):
    blip = make_blip(tokenizer)
    stock = fingerprint(blip)
    plug(blip, LiteVLConfig(num_frames=2), verbose=False)
    save_blip(blip, tmp_path)
    theirs, report = BlipForImageTextRetrieval.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["unexpected_keys"]
    assert not report["missing_keys"]
    assert fingerprint(theirs) == stock
    ours = load_blip(tmp_path)
    assert fingerprint(ours) == stock
    pixels = torch.randn(1, 3, 48, 48)
    expected = blip.vision_model(pixels).last_hidden_state
    assert torch.equal(ours.vision_model(pixels).last_hidden_state, expected)
    words = ours.tokenizer("a red square", return_tensors="pt")["input_ids"]
    assert torch.equal(words, tokenizer("a red square", return_tensors="pt")["input_ids"])
