"""Several adapters on one backbone, by name: switched, disabled, trained, saved and unplugged each on its own."""

import copy
import io
from functools import partial

import pytest
import torch
from original_blip import OriginalBlip
from small_blip import make_blip
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from litevl.adapters import (
    AIMConfig,
    BottleneckConfig,
    FrameAverageConfig,
    LiteVLConfig,
    STAdapterConfig,
    TemporalShiftConfig,
    disable_adapters,
    find_vision_encoder,
    load_adapters,
    named_adapters,
    plug,
    plugged_state,
    save_adapters,
    set_adapter,
    unplug,
)
from litevl.blip import enable_gradient_checkpointing
from litevl.models import VideoTextRetrieval

FRAMES = 4
CONFIGS = {
    "litevl": LiteVLConfig(num_frames=FRAMES, scaling="conditional"),
    "narrow": BottleneckConfig(num_frames=FRAMES, layers=(1, 2), time_embedding="sinusoidal"),
    "st": STAdapterConfig(num_frames=FRAMES, width=16),
    "aim": AIMConfig(num_frames=FRAMES, width=16, cls="clip"),
    "shift": TemporalShiftConfig(num_frames=FRAMES),
    "none": FrameAverageConfig(num_frames=FRAMES),
}
each = pytest.mark.parametrize("name", CONFIGS)


@pytest.fixture
def clips():
    return torch.randn(2, FRAMES, 3, 48, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", params=["transformers", "original"])
def made(request, tokenizer):
    """A small BLIP, in transformers' layout or in that of the original and LAVIS, and one that holds all adapters."""
    stock = make_blip(tokenizer)
    stock = stock if request.param == "transformers" else OriginalBlip(stock, momentum=True).eval()
    model = copy.deepcopy(stock)
    for name, config in CONFIGS.items():
        plug(model, config, name, verbose=False)
        shake(model, name)
    return stock, model


@pytest.fixture
def make(made):
    return lambda: copy.deepcopy(made[0])


@pytest.fixture
def model(made):
    """A BLIP that holds all of them, each moved away from its start; the last one is active."""
    return copy.deepcopy(made[1])


def shake(model, name):
    """Moves the parameters of one adapter away from their start, to what its name alone decides."""
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    with torch.no_grad():
        for key, parameter in parameters_of(model, name).items():
            if "_m." not in key:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))


def parameters_of(model, name):
    return {key: value for key, value in model.named_parameters() if f".litevl.{name}." in key}


def only(make, name):
    """A model that holds only that one."""
    blip = plug(make(), CONFIGS[name], name, verbose=False)
    shake(blip, name)
    return blip


def encode(model, pixels):
    output = find_vision_encoder(model).module(pixels)
    return output if isinstance(output, Tensor) else output.last_hidden_state


def blocks(model):
    return [block.module for block in find_vision_encoder(model).blocks]


def count_calls(model, name):
    """A list that grows by one for each block in which the first part of an adapter runs."""
    calls = []
    for block in blocks(model):
        part = block.litevl[name]["temporal_attention"]
        part.register_forward_pre_hook(lambda *args: calls.append(1))
    return calls


def gradients(model, clips, switch):
    """Of the pixels, and of whatever else has one, where `switch` is called between the forward and backward pass."""
    set_adapter(model, "litevl")
    model.zero_grad()
    pixels = clips.clone().requires_grad_()
    loss = encode(model, pixels)[:, 0].sin().sum()
    switch()
    set_trained(model, "litevl")
    loss.backward()
    return {"pixels": pixels.grad} | {key: p.grad for key, p in model.named_parameters() if p.grad is not None}


def set_trained(model, name):
    """Lets an adapter get gradients, which switching to another takes from it."""
    for key, parameter in parameters_of(model, name).items():
        parameter.requires_grad_("_m." not in key)


