"""torch.compile of a plugged encoder: one graph, equal outputs. Run apart: shape checks are not for compiled code."""

import copy
import shutil

import pytest
import torch
from forked_runs import call
from small_blip import make_blip

from litevl.adapters import LiteVLConfig, compile_for_inference, merge, named_adapters, plug, unplug
from litevl.blip import load_tokenizer


def compiled_equals(vocab_file, scaling):
    blip = make_blip(load_tokenizer(vocab_file), layers=1)
    plug(blip, LiteVLConfig(num_frames=4, scaling=scaling), verbose=False)
    for _, adapter in named_adapters(blip):
        for parameter in adapter.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    compiled = torch.compile(blip.vision_model, backend="aot_eager", fullgraph=True)
    for shape in [(2, 4, 3, 48, 48), (2, 3, 3, 48, 48), (2, 3, 48, 48)]:
        pixels = torch.randn(shape)
        difference = compiled(pixels).last_hidden_state - blip.vision_model(pixels).last_hidden_state
        assert difference.abs().max() < 1e-5
    compiled(torch.randn(2, 4, 3, 48, 48)).last_hidden_state.square().mean().backward()
    assert all(parameter.grad is not None for parameter in blip.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("scaling", ["learned", "conditional"])
def test_compiles_to_one_graph_with_equal_outputs(vocab_file, tmp_path, scaling):
    call(compiled_equals, vocab_file, scaling, output=tmp_path / "said")


def compiled_for_a_cpu(vocab_file):
    from torch.profiler import profile

    blip = make_blip(load_tokenizer(vocab_file), layers=1).eval()
    plug(blip, LiteVLConfig(num_frames=4), verbose=False)
    for _, adapter in named_adapters(blip):
        for parameter in adapter.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    merge(blip)
    pixels = torch.randn(2, 4, 3, 48, 48)
    with torch.inference_mode():
        expected = blip.vision_model(pixels).last_hidden_state
        assert compile_for_inference(blip) is blip
        assert (blip.vision_model(pixels).last_hidden_state - expected).abs().max() < 1e-5
        with profile() as kernels:
            blip.vision_model(pixels)
        calls = {event.key: event.count for event in kernels.key_averages()}
        assert "aten::addmm" not in calls, calls
        assert calls["mkldnn::_linear_pointwise"] == 6, calls
        # The spatial one; the temporal one, of few frames, is sums within a loop.
        assert calls["aten::_scaled_dot_product_flash_attention_for_cpu"] == 1, calls
        for shape in [(2, 3, 3, 48, 48), (1, 9, 3, 48, 48), (2, 3, 48, 48)]:
            other = torch.randn(shape)
            assert (blip.vision_model(other)[0] - copy.deepcopy(blip).vision_model(other)[0]).abs().max() < 1e-5
    assert blip.vision_model(pixels.requires_grad_()).last_hidden_state.requires_grad
    assert not torch._dynamo.utils.counters["graph_break"]


def changed_after_compiling(vocab_file):
    blip = make_blip(load_tokenizer(vocab_file), layers=1).eval()
    image, pixels = torch.randn(1, 3, 48, 48), torch.randn(2, 4, 3, 48, 48)
    with torch.inference_mode():
        stock = blip.vision_model(image).last_hidden_state
        compile_for_inference(merge(plug(blip, LiteVLConfig(num_frames=4), verbose=False)))
        before = blip.vision_model(pixels).last_hidden_state
    # A weight that oneDNN has a copy of.
    weight = blip.vision_model.encoder.layers[0].mlp.fc1.weight
    kept, again = weight.detach().clone(), copy.deepcopy(blip)
    with torch.no_grad():
        weight.mul_(1.5)
        with pytest.raises(RuntimeError, match="Call compile_for_inference again"):
            blip.vision_model(pixels)
        again.vision_model.encoder.layers[0].mlp.fc1.weight.mul_(1.5)
        expected = again.vision_model(pixels).last_hidden_state
        assert (expected - before).abs().max() > 1e-2
        compile_for_inference(blip)
        assert (blip.vision_model(pixels).last_hidden_state - expected).abs().max() < 1e-5
        weight.data = weight.data.clone()
        with pytest.raises(RuntimeError, match="Call compile_for_inference again"):
            blip.vision_model(pixels)
        weight.copy_(kept)
        unplug(blip)
        assert torch.equal(blip.vision_model(image).last_hidden_state, stock)


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")
def test_on_a_cpu_weights_are_constants_laid_out_for_onednn(vocab_file, tmp_path):
    call(compiled_for_a_cpu, vocab_file, output=tmp_path / "said")


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_changed_weights_are_noticed_and_unplugging_gives_the_stock_model(vocab_file, tmp_path):
    call(changed_after_compiling, vocab_file, output=tmp_path / "said")
