"""Shape annotations are enforced in every test; small random BLIPs and their tokenizer are shared."""

from jaxtyping import install_import_hook

_hook = install_import_hook("litevl", "beartype.beartype")

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from small_blip import WORDS, make_blip

torch.set_num_threads(1)
settings.register_profile("litevl", deadline=None)  # on a busy machine an example may take any time
settings.load_profile("litevl")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def one_thread():
    """What a test ran may have taken all cores: the tests beside it would wait for them, and forks hang on its pool."""
    yield
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real annotation files and clips, which are not part of the project."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the project")
    return folder


@pytest.fixture(scope="session")
def vocab_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tokenizer(vocab_file):
    from litevl.blip import load_tokenizer

    return load_tokenizer(vocab_file)


@pytest.fixture
def blip(tokenizer):
    """A small random BLIP for retrieval, with its tokenizer attached as `load_blip` does."""
    return make_blip(tokenizer)
