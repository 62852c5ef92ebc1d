"""A store in one SQLite file, readable while farms write it.

*Durability.* Each turn is one transaction, in WAL mode. When ``record`` has returned, the turn
survives a power cut (``durability='power'``), or at least the end of this process, however it
ends (``'process'``: a power cut may then cost the last turns, but leaves the file sound).

*Processes.* Any number may read, and any number of farms write, at the same time; SQLite lets
them write one after the other. A forked child cannot use its parent's store and is told so.

*Threads.* One at a time, any of them. Each session and each running iteration has a connection
of its own, and so an iteration sees the store as it was when it began.

*Keys.* ``id = run number << 40 | item index`` is the primary key of all that belongs to an
item: rows lie in the order in which they are read, and no other index is needed.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain

from farmhand.errors import StoreError, UsageError
from farmhand.events import ItemError, RecordDone, RecordFailed, Usage
from farmhand.store import Block, DataManager, Record, RunInfo, Session, Turn, join_key
from farmhand_sqlite.file import DatabaseFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["SqliteStore"]

SHIFT = 40
COLUMNS = 5  # of the table of results
ROWS = 100  # a statement; more is no faster

# Texts that are no valid Unicode are kept as bytes, so these columns have no type.
SCHEMA_1 = """
CREATE TABLE runs (number INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, task, computer, started REAL,
    numitems INTEGER, seed TEXT, ended REAL, outcome TEXT DEFAULT '', done INTEGER NOT NULL DEFAULT 0);
CREATE TABLE results (id INTEGER PRIMARY KEY, process INTEGER, started REAL, seconds REAL, value BLOB);
CREATE TABLE attempts (id INTEGER PRIMARY KEY, attempts INTEGER NOT NULL);
CREATE TABLE failures (id INTEGER PRIMARY KEY, process INTEGER, started REAL, seconds REAL,
    attempts INTEGER, kind, type, message, traceback);
CREATE TABLE blocks (id INTEGER PRIMARY KEY, count INTEGER NOT NULL, offsets BLOB, payload BLOB,
    fingerprints BLOB, texts TEXT, keys TEXT);
"""
# The memory comes before the output, so that reading the one does not read the other.
SCHEMA_2 = """
CREATE TABLE usage (id INTEGER PRIMARY KEY, memory INTEGER, output);
CREATE TABLE retried (id INTEGER, attempt INTEGER, process INTEGER, started REAL, seconds REAL,
    memory INTEGER, kind, type, message, traceback, output, PRIMARY KEY (id, attempt)) WITHOUT ROWID;
