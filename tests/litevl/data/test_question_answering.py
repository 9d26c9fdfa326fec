"""The data of a question answering run: what is there, what is stamped, what becomes of missing videos."""

from dataclasses import replace

import pytest

from litevl.corpus import CorpusConfig, ensure_corpus
from litevl.data import question_answering
from litevl.data.answers import AnswerList
from litevl.data.coverage import UnusableVideosError
from litevl.data.question_answering import QuestionDataConfig, load_question_data


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    config = CorpusConfig(train_families=2, validate_families=1, test_families=1)
    return ensure_corpus(tmp_path_factory.mktemp("corpora"), config, progress=False)


def test_the_corpus_is_the_same_data_in_both_schemas(corpus, monkeypatch):
    monkeypatch.setattr(question_answering, "ensure_corpus", lambda progress: corpus)
    msrvtt, msvd = (load_question_data(QuestionDataConfig(dataset=name), progress=False) for name in ("msrvtt", "msvd"))
    for data in (msrvtt, msvd):
        assert data.dataset == "embedded corpus"
        assert data.order_kinds == ("direction", "growth", "order")
        assert all(not coverage.missing for coverage in data.coverage.values())
    for split in ("train", "val", "test"):
        one, other = ([(q.question, q.answer) for q in data.questions[split]] for data in (msrvtt, msvd))
        assert one == other
        assert len(one) > 20
    assert msrvtt.answers.answers == msvd.answers.answers


def test_what_belongs_to_the_protocol_is_stamped(corpus):
    data = load_question_data(QuestionDataConfig(root=corpus, answers=5), progress=False)
    stamp = data.stamp()
    assert (stamp["answers"], stamp["answer_source"]) == (5, "training answers by frequency (at most 5)")
    asked = data.questions["test"]
    listed = sum(question.answer in data.answers for question in asked)
    assert stamp["answer_ceiling"]["test"] == pytest.approx(100 * listed / len(asked))
    assert stamp["coverage"]["test"] == "coverage 8/8"
    assert (
        f"5 answers (training answers by frequency (at most 5)), ceiling on test {100 * listed / len(asked):.1f}"
        in (data.summary())
    )


def test_a_file_of_answers_is_named_with_what_of_it_is_of_no_training_question(corpus, tmp_path):
    path = tmp_path / "answer_list.json"
    path.write_text('["1", "2", "bike"]')
    data = load_question_data(QuestionDataConfig(root=corpus, answer_file=path), progress=False)
    assert data.stamp()["answer_source"] == "file answer_list.json"
    assert any("1 of the 3 answers" in note for note in data.answers.notes)
    assert "note: 1 of the 3 answers" in data.summary()


def test_of_a_finished_run_the_test_questions_are_enough(corpus, tmp_path):
    folder = tmp_path / "test_alone"
    folder.mkdir()
    (folder / "test_qa.json").write_bytes((corpus / "test_qa.json").read_bytes())
    answers = AnswerList(("red", "blue"), "of the run")
    config = QuestionDataConfig(root=folder, videos=corpus)
    data = load_question_data(config, answers=answers, progress=False)
    assert data.answers is answers
    assert (data.questions["train"], len(data.splits["test"])) == ((), 8)
    with pytest.raises(Exception, match="to train and test on"):
        load_question_data(config, progress=False)


def test_questions_of_missing_videos_stay_in_the_denominator(corpus, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    whole = load_question_data(QuestionDataConfig(root=corpus), progress=False)
    gone = whole.splits["test"][2]
    for video in (corpus / "videos").iterdir():
        if video.stem != gone.video_id:
            (folder / video.name).symlink_to(video)
    config = QuestionDataConfig(root=corpus, videos=folder)
    with pytest.raises(UnusableVideosError, match=gone.video_id):
        load_question_data(config, progress=False)
    data = load_question_data(replace(config, on_bad_video="skip"), progress=False)
    assert len(data.splits["test"]) == 7
    assert data.questions["test"] == whole.questions["test"]
    assert gone.video_id in data.summary()


def test_own_questions_want_a_folder():
    with pytest.raises(ValueError, match=r"--data\.root"):
        load_question_data(QuestionDataConfig(dataset="own"), progress=False)