def trained(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


class TestSwitching:
    @each
    def test_each_gives_exactly_what_it_gives_alone(self, model, make, clips, name):
        set_adapter(model, name)
        assert plugged_state(model).active == name
        assert torch.equal(encode(model, clips), encode(only(make, name), clips))

    def test_they_differ_and_switching_back_and_forth_changes_nothing(self, model, clips):
        outputs = {}
        for name in (*CONFIGS, *reversed(CONFIGS)):
            set_adapter(model, name)
            rows = encode(model, clips)
            assert torch.equal(outputs.setdefault(name, rows), rows)
        clip_cls = [rows[:, 0] for rows in outputs.values()]
        for number, rows in enumerate(clip_cls):
            assert not any(torch.allclose(rows, other, atol=1e-3) for other in clip_cls[:number])

    def test_images_are_untouched_throughout(self, model, make, clips):
        images = clips[:, 0]
        stock = encode(make(), images)
        for name in CONFIGS:
            set_adapter(model, name)
            assert torch.equal(encode(model, images), stock)
        with disable_adapters(model):
            assert torch.equal(encode(model, images), stock)
        unplug(model, "litevl")
        assert torch.equal(encode(model, images), stock)

    def test_the_newest_is_active(self, make):
        blip = make()
        for name in ("first", "second"):
            plug(blip, CONFIGS["litevl"], name, verbose=False)
            assert plugged_state(blip).active == name

    def test_two_of_one_configuration_are_two(self, make, clips):
        blip = make()
        for name in ("first", "second"):
            plug(blip, CONFIGS["litevl"], name, verbose=False)
            shake(blip, name)
        second = encode(blip, clips)
        set_adapter(blip, "first")
        assert not torch.allclose(encode(blip, clips), second, atol=1e-2)


class TestTraining:
    @each
    def test_what_is_trained_follows_the_switch(self, model, make, name):
        set_adapter(model, name)
        assert trained(model) == {key for key in parameters_of(model, name) if not key.startswith("visual_encoder_m")}

    @pytest.mark.parametrize("name", ["litevl", "narrow", "st", "aim"])
    def test_training_one_moves_no_other(self, model, clips, name):
        set_adapter(model, name)
        before = {key: value.clone() for key, value in model.named_parameters()}
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)  # all of them, on purpose
        target = torch.randn(encode(model, clips).shape, generator=torch.Generator().manual_seed(3))
        for _ in range(2):
            optimizer.zero_grad()
            (encode(model, clips) - target).square().mean().backward()
            optimizer.step()
        moved = {key for key, value in model.named_parameters() if not torch.equal(before[key], value)}
        assert moved
        assert moved <= {key for key in parameters_of(model, name) if not key.startswith("visual_encoder_m")}

    def test_heads_of_a_task_model_stay_trained(self, tokenizer):
        blip = plug(make_blip(tokenizer), CONFIGS["litevl"], "first", verbose=False)
        model = VideoTextRetrieval(plug(blip, CONFIGS["st"], "second", verbose=False), heads="copied")
        set_adapter(model, "first")
        heads = {f"heads.{key}" for key, _ in model.heads.named_parameters()}
        assert trained(model) == heads | parameters_of(model, "first").keys()

    @pytest.mark.parametrize("checkpointing", [False, True])
    def test_a_graph_keeps_its_adapter_after_a_switch(self, model, clips, checkpointing):
        """Recomputed in the backward pass, a block runs the adapter that its clip came with."""
        if checkpointing:
            for block in blocks(model):
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        calls = count_calls(model, "litevl")
        expected = gradients(model, clips, lambda: None)
        assert len(calls) == (2 if checkpointing else 1) * len(blocks(model))

        def run_another():
            plugged_state(model).active = "aim"
            encode(model, clips)
            plugged_state(model).active = None

        for switch in (run_another, lambda: unplug(model, "st"), lambda: set_adapter(model, "aim")):
            found = gradients(model, clips, switch)
            assert all(torch.equal(found[key], expected[key]) for key in expected)

    def test_gradient_checkpointing_of_transformers_recomputes_the_adapter(self, tokenizer, clips):
        blip = plug(make_blip(tokenizer), CONFIGS["litevl"], "litevl", verbose=False)
        enable_gradient_checkpointing(blip).train()
        calls = count_calls(blip, "litevl")
        gradients(blip, clips, lambda: None)
        assert len(calls) == 2 * len(blocks(blip))


