import pytest
import torch
import transformers

from litevl.blip import CheckpointError
from litevl.blip.conversion import choose_task, infer_config, interpolate_positions, mend_heads, translate

SIZES = {"base": (768, 12, 12), "large": (1024, 24, 16)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("task", ["retrieval", "vqa", "captioning"])
def test_sizes_of_the_published_models(small, size, task):
    """The names and shapes of BLIP's ViT-B and ViT-L models, without their numbers (on the meta device)."""
    width, layers, heads = SIZES[size]
    vision = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers, "image_size": 480}
    config = transformers.BlipConfig(
        vision_config={**vision, "num_attention_heads": heads, "layer_norm_eps": 1e-6},
        text_config={"num_attention_heads": 12, "encoder_hidden_size": width},
    )
    with torch.device("meta"):
        model = getattr(transformers, small.CLASSES[task])(config)
    translation = translate(small.original_names(model.state_dict()), "x.pth")
    assert list(translation.tensors) == list(model.state_dict())
    assert choose_task(translation.tensors, None, "x.pth") == task
    inferred = infer_config(translation.tensors, task, "x.pth")
    for part in ("vision_config", "text_config"):
        for name, value in inferred[part].items():
            assert getattr(getattr(config, part), name) == value, name
    assert inferred["image_text_hidden_size"] == config.image_text_hidden_size == 256


def test_what_weights_do_not_tell(small):
    state = small.small_blip(width=32).state_dict()
    with pytest.raises(CheckpointError, match=r"width that is a multiple of 64 .*, got 32; .*config.json"):
        infer_config(state, "retrieval", "x.pth")
    state = small.small_blip().state_dict()
    del state["text_encoder.encoder.layer.0.crossattention.self.key.weight"]
    with pytest.raises(CheckpointError, match=r"layer.0.crossattention.self.key.weight to read the model's sizes"):
        infer_config(state, "retrieval", "x.pth")
    state["vision_model.embeddings.position_embedding"] = torch.zeros(1, 13, 64)
    with pytest.raises(CheckpointError, match="square grid of patches, got 13"):
        infer_config(state, "retrieval", "x.pth")


@pytest.mark.parametrize(
    ("part", "width", "heads", "used"),
    [
        ("text_config", 768, 8, 12),
        ("vision_config", 1024, 12, 16),
        ("text_config", 768, 12, 12),
        ("text_config", 128, 8, 8),  # a small model that was made with transformers' default, and trained so
        ("vision_config", 768, 8, 8),
        ("vision_config", 100, 12, 12),  # left for transformers to refuse
    ],
)
def test_heads_are_mended_only_where_they_can_only_be_an_oversight(part, width, heads, used):
    config = {"hidden_size": width, "num_attention_heads": heads}
    note = mend_heads(config, part)
    assert config["num_attention_heads"] == used
    assert (note is None) == (heads == used)


def test_interpolation_keeps_cls_and_the_order_of_rows_and_columns():
    down, right = torch.meshgrid(torch.linspace(-1, 1, 8), torch.linspace(-1, 1, 8), indexing="ij")
    patches = torch.stack([down, right], dim=-1).reshape(1, 64, 2)
    table = torch.cat([torch.full((1, 1, 2), 7.0), patches], dim=1)
    resized = interpolate_positions(table, 12)
    assert resized.shape == (1, 145, 2)
    assert torch.equal(resized[:, 0], table[:, 0])
    rows, columns = resized[0, 1:].reshape(12, 12, 2).unbind(-1)
    torch.testing.assert_close(rows, columns.T)
    torch.testing.assert_close(rows, -rows.flip(0))
    torch.testing.assert_close(rows, rows[:, :1].expand(12, 12))
    assert (rows[:, 0].diff() > 0).all()
    assert interpolate_positions(table, 8) is table
