"""The data of a run: splits, order pairs, coverage, and each process's share of a gallery."""

import json
import shutil
from pathlib import Path
from typing import get_args

import pytest
import torch
from rendered_clips import number

from litevl.corpus import CorpusConfig, ensure_corpus
from litevl.data.annotations import AnnotationError
from litevl.data.coverage import UnusableVideosError
from litevl.data.msrvtt_files import Format
from litevl.data.preprocess import PreprocessConfig
from litevl.data.retrieval import Gallery, RetrievalDataConfig, load_retrieval_data
from litevl.data.retrieval_config import AnySchema
from litevl.data.split_files import Schema


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


def said(video, count):
    return [f"{video} does thing {place}" for place in range(count)]


SPLITS = ("train", "val", "test")
FILES = {
    "didemo": {f"didemo_ret_{s}.json": [{"video": f"{s}.mp4", "caption": said(s, 3)}] for s in SPLITS},
    "activitynet": {
        f"{name}.json": {f"v_{s}": {"timestamps": [[0, 1]] * 3, "sentences": said(s, 3)}}
        for name, s in (("train", "train"), ("val_1", "test"))
    },
    "msvd": {"captions_msvd.json": {s: said(s, 3) for s in SPLITS}, **{f"{s}_list.txt": [s] for s in SPLITS}},
    "own": {
        "all.jsonl": [
            {"video": f"{s}.mp4", "caption": text, "split": s, "end": 1.0} for s in SPLITS for text in said(s, 3)
        ]
    },
}
NAMES = {"didemo": "DiDeMo", "activitynet": "ActivityNet Captions", "msvd": "MSVD", "own": "own data"}
MODES = {"didemo": "paragraph", "activitynet": "paragraph", "msvd": "many", "own": "many"}


@pytest.fixture(params=FILES)
def other(request, annotated, plain_clip):
    """A data set's name, and its folder with a video for each split."""
    root = annotated(FILES[request.param])
    (root / "videos").mkdir()
    for split in SPLITS:
        shutil.copy(plain_clip, root / "videos" / f"{split}.mp4")
    return request.param, root


def other_config(dataset, root, **changes):
    mode = {"caption_mode": "many"} if dataset == "own" else {}
    return RetrievalDataConfig(**{"root": root, "dataset": dataset, "workers": 0, **mode, **changes})


def test_every_data_set_says_its_name_and_caption_mode_and_gives_its_queries(other):
    dataset, root = other
    data = load_retrieval_data(other_config(dataset, root), progress=False)
    stamp = data.stamp()
    assert (stamp["dataset"], stamp["caption_mode"]) == (NAMES[dataset], MODES[dataset])
    assert (stamp["train_split"], stamp["test_split"]) == ("train", "val_1" if dataset == "activitynet" else "test")
    assert data.summary().startswith(f"{NAMES[dataset]}, train train, test ")
    assert stamp["coverage"]["test"] == "coverage 1/1"
    views = gallery(data, num_frames=4, preprocess=PreprocessConfig(96))
    joined = MODES[dataset] == "paragraph"
    assert views.texts == ([" ".join(said("test", 3))] if joined else said("test", 3))
    assert views.text_ids == [views.text_ids[0]] * (1 if joined else 3)
    ((names, pixels),) = list(views)
    assert names == views.text_ids[:1]
    frames = ((pixels[0] > 0).permute(0, 2, 3, 1).numpy() * 255).astype("uint8")
    whole, second = [5, 15, 25, 35], [3, 9, 15, 21]
    assert [number(frame) for frame in frames] == (second if dataset == "own" else whole)


def test_the_test_split_alone_of_every_data_set(other):
    dataset, root = other
    data = load_retrieval_data(other_config(dataset, root), training=False, progress=False)
    assert (data.splits["train"], data.stamp()["train_split"]) == ((), "none")
    assert len(data.splits["test"]) == 1


