"""Paragraphs: in words that are known, true of the frames at their times, and different for what differs."""

import json
import random
import re

import pytest
import torch

from litevl import VideoTextRetrieval, load_blip
from litevl.adapters import LiteVLConfig, plug
from litevl.corpus import CorpusConfig, vocabulary
from litevl.corpus.annotation_files import annotation_files, every_caption
from litevl.corpus.clips import EVENT_FRAMES, NUM_FRAMES, planned_frames
from litevl.corpus.meaning import CATEGORIES, Meaning, Thing, reverse, sample_meaning
from litevl.corpus.paragraphs import paragraph
from litevl.corpus.plan import PlannedClip, plan_clips
from litevl.corpus.video_file import FRAMES_PER_SECOND

KINDS = [kind for kinds in CATEGORIES for kind in kinds]
SQUARE, CIRCLE = Thing("red", "square"), Thing("white", "circle")
DURATION = NUM_FRAMES / FRAMES_PER_SECOND
CLIPS = plan_clips(CorpusConfig())
FILES = annotation_files(CLIPS, 0)
NAMES = {
    "didemo": {split: f"didemo/{split}_data.json" for split in ("train", "val", "test")},
    "activitynet": {"train": "activitynet/train.json", "val": "activitynet/val.json", "test": "activitynet/val_1.json"},
}


def told(meaning, seed=0):
    clip = PlannedClip("video0", "test", meaning, ("a",), f"{seed}/{meaning.kind}")
    frames = planned_frames(clip, 0)[1]
    return paragraph(meaning, frames, random.Random(seed)), frames


def frames_of(sentence):
    return range(round(sentence.start * FRAMES_PER_SECOND), round(sentence.end * FRAMES_PER_SECOND))


def shown(frames, thing):
    """The frames in which a thing is seen, with its radius and place."""
    return {
        i: (mark.x, mark.y, mark.radius)
        for i, frame in enumerate(frames)
        for mark in frame
        if (mark.shape, mark.colour) == (thing.shape, thing.colour)
    }


@pytest.fixture(scope="module")
def paragraphs():
    """Each data set's joined paragraphs by clip, as its files have them, in the order of splits."""
    said: dict[str, dict[str, dict[str, str]]] = {dataset: {} for dataset in NAMES}
    for split, name in NAMES["didemo"].items():
        joined: dict[str, list[str]] = {}
        for row in json.loads(FILES[name]):
            joined.setdefault(row["video"].removesuffix(".mp4"), []).append(row["description"])
        said["didemo"][split] = {video: " ".join(texts) for video, texts in joined.items()}
    for split, name in NAMES["activitynet"].items():
        content = json.loads(FILES[name])
        said["activitynet"][split] = {video: " ".join(entry["sentences"]) for video, entry in content.items()}
    return said


@pytest.mark.parametrize("kind", KINDS)
def test_two_or_three_sentences_begin_with_a_caption_and_lie_within_the_clip(kind):
    words = set(vocabulary())
    firsts = set()
    for seed in range(30):
        meaning = sample_meaning(kind, SQUARE, CIRCLE, random.Random(seed))
        sentences, _ = told(meaning, seed)
        clip = PlannedClip("video0", "test", meaning, (), "")
        assert sentences[0].text.removesuffix(".") in every_caption(clip)
        firsts.add(sentences[0].text)
        assert len(sentences) in (2, 3)
        assert all(0 <= each.start < each.end <= DURATION for each in sentences)
        tokens = re.findall(r"[a-z]+|[^a-z\s]", " ".join(each.text for each in sentences))
        assert set(tokens) <= words
        assert len(tokens) + 2 < 32
    assert len(firsts) >= 4


@pytest.mark.parametrize("kind", ["move right", "move left", "move up", "move down", "grow", "shrink"])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_movement_lasts_as_long_as_the_frames_change(kind, backwards):
    for seed in range(20):
        meaning = sample_meaning(kind, SQUARE, CIRCLE, random.Random(seed))
        pair = ("video0", reverse(meaning)) if backwards else (None, meaning)
        clip = PlannedClip("video1", "test", pair[1], ("a",), f"{seed}/x", pair[0])
        frames = planned_frames(clip, 0)[1]
        sentences = paragraph(clip.meaning, frames, random.Random(seed))
        marks, time = shown(frames, SQUARE), frames_of(sentences[0])
        assert {marks[i] for i in range(time.start)} == {marks[0]}
        assert {marks[i] for i in range(time.stop, NUM_FRAMES)} == {marks[NUM_FRAMES - 1]}
        assert len({marks[i] for i in time}) == len(time) > 15
        if len(sentences) == 3:
            for sentence in sentences[1:]:
                radii = {marks[i][2] for i in frames_of(sentence)}
                assert len(radii) == 1
                assert ("big" in sentence.text) == (radii.pop() > 14)


