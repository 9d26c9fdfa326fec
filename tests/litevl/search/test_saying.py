"""Answers and captions: in windows, chosen or written, with the model's own probability."""

import pytest
import torch
from rendered_clips import render

from litevl.data.video import VideoError
from litevl.search.saying import Stretch, answer, caption
from litevl.tasks.saved import Source, load_answering, load_captioning

CPU = torch.device("cpu")
QUESTION = "which shape appears first?"


@pytest.fixture(scope="module")
def answering():
    return load_answering(Source(), CPU)[0]


@pytest.fixture(scope="module")
def captioning():
    return load_captioning(Source(), CPU)


def test_a_long_video_is_asked_in_windows(answering, rendered):
    said = list(answer(answering, rendered / "long.mp4", QUESTION, Stretch(seconds=4.0)))
    assert [(round(each.start), round(each.end)) for each in said] == [(0, 4), (4, 8), (8, 12)]
    assert all(each.text and 0 < each.probability <= 1 for each in said)
    (part,) = answer(answering, rendered / "long.mp4", QUESTION, Stretch(4.0, 8.0, seconds=4.0))
    assert part == said[1]


def test_an_answer_from_a_list_is_the_likeliest_of_it(answering, rendered):
    listed = ("circle", "square", "star")
    (said,) = answer(answering, rendered / "a.mp4", QUESTION, Stretch(), listed)
    alone = {word: next(answer(answering, rendered / "a.mp4", QUESTION, Stretch(), (word,))) for word in listed}
    best = max(alone.values(), key=lambda each: each.probability)
    assert (said.text, said.probability) == (best.text, pytest.approx(best.probability))


def test_a_caption_has_its_probability(captioning, rendered):
    (said,) = caption(captioning, rendered / "a.mp4", Stretch())
    again = caption(captioning, rendered / "a.mp4", Stretch(end=100.0))
    assert said == next(again)
    assert said.text.split()
    assert 0 < said.probability < 1


def test_what_leaves_nothing_is_refused(answering, rendered, tmp_path):
    for options in ({"seconds": 0.0}, {"num_frames": 0}, {"start": 3.0, "end": 2.0}):
        with pytest.raises(ValueError, match="expected"):
            Stretch(**options)
    with pytest.raises(ValueError, match=r"expected a start before its end at 0.8 seconds, got 5.0"):
        next(answer(answering, rendered / "a.mp4", QUESTION, Stretch(start=5.0)))
    with pytest.raises(ValueError, match="expected a question"):
        next(answer(answering, rendered / "a.mp4", " ", Stretch()))
    (tmp_path / "no.mp4").write_bytes(b"no")
    with pytest.raises(VideoError, match="expected a readable video"):
        next(answer(answering, tmp_path / "no.mp4", QUESTION, Stretch()))


def test_a_classifier_chooses_from_its_own_list(answering, rendered):
    from litevl.models import VideoQuestionAnswering

    model = VideoQuestionAnswering(answering.blip, answering.pooling, classes=3).eval()
    torch.nn.init.zeros_(model.classifier.layers[-1].weight)
    model.classifier.layers[-1].bias.data = torch.tensor([0.0, 5.0, 0.0])
    (said,) = answer(model, rendered / "a.mp4", QUESTION, Stretch(), ("one", "two", "three"))
    assert (said.text, said.probability) == ("two", pytest.approx(torch.tensor([0, 5.0, 0]).softmax(0)[1].item()))
    with pytest.raises(ValueError, match="chooses among the 3 answers of its training, got 1 others"):
        next(answer(model, rendered / "a.mp4", QUESTION, Stretch(), ("one",)))


def test_one_frame_is_enough(captioning, tmp_path):
    path = render(tmp_path / "one.mp4", frames=1)
    (said,) = caption(captioning, path, Stretch())
    assert said.text
