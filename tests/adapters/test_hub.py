"""Adapters to the hub and back through huggingface_hub itself, against a small hub on loopback."""

import json
import re
import socket
from dataclasses import asdict
from pathlib import Path

import huggingface_hub
import pytest
import torch
from fake_hub import TOKEN, FakeHub, start
from huggingface_hub import constants
from moved import moved
from small_blip import make_blip

from litevl import load_blip
from litevl.adapters import (
    AdapterLoadError,
    LiteVLConfig,
    STAdapterConfig,
    load_adapters,
    plug,
    plugged_state,
    push_to_hub,
    save_adapters,
    set_adapter,
)
from litevl.blip import save_blip
from litevl.training.trainable import LoraSettings, add_lora, save_lora

CONFIG = LiteVLConfig(num_frames=4)
# huggingface_hub 2.4 warns itself, through its HTTP library, where it uploads a large file.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
ADAPTER_FILES = {"README.md", "adapter_config.json", "adapter_model.safetensors"}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    hub = FakeHub()
    start(hub, tmp_path, monkeypatch)
    yield hub
    hub.close()


@pytest.fixture
def plugged(blip):
    return moved(plug(blip, CONFIG, verbose=False))


@pytest.fixture
def clips():
    return torch.randn(1, 4, 3, 48, 48, generator=torch.Generator().manual_seed(1))


def encode(model, clips):
    return model.vision_model(pixel_values=clips).last_hidden_state


def refused(model, source, message, **options):
    keys = list(model.state_dict())
    with pytest.raises(AdapterLoadError, match=message):
        load_adapters(model, source, verbose=False, **options)
    assert plugged_state(model) is None
    assert list(model.state_dict()) == keys


@pytest.mark.parametrize("large_files", [False, True], ids=["in the commit", "as large files"])
def test_a_model_goes_to_the_hub_and_back(plugged, tokenizer, clips, hub, large_files):
    hub.large_files = large_files
    address = push_to_hub(plugged, "me/video", metrics={"t2v_r1": 43.2}, command="python train.py")
    assert address.startswith(f"{hub.url}/me/video/commit/")
    assert hub.files("me/video").keys() == {*ADAPTER_FILES, ".gitattributes"}
    assert bool(hub.large) is large_files
    other = make_blip(tokenizer)
    stored = load_adapters(other, "me/video", verbose=False)
    assert stored["metrics"] == {"t2v_r1": 43.2}
    assert torch.equal(encode(other, clips), encode(plugged, clips))


def test_a_folder_goes_to_the_hub_without_what_else_lies_in_it(plugged, tokenizer, clips, hub, tmp_path):
    save_adapters(plugged, tmp_path / "run")
    (tmp_path / "run" / "state.pt").write_bytes(b"large")
    (tmp_path / "run" / "lora").mkdir()
    (tmp_path / "run" / "lora" / "stray").write_bytes(b"of another run")
    push_to_hub(str(tmp_path / "run"), "me/video")
    assert hub.files("me/video").keys() == {*ADAPTER_FILES, ".gitattributes"}
    other = make_blip(tokenizer)
    load_adapters(other, "me/video", "from the hub", verbose=False)
    assert plugged_state(other).active == "from the hub"
    assert torch.equal(encode(other, clips), encode(plugged, clips))


def test_what_was_trained_beside_the_adapters_goes_with_them(plugged, hub, tmp_path):
    for kind, details in (("lora", {"lora": {"r": 8}}), ("backbone", {"backbone": {"source": "backbone"}})):
        folder = save_adapters(plugged, tmp_path / kind, **details)
        (folder / kind).mkdir()
        (folder / kind / "weights").write_bytes(b"of it")
        push_to_hub(folder, f"me/{kind}")
        assert hub.files(f"me/{kind}")[f"{kind}/weights"] == b"of it"


def test_one_adapter_of_several_is_pushed_by_name(plugged, tokenizer, clips, hub):
    expected = encode(plugged, clips)
    plug(plugged, STAdapterConfig(num_frames=4), "second", verbose=False)
    push_to_hub(plugged, "me/video", name="default")
    other = make_blip(tokenizer)
    load_adapters(other, "me/video", verbose=False)
    assert torch.equal(encode(other, clips), expected)
    assert plugged_state(plugged).active == "second"


