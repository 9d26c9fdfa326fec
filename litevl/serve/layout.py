"""The page's parts and what leads from one to the other.

They are Gradio's components, so `gradio_client` speaks to them too: `Client(address).predict(text, api_name="/search")`
gives the list of hits, as HTML and as values.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from litevl.data.annotations import VIDEO_EXTENSIONS
from litevl.data.cores import usable_cores

from .listing import CHOOSE
from .page import Page

if TYPE_CHECKING:
    import gradio

CSS = Path(__file__).with_name("page.css")
T = TypeVar("T")


@dataclass(frozen=True)
class Parts:
    """The components that something happens to."""

    found: "gradio.State"
    """What the search found, on the server."""
    place: "gradio.State"
    """Of the chosen hit among it."""
    query: "gradio.Textbox"
    after: "gradio.Textbox"
    before: "gradio.Textbox"
    go: "gradio.Button"
    listed: "gradio.HTML"
    plain: "gradio.JSON"
    """The list for programs."""
    player: "gradio.HTML"
    about: "gradio.Column"
    """All that stands below the player."""
    why: "gradio.HTML"
    question: "gradio.Textbox"
    asking: "gradio.Button"
    captioning: "gradio.Button"
    said: "gradio.HTML"
    files: "gradio.File"
    add: "gradio.Button"
    taken: "gradio.HTML"


def build(page: Page) -> "gradio.Blocks":
    """The page."""
    import gradio as gr

    with gr.Blocks(title="litevl", analytics_enabled=False) as blocks:
        parts = _lay_out(page)
        blocks.load(page.held, None, parts.listed, show_progress="hidden", api_visibility="private", queue=False)
        _connect(page, parts)
    return blocks


def _lay_out(page: Page) -> Parts:
    import gradio as gr

    line: dict[str, Any] = {"show_label": False, "container": False, "max_lines": 1}
    found, place = gr.State(("", [])), gr.State(0)
    gr.HTML(f"<header><h1>litevl</h1><p>{escape(page.maker())}</p></header>")
    with gr.Row():
        query = gr.Textbox(
            placeholder="a red square moves to the left", scale=8, min_width=260, elem_id="query", **line
        )
        go = gr.Button("Search", variant="primary", scale=1, min_width=110, elem_id="go")
    with gr.Row(elem_id="within"):
        gr.HTML("<p>in each video, from</p>")
        after = gr.Textbox("", placeholder="0:00", min_width=70, elem_id="after", **line)
        gr.HTML("<p>to</p>")
        before = gr.Textbox("", placeholder="end", min_width=70, elem_id="before", **line)
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            listed, plain = gr.HTML(js_on_load=CHOOSE, elem_id="found"), gr.JSON(visible=False)
        with gr.Column(scale=3, min_width=320, elem_id="chosen"):
            player = gr.HTML(elem_id="player")
            with gr.Column(visible=False) as about:
                why = gr.HTML(elem_id="why")
                with gr.Row():
                    hint = "ask about it: which shape appears first?"
                    question = gr.Textbox(placeholder=hint, scale=6, min_width=280, elem_id="question", **line)
                    asking = gr.Button("Ask", scale=1, min_width=70, elem_id="asking")
                    captioning = gr.Button("Caption", scale=1, min_width=90, elem_id="captioning")
                said = gr.HTML(elem_id="said")
    with gr.Accordion("Add videos", open=not page.index.catalog.counts()[0], elem_id="add"):
        label = f"{', '.join(VIDEO_EXTENSIONS)}; up to {page.config.max_upload_mb:g} MB each"
        endings = [f".{ending}" for ending in VIDEO_EXTENSIONS]
        files = gr.File(label=label, file_count="multiple", file_types=endings, height=140, elem_id="files")
        add = gr.Button("Add to the index", elem_id="take")
        taken = gr.HTML(elem_id="taken")
    searched = (found, place, query, after, before, go, listed, plain)
    return Parts(*searched, player, about, why, question, asking, captioning, said, files, add, taken)


def _connect(page: Page, parts: Parts) -> None:
    import gradio as gr

    async def choose(event: gr.EventData) -> tuple[int, str, str]:
        return int(event._data["place"]), "", ""

    # Gradio's queue answers a page by one stream, and loses what is asked just when that closes; so in a browser what
    # is quick goes without. A page passes over what is asked of it while the same still runs; whoever searches again,
    # or chooses another hit, means the last. It then begins again with what the parts hold, and not with the event, so
    # a choice is noted first; the first of a new list is chosen by the list itself.
    last: dict[str, Any] = {"trigger_mode": "always_last"}
    quick: dict[str, Any] = {"queue": False, "concurrency_limit": None, **last}
    hidden: dict[str, Any] = {"api_visibility": "private"}
    gr.on(
        [parts.go.click, parts.query.submit, parts.after.submit, parts.before.submit],
        at_most(usable_cores(), page.search), [parts.query, parts.after, parts.before],
        [parts.listed, parts.plain, parts.found], api_name="search", show_progress="hidden", **quick,
    )  # fmt: skip
    noted = parts.listed.choose(
        choose, None, [parts.place, parts.why, parts.said], **quick | {"trigger_mode": "multiple"}, **hidden
    )
    chosen = [parts.found, parts.place]
    shown = noted.then(at_most(usable_cores(), page.show), chosen, [parts.player, parts.about], **quick, **hidden)
    shown.then(at_most(1, page.explain), chosen, parts.why, **quick, **hidden)
    # A large model speaks, one answer after the other.
    saying: dict[str, Any] = {"concurrency_id": "saying", "concurrency_limit": 1, **last, **hidden}
    asked = [parts.asking.click, parts.question.submit]
    gr.on(asked, page.ask, [*chosen, parts.question], parts.said, **saying)
    parts.captioning.click(page.caption, chosen, parts.said, **saying)
    # A second click finds no files left, so once.
    told = [parts.taken, parts.files, parts.listed]
    parts.add.click(page.take, [parts.found, parts.files], told, concurrency_limit=1, trigger_mode="once", **hidden)


def at_most(number: int, function: Callable[..., T]) -> Callable[..., Awaitable[T]]:
    """Calls a function in a thread, in so many at once; more wait."""
    from fastapi.concurrency import run_in_threadpool

    free = asyncio.Semaphore(number)

    @wraps(function)
    async def called(*arguments: Any) -> T:
        async with free:
            return await run_in_threadpool(function, *arguments)

    return called
