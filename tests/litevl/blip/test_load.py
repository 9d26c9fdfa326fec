import copy
import json
import shutil

import pytest
import torch
import transformers
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from litevl.blip import CheckpointError, LoadReport, load_blip

TASKS = ("retrieval", "vqa", "captioning")


def assert_same(blip, model):
    assert type(blip) is type(model)
    expected, state = model.state_dict(), blip.state_dict()
    assert list(state) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor), name


def momentum_and_queues(model, small):
    copies = {
        name.replace(".", "_m.", 1): torch.zeros_like(tensor)
        for name, tensor in small.original_names(model.state_dict()).items()
    }
    queues = {name: torch.randn(16, 8) for name in ("image_queue", "text_queue", "idx_queue")}
    pointers = {"ptr_queue": torch.zeros(1), "queue_ptr": torch.zeros(1), "temp": torch.tensor(0.05)}
    return copies | queues | pointers | {"text_encoder.embeddings.position_ids": torch.arange(32)[None]}


@pytest.mark.parametrize("task", TASKS)
def test_transformers_folder(small, tmp_path, task, capfd):
    model = small.small_blip(task)
    folder = small.write_folder(tmp_path, model)
    capfd.readouterr()
    blip = load_blip(folder)
    assert capfd.readouterr() == ("", "")
    assert_same(blip, model)
    assert not blip.training
    assert all(parameter.requires_grad for parameter in blip.parameters())
    report = blip.load_report
    assert (report.format, report.task, report.source) == ("transformers", task, str(folder))
    assert (report.missing, report.unexpected, report.dropped, report.temperature) == ((), (), (), None)
    assert (report.image_size, report.interpolated_from, report.notes) == (32, None, ())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("wrapper", ["model", "state_dict", None])
def test_original_checkpoint(small, tmp_path, task, wrapper):
    model = small.small_blip(task)
    training_state = momentum_and_queues(model, small)
    blip = load_blip(small.write_original(tmp_path, model, wrapper, **training_state))
    assert_same(blip, model)
    report = blip.load_report
    assert (report.format, report.task) == ("original", task)
    assert set(report.dropped) == set(training_state)
    assert report.temperature == pytest.approx(0.05)
    assert set(report.matched) == set(model.state_dict())
    # The width of the unused contrastive projection is not in a caption or VQA checkpoint; every size in use is.
    for part in ("vision_config", "text_config"):
        inferred, true = getattr(blip.config, part), getattr(model.config, part)
        for size in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"):
            assert getattr(inferred, size) == getattr(true, size), size


def test_the_loaded_models_compute_the_same(small, tmp_path):
    model = small.small_blip()
    blip = load_blip(small.write_original(tmp_path, model))
    pixels, ids = torch.randn(2, 3, 32, 32), torch.tensor([[2, 5, 6, 3], [2, 8, 3, 0]])
    for head in (True, False):
        with torch.no_grad():
            expected = model(ids, pixels, use_itm_head=head, attention_mask=(ids != 0).long()).itm_score
            assert torch.equal(
                blip(ids, pixels, use_itm_head=head, attention_mask=(ids != 0).long()).itm_score, expected
            )


@pytest.mark.parametrize("task", ["vqa", "captioning"])
def test_the_decoders_head_is_tied(small, tmp_path, task):
    for source in (small.write_folder, small.write_original):
        decoder = load_blip(source(tmp_path, small.small_blip(task))).text_decoder
        assert decoder.cls.predictions.decoder.weight is decoder.bert.embeddings.word_embeddings.weight
        assert decoder.cls.predictions.decoder.bias is decoder.cls.predictions.bias


@pytest.mark.parametrize("task", ["vqa", "captioning"])
def test_generation_uses_the_tokenizers_ids(small, tmp_path, task, capfd):
    config = small.small_config()
    config.text_config.bos_token_id, config.text_config.sep_token_id = 30522, 102  # the published vocabulary's
    model = getattr(transformers, small.CLASSES[task])(config)
    folder = small.write_folder(tmp_path, model)
    capfd.readouterr()
    blip = load_blip(folder)
    assert capfd.readouterr() == ("", "")
    assert any("bos_token_id 30522" in note for note in blip.load_report.notes)
    inputs = {"pixel_values": torch.randn(1, 3, 32, 32)} | (
        {"input_ids": torch.tensor([[2, 5, 3]])} if task == "vqa" else {}
    )
    ids = blip.generate(**inputs, max_new_tokens=3)
    assert ids[0, 0] == small.DEC
    assert ids.max() < small.ROWS


