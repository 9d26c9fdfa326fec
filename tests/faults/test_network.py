"""Without a hub id nothing of a run, of validation or of loading opens a connection: sockets are closed to them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLOSED = """
import socket, sys

def refuse(*arguments, **options):
    print(f"a connection was asked for: {arguments}", file=sys.stderr, flush=True)  # whoever may catch what follows
    raise SystemExit(1)

class Closed(socket.socket):
    # Pairs within the process, as event loops and multiprocessing have, are no network.
    def connect(self, address):
        if self.family != socket.AF_UNIX:
            refuse(address)
        return super().connect(address)
    connect_ex = connect

socket.socket = Closed
socket.create_connection = socket.getaddrinfo = socket.gethostbyname = refuse
"""
CHECKED = CLOSED + "import urllib.request\nurllib.request.urlopen('http://localhost:1')"
RECIPE = (
    CLOSED
    + """
import runpy
sys.argv[0] = "recipes/msrvtt_retrieval.py"
runpy.run_path("recipes/msrvtt_retrieval.py", run_name="__main__")
"""
)


def run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    # The variables that forbid the hub's client the network would hide that it was asked.
    kept = {name: value for name, value in os.environ.items() if "OFFLINE" not in name}
    return subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, env=kept, capture_output=True, text=True, timeout=300
    )


def test_the_sockets_are_closed():
    done = run(CHECKED)
    assert done.returncode == 1
    assert "a connection was asked for" in done.stderr


def test_the_main_recipe_with_its_own_backbone_and_corpus(corpus, tmp_path):
    words = f"--data.root {corpus} --data.train-split full --data.test-split full --backbone embedded --epochs 1"
    words += (
        f" --batch-size 8 --data.workers 1 --evaluation.workers 1 --adapter.num-frames 2 --output-dir {tmp_path}/run"
    )
    done = run(RECIPE, *words.split())
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_commands(corpus, tmp_path):
    """Of one's own videos, one after the other, and the check of a data set. (What is no Python is not closed.)"""
    pytest.importorskip("lancedb")
    video, index = str(corpus / "videos" / "video3.mp4"), str(tmp_path / "index")
    commands = [
        ["validate", str(corpus), "--no-decode"],
        ["index", video, "--index", index, "--device", "cpu"],
        ["search", "a red square", "--index", index, "--device", "cpu"],
        ["caption", video, "--device", "cpu"],
        ["ask", video, "which shape appears first?", "--device", "cpu"],
    ]
    done = run(CLOSED + f"from litevl.__main__ import main\nprint([main(words) for words in {commands!r}])")
    assert done.returncode == 0, done.stderr
    assert "connection" not in done.stderr
    codes = json.loads(done.stdout.splitlines()[-1])
    assert codes[0] in (0, 1)
    assert codes[1:] == [0] * 4, done.stderr


def test_a_hub_id_does_ask():
    done = run(CLOSED + "from litevl import load_blip\nload_blip('someone/blip')")
    assert "a connection was asked for" in done.stderr
    assert done.returncode != 0


def test_loading(backbone):
    done = run(CLOSED + f"from litevl import load_blip\nload_blip('embedded'), load_blip({str(backbone)!r})")
    assert done.returncode == 0, done.stderr
    assert "connection" not in done.stderr
