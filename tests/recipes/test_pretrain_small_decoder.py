import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("torch", minversion="2.9", reason="torch.optim.Muon")

from pretrain_small_decoder import Config, main

from litevl.blip import load_blip
from litevl.blip.source import EMBEDDED_FOLDER


@pytest.fixture(scope="module", params=["vqa", "captioning"])
def trained(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    config = Config(task=request.param, output_dir=folder, steps=2, pairs=9, test_pairs=20, threads=1)
    return config, main(config)


def test_two_steps_leave_a_folder_that_loads_as_the_tasks_backbone(trained):
    config, metrics = trained
    blip = load_blip(config.output_dir)
    assert blip.load_report.task == config.task
    assert blip.load_report.missing == blip.load_report.unexpected == ()
    saved = load_file(config.output_dir / "model.safetensors")
    assert all(tensor.dtype == torch.float16 for tensor in saved.values())
    assert not any("litevl" in name for name in saved)
    record = json.loads((config.output_dir / "training.json").read_text())
    assert record["metrics"] == metrics
    assert record["config"]["task"] == config.task


def test_the_same_seed_gives_the_same_weights(trained, tmp_path):
    config, _ = trained
    again = Config(task=config.task, output_dir=tmp_path, steps=2, pairs=9, test_pairs=20, threads=1)
    main(again)
    first, second = (load_file(each.output_dir / "model.safetensors") for each in (config, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("task", "measure", "least"), [("vqa", "accuracy", 85), ("captioning", "pair_accuracy", 95)])
def test_the_embedded_models_are_what_the_recipe_makes(task, measure, least):
    folder = Path(EMBEDDED_FOLDER) / task
    record = json.loads((folder / "training.json").read_text())
    defaults = Config(task=task, steps=2500 if task == "captioning" else 2000, threads=1)
    assert record["config"] == {name: getattr(defaults, name) for name in record["config"]}
    assert (folder / "model.safetensors").stat().st_size < 6_000_000
    assert record["metrics"][measure] > least
    assert load_blip("embedded", task=task).load_report.task == task