"""
DONE_ROW = f"({', '.join('?' * COLUMNS)})"
RECORDS = """
SELECT id, 'done', process, started, seconds, coalesce(attempts, 1), memory, NULL, NULL, NULL, NULL
FROM results LEFT JOIN attempts USING (id) LEFT JOIN usage USING (id) WHERE id BETWEEN :first AND :last
UNION ALL
SELECT id, 'failed', process, started, seconds, attempts, memory, kind, type, message, traceback
FROM failures LEFT JOIN usage USING (id) WHERE id BETWEEN :first AND :last
ORDER BY id
"""
RETRIED = """
SELECT id, 'retried', process, started, seconds, attempt, memory, kind, type, message, traceback
FROM retried WHERE id BETWEEN :first AND :last ORDER BY id, attempt
"""
_INSERT_FAILURE = "INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_RETRIED = "INSERT INTO retried VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class SqliteStore(DataManager):
    """Results in one SQLite file, which is created when it is not there.

    Parameters
    ----------
    path : path-like
        The file; its folder must exist.
    durability : {'power', 'process'}
        What a recorded result survives: a power cut, or only the end of the process.
    timeout : float
        Seconds to wait for another program that keeps the file locked.
    """

    def __init__(
        self, path: str | os.PathLike[str], durability: str = "power", timeout: float = 30.0
    ) -> None:
        if durability not in ("power", "process"):
            raise UsageError(f"durability={durability!r} is not known; use 'power' or 'process'")
        self._synchronous = "FULL" if durability == "power" else "NORMAL"
        self._file = DatabaseFile(path, (SCHEMA_1, SCHEMA_2), timeout)
        self.basepath = self._file.path
        self._open = True
        self._idle: list[sqlite3.Connection] = []

    def begin(self, run: RunInfo) -> Session:
        """Write down that ``run`` has begun and return the session to record it with."""
        self._usable()
        self._file.refuse_read_only()
        return _SqliteSession(self._file, self._synchronous, run)

    def close(self) -> None:
        """Release the file; open sessions and iterations keep what they hold.

        In a forked child this does nothing, because SQLite must not even close there.
        """
        if self._file.is_ours():
            self._open = False
            while self._idle:
                self._idle.pop().close()

    # -- reading -----------------------------------------------------------------------------------

    def runs(self) -> list[RunInfo]:
        """Every run, in the order in which they began."""
        columns = "seed, task, computer, uid, started, numitems, ended, outcome"
        found = []
        for seed, task, computer, uid, *rest in self._rows(f"SELECT {columns} FROM runs ORDER BY number"):
            started, numitems, *end = rest
            number = None if seed is None else int(seed)
            found.append(RunInfo(uid, _text(task), _text(computer), started, numitems, number, *end))
        return found

    def records(self, run: str | None = None) -> Iterator[Record]:
        """How every item (of one run) ended, by run and then by index. No value is even read."""
        return self._records(RECORDS, run)

    def retried(self, run: str | None = None) -> Iterator[Record]:
        """Every attempt (of one run) that failed and was followed by another."""
        return self._records(RETRIED, run)

    def _records(self, query: str, run: str | None) -> Iterator[Record]:
        uids = dict(self._rows("SELECT number, uid FROM runs"))
        everything = {"first": 0, "last": max(uids, default=0) + 1 << SHIFT}
        span = everything if run is None else self._span(run)
        for id, status, number, started, seconds, attempts, memory, kind, *error in self._rows(query, span):
            uid, index = uids.get(id >> SHIFT), id & (1 << SHIFT) - 1
            if uid is None:
                self._file.refuse_damage("it has an item of a run that it does not have")
            why = None if kind is None else ItemError(*map(_text, (kind, *error)))
            about = (status, number, started, seconds, attempts, why, memory)
            yield Record(join_key(uid, index), uid, index, *about)

    def output_at(self, run: str, index: int, attempt: int | None = None) -> str:
        """What an item printed in its last attempt, or in an earlier one that failed."""
        first, last = self._span(run).values()
        id = min(first + index, last + 1)
        row = None
        if attempt is not None:
            row = self._first("SELECT output FROM retried WHERE id = ? AND attempt = ?", id, attempt)
        if row is None and attempt is not None and attempt != self._attempts_at(id):
            return ""
        row = row or self._first("SELECT output FROM usage WHERE id = ?", id)
        return _text(row[0]) if row else ""

    def _attempts_at(self, id: int) -> int:
        """How many attempts at an item there were, as far as is written down."""
        query = "SELECT attempts FROM {} WHERE id = ?"
        row = self._first(query.format("attempts"), id) or self._first(query.format("failures"), id)
        return int(row[0]) if row else 1

    def encoded(self, run: str) -> Iterator[tuple[int, bytes]]:
        """Index and encoded result of each done item of ``run``, by index."""
        query = "SELECT id - :first, value FROM results WHERE id BETWEEN :first AND :last ORDER BY id"
        yield from self._rows(query, self._span(run))

    def encoded_at(self, run: str, index: int) -> bytes:
        """One encoded result; KeyError when there is none."""
        first, last = self._span(run).values()
        query = "SELECT value FROM results WHERE id = ? AND id BETWEEN ? AND ?"
        row = self._first(query, min(first + index, last + 1), first, last)
        if row is None:
            raise KeyError(join_key(run, index))
        value: bytes = row[0]
        return value

    def done_indices(self, run: str) -> Iterator[int]:
        """The indices of the done items of ``run``, ascending; no value is read."""
        query = "SELECT id - :first FROM results WHERE id BETWEEN :first AND :last ORDER BY id"
        for (index,) in self._rows(query, self._span(run)):
            yield index

    def blocks(self, run: str) -> Iterator[Block]:
        """The blocks of ``run``, by first index."""
        query = "SELECT * FROM blocks WHERE id BETWEEN :first AND :last ORDER BY id"
        for row in self._rows(query, self._span(run)):
            yield _block(*row)

    def itemcount(self) -> int:
        """How many results there are; each turn writes down the sum, so nothing is counted."""
        row = self._first("SELECT sum(done) FROM runs")
        return int(row[0] or 0) if row else 0

    def _span(self, run: str) -> dict[str, int]:
        """The first and the last id that items of ``run`` can have."""
        row = self._first("SELECT number FROM runs WHERE uid = ?", run)
        if row is None:
            raise KeyError(run)
        return {"first": row[0] << SHIFT, "last": (row[0] + 1 << SHIFT) - 1}

    def _first(self, query: str, *parameters: Any) -> tuple[Any, ...] | None:
        rows = self._rows(query, parameters)
        try:
            return next(rows, None)
        finally:
            rows.close()

    def _rows(self, query: str, parameters: Sequence[Any] | dict[str, int] = ()) -> Generator[Any]:
        """Stream what ``query`` finds, on a connection that nobody else uses meanwhile."""
        self._usable()
        try:
            db = self._idle.pop() if self._idle else self._file.connect()
            try:
                cursor = db.execute(query, parameters)
                try:
                    yield from cursor
                finally:
                    cursor.close()  # ends the snapshot
            finally:
                # nothing of a read-only file is kept: SQLite may take it for unchanging
                if self._open and not self._idle and not self._file.read_only:
                    self._idle.append(db)
                else:
                    db.close()
        except sqlite3.Error as error:
            self._file.explain(error)

    def _usable(self) -> None:
        self._file.refuse_fork()
        if not self._open:
            raise StoreError(self.basepath, "this store was closed", "Open it again")


class _SqliteSession(Session):
    def __init__(self, file: DatabaseFile, synchronous: str, run: RunInfo) -> None:
        self._file = file
        with file.errors():
            self._db = db = file.connect()
        try:
            with file.errors():
                file.execute(db, f"PRAGMA synchronous = {synchronous}")
                file.execute(db, "SELECT 1 FROM runs")  # makes the -wal file
            self._identity = file.identity()
            with self._transaction():
                seed = None if run.seed is None else str(run.seed)  # may have more than 64 bits
                about = (run.uid, _bound(run.task), _bound(run.computer), run.started, run.numitems, seed)
                columns = "uid, task, computer, started, numitems, seed"
                cursor = db.execute(f"INSERT INTO runs ({columns}) VALUES (?, ?, ?, ?, ?, ?)", about)
        except BaseException:
            db.close()
            raise
        self._number: int = cursor.lastrowid or 0
        self._base = self._number << SHIFT
        self._rows = min(ROWS, db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // COLUMNS)
        self._insert_one = f"INSERT INTO results VALUES {DONE_ROW}"
        self._insert_many = self._insert_one + f", {DONE_ROW}" * (self._rows - 1)

    def record(self, turn: Turn) -> None:
        with self._transaction() as db:
            if turn.blocks:
                rows = (_block_row(self._base, block) for block in turn.blocks)
                db.executemany("INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            if turn.done:
                self._record_done(db, turn.done)
            if turn.failed:
                self._record_failed(db, turn.failed)

    def _record_failed(self, db: sqlite3.Connection, failures: Sequence[RecordFailed]) -> None:
        base = self._base
        final = [failed for failed in failures if not failed.again]
        db.executemany(_INSERT_FAILURE, (_failure_row(base, failed) for failed in final))
        _record_usage(db, base, {failed.index: failed.usage for failed in final})
        if len(final) < len(failures):
            again = (_retried_row(base, failed) for failed in failures if failed.again)
            db.executemany(_INSERT_RETRIED, again)

    def _record_done(self, db: sqlite3.Connection, records: Sequence[RecordDone]) -> None:
        flat: list[Any] = []  # all parameters of all rows: no Python runs for each item
        to_id = self._base.__add__
        for record in records:
            done = record.done
            ids, process = map(to_id, done.indices), [done.number] * len(done.indices)
            # sqlite3 binds a bytearray at once, but for bytes it first looks for an adapter
            values = map(bytearray, done.values)
            flat += chain.from_iterable(zip(ids, process, done.started, done.seconds, values, strict=True))
            if record.attempts:
                attempts = ((to_id(index), count) for index, count in record.attempts.items())
                db.executemany("INSERT INTO attempts VALUES (?, ?)", attempts)
            if done.usage:
                _record_usage(db, self._base, done.usage)
        step = COLUMNS * self._rows
        rest = len(flat) // step * step
        for start in range(0, rest, step):
            db.execute(self._insert_many, flat[start : start + step])
        db.executemany(self._insert_one, zip(*[iter(flat[rest:])] * COLUMNS, strict=True))
        count = len(flat) // COLUMNS
        db.execute("UPDATE runs SET done = done + ? WHERE number = ?", (count, self._number))

    def close(self, outcome: str, ended: float) -> None:
        self._file.refuse_fork()
        try:
            with self._transaction() as db:
                end = (outcome, ended, self._number)
                db.execute("UPDATE runs SET outcome = ?, ended = ? WHERE number = ?", end)
            try:  # so that the file is complete without its -wal, as far as readers permit
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            except sqlite3.Error:
                pass
        finally:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        file, db = self._file, self._db
        file.refuse_fork()
        with file.errors():
            try:
                file.execute(db, "BEGIN IMMEDIATE")
                yield db
                file.refuse_loss(self._identity)  # so that a file which was moved does not get the turn
                db.execute("COMMIT")
            except BaseException:
                try:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                except sqlite3.Error:
                    pass  # the first error says more
                raise
        file.refuse_loss(self._identity)  # and what went to a deleted file is not called stored


# -- rows of the side tables -----------------------------------------------------------------------


def _block_row(base: int, block: Block) -> tuple[Any, ...]:
    indices, first = block.indices, block.indices[0]
    span, offsets = indices[-1] - first, None
    if span >= len(indices):  # there are gaps
        offsets = struct.pack(_offsets(len(indices), wide=span >> 32), *(index - first for index in indices))
    prints = None if block.fingerprints is None else b"".join(block.fingerprints)
    texts, keys = _joined(block.texts), _joined(block.keys)
    return base + first, len(indices), offsets, block.payload, prints, texts, keys


def _block(
    id: int,
    count: int,
    offsets: bytes | None,
    payload: bytes | None,
    prints: bytes | None,
    texts: str | None,
    keys: str | None,
) -> Block:
    first = id & (1 << SHIFT) - 1
    indices: Sequence[int] = range(first, first + count)
    if offsets is not None:
        unpacked = struct.unpack(_offsets(count, wide=len(offsets) > 4 * count), offsets)
        indices = [first + offset for offset in unpacked]
    return Block(
        indices,
        payload,
        None if prints is None else [prints[start : start + 16] for start in range(0, len(prints), 16)],
        _split(texts),
        _split(keys),
    )


def _joined(texts: Sequence[str] | None) -> str | None:
    if texts is None:
        return None
    import json  # few runs need it

    return json.dumps(list(texts))


def _split(texts: str | None) -> list[str] | None:
    if texts is None:
        return None
    import json

    found: list[str] = json.loads(texts)
    return found


def _offsets(count: int, wide: int) -> str:
    return f"<{count}{'Q' if wide else 'I'}"


def _failure_row(base: int, failed: RecordFailed) -> tuple[Any, ...]:
    error = failed.error
    texts = map(_bound, (error.kind, error.type, error.message, error.traceback))
    return base + failed.index, failed.number, failed.started, failed.seconds, failed.attempts, *texts


def _retried_row(base: int, failed: RecordFailed) -> tuple[Any, ...]:
    error, usage = failed.error, failed.usage
    about = (failed.attempts, failed.number, failed.started, failed.seconds, usage.memory)
    texts = map(_bound, (error.kind, error.type, error.message, error.traceback, usage.output))
    return base + failed.index, *about, *texts


def _record_usage(db: sqlite3.Connection, base: int, usage: Mapping[int, Usage]) -> None:
    """Write down what there is to say of these items; of most there is nothing."""
    rows = (
        (base + index, used.memory, _bound(used.output))
        for index, used in usage.items()
        if used.output or used.memory is not None
    )
    db.executemany("INSERT INTO usage VALUES (?, ?, ?)", rows)


def _bound(text: str) -> str | bytes:
    """``text`` as SQLite can keep it: half a surrogate pair, as in odd file names, only as bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def _text(bound: str | bytes) -> str:
    return bound if isinstance(bound, str) else bound.decode("utf-8", "surrogatepass")
