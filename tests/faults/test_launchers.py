"""The launchers that people use, told to stop or killed, pass it on or are missed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msrvtt_retrieval as recipe
import psutil
import pytest
import torch

LAUNCHERS = {
    "accelerate launch": (["accelerate.commands.launch", "--cpu", "--num_processes", "1"], 1),
    "torchrun": (["torch.distributed.run", "--standalone", "--nproc_per_node", "2"], 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAUNCHERS)
def test_sigterm_to_the_launcher_saves_and_ends_the_run(run, words, tmp_path, name):
    launcher, processes = LAUNCHERS[name]
    folder, output = tmp_path / "run", tmp_path / "launched"
    command = [sys.executable, "-m", *launcher, recipe.__file__, *map(str, words), "--output-dir", str(folder)]
    with output.open("wb") as file:
        launched = subprocess.Popen(
            command, stdout=file, stderr=file, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=tmp_path
        )
    children = []
    try:
        wait_for(lambda: (folder / "log.jsonl").exists(), launched, output)
        children = psutil.Process(launched.pid).children(recursive=True)
        launched.send_signal(signal.SIGTERM)
        launched.wait(60)
        assert not psutil.wait_procs(children, timeout=60)[1], output.read_text()[-3000:]
    finally:
        for process in children:
            process.kill() if process.is_running() else None
        launched.kill()
    assert f"stopped by SIGTERM: the state is saved; go on with --resume --output-dir {folder}" in output.read_text()
    assert 1 <= torch.load(folder / "state.pt", weights_only=True)["progress"]["step"] < 8
    ended = run(resume=True, processes=processes)
    assert ended.codes == [0] * processes, ended.said
    # Not compared bit for bit: a launcher settles the number of threads, and so how sums are rounded.
    assert [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()] == list(range(1, 9))


def wait_for(there, launched: subprocess.Popen, output: Path) -> None:
    until = time.monotonic() + 300
    while not there():
        going = time.monotonic() < until and launched.poll() is None
        assert going, output.read_text()[-3000:]
        time.sleep(0.05)
