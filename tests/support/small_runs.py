"""A small corpus of real files and a small random backbone on disk, for recipes to run on."""

from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from small_blip import make_blip
from transformers import BlipConfig, BlipForConditionalGeneration, BlipForQuestionAnswering

from litevl.blip import load_tokenizer, repair, save_blip
from litevl.corpus import CorpusConfig, ensure_corpus, vocabulary


@pytest.fixture(autouse=True)
def fresh_accelerate():
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


def _with_decoder(folder: Path, kind: type) -> Path:
    torch.manual_seed(0)
    config = BlipConfig.from_pretrained(folder)
    blip = repair(kind(config).eval())
    blip.tokenizer = load_tokenizer(folder / "vocab.txt")
    torch.nn.init.normal_(blip.vision_model.embeddings.position_embedding, std=0.5)
    made = folder.parent / kind.__name__
    save_blip(blip, made)
    (made / "vocab.txt").write_text((folder / "vocab.txt").read_text(encoding="utf-8"), encoding="utf-8")
    return made


@pytest.fixture(scope="session")
def answering_backbone(backbone) -> Path:
    """The same for question answering."""
    return _with_decoder(backbone, BlipForQuestionAnswering)


@pytest.fixture(scope="session")
def captioning_backbone(backbone) -> Path:
    """The same for captioning."""
    return _with_decoder(backbone, BlipForConditionalGeneration)