def pretraining_checkpoint(small, folder):
    retrieval, captioning = small.small_blip("retrieval", seed=1), small.small_blip("captioning", seed=2)
    decoder = {name: t for name, t in captioning.state_dict().items() if name.startswith("text_decoder")}
    return small.write_original(folder, retrieval, **decoder), retrieval.state_dict() | decoder


@pytest.mark.parametrize("task", [None, *TASKS])
def test_pretraining_checkpoint(small, tmp_path, task):
    path, state = pretraining_checkpoint(small, tmp_path)
    blip = load_blip(path, task=task)
    assert type(blip).__name__ == small.CLASSES[task or "retrieval"]
    for name, tensor in blip.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert blip.load_report.unexpected == ()
    assert len(blip.load_report.matched) + len(blip.load_report.dropped) == len(state)


def test_task_that_the_checkpoint_cannot_serve(small, tmp_path):
    path = small.write_original(tmp_path, small.small_blip("captioning"))
    with pytest.raises(CheckpointError, match=r"checkpoint.pth.*'retrieval', missing text_encoder.*serve captioning"):
        load_blip(path, task="retrieval")
    with pytest.raises(CheckpointError, match=r"one of retrieval, vqa, captioning or None, got 'vidqa'"):
        load_blip(path, task="vidqa")


def test_round_trip_through_save_pretrained(small, tmp_path):
    (tmp_path / "first").mkdir()
    blip = load_blip(small.write_original(tmp_path / "first", small.small_blip("vqa")))
    blip.save_pretrained(tmp_path / "second")
    blip.tokenizer.save_pretrained(tmp_path / "second")
    again = load_blip(tmp_path / "second")
    assert_same(again, blip)
    assert again.tokenizer.get_vocab() == blip.tokenizer.get_vocab()
    assert again.config.text_config.bos_token_id == small.DEC
    assert again.load_report.notes == ()


def test_shards_and_bin_files(small, tmp_path):
    model = small.small_blip()
    sharded = small.write_folder(tmp_path / "sharded", model, max_shard_size="100KB")
    assert (sharded / "model.safetensors.index.json").is_file()
    assert_same(load_blip(sharded), model)
    binary = small.write_folder(tmp_path / "binary", model)
    (binary / "model.safetensors").unlink()
    torch.save(model.state_dict(), binary / "pytorch_model.bin")
    assert_same(load_blip(binary), model)


def test_weights_file_of_transformers_without_its_config(small, tmp_path):
    model = small.small_blip()
    folder = small.write_folder(tmp_path, model)
    blip = load_blip(folder / "model.safetensors")
    assert_same(blip, model)
    assert blip.load_report.format == "transformers"


