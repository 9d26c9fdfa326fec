"""Starting E-ViLM's encoders from published models of images and of texts, so that little data has less to teach.

What is read is transformers' ViT, such as facebook/deit-tiny-patch16-224, and transformers' BERT, such as
microsoft/MiniLM-L12-H384-uncased, of which a smaller text encoder takes the first layers. No code of a source is run.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import BertConfig, BertModel, PreTrainedTokenizerBase, ViTConfig

from litevl.blip import CheckpointError, load_tokenizer
from litevl.blip.checkpoint import require_finite
from litevl.blip.conversion import interpolate_positions
from litevl.blip.folder import folder_of, read_folder, read_json
from litevl.blip.source import fetch_hub_files, find_source
from litevl.blip.tokenizer import DECODER_TOKEN, ENCODER_TOKEN
from litevl.data.preprocess import PreprocessConfig

from .video_encoder import VideoEncoder

PREPROCESSING = "preprocessor_config.json"
# ViT's modules were renamed in transformers 5. Its files keep the old names, a state dict saved as it is has the new.
NEW_VIT_NAMES = (
    ("layers.", "encoder.layer."),
    ("attention.q_proj.", "attention.attention.query."),
    ("attention.k_proj.", "attention.attention.key."),
    ("attention.v_proj.", "attention.attention.value."),
    ("attention.o_proj.", "attention.output.dense."),
    ("mlp.fc1.", "intermediate.dense."),
    ("mlp.fc2.", "output.dense."),
)
OLD_BERT_NAMES = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))
VIT_LAYER = {
    "norm1": "layernorm_before",
    "attention.proj": "attention.output.dense",
    "norm2": "layernorm_after",
    "feed_forward.0": "intermediate.dense",
    "feed_forward.2": "output.dense",
}
"""Our names in a block, and those of a layer of a ViT."""


def load_vision_weights(encoder: VideoEncoder, source: str) -> str:
    """Starts a video encoder from a ViT for images.

    Attention over time, the time table and the mask token stay as they are. Attention over time starts with an output
    of zero, so that, but for the time table, the encoder then is that ViT frame by frame. Where the source says with
    which mean and deviation it takes pixels, the patch embedding is rewritten for frames with BLIP's.

    Args:
        encoder: fresh.
        source: a hub id, or the folder of a transformers ViT of the encoder's sizes, with any head or none.

    Returns:
        What was taken, in a line.

    Raises:
        CheckpointError: the source cannot be read, or is not a ViT of these sizes.
    """
    folder, config = _open(source, ViTConfig)
    block: Any = encoder.blocks[0]
    patch, dim = encoder.patches.kernel_size[0], encoder.position.shape[1]
    _require(
        source,
        config,
        hidden_size=dim,
        num_hidden_layers=len(encoder.blocks),
        num_attention_heads=block.attention.num_heads,
        patch_size=patch,
        intermediate_size=4 * dim,
        hidden_act="gelu",
    )
    given = _Given(read_folder(folder, source), "vit.", NEW_VIT_NAMES, source)
    positions, grid = given["embeddings.position_embeddings"], round((len(encoder.position) - 1) ** 0.5)
    found = {
        "cls": given["embeddings.cls_token"].flatten(),
        "position": interpolate_positions(positions, grid, source)[0],
        **given.pair("patches", "embeddings.patch_embeddings.projection"),
        **given.pair("norm", "layernorm"),
    }
    for number in range(len(encoder.blocks)):
        ours, theirs = f"blocks.{number}", f"encoder.layer.{number}"
        for name, other in VIT_LAYER.items():
            found |= given.pair(f"{ours}.{name}", f"{theirs}.{other}")
        parts = [f"{theirs}.attention.attention.{part}" for part in ("query", "key", "value")]
        for kind in ("weight", "bias"):
            found[f"{ours}.attention.qkv.{kind}"] = torch.cat([given[f"{part}.{kind}"] for part in parts])
    said = [f"the video encoder starts from the {len(encoder.blocks)} layers of {source}"]
    if grid**2 + 1 != positions.shape[1]:
        said.append(f"its positions interpolated to {grid} x {grid} patches")
    normalised = _normalisation(folder, source)
    if normalised is not None and normalised != (PreprocessConfig().mean, PreprocessConfig().std):
        weight, bias = found["patches.weight"], found["patches.bias"]
        found["patches.weight"], found["patches.bias"] = _renormalise(weight, bias, *normalised)
        said.append("its patch embedding rewritten for BLIP's mean and deviation of pixels")
    _fill(encoder, found, source)
    encoder.start_time_from_space()
    return ", ".join(said)


def load_text_weights(encoder: BertModel, source: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """Starts a text encoder from the first layers of a BERT of the same width and vocabulary.

    The rows of [DEC] and [ENC], which BERT does not have, stay as they are, and so do positions beyond the source's.

    Args:
        encoder: fresh, with a row for each word of `tokenizer`.
        source: a hub id, or the folder of a transformers BERT, with any head or none.
        tokenizer: the encoder's.

    Returns:
        What was taken, in a line.

    Raises:
        CheckpointError: the source cannot be read, is not a BERT of these sizes, or reads words by other ids.
    """
    folder, config = _open(source, BertConfig)
    own, size = encoder.state_dict(), encoder.config
    same = ("hidden_size", "num_attention_heads", "intermediate_size", "hidden_act")
    _require(source, config, **{name: getattr(size, name) for name in same})
    if config.num_hidden_layers < size.num_hidden_layers:
        raise CheckpointError(
            f"{source}: expected a BERT of at least {size.num_hidden_layers} layers, as many as the text encoder has, "
            f"got {config.num_hidden_layers}; take a deeper one, or fewer text_layers"
        )
    given = _Given(read_folder(folder, source), "bert.", OLD_BERT_NAMES, source)
    found = {name: given[name] for name in own}
    words = "embeddings.word_embeddings.weight"
    ids = _shared_ids(folder, source, tokenizer, len(found[words]))
    found[words] = _with_rows(own[words], found[words], ids)
    for name in ("embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"):
        both = torch.arange(min(len(own[name]), len(found[name])))
        found[name] = _with_rows(own[name], found[name], both)
    _fill(encoder, found, source)
    return (
        f"the text encoder starts from the first {size.num_hidden_layers} of {config.num_hidden_layers} layers of "
        f"{source}, with the rows of {len(ids)} words and "
        f"{min(size.max_position_embeddings, config.max_position_embeddings)} positions"
    )


class _Given:
    """A source's tensors by the names its files have had the longest."""

    def __init__(
        self, tensors: dict[str, Tensor], prefix: str, renamed: tuple[tuple[str, str], ...], source: str
    ) -> None:
        self.source = source
        self.tensors: dict[str, Tensor] = {}
        for name, value in tensors.items():
            plain = name.removeprefix(prefix)
            for other, usual in renamed:
                plain = plain.replace(other, usual)
            self.tensors[plain] = value

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise CheckpointError(
                f"{self.source}: expected a tensor {name}, the weights hold none; take a complete checkpoint"
            )
        return self.tensors[name]

    def pair(self, ours: str, theirs: str) -> dict[str, Tensor]:
        """Weight and bias of a layer, under our name."""
        return {f"{ours}.{kind}": self[f"{theirs}.{kind}"] for kind in ("weight", "bias")}


