"""What `describe` says of a model against what the model holds."""

import re

import pytest
import torch
from original_blip import OriginalBlip
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer

from litevl import VideoTextRetrieval
from litevl.adapters import (
    FAMILIES,
    AIMConfig,
    LiteVLConfig,
    describe,
    disable_adapters,
    find_vision_encoder,
    freeze_backbone,
    merge,
    named_adapters,
    plug,
    set_adapter,
    unplug,
)
from litevl.adapters.adapter import readable

FRAMES = 4


def tables(text):
    """The rows of every table by the first cell, each cut into cells; tables follow each other per adapter."""
    found = []
    for line in text.splitlines():
        cells = re.split(r"\s{2,}", line.strip())
        if cells[0] == "block":
            found.append({"block": cells[1:]})
        elif found and re.fullmatch(r"\d+|all", cells[0]):
            found[-1][cells[0]] = cells[1:]
    return found


def gammas(model, name="default"):
    blocks = find_vision_encoder(model).blocks
    parts = [block.module.litevl[name] for block in blocks]
    return [part["temporal_attention"].scaling.gamma for part in parts if "temporal_attention" in part]


@torch.no_grad()
def shake(model):
    generator = torch.Generator().manual_seed(2)
    for gamma in gammas(model):
        gamma.add_(torch.randn(gamma.shape, generator=generator))


def scales(model, name="default"):
    return [[f"{value:.2f}" for value in (1 + gamma.tanh()).tolist()] for gamma in gammas(model, name)]


def sizes(module):
    every = list(module.parameters())
    return [readable(sum(p.numel() for p in chosen)) for chosen in (every, [p for p in every if p.requires_grad])]


def test_a_stock_model_is_called_one(blip):
    assert describe(blip).splitlines() == [
        "BlipForImageTextRetrieval: vision encoder BlipVisionModel at vision_model, 3 blocks of width 128, 2 heads",
        f"trainable {readable(blip.num_parameters())} of {readable(blip.num_parameters())} (100.0%)",
        "adapters: none, a stock model; plug(model, LiteVLConfig(...)) makes it take video",
    ]
    before = describe(blip)
    assert describe(unplug(plug(blip, verbose=False))) == before


