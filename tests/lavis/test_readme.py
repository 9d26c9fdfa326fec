"""README's program for LAVIS runs as it stands; only the download is stood in for."""

import re
from pathlib import Path

import pytest

pytest.importorskip("lavis.models", reason="needs LAVIS; run `bash tests/lavis/run.sh`")

from known_blip import FRAMES
from lavis import models
from small_lavis import CLASSES, make_lavis, pixels, results, same

from litevl.adapters import LiteVLConfig, plug, plugged_state, save_adapters

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_program_of_the_readme_runs(monkeypatch, tmp_path):
    page = README.read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(from lavis\.models import.*?)```", page, re.DOTALL)
    kind = next(kind for kind in CLASSES if "Retrieval" in str(kind))
    trained = plug(make_lavis(kind), LiteVLConfig(num_frames=8), verbose=False)
    save_adapters(trained, tmp_path / "my_adapters")
    asked = []

    def load_model(name, model_type):
        asked.append((name, model_type))
        return make_lavis(kind)

    monkeypatch.setattr(models, "load_model", load_model)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(program, "README.md", "exec"), names)
    assert asked == [("blip_retrieval", "coco")]
    assert plugged_state(names["model"]).config == LiteVLConfig(num_frames=8)
    assert same(results(names["model"], pixels(FRAMES)), results(trained, pixels(FRAMES)))
