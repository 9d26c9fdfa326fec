"""The small E-ViLM's start on still pictures: a folder that loads, the same for a seed, and the one that ships."""

import json

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("torch", minversion="2.9", reason="torch.optim.Muon")

from pretrain_small_evilm import Config, main

from litevl.evilm import load_evilm
from litevl.evilm.files import EMBEDDED


def small(folder, **changes):
    sizes = {"steps": 2, "pairs": 4, "masked_pairs": 2, "matching_pairs": 2, "matching_from": 0.5, "test_pairs": 6}
    return Config(output_dir=folder, threads=1, **{**sizes, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    return folder, main(small(folder))


def test_two_steps_leave_a_folder_that_loads(trained):
    folder, metrics = trained
    assert json.loads((folder / "evilm.json").read_text())["metrics"] == metrics
    assert load_evilm(folder, vision_targets=5).pretraining.patches.out_features == 5


def test_attention_over_time_begins_as_that_over_space(trained):
    pictures = torch.randn(2, 1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    model = load_evilm(trained[0])
    for block in model.video_encoder.blocks:
        assert torch.equal(block.time_attention.qkv.weight, block.attention.qkv.weight)
        assert not block.time_attention.proj.weight.any()
    once, often = model.encode_video(pictures).embed, model.encode_video(pictures.expand(2, 6, 3, 48, 48)).embed
    assert torch.allclose(once, often, atol=1e-5), "six times the same frame is that picture"


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(trained, tmp_path):
    main(small(tmp_path / "same"))
    main(small(tmp_path / "other", seed=1))
    folders = (trained[0], tmp_path / "same", tmp_path / "other")
    first, same, other = (load_file(folder / "evilm.safetensors") for folder in folders)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_what_ships_is_what_the_recipe_makes():
    record = json.loads((EMBEDDED / "stills" / "evilm.json").read_text())
    defaults = Config()
    settings = {name: value for name, value in record["config"].items() if name != "threads"}
    assert settings == {name: getattr(defaults, name) for name in settings}
    assert record["metrics"]["itc_pair_accuracy"] > 0.93
    assert record["metrics"]["itm_pair_accuracy"] > 0.90
