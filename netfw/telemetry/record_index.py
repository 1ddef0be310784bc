"""The index of records: from the id that a client saw to the record, in SQLite.

A row is the id as a number, the file and the offset of its line; of what was denied or failed the line itself is kept
as well, so that `netfw why` answers for it when the file is long compressed or gone. Rows are in segments, tables of a
bounded number of records: what is too old, or too much, goes as a whole table, which costs the same whatever is in it.

In this room: the database, written by one process and read by any. Not here: reading the record file
(`record_follower`), and what a reader does when a record is not in the index yet (`record_search`).
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = 1
APPLICATION = 0x6E66_7769
"""What marks an SQLite file as an index of ours (`PRAGMA application_id`)."""
_APPLICATION_AT = 68
SEGMENT = 250_000
"""Records in a segment."""
_SHARES = 8
_WAIT = 5.0
_MODE = 0o640
_CACHE_KIB = 65536

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_TO_DIGITS = str.maketrans(_CROCKFORD, _DIGITS)
_MISREAD = str.maketrans("ILO", "110")
_TABLES = """
CREATE TABLE file (number INTEGER PRIMARY KEY, inode INTEGER, first INTEGER, path TEXT, place INTEGER);
CREATE TABLE segment (number INTEGER PRIMARY KEY, records INTEGER, first_at REAL, last_at REAL);
"""


class IndexUnusable(Exception):
    """The index cannot be read or written; `str()` says why."""


class NotAnIndex(IndexUnusable):
    """The file is a database of something else, and is left as it is."""


def is_marked(path: Path) -> bool:
    """Whether this file says that it is an index of ours, whatever else is wrong with it. Raises OSError."""
    with open(path, "rb") as opened:
        opened.seek(_APPLICATION_AT)
        return opened.read(4) == APPLICATION.to_bytes(4, "big")


def canonical_id(text: str) -> str | None:
    """An exchange id as records have it, from what somebody typed or pasted; None when it is none.

    Brackets, small letters and the letters that Crockford's base 32 leaves out are taken for what they stand for.
    """
    letters = text.strip().strip("[]").upper().replace("-", "").translate(_MISREAD)
    if len(letters) != 10 or not set(letters) <= set(_CROCKFORD):
        return None
    return f"{letters[:5]}-{letters[5:]}"


def number_of(exchange_id: str) -> int:
    """A canonical id as a number of 50 bits. Raises ValueError."""
    return int(exchange_id.replace("-", "").translate(_TO_DIGITS), 32)


@dataclass(frozen=True, slots=True)
class Row:
    """What is put in: `at` is the offset of the line in the file; `kept` the line where it is to be kept."""

    id: str
    at: int
    kept: bytes | None


@dataclass(frozen=True, slots=True)
class Place:
    """How far a file has been read. `first`: the checksum of its first line, since inodes come again."""

    number: int
    inode: int
    first: int
    path: str
    place: int


@dataclass(frozen=True, slots=True)
class Hit:
    """What the index knows of an id: the record itself, or where its line was written."""

    record: dict[str, Any] | None
    place: Place | None
    at: int


class RecordIndex:
    """The writer's side. What SQLite refuses is raised as IndexUnusable. Opening makes what is not there.

    `keep` is in seconds, `size` in bytes: the oldest segments beyond either go.
    """

    def __init__(self, path: Path, *, keep: float, size: int, segment: int = SEGMENT) -> None:
        self._keep = keep
        self._size = size
        self._segment = segment
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            path.touch(mode=_MODE)
            self._database = sqlite3.connect(str(path), timeout=_WAIT, isolation_level=None)
            (mark,) = self._database.execute("PRAGMA application_id").fetchone()
            (tables,) = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if mark != APPLICATION and (mark or tables):
                self._database.close()
                raise NotAnIndex(f"{path} is a database of something else; name another file in log.index.path")
            self._database.execute("PRAGMA journal_mode=WAL")
            # What the last second before a power failure had is read again from the records.
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version == 0:
                marks = f"PRAGMA application_id={APPLICATION};PRAGMA user_version={SCHEMA};"
                self._database.executescript(f"BEGIN IMMEDIATE;{_TABLES}{marks}COMMIT;")
            elif version != SCHEMA:
                raise IndexUnusable(f"it has the form {version}, not {SCHEMA}")
            self._places = {place.number: place for place in _places(self._database)}
            self._segments = self._database.execute("SELECT * FROM segment ORDER BY number").fetchall()
            for number, *_ in self._segments:
                self._database.execute(f"SELECT min(id), max(id) FROM segment_{number}").fetchone()
        except (sqlite3.Error, OSError) as error:
            raise IndexUnusable(str(error)) from error

    @property
    def places(self) -> list[Place]:
        """The files that were read, in the order in which they were begun."""
        return list(self._places.values())

    @property
    def records(self) -> int:
        """How many are in it."""
        return sum(records for _, records, _, _ in self._segments)

    def begin_file(self, inode: int, first: int, path: Path) -> Place:
        """A file that was not read yet."""
        number = max(self._places, default=0) + 1
        place = Place(number, inode, first, str(path), 0)
        self._run("INSERT INTO file VALUES (?, ?, ?, ?, 0)", (number, inode, first, str(path)))
        self._places[number] = place
        return place

    def add(self, place: Place, rows: Iterable[Row], up_to: int, at: float) -> Place:
        """Put rows in and note how far the file was read, both or neither. `at`: when the last of them ended."""
        packed = sorted(
            (number_of(row.id), place.number, row.at, None if row.kept is None else zlib.compress(row.kept, 1))
            for row in rows
        )
        done = Place(place.number, place.inode, place.first, place.path, up_to)
        try:
            self._database.execute("BEGIN IMMEDIATE")
            if packed:
                segment = self._writable(at)
                self._database.executemany(f"INSERT OR REPLACE INTO segment_{segment} VALUES (?, ?, ?, ?)", packed)
                self._count(len(packed), at)
            self._database.execute("UPDATE file SET place = ? WHERE number = ?", (up_to, place.number))
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise IndexUnusable(str(error)) from error
        self._places[place.number] = done
        return done

    def _writable(self, at: float) -> int:
        if self._segments:
            number, records, first_at, _ = self._segments[-1]
            if records < self._segment and at - first_at < self._keep / _SHARES:
                return int(number)
            number += 1
        else:
            number = 1
        self._database.execute(
            f"CREATE TABLE segment_{number} (id INTEGER PRIMARY KEY, file INTEGER, at INTEGER, kept BLOB)"
        )
        self._database.execute("INSERT INTO segment VALUES (?, 0, ?, ?)", (number, at, at))
        self._segments.append((number, 0, at, at))
        return int(number)

    def _count(self, more: int, at: float) -> None:
        number, records, first_at, last_at = self._segments[-1]
        self._segments[-1] = (number, records + more, first_at, max(last_at, at))
        self._database.execute(
            "UPDATE segment SET records = ?, last_at = ? WHERE number = ?", (records + more, max(last_at, at), number)
        )

    def forget(self, now: float) -> int:
        """Let go of segments that are too old or too much; how many records went."""
        gone = 0
        while self._segments and (self._segments[0][3] < now - self._keep or self._is_too_large()):
            number, records, _, _ = self._segments[0]
            self._run("BEGIN IMMEDIATE")
            self._run(f"DROP TABLE segment_{number}")
            self._run("DELETE FROM segment WHERE number = ?", (number,))
            self._run("COMMIT")
            gone += records
            self._segments.pop(0)
        return gone

    def forget_files(self, present: Sequence[int]) -> None:
        """Let go of files that are not there any more (`present`: numbers of those that are) and have no rows."""
        used: set[int] = set()
        for number, *_ in self._segments:
            found = self._run(f"SELECT DISTINCT file FROM segment_{number}").fetchall()
            used.update(file for (file,) in found)
        for number in [number for number in self._places if number not in used and number not in present]:
            self._run("DELETE FROM file WHERE number = ?", (number,))
            del self._places[number]

    def _is_too_large(self) -> bool:
        """One segment always stays: it is the one that is written."""
        if len(self._segments) < 2:
            return False
        pages, free, size = (
            self._run(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return bool((pages - free) * size > self._size)

    def _run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise IndexUnusable(str(error)) from error

    def close(self) -> None:
        """Nothing more is put in."""
        self._database.close()


class IndexReader:
    """Any process's side: looks, changes nothing. What cannot be read is raised as IndexUnusable."""

    def __init__(self, path: Path) -> None:
        try:
            self._database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_WAIT)
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            raise IndexUnusable(str(error)) from error
        if version != SCHEMA:
            raise IndexUnusable("it is not filled yet" if version == 0 else f"it has the form {version}, not {SCHEMA}")

    def find(self, exchange_id: str) -> Hit | None:
        """What is known of this canonical id, the newest first."""
        number = number_of(exchange_id)
        try:
            segments = self._database.execute("SELECT number FROM segment ORDER BY number DESC").fetchall()
            for (segment,) in segments:
                found = self._database.execute(
                    f"SELECT file, at, kept FROM segment_{segment} WHERE id = ?", (number,)
                ).fetchone()
                if found is not None:
                    file, at, kept = found
                    place = next((one for one in self.places() if one.number == file), None)
                    return Hit(None if kept is None else json.loads(zlib.decompress(kept)), place, at)
        except (sqlite3.Error, zlib.error, ValueError) as error:
            raise IndexUnusable(str(error)) from error
        return None

    def places(self) -> list[Place]:
        """How far the files were read."""
        try:
            return _places(self._database)
        except sqlite3.Error as error:
            raise IndexUnusable(str(error)) from error

    def close(self) -> None:
        """Done."""
        self._database.close()


def _places(database: sqlite3.Connection) -> list[Place]:
    return [Place(*row) for row in database.execute("SELECT number, inode, first, path, place FROM file")]
