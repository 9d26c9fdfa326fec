"""The page: a search box, what was found, the chosen hit at its moment and why, and a place to drop videos.

It is made of Gradio's components, so `gradio_client` speaks to it too: `Client(address).predict(text,
api_name="/search")` gives what the list of hits shows.
"""

import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from litevl.data.annotations import VIDEO_EXTENSIONS
from litevl.data.video import VideoError
from litevl.search import Hit, SearchError, VideoIndex
from litevl.search.decoding import usable_cores
from litevl.search.results import clock
from litevl.search.saying import Said

from .config import ServeConfig
from .media import Media
from .speaking import Speaker
from .uploads import Uploads
from .why import alert_html, frames_html, percent, score_html

CSS = Path(__file__).with_name("page.css")
HITS = """
<p class="note {{#if value.alert}}alert{{/if}}" role="status">{{value.note}}</p>
<ol class="hits">{{#each value.hits}}
<li><button type="button" class="hit" data-place="{{this.place}}" aria-label="play {{this.name}} at {{this.time}}">
<img src="{{this.picture}}" alt="" loading="lazy">
<span><b>{{this.name}}</b><i>{{this.time}}</i><i>score {{this.score}}{{#if this.match}}, match {{this.match}}{{/if}}</i>
</span></button></li>
{{/each}}</ol>
"""
CHOOSE = """
const mark = place => element.querySelectorAll('.hit').forEach(
    hit => hit.setAttribute('aria-current', hit.dataset.place == place));
element.addEventListener('click', event => {
    const hit = event.target.closest('.hit');
    if (hit) { mark(hit.dataset.place); trigger('choose', {place: Number(hit.dataset.place)}); }
});
watch('value', () => mark(0));
"""
"""A click on a hit is the event `choose`; the first of a new list is chosen already."""
FAILURES = (OSError, RuntimeError, SearchError, ValueError, VideoError)


