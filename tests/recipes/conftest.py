"""A small corpus of real files and a small random backbone on disk, for recipes to run on."""

from pathlib import Path

import pytest
from accelerate.state import AcceleratorState
from small_blip import make_blip

from litevl.blip import load_tokenizer, save_blip
from litevl.corpus import CorpusConfig, ensure_corpus, vocabulary


@pytest.fixture(autouse=True)
def _fresh_accelerate():
    """Accelerate keeps one state a process; each run in these tests has its own."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """Sixteen training clips, eight to validate and eight to test, in MSR-VTT's schema."""
    config = CorpusConfig(train_families=2, validate_families=1, test_families=1)
    return ensure_corpus(tmp_path_factory.mktemp("corpora"), config, progress=False)


@pytest.fixture(scope="session")
def backbone(tmp_path_factory) -> Path:
    """A transformers folder of a small random BLIP that knows the corpus's words."""
    folder = tmp_path_factory.mktemp("backbone")
    words = folder / "words.txt"
    words.write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    blip = make_blip(load_tokenizer(words), layers=2)
    save_blip(blip, folder / "blip")
    (folder / "blip" / "vocab.txt").write_text(words.read_text(encoding="utf-8"), encoding="utf-8")
    return folder / "blip"