class TestDisabling:
    def test_it_is_frame_average_blip_bit_for_bit(self, model, make, clips):
        plain = plug(make(), FrameAverageConfig(), verbose=False)
        for name in CONFIGS:
            set_adapter(model, name)
            before, flags = encode(model, clips), trained(model)
            with disable_adapters(model):
                assert torch.equal(encode(model, clips), encode(plain, clips))
                assert trained(model) == flags
            assert torch.equal(encode(model, clips), before)
            assert trained(model) == flags

    def test_a_retrieval_model_is_then_frame_average_blip_too(self, tokenizer, clips):
        blip = plug(make_blip(tokenizer), CONFIGS["litevl"], verbose=False)
        shake(blip, "default")
        model = VideoTextRetrieval(blip)
        plain = VideoTextRetrieval(plug(make_blip(tokenizer), FrameAverageConfig(), verbose=False))
        texts = ["a red square", "a blue circle moves"]

        def scores(model):
            text, video = model.encode_text(texts), model.encode_video(clips)
            return model.similarity(text, video), model.match(text, video)

        with disable_adapters(model):
            found = scores(model)
        assert all(map(torch.equal, found, scores(plain)))
        assert not any(map(torch.equal, scores(model), found))

    def test_it_ends_with_an_exception_too(self, model, clips):
        set_adapter(model, "litevl")
        before = encode(model, clips)
        with pytest.raises(KeyError), disable_adapters(model):
            raise KeyError
        assert plugged_state(model).active == "litevl"
        assert torch.equal(encode(model, clips), before)

    def test_it_nests(self, model):
        set_adapter(model, "litevl")
        with disable_adapters(model):
            with disable_adapters(model):
                assert plugged_state(model).active is None
            assert plugged_state(model).active is None
        assert plugged_state(model).active == "litevl"

    def test_what_is_unplugged_meanwhile_does_not_come_back(self, model, clips):
        set_adapter(model, "st")
        with disable_adapters(model):
            unplug(model, "st")
        assert plugged_state(model).active == "litevl"
        encode(model, clips)
        with disable_adapters(model):
            unplug(model, "aim")
        assert plugged_state(model).active == "litevl"
        with disable_adapters(model):
            unplug(model)
            plug(model, CONFIGS["st"], "later", verbose=False)
        assert plugged_state(model).active == "later"
        with disable_adapters(model):
            unplug(model)
        assert plugged_state(model) is None

    def test_a_stock_model_is_refused(self, blip):
        with pytest.raises(ValueError, match="stock one"), disable_adapters(blip):
            pass


class TestUnplugging:
    @each
    def test_one_leaves_the_others(self, model, clips, name):
        others = [other for other in CONFIGS if other != name]
        expected = {}
        for other in others:
            set_adapter(model, other)
            expected[other] = encode(model, clips)
        unplug(model, name)
        assert list(plugged_state(model).adapters) == others
        assert not parameters_of(model, name)
        assert plugged_state(model).active == others[-1]
        for other in others:
            set_adapter(model, other)
            assert torch.equal(encode(model, clips), expected[other])

    def test_the_active_one_hands_over_to_the_first_that_is_left(self, model):
        set_adapter(model, "st")
        unplug(model, "st")
        assert plugged_state(model).active == "litevl"
        assert trained(model) == {k for k in parameters_of(model, "litevl") if not k.startswith("visual_encoder_m")}

    @pytest.mark.parametrize("one_by_one", [False, True])
    def test_all_of_them_gives_the_stock_model_back(self, make, clips, one_by_one):
        blip = make()
        blip.text_proj.requires_grad_(False)
        keys, flags, images = list(blip.state_dict()), trained(blip), encode(blip, clips[:, 0])
        for name, config in CONFIGS.items():
            plug(blip, config, name, verbose=False)
        for name in CONFIGS if one_by_one else [None]:
            unplug(blip, name)
        assert plugged_state(blip) is None
        assert list(blip.state_dict()) == keys
        assert trained(blip) == flags
        assert torch.equal(encode(blip, clips[:, 0]), images)
        for module in (blip, *find_vision_encoder(blip).module.modules()):
            assert not module._forward_hooks
            assert not module._forward_pre_hooks
            assert not {"forward", "forward_features", "save_pretrained", "litevl_plugged"} & set(vars(module))