def test_pushing_again_makes_another_commit(plugged, tokenizer, clips, hub):
    push_to_hub(plugged, "me/video")
    before = encode(plugged, clips)
    moved(plugged, seed=3)
    push_to_hub(plugged, "me/video")
    other = make_blip(tokenizer)
    load_adapters(other, "me/video", verbose=False)
    assert torch.equal(encode(other, clips), encode(plugged, clips))
    assert not torch.equal(encode(other, clips), before)


def test_revisions_are_branches_and_commits(plugged, tokenizer, clips, hub):
    first = encode(plugged, clips)
    commit = push_to_hub(plugged, "me/video").rpartition("/")[2]
    moved(plugged, seed=3)
    push_to_hub(plugged, "me/video", revision="v2")
    push_to_hub(plugged, "me/video", revision="v2")
    for revision, expected in ((None, first), ("v2", encode(plugged, clips)), (commit, first)):
        other = make_blip(tokenizer)
        load_adapters(other, "me/video", revision=revision, verbose=False)
        assert torch.equal(encode(other, clips), expected), revision
    refused(make_blip(tokenizer), "me/video", "me/video: .*hub", revision="v3")


def test_a_private_repository_is_made_private_and_read_with_the_token(plugged, tokenizer, hub, monkeypatch, tmp_path):
    push_to_hub(plugged, "me/open")
    assert not hub.repositories["me/open"].private
    push_to_hub(plugged, "me/closed", private=True)
    assert hub.repositories["me/closed"].private
    load_adapters(make_blip(tokenizer), "me/closed", verbose=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "another cache"))
    monkeypatch.delenv("HF_TOKEN")
    load_adapters(make_blip(tokenizer), "me/open", verbose=False)
    refused(make_blip(tokenizer), "me/closed", "no folder of that name, and not to be had from the hub")


def test_the_token_can_be_given(plugged, hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(OSError, match="401"):
        push_to_hub(plugged, "me/video")
    assert not hub.repositories
    push_to_hub(plugged, "me/video", token=TOKEN)
    assert hub.repositories.keys() == {"me/video"}


def test_a_name_alone_is_a_repository_of_ones_own(plugged, tokenizer, hub):
    push_to_hub(plugged, "video")
    load_adapters(make_blip(tokenizer), "me/video", verbose=False)


def test_the_example_of_the_pushed_card_runs(clips, hub, tmp_path, monkeypatch):
    blip = moved(plug(load_blip("embedded"), CONFIG, verbose=False))
    push_to_hub(blip, "me/video")
    text = hub.files("me/video")["README.md"].decode()
    assert 'load_adapters(blip, "me/video")' in text
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], names)
    assert torch.equal(encode(names["blip"], clips), encode(blip, clips))


def test_the_example_of_a_pushed_run_with_its_own_backbone_runs(plugged, clips, hub, tmp_path):
    folder = save_adapters(plugged, tmp_path / "run", backbone={"source": "backbone"})
    save_blip(plugged, folder / "backbone")
    push_to_hub(folder, "me/video")
    names = {}
    exec(re.search(r"```python\n(.*?)```", hub.files("me/video")["README.md"].decode(), re.DOTALL)[1], names)
    assert torch.equal(encode(names["blip"], clips), encode(plugged, clips))


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # peft 0.21 on 5.23
def test_the_example_of_a_pushed_run_beside_lora_runs(clips, hub, tmp_path):
    blip = plug(load_blip("embedded"), CONFIG, verbose=False)
    add_lora(blip, LoraSettings())
    for name, parameter in moved(blip).named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    folder = save_adapters(blip, tmp_path / "run", lora=asdict(LoraSettings()))
    save_lora(blip, LoraSettings(), folder / "lora")
    push_to_hub(folder, "me/video")
    names = {}
    exec(re.search(r"```python\n(.*?)```", hub.files("me/video")["README.md"].decode(), re.DOTALL)[1], names)
    assert torch.equal(encode(names["blip"], clips), encode(blip, clips))


def test_an_edited_card_is_pushed_as_its_author_wrote_it(plugged, hub, tmp_path):
    folder = save_adapters(plugged, tmp_path / "run")
    card = (folder / "README.md").read_text() + "\nMore of it.\n"
    (folder / "README.md").write_text(card)
    push_to_hub(folder, "me/video")
    assert hub.files("me/video")["README.md"].decode() == card


def test_an_unknown_repository_is_named(blip, hub):
    refused(blip, "me/nothing", "me/nothing: no folder of that name, and not to be had from the hub; .*404")


