"""What an index knows: its videos, their segments and embeddings, in one SQLite file.

The catalog is the truth; the vector store is made from it, and may be lost and made again. A video and its segments are
one transaction, so a process that is killed, or a disk that is full, leaves the videos that were finished before, and a
reader sees either all of a video or nothing.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from .folder import Stamp
from .segments import Segment

SCHEMA = """
CREATE TABLE IF NOT EXISTS videos (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, changed INTEGER NOT NULL, mark TEXT NOT
    NULL, seconds REAL, tokens TEXT, bad TEXT
);
CREATE TABLE IF NOT EXISTS segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, video INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    number INTEGER NOT NULL, start REAL NOT NULL, end REAL NOT NULL, embedding BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS segments_of_video ON segments (video, number);
CREATE TABLE IF NOT EXISTS folders (path TEXT PRIMARY KEY);
"""
AT_ONCE = 500
"""Values in one statement; SQLite takes 999 at least."""
PATIENCE = 30.0
"""Seconds that a statement waits for another process's transaction."""


@dataclass(frozen=True)
class Entry:
    """A segment as the catalog knows it."""

    id: int
    path: Path
    number: int
    """Of the segment in its video, from 0."""
    start: float
    end: float
    seconds: float
    """The video's length."""
    tokens: str | None
    """The file of the video's tokens."""


@dataclass(frozen=True)
class BadFile:
    """A video that could not be encoded, and why."""

    path: Path
    reason: str


