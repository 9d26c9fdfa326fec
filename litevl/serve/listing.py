"""The list of what a search found: in HTML for the page, and as plain values for programs.

The page gets finished HTML, never values for a template: Gradio fills `{{...}}` first and runs `${...}` as JavaScript
after that, so a file's name in a template could be a program.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

from litevl.search import Hit
from litevl.search.results import times

from .media import Media
from .why import percent

CHOOSE = """
const mark = place => element.querySelectorAll('.hit').forEach(
    hit => hit.setAttribute('aria-current', hit.dataset.place == place));
element.addEventListener('click', event => {
    const hit = event.target.closest('.hit');
    if (hit) { mark(hit.dataset.place); trigger('choose', {place: Number(hit.dataset.place)}); }
});
watch('value', () => { mark(0); trigger('choose', {place: 0}); });
"""
"""A click on a hit is the event `choose`, and so is a new list, for its first hit."""


def note_html(note: str, alert: bool = False) -> str:
    """A line in place of hits, or above them; or that something was not done."""
    kind, role = ("note alert", "alert") if alert else ("note", "status")
    return f'<p class="{kind}" role="{role}">{escape(note)}</p>'


def hits_html(note: str, hits: Sequence[Hit], media: Media) -> str:
    """The list, each hit a button."""
    buttons = []
    for place, hit in enumerate(hits):
        name, when = escape(hit.path.name), times(hit.start, hit.end)
        match = "" if hit.match is None else f", match {percent(hit.match)}"
        buttons.append(
            f'<li><button type="button" class="hit" data-place="{place}" aria-label="play {name} at {when}">'
            f'<img src="{media.address("picture", hit.id)}" alt="" loading="lazy"><span><b>{name}</b><i>{when}</i>'
            f"<i>score {hit.score:.3f}{match}</i></span></button></li>"
        )
    return f'{note_html(note)}<ol class="hits">{"".join(buttons)}</ol>'


def hits_json(hits: Sequence[Hit], media: Media) -> list[dict[str, Any]]:
    """The same for programs, without telling where files are on the server."""
    told = [{**hit.to_json(), "name": hit.path.name, "video": media.address("video", hit.id)} for hit in hits]
    for hit in told:
        del hit["path"]  # which Gradio's client would take for a file, and fetch
    return told