def test_legacy_pickle_and_parallel_prefix(small, tmp_path):
    model = small.small_blip()
    state = {f"module.{name}": tensor for name, tensor in small.original_names(model.state_dict()).items()}
    torch.save({"model": state}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    small.write_vocabulary(tmp_path)
    assert_same(load_blip(tmp_path / "old.pth"), model)


def test_image_size(small, tmp_path):
    model = small.small_blip()
    folder = small.write_folder(tmp_path, model)
    blip = load_blip(folder, image_size=48)
    assert (blip.load_report.image_size, blip.load_report.interpolated_from) == (48, 32)
    assert "interpolated from 32 px" in str(blip.load_report)
    assert blip.config.vision_config.image_size == 48
    # transformers' own interpolation at call time is the reference.
    pixels = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        expected = model.vision_model(pixels, interpolate_pos_encoding=True).last_hidden_state
        torch.testing.assert_close(blip.vision_model(pixels).last_hidden_state, expected)
    assert load_blip(folder, image_size=32).load_report.interpolated_from is None
    with pytest.raises(CheckpointError, match=r"multiple of the patch size 8, got 50; the nearest is 48"):
        load_blip(folder, image_size=50)


def test_epsilon_and_dtype(small, tmp_path):
    model = small.small_blip()
    model.config.vision_config.layer_norm_eps = 1e-5
    folder = small.write_folder(tmp_path, model)
    norms = load_blip(folder).vision_model.encoder.layers[1].layer_norm1
    assert norms.eps == 1e-6
    assert load_blip(folder, vision_eps=None).load_report.vision_eps == 1e-5
    half = load_blip(folder, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


def test_missing_weights_are_named(small, tmp_path):
    model = small.small_blip()
    lost = "text_encoder.encoder.layer.1.crossattention.self.value.bias"
    for path in (small.write_folder(tmp_path, model) / "model.safetensors", small.write_original(tmp_path, model)):
        tensors = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)["model"]
        del tensors[lost]
        save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
        source = tmp_path if path.suffix == ".safetensors" else path
        with pytest.raises(CheckpointError, match=f"1 are missing: {lost}"):
            load_blip(source)


def test_missing_part_is_named_when_no_task_fits(small, tmp_path):
    path = small.write_original(tmp_path, small.small_blip())
    state = torch.load(path, weights_only=True)["model"]
    torch.save({name: t for name, t in state.items() if not name.startswith("itm_head")}, path)
    with pytest.raises(CheckpointError, match=r"for the task 'retrieval', missing itm_head"):
        load_blip(path)


def test_unexpected_weights_are_reported(small, tmp_path):
    extra = {"text_encoder.pooler.dense.weight": torch.zeros(2, 2), "cls_head.0.bias": torch.zeros(3)}
    blip = load_blip(small.write_original(tmp_path, small.small_blip(), **extra))
    assert set(blip.load_report.unexpected) == set(extra)
    assert "2 unexpected" in str(blip.load_report)
    assert "cls_head.0.bias" in str(blip.load_report)


def test_shapes_that_contradict_the_config_are_named(small, tmp_path):
    folder = small.write_folder(tmp_path, small.small_blip())
    config = json.loads((folder / "config.json").read_text())
    config["image_text_hidden_size"] = 24
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"vision_proj.weight \(16, 64\) for \(24, 64\)"):
        load_blip(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_are_named(small, tmp_path, value):
    model = small.small_blip()
    model.itm_head.bias.data[0] = value
    with pytest.raises(CheckpointError, match=r"NaN or infinity in 1 of .*itm_head.bias"):
        load_blip(small.write_original(tmp_path, model))


def test_a_cast_that_overflows_is_named(small, tmp_path):
    model = small.small_blip()
    model.itm_head.bias.data[0] = 1e6
    folder = small.write_folder(tmp_path, model)
    load_blip(folder)
    with pytest.raises(CheckpointError, match=r"as float16.*itm_head.bias"):
        load_blip(folder, dtype=torch.float16)


def test_untied_decoder_is_refused(small, tmp_path):
    path = small.write_original(tmp_path, small.small_blip("captioning"))
    state = torch.load(path, weights_only=True)
    state["model"]["text_decoder.cls.predictions.decoder.weight"] += 1
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"predictions.decoder.weight and .*word_embeddings.weight to be equal"):
        load_blip(path)


def test_loading_uses_up_no_randomness(small, tmp_path):
    folder = small.write_folder(tmp_path, small.small_blip())
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load_blip(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_copies_keep_tokenizer_and_report(small, tmp_path):
    blip = load_blip(small.write_folder(tmp_path, small.small_blip()))
    twin = copy.deepcopy(blip)
    assert isinstance(twin.load_report, LoadReport)
    assert twin.tokenizer("a dog")["input_ids"] == [2, 5, 16, 3]
    assert not [name for name in blip.state_dict() if "tokenizer" in name]


@pytest.mark.parametrize("source", ["model.pth", "runs/best.pth", "a/b/c", "./blip", "~/blip", "word", r"C:\blip\x"])
def test_a_missing_path_is_never_asked_of_the_hub(source, monkeypatch):
    asked = []
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *args, **kwargs: asked.append(args))
    with pytest.raises(CheckpointError, match=r"there is nothing at"):
        load_blip(source)
    assert not asked


