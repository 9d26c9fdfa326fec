"""What happens on the page: searching, showing a hit at its moment and why, asking, captioning, adding videos."""

import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from litevl.data.video import VideoError
from litevl.search import Hit, SearchError, VideoIndex
from litevl.search.results import clock, seconds_of, times
from litevl.search.saying import Said

from .config import ServeConfig
from .errors import reason
from .listing import hits_html, hits_json, note_html
from .media import Media
from .speaking import Speaker
from .uploads import Uploads
from .why import frames_html, percent, score_html

SAME: dict[str, Any] = {"__type__": "update"}
OPEN, SHUT = {**SAME, "visible": True}, {**SAME, "visible": False}
"""What Gradio takes as: leave a component as it is, show it, hide it (`gr.skip`, `gr.update`)."""
Found = tuple[str, list[Hit]]
"""A query and its hits, kept on the server for each visitor."""
NOTHING: tuple[list[dict[str, Any]], Found] = [], ("", [])
"""Found by a search that was not made, or in vain."""
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

    def held(self) -> str:
        """The list before a search: how much there is to search."""
        videos, segments, seconds = self.index.catalog.counts()
        if not videos:
            return note_html("No videos yet: drop some below, or index a folder with litevl index.")
        return note_html(f"{videos:,} videos, {clock(seconds)} in {segments:,} segments. Say what to look for.")

    def search(self, query: str, after: str = "", before: str = "") -> tuple[str, list[dict[str, Any]], Found]:
        """The list of hits, the same for programs, and what was found, for the next steps.

        Args:
            query: what to look for.
            after: a time within the video, as 1:30, that segments reach beyond; empty for any.
            before: one that they begin before.
        """
        began = time.perf_counter()
        if not query.strip():
            return note_html("Say what to look for, as: a red square moves to the left.", alert=True), *NOTHING
        try:
            bounds = [seconds_of(time) if time.strip() else None for time in (after, before)]
        except ValueError as error:
            return note_html(f"Not searched: {error}", alert=True), *NOTHING
        try:
            hits = self.index.search(query, self.config.hits, self.config.rerank, *bounds)
        except FAILURES as error:
            return note_html(f"Not searched: {reason(error)}", alert=True), *NOTHING
        if not hits:
            bounded = any(bound is not None for bound in bounds)
            return note_html("Nothing is within these times.") if bounded else self.held(), *NOTHING
        took = f"{1000 * (time.perf_counter() - began):.0f} ms"
        note = f"The {len(hits)} best of {self.index.catalog.counts()[1]:,} segments, in {took}."
        return hits_html(note, hits, self.media), hits_json(hits, self.media), (query, hits)

    def show(self, found: Found, place: int) -> tuple[str, Any]:
        """A hit's player, and whether it can be asked about."""
        _, hits = found
        if not 0 <= place < len(hits):
            return "", SHUT
        hit = hits[place]
        try:
            whole = self.media.plays_whole(hit.id)
            _, (width, height) = self.media.picture(hit.id)
        except FAILURES as error:
            return alert(f"{hit.path.name} can't be played: {reason(error)}"), SHUT
        moment = f"#t={hit.start:.3f},{hit.end:.3f}" if whole else ""
        small = "small" if max(height, width) < 240 else ""
        player = (
            f'<h2>{escape(hit.path.name)} <span>{times(hit.start, hit.end)}</span></h2><video class="{small}" '
            f'style="aspect-ratio:{width}/{height}" controls autoplay muted playsinline '
            f'src="{self.media.address("video", hit.id)}{moment}"></video>{score_html(hit, hits)}'
        )
        return player, OPEN

    def explain(self, found: Found, place: int) -> str:
        """What the query makes of a hit's frames."""
        query, hits = found
        if not 0 <= place < len(hits):
            return ""
        try:
            return frames_html(self.index.explain(query, hits[place]))
        except FAILURES as error:
            return alert(f"Not explained: {reason(error)}")

    def ask(self, found: Found, place: int, question: str) -> str:
        """The answer to a question about a hit."""
        if not question.strip():
            return alert("Type a question first.")
        return self._said(found, place, lambda hit: self.speaker.ask(hit.path, hit.start, hit.end, question))

    def caption(self, found: Found, place: int) -> str:
        """A hit's caption."""
        return self._said(found, place, lambda hit: self.speaker.caption(hit.path, hit.start, hit.end))

    def take(self, found: Found, files: list[str] | None) -> Iterator[tuple[str, Any, Any]]:
        """Takes in what was dropped, telling after each file what became of it."""
        lines: list[str] = []
        files = files or []
        if not files:
            yield alert("Choose videos first."), None, SAME
            return
        for number in range(len(files)):
            yield told(lines, f"reading {escape(Path(files[number]).name)} …"), SAME, SAME
            for taken in self.uploads.take([Path(files[number])]):
                kind, said = ("alert", f"not taken: {taken.refused}") if taken.refused else ("done", "can be searched")
                lines.append(f'<li class="{kind}"><b>{escape(taken.name)}</b> {escape(said)}</li>')
        self.media.tidy()
        # What was found stays.
        yield told(lines), None, SAME if found[1] else self.held()

    def _said(self, found: Found, place: int, say: Any) -> str:
        _, hits = found
        if not 0 <= place < len(hits):
            return alert("Search first.")
        try:
            said: list[Said] = say(hits[place])
        except (ImportError, *FAILURES) as error:
            return alert(f"Not said: {reason(error)}")
        hit, many = hits[place], len(said) > 1
        lines = (
            f"<li>{f'<i>{times(each.start, each.end)}</i> ' if many else ''}<b>{escape(each.text)}</b> "
            f"<span>{percent(each.probability)} sure of these words</span></li>"
            for each in said
        )
        # Another hit may be chosen by now.
        about = f"{escape(hit.path.name)}, {times(hit.start, hit.end)}"
        return f'<p class="note">{about}:</p><ul class="said">{"".join(lines)}</ul>'


def alert(message: str) -> str:
    """A message that something was not done."""
    return note_html(message, alert=True)


def told(lines: list[str], now: str = "") -> str:
    """What became of uploads so far."""
    return f'<ul class="taken" role="status">{"".join(lines)}{f"<li>{now}</li>" if now else ""}</ul>'
