"""`litevl search`: the segments of an index that fit a text."""

import json as json_format
import sys
from pathlib import Path

from tyro.conf import Positional

from litevl.commands.failure import fail
from litevl.commands.index import INDEX
from litevl.search.options import ADVICE, DECODE_TIMEOUT


def search(
    query: Positional[str],
    index: Path = INDEX,
    k: int = 10,
    rerank: int = 16,
    after: str | None = None,
    before: str | None = None,
    save: Path | None = None,
    why: bool = False,
    backbone: str | None = None,
    adapter: Path | None = None,
    vocab: str | None = None,
    device: str | None = None,
    decode_timeout: float = DECODE_TIMEOUT,
    json: bool = False,
) -> int:
    """Finds the segments of an index that fit a text best.

    In two stages: the vector store gives the segments whose embeddings are most similar to the text's; the best of them
    are matched with it by cross-attention over their tokens, and ordered by the matching logit plus the similarity.

    Exit code: 0, 1 where nothing was found, or 2 where nothing could be searched.

    As in

    litevl search "a dog catches a frisbee"

    litevl search "the referee shows a red card" --after 45:00 --k 3 --save cards.png

    litevl search "a man opens a door" --index my-index --rerank 0 --json

    Args:
        query: what to look for.
        index: the index's folder, which `litevl index` made.
        k: how many segments to show.
        rerank: how many of the most similar are matched; 0 goes by similarity alone. By a full-size BLIP at 224 pixels
            each took 0.2 s on a CPU's core, and 39 MB hold the tokens of 8 at a time, however many there are.
        after: only segments that reach beyond this time within their video, as 90, 1:30 or 1:02:03.
        before: only segments that begin before this time within their video.
        save: draw what was found into this picture; its ending says the format.
        why: also say what the query makes of each frame of the first.
        backbone: where the model's backbone is now, if it is not where it was; another model is refused.
        adapter: likewise its adapter.
        vocab: likewise its vocabulary.
        device: for the model, as cpu or cuda:0; by default a GPU where there is one.
        decode_timeout: seconds that decoding a segment may take, for --save, --why or where no tokens are kept;
            but on Windows.
        json: print everything as JSON.
    """
    from rich.console import Console

    from litevl.commands.index import Making
    from litevl.data.fresh_process import decoding_apart
    from litevl.data.video_index import VideoError
    from litevl.data.video_key import is_text
    from litevl.search import SearchError, VideoIndex
    from litevl.search.contact_sheet import check_picture, contact_sheet
    from litevl.search.results import hits_table, seconds_of, why_table

    try:
        if not is_text(query):
            raise ValueError(f"expected a text in UTF-8, got {query!r:.80}")
        check_picture(save)
        bounds = [None if time is None else seconds_of(time) for time in (after, before)]
        with decoding_apart(decode_timeout, ADVICE) as call:
            found = VideoIndex.open(index, Making(backbone, adapter, vocab).config(index), device)
            found.call = call
            hits = found.search(query, k, rerank, *bounds)
            explanation = None
            if why and hits:
                try:
                    explanation = found.explain(query, hits[0])
                except VideoError as error:
                    print(f"note: not explained: {error}", file=sys.stderr)
            if json:
                shown = [hit.to_json() for hit in hits]
                told = {"query": query, "index": str(index), "maker": found.record.maker.__dict__, "hits": shown}
                told |= {} if explanation is None else {"why": explanation.to_json()}
                print(json_format.dumps(told, indent=2))
            else:
                console = Console(markup=False, highlight=False, emoji=False)
                console.print(hits_table(query, hits))
                if explanation is not None:
                    console.print(why_table(explanation))
            sys.stdout.flush()
            if (left := found.unindexed()) > 0:
                print(f"note: {left:,} encoded segments are not searchable yet; run litevl index", file=sys.stderr)
            if save is not None and hits:
                contact_sheet(found, query, hits).save(save)
    except (ImportError, OSError, RuntimeError, SearchError, ValueError, VideoError) as error:
        return fail(error)
    return 0 if hits else 1
