"""Models of every task from what their runs leave on disk give what they gave."""

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