def test_videos_may_lie_elsewhere(other):
    dataset, root = other
    (root / "videos").rename(root / "elsewhere")
    with pytest.raises(UnusableVideosError, match="train"):
        load_retrieval_data(other_config(dataset, root), progress=False)
    data = load_retrieval_data(other_config(dataset, root, videos=root / "elsewhere"), progress=False)
    assert data.coverage["test"].available == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "msvd", "caption_mode": "paragraph"}, "'many', which belongs to MSVD, got 'paragraph': each of a"),
        ({"dataset": "msvd", "caption_mode": "one"}, "which belongs to MSVD, got 'one'"),
        ({"dataset": "didemo", "caption_mode": "many"}, "'paragraph', which belongs to DiDeMo, got 'many': a sentence"),
        ({"dataset": "activitynet", "caption_mode": "one"}, "belongs to ActivityNet Captions, got 'one'"),
        ({"caption_mode": "paragraph"}, "'one', which belongs to MSR-VTT's 1k-A, got 'paragraph'"),
        ({"test_split": "full", "caption_mode": "paragraph"}, "'many', which belongs to MSR-VTT's full"),
        ({"dataset": "own"}, "expected a caption_mode for your own data: 'one'"),
        (
            {"dataset": "own", "caption_mode": "one", "schema": "lavis"},
            "expected no schema for own, got schema='lavis'",
        ),
        ({"dataset": "didemo", "schema": "frozen"}, "expected one of original, .* for didemo, got schema='frozen'"),
        ({"schema": "xpool"}, "expected one of original, .* for msrvtt, got schema='xpool'"),
        ({"dataset": "didemo", "train_split": "7k"}, "are MSR-VTT's, got 7k and 1k-A for didemo"),
        ({"dataset": "msvd", "test_split": "full"}, "are MSR-VTT's, got 9k and full for msvd"),
        ({"test_file": Path("a.json")}, "not for MSR-VTT; choose train_split and test_split"),
    ],
)
def test_what_does_not_belong_to_a_data_set_is_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        load_retrieval_data(RetrievalDataConfig(**{"root": tmp_path, **settings}), progress=False)


def test_every_schema_can_be_chosen():
    assert set(get_args(AnySchema)) == {*get_args(Format), *get_args(Schema)}


def test_a_data_sets_own_mode_may_be_said(other):
    dataset, root = other
    data = load_retrieval_data(other_config(dataset, root, caption_mode=MODES[dataset]), progress=False)
    assert data.caption_mode == MODES[dataset]


def test_another_data_sets_folder_says_what_was_found(other):
    dataset, root = other
    asked = "didemo" if dataset in ("msvd", "own") else "msvd"
    with pytest.raises(AnnotationError, match=r"found .*\.json"):
        load_retrieval_data(RetrievalDataConfig(root=root, dataset=asked), progress=False)


def test_msvd_is_no_paragraph_under_other_names_either(annotated):
    rows = {
        split: [{"video": f"{split}{n}.avi", "caption": said(f"{split}{n}", 3)} for n in range(count)]
        for split, count in (("train", 1200), ("test", 670))
    }
    root = annotated({f"msvd_ret_{split}.json": videos for split, videos in rows.items()}, "names")
    for dataset in ("didemo", "activitynet"):
        with pytest.raises(AnnotationError, match="got one of MSVD by its name"):
            load_retrieval_data(RetrievalDataConfig(root=root, dataset=dataset), progress=False)
        files = {"train_file": root / "msvd_ret_train.json", "test_file": root / "msvd_ret_test.json"}
        with pytest.raises(AnnotationError, match="got one of MSVD by its name"):
            load_retrieval_data(RetrievalDataConfig(root=root, dataset=dataset, **files), progress=False)
        lavis = annotated({f"retrieval_{split}.json": videos for split, videos in rows.items()}, "lavis")
        with pytest.raises(AnnotationError, match="got 670 videos, which is MSVD; choose its dataset"):
            load_retrieval_data(RetrievalDataConfig(root=lavis, dataset=dataset), progress=False)
    own = RetrievalDataConfig(root=root, dataset="own", caption_mode="paragraph", **files)
    with pytest.raises(ValueError, match="'many', which belongs to MSVD, got 'paragraph'"):
        load_retrieval_data(own, progress=False)


def test_the_corpus_says_how_its_captions_are_queries(corpus):
    assert load(corpus).stamp()["caption_mode"] == "many"
    assert load(corpus).stamp()["dataset"] == "MSR-VTT"
