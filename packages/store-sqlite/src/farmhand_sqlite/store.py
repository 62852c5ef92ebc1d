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

*Packs.* Results of consecutive items that a process hands over together are one row: for tiny tasks
thousands, for others one. So an item costs hardly more than its bytes, in time and on disk.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import sys
from array import array
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain

from farmhand.codec import Packed
from farmhand.errors import StoreError, UsageError
from farmhand.events import ItemError, RecordDone, RecordFailed, Usage, starts
from farmhand.store import Block, DataManager, Pack, Record, RunInfo, Session, Turn, join_key, packs_of
from farmhand_sqlite.file import DatabaseFile, Schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["SqliteStore"]

SHIFT = 40

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
# ``id`` is that of the first of ``count`` items, ``started`` when the first began, ``seconds`` what they
# took together. Where there are several, ``each`` has how long each took, as little-endian doubles; it
# began when the one before it had ended.
SCHEMA_3 = """
CREATE TABLE packs (id INTEGER PRIMARY KEY, count INTEGER NOT NULL, process INTEGER, started REAL,
    seconds REAL, each BLOB, payload BLOB);
INSERT INTO packs SELECT id, 1, process, started, seconds, NULL, value FROM results;
DROP TABLE results;
"""
SCHEMAS = (
    Schema(SCHEMA_1),
    Schema(SCHEMA_2, SCHEMA_2.replace("CREATE", "CREATE TEMP")),
    Schema(
        SCHEMA_3,
        """
        CREATE TEMP VIEW packs AS
        SELECT id, 1 AS count, process, started, seconds, NULL AS each, value AS payload FROM results;
        """,
    ),
)
# What belongs to an item in a pack comes behind the pack, and before the next pack or failure.
RECORDS = """
SELECT id, 0, count, process, started, seconds, each, NULL, NULL, NULL, NULL
FROM packs WHERE id BETWEEN :first AND :last
UNION ALL
SELECT id, 1, attempts, process, started, seconds, NULL, kind, type, message, traceback
FROM failures WHERE id BETWEEN :first AND :last
UNION ALL
SELECT id, 2, attempts, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM attempts WHERE id BETWEEN :first AND :last
UNION ALL
SELECT id, 3, memory, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM usage WHERE id BETWEEN :first AND :last AND memory IS NOT NULL
ORDER BY 1, 2
"""
PACK, FAILURE, ATTEMPTS, MEMORY = range(4)
RETRIED = """
SELECT id, attempt, process, started, seconds, memory, kind, type, message, traceback
FROM retried WHERE id BETWEEN :first AND :last ORDER BY id, attempt
"""
_BEFORE = "SELECT id, count FROM packs WHERE id <= ? ORDER BY id DESC LIMIT 1"
_PACK_AT = "SELECT id, count, payload FROM packs WHERE id <= ? ORDER BY id DESC LIMIT 1"
_INSERT_PACK = "INSERT INTO packs VALUES (?, ?, ?, ?, ?, ?, ?)"
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
        self._file = DatabaseFile(path, SCHEMAS, timeout)
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
        uids, span = self._uids(run)
        try:
            for record in _records(self._rows(RECORDS, span)):
                yield self._named(uids, *record)
        except ValueError:
            self._file.refuse_damage("it has not the times of all items")

    def retried(self, run: str | None = None) -> Iterator[Record]:
        """Every attempt (of one run) that failed and was followed by another."""
        uids, span = self._uids(run)
        for id, attempt, number, started, seconds, memory, *error in self._rows(RETRIED, span):
            about = (number, started, seconds, attempt, _error(error), memory)
            yield self._named(uids, id, "retried", *about)

    def _uids(self, run: str | None) -> tuple[dict[int, str], dict[str, int]]:
        """The names of all runs, by number, and the ids that items of ``run``, or of any, can have."""
        uids = dict(self._rows("SELECT number, uid FROM runs"))
        everything = {"first": 0, "last": max(uids, default=0) + 1 << SHIFT}
        return uids, everything if run is None else self._span(run)

    def _named(self, uids: Mapping[int, str], id: int, *about: Any) -> Record:
        uid, index = uids.get(id >> SHIFT), id & (1 << SHIFT) - 1
        if uid is None:
            self._file.refuse_damage("it has an item of a run that it does not have")
        return Record(join_key(uid, index), uid, index, *about)

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
        for indices, values in self._packs(run):
            yield from zip(indices, values, strict=True)

    def encoded_at(self, run: str, index: int) -> bytes:
        """One encoded result; KeyError when there is none."""
        place, values = self._pack_at(run, index)
        value: bytes = values[place]
        return value

    def decoded(self, run: str) -> Iterator[tuple[int, Any]]:
        """Index and result of each done item of ``run``, by index."""
        for indices, values in self._packs(run):
            yield from zip(indices, values.decode(), strict=True)

    def decoded_at(self, run: str, index: int) -> Any:
        """One result; KeyError when there is none."""
        place, values = self._pack_at(run, index)
        return values.decode_one(place)

    def done_indices(self, run: str) -> Iterator[int]:
        """The indices of the done items of ``run``, ascending; no value is read."""
        query = "SELECT id - :first, count FROM packs WHERE id BETWEEN :first AND :last ORDER BY id"
        for index, count in self._rows(query, self._span(run)):
            yield from range(index, index + count)

    def _packs(self, run: str) -> Iterator[tuple[range, Packed]]:
        """Indices and results of each pack of ``run``."""
        query = "SELECT id - :first, count, payload FROM packs WHERE id BETWEEN :first AND :last ORDER BY id"
        for index, count, payload in self._rows(query, self._span(run)):
            yield range(index, index + count), Packed(payload, count)

    def _pack_at(self, run: str, index: int) -> tuple[int, Packed]:
        """The pack that has an item's result, and the place in it; KeyError when there is none."""
        first, last = self._span(run).values()
        row = self._first(_PACK_AT, first + index) if first + index <= last else None
        if row is None or row[0] < first or row[0] + row[1] <= first + index:
            raise KeyError(join_key(run, index))
        return first + index - row[0], Packed(row[2], row[1])

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
        base, count = self._base, 0
        for record in records:
            done = record.done
            for pack in packs_of(done):
                id = base + pack.indices[0]
                before = db.execute(_BEFORE, (id + len(pack.indices) - 1,)).fetchone()
                if before is not None and before[0] + before[1] > id:
                    self._file.refuse_repetition()
                db.execute(_INSERT_PACK, _pack_row(id, pack))
                count += len(pack.indices)
            if record.attempts:
                attempts = ((base + index, number) for index, number in record.attempts.items())
                db.executemany("INSERT INTO attempts VALUES (?, ?)", attempts)
            if done.usage:
                _record_usage(db, base, done.usage)
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