class Page:
    """What the page's parts do.

    Args:
        index: that is searched.
        config: of the server.
        media: of the hits.
        uploads: where videos go.
        speaker: answers and captions.
    """

    def __init__(self, index: VideoIndex, config: ServeConfig, media: Media, uploads: Uploads, speaker: Speaker):
        self.index, self.config, self.media, self.uploads, self.speaker = index, config, media, uploads, speaker

    def maker(self) -> str:
        """What made the index, without telling where that is on the server."""
        maker = self.index.record.maker
        name = Path(maker.name).name if Path(maker.name).is_absolute() else maker.name
        return f"{name}, {maker.num_frames} frames of {maker.image_size} px"

    def held(self) -> dict[str, Any]:
        """The list before a search: how much there is to search."""
        videos, segments, seconds = self.index.catalog.counts()
        if not videos:
            return {"note": "No videos yet: drop some below, or index a folder with litevl index.", "hits": []}
        note = f"{videos:,} videos, {clock(seconds)} in {segments:,} segments. Say what to look for."
        return {"note": note, "hits": []}

    def search(self, query: str) -> tuple[dict[str, Any], tuple[str, list[Hit]]]:
        """The list of hits, and what the next steps need of them."""
        began = time.perf_counter()
        if not query.strip():
            return {"note": "Say what to look for, as: a red square moves to the left.", "alert": True, "hits": []}, (
                "",
                [],
            )
        try:
            hits = self.index.search(query, self.config.hits, self.config.rerank)
        except FAILURES as error:
            return {"note": f"Not searched: {error}", "alert": True, "hits": []}, ("", [])
        if not hits:
            return {**self.held(), "alert": True}, ("", [])
        took = f"{1000 * (time.perf_counter() - began):.0f} ms"
        note = f"The {len(hits)} best of {self.index.catalog.counts()[1]:,} segments, in {took}."
        return {"note": note, "hits": [self._listed(place, hit) for place, hit in enumerate(hits)]}, (query, hits)

    def show(self, found: tuple[str, list[Hit]], place: int) -> tuple[str, Any, int]:
        """A hit's player, whether it can be asked about, and its place."""
        _, hits = found
        if not 0 <= place < len(hits):
            return "", gr.update(visible=False), 0
        hit = hits[place]
        try:
            whole = self.media.plays_whole(hit.id)
            _, (width, height) = self.media.picture(hit.id)
        except FAILURES as error:
            return alert_html(f"{hit.path.name} can't be played: {reason(error)}"), gr.update(visible=False), place
        moment = f"#t={hit.start:.3f},{hit.end:.3f}" if whole else ""
        small = "small" if max(height, width) < 240 else ""
        player = (
            f'<h2>{escape(hit.path.name)} <span>{times(hit.start, hit.end)}</span></h2><video class="{small}" '
            f'style="aspect-ratio:{width}/{height}" controls autoplay muted playsinline '
            f'src="{self.media.address("video", hit.id)}{moment}"></video>{score_html(hit, hits)}'
        )
        return player, gr.update(visible=True), place

    def explain(self, found: tuple[str, list[Hit]], place: int) -> str:
        """What the query makes of a hit's frames."""
        query, hits = found
        if not 0 <= place < len(hits):
            return ""
        try:
            return frames_html(self.index.explain(query, hits[place]))
        except FAILURES as error:
            return alert_html(f"Not explained: {reason(error)}")

    def ask(self, found: tuple[str, list[Hit]], place: int, question: str) -> str:
        """The answer to a question about a hit."""
        if not question.strip():
            return alert_html("Type a question first.")
        return self._said(found, place, lambda hit: self.speaker.ask(hit.path, hit.start, hit.end, question))

    def caption(self, found: tuple[str, list[Hit]], place: int) -> str:
        """A hit's caption."""
        return self._said(found, place, lambda hit: self.speaker.caption(hit.path, hit.start, hit.end))

    def take(self, found: tuple[str, list[Hit]], files: list[str] | None) -> Iterator[tuple[str, Any, Any]]:
        """Takes in what was dropped, telling after each file what became of it."""
        lines: list[str] = []
        files = files or []
        if not files:
            yield alert_html("Choose videos first."), None, gr.skip()
            return
        for number in range(len(files)):
            yield (
                told(lines, f"reading {escape(Path(files[number]).name)} … (the first after a start takes longer)"),
                gr.skip(),
                gr.skip(),
            )
            for taken in self.uploads.take([Path(files[number])]):
                kind, said = ("alert", f"not taken: {taken.refused}") if taken.refused else ("done", "can be searched")
                lines.append(f'<li class="{kind}"><b>{escape(taken.name)}</b> {escape(said)}</li>')
        # What was found stays.
        yield told(lines), None, gr.skip() if found[1] else self.held()

    def _said(self, found: tuple[str, list[Hit]], place: int, say: Any) -> str:
        _, hits = found
        if not 0 <= place < len(hits):
            return alert_html("Search first.")
        try:
            said: list[Said] = say(hits[place])
        except (ImportError, *FAILURES) as error:
            return alert_html(f"Not said: {reason(error)}")
        many = len(said) > 1
        lines = (
            f"<li>{f'<i>{times(each.start, each.end)}</i> ' if many else ''}<b>{escape(each.text)}</b> "
            f"<span>{percent(each.probability)} sure of these words</span></li>"
            for each in said
        )
        return f'<ul class="said">{"".join(lines)}</ul>'

    def _listed(self, place: int, hit: Hit) -> dict[str, Any]:
        return {
            **hit.to_json(),
            "path": hit.path.name,
            "place": place,
            "name": hit.path.name,
            "time": times(hit.start, hit.end),
            "score": f"{hit.score:.3f}",
            "match": None if hit.match is None else percent(hit.match),
            "picture": self.media.address("picture", hit.id),
        }


