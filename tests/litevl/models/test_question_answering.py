"""Question answering on clips: equal to what LAVIS computed, ranking equal to scoring every answer."""

import json
import lzma
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import BlipConfig, BlipForQuestionAnswering

from litevl.adapters import FrameAverageConfig, LiteVLConfig, PoolingConfig, named_adapters, plug
from litevl.blip import load_blip, load_tokenizer
from litevl.data.question_files import VideoQuestion
from litevl.evaluation.answering import respell
from litevl.models import TokenBatch, VideoQuestionAnswering

FIXTURES = Path(__file__).resolve().parents[1] / "blip" / "fixtures"
ANSWERS = ["red", "two dogs", "three", "blue", "a ball", "the star", "left"]


@pytest.fixture
def blip(tmp_path):
    """A small random BLIP for question answering, from a checkpoint that LAVIS wrote."""
    path = tmp_path / "vqa.pth"
    path.write_bytes(lzma.decompress((FIXTURES / "vqa.pth.xz").read_bytes()))
    return load_blip(path, vocab=FIXTURES / "vocab.txt")


@pytest.fixture
def expected():
    return load_file(FIXTURES / "vqa_expected.safetensors")


@pytest.fixture
def texts():
    with safe_open(FIXTURES / "vqa_expected.safetensors", framework="pt") as file:
        return {name: json.loads(value) for name, value in file.metadata().items()}


