"""The adapter contract: what must hold of every configuration, whatever is inserted, in both layouts of a BLIP."""

import copy
import io
from functools import partial

import pytest
import torch
from original_blip import OriginalBlip
from small_blip import make_blip
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from litevl.adapters import (
    FAMILIES,
    Adapter,
    AIMConfig,
    BottleneckConfig,
    FrameAverageConfig,
    LiteVLConfig,
    STAdapterConfig,
    TemporalShiftConfig,
    find_vision_encoder,
    fingerprint,
    load_adapters,
    merge,
    named_adapters,
    plug,
    plugged_state,
    save_adapters,
    unplug,
)
from litevl.blip import enable_gradient_checkpointing

FRAMES = 4
CONFIGS = {
    "default": LiteVLConfig(num_frames=FRAMES),
    "frame cls": LiteVLConfig(num_frames=FRAMES, cls="frame"),
    "no scaling": LiteVLConfig(num_frames=FRAMES, scaling="none", time_embedding="none"),
    "conditional": LiteVLConfig(num_frames=FRAMES, scaling="conditional"),
    "sinusoidal": LiteVLConfig(num_frames=FRAMES, time_embedding="sinusoidal"),
    "upper layers": LiteVLConfig(num_frames=FRAMES, layers=(1, 2)),
    "one layer, frame cls": LiteVLConfig(num_frames=FRAMES, layers=(2,), cls="frame", scaling="conditional"),
    "bottleneck": BottleneckConfig(num_frames=FRAMES),
    "bottleneck, coded time": BottleneckConfig(
        num_frames=FRAMES, width=64, scaling="conditional", time_embedding="sinusoidal"
    ),
    "st-adapter": STAdapterConfig(num_frames=FRAMES),
    "st-adapter, space too": STAdapterConfig(
        num_frames=FRAMES, width=8, kernel=(3, 3, 3), before="both", layers=(1,), cls="clip"
    ),
    "aim": AIMConfig(num_frames=FRAMES),
    "aim, clip cls": AIMConfig(num_frames=FRAMES, width=8, cls="clip", layers=(1, 2), time_embedding="sinusoidal"),
    "shift": TemporalShiftConfig(num_frames=FRAMES),
    "shift, clip cls": TemporalShiftConfig(num_frames=FRAMES, cls="clip", share=0.25, layers=(1,)),
    "none": FrameAverageConfig(num_frames=FRAMES),
    "no layers": LiteVLConfig(num_frames=FRAMES, layers=(), cls="frame"),
}


def learns(config):
    """Whether anything of it is trained."""
    return config.layers != () and config.family != "shift"


contract = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
trained = pytest.mark.parametrize("config", [c for c in CONFIGS.values() if learns(c)])


def test_every_family_is_in_the_contract():
    assert {config.family for config in CONFIGS.values()} == FAMILIES.keys()
    assert all(kind().family == family for family, kind in FAMILIES.items())


@pytest.fixture
def clips():
    return torch.randn(2, FRAMES, 3, 48, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=["transformers", "original"])
def make(request, tokenizer):
    """Makes the same small BLIP from the same seed, in transformers' layout or in that of the original and LAVIS."""

    def in_layout(seed=0):
        stock = make_blip(tokenizer, seed)
        return stock if request.param == "transformers" else OriginalBlip(stock).eval()

    return in_layout


@pytest.fixture
def blip(make):
    return make()


def encoder_of(model):
    return find_vision_encoder(model).module


def encode(model, pixels):
    output = encoder_of(model)(pixels)
    return output if isinstance(output, Tensor) else output.last_hidden_state


def checkpoint_blocks(model):
    if not isinstance(model, OriginalBlip):
        enable_gradient_checkpointing(model)
        return
    for block in model.visual_encoder.blocks:
        for part in (block.attn, block.mlp):  # as fairscale does it for LAVIS: a `forward` on the module itself
            part.forward = partial(checkpoint, type(part).forward.__get__(part), use_reentrant=False)


