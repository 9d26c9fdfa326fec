"""What an adapter is on disk: what is recorded, what is refused, and that a refusal or a failure changes nothing."""

import json
import os
import re
import shutil
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from moved import moved
from original_blip import OriginalBlip
from safetensors.torch import load_file, save_file
from small_blip import make_blip

from litevl import load_blip
from litevl.adapters import (
    AdapterLoadError,
    AIMConfig,
    BottleneckConfig,
    LiteVLConfig,
    PoolingConfig,
    STAdapterConfig,
    add_details,
    artifact,
    disable_adapters,
    fingerprint,
    load_adapters,
    plug,
    plugged_state,
    save_adapters,
    unplug,
)
from litevl.adapters.plugged import state_of
from litevl.blip import save_blip
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.models import VideoTextRetrieval
from litevl.training import RetrievalModelConfig, build_model, load_backbone, preprocessing, save_model
from litevl.training.trainable import LoraSettings, add_lora, save_lora

CONFIG = LiteVLConfig(num_frames=4)
CONFIG_NAME, WEIGHTS_NAME, CARD_NAME = "adapter_config.json", "adapter_model.safetensors", "README.md"


@pytest.fixture
def clips():
    return torch.randn(2, 4, 3, 48, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def plugged(blip):
    return moved(plug(blip, CONFIG, verbose=False))


@pytest.fixture(scope="session")
def saved(tokenizer, tmp_path_factory):
    return save_adapters(moved(plug(make_blip(tokenizer), CONFIG, verbose=False)), tmp_path_factory.mktemp("saved"))


@pytest.fixture
def folder(saved, tmp_path):
    """What `plugged` writes."""
    return Path(shutil.copytree(saved, tmp_path / "artifact"))


def encode(model, clips):
    return getattr(model, "blip", model).vision_model(pixel_values=clips).last_hidden_state


def snapshot(model):
    """All of a model that a load may change."""
    plugged = {name: state_of(module) for name, module in model.named_modules() if state_of(module)}
    return {
        "values": {name: value.clone() for name, value in model.state_dict().items()},
        "trained": {name: parameter.requires_grad for name, parameter in model.named_parameters()},
        "adapters": {name: (dict(state.adapters), state.active) for name, state in plugged.items()},
        "hooks": {
            name: (list(module._forward_hooks), list(module._forward_pre_hooks), sorted(vars(module)))
            for name, module in model.named_modules()
        },
    }


def assert_unchanged(model, before):
    after = snapshot(model)
    values, were = after.pop("values"), before.pop("values")
    assert list(values) == list(were)
    assert all(torch.equal(values[name], were[name]) for name in were)
    assert after == before


def refused(model, folder, message, name="default"):
    before = snapshot(model)
    with pytest.raises(AdapterLoadError, match=message):
        load_adapters(model, folder, name, verbose=False)
    assert_unchanged(model, before)


def edited(folder, **changes):
    """Changes entries of `adapter_config.json`; None takes one out."""
    path = folder / CONFIG_NAME
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


class TestWhatIsSaved:
    def test_the_files(self, folder, blip):
        assert {path.name for path in folder.iterdir()} == {CONFIG_NAME, WEIGHTS_NAME, CARD_NAME}
        config = json.loads((folder / CONFIG_NAME).read_text())
        assert config["litevl_version"] == version("litevl")
        assert config["backbone_fingerprint"] == fingerprint(blip)
        assert config["vision_encoder_fingerprint"] == fingerprint(blip, "vision encoder")
        assert config["adapter"]["family"] == "litevl"
        assert all(name.startswith("vision_model.encoder.layers.") for name in load_file(folder / WEIGHTS_NAME))

    def test_details_are_kept(self, plugged, tmp_path):
        details = {"preprocessing": {"image_size": 48}, "evaluation": {"k": 32}, "note": ["anything", None, 1.5]}
        save_adapters(plugged, tmp_path, **details)
        config = json.loads((tmp_path / CONFIG_NAME).read_text())
        assert {name: config[name] for name in details} == details
        add_details(tmp_path, metrics={"t2v_r1": 1.0}, note="changed")
        config = json.loads((tmp_path / CONFIG_NAME).read_text())
        assert (config["metrics"], config["note"], config["evaluation"]) == ({"t2v_r1": 1.0}, "changed", {"k": 32})

    def test_a_recipe_records_preprocessing_evaluation_and_where_the_backbone_is_from(self, tmp_path):
        config = RetrievalModelConfig("embedded", adapter=CONFIG)
        model = build_model(load_backbone(config, torch.device("cpu")), config)
        save_model(model, config, tmp_path, evaluation=asdict(EvaluationConfig(k=7)))
        stored = json.loads((tmp_path / CONFIG_NAME).read_text())
        assert stored["preprocessing"] == json.loads(json.dumps(asdict(preprocessing(model))))
        assert stored["evaluation"]["k"] == 7
        assert stored["litevl_version"] == version("litevl")
        assert stored["backbone"] == {"source": "embedded", "revision": None, "image_size": 48}
        assert stored["backbone_fingerprint"] == fingerprint(load_blip("embedded"))

    def test_the_source_of_the_backbone_is_what_its_config_knows(self, plugged, tmp_path):
        plugged.config._name_or_path = "Salesforce/blip-itm-base-coco"
        save_adapters(plugged.vision_model, tmp_path / "encoder")
        assert json.loads((tmp_path / "encoder" / CONFIG_NAME).read_text())["backbone"] == {}
        save_adapters(VideoTextRetrieval(plugged), tmp_path / "task")
        backbone = json.loads((tmp_path / "task" / CONFIG_NAME).read_text())["backbone"]
        assert backbone == {"source": "Salesforce/blip-itm-base-coco"}
        save_adapters(plugged, tmp_path / "said", backbone={"source": "elsewhere", "revision": "abc"})
        backbone = json.loads((tmp_path / "said" / CONFIG_NAME).read_text())["backbone"]
        assert backbone == {"source": "elsewhere", "revision": "abc"}

    @pytest.mark.parametrize("taken", ["format_version", "adapter", "backbone_fingerprint", "peft_type"])
    def test_a_detail_cannot_take_the_place_of_what_the_format_holds(self, plugged, tmp_path, taken):
        with pytest.raises(ValueError, match=f"does not use itself, got {taken}"):
            save_adapters(plugged, tmp_path / "new", **{taken: 1})
        assert not (tmp_path / "new").exists()
        save_adapters(plugged, tmp_path / "new")
        with pytest.raises(ValueError, match=f"does not use itself, got {taken}"):
            add_details(tmp_path / "new", **{taken: 1})

    def test_misuse_is_named(self, blip, tmp_path):
        with pytest.raises(ValueError, match="stock one"):
            save_adapters(blip, tmp_path)
        plug(blip, CONFIG, "mine", verbose=False)
        with pytest.raises(ValueError, match="'mine'; got 'yours'"):
            save_adapters(blip, tmp_path, "yours")
        with disable_adapters(blip), pytest.raises(ValueError, match=r"name=\.\.\."):
            save_adapters(blip, tmp_path)
        assert not list(tmp_path.iterdir())


class TestAFailureHalfWay:
    """An earlier artifact in the folder stays whole, beside whatever else lies there."""

    @pytest.fixture
    def earlier(self, folder):
        (folder / "log.jsonl").write_text("a line\n")
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def check(self, folder, earlier, blip_of_its_own):
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == earlier
        load_adapters(blip_of_its_own, folder, verbose=False)

    def test_a_detail_that_json_cannot_hold(self, plugged, folder, earlier, tokenizer):
        moved(plugged, seed=7)
        with pytest.raises(TypeError, match="JSON"):
            save_adapters(plugged, folder, evaluation={"k": torch.tensor(3)})
        with pytest.raises(TypeError, match="JSON"):
            add_details(folder, metrics={"t2v_r1": torch.tensor(3.0)})
        self.check(folder, earlier, make_blip(tokenizer))

    def test_a_full_disk_while_the_tensors_are_written(self, plugged, folder, earlier, tokenizer, monkeypatch):
        def half(tensors, path):
            path.write_bytes(b"half")
            raise OSError("no space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(artifact, "save_file", half)
            with pytest.raises(OSError, match="no space"):
                save_adapters(moved(plugged, seed=7), folder)
        self.check(folder, earlier, make_blip(tokenizer))

    def test_a_card_that_cannot_be_made(self, plugged, folder, earlier, tokenizer, monkeypatch):
        def fail(config):
            raise OSError("no space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(artifact, "card", fail)
            with pytest.raises(OSError, match="no space"):
                save_adapters(moved(plugged, seed=7), folder)
            with pytest.raises(OSError, match="no space"):
                add_details(folder, metrics={"t2v_r1": 3.0})
        self.check(folder, earlier, make_blip(tokenizer))

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_that_may_not_be_written(self, plugged, folder, earlier, tokenizer):
        folder.chmod(0o500)
        with pytest.raises(OSError, match="denied"):
            save_adapters(plugged, folder)
        folder.chmod(0o700)
        self.check(folder, earlier, make_blip(tokenizer))

    def test_saving_again_replaces_all_of_it(self, plugged, folder, earlier, clips, tokenizer):
        save_adapters(moved(plugged, seed=7), folder, note="again")
        assert {path.name for path in folder.iterdir()} == earlier.keys()
        other = make_blip(tokenizer)
        assert load_adapters(other, folder, verbose=False)["note"] == "again"
        assert torch.equal(encode(other, clips), encode(plugged, clips))

    def test_tensors_loaded_from_a_file_survive_its_replacement(self, plugged, folder):
        tensors = load_file(folder / WEIGHTS_NAME)
        copies = {name: value.clone() for name, value in tensors.items()}
        save_adapters(moved(plugged, seed=7), folder)
        assert all(torch.equal(tensors[name], copies[name]) for name in copies)


def stock(tokenizer):
    blip = make_blip(tokenizer)
    blip.text_proj.requires_grad_(False)
    return blip


def with_another(tokenizer):
    """A model that holds another adapter already, whose whole backbone is being trained."""
    blip = moved(plug(make_blip(tokenizer), STAdapterConfig(num_frames=4), "other", verbose=False), seed=3)
    return blip.requires_grad_(True)


def with_two(tokenizer):
    blip = plug(with_another(tokenizer), AIMConfig(num_frames=4), "newest", verbose=False)
    plugged_state(blip).active = "other"
    return blip


def with_the_same(tokenizer):
    """A model that holds an adapter of that name and configuration, with values of its own."""
    return moved(plug(make_blip(tokenizer), CONFIG, verbose=False), seed=5)


def with_disabled(tokenizer):
    blip = with_another(tokenizer)
    plugged_state(blip).active = None
    return blip


@pytest.fixture(params=[stock, with_another, with_two, with_the_same, with_disabled], ids=lambda make: make.__name__)
def model(request, tokenizer):
    """For what is refused when the adapter is in already, and must go out again."""
    return request.param(tokenizer)


@pytest.fixture
def busy(tokenizer):
    """For what is refused before anything is inserted."""
    return with_two(tokenizer)


class TestRefusals:
    """Each its own message, and the model is as it was, whatever it held."""

    def test_another_backbone(self, model, folder):
        with torch.no_grad():
            model.vision_model.encoder.layers[1].mlp.fc1.bias[3] += 1e-6
        found, wanted = fingerprint(model, "vision encoder"), json.loads((folder / CONFIG_NAME).read_text())
        refused(model, folder, f"vision encoder {wanted['vision_encoder_fingerprint']}, this model's is {found}")
        edited(folder, backbone={"source": "Salesforce/blip-itm-base-coco"})
        refused(model, folder, "load Salesforce/blip-itm-base-coco, in the same dtype")
        edited(folder, backbone={"source": "backbone"})
        refused(model, folder, "folder backbone/ of the run")

    def test_another_dtype(self, busy, folder):
        refused(busy.to(torch.bfloat16), folder, "in the same dtype")

    @pytest.mark.parametrize("name", [CONFIG_NAME, WEIGHTS_NAME])
    def test_a_missing_file(self, model, folder, name):
        (folder / name).unlink()
        refused(model, folder, f"{name}: not there; expected a folder with {CONFIG_NAME} and {WEIGHTS_NAME}")

    @pytest.mark.parametrize("name", [CONFIG_NAME, WEIGHTS_NAME])
    def test_a_file_that_cannot_be_read(self, busy, folder, name):
        (folder / name).unlink()
        (folder / name).mkdir()
        refused(busy, folder, f"{name}: cannot be read")

    @pytest.mark.parametrize("kept", [0, 4, 200, -1])
    def test_truncated_tensors(self, busy, folder, kept):
        weights = folder / WEIGHTS_NAME
        weights.write_bytes(weights.read_bytes()[:kept])
        refused(busy, folder, f"{WEIGHTS_NAME}: truncated or not safetensors")

    def test_truncated_json(self, busy, folder):
        config = folder / CONFIG_NAME
        config.write_bytes(config.read_bytes()[:50])
        refused(busy, folder, f"{CONFIG_NAME}: not valid JSON")
        config.write_bytes(b"\xff\xfe")
        refused(busy, folder, f"{CONFIG_NAME}: not valid JSON")

    @pytest.mark.parametrize("content", [[1], "adapter", 3, None])
    def test_json_that_is_no_object(self, busy, folder, content):
        (folder / CONFIG_NAME).write_text(json.dumps(content))
        refused(busy, folder, f"expected a JSON object, got {type(content).__name__}; this is not an adapter")

    def test_an_adapter_of_peft(self, busy, folder):
        (folder / CONFIG_NAME).write_text(json.dumps({"peft_type": "LORA", "r": 8}))
        refused(busy, folder, "peft's LORA, load it with peft")
        (folder / CONFIG_NAME).write_text(json.dumps({"model_type": "blip"}))
        refused(busy, folder, "no format_version; this is not an adapter that litevl saved")

    @pytest.mark.parametrize("number", ["1", 1.5, [1], True, 0, -1])
    def test_a_format_that_is_no_number(self, busy, folder, number):
        edited(folder, format_version=number)
        refused(busy, folder, f"whole number from 1, got {re.escape(repr(number))}")

    def test_a_newer_format(self, model, folder):
        edited(folder, format_version=9, litevl_version="7.0", adapter=None)
        refused(model, folder, r"format 9, newer than this litevl reads \(1\); upgrade litevl .litevl 7.0 wrote it")

    @pytest.mark.parametrize("key", ["adapter", "backbone_fingerprint", "vision_encoder_fingerprint"])
    def test_a_missing_entry(self, busy, folder, key):
        edited(folder, **{key: None})
        refused(busy, folder, f"{CONFIG_NAME}: no {key}; this is not an adapter")

    @pytest.mark.parametrize(
        ("adapter", "message"),
        [
            (["litevl"], "expected an object with a family and its options, got list"),
            ("litevl", "got str"),
            ({}, "family: expected one of litevl, .*; got None"),
            ({"family": "future"}, "family: expected one of litevl, .*; got 'future'"),
            ({"family": ["litevl"]}, "not a configuration"),
            ({"strange": 3}, "unknown or missing: strange"),
            ({"num_frames": None}, "num_frames: expected int, got None"),
            ({"num_frames": "4"}, "num_frames: expected int, got '4'"),
            ({"num_frames": 4.5}, "num_frames: expected int, got 4.5"),
            ({"num_frames": 0}, "num_frames: expected at least 1"),
            ({"cls": "patch"}, "(?s)not a configuration.*cls"),
            ({"layers": ["first"]}, "layers: expected .*, got .'first',."),
            ({"layers": 3}, "layers: expected .*, got 3"),
            ({"layers": [0, 7]}, "blocks 0 to 2; got 7"),
        ],
    )
    def test_a_configuration_of_nothing_here(self, busy, folder, adapter, message):
        known = json.loads((folder / CONFIG_NAME).read_text())["adapter"]
        edited(folder, adapter={**known, **adapter} if isinstance(adapter, dict) and adapter else adapter)
        refused(busy, folder, message, "new")

    def test_a_configuration_that_cannot_be_built(self, model, folder, monkeypatch):
        def fail_in_the_last_block(self, block, first):
            if block.module is model.vision_model.encoder.layers[-1]:
                raise RuntimeError("no such width")
            return {}

        monkeypatch.setattr(AIMConfig, "build", fail_in_the_last_block)
        edited(folder, adapter=asdict(AIMConfig(num_frames=4)))
        refused(model, folder, "cannot be inserted as 'new'; no such width", "new")

    def test_unknown_and_missing_tensors(self, model, folder):
        tensors = load_file(folder / WEIGHTS_NAME)
        name = "vision_model.encoder.layers.0.temporal_attention.fc.bias"
        tensors["vision_model.strange"] = tensors.pop(name)
        save_file(tensors, folder / WEIGHTS_NAME)
        refused(model, folder, f"does not fit this model: unknown vision_model.strange; missing {name}")

    def test_no_tensors_at_all(self, model, folder):
        save_file({}, folder / WEIGHTS_NAME)
        refused(model, folder, "missing vision_model.encoder.layers.0")

    def test_other_shapes(self, model, folder):
        tensors = load_file(folder / WEIGHTS_NAME)
        name = "vision_model.encoder.layers.0.time_embedding.weight"
        tensors[name] = torch.zeros(1, 128)
        save_file(tensors, folder / WEIGHTS_NAME)
        refused(model, folder, rf"{name}: expected \(4, 128\), got \(1, 128\)")

    @pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64])
    def test_numbers_that_a_copy_would_make_others(self, model, folder, dtype):
        tensors = load_file(folder / WEIGHTS_NAME)
        name = "vision_model.encoder.layers.0.time_embedding.weight"
        tensors[name] = tensors[name].to(dtype)
        save_file(tensors, folder / WEIGHTS_NAME)
        named = str(dtype).removeprefix("torch.")
        refused(model, folder, f"{name}: expected floating-point numbers, got {named}")

    @pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
    def test_numbers_that_are_none(self, model, folder, value):
        tensors = load_file(folder / WEIGHTS_NAME)
        name = "vision_model.encoder.layers.2.temporal_attention.fc.weight"
        tensors[name][3, 4] = value
        save_file(tensors, folder / WEIGHTS_NAME)
        refused(model, folder, f"{name}: holds NaN or infinity")

    @pytest.mark.parametrize("name", ["", "a.b", "keys", "training"])
    def test_a_name_that_cannot_be(self, busy, folder, name):
        refused(busy, folder, "a name without a dot", name)

    def test_lora_that_the_model_lacks(self, busy, folder):
        edited(folder, lora={"r": 8})
        refused(busy, folder, "trained beside LoRA, which lies in its lora/ folder")

    @pytest.mark.parametrize("config", [STAdapterConfig(num_frames=4), replace(CONFIG, cls="frame")])
    def test_another_configuration_under_that_name(self, tokenizer, folder, config):
        other = moved(plug(make_blip(tokenizer), config, verbose=False), seed=3)
        refused(other, folder, f"'default' is {re.escape(str(config))}; unplug it first, or load under another name")

    def test_copied_heads_that_the_model_lacks(self, plugged, tokenizer, tmp_path):
        save_adapters(VideoTextRetrieval(plugged, heads="copied"), tmp_path)
        other = VideoTextRetrieval(plug(make_blip(tokenizer), CONFIG, verbose=False))
        refused(other, tmp_path, "unknown heads.itm_head.bias")

    @pytest.mark.parametrize("holding", [False, True])
    def test_in_the_original_layout_with_its_momentum_copy(self, folder, tokenizer, holding):
        tensors = load_file(folder / WEIGHTS_NAME)
        tensors["vision_model.encoder.layers.2.temporal_attention.fc.weight"][3, 4] = torch.nan
        save_file(tensors, folder / WEIGHTS_NAME)
        model = OriginalBlip(make_blip(tokenizer), momentum=True).eval()
        if holding:
            plug(model, AIMConfig(num_frames=4), "other", verbose=False).requires_grad_(True)
        refused(model, folder, "holds NaN or infinity")

    def test_what_was_refused_loads_once_it_is_mended(self, model, folder, clips, plugged):
        weights = (folder / WEIGHTS_NAME).read_bytes()
        (folder / WEIGHTS_NAME).write_bytes(weights[:-4])
        refused(model, folder, "truncated")
        (folder / WEIGHTS_NAME).write_bytes(weights)
        load_adapters(model, folder, verbose=False)
        assert torch.equal(encode(model, clips), encode(plugged, clips))


class TestAcrossModels:
    def test_another_text_side_is_said_and_loads(self, plugged, folder, tokenizer, clips, caplog):
        other = make_blip(tokenizer)
        with torch.no_grad():
            other.text_encoder.encoder.layer[1].output.dense.bias[3] += 1
        load_adapters(other, folder, verbose=False)
        assert torch.equal(encode(other, clips), encode(plugged, clips))
        (record,) = caplog.records
        assert f"{fingerprint(plugged)}, is now {fingerprint(other)}" in record.message
        assert "another text side" in record.message

    def test_a_file_of_a_task_model_onto_a_bare_blip_names_what_stays(
        self, plugged, tokenizer, clips, tmp_path, caplog
    ):
        save_adapters(VideoTextRetrieval(plugged, heads="copied"), tmp_path)
        other = make_blip(tokenizer)
        load_adapters(other, tmp_path, verbose=False)
        assert torch.equal(encode(other, clips), encode(plugged, clips))
        (record,) = caplog.records
        assert "stay in the file: heads.itm_head.bias, heads.itm_head.weight, heads.temperature" in record.message

    def test_a_file_of_a_task_model_onto_a_bare_vision_encoder(self, plugged, tokenizer, clips, tmp_path, caplog):
        save_adapters(VideoTextRetrieval(plugged), tmp_path)
        encoder = make_blip(tokenizer).vision_model
        load_adapters(encoder, tmp_path, verbose=False)
        assert torch.equal(encoder(clips).last_hidden_state, encode(plugged, clips))
        (record,) = caplog.records
        assert "heads.temperature" in record.message

    def test_adapters_of_a_bare_vision_encoder_onto_a_whole_blip(self, tokenizer, clips, tmp_path, caplog):
        encoder = moved(plug(make_blip(tokenizer).vision_model, CONFIG, verbose=False))
        save_adapters(encoder, tmp_path)
        other = make_blip(tokenizer)
        load_adapters(other, tmp_path, verbose=False)
        assert torch.equal(encode(other, clips), encoder(clips).last_hidden_state)
        assert not caplog.records

    def test_a_file_of_a_task_model_onto_its_like(self, plugged, tokenizer, clips, tmp_path, caplog):
        model = VideoTextRetrieval(plugged, heads="copied")
        moved(model)
        save_adapters(model, tmp_path)
        other = VideoTextRetrieval(plug(make_blip(tokenizer), CONFIG, verbose=False), heads="copied")
        load_adapters(other, tmp_path, verbose=False)
        texts = ["a red square moves left", "a blue circle"]
        scores = [m.match(m.encode_text(texts), m.encode_video(clips)) for m in (model, other)]
        assert torch.equal(*scores)
        assert not caplog.records

    def test_loading_says_what_is_trainable(self, folder, tokenizer, capsys):
        load_adapters(make_blip(tokenizer), folder)
        assert capsys.readouterr().out.startswith("trainable 249.")
        load_adapters(make_blip(tokenizer), folder, verbose=False)
        assert not capsys.readouterr().out


def tables(text):
    """The tables of a Markdown text, as lists of rows of cells."""
    found = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found[-1].append(cells)
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def example(folder):
    return re.search(r"```python\n(.*?)```", (folder / CARD_NAME).read_text(), re.DOTALL)[1]


class TestModelCard:
    METRICS = {  # noqa: RUF012
        "contrastive": {"t2v_r1": 43.25, "v2t_r1": 41.0, "t2v_r1_by_category": {"static": 50.0, "order": 36.5}},
        "reranked": {"t2v_r1": 46.0, "v2t_r1": 44.123456, "t2v_r1_by_category": {"static": 52.0, "order": 40.0}},
    }

    def test_front_matter_and_tables(self, plugged, tmp_path):
        save_adapters(
            plugged,
            tmp_path,
            task="retrieval",
            backbone={"source": "Salesforce/blip-itm-base-coco", "revision": "abc", "image_size": 48},
            metrics=self.METRICS,
            command="accelerate launch recipes/msrvtt_retrieval.py --seed 1",
            preprocessing={"image_size": 48},
            evaluation={"k": 32},
            protocol={"dataset": "MSR-VTT", "test_split": "1k-A", "pattern": "a|b"},
        )
        card = ModelCard.load(tmp_path / CARD_NAME)
        data = card.data.to_dict()
        assert data["base_model"] == "Salesforce/blip-itm-base-coco"
        assert data["library_name"] == "litevl"
        assert data["tags"] == ["litevl", "blip", "video-language"]
        assert "license" not in data
        results, by_category, made = tables(card.text)
        assert results == [
            ["", "t2v_r1", "v2t_r1"],
            ["---"] * 3,
            ["contrastive", "43.25", "41"],
            ["reranked", "46", "44.12"],
        ]
        assert by_category[0] == ["t2v_r1_by_category", "static", "order"]
        assert by_category[3] == ["reranked", "52", "40"]
        assert all(len(row) == 2 for row in made)
        settings = dict(made)
        assert settings["fingerprint of its vision encoder"] == f"`{fingerprint(plugged, 'vision encoder')}`"
        assert settings["fingerprint of the whole backbone"] == f"`{fingerprint(plugged)}`"
        assert settings["preprocessing"] == "image_size `48`"
        assert settings["evaluation"] == "k `32`"
        assert 'pattern `"a\\|b"`' in settings["protocol"]
        assert "```bash\naccelerate launch recipes/msrvtt_retrieval.py --seed 1\n```" in card.text
        assert "# LiteVL for retrieval, on blip-itm-base-coco" in card.text
        assert f"litevl {version('litevl')}" in card.text
        assert "t2v is text to video, v2t video to text" in card.text
        assert "On dataset `MSR-VTT`, test split `1k-A`." in card.text
        assert "author's to choose" in card.text

    @pytest.mark.parametrize("source", ["embedded", "backbone", "checkpoints/model.pth", "/data/blip", "./a/b", ""])
    def test_only_a_hub_id_is_a_base_model(self, plugged, tmp_path, source):
        save_adapters(plugged, tmp_path, backbone={"source": source})
        assert "base_model" not in ModelCard.load(tmp_path / CARD_NAME).data.to_dict()

    def test_a_local_folder_that_looks_like_a_hub_id_is_no_base_model(self, plugged, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "models" / "blip").mkdir(parents=True)
        save_adapters(plugged, tmp_path, backbone={"source": "models/blip"})
        assert "base_model" not in ModelCard.load(tmp_path / CARD_NAME).data.to_dict()

    @pytest.mark.parametrize(
        ("metrics", "expected"),
        [
            (None, []),
            ({}, []),
            ({"note": "none"}, []),
            ({"t2v_r1": 1, "exact": True}, [[["", "t2v_r1"], ["---"] * 2, ["", "1"]]]),
            (
                {"mean_r1": 0.5, "by_word": {"left": 1.0}},
                [[["", "mean_r1"], ["---"] * 2, ["", "0.5"]], [["by_word", "left"], ["---"] * 2, ["", "1"]]],
            ),
            ({"a": {"x|y": 1.0}, "b": {}}, [[["", "x\\|y"], ["---"] * 2, ["a", "1"], ["b", ""]]]),
        ],
    )
    def test_metrics_of_every_shape(self, plugged, tmp_path, metrics, expected):
        save_adapters(plugged, tmp_path, metrics=metrics)
        found = tables(ModelCard.load(tmp_path / CARD_NAME).text)[:-1]
        assert found == expected
        assert ("None were recorded." in (tmp_path / CARD_NAME).read_text()) is (not expected)

    def test_a_licence_is_the_authors(self, plugged, tmp_path):
        save_adapters(plugged, tmp_path, license="mit")
        card = ModelCard.load(tmp_path / CARD_NAME)
        assert card.data.license == "mit"
        assert "These adapters: mit, as their author states it." in card.text

    @pytest.mark.parametrize(
        "config", [CONFIG, BottleneckConfig(num_frames=4, width=64), AIMConfig(num_frames=4, layers=(0, 2))], ids=str
    )
    def test_the_example_runs(self, clips, tmp_path, monkeypatch, config):
        blip = moved(plug(load_blip("embedded"), config, verbose=False))
        save_adapters(blip, tmp_path)
        assert 'load_blip("embedded")' in example(tmp_path)
        monkeypatch.chdir(tmp_path)
        names = {}
        exec(example(tmp_path), names)
        assert torch.equal(encode(names["blip"], clips), encode(blip, clips))

    def test_the_example_of_a_retrieval_model_runs(self, clips, tmp_path, monkeypatch, caplog):
        config = LiteVLConfig(num_frames=4, layers=(0, 2), time_embedding="sinusoidal")
        blip = plug(load_blip("embedded"), config, verbose=False)
        pooling = PoolingConfig(tau=0.5, space="hidden")
        model = moved(VideoTextRetrieval(blip, pooling, heads="copied").eval())
        details = {"task": "retrieval", "pooling": vars(pooling), "heads": "copied"}
        save_adapters(model, tmp_path, backbone={"source": "embedded", "image_size": 48}, **details)
        monkeypatch.chdir(tmp_path)
        names = {}
        exec(example(tmp_path), names)
        texts = ["a red square moves left", "a blue circle"]
        scores = [m.match(m.encode_text(texts), m.encode_video(clips)) for m in (model, names["model"])]
        assert torch.equal(*scores)
        assert not caplog.records

    @pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # peft 0.21 on 5.23
    def test_the_example_of_a_run_beside_lora_runs(self, clips, tmp_path, monkeypatch):
        blip = plug(load_blip("embedded"), CONFIG, verbose=False)
        add_lora(blip, LoraSettings())
        for name, parameter in moved(blip).named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(4))
        save_adapters(blip, tmp_path, lora=asdict(LoraSettings()))
        save_lora(blip, LoraSettings(), tmp_path / "lora")
        monkeypatch.chdir(tmp_path)
        names = {}
        exec(example(tmp_path), names)
        assert torch.equal(encode(names["blip"], clips), encode(blip, clips))
        stock = plug(load_blip("embedded"), CONFIG, verbose=False)
        assert not torch.equal(encode(stock, clips[:, 0]), encode(names["blip"], clips[:, 0]))

    def test_the_example_of_a_run_with_its_own_backbone_runs(self, plugged, clips, tmp_path, monkeypatch):
        save_adapters(plugged, tmp_path, backbone={"source": "backbone"})
        save_blip(plugged, tmp_path / "backbone")
        monkeypatch.chdir(tmp_path)
        names = {}
        exec(example(tmp_path), names)
        assert torch.equal(encode(names["blip"], clips), encode(plugged, clips))

    def test_a_backbone_of_unknown_source_is_asked_for(self, plugged, tmp_path):
        save_adapters(plugged, tmp_path)
        assert 'load_blip("the backbone: a hub id, a folder, or a .pth file")' in example(tmp_path)

    def test_a_readme_of_someone_elses_is_left_alone(self, plugged, tmp_path, caplog):
        (tmp_path / CARD_NAME).write_text("# My project\n")
        save_adapters(plugged, tmp_path)
        add_details(tmp_path, metrics={"t2v_r1": 1.0})
        assert (tmp_path / CARD_NAME).read_text() == "# My project\n"
        assert "no model card of litevl's, left as it is" in caplog.text
        assert (tmp_path / WEIGHTS_NAME).is_file()

    def test_every_value_in_the_front_matter_is_plain_yaml(self, plugged, tmp_path):
        save_adapters(plugged, tmp_path, license="other: see below", backbone={"source": "1e3/no"})
        front_matter = (tmp_path / CARD_NAME).read_text().split("---")[1]
        loaded = yaml.safe_load(front_matter)
        assert loaded["license"] == "other: see below"
        assert loaded["base_model"] == "1e3/no"


def test_the_file_of_an_unplugged_model_still_loads(plugged, folder, clips):
    expected = encode(plugged, clips)
    unplug(plugged)
    load_adapters(plugged, folder, verbose=False)
    assert torch.equal(encode(plugged, clips), expected)
