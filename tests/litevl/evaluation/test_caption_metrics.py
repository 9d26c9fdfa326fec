"""Caption metrics against hand-made cases, and the words they count."""

import math

import pytest

from litevl.evaluation.caption_metrics import caption_metrics, words

REFERENCES = {
    "v1": ["a red square moves left", "a red square slides left"],
    "v2": ["a blue star grows next to a cross"],
}


def test_a_perfect_caption_has_every_score_at_its_top():
    written = {video: texts[0] for video, texts in REFERENCES.items()}
    found = caption_metrics(written, REFERENCES)
    assert [found["bleu1"], found["bleu4"]] == pytest.approx([100, 100], abs=1e-4)
    assert found["rouge_l"] == found["equal_to_reference"] == pytest.approx(100)
    # 10 a video, times 100; of v1, whose second reference differs, less.
    assert 500 < found["cider"] < 1000


def test_hand_made_values():
    """v1: 4 of 5 words are right, in order; v2: nothing is."""
    written = {"v1": "a red square moves right", "v2": "nothing here fits this at all ever said"}
    found = caption_metrics(written, REFERENCES)
    assert found["bleu1"] == pytest.approx(100 * 4 / 13, abs=1e-4)
    precision = recall = 4 / 5
    rouge = (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)
    assert found["rouge_l"] == pytest.approx(100 * rouge / 2)
    assert found["equal_to_reference"] == 0


def test_the_shorter_caption_pays_the_brevity_penalty():
    found = caption_metrics({"v2": "a blue star"}, {"v2": REFERENCES["v2"]})
    assert found["bleu1"] == pytest.approx(100 * math.exp(1 - 8 / 3), rel=1e-4)


def test_case_and_punctuation_do_not_count():
    same = caption_metrics({"v1": "A red square, moves LEFT."}, {"v1": ["a red square moves left"]})
    assert same["equal_to_reference"] == 100


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A man's dog, barking!", "a man 's dog barking"),
        ("he doesn't - they're well-known (3.5 km)...", "he does n't they 're well-known 3.5 km"),
        ("it\u2019s \u201cgood\u201d", "it 's good"),
        ("", ""),
        ('she says "hello" at 5:30', "she says hello at 5:30"),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize("written", [{}, {"v1": "a"}, {"v1": "a", "v3": "b"}])
def test_captions_of_other_videos_are_refused(written):
    with pytest.raises(ValueError, match="a caption for each of 2 videos"):
        caption_metrics(written, REFERENCES)
