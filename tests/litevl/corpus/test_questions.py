"""The corpus's questions: true of their clips, undecidable where they should be, in words that the small BLIP knows."""

import random
import re
from collections import Counter, defaultdict

import pytest

from litevl.corpus import CorpusConfig, questions, vocabulary
from litevl.corpus.clips import NUM_FRAMES, clip_frames
from litevl.corpus.meaning import CATEGORIES, Meaning, Thing
from litevl.corpus.plan import PlannedClip, plan_clips
from litevl.corpus.questions import ORDER_KINDS, QUESTION_KINDS, clip_questions

CLIPS = plan_clips(CorpusConfig())
SPLITS = {
    split: clip_questions([clip for clip in CLIPS if clip.split == split]) for split in ("train", "validate", "test")
}
EVERY = [question for split in SPLITS.values() for question in split]
PARTNER = {clip.reverse_of: clip.video_id for clip in CLIPS if clip.reverse_of}


def table():
    """The figures of the module's docstring: questions, text, frames, by kind."""
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \|", questions.__doc__, re.MULTILINE)
    return {kind: tuple(map(int, figures)) for kind, *figures in rows}


def percent(right, asked):
    return 100 * right / len(asked)


def of_kind(asked, kind):
    return [question for question in asked if kind in ("all", question.asked.kind)]


def answered_by_text(asked):
    """Right with the most frequent training answer to the text, or to the wording of a text that is new."""
    best: dict[str, Counter] = defaultdict(Counter)
    for question in SPLITS["train"]:
        for text in (question.asked.question, question.asked.wording):
            best[text][question.asked.answer] += 1
    return sum(
        (best.get(q.asked.question) or best[q.asked.wording]).most_common(1)[0][0] == q.asked.answer for q in asked
    )


def answered_by_frames(asked):
    """Right with the best answer to each text about each set of frames: the two clips of a pair are one set."""
    answers: dict[tuple[str, str], Counter] = defaultdict(Counter)
    for question in asked:
        answers[question.clip.layout, question.asked.question][question.asked.answer] += 1
    return sum(max(counts.values()) for counts in answers.values())


@pytest.mark.parametrize("kind", [*QUESTION_KINDS, "all"])
def test_the_documented_figures_are_those_of_the_test_split(kind):
    asked = of_kind(SPLITS["test"], kind)
    found = len(asked), percent(answered_by_text(asked), asked), percent(answered_by_frames(asked), asked)
    assert table()[kind] == (found[0], round(found[1]), round(found[2]))


@pytest.mark.parametrize("kind", QUESTION_KINDS)
def test_frames_without_order_answer_half_of_order_and_all_of_the_rest(kind):
    for split in SPLITS.values():
        asked = of_kind(split, kind)
        assert percent(answered_by_frames(asked), asked) == (50 if kind in ORDER_KINDS else 100)


@pytest.mark.parametrize("split", ["train", "test"])
def test_no_wording_gives_its_answer_away(split):
    for kind in QUESTION_KINDS:
        wordings: dict[str, Counter] = defaultdict(Counter)
        for question in of_kind(SPLITS[split], kind):
            wordings[question.asked.wording][question.asked.answer] += 1
        best = sum(max(answers.values()) for answers in wordings.values())
        assert best <= 0.5 * sum(sum(answers.values()) for answers in wordings.values())
    texts: dict[str, Counter] = defaultdict(Counter)
    for question in SPLITS["train"]:
        texts[question.asked.question][question.asked.answer] += 1
    assert all(
        max(counts.values()) <= 0.6 * sum(counts.values()) for counts in texts.values() if sum(counts.values()) >= 20
    )


def test_the_clips_of_a_pair_are_asked_the_same_about_order_and_answer_otherwise():
    asked: dict[str, dict[str, str]] = defaultdict(dict)
    for question in EVERY:
        if question.asked.kind in ORDER_KINDS:
            asked[question.clip.video_id][question.asked.question] = question.asked.answer
    assert len(PARTNER) == sum(clip.reverse_of is not None for clip in CLIPS)
    for one, other in PARTNER.items():
        assert asked[one].keys() == asked[other].keys()
        assert len(asked[one]) == 2
        assert all(asked[one][text] != asked[other][text] for text in asked[one])
    assert asked.keys() == PARTNER.keys() | set(PARTNER.values())


def test_every_word_is_in_the_vocabulary_and_every_answer_is_one_of_the_training_answers():
    words = set(vocabulary())
    for question in EVERY:
        assert set(re.findall(r"[a-z]+|[^a-z\s]", question.asked.question)) <= words, question.asked.question
        assert question.asked.answer in words
    trained = {question.asked.answer for question in SPLITS["train"]}
    assert {question.asked.answer for question in EVERY} == trained
    assert len(trained) == 34


def test_there_are_three_to_seven_questions_a_clip_and_none_twice():
    for split, asked in SPLITS.items():
        counts = Counter(question.clip.video_id for question in asked)
        assert set(counts) == {clip.video_id for clip in CLIPS if clip.split == split}
        assert min(counts.values()) >= 3
        assert max(counts.values()) <= 7
        assert 4 < len(asked) / len(counts) < 5
    assert len({(question.clip.video_id, question.asked.question) for question in EVERY}) == len(EVERY)