def fake_hub(monkeypatch, tmp_path, remote):
    """A hub that holds one model, and caches as huggingface_hub does: one folder for each commit."""
    snapshot = tmp_path / "cache" / "0123abcd"
    snapshot.mkdir(parents=True)
    revisions = []

    def download(repo_id, name, revision):
        revisions.append(revision)
        if repo_id != "someone/blip-v1.5" or not (remote / name).is_file():
            raise EntryNotFoundError(f"no {name} in {repo_id}")
        return str(shutil.copy(remote / name, snapshot / name))

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    return revisions


def test_hub(small, tmp_path, monkeypatch):
    model = small.small_blip()
    remote = small.write_folder(tmp_path / "remote", model, max_shard_size="100KB")
    revisions = fake_hub(monkeypatch, tmp_path, remote)
    blip = load_blip("someone/blip-v1.5")
    assert revisions[0] is None
    assert set(revisions[1:]) == {"0123abcd"}
    assert_same(blip, model)
    assert blip.load_report.revision == "0123abcd"
    assert "someone/blip-v1.5 at 0123abcd" in str(blip.load_report)
    with pytest.raises(CheckpointError, match=r"someone/else: expected config.json on the hub.*local copy"):
        load_blip("someone/else")


def test_hub_out_of_reach_is_asked_once(small, tmp_path, monkeypatch):
    """Everything needed is in the cache, the rest is not: one request fails, no second one waits."""
    snapshot = small.write_folder(tmp_path / "0123abcd", small.small_blip())
    asked = []

    def download(repo_id, name, revision):
        asked.append(name)
        if name == "config.json":
            return str(snapshot / name)
        raise LocalEntryNotFoundError("no connection")

    def cached(repo_id, name, revision):
        return str(snapshot / name) if (snapshot / name).is_file() else None

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    load_blip("someone/blip-v1.5")
    assert asked == ["config.json", "tokenizer.json"]


def test_original_checkpoint_needs_a_vocabulary(small, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args: None)
    path = small.write_original(tmp_path, small.small_blip())
    vocabulary = (tmp_path / "vocab.txt").rename(tmp_path / "words.txt")
    with pytest.raises(
        CheckpointError, match=r"checkpoint.pth: expected a vocabulary.*vocab.txt beside it or pass vocab="
    ):
        load_blip(path)
    assert load_blip(path, vocab=vocabulary).tokenizer.bos_token == "[DEC]"


def test_vocabulary_that_does_not_fit(small, tmp_path):
    path = small.write_original(tmp_path, small.small_blip())
    small.write_vocabulary(tmp_path, (*small.VOCABULARY, "one", "more"))
    with pytest.raises(CheckpointError, match=r"has 21 word embeddings.*has 23 ids.*\[DEC\] = 21, \[ENC\] = 22"):
        load_blip(path)
    path = small.write_original(tmp_path, small.small_blip(rows=small.ROWS + 65))
    with pytest.raises(CheckpointError, match=r"86 word embeddings; .* only 21 ids, so it is another one"):
        load_blip(path)
    path = small.write_original(tmp_path, small.small_blip(rows=small.ROWS + 3))
    assert load_blip(path).config.text_config.vocab_size == small.ROWS + 3


def test_what_is_no_blip(tmp_path, small):
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other.pth: expected a BLIP checkpoint.*got layer.weight"):
        load_blip(tmp_path / "other.pth")
    folder = small.write_folder(tmp_path / "folder", small.small_blip())
    (folder / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(CheckpointError, match=r'"model_type": "blip" in config.json, got \'clip\''):
        load_blip(folder)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config.json: expected a JSON file"):
        load_blip(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"one of model.safetensors.*found vocab.txt.*pass the .pth file"):
        load_blip(folder)


def test_old_transformers_is_named(monkeypatch):
    monkeypatch.setattr(transformers, "__version__", "4.26.1")
    with pytest.raises(RuntimeError, match=r"needs transformers 5.0 or newer, found 4.26.1"):
        load_blip("embedded")


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64])
def test_weights_that_are_no_floating_point_numbers_are_not_cast(small, tmp_path, dtype):
    """A quantised model's int8 would become weights up to 127."""
    path = small.write_original(tmp_path, small.small_blip())
    state = torch.load(path, weights_only=True)["model"]
    torch.save({**state, "itm_head.weight": state["itm_head.weight"].to(dtype)}, path)
    named = str(dtype).removeprefix("torch.")
    with pytest.raises(CheckpointError, match=rf"got 1 of \d+ in another type: itm_head.weight \({named}\)"):
        load_blip(path)