class Catalog:
    """The catalog in a file; every method is a transaction of its own, so any number of processes may read.

    Args:
        path: made if it is not there.

    Raises:
        OSError: from every method, where the file can't be read or written.
    """

    def __init__(self, path: Path):
        self.path = path
        with self._open() as database:
            database.executescript(SCHEMA)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            database = sqlite3.connect(self.path, timeout=PATIENCE)
            try:
                database.execute("PRAGMA foreign_keys = ON")
                with database:
                    yield database
            finally:
                database.close()
        except sqlite3.Error as error:
            # A full disk, a damaged file, another's lock: all of the file system as far as a caller is concerned.
            raise OSError(f"{self.path}: {error}") from error

    def add_folder(self, folder: Path) -> None:
        """Remembers a folder as one that is indexed."""
        with self._open() as database:
            database.execute("INSERT OR IGNORE INTO folders VALUES (?)", (str(folder),))

    def remove_folder(self, folder: Path) -> None:
        """Forgets a folder, not the videos in it."""
        with self._open() as database:
            database.execute("DELETE FROM folders WHERE path = ?", (str(folder),))

    def folders(self) -> list[Path]:
        """The folders that are indexed."""
        with self._open() as database:
            return [Path(path) for (path,) in database.execute("SELECT path FROM folders ORDER BY path")]

    def stamps(self, folder: Path) -> dict[Path, Stamp]:
        """The files below a folder that are known, bad ones too."""
        with self._open() as database:
            rows = database.execute("SELECT path, size, changed, mark FROM videos ORDER BY path").fetchall()
        paths = ((Path(path), Stamp(*stamp)) for path, *stamp in rows)
        return {path: stamp for path, stamp in paths if path == folder or folder in path.parents}

    def put(
        self,
        path: Path,
        stamp: Stamp,
        seconds: float,
        segments: Sequence[Segment],
        embeddings: Float32[np.ndarray, "segments dim"],
        tokens: str | None,
    ) -> None:
        """Takes a video in, in place of what was known of that file."""
        with self._open() as database:
            number = self._replace(database, path, stamp, seconds, tokens, None)
            rows = [
                (number, place, segment.start, segment.end, embedding.tobytes())
                for place, (segment, embedding) in enumerate(zip(segments, embeddings, strict=True))
            ]
            database.executemany(
                'INSERT INTO segments (video, number, start, "end", embedding) VALUES (?, ?, ?, ?, ?)', rows
            )

    def put_bad(self, path: Path, stamp: Stamp, reason: str) -> None:
        """Remembers a video as one that can't be read, until it changes."""
        with self._open() as database:
            self._replace(database, path, stamp, None, None, reason)

    def move(self, source: Path, target: Path) -> None:
        """Gives a video another path."""
        with self._open() as database:
            database.execute("UPDATE videos SET path = ? WHERE path = ?", (str(target), str(source)))

    def remove(self, paths: Iterable[Path]) -> None:
        """Forgets videos."""
        with self._open() as database:
            database.executemany("DELETE FROM videos WHERE path = ?", [(str(path),) for path in paths])

    def bad(self) -> list[BadFile]:
        """The videos that could not be encoded."""
        with self._open() as database:
            rows = database.execute("SELECT path, bad FROM videos WHERE bad IS NOT NULL ORDER BY path")
            return [BadFile(Path(path), reason) for path, reason in rows]

    def counts(self) -> tuple[int, int, float]:
        """Good videos, their segments, and their length in seconds."""
        with self._open() as database:
            videos, seconds = database.execute(
                "SELECT count(*), coalesce(sum(seconds), 0) FROM videos WHERE bad IS NULL"
            ).fetchone()
            return videos, database.execute("SELECT count(*) FROM segments").fetchone()[0], seconds

    def token_files(self) -> set[str]:
        """The names of the files of tokens that are in use."""
        with self._open() as database:
            return {name for (name,) in database.execute("SELECT tokens FROM videos WHERE tokens IS NOT NULL")}

    def segment_ids(self) -> set[int]:
        """Of every segment. An id never comes back: that of a changed video's segment is a new one."""
        with self._open() as database:
            return {number for (number,) in database.execute("SELECT id FROM segments")}

    def entries(self, ids: Sequence[int]) -> dict[int, Entry]:
        """Segments by id; those that are no longer there are left out."""
        found = {}
        for row in self._select(
            'SELECT s.id, v.path, s.number, s.start, s."end", v.seconds, v.tokens FROM segments s '
            "JOIN videos v ON v.id = s.video WHERE s.id IN ({})",
            ids,
        ):
            found[row[0]] = Entry(row[0], Path(row[1]), *row[2:])
        return found

    def of_video(self, path: Path) -> list[Entry]:
        """The segments of a video in the order of time; none for one that is not known."""
        with self._open() as database:
            rows = database.execute(
                "SELECT s.id FROM segments s JOIN videos v ON v.id = s.video WHERE v.path = ? ORDER BY s.number",
                (str(path),),
            ).fetchall()
        return list(self.entries([row[0] for row in rows]).values())

    def vectors(self, ids: Sequence[int]) -> list[tuple[int, float, float, Float32[np.ndarray, " dim"]]]:
        """Id, start, end and embedding of segments, for the vector store."""
        rows = self._select('SELECT id, start, "end", embedding FROM segments WHERE id IN ({})', ids)
        return [(number, start, end, np.frombuffer(blob, np.float32)) for number, start, end, blob in rows]

    def _select(self, query: str, ids: Sequence[int]) -> Iterator[tuple]:
        with self._open() as database:
            for place in range(0, len(ids), AT_ONCE):
                some = list(ids[place : place + AT_ONCE])
                yield from database.execute(query.format(", ".join("?" * len(some))), some)

    @staticmethod
    def _replace(
        database: sqlite3.Connection,
        path: Path,
        stamp: Stamp,
        seconds: float | None,
        tokens: str | None,
        bad: str | None,
    ) -> int | None:
        database.execute("DELETE FROM videos WHERE path = ?", (str(path),))
        row = (str(path), stamp.size, stamp.changed, stamp.mark, seconds, tokens, bad)
        names = "path, size, changed, mark, seconds, tokens, bad"
        return database.execute(f"INSERT INTO videos ({names}) VALUES (?, ?, ?, ?, ?, ?, ?)", row).lastrowid
