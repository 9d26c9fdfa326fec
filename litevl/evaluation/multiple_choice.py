"""Choosing a video's caption among a few, by similarity (ITC) and by matching plus similarity, as in re-ranking."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from tqdm import tqdm

from litevl.data.multiple_choice import CaptionChoice
from litevl.distributed import gather_objects
from litevl.models.encoding import ClipBatch
from litevl.models.interfaces import RetrievalModel


@torch.no_grad()
def choose_captions(
    model: RetrievalModel,
    choices: Mapping[str, CaptionChoice],
    videos: Iterable[tuple[Sequence[str], ClipBatch]],
    accelerator: Accelerator,
    pair_batch: int,
    num_videos: int | None = None,
) -> dict[str, Any]:
    """How often the right caption is chosen, in percent of all videos; one that does not come counts as wrong.

    Args:
        model: in eval mode.
        choices: of every video, by its id.
        videos: ids and preprocessed clips in batches; this process's share.
        accelerator: of this run.
        pair_batch: pairs of text and video matched at a time.
        num_videos: how many come on this process, for the progress bar.

    Returns:
        `accuracy_contrastive`, `accuracy_reranked`, `videos` and `answered`, the same on every process.
    """
    right: list[tuple[bool, bool]] = []
    hidden = not accelerator.is_main_process
    with tqdm(total=num_videos, unit="video", desc="choose captions", disable=hidden, leave=False) as bar:
        for names, pixels in videos:
            texts = [caption for name in names for caption in choices[name].captions]
            rows = [row for row, name in enumerate(names) for _ in choices[name].captions]
            row = torch.tensor(rows, device=model.device)
            with accelerator.autocast():
                video, text = model.encode_video(pixels), model.encode_text(texts)
                matched = [
                    model.match_video(text[row == number], video[number : number + 1], pair_batch)[:, 1].float()
                    for number in range(len(names))
                ]
            similar = (text.embed.float() * video.embed.float()[row]).sum(dim=-1)
            both = torch.cat(matched) + similar
            for number, name in enumerate(names):
                own = row == number
                answer = choices[name].answer
                right.append((int(similar[own].argmax()) == answer, int(both[own].argmax()) == answer))
            bar.update(len(names))
    every = [each for shard in gather_objects(right) for each in shard]
    percent = [100 * sum(each[which] for each in every) / len(choices) for which in (0, 1)]
    return {
        "accuracy_contrastive": percent[0],
        "accuracy_reranked": percent[1],
        "videos": len(choices),
        "answered": len(every),
    }