@pytest.mark.parametrize("layout", ["transformers", "original"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_shown_block_by_block(blip, family, layout):
    model = OriginalBlip(blip) if layout == "original" else blip
    plug(model, FAMILIES[family](num_frames=FRAMES), verbose=False)
    text = describe(model)
    (table,) = tables(text)
    assert list(table) == ["block", "0", "1", "2", "all"]
    for number, block in enumerate(find_vision_encoder(model).blocks):
        parts = block.module.litevl["default"]
        assert table[str(number)][:3] == [" + ".join(parts) or "-", *sizes(parts)]
    assert table["all"] == sizes(torch.nn.ModuleList(adapter for _, adapter in named_adapters(model)))
    assert f"default: {FAMILIES[family].title}, num_frames=4, " in text
    if family in ("litevl", "bottleneck"):
        assert table["block"][3:] == ["0", "1", "2", "3"]
        assert table["1"][3:] == ["1.00"] * FRAMES
    else:
        assert table["block"][3:] == ["scale of the frames"]
        assert table["1"][3:] == ["-"]


def test_scales_are_those_of_the_forward_pass(blip):
    plug(blip, LiteVLConfig(num_frames=FRAMES), verbose=False)
    shake(blip)
    used = []
    scalings = [
        block.module.litevl["default"]["temporal_attention"].scaling for block in find_vision_encoder(blip).blocks
    ]
    for scaling in scalings:
        scaling.register_forward_hook(
            lambda _, args, scale: used.append([f"{value:.2f}" for value in scale[0].tolist()])
        )
    blip.vision_model(torch.randn(1, FRAMES, 3, 48, 48))
    (table,) = tables(describe(blip))
    assert [table[str(number)][3:] for number in range(3)] == used == scales(blip)


def test_blocks_without_scaling_and_conditional_scaling_say_so(blip):
    plug(blip, LiteVLConfig(num_frames=FRAMES, layers=(1,)), verbose=False)
    plug(blip, LiteVLConfig(num_frames=FRAMES, scaling="conditional"), "conditional", verbose=False)
    first, second = tables(describe(blip))
    assert first["0"] == ["-", "0", "0", "-", "-", "-", "-"]
    assert first["1"][0] == "entry_clip_cls + time_embedding + temporal_attention + clip_cls"
    assert first["2"] == ["clip_cls", "0", "0", "-", "-", "-", "-"]
    assert {second[str(number)][-1] for number in range(3)} == {"conditional: from the clip"}


def test_several_adapters_are_named_and_the_active_one_is_marked(blip):
    plug(blip, LiteVLConfig(num_frames=FRAMES), "first", verbose=False)
    plug(blip, AIMConfig(num_frames=FRAMES), "second", verbose=False)
    assert "adapters: first, second (active)\n" in describe(blip)
    first, second = tables(describe(blip))
    assert (first["all"][1], second["all"][1]) == ("0", second["all"][0])
    set_adapter(blip, "first")
    assert "adapters: first (active), second\n" in describe(blip)
    assert tables(describe(blip, "second")) == tables(describe(blip))[1:]
    with pytest.raises(ValueError, match="'first', 'second'; got 'third'"):
        describe(blip, "third")


def test_disabled_adapters_are_said(blip):
    plug(blip, LiteVLConfig(num_frames=FRAMES), verbose=False)
    with disable_adapters(blip):
        assert "adapters: default (disabled: clips are read frame by frame)\n" in describe(blip)
    assert "disabled" not in describe(blip)


def test_a_merged_model_says_so(blip):
    plug(blip, LiteVLConfig(num_frames=FRAMES), verbose=False)
    shake(blip)
    before = tables(describe(blip))[0]
    assert "merged" not in describe(blip)
    merge(blip)
    assert "; merged for inference\n" in describe(blip)
    after = tables(describe(blip))[0]
    assert after["1"][3:] == before["1"][3:]
    assert after["1"][1] != before["1"][1]


def test_a_task_model_shows_its_heads(blip):
    plug(blip, LiteVLConfig(num_frames=FRAMES), verbose=False)
    model = VideoTextRetrieval(blip, temperature=0.05)
    assert "VideoTextRetrieval: vision encoder BlipVisionModel at blip.vision_model, 3 blocks" in describe(model)
    assert "\nheads: temperature = 0.05; 1 parameter, 1 trainable\n" in describe(model)
    copied = VideoTextRetrieval(blip, temperature=0.05, heads="copied")
    assert re.search(
        r"heads: temperature = 0.05, vision_proj, text_proj, itm_head; [\d.]+k parameters", describe(copied)
    )


def test_lora_beside_is_counted_and_its_merging_said(blip):
    plug(blip, LiteVLConfig(num_frames=FRAMES), verbose=False)
    table = tables(describe(blip))
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["qkv"], exclude_modules=r".*\.litevl\..*"), blip)
    freeze_backbone(blip)  # peft has frozen ours
    held = readable(3 * 2 * (128 + 3 * 128))
    assert f"\npeft: {held} parameters, {held} trainable, in 3 layers\n" in describe(blip)
    assert tables(describe(blip)) == table
    for module in blip.modules():
        if isinstance(module, BaseTunerLayer):
            module.merge()
    assert "in 3 layers, merged into 3 of them\n" in describe(blip)


def test_a_momentum_copy_is_named_and_not_shown_again(blip):
    model = plug(OriginalBlip(blip, momentum=True), LiteVLConfig(num_frames=FRAMES), verbose=False)
    assert "; its momentum copy visual_encoder_m holds the same adapters\n" in describe(model)
    assert len(tables(describe(model))) == 1
    assert describe(model).count("temporal_attention") == 3


def test_many_frames_stand_in_tables_of_a_readable_width(blip):
    plug(blip, LiteVLConfig(num_frames=32), verbose=False)
    shake(blip)
    text = describe(blip)
    assert max(map(len, text.splitlines())) <= 130
    found = tables(text)
    assert len(found) == 3
    shown = [found[0]["2"][3:], *(table["2"] for table in found[1:])]
    assert [value for part in shown for value in part] == scales(blip)[2]
    numbers = [found[0]["block"][3:], *(table["block"] for table in found[1:])]
    assert [number for part in numbers for number in part] == [str(number) for number in range(32)]


def test_half_precision_and_a_bare_encoder(blip):
    plug(blip.vision_model.bfloat16(), LiteVLConfig(num_frames=FRAMES), verbose=False)
    text = describe(blip.vision_model)
    assert text.startswith("BlipVisionModel: vision encoder BlipVisionModel, 3 blocks of width 128")
    assert tables(text)[0]["0"][3:] == ["1.00"] * FRAMES
