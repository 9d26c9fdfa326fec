"""What ships: the small models that the recipes start from without arguments, as their commands made them."""

import json

import evilm_pretrain
import evilm_tokenizer
import torch

from litevl.evilm import SMALL, load_evilm, load_vq_tokenizer
from litevl.evilm.files import EMBEDDED
from litevl.training import describe_changes


def test_the_tokenizer_is_the_recipes_and_uses_its_codes():
    record = json.loads((EMBEDDED / "tokenizer" / "vq_tokenizer.json").read_text())
    assert load_vq_tokenizer(EMBEDDED / "tokenizer").config == evilm_tokenizer.EMBEDDED.model
    assert record["protocol"]["seed"] == 0
    assert record["metrics"]["usage"] > 70
    assert record["metrics"]["perplexity"] > 150
    assert record["metrics"]["distance"] < 0.2


def test_the_pretrained_model_is_the_recipes():
    record = json.loads((EMBEDDED / "pretrained" / "evilm.json").read_text())
    defaults = evilm_pretrain.EMBEDDED
    assert not describe_changes(
        record["start"], {**vars(defaults.model), "architecture": vars(defaults.model.architecture)}
    )
    assert not describe_changes(record["pretraining"], vars(defaults.loss))
    assert record["training"]["steps"] == defaults.training.epochs * (1000 // defaults.training.batch_size)
    assert record["metrics"]["contrastive"]["t2v_r1"] > 45


def test_all_of_it_is_small_and_loads():
    model = load_evilm("embedded", vision_targets=512)
    assert model.config == SMALL
    labels = load_vq_tokenizer(EMBEDDED / "tokenizer").tokenize(torch.rand(2, 6, 3, 48, 48))
    assert labels.shape == (2, 6, SMALL.grid**2)
    assert sum(path.stat().st_size for path in EMBEDDED.rglob("*.safetensors")) < 6_000_000
