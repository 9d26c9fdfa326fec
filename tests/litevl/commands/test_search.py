"""`litevl encode`, `index`, `search`, `ask` and `caption`: what they print, their JSON, their exit codes."""

import json
import shutil
import subprocess
import sys

import pytest
from rendered_clips import render
from spoiled_decoding import PLANTED

from litevl.__main__ import main

QUERY = "a red square"


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for place, name in enumerate(("a.mp4", "b [2].mp4")):
        render(folder / name, frames=20 + place)
    (folder / "bad.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def kept(videos, tmp_path_factory):
    where = tmp_path_factory.mktemp("kept") / "index"
    assert main(["index", str(videos), "--index", str(where), "--workers", "0", "--device", "cpu"]) == 1
    return where


@pytest.fixture
def index(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "index")


def run(capsys, *arguments):
    capsys.readouterr()
    code = main(list(map(str, arguments)))
    return code, *capsys.readouterr()


def test_encode_then_index_then_search(videos, tmp_path, capsys):
    where = tmp_path / "index"
    code, out, err = run(capsys, "encode", videos, "--index", where, "--workers", 0, "--device", "cpu")
    assert code == 1, "a file is bad"
    assert f"left out: {videos / 'bad.mp4'}" in err
    assert "2 added, 0 changed, 0 moved, 0 removed, 0 unchanged, 1 bad" in out
    assert f"next: litevl index --index {where}" in out
    code, out, err = run(capsys, "search", QUERY, "--index", where, "--device", "cpu")
    assert (code, "nothing found" in out, "2 encoded segments are not searchable yet" in err) == (1, True, True)
    code, out, _ = run(capsys, "index", "--index", where, "--json")
    done = json.loads(out)
    assert (code, done["unchanged"], done["indexed_segments"]) == (1, 3, 2)
    code, out, err = run(capsys, "search", QUERY, "--index", where, "--device", "cpu", "--k", 5)
    assert (code, err) == (0, "")
    assert f"“{QUERY}”" in out
    assert "b [2].mp4" in out


def test_json_has_all_of_it_and_the_sheet_is_drawn(index, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    code, out, _ = run(capsys, "search", QUERY, "--index", index, "--json", "--why", "--save", sheet, "--rerank", 1)
    told = json.loads(out)
    assert (code, told["query"], [hit["match"] is None for hit in told["hits"]]) == (0, QUERY, [False, True])
    assert len(told["why"]["similarity"]) == told["maker"]["num_frames"] == 8
    assert sheet.stat().st_size > 1000
    code, out, _ = run(capsys, "search", QUERY, "--index", index, "--after", "0:10", "--json")
    assert (code, json.loads(out)["hits"]) == (1, [])


def test_settings_of_an_index_stay_as_they_are(index, videos, capsys):
    code, out, _ = run(capsys, "index", "--index", index, "--cut", "windows", "--seconds", 10, "--workers", 0)
    assert (code, "3 unchanged" in out) == (1, True)
    code, _, err = run(capsys, "index", "--index", index, "--seconds", 5)
    assert (code, "segments.seconds: 10.0 -> 5.0" in err, err.count("\n")) == (2, True, 1)


def test_errors_are_one_line(index, tmp_path, capsys):
    for arguments, words in (
        (("search", QUERY, "--index", tmp_path / "no"), "expected an index, found none"),
        (("search", " ", "--index", index), "expected a text"),
        (("search", QUERY, "--index", index, "--after", "later"), "expected a time within the video"),
        (("search", QUERY, "--index", index, "--save", "x.doc"), "--save: expected a picture"),
        (("search", QUERY, "--index", index, "--adapter", tmp_path / "no"), "adapter: expected the folder of a run"),
        (("index", "--index", tmp_path / "new"), "nothing to index: name a folder"),
        (("index", tmp_path / "no", "--index", tmp_path / "new"), "expected a folder of videos, or one video"),
        (("ask", tmp_path / "no.mp4", "what?"), "no such file"),
        (("caption", tmp_path / "no.mp4", "--adapter", tmp_path / "no"), "adapter: expected the folder of a run"),
        (("caption", tmp_path / "no.mp4", "--start", "9", "--end", "3"), "expected start before end"),
        (("caption", tmp_path / "no.mp4", "--device", "gpu7"), "device: expected one of this machine"),
        (("caption", tmp_path / "no.mp4", "--decode-timeout", "0"), "decode_timeout: expected a number of seconds"),
        (("ask", tmp_path / "no.mp4", "\udc80?"), "expected a question in UTF-8"),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
        assert err.startswith("error: ")
        assert words in err


def test_ask_and_caption(videos, tmp_path, capsys):
    clip = videos / "a.mp4"
    code, out, _ = run(capsys, "caption", clip, "--device", "cpu")
    assert (code, out.startswith("0:00-0:01  ")) == (0, True)
    listed = tmp_path / "answers.txt"
    listed.write_text("circle\nsquare\n", encoding="utf-8")
    code, out, _ = run(capsys, "ask", clip, "which shape appears first?", "--answers", listed, "--json")
    told = json.loads(out)
    assert (code, told["video"], told["said"][0]["text"] in ("circle", "square")) == (0, str(clip), True)


@pytest.mark.parametrize(
    ("how", "words"), [("hangs", "stopped after 1 seconds"), ("crashes", "the decoder crashed on it (SIGABRT)")]
)
def test_what_a_decoder_hangs_or_crashes_on_is_named(index, videos, monkeypatch, capsys, caplog, how, words):
    monkeypatch.setenv("PYTHONPATH", str(PLANTED))
    clip, patience = videos / "a.mp4", ("--device", "cpu", "--decode-timeout", 1)
    faults = [path.with_name(f"{path.name}.{how}") for path in (clip, videos / "b [2].mp4")]
    for fault in faults:
        fault.touch()
    try:
        for arguments in (("ask", clip, "which shape appears first?"), ("caption", clip)):
            code, out, err = run(capsys, *arguments, *patience)
            assert (code, out, err.count("\n")) == (2, "", 1)
            assert err.startswith(f"error: {clip}: ")
            assert words in err
        drawn = index.parent / "sheet.png"
        code, out, err = run(capsys, "search", QUERY, "--index", index, "--why", "--save", drawn, *patience)
        assert (code, "a.mp4" in out, drawn.exists()) == (0, True, True)
        assert f"note: not explained: {videos}" in err
        assert words in caplog.text
        assert "its frames are drawn grey" in caplog.text
    finally:
        for fault in faults:
            fault.unlink()


def test_help_teaches_and_waits_for_no_model():
    code = (
        "import sys\nfrom litevl.__main__ import main\n"
        "for name in ('encode', 'index', 'search', 'ask', 'caption'):\n"
        "    try:\n        main([name, '--help'])\n    except SystemExit as stop:\n        assert not stop.code\n"
        "slow = {'torch', 'transformers', 'decord', 'lancedb'} & set(sys.modules)\nassert not slow, slow\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    for words in ("Exit code: 0", "--cut", "--rerank", "1:02:03", "litevl[search]", "--on-bad-video", "--answers"):
        assert words in done.stdout
