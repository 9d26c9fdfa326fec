"""Models of every task from what their runs leave on disk give what they gave."""

import json
import shutil

import pytest
import torch

from litevl.adapters import LiteVLConfig, PoolingConfig
from litevl.evilm import EViLM
from litevl.evilm.files import EMBEDDED
from litevl.tasks.saved import Source, frames_of, load_answering, load_captioning, load_retrieval
from litevl.training import RetrievalModelConfig, adapt, load_backbone, save_model
from litevl.training.captioning_model import CaptioningModelConfig
from litevl.training.captioning_model import save as save_captioning
from litevl.training.captioning_model import wrap as wrap_captioning
from litevl.training.question_model import QuestionModelConfig
from litevl.training.question_model import save as save_answering
from litevl.training.question_model import wrap as wrap_answering
from litevl.training.retrieval_model import wrap as wrap_retrieval

CPU = torch.device("cpu")
ADAPTER = LiteVLConfig(num_frames=5)
CLIPS = torch.randn(2, 5, 3, 48, 48, generator=torch.Generator().manual_seed(0))
LISTED = {"answers": ["circle", "square", "star"], "source": "made up", "notes": []}


def trained(config, wrap):
    """A model whose adapters are not fresh any more."""
    model = wrap(adapt(load_backbone(config, CPU), config), config).eval()
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.02 * torch.randn_like(parameter)
    return model


@torch.inference_mode()
def test_retrieval_with_its_heads_and_pooling(tmp_path):
    config = RetrievalModelConfig(adapter=ADAPTER, heads="copied", pooling=PoolingConfig(tau=0.3), max_text_length=6)
    model = trained(config, wrap_retrieval)
    save_model(model, config, tmp_path / "run", protocol={"max_text_length": 6})
    again = load_retrieval(Source(adapter=tmp_path / "run"), CPU)
    assert (frames_of(again), again.pooling, again.max_text_length) == (5, config.pooling, 6)
    text = "a red square moves from the left to the right"
    logits = [each.match_text(each.encode_text([text]), each.encode_video(CLIPS)) for each in (model, again)]
    assert torch.equal(*logits)
    plain = load_retrieval(Source(), CPU)
    assert not torch.allclose(plain.encode_video(CLIPS).embed, again.encode_video(CLIPS).embed, atol=1e-2)
    assert frames_of(plain) == 8


@pytest.mark.parametrize("head", ["decoder", "classifier"])
@torch.inference_mode()
def test_question_answering_with_its_answers(tmp_path, head):
    config = QuestionModelConfig(adapter=ADAPTER, head=head, max_answer_length=4)
    model = trained(config, lambda blip, config: wrap_answering(blip, config, 3))
    save_answering(model, config, tmp_path / "run", answers=LISTED)
    again, answers = load_answering(Source(adapter=tmp_path / "run"), CPU)
    assert (answers, again.max_answer_length) == (tuple(LISTED["answers"]), 4)
    asked = [
        each.ground(each.encode_video(CLIPS), each.tokenize_questions(["what moves?"] * 2)) for each in (model, again)
    ]
    assert torch.equal(asked[0].hidden, asked[1].hidden)
    if head == "classifier":
        assert torch.equal(model.classify(asked[0]), again.classify(asked[1]))


@torch.inference_mode()
def test_captioning_with_its_prompt(tmp_path):
    config = CaptioningModelConfig(adapter=ADAPTER, prompt="a video of")
    model = trained(config, wrap_captioning)
    save_captioning(model, config, tmp_path / "run")
    again = load_captioning(Source(adapter=tmp_path / "run"), CPU)
    assert again.prompt == "a video of"
    assert again.generate(again.encode_video(CLIPS)) == model.generate(model.encode_video(CLIPS))
    with pytest.raises(ValueError, match="expected a run of the task vqa, got one of captioning"):
        load_answering(Source(adapter=tmp_path / "run"), CPU)
    with pytest.raises(ValueError, match="expected a run of the task retrieval, got one of captioning"):
        load_retrieval(Source(adapter=tmp_path / "run"), CPU)


def test_an_evilm_is_told_by_its_folder():
    model = load_retrieval(Source(adapter=EMBEDDED / "pretrained"), CPU)
    assert isinstance(model, EViLM)
    assert frames_of(model) == model.config.num_frames


SPOILED = {
    "a list": (lambda details: [1], r"expected an object, got \[1\]"),
    "no heads": (lambda details: details.pop("heads"), "no heads"),
    "a word as pooling": (lambda details: details.update(pooling="text"), "pooling"),
    "pooling of tomorrow": (lambda details: details["pooling"].update(strange=1), "strange"),
    "a word as backbone": (lambda details: details.update(backbone="x"), "backbone: expected an object, got 'x'"),
    "a size in words": (lambda details: details["backbone"].update(image_size="big"), "image_size"),
    "a choice that is none": (lambda details: details.update(train="everything"), "train"),
    "LoRA as a list": (lambda details: details.update(lora=[1]), "lora: expected an object"),
    "no adapter": (lambda details: details.update(adapter=None), "a family and its options, got None"),
    "a protocol in words": (lambda details: details.update(protocol="x"), "protocol: expected an object"),
    "a length in words": (lambda details: details.update(protocol={"max_text_length": "x"}), "max_text_length"),
}


@pytest.fixture(scope="module")
def saved_run(tmp_path_factory):
    config = RetrievalModelConfig(adapter=ADAPTER)
    folder = tmp_path_factory.mktemp("saved") / "run"
    save_model(trained(config, wrap_retrieval), config, folder, protocol={"max_text_length": 6})
    return folder


@pytest.mark.parametrize("kind", SPOILED)
def test_a_folder_that_says_something_else_of_its_model_is_named(saved_run, kind, tmp_path):
    spoil, message = SPOILED[kind]
    folder = shutil.copytree(saved_run, tmp_path / "run")
    details = json.loads((folder / "adapter_config.json").read_text())
    changed = spoil(details)
    (folder / "adapter_config.json").write_text(json.dumps(changed if kind == "a list" else details))
    with pytest.raises(ValueError, match=message) as caught:
        load_retrieval(Source(adapter=folder), CPU)
    assert str(folder / "adapter_config.json") in str(caught.value)


@pytest.mark.parametrize("answers", [None, "yes", [1], {"answers": [None]}])
def test_answers_that_are_none_are_named(answers, tmp_path):
    config = QuestionModelConfig(adapter=ADAPTER)
    model = trained(config, lambda blip, config: wrap_answering(blip, config, 3))
    save_answering(model, config, tmp_path, answers=LISTED)
    details = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**details, "answers": answers}))
    with pytest.raises(ValueError, match="answers: expected a list of texts"):
        load_answering(Source(adapter=tmp_path), CPU)