@pytest.mark.parametrize("kind", CATEGORIES[3])
def test_an_event_is_told_of_its_own_frames(kind):
    for seed in range(20):
        sentences, frames = told(sample_meaning(kind, SQUARE, CIRCLE, random.Random(seed)), seed)
        seen = [i for i, frame in enumerate(frames) if any(mark.shape == kind for mark in frame)]
        assert list(frames_of(sentences[0])) == seen
        assert len(seen) == EVENT_FRAMES


def test_what_appears_and_what_turns_is_named_while_it_is_seen():
    for seed in range(20):
        for kind in CATEGORIES[2]:
            meaning = sample_meaning(kind, SQUARE, CIRCLE, random.Random(seed))
            sentences, frames = told(meaning, seed)
            other = meaning.third if kind == "turn" else meaning.second
            for sentence, thing in zip(sentences[1:], (meaning.first, other), strict=True):
                assert sentence.text == f"{thing.phrase()}."
                assert list(frames_of(sentence)) == list(shown(frames, thing))


@pytest.mark.parametrize("dataset", NAMES)
def test_paragraphs_tell_clips_from_their_reversal_and_from_each_other(paragraphs, dataset):
    every = {video: text for videos in paragraphs[dataset].values() for video, text in videos.items()}
    assert list(every) == [clip.video_id for clip in CLIPS]
    assert all(every[clip.reverse_of] != every[clip.video_id] for clip in CLIPS if clip.reverse_of)
    firsts = {video: text.split(".")[0] for video, text in every.items()}
    for clip in CLIPS:
        assert firsts[clip.video_id] in every_caption(clip)
    for split in ("val", "test"):
        assert len(set(paragraphs[dataset][split].values())) == len(paragraphs[dataset][split])
    trained = {firsts[video] for video in paragraphs[dataset]["train"]}
    assert not trained & {firsts[video] for video in paragraphs[dataset]["test"]}


def test_the_data_sets_word_a_clip_each_in_its_own_way(paragraphs):
    one, other = paragraphs["didemo"]["test"], paragraphs["activitynet"]["test"]
    assert 20 < sum(one[video] == other[video] for video in one) < 60


@pytest.mark.parametrize("dataset", NAMES)
def test_the_small_blips_text_encoder_tells_paragraphs_apart(paragraphs, dataset):
    """As the module's docstring says: what a model is to learn from paragraphs must come through the frozen encoder."""
    model = VideoTextRetrieval(plug(load_blip("embedded"), LiteVLConfig(num_frames=6), verbose=False)).eval()
    test = {clip.video_id: clip for clip in CLIPS if clip.split == "test"}
    texts = [paragraphs[dataset]["test"][video] for video in test]
    with torch.no_grad():
        captions = model.encode_text([clip.captions[0] for clip in test.values()]).embed
        scores = model.encode_text(texts).embed @ captions.T
    assert (scores.argmax(1) == torch.arange(len(test))).float().mean() > 0.85
    place = {video: number for number, video in enumerate(test)}
    pairs = [(place[clip.reverse_of], place[video]) for video, clip in test.items() if clip.reverse_of]
    assert all(scores[a, a] > scores[a, b] for pair in pairs for a, b in (pair, pair[::-1]))


def test_times_are_seconds_in_one_and_chunks_in_the_other():
    rows = json.loads(FILES["didemo/test_data.json"])
    assert all((row["times"], row["num_segments"]) == ([[0, 0]], 1) for row in rows)
    numbers = [row["annotation_id"] for name in NAMES["didemo"].values() for row in json.loads(FILES[name])]
    assert numbers == list(range(len(numbers)))
    for entry in json.loads(FILES["activitynet/val_1.json"]).values():
        assert entry["duration"] == DURATION
        assert len(entry["timestamps"]) == len(entry["sentences"])
        assert all(0 <= start < end <= DURATION for start, end in entry["timestamps"])


def test_paragraphs_follow_the_seed_and_the_frames_are_those_that_are_rendered():
    assert annotation_files(CLIPS, 0) == FILES
    meaning = Meaning("flash", SQUARE, CIRCLE)
    clip = PlannedClip("video0", "test", meaning, ("a",), "0/flash")
    assert planned_frames(clip, 0) != planned_frames(clip, 1)
    partner = PlannedClip("video1", "test", Meaning("before", CIRCLE, SQUARE), ("a",), "0/before", "video0")
    forwards = PlannedClip("video0", "test", Meaning("before", SQUARE, CIRCLE), ("a",), "0/before")
    (ground, one), (same, other) = planned_frames(forwards, 0), planned_frames(partner, 0)
    assert (ground, one) == (same, other[::-1])
