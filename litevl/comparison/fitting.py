"""A table for a terminal: as wide as it allows, and in several parts where the columns do not fit beside each other."""

import re
from collections.abc import Sequence

from rich.table import Table

BESIDE = 3
"""Characters of a column's rule and margins."""
NAMES = 28
"""A first column that is longer than this is broken at spaces, where the table would not fit otherwise."""
WORDS = 14
"""The same of the others that hold words."""


def fit(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], caption: str, width: int) -> list[Table]:
    """The table in parts that are not wider than `width`, each with the first column; cells are broken at spaces only.

    Args:
        title: above the first part.
        header: the names of the columns.
        rows: their cells.
        caption: below the last part.
        width: the terminal's, in characters.
    """
    columns = [[name, *(row[number] for row in rows)] for number, name in enumerate(header)]
    widest = [max(map(len, column)) for column in columns]
    least = [_least(column, number == 0) for number, column in enumerate(columns)]
    if sum(widest) + BESIDE * len(widest) + 1 <= width:
        least = widest
    parts = _parts(least, width)
    # As many parts as are needed, and as even as they can be.
    parts = next(each for limit in range(1, width + 1) if len(each := _parts(least, limit)) <= len(parts))
    made = []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        table = Table(title=title if number == 0 else f"{title}, continued", caption=caption if last else None)
        table.title_justify = table.caption_justify = "left"
        shown = [0, *part]
        free = width - 1 - sum(least[each] + BESIDE for each in shown)
        for place in shown:
            more = max(0, min(free, widest[place] - least[place]))
            free -= more
            left = place == 0 or _words(columns[place])
            size = least[place] + more
            table.add_column(header[place], justify="left" if left else "right", width=size, overflow="fold")
        for row in rows:
            table.add_row(*(row[place] for place in shown))
        made.append(table)
    return made


def _parts(least: Sequence[int], width: int) -> list[list[int]]:
    """Columns beside the first, filled up from the left; each part has one at least."""
    parts: list[list[int]] = [[]]
    used = first = least[0] + BESIDE + 1
    for number, size in enumerate(least[1:], start=1):
        if parts[-1] and used + size + BESIDE > width:
            parts.append([])
            used = first
        parts[-1].append(number)
        used += size + BESIDE
    return parts


def _least(column: Sequence[str], first: bool) -> int:
    """How narrow a column may be: no word is broken, nor a number with what stands beside it."""
    enough = NAMES if first else WORDS
    longest = max(len(word) for cell in column for word in cell.split() or [""])
    widest = max(map(len, column[1:]), default=0)
    return max(longest, min(widest, enough) if first or _words(column) else widest)


def _words(column: Sequence[str]) -> bool:
    return any(re.search(r"[a-z]{3}", cell) for cell in column[1:])
