"""Encoders that start from published models say what those say."""

import json

import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    BertTokenizer,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from litevl.blip import CheckpointError, load_tokenizer
from litevl.data.preprocess import PreprocessConfig
from litevl.evilm import EViLM, EViLMConfig
from litevl.evilm.initial import load_text_weights, load_vision_weights
from litevl.evilm.video_encoder import VideoEncoder

SIZES = EViLMConfig(
    image_size=24,
    patch_size=8,
    num_frames=3,
    vision_dim=32,
    vision_layers=2,
    vision_heads=2,
    dim=32,
    heads=4,
    text_layers=2,
    fusion_layers=1,
    embed_dim=16,
    max_positions=40,
)
VIT = {
    "hidden_size": 32,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 24,
    "patch_size": 8,
    "layer_norm_eps": 1e-6,
}
BERT = {
    "hidden_size": 32,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}


def drawn(model, seed=0):
    """The model with every parameter drawn: norms at one and biases at zero would hide a mistake with them."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = 0.2 * noise + (1.0 if parameter.ndim == 1 else 0.0)
    return model.eval()


def made_vit(kind=ViTModel, **other):
    return drawn(kind(ViTConfig(**{**VIT, **other})))


def saved(model, folder, new_names=False):
    """A folder as transformers writes it, or with a state dict saved as it is."""
    model.save_pretrained(folder)
    if new_names:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return str(folder)


def made_encoder(**other):
    """An encoder whose time table says nothing, since no ViT has one."""
    torch.manual_seed(1)
    encoder = VideoEncoder(EViLMConfig(**{**vars(SIZES), **other})).eval()
    torch.nn.init.zeros_(encoder.time)
    return encoder


def drawn_clips(size=24, seed=0):
    return torch.randn(2, 3, 3, size, size, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def frame_by_frame(vit, clips, **options):
    """What a ViT says of clips, laid out as our rows: the mean of the frames' CLS, then the patches."""
    hidden = vit(clips.flatten(0, 1), **options).last_hidden_state.unflatten(0, clips.shape[:2])
    return torch.cat([hidden[:, :, 0].mean(dim=1, keepdim=True), hidden[:, :, 1:].flatten(1, 2)], dim=1)


@pytest.mark.parametrize("kind", [ViTModel, ViTForImageClassification])
@pytest.mark.parametrize("new_names", [False, True])
@torch.no_grad()
def test_the_video_encoder_is_the_vit_frame_by_frame(kind, new_names, tmp_path):
    vit, encoder = made_vit(kind), made_encoder()
    told = load_vision_weights(encoder, saved(vit, tmp_path / "vit", new_names))
    assert told == f"the video encoder starts from the 2 layers of {tmp_path / 'vit'}"
    expected = frame_by_frame(getattr(vit, "vit", vit), drawn_clips())
    torch.testing.assert_close(encoder(drawn_clips()), expected, atol=1e-5, rtol=1e-5)


def test_what_a_vit_does_not_have_stays(tmp_path):
    torch.manual_seed(1)
    encoder = VideoEncoder(SIZES)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    load_vision_weights(encoder, saved(made_vit(), tmp_path / "vit"))
    kept = {name for name, value in encoder.state_dict().items() if torch.equal(value, before[name])}
    assert kept == {name for name in before if name in ("time", "mask_token") or ".time_attention.proj." in name}
    for block in encoder.blocks:
        assert torch.equal(block.time_attention.qkv.weight, block.attention.qkv.weight)
        assert torch.equal(block.time_norm.weight, block.norm1.weight)
    assert any(".time_attention." in name for name in kept)


