import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("torch", minversion="2.9", reason="torch.optim.Muon")

from pretrain_small_blip import Config, main
from training_on_stills import schedule
from transformers import BlipForImageTextRetrieval

from litevl.blip import load_blip

EMBEDDED = Path(__file__).resolve().parents[2] / "litevl" / "blip" / "embedded" / "retrieval"


def _small(folder, **changes):
    sizes = {"steps": 2, "pairs": 4, "masked_pairs": 2, "matching_pairs": 2, "matching_from": 0.5, "test_pairs": 6}
    return Config(output_dir=folder, vision_layers=1, text_layers=1, width=64, threads=1, **{**sizes, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    return folder, main(_small(folder))


def test_two_steps_leave_a_folder_that_loads_strictly(trained):
    folder, metrics = trained
    model, report = BlipForImageTextRetrieval.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert model.config.vision_config.layer_norm_eps == 1e-6
    saved = load_file(folder / "model.safetensors")
    assert all(tensor.dtype == torch.float16 for tensor in saved.values())
    assert json.loads((folder / "training.json").read_text())["metrics"] == metrics


def test_the_folder_loads_as_litevls_own_backbone(trained):
    blip = load_blip(trained[0])
    assert blip.load_report.missing == ()
    assert len(blip.tokenizer) == blip.config.text_config.vocab_size
    assert next(blip.parameters()).dtype == torch.float32


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(trained, tmp_path):
    main(_small(tmp_path / "same"))
    main(_small(tmp_path / "other", seed=1))
    first, same, other = (
        load_file(f / "model.safetensors") for f in (trained[0], tmp_path / "same", tmp_path / "other")
    )
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_rate_warms_up_and_falls_to_zero():
    config = Config(steps=100, warmup=10)
    assert schedule(0, config) == pytest.approx(0.1)
    assert schedule(9, config) == 1.0
    assert schedule(99, config) < 0.01


def test_the_embedded_backbone_is_what_the_recipe_makes():
    record = json.loads((EMBEDDED / "training.json").read_text())
    defaults = Config()
    assert record["config"] == {name: getattr(defaults, name) for name in record["config"]}
    assert (EMBEDDED / "model.safetensors").stat().st_size < 8_000_000
    assert record["metrics"]["itc_pair_accuracy"] > 0.95
    assert record["metrics"]["itm_pair_accuracy"] > 0.95
