"""Reading: connections that are used again, snapshots of the file, and records out of these."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from farmhand.errors import StoreError, UsageError
from farmhand.store import Record, join_key
from farmhand_sqlite.file import DatabaseFile
from farmhand_sqlite.rows import INDEX, RECORDS, bound, records_of_rows
from farmhand_sqlite.schema import SHIFT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Reader", "Snapshot", "everything", "recorded", "seeds_of", "span_of"]

_COVERING = "SELECT id, count FROM packs WHERE id <= ? ORDER BY id DESC LIMIT 1"
_NEAR = 1000  # ids between two spans that are read with one query all the same


class Snapshot:
    """The file as it is at the first query, for several of them. At its end, all of them end."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._cursors: list[sqlite3.Cursor] = []

    def execute(self, query: str, parameters: Sequence[Any] | Mapping[str, int] = ()) -> sqlite3.Cursor:
        """What ``query`` finds, row by row."""
        cursor = self._db.execute(query, parameters)
        self._cursors.append(cursor)
        return cursor

    def end(self) -> None:
        """Let go of the file as it was; whoever still reads finds no more rows."""
        while self._cursors:
            self._cursors.pop().close()
        if self._db.in_transaction:  # else an error has ended it
            with suppress(
                sqlite3.Error
            ):  # nothing can be lost; and where it is damaged, somebody has said so
                self._db.execute("COMMIT")


class Reader:
    """Connections to read a file with; each is used by one reading at a time, which has a view of its own."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file
        self._open = True
        self._idle: list[sqlite3.Connection] = []

    def usable(self) -> None:
        """Raise when the store was closed, or belongs to another process."""
        self._file.refuse_fork()
        if not self._open:
            raise StoreError(self._file.path, "this store was closed", "Open it again")

    def close(self) -> None:
        """No more readings begin; those that have begun keep what they hold."""
        self._open = False
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        self.usable()
        try:
            db = self._idle.pop() if self._idle else self._file.connect()
            try:
                yield db
            finally:
                # nothing of a read-only file is kept: SQLite may take it for unchanging
                kept = self._open and not self._idle and not self._file.read_only
                if kept and not db.in_transaction:
                    self._idle.append(db)
                else:
                    db.close()
        except sqlite3.Error as error:
            self._file.explain(error)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Several queries see the file as it is at the first of them."""
        with self._connection() as db:
            db.execute("BEGIN")
            snapshot = Snapshot(db)
            try:
                yield snapshot
            finally:
                snapshot.end()

    def rows(self, query: str, parameters: Sequence[Any] | Mapping[str, int] = ()) -> Generator[Any]:
        """Stream what ``query`` finds."""
        with self._connection() as db:
            cursor = db.execute(query, parameters)
            try:
                yield from cursor
            finally:
                cursor.close()

    def first(self, query: str, *parameters: Any) -> tuple[Any, ...] | None:
        """The first row that ``query`` finds."""
        found = self.rows(query, parameters)
        try:
            return next(found, None)
        finally:
            found.close()


def span_of(db: Snapshot, run: str) -> dict[str, int]:
    """The first and the last id that items of ``run`` can have; KeyError when there is no such run."""
    row = db.execute("SELECT number FROM runs WHERE uid = ?", (bound(run),)).fetchone()
    if row is None:
        raise KeyError(run)
    return {"first": row[0] << SHIFT, "last": (row[0] + 1 << SHIFT) - 1}


def seeds_of(db: Snapshot) -> dict[int, int]:
    """The seeds of the runs that have one, by the numbers of these."""
    return {
        number: int(seed) for number, seed in db.execute("SELECT number, seed FROM runs WHERE seed NOT NULL")
    }


def everything(numbers: Collection[int]) -> dict[str, int]:
    """The first and the last id that items of any of these runs can have."""
    return {"first": 0, "last": max(numbers, default=0) + 1 << SHIFT}


def recorded(file: DatabaseFile, reader: Reader, run: str | None, since: str | None) -> Iterator[Any]:
    """First the cursor of this reading, and then its records."""
    with reader.snapshot() as db:
        query = "SELECT name, (SELECT coalesce(max(number), 0) FROM ended) FROM store"
        name, number = db.execute(query).fetchone()
        uids: dict[int, str] = dict(db.execute("SELECT number, uid FROM runs"))
        seeds = seeds_of(db)
        whole = everything(uids) if run is None else span_of(db, run)
        known = None if since is None else _known(since, name, number)
        # the reading has begun; what is stored from here on is not in it, and is behind its cursor
        yield f"{name}.{number}"
        try:
            found = records_of_rows(db.execute(RECORDS, whole)) if known is None else _since(db, whole, known)
            for id, *about in found:
                uid = uids.get(id >> SHIFT)
                if uid is None:
                    file.refuse_damage("it has an item of a run that it does not have")
                index = id & INDEX
                about.append(seeds.get(id >> SHIFT))
                yield Record(join_key(uid, index), uid, index, *about)
        except ValueError:
            file.refuse_damage("it has not the times of all items")


def _known(since: str, name: str, newest: int) -> int:
    """The last number in the log that the reader who got this cursor had seen."""
    store, _, number = since.rpartition(".") if isinstance(since, str) else ("", "", "")
    if store != name or not number.isdecimal() or len(number) > 18 or int(number) > newest:
        raise UsageError(f"since={since!r} is no cursor of this store; it comes from store.records()")
    return int(number)


def _since(db: Snapshot, whole: Mapping[str, int], known: int) -> Iterator[tuple[Any, ...]]:
    """What records say of the items that have ended since ``known``, and were not forgotten again."""
    query = "SELECT first, last FROM ended WHERE number > ? AND first BETWEEN ? AND ? ORDER BY first"
    groups: list[list[tuple[int, int]]] = []
    for first, last in db.execute(query, (known, whole["first"], whole["last"])):
        if groups and first - groups[-1][-1][1] <= _NEAR:
            low, high = groups[-1][-1]
            if first <= high + 1:
                groups[-1][-1] = low, max(high, last)
            else:
                groups[-1].append((first, last))
        else:
            groups.append([(first, last)])
    for spans in groups:
        start, stop = spans[0][0], spans[-1][1]
        covering = db.execute(_COVERING, (start,)).fetchone()
        if covering is not None and covering[0] + covering[1] > start:
            start = covering[0]
        place = 0
        for record in records_of_rows(db.execute(RECORDS, {"first": start, "last": stop})):
            while place < len(spans) and spans[place][1] < record[0]:
                place += 1
            if place == len(spans):
                break
            if spans[place][0] <= record[0]:
                yield record