def build(page: Page) -> gr.Blocks:
    """The page's components and what happens between them."""
    config = page.config
    with gr.Blocks(title="litevl", analytics_enabled=False, fill_width=False) as blocks:
        found, place = gr.State(("", [])), gr.State(0)
        gr.HTML(f"<header><h1>litevl</h1><p>{escape(page.maker())}</p></header>")
        with gr.Row():
            query = gr.Textbox(
                placeholder="a red square moves to the left", show_label=False, container=False, scale=8, max_lines=1,
                elem_id="query",
            )  # fmt: skip
            go = gr.Button("Search", variant="primary", scale=1, min_width=110, elem_id="go")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                listed = gr.HTML({"hits": []}, html_template=HITS, js_on_load=CHOOSE, elem_id="found")
            with gr.Column(scale=3, min_width=320, elem_id="chosen"):
                player = gr.HTML(elem_id="player")
                with gr.Column(visible=False) as about:
                    why = gr.HTML(elem_id="why")
                    with gr.Row(elem_id="say"):
                        question = gr.Textbox(
                            placeholder="ask about it: which shape appears first?", show_label=False, container=False,
                            scale=6, max_lines=1, min_width=200, elem_id="question",
                        )  # fmt: skip
                        asking = gr.Button("Ask", scale=1, min_width=70, elem_id="asking")
                        captioning = gr.Button("Caption", scale=1, min_width=90, elem_id="captioning")
                    said = gr.HTML(elem_id="said")
        with gr.Accordion("Add videos", open=not page.index.catalog.counts()[0], elem_id="add"):
            files = gr.File(
                label=f"{', '.join(VIDEO_EXTENSIONS)}; up to {config.max_upload_mb:g} MB each",
                file_count="multiple", file_types=[f".{ending}" for ending in VIDEO_EXTENSIONS], height=140,
                elem_id="files",
            )  # fmt: skip
            add = gr.Button("Add to the index", elem_id="take")
            taken = gr.HTML(elem_id="taken")
        blocks.load(page.held, None, listed, show_progress="hidden", api_visibility="private", queue=False)
        many: dict[str, Any] = {"concurrency_limit": usable_cores(), "concurrency_id": "search"}
        one: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model", "api_visibility": "private"}
        for trigger, name in ((go.click, "search"), (query.submit, None)):
            search = trigger(
                page.search, query, [listed, found], api_name=name, api_visibility="public" if name else "private",
                show_progress="hidden", **many,
            )  # fmt: skip
            first = search.then(lambda: ("", ""), None, [why, said], api_visibility="private", queue=False)
            chosen = first.then(_first(page), found, [player, about, place], **{**many, "api_visibility": "private"})
            chosen.then(page.explain, [found, place], why, **{**one, "concurrency_id": "why"})
        chosen = listed.choose(
            _chosen(page), found, [player, about, place, why, said], api_visibility="private", **many
        )
        chosen.then(page.explain, [found, place], why, **{**one, "concurrency_id": "why"})
        for trigger in (asking.click, question.submit):
            trigger(page.ask, [found, place, question], said, **one)
        captioning.click(page.caption, [found, place], said, **one)
        add.click(page.take, [found, files], [taken, files, listed], **{**one, "concurrency_id": "indexing"})
    return blocks


def _first(page: Page) -> Any:
    def first(found: tuple[str, list[Hit]]) -> tuple[str, Any, int]:
        return page.show(found, 0)

    return first


def _chosen(page: Page) -> Any:
    def chosen(found: tuple[str, list[Hit]], event: gr.EventData) -> tuple[Any, ...]:
        return (*page.show(found, int(event._data["place"])), "", "")

    return chosen


def times(start: float, end: float) -> str:
    """A stretch of time as people write it."""
    digits = 1 if end - start < 5 else 0
    return f"{clock(start, digits)} to {clock(end, digits)}"


def told(lines: list[str], now: str = "") -> str:
    """What became of uploads so far."""
    return f'<ul class="taken" role="status">{"".join(lines)}{f"<li>{now}</li>" if now else ""}</ul>'


def reason(error: BaseException) -> str:
    """What an error says to somebody who may not know where files are on the server."""
    return error.reason if isinstance(error, VideoError) else str(error)