class TestSaving:
    @each
    def test_by_name_and_loaded_under_another(self, model, make, clips, tmp_path, name):
        active = plugged_state(model).active
        save_adapters(model, tmp_path, name)
        assert plugged_state(model).active == active
        other = only(make, "aim")
        aim = encode(other, clips)
        load_adapters(other, tmp_path, "loaded", verbose=False)
        assert list(plugged_state(other).adapters) == ["aim", "loaded"]
        assert plugged_state(other).active == "loaded"
        set_adapter(model, name)
        assert torch.equal(encode(other, clips), encode(model, clips))
        set_adapter(other, "aim")
        assert torch.equal(encode(other, clips), aim)

    def test_by_default_the_active_one_is_saved(self, model, make, clips, tmp_path):
        set_adapter(model, "st")
        save_adapters(model, tmp_path)
        other = make()
        assert load_adapters(other, tmp_path, verbose=False)["adapter"]["family"] == "st-adapter"
        assert torch.equal(encode(other, clips), encode(model, clips))

    def test_loading_into_one_that_is_there_replaces_its_values_and_no_others(self, model, make, clips, tmp_path):
        fresh = plug(make(), CONFIGS["litevl"], verbose=False)
        save_adapters(fresh, tmp_path)
        before = {key: value.clone() for key, value in model.named_parameters() if ".litevl.litevl." not in key}
        load_adapters(model, tmp_path, "litevl", verbose=False)
        assert plugged_state(model).active == "litevl"
        assert torch.equal(encode(model, clips), encode(fresh, clips))
        after = dict(model.named_parameters())
        assert all(torch.equal(after[key], before[key]) for key in before)

    def test_save_pretrained_keeps_all_of_them_beside_the_stock_model(self, tokenizer, clips, tmp_path):
        blip = plug(make_blip(tokenizer), CONFIGS["litevl"], "litevl", verbose=False)
        plug(blip, CONFIGS["st"], "st", verbose=False)
        shake(blip, "litevl")
        shake(blip, "st")
        blip.save_pretrained(tmp_path)
        other = make_blip(tokenizer)
        for name in ("litevl", "st"):
            load_adapters(other, tmp_path / "litevl" / name, name, verbose=False)
            set_adapter(blip, name)
            assert torch.equal(encode(other, clips), encode(blip, clips))


class TestCopies:
    def test_a_copy_and_a_pickle_hold_all_and_live_alone(self, model, clips):
        outputs = {}
        for name in CONFIGS:
            set_adapter(model, name)
            outputs[name] = encode(model, clips)
        set_adapter(model, "st")
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        for twin in (copy.deepcopy(model), torch.load(buffer, weights_only=False)):
            assert plugged_state(twin).active == "st"
            assert list(plugged_state(twin).adapters) == list(CONFIGS)
            for name in CONFIGS:
                set_adapter(twin, name)
                assert torch.equal(encode(twin, clips), outputs[name])
            assert plugged_state(model).active == "st"
            unplug(twin, "litevl")
            unplug(twin)
            assert list(plugged_state(model).adapters) == list(CONFIGS)
        assert torch.equal(encode(model, clips), outputs["st"])


class TestNames:
    def test_an_unknown_one_is_named_with_those_there_are(self, make, tmp_path):
        blip = make()
        plug(blip, CONFIGS["litevl"], "sports", verbose=False)
        plug(blip, CONFIGS["st"], "cooking", verbose=False)
        for call in (set_adapter, unplug, lambda model, name: save_adapters(model, tmp_path, name)):
            with pytest.raises(ValueError, match="one of the adapters 'sports', 'cooking'; got 'news'"):
                call(blip, "news")
        assert plugged_state(blip).active == "cooking"
        assert not list(tmp_path.iterdir())

    def test_a_duplicate_is_named(self, make):
        blip = plug(make(), CONFIGS["litevl"], "sports", verbose=False)
        with pytest.raises(ValueError, match="plugged already, with an adapter named 'sports'"):
            plug(blip, CONFIGS["st"], "sports", verbose=False)
        assert plugged_state(blip).adapters == {"sports": CONFIGS["litevl"]}

    @pytest.mark.parametrize("name", ["", "a.b", ".", "keys", "forward", "training", "_modules"])
    @pytest.mark.parametrize("holding", [False, True])
    def test_one_that_cannot_be_is_named(self, make, name, holding):
        blip = plug(make(), CONFIGS["st"], "other", verbose=False) if holding else make()
        keys = list(blip.state_dict())
        with pytest.raises(ValueError, match="a name without a dot"):
            plug(blip, CONFIGS["litevl"], name, verbose=False)
        assert list(blip.state_dict()) == keys
        assert (plugged_state(blip) is not None) is holding

    @pytest.mark.parametrize("name", ["litevl", "temporal_attention", "a b", "1", "a/b", "größe"])
    def test_others_are_free(self, make, clips, tmp_path, name):
        blip = plug(make(), CONFIGS["litevl"], name, verbose=False)
        shake(blip, name)
        plug(blip, CONFIGS["st"], f"{name}2", verbose=False)
        set_adapter(blip, name)
        assert trained(blip) == {key for key in parameters_of(blip, name) if not key.startswith("visual_encoder_m")}
        save_adapters(blip, tmp_path)
        other = make()
        load_adapters(other, tmp_path, verbose=False)
        assert torch.equal(encode(other, clips), encode(blip, clips))

    def test_a_stock_model_has_none(self, blip):
        for call in (set_adapter, unplug):
            with pytest.raises(ValueError, match="stock one"):
                call(blip, "default")
        assert not list(named_adapters(blip))
