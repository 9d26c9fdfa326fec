"""torch.compile of a plugged encoder: one graph, equal outputs. Run apart: shape checks are not for compiled code."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from small_blip import make_blip
from litevl.adapters import LiteVLConfig, plug, named_adapters
from litevl.blip import load_tokenizer

blip = make_blip(load_tokenizer(sys.argv[2]), layers=2)
plug(blip, LiteVLConfig(num_frames=4, scaling=sys.argv[3]), verbose=False)
for _, adapter in named_adapters(blip):
    for p in adapter.parameters():
        torch.nn.init.normal_(p, std=0.05)
compiled = torch.compile(blip.vision_model, backend="aot_eager", fullgraph=True)
for shape in [(2, 4, 3, 48, 48), (2, 3, 3, 48, 48), (2, 3, 48, 48)]:
    pixels = torch.randn(shape)
    difference = (compiled(pixels).last_hidden_state - blip.vision_model(pixels).last_hidden_state).abs().max()
    assert difference < 1e-5, difference
compiled(torch.randn(2, 4, 3, 48, 48)).last_hidden_state.square().mean().backward()
assert all(p.grad is not None for p in blip.parameters() if p.requires_grad)
print("equal")
"""


@pytest.mark.parametrize("scaling", ["learned", "conditional"])
def test_compiles_to_one_graph_with_equal_outputs(vocab_file, scaling):
    support = Path(__file__).resolve().parents[1] / "support"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(support), str(vocab_file), scaling],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "equal", done.stderr[-3000:]