def shake(model, seed=2):
    """Moves every adapter parameter away from its start, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, adapter in named_adapters(model):
            for parameter in adapter.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


def train(model, clips, steps=3):
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    target = torch.randn(encode(model, clips).shape, generator=torch.Generator().manual_seed(3))
    for _ in range(steps):
        optimizer.zero_grad()
        (encode(model, clips) - target).square().mean().backward()
        optimizer.step()
    return model


@contract
def test_keys_and_values_of_the_backbone_stay(blip, clips, config):
    before = copy.deepcopy(blip.state_dict())
    plug(blip, config, verbose=False)
    if learns(config):
        train(blip, clips)
    after = blip.state_dict()
    assert [key for key in after if key in before] == list(before)
    assert all(torch.equal(before[key], after[key]) for key in before)


@contract
def test_images_are_untouched_bit_for_bit_before_and_after_training(blip, clips, config):
    images = clips[:, 0]
    stock = encode(blip, images)
    plug(blip, config, verbose=False)
    assert torch.equal(encode(blip, images), stock)
    if learns(config):
        train(blip, clips)
    shake(blip)
    assert torch.equal(encode(blip, images), stock)


@pytest.mark.parametrize("config", [c for c in CONFIGS.values() if c.family != "shift"])
def test_fresh_equals_frame_wise_blip_for_one_frame_and_for_identical_frames(blip, clips, config):
    plug(blip, config, verbose=False)
    still = clips[:, :1]
    image = encode(blip, still[:, 0])
    patches = {"clip": lambda rows: rows[:, 1:], "frame": lambda rows: rows[:, 1:].unflatten(1, (-1, 10))[:, :, 1:]}
    for video in (still, still.expand(-1, FRAMES, -1, -1, -1)):
        rows = encode(blip, video)
        assert torch.allclose(rows[:, 0], image[:, 0], atol=1e-5)
        frames = patches[config.cls](rows).reshape(2, -1, 9, 128)
        assert torch.allclose(frames, image[:, None, 1:].expand_as(frames), atol=1e-5)


@pytest.mark.parametrize("config", [c for c in CONFIGS.values() if c.cls == "frame" and c.family != "shift"])
def test_fresh_with_frame_cls_equals_frame_wise_blip_for_any_clip(blip, clips, config):
    plug(blip, config, verbose=False)
    frames = encode(blip, clips.flatten(0, 1)).unflatten(0, (2, FRAMES))
    rows = encode(blip, clips)
    # Not bit for bit: clips take the fused attention.
    assert torch.allclose(rows[:, 1:], frames.flatten(1, 2), atol=1e-5)
    assert torch.allclose(rows[:, 0], frames[:, :, 0].mean(dim=1), atol=1e-6)


def test_fresh_with_clip_cls_differs_from_frame_wise_blip_for_different_frames(blip, clips):
    frames = encode(blip, clips.flatten(0, 1)).unflatten(0, (2, FRAMES))
    plug(blip, LiteVLConfig(num_frames=FRAMES), verbose=False)
    assert not torch.allclose(encode(blip, clips)[:, 0], frames[:, :, 0].mean(dim=1), atol=1e-3)


@trained
def test_only_adapters_move(blip, clips, config):
    plug(blip, config, verbose=False)
    before = {name: value.clone() for name, value in blip.named_parameters()}
    train(blip, clips)
    moved = {name for name, value in blip.named_parameters() if not torch.equal(before[name], value)}
    held = {f"{name}.{key}" for name, adapter in named_adapters(blip) for key, _ in adapter.named_parameters()}
    assert moved == held


@trained
@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_adapter_tensor_gets_a_gradient_within_two_steps(blip, clips, config, checkpointing):
    plug(blip, config, verbose=False)
    if checkpointing:
        checkpoint_blocks(blip)
    blip.train()
    train(blip, clips, steps=1)
    blip.zero_grad()
    encode(blip, clips).square().mean().backward()
    for name, adapter in named_adapters(blip):
        for key, parameter in adapter.named_parameters():
            assert parameter.grad is not None, f"{name}.{key}"
            # A key's bias shifts all its logits alike, so a third of the qkv bias has no gradient; the rest has.
            assert parameter.grad.abs().max() > 0, f"{name}.{key}"


def test_checkpointing_gives_the_same_gradients(blip, clips):
    plug(blip, CONFIGS["conditional"], verbose=False)
    shake(blip)
    blip.train()

    def gradients():
        blip.zero_grad()
        # Two clips of different length in one graph: each recomputation must see its own number of frames.
        (encode(blip, clips).square().mean() + encode(blip, clips[:, :3]).square().mean()).backward()
        return {name: p.grad.clone() for name, p in blip.named_parameters() if p.grad is not None}

    plain = gradients()
    checkpoint_blocks(blip)
    checkpointed = gradients()
    assert plain.keys() == checkpointed.keys()
    assert all(torch.allclose(plain[name], checkpointed[name], atol=1e-6) for name in plain)


@contract
def test_unplug_gives_the_stock_model_back(blip, clips, config):
    blip.text_proj.requires_grad_(False)
    keys, images = list(blip.state_dict()), clips[:, 0]
    flags = {name: p.requires_grad for name, p in blip.named_parameters()}
    stock = encode(blip, images)
    plug(blip, config, verbose=False)
    shake(blip)
    assert unplug(blip) is blip
    assert list(blip.state_dict()) == keys
    assert {name: p.requires_grad for name, p in blip.named_parameters()} == flags
    assert torch.equal(encode(blip, images), stock)
    assert not any(isinstance(module, Adapter) for module in blip.modules())
    for module in (blip, *encoder_of(blip).modules()):
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not {"forward", "forward_features", "save_pretrained", "litevl_plugged"} & set(vars(module))
    plug(blip, config, verbose=False)


@contract
def test_merge_keeps_the_outputs(blip, clips, config):
    plug(blip, config, verbose=False)
    shake(blip)
    before = encode(blip, clips)
    parameters = sum(p.numel() for p in blip.parameters())
    merge(blip)
    assert torch.allclose(encode(blip, clips), before, atol=1e-4)
    if config.family == "litevl" and config.layers != ():
        assert sum(p.numel() for p in blip.parameters()) < parameters
        merge(blip)
        assert torch.allclose(encode(blip, clips), before, atol=1e-4)


def test_a_merged_model_is_not_saved(blip, tmp_path):
    merge(plug(blip, CONFIGS["default"], verbose=False))
    with pytest.raises(ValueError, match="merged"):
        save_adapters(blip, tmp_path)


@contract
def test_save_and_load_is_exact_under_another_seed(blip, clips, config, tmp_path):
    stock = copy.deepcopy(blip)
    shake(plug(blip, config, verbose=False))
    save_adapters(blip, tmp_path, preprocessing={"image_size": 48})
    torch.manual_seed(99)
    loaded = load_adapters(stock, tmp_path, verbose=False)
    assert loaded["preprocessing"] == {"image_size": 48}
    assert torch.equal(encode(stock, clips), encode(blip, clips))


def test_other_number_of_frames_is_interpolated_and_said(blip, clips, caplog):
    plug(blip, CONFIGS["default"], verbose=False)
    shake(blip)
    more = torch.randn(1, 7, 3, 48, 48)
    assert encode(blip, more).shape == (1, 1 + 7 * 9, 128)
    encode(blip, more)
    assert [record.message for record in caplog.records].count(
        "clips of 7 frames: what was learned for 4 frames is interpolated"
    ) == 1
    caplog.clear()
    encode(blip, clips)
    assert not caplog.records


def test_clips_of_different_length_follow_each_other(blip, clips):
    plug(blip, CONFIGS["conditional"], verbose=False)
    shake(blip)
    alone = encode(blip, clips[:, :2])
    encode(blip, clips)
    assert torch.equal(encode(blip, clips[:, :2]), alone)


def test_frames_of_one_clip_do_not_reach_another(blip, clips):
    plug(blip, CONFIGS["default"], verbose=False)
    shake(blip)
    both = encode(blip, clips)
    assert torch.allclose(both[:1], encode(blip, clips[:1]), atol=1e-5)


def test_a_trained_model_sees_the_order_of_frames_and_frame_average_does_not(blip, clips):
    plug(blip, CONFIGS["none"], verbose=False)
    forward, backward = encode(blip, clips)[:, 0], encode(blip, clips.flip(1))[:, 0]
    assert torch.allclose(forward, backward, atol=1e-6)
    unplug(blip)
    plug(blip, CONFIGS["default"], verbose=False)
    shake(blip)
    forward, backward = encode(blip, clips)[:, 0], encode(blip, clips.flip(1))[:, 0]
    assert not torch.allclose(forward, backward, atol=1e-2)


@contract
def test_autocast_bf16_stays_close(blip, clips, config):
    shake(plug(blip, config, verbose=False))
    exact = encode(blip, clips)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = encode(blip, clips)
    assert (low.float() - exact).norm() / exact.norm() < 0.03


@contract
def test_copies_and_pickles_work_alone(blip, clips, config):
    shake(plug(blip, config, verbose=False))
    expected = encode(blip, clips)
    twin = copy.deepcopy(blip)
    assert torch.equal(encode(twin, clips), expected)
    unplug(twin)
    assert torch.equal(encode(blip, clips), expected)
    buffer = io.BytesIO()
    torch.save(blip, buffer)
    buffer.seek(0)
    assert torch.equal(encode(torch.load(buffer, weights_only=False), clips), expected)


def test_the_encoder_alone_can_be_plugged(blip, clips):
    encoder = encoder_of(blip)
    stock = encode(encoder, clips[:, 0])
    plug(encoder, CONFIGS["default"], verbose=False)
    assert encode(encoder, clips).shape == (2, 1 + FRAMES * 9, 128)
    assert torch.equal(encode(encoder, clips[:, 0]), stock)


def test_tuple_outputs_of_transformers_are_packed_too(tokenizer, clips):
    blip = make_blip(tokenizer)
    plug(blip, CONFIGS["default"], verbose=False)
    tokens, pooled = blip.vision_model(clips, return_dict=False)
    whole = blip.vision_model(clips)
    assert torch.equal(tokens, whole.last_hidden_state)
    assert torch.equal(pooled, whole.pooler_output)
    assert pooled.shape == (2, 128)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 4, 1, 48, 48), r"\(2, 4, 1, 48, 48\)"),
        ((2, 0, 3, 48, 48), r"\(2, 0, 3, 48, 48\)"),
        ((2, 4, 3, 32, 32), "48 x 48 pixels, got 32 x 32"),
    ],
)
def test_wrong_shapes_are_named(blip, shape, message):
    plug(blip, CONFIGS["default"], verbose=False)
    with pytest.raises(ValueError, match=message):
        encode(blip, torch.zeros(shape))


def test_misuse_is_named(blip):
    with pytest.raises(ValueError, match="stock one"):
        unplug(blip)
    plug(blip, CONFIGS["default"], verbose=False)
    with pytest.raises(ValueError, match="plugged already"):
        plug(blip, CONFIGS["default"])
    with pytest.raises(ValueError, match="found none in Linear"):
        plug(nn.Linear(3, 3))


def test_a_refused_configuration_leaves_the_model_as_it_was(blip):
    keys = list(blip.state_dict())
    with pytest.raises(ValueError, match="blocks 0 to 2; got 7"):
        plug(blip, LiteVLConfig(layers=(7,)))
    assert plugged_state(blip) is None
    assert list(blip.state_dict()) == keys
    for wrong in ({"num_frames": 0}, {"layers": (1, 1)}, {"layers": (-1,)}):
        with pytest.raises(ValueError, match="expected"):
            LiteVLConfig(**wrong)


@contract
def test_the_fingerprint_is_of_the_backbone_alone(blip, make, config):
    stock = fingerprint(blip)
    shake(plug(blip, config, verbose=False))
    assert fingerprint(blip) == stock
    assert fingerprint(make()) == stock
    assert fingerprint(make(seed=1)) != stock
    with torch.no_grad():
        blip.text_encoder.encoder.layer[1].output.dense.bias[3] += 1e-6
    assert fingerprint(blip) != stock


def test_the_fingerprint_does_not_depend_on_what_wraps_the_blip(blip):
    stock = fingerprint(blip)
    wrapped = nn.ModuleDict({"blip": plug(blip, CONFIGS["default"], verbose=False)})
    assert fingerprint(wrapped) == stock
    blip.logit_scale = nn.Parameter(torch.tensor(1.0))
    assert fingerprint(blip) != stock


def test_plug_says_what_is_trainable(blip, capsys):
    plug(blip, CONFIGS["default"])
    assert capsys.readouterr().out.startswith("trainable 249.")
