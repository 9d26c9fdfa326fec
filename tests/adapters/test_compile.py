"""torch.compile of a plugged encoder: one graph, equal outputs. Run apart: shape checks are not for compiled code."""

import pytest
import torch
from forked_runs import call
from small_blip import make_blip

from litevl.adapters import LiteVLConfig, named_adapters, plug
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
