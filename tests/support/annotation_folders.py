"""Every loader with folders of annotations that it takes: small, and one of each form that it reads in its own way."""

import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from made_up_data import put

from litevl.data.multiple_choice import load_choices
from litevl.data.questions import load_questions
from litevl.data.retrieval_config import RetrievalDataConfig, find_set

TRAIN, TEST = ("video0", "video1", "video2"), ("video3", "video4")
TIMES = "00.00.01.0\t00.00.02.0\t" * 2
SAID = {video: [f"{video} is a cat", f"{video} is not a dog"] for video in (*TRAIN, *TEST)}


def _rows(videos: Iterable[str], key: str = "video", captions: int = 2) -> list[dict[str, Any]]:
    return [{key: video, "caption": text} for video in videos for text in SAID[video][:captions]]


def _lines(videos: Iterable[str], header: str = "") -> str:
    return header + "".join(f"{video}\n" for video in videos)


def _table(rows: Iterable[Iterable[Any]]) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def _jsfusion() -> str:
    return _table([("key", "vid_key", "video_id", "sentence"), *((0, 0, video, SAID[video][1]) for video in TEST)])


def _frozen() -> dict[str, Any]:
    rows = [{"image_id": video, "id": 0, "caption": text} for video in SAID for text in SAID[video]]
    return {
        "MSR_VTT.json": {"annotations": rows},
        "train_list_9k.txt": _lines(TRAIN),
        "val_list_jsfusion.txt": _lines(TEST),
        "jsfusion_val_caption_idx.pkl": pickle.dumps(dict.fromkeys(TEST, 1)),
    }


def _didemo(videos: Iterable[str]) -> list[dict[str, Any]]:
    return [
        {"video": f"{video}.mp4", "description": SAID[video][0], "annotation_id": number, "times": [[0, 1]]}
        for number, video in enumerate(videos)
    ]


def _activitynet(videos: Iterable[str]) -> dict[str, Any]:
    times = [[0, 1], [2, 3]]
    return {f"v_{video}": {"duration": 9.0, "timestamps": times, "sentences": SAID[video]} for video in videos}


def _paired(split: str) -> dict[str, Any]:
    number = f"{split}_1"
    return {
        f"{split}_q.json": [{"video_name": split, "question": "who", "question_id": number}],
        f"{split}_a.json": [{"answer": "cat", "type": 3, "question_id": number}],
    }


def _asked(video: Any = "video0") -> list[dict[str, Any]]:
    return [{"video_id": video, "question": f"what is {n}?", "answer": "cat", "question_id": n} for n in range(3)]


FORMS: dict[str, dict[str, Any]] = {
    "msrvtt, clip4clip": {
        "MSRVTT_train.9k.csv": _lines(TRAIN, "video_id\n"),
        "MSRVTT_JSFUSION_test.csv": _jsfusion(),
        "MSRVTT_data.json": {
            "videos": [{"video_id": v, "split": "train" if v in TRAIN else "test", "category": 1} for v in SAID],
            "sentences": _rows(SAID, "video_id"),
        },
    },
    "msrvtt, frozen": _frozen(),
    "msrvtt, jsonl": {"train.jsonl": _rows(TRAIN, "clip_name"), "test.jsonl": _rows(TEST, "clip_name", 1)},
    "msrvtt, lavis": {"retrieval_train.json": _rows(TRAIN), "retrieval_test.json": _rows(TEST, captions=1)},
    "msrvtt, violet": {
        "txt_msrvtt-retrieval.json": {"train": _rows(TRAIN), "val": [], "test": _rows(TEST, captions=1)}
    },
    "own, csv": {
        "train.csv": _table([("video", "caption"), *((video, SAID[video][0]) for video in TRAIN)]),
        "test.tsv": "video\tcaption\tstart\tend\nvideo3.mp4\ta cat\t0\t2.5\nvideo4\ta dog\t\t\n",
    },
    "own, jsonl": {
        "all.jsonl": [
            *({"path": f"a/{v}.mp4", "video_id": v, "text": SAID[v], "split": "train"} for v in TRAIN),
            *({"video": v, "text": SAID[v][0], "split": "test", "start": 1, "end": 2} for v in TEST),
        ]
    },
    "own, lsmdc": {
        f"{split}.csv": "".join(f"1_{split}_{n}\t{TIMES}He sits.\n" for n in range(2)) for split in ("train", "test")
    },
    "msvd, xpool": {"captions_msvd.json": SAID, "train_list.txt": _lines(TRAIN), "test_list.txt": _lines(TEST)},
    "msvd, pickle": {
        "raw-captions.pkl": pickle.dumps({v: [text.split() for text in SAID[v]] for v in SAID}),
        "train_list.txt": _lines(TRAIN),
        "test_list.txt": _lines(TEST),
    },
    "didemo, released": {"train_data.json": _didemo(TRAIN), "test_data.json": _didemo(TEST)},
    "activitynet, released": {"train.json": _activitynet(TRAIN), "val_1.json": _activitynet(TEST)},
    "questions of msrvtt": {"train_qa.json": _asked(0), "test_qa.json": _asked(7)},
    "questions of msvd": {
        "train_qa.json": _asked(1),
        "test_qa.json": _asked(2),
        "youtube_mapping.txt": "abc vid1\ndef vid2\n",
    },
    "questions of activitynet": {**_paired("train"), **_paired("test")},
    "questions of one's own": {
        "train.csv": _table([("video", "question", "answer"), ("a.mp4", "who", "cat"), ("b", "what", "dog")]),
        "test.jsonl": _asked("c.mp4"),
    },
    "choices": {"msrvtt_mc_test.json": [{"video": f"{v}.mp4", "caption": SAID[v], "answer": 1} for v in TEST]},
}


def loader(name: str) -> Callable[[Path], Any]:
    """What reads the form of this name, as a recipe does."""
    if name == "choices":
        return lambda root: load_choices(root / "msrvtt_mc_test.json")
    if name.startswith("questions of "):
        kind: Any = {"questions of one's own": "own"}.get(name, name.removeprefix("questions of "))
        return lambda root: load_questions(root, kind)
    dataset: Any = name.partition(",")[0]
    mode: Any = "many" if dataset == "own" else None
    return lambda root: find_set(RetrievalDataConfig(dataset=dataset, caption_mode=mode), root)


def write_form(folder: Path, name: str) -> Path:
    """Writes one of `FORMS`."""
    return put(folder, FORMS[name])