def _open(source: str, kind: type[ViTConfig] | type[BertConfig]) -> tuple[Path, Any]:
    """The folder of a source, fetched first where it is on the hub, and its config.json with the gaps filled."""
    found = find_source(source)
    folder, commit = folder_of(found)
    if folder is None:
        raise CheckpointError(
            f"{source}: expected a transformers folder or a hub id, got a file; pass the folder that holds it, with "
            "its config.json"
        )
    if found.kind == "hub" and kind is ViTConfig:
        fetch_hub_files(found.label, wanted=(("config.json",),), optional=(PREPROCESSING,), revision=commit)
    content = read_json(folder / "config.json")
    # Configurations of the first years name no type.
    if content.get("model_type", kind.model_type) != kind.model_type:
        raise CheckpointError(
            f'{source}: expected "model_type": "{kind.model_type}" in config.json, got {content["model_type"]!r}; '
            f"only transformers' {kind.__name__.removesuffix('Config')} can be read"
        )
    return folder, kind.from_dict(content)


def _require(source: str, config: Any, **sizes: Any) -> None:
    other = {name: getattr(config, name) for name, value in sizes.items() if getattr(config, name) != value}
    if other:
        expected = ", ".join(f"{name} {sizes[name]}" for name in other)
        came = ", ".join(f"{name} {value}" for name, value in other.items())
        raise CheckpointError(
            f"{source}: expected the encoder's own sizes, {expected}, got {came}; take a model of these sizes, or make "
            "the encoder of the model's"
        )


