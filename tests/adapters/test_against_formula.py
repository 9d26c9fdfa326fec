"""The plugged encoder against the method written out slowly, one patch position and one frame at a time."""

import math

import pytest
import torch
import torch.nn.functional as F

from litevl.adapters import LiteVLConfig, PoolingConfig, named_adapters, plug, pool_by_text, text_weights

FRAMES, PATCHES, DIM, HEADS = 3, 9, 128, 2


@pytest.fixture
def clips():
    return torch.randn(2, FRAMES, 3, 48, 48, generator=torch.Generator().manual_seed(1))


def attention(qkv, projection, sequence):
    """Multi-head self-attention of one sequence (length, dim), head by head."""
    q, k, v = qkv(sequence).view(-1, 3, HEADS, DIM // HEADS).unbind(1)
    heads = [torch.softmax(q[:, h] @ k[:, h].T / (DIM // HEADS) ** 0.5, dim=-1) @ v[:, h] for h in range(HEADS)]
    return projection(torch.cat(heads, dim=-1))


def slow_block(layer, cls, patches, config, adapted):
    """One block on one clip: cls (dim) or (time, dim), patches (time, positions, dim)."""
    parts = layer.litevl["default"]
    if adapted and "time_embedding" in parts:
        patches = patches + parts["time_embedding"].weight[:, None]
    if adapted:
        temporal = parts["temporal_attention"]
        code = torch.zeros(FRAMES, DIM)
        if config.time_embedding == "sinusoidal":
            for frame in range(FRAMES):
                for k in range(DIM // 2):
                    angle = (frame + 0.5) / FRAMES * math.pi / 2 * 2 ** (k % 6)
                    code[frame, k], code[frame, DIM // 2 + k] = math.sin(angle), math.cos(angle)
            code = code * temporal.norm.weight.abs().mean()
        hidden = torch.stack(
            [
                attention(temporal.qkv, temporal.projection, temporal.norm(patches[:, position]) + code)
                for position in range(PATCHES)
            ],
            dim=1,
        )
        if config.scaling == "learned":
            scale = 1 + torch.tanh(temporal.scaling.gamma)
        elif config.scaling == "conditional":
            reduced = torch.relu(temporal.scaling.reduce(hidden.mean(dim=1)))
            scale = 1 + torch.tanh(temporal.scaling.expand(reduced)[:, 0])
        else:
            scale = torch.ones(FRAMES)
        patches = patches + temporal.fc(scale[:, None, None] * hidden)
    outputs = []
    for frame in range(FRAMES):
        own = cls if cls.ndim == 1 else cls[frame]
        tokens = torch.cat([own[None], patches[frame]])
        outputs.append(attention(layer.self_attn.qkv, layer.self_attn.projection, layer.layer_norm1(tokens)))
    residual = torch.stack(outputs)
    cls = cls + (residual[:, 0].mean(dim=0) if cls.ndim == 1 else residual[:, 0])
    patches = patches + residual[:, 1:]

    def feed_forward(x):
        return x + layer.mlp(layer.layer_norm2(x))

    return feed_forward(cls), feed_forward(patches)


def slow_encoder(encoder, clip, config):
    tokens = encoder.embeddings(clip)
    cls = tokens[0, 0] if config.cls == "clip" else tokens[:, 0]
    patches = tokens[:, 1:]
    for number, layer in enumerate(encoder.encoder.layers):
        adapted = number in config.layer_numbers(3)
        cls, patches = slow_block(layer, cls, patches, config, adapted)
    return encoder.post_layernorm(cls), encoder.post_layernorm(patches)


@pytest.mark.parametrize("cls", ["clip", "frame"])
@pytest.mark.parametrize("scaling", ["none", "learned", "conditional"])
@pytest.mark.parametrize("time_embedding", ["learned", "sinusoidal"])
@torch.no_grad()
def test_the_encoder_is_the_formula(blip, clips, cls, scaling, time_embedding):
    config = LiteVLConfig(num_frames=FRAMES, cls=cls, scaling=scaling, time_embedding=time_embedding)
    encoder = plug(blip, config, verbose=False).vision_model
    generator = torch.Generator().manual_seed(4)
    for _, adapter in named_adapters(blip):
        for parameter in adapter.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    rows = encoder(clips).last_hidden_state
    for number, clip in enumerate(clips):
        expected_cls, expected_patches = slow_encoder(encoder, clip, config)
        if cls == "clip":
            expected = torch.cat([expected_cls[None], expected_patches.flatten(0, 1)])
        else:
            frames = torch.cat([expected_cls[:, None], expected_patches], dim=1)
            expected = torch.cat([expected_cls.mean(dim=0, keepdim=True), frames.flatten(0, 1)])
        assert torch.allclose(rows[number], expected, atol=2e-5)


def test_adapters_above_block_0_average_the_cls_once_they_start(blip, clips):
    encoder = plug(blip, LiteVLConfig(num_frames=FRAMES, layers=(1, 2)), verbose=False).vision_model
    tokens = encoder.embeddings(clips[0])
    first = encoder.encoder.layers[0](tokens)
    expected = encoder.encoder.layers[1](
        torch.cat([first[:, :1].mean(dim=0, keepdim=True).expand(FRAMES, -1, -1), first[:, 1:]], dim=1)
    )
    seen = {}
    handle = encoder.encoder.layers[2].register_forward_pre_hook(lambda module, args: seen.update(tokens=args[0]))
    encoder(clips[:1])
    handle.remove()
    assert torch.allclose(seen["tokens"][:, 1:], expected[:, 1:], atol=1e-5)
    assert torch.allclose(seen["tokens"][:, 0], seen["tokens"][:1, 0].expand(FRAMES, -1))
    assert not torch.allclose(expected[0, 0], expected[1, 0], atol=1e-5)


def test_pooling_is_the_formula():
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(2, FRAMES, PATCHES, 8, generator=generator)
    text = torch.randn(2, 4, generator=generator)
    project = torch.nn.Linear(8, 4)
    pooled = pool_by_text(patches, text, project, PoolingConfig("text", tau=0.3))
    for pair in range(2):
        frames, positions = patches[pair].mean(dim=1), patches[pair].mean(dim=0)
        for rows, found in ((frames, pooled[pair, :FRAMES]), (positions, pooled[pair, FRAMES:])):
            cosine = F.cosine_similarity(project(rows), text[pair][None])
            weights = torch.softmax(cosine / 0.3, dim=0)
            assert torch.allclose(found, len(rows) * weights[:, None] * rows, atol=1e-5)


def test_uniform_weights_give_the_plain_means_back():
    patches, text = torch.randn(2, FRAMES, PATCHES, 8), torch.randn(2, 8)
    mean = pool_by_text(patches, text, None, PoolingConfig("mean"))
    almost = pool_by_text(patches, text, None, PoolingConfig("text", tau=1e6))
    assert torch.allclose(mean, almost, atol=1e-4)
    assert torch.allclose(mean[:, :FRAMES], patches.mean(dim=2))
    assert pool_by_text(patches, text, None, PoolingConfig("none")).shape == (2, 0, 8)


def test_small_tau_singles_out_the_most_similar_row():
    rows = torch.eye(4)[None]
    weights = text_weights(rows, torch.tensor([[0.1, 0.9, 0.2, 0.0]]), tau=0.01)
    assert torch.allclose(weights, torch.tensor([[0.0, 4.0, 0.0, 0.0]]), atol=1e-4)
