"""What LAVIS's own `load_model` returns: ViT-B/16 from a checkpoint file, through its registry and its yaml configs.

The path of a published model in everything but its size outside the ViT and where the files come from.
"""

import json

import pytest

pytest.importorskip("lavis.models", reason="needs LAVIS; run `bash tests/lavis/run.sh`")

import torch
from lavis.common.registry import registry
from lavis.models import load_model
from lavis.models.vit import VisionTransformerEncoder
from small_lavis import CLASSES, TEXT, loss_of, results, same

from litevl.adapters import LiteVLConfig, load_adapters, named_adapters, plug, save_adapters, unplug

NAMES = ["blip_retrieval", "blip_image_text_matching", "blip_vqa", "blip_caption", "blip_feature_extractor"]
FRAMES = 2


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A ViT as BLIP's training code saves it, under `model`. What the file does not hold keeps its random start."""
    torch.manual_seed(0)
    vit = VisionTransformerEncoder.from_config({"vit_type": "base", "image_size": 32})
    path = tmp_path_factory.mktemp("checkpoint") / "model_base.pth"
    torch.save({"model": {f"visual_encoder.{name}": value for name, value in vit.state_dict().items()}}, path)
    return path


@pytest.fixture
def load(checkpoint, tmp_path, monkeypatch):
    text = tmp_path / "med_config.json"
    sizes = {**TEXT, "hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 1, "encoder_width": 768}
    options = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "pad_token_id": 0}
    options |= {"add_type_embeddings": False, "add_cross_attention": True}
    text.write_text(json.dumps(sizes | options))
    config = tmp_path / "local.yaml"
    config.write_text(
        f"""
model:
  load_finetuned: True
  finetuned: {checkpoint}
  pretrained: {checkpoint}
  vit_type: base
  vit_grad_ckpt: True
  vit_ckpt_layer: 4
  image_size: 32
  med_config_path: {text}
  embed_dim: 16
  queue_size: 4
  prompt: "a "
"""
    )

    def from_lavis(name):
        monkeypatch.setitem(registry.get_model_class(name).PRETRAINED_MODEL_CONFIG_DICT, "local", str(config))
        torch.manual_seed(1)
        return load_model(name, "local", is_eval=True)

    return from_lavis


def test_these_are_the_classes():
    assert [registry.get_model_class(name) for name in NAMES] == CLASSES


@pytest.mark.parametrize("name", NAMES)
def test_what_load_model_returns_is_plugged_trained_saved_and_given_back(name, load, checkpoint, tmp_path):
    model = load(name)
    weights = torch.load(checkpoint)["model"]
    assert torch.equal(
        model.visual_encoder.blocks[11].mlp.fc2.weight, weights["visual_encoder.blocks.11.mlp.fc2.weight"]
    )
    clips = torch.randn(2, FRAMES, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    images, keys = results(model, clips[:, 0]), list(model.state_dict())

    plug(model, LiteVLConfig(num_frames=FRAMES, layers=(10, 11)), verbose=False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-3)
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(model, clips).backward()
        optimizer.step()
    assert all(parameter.grad is not None for parameter in trained)
    model.eval()
    assert len(list(named_adapters(model.visual_encoder))) == 6
    assert same(results(model, clips[:, 0]), images)
    video = results(model, clips)
    assert video[0].shape == (2, 1 + FRAMES * 4, 768)

    save_adapters(model, tmp_path / "adapter")
    unplug(model)
    assert list(model.state_dict()) == keys
    assert same(results(model, clips[:, 0]), images)
    load_adapters(model, tmp_path / "adapter", verbose=False)
    assert same(results(model, clips), video)
