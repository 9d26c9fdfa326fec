"""What the retrieval model knows of texts and of videos: the tokens to match and the embeddings to compare."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class TokenBatch:
    """Tokenised texts: `input_ids` padded to one length, `attention_mask` 1 on tokens and 0 on padding."""

    input_ids: Int[Tensor, "texts length"]
    attention_mask: Int[Tensor, "texts length"]
    states: Float[Tensor, "texts dim"] | None = None
    """What the text encoder alone makes of them ([CLS]), where that is known already."""

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, index: Int[Tensor, "chosen"] | Bool[Tensor, "texts"] | slice) -> "TokenBatch":
        states = None if self.states is None else self.states[index]
        return TokenBatch(self.input_ids[index], self.attention_mask[index], states)

    def cut_to(self, length: int) -> "TokenBatch":
        """The first `length` tokens of every text, where none has more."""
        return replace(self, input_ids=self.input_ids[:, :length], attention_mask=self.attention_mask[:, :length])

    def pad_to(self, length: int) -> "TokenBatch":
        """Pads every text to `length` tokens; the mask hides what is added, whatever its id."""
        extra = (0, length - self.input_ids.shape[1])
        return replace(self, input_ids=F.pad(self.input_ids, extra), attention_mask=F.pad(self.attention_mask, extra))


@dataclass(frozen=True)
class TextFeatures:
    """Texts through the text encoder alone: `hidden` is [CLS], `embed` its normalised projection."""

    tokens: TokenBatch
    hidden: Float[Tensor, "texts dim"]
    embed: Float[Tensor, "texts embed"]

    def __len__(self) -> int:
        return len(self.embed)

    def __getitem__(self, index: Int[Tensor, "chosen"] | Bool[Tensor, "texts"] | slice) -> "TextFeatures":
        return TextFeatures(self.tokens[index], self.hidden[index], self.embed[index])

    @staticmethod
    def cat(parts: Sequence["TextFeatures"]) -> "TextFeatures":
        """Joins features of texts, padded to the longest."""
        length = max(part.tokens.input_ids.shape[1] for part in parts)
        tokens = [part.tokens.pad_to(length) for part in parts]
        return TextFeatures(
            TokenBatch(torch.cat([t.input_ids for t in tokens]), torch.cat([t.attention_mask for t in tokens])),
            torch.cat([part.hidden for part in parts]),
            torch.cat([part.embed for part in parts]),
        )


@dataclass(frozen=True)
class VideoFeatures:
    """Videos through the vision encoder: `rows` as `litevl.adapters.pack_video` lays them out, row 0 the clip's CLS."""

    rows: Float[Tensor, "videos rows dim"]
    embed: Float[Tensor, "videos embed"]
    num_frames: int
    cls: Literal["clip", "frame"]

    @property
    def memory(self) -> Float[Tensor, "videos memory dim"]:
        """What the text cross-attends to. With one CLS per frame these are exactly the tokens of BLIP's frames."""
        return self.rows if self.cls == "clip" else self.rows[:, 1:]

    @property
    def patches(self) -> Float[Tensor, "videos time patches dim"]:
        """The patch tokens by frame, without CLS."""
        frames = self.rows[:, 1:].unflatten(1, (self.num_frames, -1))
        return frames if self.cls == "clip" else frames[:, :, 1:]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Int[Tensor, "chosen"] | Bool[Tensor, "videos"] | slice) -> "VideoFeatures":
        return VideoFeatures(self.rows[index], self.embed[index], self.num_frames, self.cls)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "VideoFeatures":
        """Moves tokens and embedding, and casts the tokens to `dtype` where one is given."""
        rows = self.rows.to(device=device, dtype=dtype or self.rows.dtype)
        return VideoFeatures(rows, self.embed.to(device), self.num_frames, self.cls)

    @staticmethod
    def cat(parts: Sequence["VideoFeatures"]) -> "VideoFeatures":
        """Joins features of videos of one number of frames."""
        rows, embed = torch.cat([part.rows for part in parts]), torch.cat([part.embed for part in parts])
        return VideoFeatures(rows, embed, parts[0].num_frames, parts[0].cls)
