"""`litevl serve`: a page to search, play, ask and caption one's videos."""

import sys
from pathlib import Path

from litevl.commands.failure import fail
from litevl.commands.index import INDEX


def serve(
    index: Path = INDEX,
    host: str = "127.0.0.1",
    port: int = 7860,
    uploads: Path | None = None,
    max_upload_mb: float = 200.0,
    max_total_gb: float = 10.0,
    timeout: float = 600.0,
    decode_timeout: float = 30.0,
    hits: int = 8,
    rerank: int = 16,
    backbone: str | None = None,
    adapter: Path | None = None,
    vocab: str | None = None,
    ask_backbone: str | None = None,
    ask_adapter: Path | None = None,
    caption_backbone: str | None = None,
    caption_adapter: Path | None = None,
    device: str | None = None,
) -> int:
    """Opens a page to search an index of videos in a browser, play what is found, see why, ask, caption, and add more.

    Beside each hit stand the parts of its score, and how the text weighs its frames and the places in them, where the
    index was made with an adapter that pools by the text. Videos are decoded in processes of their own, which are
    killed when they take too long (on Linux and macOS; elsewhere by the server itself); what is dropped in and is no
    video, or too large, is refused. Without an index an empty one is made. `litevl index` may run meanwhile.

    The page is for this machine alone, and asks for no password; with another --host put a proxy before it that does,
    and that passes on the Host header.

    Needs Gradio and the vector store: pip install 'litevl[serve]'.

    Exit code: 0 when it is stopped, or 2 where it can't start.

    As in

    litevl serve

    litevl serve --index my-index --port 8000 --ask-backbone Salesforce/blip-vqa-base --ask-adapter runs/msrvtt_qa

    Args:
        index: the index's folder, made if it is not there.
        host: the address to listen at; 0.0.0.0 is every one of this machine.
        port: the port; 0 takes one that is free.
        uploads: the folder for videos that are dropped in; by default `uploads` in the index's folder.
        max_upload_mb: of one video.
        max_total_gb: of all that was dropped in; nor is an upload let in that would leave less than a GB of the disk.
        timeout: seconds that taking in a video that was dropped in may take, and that it waits for a `litevl index`.
        decode_timeout: seconds that decoding for a hit, or to the next segment of such a video, may take.
        hits: how many segments a search shows.
        rerank: how many of the most similar are matched; 0 goes by similarity alone.
        backbone: for a new index as `litevl index` has it; else where the backbone is now. Another model is refused.
        adapter: likewise the adapter.
        vocab: likewise the vocabulary, also of the models that answer and caption.
        ask_backbone: the BLIP that answers questions; by default the small one that ships.
        ask_adapter: a finished run of question answering.
        caption_backbone: the BLIP that captions; by default the small one that ships.
        caption_adapter: a finished run of captioning.
        device: for the models, as cpu or cuda:0; by default a GPU where there is one.
    """
    from litevl.commands.index import Making
    from litevl.search import SearchError, VideoIndex
    from litevl.search.record import read
    from litevl.serve.config import ServeConfig
    from litevl.serve.server import is_loopback, listen, make_app, run
    from litevl.tasks.saved import Source

    try:
        config = ServeConfig(
            uploads or index / "uploads", host, port, max_upload_mb, max_total_gb, timeout, decode_timeout, hits,
            rerank, Source(ask_backbone, ask_adapter, vocab), Source(caption_backbone, caption_adapter, vocab),
        )  # fmt: skip
        with listen(config) as listening:
            making = Making(backbone, adapter, vocab).config(index)
            there = read(index) is not None
            found = VideoIndex.open(index, making, device) if there else VideoIndex.create(index, making, device)
            if not is_loopback(host):
                print(f"note: who reaches {host} can search and add videos; there is no password", file=sys.stderr)
            run(make_app(found, config), listening)
    except (ImportError, OSError, RuntimeError, SearchError, ValueError) as error:
        return fail(error)
    return 0
