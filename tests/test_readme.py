"""What README.md tells people to type: its snippets run, its links lead somewhere."""

import re
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest
import torch
from fake_hub import FakeHub, start

from litevl.adapters import FAMILIES, count_parameters, plug, unplug
from litevl.adapters.adapter import readable

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "adapters/README.md", "CONTRIBUTING.md"]


def snippets(page):
    """Each program that a page marks as tested, with the line it starts at."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.finditer(r"<!-- tested -->\n```python\n(.*?)```", text, re.DOTALL)
    return [pytest.param(page, match[1], id=f"{page}:{text[: match.start(1)].count(chr(10)) + 1}") for match in found]


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """What the pages' programs would download or upload: a random BLIP of the named class, a hub on this machine."""
    from transformers import BlipConfig, BlipForConditionalGeneration

    def from_pretrained(source):
        assert source == "Salesforce/blip-image-captioning-base"
        width = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
        vision = {**width, "image_size": 384, "patch_size": 96, "initializer_range": 0.02}
        return BlipForConditionalGeneration(BlipConfig(text_config=width, vision_config=vision))

    monkeypatch.setattr(BlipForConditionalGeneration, "from_pretrained", from_pretrained)
    monkeypatch.chdir(tmp_path)
    hub = FakeHub()
    start(hub, tmp_path, monkeypatch)
    yield hub
    hub.close()


PROGRAMS = [program for page in PAGES for program in snippets(page)]


def test_the_pages_show_programs():
    assert len(snippets("README.md")) >= 2
    assert len(snippets("adapters/README.md")) >= 4


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # peft 0.21 on transformers 5.23
@pytest.mark.parametrize(("page", "program"), PROGRAMS)
def test_the_programs_run(stand_ins, page, program, capsys):
    torch.manual_seed(0)
    exec(compile(program, page, "exec"), {})
    assert not capsys.readouterr().err.count("Error")
    if "push_to_hub" in program:
        assert set(stand_ins.files("me/blip-msrvtt")) >= {"adapter_config.json", "adapter_model.safetensors"}


def test_the_sizes_of_the_families_are_counted():
    """The table of adapters/README.md: trained parameters of ViT-B."""
    from transformers import BlipVisionConfig, BlipVisionModel

    text = (ROOT / "adapters/README.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| `(\w+Config)` \|.*?\| ([\d.]+M?) \| `", text, re.MULTILINE))
    assert set(stated) == {kind.__name__ for kind in FAMILIES.values()}
    with torch.device("meta"):
        encoder = BlipVisionModel(BlipVisionConfig())
        for kind in FAMILIES.values():
            plug(encoder, kind(), verbose=False)
            assert readable(count_parameters(encoder)[0]) == stated[kind.__name__]
            unplug(encoder)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in set(re.findall(r"\b(?:recipes|adapters|litevl|tests)/[\w/]+\.(?:py|md)\b", text)):
        assert (ROOT / name).exists(), name


def test_commands_use_flags_that_exist():
    import compare
    import encode
    import every
    import evilm_pretrain
    import evilm_retrieval
    import evilm_tokenizer
    import msrvtt_captioning
    import msrvtt_qa
    import msrvtt_retrieval
    import search_corpus
    from accelerate.commands.launch import launch_command_parser
    from torch.distributed.run import get_args_parser

    from litevl.__main__ import COMMANDS
    from litevl.commands.index import Making

    recipes = (msrvtt_retrieval, msrvtt_qa, msrvtt_captioning, evilm_tokenizer, evilm_pretrain, evilm_retrieval)
    configs = [recipe.EMBEDDED for recipe in recipes]
    of_commands = {
        field.name
        for kind in (Making, search_corpus.SearchConfig, encode.EncodeConfig, every.EveryConfig)
        for field in fields(kind)
    }
    of_commands |= {name for command in COMMANDS.values() for name in signature(command).parameters}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    launchers = (launch_command_parser(), get_args_parser())
    # torchrun knows its flags with underscores and with hyphens.
    of_launchers = {flag for launcher in launchers for flag in launcher._option_string_actions}
    for flag in sorted(set(re.findall(r"(?<![\w-])--[a-z][\w.-]+", text))):
        if flag in ("--help", "--nodes", "--ntasks-per-node") or flag in of_launchers:
            continue
        if flag in (
            "--json",
            "--frame-store",
            "--image-size",
            "--dry-run",
            "--text-ids",
            "--video-ids",
            "--bootstrap",
            "--save",
            "--video",
            "--text",
            "--study",
            "--adapter.width",
        ):
            continue  # of other commands, or of another family
        name = flag.removeprefix("--").removeprefix("no-").replace("-", "_")
        of_recipe = any(has_setting(config, name.split(".")) for config in configs)
        assert of_recipe or hasattr(compare.Config, name) or name in of_commands, flag


def has_setting(config, parts):
    """Whether a recipe's config has a setting, whose first part may be of the model or the training unnamed."""
    target = config
    for part in parts:
        holders = [holder for holder in (target, config.training, config.model) if hasattr(holder, part)]
        if not holders:
            return False
        target = getattr(holders[0], part)
    return True