def trained(blip, pooling=None, **options):
    """A model whose adapters have moved."""
    model = VideoQuestionAnswering(plug(blip, LiteVLConfig(num_frames=4, **options), verbose=False), pooling).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, adapter in named_adapters(model):
            for parameter in adapter.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def clips(count=2):
    return torch.randn(count, 4, 3, 24, 24, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_clip_of_one_frame_gives_what_lavis_computed(blip, expected, texts):
    model = VideoQuestionAnswering(plug(blip, FrameAverageConfig(), verbose=False), PoolingConfig("none"))
    video = model.encode_video(expected["images"][:, None])
    questions, answers = model.tokenize_questions(texts["questions"]), model.tokenize_answers(texts["answers"])
    assert torch.equal(answers.input_ids, expected["answer_ids"])
    grounded = model.ground(video, questions)
    mask = expected["question_mask"].bool()
    torch.testing.assert_close(grounded.hidden[mask], expected["question_states"][mask], rtol=0, atol=1e-5)
    asked = grounded[expected["question_of_answer"]]
    scores = expected["answer_logits"].log_softmax(-1)[:, :-1].gather(-1, expected["answer_ids"][:, 1:, None])[..., 0]
    likelihood = (scores * expected["answer_mask"][:, 1:]).sum(1)
    torch.testing.assert_close(model.answer_log_likelihood(asked, answers), likelihood, rtol=0, atol=2e-5)


@torch.no_grad()
@pytest.mark.parametrize("pair_batch", [3, 1000])
def test_ranking_scores_every_answer_when_k_allows(blip, texts, pair_batch):
    model = trained(blip)
    grounded = model.ground(model.encode_video(clips()), model.tokenize_questions(texts["questions"]))
    answers = model.tokenize_answers(ANSWERS)
    whole = torch.stack(
        [model.answer_log_likelihood(grounded, answers[torch.tensor([n, n])]) for n in range(len(ANSWERS))], dim=1
    )
    best, likelihood = model.rank(grounded, answers, k=50, pair_batch=pair_batch)
    assert torch.equal(best, whole.argmax(1))
    torch.testing.assert_close(likelihood, whole.max(1).values, rtol=0, atol=1e-5)


@torch.no_grad()
def test_ranking_by_few_keeps_those_of_the_likeliest_first_token(blip, texts):
    model = trained(blip)
    grounded = model.ground(model.encode_video(clips()), model.tokenize_questions(texts["questions"]))
    answers = model.tokenize_answers(ANSWERS)
    best, _ = model.rank(grounded, answers, k=1)
    start = TokenBatch(answers.input_ids[:2, :1], answers.attention_mask[:2, :1])
    first = model._decode(grounded, start)[:, 0]
    assert torch.equal(best, first[:, answers.input_ids[:, 1]].argmax(1))


@torch.no_grad()
def test_the_batch_does_not_change_an_answer(blip, texts):
    """Padding of questions is hidden from the decoder, and each question reads its own clip."""
    model = trained(blip, PoolingConfig("text", space="hidden"))
    answers = model.tokenize_answers(ANSWERS)
    together = model.ground(model.encode_video(clips()), model.tokenize_questions(texts["questions"]))
    best, likelihood = model.rank(together, answers)
    written = model.generate(together)
    for row, question in enumerate(texts["questions"]):
        alone = model.ground(model.encode_video(clips()[row : row + 1]), model.tokenize_questions([question]))
        one, its = model.rank(alone, answers)
        assert one[0] == best[row]
        torch.testing.assert_close(its[0], likelihood[row], rtol=0, atol=1e-5)
        assert model.generate(alone)[0] == written[row]


@pytest.mark.parametrize("mode", ["none", "mean", "text"])
@pytest.mark.parametrize("cls", ["clip", "frame"])
def test_the_loss_trains_the_adapters_and_sees_order(blip, texts, mode, cls):
    pooling = PoolingConfig(mode, space="hidden")
    model = VideoQuestionAnswering(plug(blip, LiteVLConfig(num_frames=4, cls=cls), verbose=False), pooling)
    questions, answers = model.tokenize_questions(texts["questions"]), model.tokenize_answers(["red", "three"])
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(6):
        loss = model(clips(), questions, answers).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    with torch.no_grad():
        forward, backward = (model(each, questions, answers) for each in (clips(), clips().flip(1)))
    assert not torch.allclose(forward, backward, rtol=0, atol=5e-6)


@torch.no_grad()
@pytest.mark.parametrize("pair_batch", [1, 4, 100])
def test_answers_that_begin_alike_and_are_of_several_lengths_are_ranked_in_full(blip, texts, pair_batch):
    """Few candidates, which share their first token: each is scored to its own end, whatever stands beside it."""
    model = trained(blip)
    grounded = model.ground(model.encode_video(clips()), model.tokenize_questions(texts["questions"]))
    words = ["a", "a ball", "a red ball", "a red dog", "a dog", "blue"]
    answers = model.tokenize_answers(words)
    k = 5
    start = TokenBatch(answers.input_ids[:2, :1], answers.attention_mask[:2, :1])
    first = model._decode(grounded, start)[:, 0].log_softmax(-1)[:, answers.input_ids[:, 1]]
    best, likelihood = model.rank(grounded, answers, k=k, pair_batch=pair_batch)
    for row in range(2):
        kept = first[row].topk(k).indices.tolist()
        alone = torch.tensor([row])
        whole = {n: model.answer_log_likelihood(grounded[alone], model.tokenize_answers([words[n]]))[0] for n in kept}
        assert int(best[row]) == max(whole, key=lambda n: float(whole[n]))
        torch.testing.assert_close(likelihood[row], max(whole.values()), rtol=0, atol=1e-5)


@torch.no_grad()
def test_likelihoods_are_not_rounded_under_mixed_precision(blip, texts):
    """Logits of eight bits tie; what is compared at the end is float32."""
    model = trained(blip)
    grounded = model.ground(model.encode_video(clips()), model.tokenize_questions(texts["questions"]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model.answer_logits(grounded, model.tokenize_answers(ANSWERS[:2]))
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())


def test_an_answer_is_compared_as_the_tokenizer_spells_it(blip):
    model = VideoQuestionAnswering(plug(blip, FrameAverageConfig(), verbose=False))
    for answer in ANSWERS:
        assert model.as_written(answer) == answer
    spelled = model.as_written("red-red's")
    assert spelled == model.tokenizer.decode(model.tokenizer("red-red's", add_special_tokens=False)["input_ids"])
    question = VideoQuestion("7", "v", "what?", "red-red's", "what")
    assert respell({"7": spelled}, [question], model) == {"7": "red-red's"}
    assert respell({"7": "blue"}, [question], model) == {"7": "blue"}


def test_encoders_of_two_widths_are_named_before_they_meet():
    width = {"num_attention_heads": 2, "intermediate_size": 64, "num_hidden_layers": 1}
    vision = {**width, "hidden_size": 64, "image_size": 32, "patch_size": 16}
    text = {**width, "hidden_size": 32, "encoder_hidden_size": 64, "vocab_size": 60}
    wide = BlipForQuestionAnswering(BlipConfig(vision_config=vision, text_config=text))
    plug(wide, FrameAverageConfig(), verbose=False)
    tokenizer = load_tokenizer(FIXTURES / "vocab.txt")
    with pytest.raises(ValueError, match=r"64 \(vision\) and 32 \(text\) wide"):
        VideoQuestionAnswering(wide, tokenizer=tokenizer)
    VideoQuestionAnswering(wide, PoolingConfig("mean", space="hidden"), tokenizer=tokenizer)


def test_misuse_is_named(blip, tokenizer):
    from small_blip import make_blip

    with pytest.raises(ValueError, match="stock one"):
        VideoQuestionAnswering(blip)
    with pytest.raises(ValueError, match="text_decoder"):
        VideoQuestionAnswering(make_blip(tokenizer))
    plug(blip, FrameAverageConfig(), verbose=False)
    with pytest.raises(ValueError, match="'hidden'"):
        VideoQuestionAnswering(blip, PoolingConfig())
