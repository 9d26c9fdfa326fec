"""Captions through a frozen text encoder once a run, where training reads them more often than there are of them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from accelerate import Accelerator
from tqdm import tqdm

from litevl.distributed import gather_objects
from litevl.models import TokenBatch, VideoTextRetrieval

CHUNK = 256
"""Captions encoded at a time."""


class FrozenTexts:
    """The text encoder's state of each caption, kept in main memory.

    All are encoded beforehand, the same ones together each time: a run that is resumed finds the same bits.

    Args:
        model: whose text encoder is frozen.
        captions: that training reads.
        accelerator: of this run; the processes share the work.
    """

    def __init__(self, model: VideoTextRetrieval, captions: Iterable[str], accelerator: Accelerator):
        every = sorted(set(captions), key=lambda caption: (len(caption), caption))  # little padding within a chunk
        chunks = [every[start : start + CHUNK] for start in range(0, len(every), CHUNK)]
        own: dict[int, torch.Tensor] = {}
        hidden = not accelerator.is_main_process
        with tqdm(total=len(every), unit="caption", desc="captions", disable=hidden, leave=False) as bar:
            for number in range(accelerator.process_index, len(chunks), accelerator.num_processes):
                with torch.no_grad(), accelerator.autocast():
                    own[number] = model.encode_text(chunks[number]).hidden.cpu()
                bar.update(accelerator.num_processes * len(chunks[number]))
        found = {number: states for part in gather_objects(own) for number, states in part.items()}
        self._states = torch.cat([found[number] for number in range(len(chunks))])
        self._row = {caption: row for row, caption in enumerate(every)}

    def __str__(self) -> str:
        size = self._states.nbytes / 1e6
        return f"frozen text encoder: {len(self._row):,} captions encoded once, {size:,.1f} MB kept in memory"

    def __call__(self, tokens: TokenBatch, captions: Sequence[str]) -> TokenBatch:
        """The tokens of captions with what the text encoder makes of them."""
        rows = torch.tensor([self._row[caption] for caption in captions])
        return replace(tokens, states=self._states[rows].to(tokens.input_ids.device))


def worth_keeping(model: object, captions: Sequence[str], read: int) -> bool:
    """Whether captions are better encoded once, all of them: the encoder is frozen, and training reads more.

    Args:
        model: to be trained.
        captions: all that training may read.
        read: how many it reads, over all epochs.
    """
    return isinstance(model, VideoTextRetrieval) and model.reads_texts_alike and len(set(captions)) <= read