@pytest.mark.parametrize("layer", ["999999999", "3", "2"])
def test_a_layer_that_is_only_a_name_builds_nothing(small, tmp_path, layer):
    path = small.write_original(
        tmp_path, small.small_blip(), **{f"visual_encoder.blocks.{layer}.norm1.bias": torch.zeros(1)}
    )
    with pytest.raises(
        CheckpointError, match=r"layers vision_model\.encoder\.layers\.0, 1, 2 \.\.\. without a gap|are missing"
    ):
        load_blip(path)


@pytest.mark.parametrize("part", ["vision_config", "text_config"])
@pytest.mark.parametrize("layers", [10**9, 1])
def test_a_config_with_other_layers_than_the_weights_builds_nothing(small, tmp_path, part, layers):
    folder = small.write_folder(tmp_path, small.small_blip())
    config = json.loads((folder / "config.json").read_text())
    config[part]["num_hidden_layers"] = layers
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        CheckpointError, match=rf"expected the {layers} layers of {part} in config.json, the weights have 2"
    ):
        load_blip(folder)


@pytest.mark.parametrize(
    "sizes", [{"hidden_size": "64"}, {"hidden_size": 2**62}, {"patch_size": 0}, {"num_attention_heads": 0}]
)
def test_a_config_that_is_no_blips_is_named(small, tmp_path, sizes):
    folder = small.write_folder(tmp_path, small.small_blip())
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"] |= sizes
    (folder / "config.json").write_text(json.dumps(config))
    if sizes == {"num_attention_heads": 0}:
        assert load_blip(folder).load_report.notes == (
            "vision_config: 0 heads in the folder's config, 1 used (head width 64)",
        )
        return
    with pytest.raises(
        CheckpointError,
        match=r"expected (the sizes of a|the shapes of the config|a whole number for)",
    ):
        load_blip(folder)


@pytest.mark.parametrize(
    "shard", ["../secret.safetensors", "/etc/weights.bin", "..", "", "a\\b.bin", "a\0.bin", 7, None]
)
def test_shards_lie_beside_their_index(small, tmp_path, shard):
    folder = small.write_folder(tmp_path / "blip", small.small_blip())
    (folder / "model.safetensors").rename(tmp_path / "secret.safetensors")
    index = folder / "model.safetensors.index.json"
    for content in ({"weight_map": {"itm_head.weight": shard}}, {"weight_map": [shard]}, {}, {"weight_map": {}}):
        index.write_text(json.dumps(content))
        with pytest.raises(
            CheckpointError, match=r"index\.json: expected weight_map with the names of files beside it"
        ):
            load_blip(folder)


def test_a_weight_in_two_shards_or_under_two_names_is_refused(small, tmp_path):
    folder = small.write_folder(tmp_path / "twice", small.small_blip())
    weights = (folder / "model.safetensors").read_bytes()
    for name in "ab":
        (folder / f"{name}.safetensors").write_bytes(weights)
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"itm_head.weight": "a.safetensors", "itm_head.bias": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"b\.safetensors: expected each weight once, other shards hold itm_head"):
        load_blip(folder)
    model = small.small_blip()
    path = small.write_original(tmp_path, model, **{small.VISION_CLASS: model.state_dict()[small.VISION_CLASS]})
    with pytest.raises(CheckpointError, match=rf"expected each weight once, got {small.VISION_CLASS} under two names"):
        load_blip(path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    "content", ["{", "[]", '{"model": 3}', '{"added_tokens_decoder": 7, "model": {"type": "BPE"}}', "\udcff"]
)
def test_a_damaged_tokenizer_is_named(small, tmp_path, name, content):
    folder = small.write_folder(tmp_path, small.small_blip())
    load_blip(folder).tokenizer.save_pretrained(folder)
    (folder / name).write_text(content, errors="surrogateescape")
    with pytest.raises(
        CheckpointError, match=r"expected BERT's tokenizer in tokenizer\.json and tokenizer_config\.json"
    ):
        load_blip(folder)
