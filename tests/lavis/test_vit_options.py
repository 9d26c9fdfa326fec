"""The options of LAVIS's ViT: fairscale's gradient checkpointing, stochastic depth, attention kept from one block."""

import pytest

pytest.importorskip("lavis.models", reason="needs LAVIS; run `bash tests/lavis/run.sh`")

import torch
from known_blip import DEPTH, FRAMES
from lavis.models import BlipITM, BlipRetrieval, BlipVQA
from small_lavis import loss_of, make_lavis, pixels

from litevl.adapters import FAMILIES, LiteVLConfig, named_adapters, plug

TRAINED = [family for family in FAMILIES if family not in ("shift", "none")]


def shake(model):
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _, adapter in named_adapters(model):
            for parameter in adapter.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


def gradients(kind, family, **vit):
    model = plug(make_lavis(kind, **vit), FAMILIES[family](num_frames=FRAMES), verbose=False)
    shake(model)
    model.train()
    torch.manual_seed(3)
    # Two clips of different length in one graph: each recomputation must see its own number of frames.
    (loss_of(model, pixels()) + model.visual_encoder(pixels(3)).square().mean()).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("kind", [BlipITM, BlipVQA, BlipRetrieval])
@pytest.mark.parametrize("family", TRAINED)
@pytest.mark.parametrize("layers", [1, DEPTH])
def test_fairscale_checkpointing_gives_the_same_gradients(kind, family, layers):
    plain = gradients(kind, family)
    checkpointed = gradients(kind, family, use_grad_checkpointing=True, ckpt_layer=layers)
    assert plain
    assert plain.keys() == checkpointed.keys()
    for name in plain:
        assert torch.allclose(plain[name], checkpointed[name], atol=1e-6, rtol=1e-4), name


def test_stochastic_depth_drops_whole_clips():
    """As `vit_drop_path_rate` of LAVIS's VQA and large models: one CLS per clip stays the same in every frame."""
    model = make_lavis(BlipITM, drop_path_rate=0.5)
    shake(plug(model, LiteVLConfig(num_frames=FRAMES), verbose=False))
    model.train()
    seen = []
    model.visual_encoder.norm.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    for _ in range(4):
        model.visual_encoder(pixels())
    for tokens in seen:
        cls = tokens[:, 0].unflatten(0, (2, FRAMES))
        assert torch.equal(cls, cls[:, :1].expand_as(cls))


def test_attention_and_its_gradient_are_kept_from_the_block_that_is_asked_for():
    model = plug(make_lavis(BlipITM), LiteVLConfig(num_frames=FRAMES), verbose=False)
    model.visual_encoder.forward_features(pixels(), register_blk=1).square().sum().backward()
    kept = [block.attn.get_attention_map() is not None for block in model.visual_encoder.blocks]
    assert kept == [False, True, False]
    attention = model.visual_encoder.blocks[1].attn
    assert attention.get_attn_gradients().shape == attention.get_attention_map().shape == (2 * FRAMES, 2, 5, 5)