def test_a_repository_without_an_adapter_is_named(blip, hub):
    huggingface_hub.HfApi().create_repo("me/empty")
    refused(blip, "me/empty", "adapter_config.json: not there")


def test_offline_says_so_and_uses_what_is_cached(plugged, tokenizer, clips, hub, monkeypatch):
    push_to_hub(plugged, "me/video")
    push_to_hub(plugged, "me/later")
    load_adapters(make_blip(tokenizer), "me/video", verbose=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    other = make_blip(tokenizer)
    load_adapters(other, "me/video", verbose=False)
    assert torch.equal(encode(other, clips), encode(plugged, clips))
    refused(make_blip(tokenizer), "me/later", "me/later: no folder of that name, .*HF_HUB_OFFLINE")
    with pytest.raises(OSError, match="HF_HUB_OFFLINE"):
        push_to_hub(plugged, "me/video")
    assert hub.requests == []


def test_a_hub_that_does_not_answer_is_named(blip, hub, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        refused(blip, "me/video", "me/video: no folder of that name, and not to be had from the hub; .*refused")


def test_a_download_that_breaks_off_is_named(plugged, tokenizer, clips, hub):
    push_to_hub(plugged, "me/video")
    hub.breaks_off = True
    refused(make_blip(tokenizer), "me/video", "me/video: no folder of that name, and not to be had from the hub; .*")
    hub.breaks_off = False  # and the next attempt succeeds
    other = make_blip(tokenizer)
    load_adapters(other, "me/video", verbose=False)
    assert torch.equal(encode(other, clips), encode(plugged, clips))


@pytest.fixture
def no_network(monkeypatch):
    touched = []

    def connect(*args):
        touched.append(args)
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    yield
    assert not touched


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("offline", [False, True])
def test_a_local_folder_never_touches_the_network(plugged, tokenizer, clips, tmp_path, monkeypatch, offline):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.chdir(tmp_path)
    save_adapters(plugged, "runs/one")
    for source in ("runs/one", "./runs/one", Path("runs/one"), tmp_path / "runs" / "one"):
        other = make_blip(tokenizer)
        load_adapters(other, source, verbose=False)
        assert torch.equal(encode(other, clips), encode(plugged, clips))
    for source in (Path("runs/two"), "./runs/two", "../two", "~/two", "two", str(tmp_path / "runs" / "two"), "a/b/c"):
        refused(make_blip(tokenizer), source, "(two|a/b/c)/adapter_config.json: not there")


@pytest.mark.usefixtures("no_network")
class TestRefusedBeforeAnythingIsSent:
    @pytest.mark.parametrize("absent", sorted(ADAPTER_FILES))
    def test_a_folder_that_lacks_a_file(self, plugged, hub, tmp_path, absent):
        folder = save_adapters(plugged, tmp_path / "run")
        (folder / absent).unlink()
        with pytest.raises(ValueError, match=f"expected an adapter folder; it has no {absent}"):
            push_to_hub(folder, "me/video")
        assert hub.requests == []

    def test_a_folder_that_is_not_there(self, hub, tmp_path):
        with pytest.raises(ValueError, match="it has no adapter_config"):
            push_to_hub(tmp_path / "nowhere", "me/video")
        assert hub.requests == []

    def test_a_folder_with_what_is_for_a_model(self, plugged, hub, tmp_path):
        folder = save_adapters(plugged, tmp_path / "run")
        with pytest.raises(ValueError, match="metrics: for a model"):
            push_to_hub(folder, "me/video", metrics={"t2v_r1": 1.0})
        with pytest.raises(ValueError, match="name: for a model"):
            push_to_hub(folder, "me/video", name="default")
        assert hub.requests == []

    def test_a_stock_model_and_an_unknown_name(self, blip, hub):
        with pytest.raises(ValueError, match="stock one"):
            push_to_hub(blip, "me/video")
        plug(blip, CONFIG, verbose=False)
        set_adapter(blip, "default")
        with pytest.raises(ValueError, match="'default'; got 'other'"):
            push_to_hub(blip, "me/video", name="other")
        assert hub.requests == []

    def test_a_detail_that_is_not_json(self, plugged, hub):
        with pytest.raises(TypeError, match="JSON"):
            push_to_hub(plugged, "me/video", metrics=json)
        assert hub.requests == []