# -- rows ------------------------------------------------------------------------------------------


def _pack_row(id: int, pack: Pack) -> tuple[Any, ...]:
    seconds, count = pack.seconds, len(pack.indices)
    each = _swapped(seconds).tobytes() if count > 1 else None
    return id, count, pack.number, pack.started, sum(seconds), each, pack.values.payload


def _swapped(seconds: array[float]) -> array[float]:
    """``seconds`` as a file has them, or has been read from a file, whatever this computer's own order."""
    if sys.byteorder == "big":
        seconds = array("d", seconds)
        seconds.byteswap()
    return seconds


def _records(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """What rows of ``RECORDS`` say of each item: its id, and what comes after the index in a record."""
    main: tuple[Any, ...] | None = None  # of a pack or a failure; what belongs to it comes behind it
    attempts: dict[int, int] = {}
    memory: dict[int, int] = {}
    for row in chain(rows, [None]):
        if row is not None and row[1] == ATTEMPTS:
            attempts[row[0]] = row[2]
        elif row is not None and row[1] == MEMORY:
            memory[row[0]] = row[2]
        else:
            if main is not None:
                id, kind, number, process, started, seconds, each, *error = main
                if kind == FAILURE:
                    yield id, "failed", process, started, seconds, number, _error(error), memory.get(id)
                else:
                    took = [seconds] if each is None else _swapped(array("d", each))
                    when = zip(starts(started, took), took, strict=True)
                    for item, (began, lasted) in zip(range(id, id + number), when, strict=True):
                        about = (attempts.get(item, 1), None, memory.get(item))
                        yield item, "done", process, began, lasted, *about
            main = row
            attempts.clear()
            memory.clear()


def _error(parts: Sequence[Any]) -> ItemError:
    return ItemError(*map(_text, parts))


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
