"""One adapter in two libraries: the files that transformers' BLIP writes are those that LAVIS's reads and writes.

tests/adapters/test_original_layout.py holds the same files and rows against transformers 5's BLIP.
"""

import pytest

pytest.importorskip("lavis.models", reason="needs LAVIS; run `bash tests/lavis/run.sh`")

import torch
from known_blip import CONFIG, FOLDER, assert_known, expected_rows, fill, read_config, rows_of
from lavis.models import BlipFeatureExtractor, BlipITM, BlipRetrieval
from small_lavis import make_lavis
from transformers import BlipForImageTextRetrieval

from litevl import load_blip
from litevl.adapters import AdapterLoadError, fingerprint, load_adapters, plug, save_adapters, unplug


@pytest.mark.parametrize("kind", [BlipRetrieval, BlipITM])
def test_the_known_adapter_is_read_and_written_alike(kind, tmp_path):
    model = fill(make_lavis(kind))
    load_adapters(model, FOLDER, verbose=False)
    assert torch.allclose(rows_of(model), expected_rows(), atol=1e-5)
    unplug(model)
    fill(plug(model, CONFIG, verbose=False))
    save_adapters(model, tmp_path)
    assert_known(tmp_path)


def test_a_class_without_some_of_the_parts_has_the_vision_encoder_all_the_same():
    model = fill(make_lavis(BlipFeatureExtractor))
    assert fingerprint(model, "vision encoder") == read_config(FOLDER)["vision_encoder_fingerprint"]
    load_adapters(model, FOLDER, verbose=False)
    assert torch.allclose(rows_of(model), expected_rows(), atol=1e-5)


def test_another_backbone_is_refused():
    model = make_lavis(BlipITM)
    with pytest.raises(AdapterLoadError, match="trained on the vision encoder"):
        load_adapters(model, FOLDER, verbose=False)


class TestWhatOnlyNewerTransformersCan:
    """LAVIS's transformers is older than 5.0: what that lacks says so."""

    def test_load_blip(self):
        with pytest.raises(RuntimeError, match=r"transformers 5\.0 or newer, found 4\.26\.1.*With LAVIS, plug its own"):
            load_blip("embedded")

    def test_plug_on_transformers_own_blip(self):
        from transformers import BlipConfig

        sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
        config = BlipConfig(vision_config={**sizes, "image_size": 32}, text_config=sizes)
        with pytest.raises(ValueError, match=r"as of transformers 5\.0, got an older BlipVisionModel"):
            plug(BlipForImageTextRetrieval(config))
