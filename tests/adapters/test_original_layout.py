"""The layout of the original BLIP and LAVIS gives what transformers' gives: outputs, fingerprints, files.

The contract of the adapters runs in both layouts in test_contract.py; LAVIS's real classes are tested in tests/lavis.
"""

import pytest
import torch
from known_blip import CONFIG, FOLDER, assert_known, expected_rows, fill, make_known, rows_of
from original_blip import OriginalBlip
from safetensors.torch import load_file
from small_blip import make_blip
from torch import nn

from litevl.adapters import (
    FAMILIES,
    LiteVLConfig,
    fingerprint,
    load_adapters,
    named_adapters,
    plug,
    plugged_state,
    save_adapters,
    unplug,
)
from litevl.blip import load_blip

FRAMES = 4
every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture
def clips():
    return torch.randn(2, FRAMES, 3, 48, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def stock(tokenizer):
    return make_blip(tokenizer)


@pytest.fixture
def retrieval(stock):
    """With momentum copies, as the original trains retrieval."""
    return OriginalBlip(stock, momentum=True).eval()


def shake(model):
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _, adapter in named_adapters(model):
            for parameter in adapter.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


def adapters_of(encoder):
    return {name: adapter.state_dict() for name, adapter in named_adapters(encoder)}


def assert_same_adapters(one, other):
    one, other = adapters_of(one), adapters_of(other)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name][key], other[name][key]) for name in one for key in one[name])


def test_stock_outputs_are_those_of_transformers(stock, clips):
    images = clips[:, 0]
    ours = OriginalBlip(stock).visual_encoder(images)
    assert torch.allclose(ours, stock.vision_model(images).last_hidden_state, atol=1e-5)


@every_family
def test_an_adapter_goes_from_one_layout_to_the_other_and_back(stock, clips, family, tmp_path):
    original = OriginalBlip(stock).eval()
    plug(stock, FAMILIES[family](num_frames=FRAMES), verbose=False)
    shake(stock)
    save_adapters(stock, tmp_path / "transformers")
    load_adapters(original, tmp_path / "transformers", verbose=False)
    rows = original.visual_encoder(clips)
    assert torch.allclose(rows, stock.vision_model(clips).last_hidden_state, atol=1e-5)
    assert torch.equal(original.visual_encoder.forward_features(clips), rows)

    save_adapters(original, tmp_path / "original")
    unplug(stock)
    load_adapters(stock, tmp_path / "original", verbose=False)
    assert torch.allclose(stock.vision_model(clips).last_hidden_state, rows, atol=1e-5)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "original" / name).read_bytes() == (tmp_path / "transformers" / name).read_bytes()


@pytest.mark.parametrize("part", ["whole", "vision encoder"])
def test_fingerprints_are_those_of_transformers(stock, retrieval, part):
    wanted = fingerprint(stock, part)
    assert fingerprint(OriginalBlip(stock), part) == wanted
    assert fingerprint(retrieval, part) == wanted, "momentum copies and the temperature take no part"
    assert fingerprint(plug(retrieval, verbose=False), part) == wanted
    assert fingerprint(retrieval.visual_encoder) == fingerprint(stock.vision_model)
    with torch.no_grad():
        retrieval.visual_encoder.blocks[1].attn.proj.bias[3] += 1e-6
    assert fingerprint(retrieval, part) != wanted


@pytest.mark.parametrize("layout", ["transformers", "original"])
def test_the_known_adapter_is_read_and_written_alike(layout, tmp_path):
    """The same files and rows that LAVIS's own class is held against in tests/lavis."""
    blip = make_known()
    if layout == "original":
        blip = OriginalBlip(blip).eval()
    load_adapters(blip, FOLDER, verbose=False)
    assert torch.allclose(rows_of(blip), expected_rows(), atol=1e-5)
    unplug(blip)
    fill(plug(blip, CONFIG, verbose=False))
    save_adapters(blip, tmp_path)
    assert_known(tmp_path)


def test_an_adapter_of_the_object_fits_what_load_blip_makes_of_its_checkpoint(retrieval, vocab_file, clips, tmp_path):
    torch.save({"model": retrieval.state_dict()}, tmp_path / "checkpoint.pth")
    shake(plug(retrieval, LiteVLConfig(num_frames=FRAMES), verbose=False))
    save_adapters(retrieval, tmp_path / "adapter")
    loaded = load_blip(tmp_path / "checkpoint.pth", vocab=vocab_file)
    assert fingerprint(loaded) == fingerprint(retrieval)
    load_adapters(loaded, tmp_path / "adapter", verbose=False)
    assert torch.allclose(loaded.vision_model(clips).last_hidden_state, retrieval.visual_encoder(clips), atol=1e-5)