@torch.no_grad()
def test_another_grid_interpolates_the_positions_alone(tmp_path):
    vit, encoder = made_vit(), made_encoder(image_size=40)
    told = load_vision_weights(encoder, saved(vit, tmp_path / "vit"))
    assert told.endswith("its positions interpolated to 5 x 5 patches")
    assert torch.equal(encoder.position[0], vit.embeddings.position_embeddings[0, 0])
    expected = frame_by_frame(vit, drawn_clips(40), interpolate_pos_encoding=True)
    torch.testing.assert_close(encoder(drawn_clips(40)), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_pixels_normalised_otherwise_are_read_as_the_vit_reads_them(tmp_path):
    vit, encoder = made_vit(), made_encoder()
    source = saved(vit, tmp_path / "vit")
    mean, std = [0.5, 0.4, 0.3], [0.5, 0.25, 0.2]
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps({"image_mean": mean, "image_std": std}))
    assert "rewritten for BLIP's mean and deviation" in load_vision_weights(encoder, source)
    frames = torch.rand(2, 3, 3, 24, 24, generator=torch.Generator().manual_seed(0))

    def normalised(mean, std):
        return (frames - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    own = PreprocessConfig()
    expected = frame_by_frame(vit, normalised(mean, std))
    torch.testing.assert_close(encoder(normalised(own.mean, own.std)), expected, atol=1e-4, rtol=1e-4)
    (tmp_path / "vit" / "preprocessor_config.json").write_text('{"do_normalize": false}')
    load_vision_weights(encoder, source)
    torch.testing.assert_close(
        encoder(normalised(own.mean, own.std)), frame_by_frame(vit, frames), atol=1e-4, rtol=1e-4
    )
    (tmp_path / "vit" / "preprocessor_config.json").write_text('{"image_mean": 0.5, "image_std": 0.5}')
    with pytest.raises(CheckpointError, match=r"expected three numbers each for image_mean.*got 0.5"):
        load_vision_weights(encoder, source)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"hidden_size": 64}, r"expected .* hidden_size 32, got hidden_size 64"),
        ({"num_hidden_layers": 3}, r"expected .* num_hidden_layers 2, got num_hidden_layers 3"),
        ({"num_attention_heads": 4}, r"expected .* num_attention_heads 2, got num_attention_heads 4"),
        ({"patch_size": 12}, r"expected .* patch_size 8, got patch_size 12"),
        ({"hidden_act": "relu"}, r"expected .* hidden_act gelu, got hidden_act relu"),
    ],
)
def test_a_vit_of_other_sizes_is_refused(other, message, tmp_path):
    encoder = made_encoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_vision_weights(encoder, saved(made_vit(**other), tmp_path / "vit"))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_what_is_no_complete_vit_is_refused(tmp_path):
    vit, encoder = made_vit(), made_encoder()
    state = vit.state_dict()
    broken = {
        "lacking": {name: value for name, value in state.items() if name != "layernorm.bias"},
        "wide": {**state, "layers.1.mlp.fc1.bias": torch.zeros(130)},
        "infinite": {**state, "layernorm.bias": torch.full((32,), torch.inf)},
    }
    for name, tensors in broken.items():
        saved(vit, tmp_path / name, new_names=True)
        torch.save(tensors, tmp_path / name / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"lacking: expected a tensor layernorm.bias, the weights hold none"):
        load_vision_weights(encoder, str(tmp_path / "lacking"))
    with pytest.raises(CheckpointError, match=r"wide: .*\(128,\) for blocks.1.feed_forward.0.bias, got \(130,\)"):
        load_vision_weights(encoder, str(tmp_path / "wide"))
    with pytest.raises(CheckpointError, match=r"infinite: expected finite weights, .* norm.bias"):
        load_vision_weights(encoder, str(tmp_path / "infinite"))
    with pytest.raises(CheckpointError, match=r'"model_type": "vit" in config\.json, got .blip.'):
        load_vision_weights(encoder, "embedded")
    with pytest.raises(CheckpointError, match="or a hub id, got a file"):
        load_vision_weights(encoder, str(tmp_path / "wide" / "pytorch_model.bin"))
    (tmp_path / "wide" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config.json: expected a JSON file"):
        load_vision_weights(encoder, str(tmp_path / "wide"))


def test_a_vit_on_the_hub(tmp_path, monkeypatch):
    vit, encoder = made_vit(), made_encoder()
    saved(vit, tmp_path / "0123abcd")
    preprocessing = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "0123abcd" / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    revisions = []

    def download(repo_id, name, revision):
        revisions.append(revision)
        if repo_id != "someone/vit-tiny" or not (tmp_path / "0123abcd" / name).is_file():
            raise EntryNotFoundError(f"no {name} in {repo_id}")
        return str(tmp_path / "0123abcd" / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **kwargs: None)
    told = load_vision_weights(encoder, "someone/vit-tiny")
    assert told.startswith(
        "the video encoder starts from the 2 layers of someone/vit-tiny, its patch embedding rewritt"
    )
    assert (revisions[0], set(revisions[1:])) == (None, {"0123abcd"})
    with pytest.raises(CheckpointError, match=r"someone/else: expected config.json on the hub"):
        load_vision_weights(encoder, "someone/else")


@pytest.fixture
def made(tokenizer):
    """A fresh text encoder and its tokenizer."""
    torch.manual_seed(1)
    return EViLM(SIZES, tokenizer).eval().text_encoder, tokenizer


def plain_words(tokenizer):
    ids = {word: i for word, i in tokenizer.get_vocab().items() if word not in ("[DEC]", "[ENC]")}
    return sorted(ids, key=ids.__getitem__)


def made_bert(tokenizer, kind=BertModel, extra=0, **other):
    rows = len(plain_words(tokenizer)) + extra
    return drawn(kind(BertConfig(**{**BERT, "vocab_size": rows, **other})))


def write_vocabulary(folder, words):
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")


@torch.no_grad()
def assert_reads_as(encoder, bert, tokenizer):
    """The hidden state of the original after as many layers as ours has."""
    batch = tokenizer(["a red square moves left", "the star before"], padding=True, return_tensors="pt")
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    expected = bert(**inputs, output_hidden_states=True).hidden_states[2]
    found = encoder(**inputs).last_hidden_state
    seen = batch["attention_mask"].bool()
    torch.testing.assert_close(found[seen], expected[seen], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM])