def test_questions_follow_the_seed_and_nothing_but_the_clips_of_the_split():
    test = [clip for clip in CLIPS if clip.split == "test"]
    assert clip_questions(test) == SPLITS["test"]
    assert clip_questions(test, seed=1) != SPLITS["test"]


# What the frames show, read off the marks that are drawn, without the meaning.


def laid_out(clip):
    rng = random.Random(f"0 {clip.layout}")
    rng.randrange(24)
    frames = clip_frames(clip.laid_out(), rng)
    return frames[::-1] if clip.reverse_of else frames


def tracks(frames):
    """Frames in which each thing is shown, with its mark."""
    found = defaultdict(dict)
    for number, frame in enumerate(frames):
        for mark in frame:
            if mark.shape not in CATEGORIES[3]:
                found[f"{mark.colour} {mark.shape}"][number] = mark
    return found


def span(track, axis):
    return getattr(track[max(track)], axis) - getattr(track[min(track)], axis)


def seen_answer(question, frames):
    """The answer to a question as the frames give it."""
    asked, seen = question.asked, tracks(frames)
    events = [(number, mark) for number, frame in enumerate(frames) for mark in frame if mark.shape in CATEGORIES[3]]
    first_mark = {name: track[min(track)] for name, track in seen.items()}
    moving = [name for name, track in seen.items() if max(abs(span(track, "x")), abs(span(track, "y"))) > 20]
    short = [name for name, track in seen.items() if len(track) < NUM_FRAMES]
    begins = [name for name in short if 0 in seen[name]]
    part = {"shape": 1, "color": 0}

    def ways(name):
        x, y = span(seen[name], "x"), span(seen[name], "y")
        return (("right", "left") if x > 0 else ("left", "right")) if abs(x) > abs(y) else (
            ("down", "top") if y > 0 else ("up", "bottom"))  # fmt: skip

    def acting():
        ((x, y),) = {(mark.x, mark.y) for _, mark in events}
        (name,) = [name for name, mark in first_mark.items() if (mark.x, mark.y) == (x, y)]
        return name

    def sides():
        return {
            "on the left": min(first_mark, key=lambda name: first_mark[name].x),
            "on the right": max(first_mark, key=lambda name: first_mark[name].x),
            "at the top": min(first_mark, key=lambda name: first_mark[name].y),
            "at the bottom": max(first_mark, key=lambda name: first_mark[name].y),
        }

    text, filling = asked.wording, asked.filling
    if match := re.match(r"(?:which|what) (shape|color) (.*)\?", text):
        what, does = match.groups()
        if does in ("is the {}", "is the {} thing"):
            return next(name.split()[part[what]] for name in seen if filling[0] in name.split())
        name = (
            acting() if does in ("flashes", "is framed")
            else moving[0] if does == "is moving"
            else max(first_mark, key=lambda n: first_mark[n].radius) if does == "is big"
            else min(first_mark, key=lambda n: first_mark[n].radius) if does == "is small"
            else sides()[does[3:]] if does[3:] in sides()
            else next(name for name in short if name not in begins) if does.endswith("at the end")
            else begins[0]
        )  # fmt: skip
        return name.split()[part[what]]
    if text == "what appears around the {}?":
        assert acting() == filling[0]
        return events[0][1].shape
    if text == "where is the {}, seen from the {}?":
        one, other = (first_mark[name] for name in filling)
        if abs(one.x - other.x) > abs(one.y - other.y):
            return "left" if one.x < other.x else "right"
        return "above" if one.y < other.y else "below"
    if text.startswith("where"):
        return ways(filling[0])[text.endswith("from?")]
    if text.startswith("how big"):
        track = seen[filling[0]]
        return "big" if track[max(track) if "end" in text else min(track)].radius > 14 else "small"
    if text == "when is the {} seen?":
        return "start" if 0 in seen[filling[0]] else "end"
    if text == "how many things are seen?":
        return str(
            len(seen) - (len(short) == 2 and len({(m.x, m.y) for n, m in first_mark.items() if n in short}) == 1)
        )
    if text == "how many things are {}?":
        return str(sum(filling[0] in name.split() for name in seen))
    assert text == "how is the {} seen?"
    track = seen[filling[0]]
    if (growth := track[max(track)].radius - track[min(track)].radius) != 0:
        return "growing" if growth > 0 else "shrinking"
    if events and acting() == filling[0]:
        return {"flash": "flashing", "frame": "framed"}[events[0][1].shape]
    return "moving" if filling[0] in moving else "still"


@pytest.mark.parametrize("kind", QUESTION_KINDS)
def test_answers_are_what_the_frames_show(kind):
    asked = [question for split in SPLITS.values() for question in of_kind(split, kind)[:80]]
    frames = {question.clip.video_id: laid_out(question.clip) for question in asked}
    for question in asked:
        assert seen_answer(question, frames[question.clip.video_id]) == question.asked.answer, question


def test_a_third_thing_makes_no_question_ambiguous():
    star = Thing("red", "star")
    meaning = Meaning("before", Thing("red", "square"), Thing("white", "circle"), star)
    clip = PlannedClip("video0", "test", meaning, ("a",), "0/before")
    texts = {question.asked.question for seed in range(50) for question in clip_questions([clip], seed)}
    assert "which shape appears first?" not in texts
    assert "what shape is the red thing?" not in texts
    assert "what shape is the white thing?" in texts
    assert any(text.startswith("which shape appears first of the ") for text in texts)
