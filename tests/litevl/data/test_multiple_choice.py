"""MSR-VTT's multiple-choice file."""

import json

import pytest

from litevl.data.annotations import AnnotationError, LeakError
from litevl.data.msrvtt import load_msrvtt
from litevl.data.multiple_choice import load_choices, refuse_trained

ROWS = [
    {"video": "video7.mp4", "caption": ["a cat sleeps", "a man is fixing a bike", "rain"], "answer": 1},
    {"video": "videos/video9010.mp4", "caption": ["rain", "a chef"], "answer": 0},
]


def written(tmp_path, rows):
    path = tmp_path / "msrvtt_mc_test.json"
    path.write_text(json.dumps(rows))
    return path


def test_rows_become_choices(tmp_path):
    one, other = load_choices(written(tmp_path, ROWS))
    assert (one.video_id, one.key, one.answer, one.captions[1]) == ("video7", "video7", 1, "a man is fixing a bike")
    assert (other.video_id, other.captions) == ("video9010", ("rain", "a chef"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": 3}, "row 0: expected the place of one of 2 captions or more, got 3 of 3"),
        ({"answer": "1"}, "row 0: expected the place of the right caption as int"),
        ({"caption": "a cat"}, "row 0: expected the captions to choose from as list"),
        ({"caption": ["a cat"], "answer": 0}, "got 0 of 1"),
        ({"video": "video9010"}, "row 1: the video video9010 is there twice"),
    ],
)
def test_damage_is_named_with_its_place(tmp_path, change, message):
    with pytest.raises(AnnotationError, match=message):
        load_choices(written(tmp_path, [{**ROWS[0], **change}, ROWS[1]]))


def test_missing_keys_and_empty_files_are_named(tmp_path):
    with pytest.raises(AnnotationError, match="row 0: expected video, caption and answer, got no answer"):
        load_choices(written(tmp_path, [{"video": "video7", "caption": ["a", "b"]}]))
    with pytest.raises(AnnotationError, match="expected rows, got none"):
        load_choices(written(tmp_path, []))


def test_videos_that_are_trained_on_are_refused(tmp_path):
    path = written(tmp_path, ROWS)
    choices = load_choices(path)
    refuse_trained(path, choices, {"video1"})
    with pytest.raises(LeakError, match=r"video7: 1 of 2 videos are trained on; train on --data\.train-split 7k"):
        refuse_trained(path, choices, {"video7", "video1"})


def test_alone_it_is_named_where_retrieval_is_looked_for(tmp_path):
    written(tmp_path, ROWS)
    with pytest.raises(AnnotationError, match=r"msrvtt_mc_test\.json is multiple choice.*--data\.choices"):
        load_msrvtt(tmp_path, "7k", "1k-A")