def _shared_ids(folder: Path, source: str, tokenizer: PreTrainedTokenizerBase, rows: int) -> Tensor:
    """The ids of all words but [DEC] and [ENC], of which it is certain that they mean the same in the source."""
    ours = {word: i for word, i in tokenizer.get_vocab().items() if word not in (DECODER_TOKEN, ENCODER_TOKEN)}
    ids = torch.tensor(sorted(ours.values()))
    if any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        theirs = load_tokenizer(folder).get_vocab()
        other = [word for word, i in ours.items() if theirs.get(word) != i]
        if other:
            word = min(other, key=ours.__getitem__)
            raise CheckpointError(
                f"{source}: expected the vocabulary of the text encoder, got one in which {len(other)} of its "
                f"{len(ours)} words have another id or none, such as {word!r} ({ours[word]} here, "
                f"{theirs.get(word, 'none')} there); take a BERT of the same vocabulary, or this one's vocabulary"
            )
    elif rows != len(ours):
        raise CheckpointError(
            f"{source}: expected rows for the {len(ours)} words of the text encoder, since no vocabulary lies beside "
            f"the weights, got {rows}; add its vocab.txt"
        )
    if rows <= int(ids.max()):
        raise CheckpointError(
            f"{source}: expected rows for ids up to {int(ids.max())}, got {rows}; take a BERT of the same vocabulary"
        )
    return ids


def _with_rows(
    own: Float[Tensor, "rows dim"], given: Float[Tensor, "given dim"], ids: Tensor
) -> Float[Tensor, "rows dim"]:
    table = own.clone()
    table[ids] = given[ids].to(table)
    return table


def _normalisation(folder: Path, source: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """The mean and deviation of pixels that a model was trained with, where it says so."""
    if not (folder / PREPROCESSING).is_file():
        return None
    content = read_json(folder / PREPROCESSING)
    if not content.get("do_normalize", True):
        return (0.0,) * 3, (1.0,) * 3
    mean, std = content.get("image_mean"), content.get("image_std")
    if mean is None and std is None:
        return None
    if not (isinstance(mean, list) and isinstance(std, list) and len(mean) == len(std) == 3 and min(std) > 0):
        raise CheckpointError(
            f"{source}: expected three numbers each for image_mean and image_std in {PREPROCESSING}, the second above "
            f"zero, got {mean} and {std}; mend the file, or remove it"
        )
    return tuple(mean), tuple(std)


def _renormalise(
    weight: Float[Tensor, "dim 3 height width"],
    bias: Float[Tensor, "dim"],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> tuple[Float[Tensor, "dim 3 height width"], Float[Tensor, "dim"]]:
    """A patch embedding that makes of BLIP's pixels what the given one makes of the same frame's own pixels."""
    own, (their_mean, their_std) = PreprocessConfig(), torch.tensor([mean, std], dtype=torch.float64)
    own_mean, own_std = torch.tensor([own.mean, own.std], dtype=torch.float64)
    weight, bias = weight.double(), bias.double()
    shift = torch.einsum("dchw,c->d", weight, (own_mean - their_mean) / their_std)
    return weight * (own_std / their_std)[:, None, None], bias + shift


def _fill(module: nn.Module, found: dict[str, Tensor], source: str) -> None:
    own = module.state_dict()
    for name, value in found.items():
        if value.shape != own[name].shape:
            raise CheckpointError(
                f"{source}: expected a tensor of shape {tuple(own[name].shape)} for {name}, got {tuple(value.shape)}; "
                "the weights are not of its config.json: take a complete checkpoint"
            )
    require_finite(found, source)
    module.load_state_dict(found, strict=False)
