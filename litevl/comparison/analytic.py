"""Floating-point operations by formula: what the counter is checked against.

A multiply-add is two operations. Matrix products count (linear layers, the two products of attention, the patches'
convolution), as in the counter; sums, norms, softmax and the cosines of the text-conditioned pooling do not.
"""

from typing import Any

from litevl.adapters import AdapterConfig, FrameAverageConfig, LiteVLConfig, PoolingConfig, plugged_state
from litevl.evilm.config import EViLMConfig
from litevl.models import VideoTextRetrieval

from .subject import TEXT_TOKENS


def linear(rows: int, inputs: int, outputs: int) -> int:
    """Operations of a linear layer on so many rows."""
    return 2 * rows * inputs * outputs


def attention(sequences: int, queries: int, keys: int, dim: int) -> int:
    """Operations of attention between its projections: the scores, and the weighted sums; the heads share `dim`."""
    return 2 * 2 * sequences * queries * keys * dim


def patches(frames: int, image_size: int, patch_size: int, dim: int) -> int:
    """Operations of the convolution that embeds the patches of frames."""
    return linear(frames * (image_size // patch_size) ** 2, 3 * patch_size**2, dim)


def transformer_layer(sequences: int, tokens: int, dim: int, hidden: int) -> int:
    """Operations of a layer: attention with its four projections, and the feed-forward layer."""
    rows = sequences * tokens
    return linear(rows, dim, 4 * dim) + attention(sequences, tokens, tokens, dim) + 2 * linear(rows, dim, hidden)


def cross_attention(tokens: int, dim: int, memory: int, memory_dim: int) -> int:
    """Operations by which one text attends to a memory: query and output of its rows, key and value of the memory's."""
    return 2 * linear(tokens, dim, dim) + 2 * linear(memory, memory_dim, dim) + attention(1, tokens, memory, dim)


def litevl_adapters(config: LiteVLConfig, layers: int, positions: int, num_frames: int, dim: int) -> int:
    """Operations that LiteVL's adapters add to a clip: attention over time at each patch position, and FC_t."""
    rows = num_frames * positions
    each = linear(rows, dim, 5 * dim) + attention(positions, num_frames, num_frames, dim)
    if config.scaling == "conditional":
        width = max(dim // 16, 8)
        each += linear(num_frames, dim, width) + linear(num_frames, width, 1)
    return each * len(config.layer_numbers(layers))


def blip_clip(vision: Any, adapter: AdapterConfig | None, num_frames: int, embed_dim: int) -> int:
    """Operations by which a BLIP encodes a clip, frame by frame or with LiteVL's adapters, and projects it.

    Args:
        vision: transformers' `BlipVisionConfig`.
        adapter: LiteVL's, or none.
        num_frames: of the clip.
        embed_dim: width of the embedding.
    """
    dim, positions = vision.hidden_size, (vision.image_size // vision.patch_size) ** 2
    layer = transformer_layer(num_frames, positions + 1, dim, vision.intermediate_size)
    total = patches(num_frames, vision.image_size, vision.patch_size, dim) + vision.num_hidden_layers * layer
    if isinstance(adapter, LiteVLConfig):
        total += litevl_adapters(adapter, vision.num_hidden_layers, positions, num_frames, dim)
    return total + linear(1, dim, embed_dim)


def blip_text(text: Any, tokens: int, embed_dim: int) -> int:
    """Operations by which a BLIP encodes a text, and projects it; `text` is transformers' `BlipTextConfig`."""
    layer = transformer_layer(1, tokens, text.hidden_size, text.intermediate_size)
    return text.num_hidden_layers * layer + linear(1, text.hidden_size, embed_dim)


def blip_pair(text: Any, tokens: int, memory: int, pooled: int, vision_dim: int, embed_dim: int) -> int:
    """Operations by which a BLIP matches a text with a video.

    Args:
        text: transformers' `BlipTextConfig`.
        tokens: of the text.
        memory: rows of the video that the text attends to, the pooled ones among them.
        pooled: rows that are projected to be compared with the text, for the text-conditioned pooling.
        vision_dim: width of the rows.
        embed_dim: width of the projection.
    """
    layer = transformer_layer(1, tokens, text.hidden_size, text.intermediate_size)
    layer += cross_attention(tokens, text.hidden_size, memory, vision_dim)
    return text.num_hidden_layers * layer + linear(pooled, vision_dim, embed_dim) + linear(1, text.hidden_size, 2)


def blip_flops(model: VideoTextRetrieval, num_frames: int, tokens: int = TEXT_TOKENS) -> dict[str, int]:
    """The operations of a retrieval model, for adapters that have a formula here (LiteVL's, and none at all).

    Returns:
        By operation, as `RetrievalSubject` names them; nothing for other adapters, and with LoRA, which adds its own.
    """
    state = plugged_state(model.blip)
    adapter = None if state is None else state.config
    lora = any(hasattr(module, "base_layer") for module in model.blip.modules())
    if lora or not isinstance(adapter, LiteVLConfig | FrameAverageConfig):
        return {}
    vision, text = model.blip.config.vision_config, model.blip.config.text_config
    embed, positions = model.blip.vision_proj.out_features, (vision.image_size // vision.patch_size) ** 2
    pooling: PoolingConfig = model.pooling
    pooled = 0 if pooling.mode == "none" else num_frames + positions
    own = 1 + num_frames * positions if adapter.cls == "clip" else num_frames * (1 + positions)
    weighed = pooled if pooling.mode == "text" and pooling.space == "projected" else 0
    memory = (own if pooling.keep_tokens else 1) + pooled
    return {
        "clip": blip_clip(vision, adapter, num_frames, embed),
        "text": blip_text(text, tokens, embed),
        "pair": blip_pair(text, tokens, memory, weighed, vision.hidden_size, embed),
    }


def evilm_flops(config: EViLMConfig, tokens: int = TEXT_TOKENS) -> dict[str, int]:
    """The operations of an E-ViLM for retrieval, on clips of `config.num_frames`, by operation.

    Matching reads the text anew, without the projection, and attends to text and video in one sequence.
    """
    frames, dim = config.num_frames, config.vision_dim
    each = config.grid**2 + 1
    layer = transformer_layer(frames, each, dim, 4 * dim)
    if config.attention == "divided":
        layer += linear(frames * each, dim, 4 * dim) + attention(each, frames, frames, dim)
    clip = patches(frames, config.image_size, config.patch_size, dim) + config.vision_layers * layer
    read = config.text_layers * transformer_layer(1, tokens, config.dim, 4 * config.dim)
    rows = 1 + frames * config.grid**2
    fused = config.fusion_layers * transformer_layer(1, tokens + rows, config.dim, 4 * config.dim)
    return {
        "clip": clip + linear(1, dim, config.embed_dim),
        "text": read + linear(1, config.dim, config.embed_dim),
        "pair": read + linear(rows, dim, config.dim) + fused + linear(1, config.dim, 2),
    }
