"""`litevl validate` on copies of the embedded corpus with every defect planted at once: each is found where it is."""

import json
import shutil
from pathlib import Path

import pytest
from numbered_videos import UNREADABLE

from litevl.commands.validate import validate


@pytest.fixture
def copy(corpus, tmp_path) -> Path:
    return Path(shutil.copytree(corpus, tmp_path / "corpus"))


def report(capsys, *arguments, **options) -> tuple[int, dict[str, list[dict]]]:
    """The exit code, and the items of each kind of finding."""
    code = validate(*arguments, json=True, **options)
    found: dict[str, list[dict]] = {}
    for finding in json.loads(capsys.readouterr().out)["findings"]:
        found.setdefault(finding["kind"], []).extend(finding["items"] or [finding])
    return code, found


def rows(path: Path) -> list[list[str]]:
    return [line.split(",", 1) for line in path.read_text(encoding="utf-8").splitlines()]


def test_nothing_is_wrong_with_the_corpus(copy, capsys):
    code, found = report(capsys, copy / "own", videos=copy / "videos", dataset="own")
    assert (code, set(found)) == (0, {"caption_mode"})


def test_every_planted_defect_of_videos_and_splits_is_found(copy, capsys):
    own, videos = copy / "own", copy / "videos"
    train, test = (rows(own / f"{split}.csv")[1:] for split in ("train", "test"))
    names = list(dict.fromkeys(name.removesuffix(".mp4") for name, _ in train))
    tested = list(dict.fromkeys(name.removesuffix(".mp4") for name, _ in test))
    bad = {}
    for (make, message), name in zip(UNREADABLE.values(), names, strict=False):
        path = videos / f"{name}.mp4"
        path.unlink()
        make(path, 1)
        bad[name] = message
    copied, leaked, doubled = names[-1], names[-2], tested[0]
    shutil.copy(videos / f"{leaked}.mp4", videos / f"{doubled}.mp4")
    (videos / "unused.mp4").write_bytes((videos / f"{copied}.mp4").read_bytes())
    with (own / "train.csv").open("a", encoding="utf-8") as file:
        file.write(f"unused.mp4,{train[-1][1]}\n{','.join(train[-1])}\n")
        file.write(f"video99999.mp4,{'a red circle ' * 40}\n")
    shutil.copy(videos / f"{tested[1]}.mp4", videos / "nobodys.mp4")
    code, found = report(capsys, own, videos=videos, dataset="own")
    assert code == 2
    lost = {item["video_id"]: item["reason"] for item in [*found["missing"], *found["unreadable"]]}
    assert set(lost) == {*bad, "video99999"}
    for name, message in bad.items():
        assert any(part in lost[name].replace("(", ".") for part in message.split("|")), (name, lost[name])
    assert [(item["train"], item["test"], item["how"]) for item in found["leak"]] == [(leaked, doubled, "by content")]
    assert [item["video_ids"] for item in found["duplicate_content"]] == [[copied, "unused"]]
    assert any("nobodys.mp4" in json.dumps(item) for item in found["unused"])
    assert [item["text"] for item in found["duplicate_text"]] == [train[-1][1].strip('"')]
    assert [item["video_id"] for item in found["long_text"]] == ["video99999"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[: len(text) // 2], "expected JSON"),
        (lambda text: text.replace('"sentences"', '"sentence"'), "expected the key sentences"),
        (lambda text: text.replace('"video_id": "video1"', '"video_id": "video0"', 1), "video0 is listed twice"),
        (lambda text: text.replace('"caption": "', '"caption": "\\ud800', 1), "expected whole characters"),
    ],
)
def test_every_planted_defect_of_annotations_is_found(copy, capsys, spoil, message):
    path = copy / "MSRVTT_data.json"
    path.write_text(spoil(path.read_text(encoding="utf-8")), encoding="utf-8")
    code, found = report(capsys, copy, dataset="msrvtt", task="captions", decode=False)
    assert code == 2
    assert any(message in json.dumps(item) for item in found["annotations"]), found
    assert str(path) in json.dumps(found["annotations"])
