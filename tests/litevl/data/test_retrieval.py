"""The data of a run: splits, order pairs, coverage, and each process's share of a gallery."""

import json
import shutil

import pytest
import torch

from litevl.corpus import CorpusConfig, ensure_corpus
from litevl.data.coverage import UnusableVideosError
from litevl.data.preprocess import PreprocessConfig
from litevl.data.retrieval import Gallery, RetrievalDataConfig, load_retrieval_data


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    config = CorpusConfig(train_families=1, validate_families=1, test_families=1)
    return ensure_corpus(tmp_path_factory.mktemp("corpora"), config, progress=False)


def load(root, **changes):
    config = RetrievalDataConfig(root=root, train_split="full", test_split="full", workers=0, **changes)
    return load_retrieval_data(config, progress=False)


def gallery(data, **changes):
    settings = {"num_frames": 2, "preprocess": PreprocessConfig(32), "batch_size": 3, "workers": 0}
    return Gallery(data, "test", device=torch.device("cpu"), **{**settings, **changes})


def test_the_corpus_gives_splits_kinds_and_pairs(corpus):
    data = load(corpus)
    assert {split: len(videos) for split, videos in data.splits.items()} == {"train": 8, "val": 8, "test": 8}
    assert set(data.groups.values()) == {"static", "order of movement", "order of appearance", "event"}
    groups = {name: data.groups[name] for pair in data.order_pairs for name in pair}
    assert len(groups) == 2 * len(data.order_pairs) == 2 * 6
    assert set(groups.values()) == {"order of movement", "order of appearance"}
    assert "train 8 videos" in data.summary()


def test_every_video_comes_once_whatever_the_number_of_processes(corpus):
    data = load(corpus)
    whole = [name for names, _ in gallery(data) for name in names]
    shares = [[n for names, _ in gallery(data, process=p, processes=3) for n in names] for p in range(3)]
    assert whole == [video.video_id for video in data.splits["test"]]
    assert [name for share in shares for name in share] == whole
    pixels = torch.cat([pixels for _, pixels in gallery(data)])
    assert pixels.shape == (8, 2, 3, 32, 32)
    assert pixels.dtype == torch.float32


def test_without_training_the_test_split_is_enough(corpus):
    config = RetrievalDataConfig(root=corpus, train_split="full", test_split="full")
    data = load_retrieval_data(config, training=False, progress=False)
    assert not data.splits["train"]
    assert len(data.splits["test"]) == 8


def test_broken_videos_are_found_beforehand_by_choice_or_left_out_when_met(corpus, tmp_path, caplog):
    folder = tmp_path / "corpus"
    shutil.copytree(corpus, folder)
    videos = json.loads((folder / "MSRVTT_data.json").read_text())["videos"]
    broken = next(video["video_id"] for video in videos if video["split"] == "test")
    (folder / "videos" / f"{broken}.mp4").write_bytes(b"no video")
    assert load(folder).coverage["test"].available == 8
    with pytest.raises(UnusableVideosError, match=broken):
        load(folder, check_decoding=True)
    assert load(folder, check_decoding=True, on_bad_video="skip").coverage["test"].missing == (broken,)
    data = load(folder, on_bad_video="skip")
    names = [name for batch, _ in gallery(data) for name in batch]
    assert f"left out of the evaluation: {broken}" in caplog.text
    assert str(data.coverage_of("test", names)) == f"coverage 7/8 (missing: {broken})"
