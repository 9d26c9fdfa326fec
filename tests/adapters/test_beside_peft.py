"""LoRA and other peft methods together with our adapters, in either order of wrapping, saved and loaded again."""

import pytest
import torch
from blip_classes import FRAMES, call, make, pixels, shake, train
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from transformers import BlipForQuestionAnswering

from litevl.adapters import (
    LiteVLConfig,
    fingerprint,
    freeze_backbone,
    load_adapters,
    named_adapters,
    plug,
    save_adapters,
    unplug,
)

# Full names, of which none is inside our adapters.
METHODS = {
    "lora": lambda: LoraConfig(r=4, target_modules=r".*(self_attn\.qkv|attention\.self\.(query|value))"),
    "ia3": lambda: IA3Config(
        target_modules=r".*(self_attn\.qkv|attention\.self\.query|encoder\.layers\.\d+\.mlp\.fc2)",
        feedforward_modules=r".*mlp\.fc2",
    ),
}
every_method = pytest.mark.parametrize("method", METHODS)
every_order = pytest.mark.parametrize("order", ["plug first", "peft first"])
CONFIG = LiteVLConfig(num_frames=FRAMES)
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*is_gradient_checkpointing.*:FutureWarning",  # peft 0.21 on transformers 5.23
    "ignore:Could not find a config file:UserWarning",  # peft looks for the base model's name on the hub
)


def both(method, order, seed=0):
    """A BLIP with our adapters and peft's, all of them trainable."""
    blip = make(BlipForQuestionAnswering)
    torch.manual_seed(seed)
    if order == "plug first":
        wrapped = get_peft_model(plug(blip, CONFIG, verbose=False), METHODS[method]())
        freeze_backbone(wrapped)  # peft has frozen ours
        return wrapped
    return plug(get_peft_model(blip, METHODS[method]()), CONFIG, verbose=False)


def groups(model):
    """Names of parameters: ours, peft's, the stock model's."""
    ours = {f"{name}.{key}" for name, adapter in named_adapters(model) for key, _ in adapter.named_parameters()}
    names = {name for name, _ in model.named_parameters()}
    peft = {name for name in names - ours if "lora_" in name or "ia3_" in name}
    return ours, peft, names - ours - peft


@every_method
@every_order
def test_both_train_and_the_stock_weights_do_not(method, order):
    model = both(method, order)
    ours, peft, stock = groups(model)
    assert ours
    assert peft
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable == ours | peft
    before = {name: p.clone() for name, p in model.named_parameters()}
    train(model.base_model.model, steps=3)
    moved = {name for name, p in model.named_parameters() if not torch.equal(before[name], p)}
    assert not moved & stock
    assert moved & peft
    assert ours <= moved


@every_method
@every_order
@pytest.mark.parametrize("loading", ["plug first", "peft first"])
def test_both_are_saved_and_loaded_in_either_order(method, order, loading, tmp_path):
    model = both(method, order)
    train(model.base_model.model, steps=3)
    expected = call(model.base_model.model, pixels())
    save_adapters(model, tmp_path / "litevl")
    model.save_pretrained(str(tmp_path / "peft"))
    blip = make(BlipForQuestionAnswering)
    if loading == "plug first":
        load_adapters(blip, tmp_path / "litevl", verbose=False)
        again = PeftModel.from_pretrained(blip, str(tmp_path / "peft"))
    else:
        again = PeftModel.from_pretrained(blip, str(tmp_path / "peft"))
        load_adapters(again, tmp_path / "litevl", verbose=False)
    assert torch.equal(call(again.eval().base_model.model, pixels()), expected)


@every_order
def test_the_fingerprint_and_unplug_are_blind_to_peft(order):
    stock = make(BlipForQuestionAnswering)
    model = both("lora", order)
    assert fingerprint(model) == fingerprint(stock)
    shake(model)
    unplug(model)
    assert not any(True for _ in named_adapters(model))
    blip = model.merge_and_unload() if order == "peft first" else model.unload()
    assert torch.equal(call(blip, pixels()[:, 0]), call(stock, pixels()[:, 0]))


def test_lora_inside_an_adapter_is_refused_where_it_is_saved(tmp_path):
    blip = plug(make(BlipForQuestionAnswering), CONFIG, verbose=False)
    model = get_peft_model(blip, LoraConfig(r=2, target_modules=["qkv"]))
    with pytest.raises(ValueError, match="exclude_modules"):
        save_adapters(model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_the_refusal_advises_works(tmp_path):
    blip = plug(make(BlipForQuestionAnswering), CONFIG, verbose=False)
    model = get_peft_model(blip, LoraConfig(r=2, target_modules=["qkv"], exclude_modules=r".*\.litevl\..*"))
    save_adapters(model, tmp_path)
    assert groups(model)[1] == {name for name, p in model.named_parameters() if p.requires_grad}
