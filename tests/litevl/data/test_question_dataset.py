"""Clips with questions: each question once an epoch, the same in every run of one seed, none lost in silence."""

from collections import Counter

import pytest
import torch
from rendered_clips import number, render

from litevl.data.preprocess import PreprocessConfig
from litevl.data.question_dataset import QuestionedVideoDataset, by_video, collate_questioned
from litevl.data.question_files import VideoQuestion
from litevl.data.video import VideoError

SMALL = PreprocessConfig(64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("questioned")
    for place in range(3):
        render(root / f"video{place}.mp4", frames=12, height=64, width=64)
    return root


@pytest.fixture
def questions():
    """One, four and six questions about three videos, in mixed order."""
    order = [0, 1, 2, 1, 2, 2, 1, 2, 2, 1, 2]
    return [VideoQuestion(str(n), f"video{video}", f"what is {n}?", str(n), "what") for n, video in enumerate(order)]


def epoch(dataset, number):
    return [dataset[number, row] for row in range(len(dataset))]


def test_videos_come_in_order_with_all_their_questions(questions):
    videos = by_video(questions)
    assert [video.video_id for video in videos] == ["video0", "video1", "video2"]
    assert [len(video.questions) for video in videos] == [1, 4, 6]
    assert (videos[0].key, videos[0].start, videos[0].end) == ("video0", None, None)


@pytest.mark.parametrize(("most", "rows"), [(1, 11), (3, 5), (4, 4), (10, 3)])
def test_every_question_is_asked_once_an_epoch_of_its_own_video(folder, questions, most, rows):
    dataset = QuestionedVideoDataset(by_video(questions), folder, 4, SMALL, most)
    assert len(dataset) == rows
    for each in range(2):
        items = epoch(dataset, each)
        assert Counter(q.question_id for item in items for q in item["questions"]) == Counter(map(str, range(11)))
        assert all(q.video_id == item["video_id"] for item in items for q in item["questions"])
        assert all(1 <= len(item["questions"]) <= most for item in items)


def test_what_is_random_follows_from_seed_epoch_and_row(folder, questions):
    def dealt(seed, number):
        dataset = QuestionedVideoDataset(by_video(questions), folder, 4, SMALL, 3, seed=seed)
        items = epoch(dataset, number)
        return [[q.question_id for q in item["questions"]] for item in items], torch.stack([i["frames"] for i in items])

    (one, frames), (again, same) = dealt(0, 1), dealt(0, 1)
    assert one == again
    assert torch.equal(frames, same)
    assert dealt(0, 2)[0] != one
    assert dealt(1, 1)[0] != one


def test_a_batch_says_which_clip_each_question_is_about(folder, questions):
    dataset = QuestionedVideoDataset(by_video(questions), folder, 4, SMALL, 3)
    items = epoch(dataset, 0)
    batch = collate_questioned(items)
    assert batch["frames"].shape == (5, 4, 3, 64, 64)
    assert len(batch["clip"]) == len(batch["questions"]) == 11
    for place, question in zip(batch["clip"].tolist(), batch["questions"], strict=True):
        assert batch["video_id"][place] == question.video_id


def test_a_bad_video_is_an_error_or_taken_out_with_its_questions_and_named(folder, questions):
    videos = by_video([*questions, VideoQuestion("99", "video9", "where is it?", "gone", "where")])
    with pytest.raises(VideoError, match="video9"):
        QuestionedVideoDataset(videos, folder, 4, SMALL, 3)[0, 5]
    dataset = QuestionedVideoDataset(videos, folder, 4, SMALL, 3, on_bad_video="skip")
    batch = collate_questioned([dataset[0, 5], dataset[0, 0]])
    assert (batch["video_id"], batch["bad"], batch["clip"].tolist()) == (["video0"], ["video9"], [0])
    assert "video9" in batch["reasons"][0]
    nothing = collate_questioned([dataset[0, 5]])
    assert nothing["frames"].shape == (0, 0, 3, 64, 64)


def test_segments_of_one_file_are_clips_of_their_own(folder):
    own = [
        VideoQuestion("0", "video0", "what first?", "a", "what", None, 0.2),
        VideoQuestion("1", "video0", "what then?", "b", "what", 0.2, None),
        VideoQuestion("2", "video0", "what else?", "c", "what", None, 0.2),
    ]
    videos = by_video(own)
    assert [(v.video_id, v.key, v.start, v.end, len(v.questions)) for v in videos] == [
        ("video0@-0.2", "video0", None, 0.2, 2),
        ("video0@0.2-", "video0", 0.2, None, 1),
    ]
    dataset = QuestionedVideoDataset(videos, folder, 4, SMALL, 3)
    first, second = (
        {number(frame) for frame in item["frames"].permute(0, 2, 3, 1).numpy()} for item in epoch(dataset, 0)
    )
    assert max(first) < 5 <= min(second)  # 0.2 s at 25 frames a second


def test_no_questions_at_a_time_is_refused(folder, questions):
    with pytest.raises(ValueError, match="at least one question"):
        QuestionedVideoDataset(by_video(questions), folder, 4, SMALL, 0)