class TestMomentumCopy:
    @every_family
    def test_it_starts_with_the_same_adapter_and_follows(self, retrieval, clips, family):
        plug(retrieval, FAMILIES[family](num_frames=FRAMES), verbose=False)
        assert_same_adapters(retrieval.visual_encoder, retrieval.visual_encoder_m)
        assert torch.equal(retrieval.visual_encoder(clips), retrieval.visual_encoder_m(clips))
        shake(retrieval.visual_encoder)
        for _ in range(200):
            retrieval.momentum_update()
        rows, slow = retrieval.visual_encoder(clips), retrieval.visual_encoder_m(clips)
        assert torch.allclose(rows, slow, atol=1e-4)

    def test_it_is_not_trained_saved_or_counted_as_backbone(self, retrieval, tmp_path):
        plug(retrieval, LiteVLConfig(num_frames=FRAMES), verbose=False)
        trainable = {name for name, parameter in retrieval.named_parameters() if parameter.requires_grad}
        assert {name.partition(".")[0] for name in trainable} == {"visual_encoder"}
        assert trainable == {
            f"visual_encoder.{name}.{key}"
            for name, adapter in named_adapters(retrieval.visual_encoder)
            for key, _ in adapter.named_parameters()
        }
        shake(retrieval.visual_encoder)
        save_adapters(retrieval, tmp_path)
        assert not [key for key in load_file(tmp_path / "adapter_model.safetensors") if "_m." in key]

    def test_loading_starts_it_anew_and_leaves_its_other_adapters(self, retrieval, tmp_path):
        plug(retrieval, LiteVLConfig(num_frames=FRAMES), verbose=False)
        shake(retrieval.visual_encoder)
        save_adapters(retrieval, tmp_path)
        before = {
            name: {key: value.clone() for key, value in held.items()}
            for name, held in adapters_of(retrieval.visual_encoder_m).items()
        }
        load_adapters(retrieval, tmp_path, "second", verbose=False)
        after = adapters_of(retrieval.visual_encoder_m)
        assert all(torch.equal(value, after[name][key]) for name, held in before.items() for key, value in held.items())
        unplug(retrieval, "default")
        assert_same_adapters(retrieval.visual_encoder, retrieval.visual_encoder_m)

    def test_unplug_gives_both_back(self, retrieval, clips):
        keys, flags = list(retrieval.state_dict()), {name: p.requires_grad for name, p in retrieval.named_parameters()}
        encoders = (retrieval.visual_encoder, retrieval.visual_encoder_m)
        images = [encoder(clips[:, 0]) for encoder in encoders]
        shake(plug(retrieval, LiteVLConfig(num_frames=FRAMES), verbose=False))
        unplug(retrieval)
        assert list(retrieval.state_dict()) == keys
        assert {name: p.requires_grad for name, p in retrieval.named_parameters()} == flags
        assert all(torch.equal(encoder(clips[:, 0]), image) for encoder, image in zip(encoders, images, strict=True))
        for module in retrieval.modules():
            assert not {"forward", "forward_features", "litevl_plugged"} & set(vars(module))

    def test_another_number_of_frames_is_said_once(self, retrieval, caplog):
        plug(retrieval, LiteVLConfig(num_frames=FRAMES), verbose=False)
        for encoder in (retrieval.visual_encoder, retrieval.visual_encoder_m):
            encoder(torch.zeros(1, 2, 3, 48, 48))
        assert len(caplog.records) == 1


@pytest.mark.parametrize("door", ["__call__", "forward_features"])
def test_attention_of_one_block_is_kept_when_asked_for(stock, clips, door):
    original = plug(OriginalBlip(stock), LiteVLConfig(num_frames=FRAMES), verbose=False)
    enter = getattr(original.visual_encoder, door)
    for pixels in (clips, clips[:, 0]):
        for call in (lambda x: enter(x, 1), lambda x: enter(x, register_blk=1), lambda x: enter(x=x, register_blk=1)):
            for block in original.visual_encoder.blocks:
                block.attn.attention_map = None
            call(pixels)
            kept = [block.attn.attention_map for block in original.visual_encoder.blocks]
            assert [weights is not None for weights in kept] == [False, True, False]
            assert kept[1].shape == (pixels.flatten(0, -4).shape[0], 2, 10, 10)


def test_stochastic_depth_drops_whole_clips(stock, clips):
    """One CLS per clip stays the same in every frame, in training too."""
    original = OriginalBlip(stock, drop_path=0.5).train()
    plug(original, LiteVLConfig(num_frames=FRAMES), verbose=False)
    shake(original)
    seen = []
    original.visual_encoder.norm.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    for _ in range(4):
        original.visual_encoder(clips)
    for tokens in seen:
        cls = tokens[:, 0].unflatten(0, (2, FRAMES))
        assert torch.equal(cls, cls[:, :1].expand_as(cls))


def test_a_forward_that_another_library_put_there_stays(stock, clips):
    encoder = OriginalBlip(stock).visual_encoder
    calls = []

    def forward(x, register_blk=-1):
        calls.append(register_blk)
        return type(encoder).forward(encoder, x, register_blk)

    encoder.forward = forward
    plug(encoder, LiteVLConfig(num_frames=FRAMES), verbose=False)
    encoder(clips[:, 0], register_blk=2)
    encoder(clips)
    assert calls == [2], "images go through it, clips do not"
    unplug(encoder)
    assert encoder.forward is forward


def test_transformers_too_old_for_video_is_named(stock):
    class BlipVisionModel(type(stock.vision_model)):
        def forward(self, pixel_values=None, interpolate_pos_encoding=False):
            raise NotImplementedError

    stock.vision_model.__class__ = BlipVisionModel
    with pytest.raises(ValueError, match=r"as of transformers 5\.0, got an older BlipVisionModel"):
        plug(stock)
    assert plugged_state(stock) is None


def test_two_encoders_are_not_told_apart(stock):
    with pytest.raises(ValueError, match=r"found one\.visual_encoder, other\.visual_encoder in ModuleDict"):
        plug(nn.ModuleDict({"one": OriginalBlip(stock), "other": OriginalBlip(stock)}))
