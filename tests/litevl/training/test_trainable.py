"""What is trained by choice, and LoRA beside the adapters through peft."""

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from small_blip import make_blip

from litevl.adapters import LiteVLConfig, fingerprint, named_adapters, plug
from litevl.training import LoraSettings, load_lora, save_lora, select_trainable

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # peft 0.21 on 5.23


@pytest.fixture
def plugged(blip):
    return plug(blip, LiteVLConfig(num_frames=2), verbose=False)


def trainable(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def adapters(model):
    return {f"{name}.{key}" for name, module in named_adapters(model) for key, _ in module.named_parameters()}


def test_adapters_alone(plugged):
    select_trainable(plugged, "adapters", LoraSettings())
    assert trainable(plugged) == adapters(plugged)


def test_everything(plugged):
    select_trainable(plugged, "all", LoraSettings())
    assert trainable(plugged) == {name for name, _ in plugged.named_parameters()}


def test_lora_beside_adapters(plugged):
    stock = fingerprint(plugged)
    images = torch.randn(2, 3, 48, 48)
    before = plugged.vision_model(images).last_hidden_state
    select_trainable(plugged, "adapters+lora", LoraSettings(r=4))
    added = trainable(plugged) - adapters(plugged)
    # Vision: 3 blocks of qkv; text: 2 layers, self- and cross-attention, query and value; A and B each.
    assert len(added) == 2 * (3 + 2 * 2 * 2)
    assert all(".lora_A." in name or ".lora_B." in name for name in added)
    assert adapters(plugged) < trainable(plugged)
    assert torch.equal(plugged.vision_model(images).last_hidden_state, before)
    assert fingerprint(plugged) == stock


def test_lora_is_saved_as_peft_saves_it(plugged, tokenizer, tmp_path):
    settings = LoraSettings(r=4)
    select_trainable(plugged, "adapters+lora", settings)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name in trainable(plugged):
            if "lora_" in name:
                parameter = plugged.get_parameter(name)
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    save_lora(plugged, settings, tmp_path)
    images = torch.randn(2, 3, 48, 48)
    expected = plugged.vision_model(images).last_hidden_state
    assert not torch.allclose(expected, make_blip(tokenizer).vision_model(images).last_hidden_state, atol=1e-3)
    ours = make_blip(tokenizer)
    load_lora(ours, settings, tmp_path)
    assert torch.equal(ours.vision_model(images).last_hidden_state, expected)
    theirs = PeftModel.from_pretrained(make_blip(tokenizer), str(tmp_path)).eval()
    assert torch.equal(theirs.base_model.model.vision_model(images).last_hidden_state, expected)


def test_a_lora_of_other_layers_is_refused(plugged, tokenizer, tmp_path):
    select_trainable(plugged, "adapters+lora", LoraSettings(r=4))
    save_lora(plugged, LoraSettings(r=4), tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="does not fit"):
        load_lora(make_blip(tokenizer), LoraSettings(r=4), tmp_path)


def test_targets_that_fit_nothing_are_named(plugged):
    with pytest.raises(ValueError, match=r"lora\.targets"):
        select_trainable(plugged, "adapters+lora", LoraSettings(targets="nothing"))