def test_the_text_encoder_is_the_first_layers(kind, made, tmp_path):
    encoder, tokenizer = made
    bert = made_bert(tokenizer, kind)
    fresh = encoder.embeddings.word_embeddings.weight.detach().clone()
    told = load_text_weights(encoder, saved(bert, tmp_path / "bert"), tokenizer)
    count = len(plain_words(tokenizer))
    assert told == (
        f"the text encoder starts from the first 2 of 3 layers of {tmp_path / 'bert'}, "
        f"with the rows of {count} words and 40 positions"
    )
    assert_reads_as(encoder, getattr(bert, "bert", bert), tokenizer)
    ids = tokenizer.convert_tokens_to_ids(["[DEC]", "[ENC]"])
    assert torch.equal(encoder.embeddings.word_embeddings.weight[ids], fresh[ids])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_old_names_and_half_precision(dtype, made, tmp_path):
    encoder, tokenizer = made
    bert = made_bert(tokenizer, BertForMaskedLM).to(dtype)
    saved(bert, tmp_path / "bert")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in bert.state_dict().items()
    }
    assert any(name.endswith("LayerNorm.gamma") for name in old)
    (tmp_path / "bert" / "model.safetensors").unlink()
    torch.save(old, tmp_path / "bert" / "pytorch_model.bin")
    load_text_weights(encoder, str(tmp_path / "bert"), tokenizer)
    assert encoder.dtype == torch.float32
    assert_reads_as(encoder, bert.float().bert, tokenizer)


def test_a_vocabulary_beside_the_weights(made, tmp_path):
    """Rows beyond it, as of a table that was rounded up, do no harm."""
    encoder, tokenizer = made
    bert, words = made_bert(tokenizer, extra=5), plain_words(tokenizer)
    source = saved(bert, tmp_path / "bert")
    with pytest.raises(CheckpointError, match=rf"rows for the {len(words)} words .* got {len(words) + 5}; add its vo"):
        load_text_weights(encoder, source, tokenizer)
    write_vocabulary(tmp_path / "bert", words)
    load_text_weights(encoder, source, tokenizer)
    assert_reads_as(encoder, bert, tokenizer)
    write_vocabulary(tmp_path / "bert", [*words[:5], *reversed(words[5:9]), *words[9:]])
    with pytest.raises(CheckpointError, match=rf"4 of its {len(words)} words .* such as 'a' \(5 here, 8 there\)"):
        load_text_weights(encoder, source, tokenizer)
    (tmp_path / "bert" / "vocab.txt").unlink()
    BertTokenizer({word: i for i, word in enumerate(words[:-1])}).save_pretrained(tmp_path / "bert")
    with pytest.raises(CheckpointError, match=rf"1 of its {len(words)} words .* such as 'after' .* none there"):
        load_text_weights(encoder, source, tokenizer)


