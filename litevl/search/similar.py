"""Stage one of a search: the segments whose embeddings are most similar to the query's, from the vector store."""

from typing import TYPE_CHECKING

from litevl.models.features import TextFeatures

from .results import Hit

if TYPE_CHECKING:
    from .index import VideoIndex


def similar_hits(
    index: "VideoIndex", text: TextFeatures, number: int, after: float | None, before: float | None
) -> list[Hit]:
    """The most similar segments, the most similar first.

    Args:
        index: what is searched.
        text: the query, as features of length one.
        number: how many, at most.
        after: as in `VectorStore.search`.
        before: likewise.
    """
    embed = text.embed[0].float().cpu().numpy()
    asked, total = number, len(index.store)
    while True:
        found = index.store.search(embed, asked, after, before)
        known = index.catalog.entries([place for place, _ in found])
        # What another process has just forgotten is not in the catalog any more.
        if len(known) >= number or len(found) < asked or asked >= total:
            break
        asked *= 2
    hits = []
    for place, similarity in found:
        if (entry := known.get(place)) is not None:
            hits.append(Hit(entry.path, entry.start, entry.end, similarity, similarity, None, entry.number, entry.id))
    return hits[:number]
