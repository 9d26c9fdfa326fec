"""Every retrieval data set without a folder is the embedded corpus: its queries, kinds of clip and order pairs."""

import shutil
from pathlib import Path

import pytest
import torch

from litevl.corpus import CorpusConfig, ensure_corpus
from litevl.data import retrieval
from litevl.data.preprocess import PreprocessConfig
from litevl.data.retrieval import Gallery, RetrievalDataConfig, load_retrieval_data

MODES = {"msrvtt": "many", "didemo": "paragraph", "activitynet": "paragraph", "msvd": "many", "own": "one"}
SETTINGS = {"activitynet": {"val_file": Path("val.json")}, "own": {"caption_mode": "one"}}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    config = CorpusConfig(train_families=1, validate_families=1, test_families=1)
    return ensure_corpus(tmp_path_factory.mktemp("corpora"), config, progress=False)


@pytest.fixture(params=MODES)
def data(request, corpus, monkeypatch):
    """A data set as a recipe without arguments gets it."""
    monkeypatch.setattr(retrieval, "ensure_corpus", lambda progress: corpus)
    return load_retrieval_data(load_config(request.param), progress=False)


def load_config(dataset, **changes):
    return RetrievalDataConfig(**{"dataset": dataset, "workers": 0, **SETTINGS.get(dataset, {}), **changes})


def clip(video_id):
    return video_id.removeprefix("v_")


def test_splits_mode_and_name(data):
    assert {split: len(videos) for split, videos in data.splits.items()} == {"train": 8, "val": 8, "test": 8}
    assert all(coverage.missing == () for coverage in data.coverage.values())
    assert data.caption_mode == MODES[data.config.dataset]
    assert data.summary().startswith("embedded corpus")
    assert "note" not in data.summary()
    queries = {"didemo": 8, "activitynet": 8, "msvd": 32}.get(data.config.dataset, 8)
    assert sum(len(video.captions) for video in data.splits["test"]) == queries


def test_the_same_pairs_and_kinds_in_all(data, corpus):
    as_msrvtt = RetrievalDataConfig(root=corpus, train_split="full", test_split="full")
    plain = load_retrieval_data(as_msrvtt, progress=False)
    assert tuple((clip(one), clip(other)) for one, other in data.order_pairs) == plain.order_pairs
    assert len(plain.order_pairs) == 6
    assert {clip(name): kind for name, kind in data.groups.items()} == plain.groups
    assert len(plain.groups) == 24
    ids = {video.video_id for videos in data.splits.values() for video in videos}
    assert ids == data.groups.keys()


def test_frames_are_the_same_in_all(data, corpus):
    def pixels(each):
        view = Gallery(
            each, "test", num_frames=6, preprocess=PreprocessConfig(32), batch_size=8, workers=0,
            device=torch.device("cpu"),
        )  # fmt: skip
        ((names, frames),) = list(view)
        return [clip(name) for name in names], frames

    plain = load_retrieval_data(RetrievalDataConfig(root=corpus, train_split="full", test_split="full"), progress=False)
    (names, frames), (wanted, same) = pixels(data), pixels(plain)
    assert names == wanted
    assert torch.equal(frames, same)


@pytest.mark.parametrize("dataset", ["didemo", "activitynet", "msvd"])
def test_the_corpus_may_also_be_given_as_the_folder(corpus, dataset):
    found = load_retrieval_data(load_config(dataset, root=corpus, val_file=None), progress=False)
    assert len(found.order_pairs) == (4 if dataset == "activitynet" else 6)
    assert found.groups


def test_videos_that_are_gone_take_their_pair_with_them(corpus, tmp_path):
    folder = shutil.copytree(corpus, tmp_path / "corpus")
    found = load_retrieval_data(load_config("didemo", root=folder), progress=False)
    one, _ = found.order_pairs[-1]
    (folder / "videos" / f"{one}.mp4").unlink()
    left = load_retrieval_data(load_config("didemo", root=folder, on_bad_video="skip"), progress=False)
    assert left.order_pairs == found.order_pairs[:-1]
    assert one not in left.groups


def test_other_folders_know_no_pairs(annotated, plain_clip):
    root = annotated({f"{split}.csv": f"video,caption\n{split}.mp4,a clip\n" for split in ("train", "test")})
    for split in ("train", "test"):
        shutil.copy(plain_clip, root / f"{split}.mp4")
    found = load_retrieval_data(load_config("own", root=root), progress=False)
    assert (found.order_pairs, found.groups, found.dataset) == ((), {}, "own data")


def test_own_data_says_how_its_captions_are_queries_in_the_corpus_too(corpus, monkeypatch):
    monkeypatch.setattr(retrieval, "ensure_corpus", lambda progress: corpus)
    with pytest.raises(ValueError, match="expected a caption_mode for your own data"):
        load_retrieval_data(RetrievalDataConfig(dataset="own"), progress=False)
