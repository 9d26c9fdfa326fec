"""Spoiled annotations in runs of the recipes: the run ends before it loads a model, and names file and place."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import msrvtt_qa
import msrvtt_retrieval
import own_retrieval
import pytest

from litevl.data import video_index
from litevl.data.annotations import AnnotationError

MB = 1 << 20


@pytest.fixture
def root(corpus, tmp_path) -> Path:
    """The corpus's annotations; its videos are one folder up from those of one's own data, as `secret.mp4` is."""
    root = tmp_path / "data"
    shutil.copytree(corpus, root, ignore=shutil.ignore_patterns("*.mp4"))
    return root


def run(recipe, config, root, corpus, tmp_path):
    folder = root / "own" if recipe is own_retrieval else root
    data = replace(config.data, root=folder, videos=corpus / "videos", workers=0)
    if recipe is msrvtt_retrieval:
        data = replace(data, train_split="full", test_split="full")
    # A backbone that is not there: had the run come to it, that would be the error.
    backbone = replace(config.model, backbone=str(tmp_path / "no backbone"))
    return recipe.main(replace(config, model=backbone, data=data, output_dir=tmp_path / "run"))


def lines(path: Path, number: int, change) -> None:
    rows = path.read_text(encoding="utf-8").splitlines()
    rows[number - 1] = change(rows[number - 1])
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def values(path: Path, change) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def to_json_lines(path: Path, caption: str) -> None:
    rows = [{"video": "video0.mp4", "caption": "a"}, {"video": "video1.mp4", "caption": caption}]
    path.unlink()
    path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def row_3(text: str):
    """Another third line; FOLDER in it is that of the test."""
    return lambda path: lines(path, 3, lambda row: text.replace("FOLDER", str(path.parents[2])))


def added(text: str):
    return lambda path: lines(path, 3, lambda row: row + text)


def wrote(text: str, encoding: str = "utf-8"):
    return lambda path: path.write_text(text, encoding=encoding)


# What is done to a file, and what the error says of it.
IN_CSV = {
    "an open quote": (row_3('video1.mp4,"a'), r"line \d+: expected CSV: unexpected end"),
    "a field too many": (added(",x"), r"line 3: expected 2 fields, got 3"),
    "other columns": (lambda p: lines(p, 1, lambda row: "video,title"), r"line 2: .*got the keys video, title"),
    "an empty caption": (row_3("video1.mp4, "), r"line 3: expected a caption, got an empty"),
    "not UTF-8": (lambda p: p.write_bytes(b"video,caption\nv\xefdeo,x"), r"byte 15: expected UTF-8 text"),
    "UTF-16": (wrote("video,caption\nvideo1,x\n", "utf-16"), r"byte 0: expected UTF-8 text"),
    "a line of 100 MB": (lambda p: added("a" * 100 * MB)(p), r"line 3: expected CSV: field larger than"),
    "a line of 100 MB of JSON": (lambda p: to_json_lines(p, "a" * 100 * MB), r"line 2: expected at most 131,072 char"),
    "half a character": (lambda p: to_json_lines(p, "\ud83d"), r"line 2: expected whole characters in a caption"),
    "a path out of the root": (row_3("../secret.mp4,x"), r"line 3: expected a video's name or path below"),
    "an absolute path": (row_3("FOLDER/secret.mp4,x"), r"line 3: expected a video below .*secret\.mp4"),
    "an absolute path that turns back": (row_3("FOLDER/data/own/../../secret.mp4,x"), r"line 3: expected a video"),
    "a path of another system": (row_3("C:\\secret.mp4,x"), r"line 3: expected a video's name or path"),
}
IN_JSON = {
    "cut off": (half, r"line \d+, column \d+: expected JSON"),
    "a list for an object": (wrote("[]"), r"expected an object as dict, got \[\]"),
    "a key twice": (wrote('{"videos": [], "videos": []}'), r"expected each key of an object once, got videos"),
    "no sentences": (lambda c: c.pop("sentences"), r"expected the key sentences, got info, videos"),
    "a caption of a number": (lambda c: c["sentences"][7].update(caption=7), r"sentences\[7\]: expected a caption"),
    "an id of a list": (lambda c: c["videos"][2].update(video_id=[]), r"videos\[2\]: expected a video's id"),
    "an unknown id": (lambda c: c["sentences"][5].update(video_id="video99"), r"sentences\[5\]: .*99, which is not"),
    "an id twice": (lambda c: c["videos"].append(c["videos"][0]), r"videos\[\d+\]: video\d+ is listed twice"),
    "a number of 5,000 digits": (wrote('{"videos": ' + "9" * 5000 + "}"), "expected JSON with numbers of a usual"),
    "10,000 levels": (wrote("[" * 10_000 + "]" * 10_000), "expected JSON of a few levels"),
}
IN_QUESTIONS = {
    "an empty answer": (lambda c: c[3].update(answer=" "), r"row 3: expected the answer, got an empty one"),
    "an id twice": (lambda c: c[3].update(id=c[0]["id"]), r"row 3: the question's id \d+ is there twice"),
    "no question": (lambda c: c[2].pop("question"), r"row 2: expected a question, an answer and a video"),
}
SPOILED = [
    *((own_retrieval, "own/train.csv", name, *how) for name, how in IN_CSV.items()),
    *((msrvtt_retrieval, "MSRVTT_data.json", name, *how) for name, how in IN_JSON.items()),
    *((msrvtt_qa, "train_qa.json", name, *how) for name, how in IN_QUESTIONS.items()),
]


@pytest.mark.parametrize(
    ("recipe", "file", "name", "spoil", "message"), SPOILED, ids=[f"{s[1]} {s[2]}" for s in SPOILED]
)
def test_it_is_named_and_nothing_is_opened(recipe, file, name, spoil, message, root, corpus, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(video_index, "check_file", opened.append)
    shutil.copy(corpus / "videos" / "video0.mp4", tmp_path / "secret.mp4")
    if file.endswith(".json") and "<lambda>" in spoil.__qualname__ and "wrote" not in spoil.__qualname__:
        values(root / file, spoil)
    else:
        spoil(root / file)
    with pytest.raises(AnnotationError, match=message) as caught:
        run(recipe, recipe.EMBEDDED, root, corpus, tmp_path)
    assert caught.value.path.with_suffix("") == (root / file).with_suffix("")
    assert str(caught.value).startswith(str(caught.value.path))
    assert len(str(caught.value)) < 1000
    assert not opened
    assert not (tmp_path / "run").exists()


def test_the_same_files_unspoiled_come_as_far_as_the_backbone(root, corpus, tmp_path):
    for recipe in (own_retrieval, msrvtt_retrieval, msrvtt_qa):
        with pytest.raises(ValueError, match=r"there is nothing at .*no backbone"):
            run(recipe, recipe.EMBEDDED, root, corpus, tmp_path)


def test_a_benchmarks_id_with_a_path_in_it_names_a_file_below_the_root(root, corpus, tmp_path, monkeypatch):
    """Releases do write folders into their ids; only the name counts, and it is looked for below the root."""
    shutil.copy(corpus / "videos" / "video0.mp4", tmp_path / "secret.mp4")
    path = root / "MSRVTT_data.json"
    path.write_text(path.read_text().replace('"video0"', '"../../secret.mp4"'))
    with pytest.raises(Exception, match=r"1 of \d+ videos cannot be used(.|\n)*no file for the video 'secret'"):
        run(msrvtt_retrieval, msrvtt_retrieval.EMBEDDED, root, corpus, tmp_path)
