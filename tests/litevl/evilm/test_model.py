"""E-ViLM as a model for retrieval and for question answering, and on disk."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from litevl.adapters.time_axis import resample_frames
from litevl.blip import CheckpointError
from litevl.evilm import EViLM, EViLMConfig, EViLMQuestionAnswering, files, load_evilm, save_evilm
from litevl.models.interfaces import QuestionModel, RetrievalModel

SIZES = EViLMConfig(
    image_size=24,
    patch_size=8,
    num_frames=3,
    vision_dim=32,
    vision_layers=2,
    vision_heads=2,
    dim=48,
    heads=2,
    text_layers=2,
    fusion_layers=2,
    embed_dim=16,
    max_text_length=8,
    max_positions=20,
)
TEXTS = ["a red square", "the star moves left", "a blue circle before the red star moves down"]
WEIGHTS = "evilm.safetensors"


def made(tokenizer, vision_targets=None, seed=0):
    """A model whose every parameter has left its start, where attention over time and biases are zero."""
    torch.manual_seed(seed)
    model = EViLM(SIZES, tokenizer, vision_targets)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "raw_temperature":
                parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval()


@pytest.fixture
def model(tokenizer):
    return made(tokenizer)


def drawn_clips(clips=4, time=3, size=24, seed=0):
    return torch.randn(clips, time, 3, size, size, generator=torch.Generator().manual_seed(seed))


def close(first, second):
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_retrieval_interface(model):
    assert isinstance(model, RetrievalModel)
    assert (model.image_size, model.embed_dim, model.device.type) == (24, 16, "cpu")
    text, video = model.encode_text(TEXTS), model.encode_video(drawn_clips())
    assert text.tokens.input_ids.shape == (3, 8)
    assert (text.hidden.shape, text.embed.shape) == ((3, 48), (3, 16))
    assert (video.rows.shape, video.embed.shape, video.num_frames) == ((4, 28, 32), (4, 16), 3)
    assert video.patches.shape == (4, 3, 9, 32)
    for embed in (text.embed, video.embed):
        close(embed.norm(dim=1), torch.ones(len(embed)))
    assert torch.equal(model.similarity(text, video), text.embed @ video.embed.T)
    both = model(drawn_clips(), model.tokenize(TEXTS))
    assert torch.equal(both[0].rows, video.rows)
    assert torch.equal(both[1].embed, text.embed)


@torch.no_grad()
def test_match_is_match_pairs_pair_by_pair(model):
    text, video = model.encode_text(TEXTS), model.encode_video(drawn_clips())
    matched = model.match(text, video)
    assert matched.shape == (3, 4)
    assert ((matched > 0) & (matched < 1)).all()
    assert matched.std(dim=0).min() > 1e-4
    assert matched.std(dim=1).min() > 1e-4
    for i in range(3):
        for j in range(4):
            logits = model.match_pairs(text[i : i + 1], video[j : j + 1])
            close(matched[i, j], logits.softmax(dim=-1)[0, 1])


@torch.no_grad()
def test_padding_changes_nothing(model):
    video, tokens = model.encode_video(drawn_clips(3)), model.tokenize(TEXTS)
    text, padded = model.encode_text(tokens), model.encode_text(tokens.pad_to(15))
    close(padded.embed, text.embed)
    close(model.match_pairs(padded, video), model.match_pairs(text, video))
    alone = model.encode_text(TEXTS[:1])
    assert alone.tokens.input_ids.shape[1] < tokens.input_ids.shape[1]
    close(model.match_pairs(alone, video[:1]), model.match_pairs(text, video)[:1])


@torch.no_grad()
def test_a_videos_score_is_its_own(model):
    text, clips = model.encode_text(TEXTS), drawn_clips()
    together, alone = model.encode_video(clips), model.encode_video(clips[2:3])
    close(model.similarity(text, together)[:, 2:3], model.similarity(text, alone))
    close(model.match(text, together)[:, 2:3], model.match(text, alone))


@torch.no_grad()
def test_images_are_clips_of_one_frame(model):
    images = drawn_clips()[:, 0]
    assert torch.equal(model.encode_video(images).rows, model.encode_video(images[:, None]).rows)


@torch.no_grad()
def test_fusion_reads_both(model):
    text, video = model.encode_text(TEXTS), model.encode_video(drawn_clips(3))
    words, rows = model.fuse(text.tokens, video)
    assert (words.shape, rows.shape) == ((3, 8, 48), (3, 28, 48))
    other_words, other_rows = model.fuse(text.tokens[torch.tensor([1, 1, 2])], video[torch.tensor([0, 1, 1])])
    assert (rows[0] - other_rows[0]).abs().max() > 1e-3
    assert (words[2] - other_words[2]).abs().max() > 1e-3
    close(words[1], other_words[1])


def test_the_temperature_keeps_to_blips_range(model):
    with torch.no_grad():
        model.raw_temperature.fill_(3.0)
    assert model.temperature() == 0.5
    model.clamp_temperature()
    assert model.raw_temperature == 0.5


def test_checkpointing_gives_the_same_gradients(tokenizer):
    plain, saving = made(tokenizer).train(), made(tokenizer).train()
    saving.enable_checkpointing()
    for model in (plain, saving):
        video, text = model(drawn_clips(3), model.tokenize(TEXTS))
        (model.match_pairs(text, video).square().sum() + model.similarity(text, video).square().sum()).backward()
    for (name, parameter), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        if parameter.grad is None:
            assert other.grad is None, name
        else:
            torch.testing.assert_close(parameter.grad, other.grad, msg=name)
    # Words and rows each have their own.
    assert (plain.modality.weight.grad.abs().amax(dim=1) > 0).all()


@torch.no_grad()
def test_question_answering(model):
    answering = EViLMQuestionAnswering(model, 5).eval()
    assert isinstance(answering, QuestionModel)
    questions = answering.tokenize_questions(TEXTS)
    length = questions.input_ids.shape[1]
    assert length <= model.config.max_text_length
    video = answering.encode_video(drawn_clips(3))
    grounded = answering.ground(video, questions)
    assert grounded.hidden.shape == (3, length, 48)
    assert torch.equal(grounded.attention_mask, questions.attention_mask)
    assert answering.classify(grounded).shape == (3, 5)
    other = answering.ground(video[torch.tensor([0, 1, 1])], questions)
    close(other.hidden[:2], grounded.hidden[:2])
    assert (other.hidden[2] - grounded.hidden[2]).abs().max() > 1e-3


@torch.no_grad()
def test_saved_and_loaded_bit_for_bit(model, tmp_path):
    save_evilm(model, tmp_path / "run", task="retrieval")
    torch.manual_seed(9)
    again = load_evilm(tmp_path / "run")
    assert not again.training
    assert again.config == model.config
    assert again.tokenizer.get_vocab() == model.tokenizer.get_vocab()
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    texts, clips = model.encode_text(TEXTS), drawn_clips(3)
    assert torch.equal(again.encode_text(TEXTS).embed, texts.embed)
    assert torch.equal(
        again.match_pairs(texts, again.encode_video(clips)), model.match_pairs(texts, model.encode_video(clips))
    )
    assert files.read_record(tmp_path / "run")["task"] == "retrieval"
    files.add_to_record(tmp_path / "run", metrics={"t2v_r1": 1.0})
    record = files.read_record(tmp_path / "run")
    assert (record["task"], record["metrics"]) == ("retrieval", {"t2v_r1": 1.0})
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["evilm.json", WEIGHTS, "vocab.txt"]


def test_a_whole_vocabulary_survives(shared_data, tmp_path):
    from litevl.blip import load_tokenizer

    tokenizer = load_tokenizer(shared_data / "bert" / "bert-base-uncased-vocab.txt")
    save_evilm(EViLM(SIZES, tokenizer), tmp_path / "run")
    again = load_evilm(tmp_path / "run")
    assert len(again.tokenizer) == 30524
    assert again.tokenizer.get_vocab() == tokenizer.get_vocab()


def test_heads_of_another_task_are_left_aside(tokenizer, tmp_path):
    model = made(tokenizer, vision_targets=7)
    answering = EViLMQuestionAnswering(model, 5)
    save_evilm(model, tmp_path / "run", classifier=answering.classifier)
    assert load_evilm(tmp_path / "run").pretraining is None
    pretrained = load_evilm(tmp_path / "run", vision_targets=7)
    for name, value in model.state_dict().items():
        assert torch.equal(pretrained.state_dict()[name], value), name
    torch.manual_seed(9)
    again = EViLMQuestionAnswering(load_evilm(tmp_path / "run"), 5)
    files.load_classifier(again.classifier, tmp_path / "run")
    for name, value in answering.classifier.state_dict().items():
        assert torch.equal(again.classifier.state_dict()[name], value), name
    with pytest.raises(CheckpointError, match=r"expected \(4,.*\), got \(5,.*\)"):
        files.load_classifier(EViLMQuestionAnswering(model, 4).classifier, tmp_path / "run")


@pytest.mark.parametrize(("saved", "asked"), [(7, 6), (7, 0), (0, 6)])
def test_another_number_of_vision_targets_takes_all_but_that_head(saved, asked, tokenizer, tmp_path):
    model = made(tokenizer, vision_targets=saved)
    save_evilm(model, tmp_path / "run")
    again, before = load_evilm(tmp_path / "run", vision_targets=asked), model.state_dict()
    fresh = {name for name, value in again.state_dict().items() if not torch.equal(value, before.get(name, value + 1))}
    assert fresh == ({"pretraining.patches.weight", "pretraining.patches.bias"} if asked else set())
    assert asked == 0 or again.pretraining.patches.out_features == asked
    save_evilm(made(tokenizer), tmp_path / "plain")
    assert load_evilm(tmp_path / "plain", vision_targets=asked).pretraining is not None, "all heads are fresh"


def test_a_head_for_other_labels_of_the_same_number_is_fresh(tokenizer, tmp_path):
    model = made(tokenizer, vision_targets=7)
    save_evilm(model, tmp_path / "run", labels="codes 1234")
    for labels, kept in (("codes 1234", True), (None, True), ("codes 5678", False)):
        head = load_evilm(tmp_path / "run", vision_targets=7, labels=labels).pretraining.patches.weight
        assert torch.equal(head, model.pretraining.patches.weight) is kept


def test_a_head_that_is_lost_is_named(tokenizer, tmp_path):
    save_evilm(made(tokenizer, vision_targets=7), tmp_path / "run")
    edited_weights(tmp_path / "run", **{"pretraining.patches.weight": None})
    with pytest.raises(CheckpointError, match=rf"{WEIGHTS}: .* pretraining.patches.weight: expected \(7, 48\), got n"):
        load_evilm(tmp_path / "run", vision_targets=7)


@torch.no_grad()
def test_another_number_of_frames_interpolates(model, tmp_path):
    save_evilm(model, tmp_path / "run")
    longer = load_evilm(tmp_path / "run", num_frames=5)
    assert longer.config.num_frames == 5
    assert torch.equal(longer.video_encoder.time, resample_frames(model.video_encoder.time, 5))
    clips = drawn_clips(time=5)
    assert torch.equal(longer.encode_video(clips).rows, model.encode_video(clips).rows)
    save_evilm(longer, tmp_path / "longer")
    assert load_evilm(tmp_path / "longer").config.num_frames == 5


def edited_record(folder, **changes):
    record = json.loads((folder / "evilm.json").read_text())
    (folder / "evilm.json").write_text(json.dumps({**record, **changes}))


def edited_weights(folder, **changes):
    tensors = {**load_file(folder / WEIGHTS), **changes}
    save_file({name: value for name, value in tensors.items() if value is not None}, folder / WEIGHTS)


DAMAGES = {
    "cut off": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:5000]),
        rf"{WEIGHTS}: .* whole",
    ),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), rf"{WEIGHTS}, found nothing"),
    "lacking": (
        lambda f: edited_weights(f, **{"fusion_norm.bias": None}),
        rf"{WEIGHTS}: .* fusion_norm.bias: expected \(48,\), got nothing",
    ),
    "time lacking": (
        lambda f: edited_weights(f, **{"video_encoder.time": None}),
        rf"{WEIGHTS}: .* video_encoder.time: expected \(5, 32\), got nothing",
    ),
    "foreign": (
        lambda f: edited_weights(f, **{"another.weight": torch.zeros(2)}),
        rf"{WEIGHTS}: .* another.weight: expected nothing, got \(2,\)",
    ),
    "other shape": (
        lambda f: edited_weights(f, **{"match_head.weight": torch.zeros(3, 48)}),
        rf"{WEIGHTS}: .* match_head.weight: expected \(2, 48\), got \(3, 48\)",
    ),
    "not JSON": (lambda f: (f / "evilm.json").write_text("{"), r"evilm.json: expected the JSON file of an E-ViLM"),
    "a list": (lambda f: (f / "evilm.json").write_text("[1]"), r"evilm.json: expected .* object, got list"),
    "no sizes": (lambda f: (f / "evilm.json").write_text("{}"), r"evilm.json: expected .*'architecture'"),
    "unknown size": (
        lambda f: edited_record(f, architecture={"depth": 3}),
        r"evilm.json: expected an E-ViLM's sizes .*depth",
    ),
    "sizes as a list": (lambda f: edited_record(f, architecture=[48]), r"evilm.json: expected an E-ViLM's sizes"),
    "bad size": (
        lambda f: edited_record(f, architecture={"image_size": 50}),
        r"evilm.json: expected .* image_size that patches of 16 fill, got 50",
    ),
    "no words": (lambda f: (f / "vocab.txt").unlink(), r"there is nothing at '.*vocab.txt'"),
    "other words": (
        lambda f: (f / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dog"])),
        rf"{WEIGHTS}: .* text_encoder.embeddings.word_embeddings.weight: expected \(8, 48\), got \(24, 48\)",
    ),
}


@pytest.fixture(scope="module")
def whole(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    save_evilm(made(tokenizer), folder)
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_and_foreign_files_are_named(damage, whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "run")
    change, message = DAMAGES[damage]
    change(folder)
    with pytest.raises(ValueError, match=message):
        load_evilm(folder, num_frames=5)


def test_sources_without_an_evilm(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match=r"none: expected 'embedded' or the folder of an E-ViLM.*found none"):
        load_evilm(tmp_path / "none")
    monkeypatch.setattr(files, "EMBEDDED", tmp_path / "not shipped")
    with pytest.raises(CheckpointError, match=r"embedded: expected .* as recipes/evilm_pretrain.py writes it"):
        load_evilm("embedded")