def test_our_two_tokens_before_the_words_move_their_ids(tokenizer, tmp_path):
    """Where they come first, every word's id is another than the source's, though the words are as many."""
    words = plain_words(tokenizer)
    (tmp_path / "bert").mkdir()
    write_vocabulary(tmp_path, ["[ENC]", "[DEC]", *words])
    ours = load_tokenizer(tmp_path / "vocab.txt")
    encoder, source = EViLM(SIZES, ours).text_encoder, saved(made_bert(tokenizer), tmp_path / "bert")
    with pytest.raises(CheckpointError, match=rf"rows for ids up to {len(words) + 1}, got {len(words)}"):
        load_text_weights(encoder, source, ours)


def test_a_shorter_table_of_positions_leaves_the_others(made, tmp_path):
    encoder, tokenizer = made
    bert, fresh = made_bert(tokenizer, max_position_embeddings=24), encoder.embeddings.position_embeddings.weight
    last = fresh[24:].detach().clone()
    assert load_text_weights(encoder, saved(bert, tmp_path / "bert"), tokenizer).endswith("and 24 positions")
    assert torch.equal(encoder.embeddings.position_embeddings.weight[24:], last)
    assert_reads_as(encoder, bert, tokenizer)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"hidden_size": 64}, r"expected .* hidden_size 32, got hidden_size 64"),
        ({"num_attention_heads": 2}, r"expected .* num_attention_heads 4, got num_attention_heads 2"),
        ({"intermediate_size": 64}, r"expected .* intermediate_size 128, got intermediate_size 64"),
        ({"num_hidden_layers": 1}, r"expected a BERT of at least 2 layers, .* got 1"),
        ({"hidden_act": "relu"}, r"expected .* hidden_act gelu, got hidden_act relu"),
    ],
)
def test_a_bert_of_other_sizes_is_refused(other, message, made, tmp_path):
    encoder, tokenizer = made
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_text_weights(encoder, saved(made_bert(tokenizer, **other), tmp_path / "bert"), tokenizer)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_a_bert_must_be_one_and_whole(made, tmp_path):
    encoder, tokenizer = made
    with pytest.raises(CheckpointError, match=r'"model_type": "bert" in config\.json, got .vit.'):
        load_text_weights(encoder, saved(made_vit(), tmp_path / "vit"), tokenizer)
    bert = made_bert(tokenizer)
    saved(bert, tmp_path / "bert", new_names=True)
    lacking = {name: value for name, value in bert.state_dict().items() if "layer.1.output.dense.bias" not in name}
    torch.save(lacking, tmp_path / "bert" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"expected a tensor encoder.layer.1.output.dense.bias"):
        load_text_weights(encoder, str(tmp_path / "bert"), tokenizer)


def test_a_config_of_the_first_years_names_no_type(made, tmp_path):
    encoder, tokenizer = made
    source, path = saved(made_bert(tokenizer), tmp_path / "bert"), tmp_path / "bert" / "config.json"
    content = json.loads(path.read_text())
    del content["model_type"]
    path.write_text(json.dumps(content))
    assert load_text_weights(encoder, source, tokenizer)


def test_the_full_size_takes_the_models_that_its_help_names(tokenizer):
    """Sizes of facebook/deit-tiny-patch16-224 and of microsoft/MiniLM-L12-H384-uncased."""
    full = EViLMConfig()
    assert (full.vision_dim, full.vision_layers, full.vision_heads, full.patch_size) == (192, 12, 3, 16)
    assert (full.dim, full.heads) == (384, 12)
    assert full.text_layers <= 12
