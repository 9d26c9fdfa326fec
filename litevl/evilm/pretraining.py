"""E-ViLM's pre-training objective: masked video modelling on the tokenizer's labels, masked words, matching, contrast.

A clean pass gives VTC and VTM; a masked pass gives MVM and MLM, each from the fusion encoder, so that masked patches
are told from the words too, and masked words from the video.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from litevl.distributed import rank, world_size
from litevl.losses import RetrievalLossConfig, RetrievalObjective
from litevl.losses.language import global_mean
from litevl.losses.retrieval import pad_alike
from litevl.models import TokenBatch
from litevl.precision import full_precision

from .masking import mask_patches, mask_words, special_ids
from .model import EViLM

Targets = Callable[[Tensor], Tensor]
"""From clips (batch, time, 3, height, width): labels (batch, time, patches), or features with a last axis more."""


@dataclass(frozen=True)
class PretrainingLossConfig:
    """The parts of the objective; a weight of 0 leaves a part out."""

    mvm_weight: float = 1.0
    """Weight of masked video modelling."""
    mlm_weight: float = 1.0
    """Weight of masked language modelling."""
    vtm_weight: float = 1.0
    """Weight of video-text matching, with hard negatives."""
    vtc_weight: float = 1.0
    """Weight of the video-text contrastive loss."""
    mask_ratio: float = 0.4
    """Share of a clip's patches that is hidden."""
    block_share: float = 0.5
    """Share of the clips that are hidden in blocks of space and time; the others lose patches at random."""
    word_share: float = 0.15
    """Share of the words that is hidden."""

    def __post_init__(self) -> None:
        weights = (self.mvm_weight, self.mlm_weight, self.vtm_weight, self.vtc_weight)
        if min(weights) < 0 or max(weights) == 0:
            raise ValueError("loss weights: expected zero or more, and at least one above zero")
        for name in ("mask_ratio", "word_share"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a share above 0 and below 1, got {getattr(self, name)}")
        if not 0 <= self.block_share <= 1:
            raise ValueError(f"block_share: expected a share from 0 to 1, got {self.block_share}")

    @property
    def retrieval(self) -> RetrievalLossConfig | None:
        """The clean pass's parts."""
        if self.vtc_weight == self.vtm_weight == 0:
            return None
        return RetrievalLossConfig(vtc_weight=self.vtc_weight, vtm_weight=self.vtm_weight)


@dataclass(frozen=True)
class Hidden:
    """What is hidden of clips and their captions."""

    patches: Bool[Tensor, "batch time patches"]
    """Where a patch is masked."""
    read: Int[Tensor, "batch length"]
    """The captions as they are read."""
    words: Bool[Tensor, "batch length"]
    """Where a word has to be told."""

    def __getitem__(self, rows: slice) -> "Hidden":
        return Hidden(self.patches[rows], self.read[rows], self.words[rows])

    def to(self, device: torch.device) -> "Hidden":
        """On another device."""
        return Hidden(self.patches.to(device), self.read.to(device), self.words.to(device))

    @staticmethod
    def cat(parts: Sequence["Hidden"]) -> "Hidden":
        """Joins what is hidden of clips."""
        patches, read = torch.cat([part.patches for part in parts]), torch.cat([part.read for part in parts])
        return Hidden(patches, read, torch.cat([part.words for part in parts]))


@dataclass(frozen=True)
class MaskedPredictions:
    """What a masked pass says of what was hidden, and what was there."""

    words: Float[Tensor, "hidden_words vocabulary"]
    true_words: Int[Tensor, "hidden_words"]
    patches: Float[Tensor, "hidden_patches out"] | None
    """Logits of labels, or features. None without masked video modelling."""
    true_patches: Int[Tensor, "hidden_patches"] | Float[Tensor, "hidden_patches out"] | None

    def right(self) -> dict[str, tuple[float, int]]:
        """How much was told rightly, of how much: words, labels of patches; of features, the sum of cosines."""
        counts = {}
        if len(self.true_words):
            counts["words"] = float((self.words.argmax(dim=-1) == self.true_words).sum()), len(self.true_words)
        if self.patches is not None and self.true_patches is not None:
            if self.true_patches.is_floating_point():
                told = F.cosine_similarity(self.patches.float(), self.true_patches.float(), dim=-1).sum()
            else:
                told = (self.patches.argmax(dim=-1) == self.true_patches).sum()
            counts["patches"] = float(told), len(self.true_patches)
        return counts


class PretrainingObjective(nn.Module):
    """The objective of a model with heads for pre-training.

    Args:
        model: with `pretraining` heads.
        config: the parts.
        targets: what is to be told of a masked patch; not needed where MVM's weight is 0. It is called on whole, clean
            clips, without gradient, and is no part of what is trained or saved.
        seed: of masks and negatives.
    """

    def __init__(self, model: EViLM, config: PretrainingLossConfig, targets: Targets | None = None, seed: int = 0):
        super().__init__()
        if model.pretraining is None:
            raise ValueError("expected a model with heads for pre-training; make it with vision_targets")
        if config.mvm_weight and (targets is None or model.pretraining.patches is None):
            raise ValueError("mvm_weight: masked video modelling needs targets and a head for them; got none")
        self.model, self.config, self.seed = model, config, seed
        self._targets = (targets,)  # in a tuple, so that a module is not registered
        self.retrieval = None if config.retrieval is None else RetrievalObjective(model, config.retrieval, seed)

    def forward(
        self,
        pixels: Float[Tensor, "batch time 3 height width"],
        tokens: TokenBatch,
        video_ids: Int[Tensor, "batch"],
        step: int,
        epochs_done: float,
    ) -> dict[str, Tensor]:
        """The losses of one batch; arguments as `litevl.losses.RetrievalObjective` takes them.

        Returns:
            `loss`, and its parts `vtc`, `vtm`, `mlm` and `mvm` where they take part.
        """
        config, total = self.config, pixels.new_zeros(())
        parts: dict[str, Tensor] = {}
        if self.retrieval is not None:
            clean = self.retrieval(pixels, tokens, video_ids, step, epochs_done)
            total = total + clean.pop("loss")
            parts |= clean
        if config.mlm_weight or config.mvm_weight:
            tokens = pad_alike(tokens)
            told = self.predict(pixels, tokens, self.hide(tokens, pixels.shape[1], step))
            if config.mlm_weight:
                words = F.cross_entropy(told.words.float(), told.true_words, reduction="sum")
                parts["mlm"] = global_mean(words, torch.tensor(len(told.true_words), device=words.device))
                total = total + config.mlm_weight * parts["mlm"]
            if config.mvm_weight:
                parts["mvm"] = patch_loss(told)
                total = total + config.mvm_weight * parts["mvm"]
        return {"loss": total, **{name: value.detach() for name, value in parts.items()}}

    def hide(self, tokens: TokenBatch, num_frames: int, step: int) -> Hidden:
        """Draws what a step hides, for the batches of all processes at once, of which this one keeps its own rows.

        Args:
            tokens: one caption of each clip, as long on every process.
            num_frames: of a clip.
            step: with the seed it settles the draw.
        """
        clips = len(tokens)
        own = slice(rank() * clips, (rank() + 1) * clips)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step + 104_729)
        # The other processes' captions do not matter to this one's rows.
        ids = torch.full((clips * world_size(), tokens.input_ids.shape[1]), self.model.tokenizer.pad_token_id)
        ids[own] = tokens.input_ids.cpu()
        return self._draw(ids, num_frames, generator)[own].to(self.model.device)

    def hide_each(self, tokens: TokenBatch, num_frames: int, places: Sequence[int]) -> Hidden:
        """Draws what is hidden of each clip by itself, from its place in its split: the same whatever the batch."""
        parts = []
        for row, place in enumerate(places):
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + place)
            # Without the padding, which follows from the other captions of the batch.
            length = int(tokens.attention_mask[row].sum())
            own = self._draw(tokens.input_ids[row : row + 1, :length].cpu(), num_frames, generator)
            more = (0, tokens.input_ids.shape[1] - length)
            read = F.pad(own.read, more, value=self.model.tokenizer.pad_token_id)
            parts.append(Hidden(own.patches, read, F.pad(own.words, more)))
        return Hidden.cat(parts).to(self.model.device)

    def _draw(self, ids: Int[Tensor, "clips length"], num_frames: int, generator: torch.Generator) -> Hidden:
        config, tokenizer = self.config, self.model.tokenizer
        patches = torch.zeros(len(ids), num_frames, self.model.config.grid**2, dtype=torch.bool)
        if config.mvm_weight:
            share = (config.mask_ratio, config.block_share)
            patches = mask_patches(len(ids), num_frames, self.model.config.grid, *share, generator)
        read, words = ids, torch.zeros_like(ids, dtype=torch.bool)
        if config.mlm_weight:
            special, mask = special_ids(tokenizer), tokenizer.mask_token_id
            read, words = mask_words(ids, special, mask, len(tokenizer), config.word_share, generator)
        return Hidden(patches, read, words)

    def predict(
        self, pixels: Float[Tensor, "batch time 3 height width"], tokens: TokenBatch, hidden: Hidden
    ) -> MaskedPredictions:
        """The masked pass: tells what is hidden of clips and of their captions from what is left of both.

        Args:
            pixels: preprocessed clips, whole.
            tokens: one caption of each, whole.
            hidden: what is hidden of them.
        """
        model, heads, config = self.model, self.model.pretraining, self.config
        assert heads is not None
        video = model.encode_video(pixels, hidden.patches if config.mvm_weight else None)
        words, rows = model.fuse(TokenBatch(hidden.read, tokens.attention_mask), video)
        table = model.text_encoder.embeddings.word_embeddings.weight
        patches = true_patches = None
        if config.mvm_weight and self._targets[0] is not None:
            with torch.no_grad():
                true_patches = self._targets[0](pixels)[hidden.patches]
            # Row 0 is the clip's CLS.
            patches = heads.patch_outputs(rows[:, 1:][hidden.patches.flatten(1)])
        told = heads.word_logits(words[hidden.words], table)
        return MaskedPredictions(told, tokens.input_ids[hidden.words], patches, true_patches)


def patch_loss(told: MaskedPredictions) -> Float[Tensor, ""]:
    """Cross-entropy of the labels of masked patches; of features, one minus the cosine.

    As many patches are masked in every clip, so that the mean over processes is the mean over all.
    """
    assert told.patches is not None
    assert told.true_patches is not None
    with full_precision(told.patches):
        if told.true_patches.is_floating_point():
            return (1 - F.cosine_similarity(told.patches.float(), told.true_patches.float(), dim=-1)).mean()
        return F.cross_entropy(told.patches.float(), told.true_patches)
