"""A store in one SQLite file, readable while farms write it.

*Durability.* Each turn is one transaction, in WAL mode. When ``record`` has returned, the turn
survives a power cut (``durability='power'``), or at least the end of this process, however it
ends (``'process'``: a power cut may then cost the last turns, but leaves the file sound).

*Processes.* Any number may read, and any number of farms write, at the same time; SQLite lets
them write one after the other. A forked child cannot use its parent's store and is told so.

*Threads.* One at a time, any of them. Each session and each running iteration has a connection
of its own, and so an iteration sees the store as it was when it began.

What is in the file is said in ``schema.py``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import chain

from farmhand.codec import REFERENCE, Packed, decode_each, decode_items
from farmhand.errors import FarmhandError, UsageError
from farmhand.files import ResultFiles
from farmhand.store import (
    Block,
    Counts,
    DataManager,
    Pack,
    Record,
    Records,
    RunInfo,
    Session,
    Timings,
    join_key,
    sample_of,
    split_key,
)
from farmhand_sqlite import checking, rows
from farmhand_sqlite.file import DatabaseFile
from farmhand_sqlite.reading import Reader, everything, recorded, seeds_of, span_of
from farmhand_sqlite.rows import INDEX, bound, text_of
from farmhand_sqlite.schema import SCHEMAS, SHIFT
from farmhand_sqlite.session import SqliteSession, Writer, describe, forget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["SqliteStore"]

_PACK_AT = "SELECT id, count, payload FROM packs WHERE id <= ? ORDER BY id DESC LIMIT 1"
_COVERING = "SELECT id + count FROM packs WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1"
_PACKS = "SELECT id, count, payload FROM packs WHERE id BETWEEN :first AND :last ORDER BY id"
_ENDS_OF_PACKS = """
SELECT (SELECT id FROM packs WHERE id BETWEEN :first AND :last ORDER BY id LIMIT 1),
    (SELECT id + count - 1 FROM packs WHERE id BETWEEN :first AND :last ORDER BY id DESC LIMIT 1)
"""
_TIMES_BEFORE = """
SELECT id, count, seconds, each FROM packs WHERE id BETWEEN :first AND :id ORDER BY id DESC LIMIT 1
"""
_TIMES_BEHIND = (
    "SELECT id, count, seconds, each FROM packs WHERE id > :id AND id <= :last ORDER BY id LIMIT 1"
)
_DONE_OF = "SELECT done FROM runs WHERE uid = ?"
_FAILURES = """
SELECT id, attempts, process, started, seconds, (SELECT memory FROM usage WHERE usage.id = failures.id),
    kind, type, message, traceback
FROM failures WHERE id BETWEEN :first AND :last ORDER BY id
"""
_LAST_STORED = (
    "SELECT first, last FROM ended WHERE first BETWEEN :first AND :last ORDER BY number DESC LIMIT 1"
)
_LATEST = [
    f"SELECT max(started + seconds) FROM {table} WHERE id BETWEEN :first AND :last"
    for table in ("packs", "failures")
]
_LARGE = 1 << 20  # bytes
_MANY = 64  # rows that are read at once while they are small
_SMALL = 1 << 18  # bytes of all of them


class SqliteStore(DataManager):
    """Results in one SQLite file, which is created when it is not there.

    Parameters
    ----------
    path : path-like
        The file; its folder must exist.
    durability : {'power', 'process'}
        What a recorded result survives: a power cut, or only the end of the process.
    timeout : float
        Seconds to wait for another program that keeps the file, or a session, locked.
    large : int or None
        Bytes above which a result goes to a file of its own, in the folder ``path + '.files'``, written by
        the process that computed it; None: never.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        durability: str = "power",
        timeout: float = 30.0,
        large: int | None = _LARGE,
    ) -> None:
        if durability not in ("power", "process"):
            raise UsageError(f"durability={durability!r} is not known; use 'power' or 'process'")
        if large is not None and (isinstance(large, bool) or not isinstance(large, int) or large < 0):
            raise UsageError(f"large={large!r} is no number of bytes; use an int, or None for never")
        self._timeout = timeout
        self._synchronous = "FULL" if durability == "power" else "NORMAL"
        self._file = DatabaseFile(path, SCHEMAS, timeout)
        self.basepath = self._file.path
        self.files = ResultFiles(f"{self._file.real}.files", large, sync=durability == "power")
        self._reader = Reader(self._file)
        self._writer: Writer | None = None  # for what is written by hand
        if not self._file.read_only:
            with suppress(FarmhandError):  # says who reads what is damaged
                self.sweep()

    def begin(self, run: RunInfo, join: bool = False) -> Session:
        """Write down that ``run`` has begun and return the session to record it with."""
        self._reader.usable()
        self._file.refuse_read_only()
        return SqliteSession(self._file, self._synchronous, run, join)

    def close(self) -> None:
        """Release the file; open sessions and iterations keep what they hold.

        In a forked child this does nothing, because SQLite must not even close there.
        """
        if self._file.is_ours():
            self._reader.close()
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    # -- runs, records and items -------------------------------------------------------------------

    def runs(self) -> list[RunInfo]:
        """Every run, in the order in which they began."""
        return [
            rows.run_of(row) for row in self._reader.rows(f"SELECT {rows.RUNS} FROM runs ORDER BY number")
        ]

    def records(self, run: str | None = None, since: str | None = None) -> Records:
        """How every item (of one run) ended, by run and then by index. No value is even read."""
        found = recorded(self._file, self._reader, run, since)
        cursor: str = next(found)
        return Records(found, cursor)

    def record_at(self, run: str, index: int) -> Record:
        """How one item ended; KeyError when it has not."""
        key = join_key(run, index)
        with self._reader.snapshot() as db:
            id = _id(span_of(db, run), run, index)
            row = db.execute("SELECT max(id) FROM packs WHERE id <= ?", (id,)).fetchone()
            span = {"first": id if row[0] is None or row[0] >> SHIFT < id >> SHIFT else row[0], "last": id}
            for found, *about in rows.records_of_rows(db.execute(rows.RECORDS, span)):
                if found == id:
                    about.append(seeds_of(db).get(id >> SHIFT))
                    return Record(key, run, index, *about)
        raise KeyError(key)

    def retried(self, run: str | None = None) -> Iterator[Record]:
        """Every attempt (of one run) that failed and was followed by another."""
        with self._reader.snapshot() as db:
            uids, seeds = dict(db.execute("SELECT number, uid FROM runs")), seeds_of(db)
            span = everything(uids) if run is None else span_of(db, run)
            for id, attempt, number, started, seconds, memory, *error in db.execute(rows.RETRIED, span):
                uid, index = self._uid_of(uids, id), id & INDEX
                about = (
                    number,
                    started,
                    seconds,
                    attempt,
                    rows.error_of(error),
                    memory,
                    seeds.get(id >> SHIFT),
                )
                yield Record(join_key(uid, index), uid, index, "retried", *about)

    def failures(self, run: str | None = None) -> list[Record]:
        """The records of all items (of one run) that failed; of done ones nothing is read."""
        with self._reader.snapshot() as db:
            uids, seeds = dict(db.execute("SELECT number, uid FROM runs")), seeds_of(db)
            found = []
            for id, attempts, number, started, seconds, memory, *error in db.execute(
                _FAILURES, everything(uids) if run is None else span_of(db, run)
            ):
                uid, index = self._uid_of(uids, id), id & INDEX
                about = (
                    number,
                    started,
                    seconds,
                    attempts,
                    rows.error_of(error),
                    memory,
                    seeds.get(id >> SHIFT),
                )
                found.append(Record(join_key(uid, index), uid, index, "failed", *about))
            return found

    def counts(self, run: str) -> Counts:
        """How many items of ``run`` ended, and how; each turn writes down the sums."""
        row = self._reader.first("SELECT done, failed, retried FROM runs WHERE uid = ?", bound(run))
        if row is None:
            raise KeyError(run)
        return Counts(*row)

    def output_at(self, run: str, index: int, attempt: int | None = None) -> str:
        """What an item printed in its last attempt, or in an earlier one that failed."""
        first, last = self._span(run).values()
        id = min(first + index, last + 1)
        row = None
        if attempt is not None:
            row = self._reader.first("SELECT output FROM retried WHERE id = ? AND attempt = ?", id, attempt)
        if row is None and attempt is not None and attempt != self._attempts_at(id):
            return ""
        row = row or self._reader.first("SELECT output FROM usage WHERE id = ?", id)
        return text_of(row[0]) if row else ""

    def _attempts_at(self, id: int) -> int:
        """How many attempts at an item there were, as far as is written down."""
        query = "SELECT attempts FROM {} WHERE id = ?"
        first = self._reader.first
        row = first(query.format("attempts"), id) or first(query.format("failures"), id)
        return int(row[0]) if row else 1

    def outputs(self, run: str) -> Iterator[tuple[int, str]]:
        """What each item of ``run`` that has ended printed in its last attempt, by index; if it printed."""
        query = "SELECT id, output FROM usage WHERE id BETWEEN :first AND :last AND output <> '' ORDER BY id"
        return ((id & INDEX, text_of(output)) for id, output in self._rows_of(run, query))

    def last_ended(self, run: str) -> float | None:
        """When the latest result or failure of ``run`` came: what was stored last, as its log says."""
        with self._reader.snapshot() as db:
            span = span_of(db, run)
            row = db.execute(_LAST_STORED, span).fetchone()
            if row is not None:  # a file of an older format has no log of what it had
                span = {"first": row[0], "last": row[1]}
            ends = [db.execute(query, span).fetchone()[0] for query in _LATEST]
        return max((end for end in ends if end is not None), default=None)

    def blocks(self, run: str) -> Iterator[Block]:
        """The blocks of ``run``, by first index."""
        query = "SELECT * FROM blocks WHERE id BETWEEN :first AND :last ORDER BY id"
        return map(rows.block_of, self._rows_of(run, query))

    def item(self, key: str) -> Any:
        """The item of this key, as the task was given it. Runs code: only from a store that you trust."""
        run, index = split_key(key)
        query = "SELECT * FROM blocks WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1"
        span = self._span(run)
        row = self._reader.first(query, span["first"], _id(span, run, index))
        block = None if row is None else rows.block_of(row)
        if block is None or block.payload is None or index not in block.indices:
            raise KeyError(key)
        return decode_items(block.payload)[block.indices.index(index)]

    def shipped(self, run: str) -> list[bytes]:
        """What processes were sent to make the task, in order."""
        with self._reader.snapshot() as db:
            number = span_of(db, run)["first"] >> SHIFT
            query = "SELECT data FROM shipped WHERE run = ? ORDER BY number"
            return [data for (data,) in db.execute(query, (number,))]

    # -- results -----------------------------------------------------------------------------------

    def encoded(self, run: str) -> Iterator[tuple[int, bytes]]:
        """Index and encoded result of each done item of ``run``, by index."""
        packs = self._rows_of(run, _PACKS)
        return chain.from_iterable(
            zip(_indices(id, count), Packed(payload, count), strict=True) for id, count, payload in packs
        )

    def encoded_at(self, run: str, index: int) -> bytes:
        """One encoded result; KeyError when there is none."""
        place, values = self._pack_at(run, index)
        value: bytes = values[place]
        return value

    def decoded(self, run: str) -> Iterator[tuple[int, Any]]:
        """Index and result of each done item of ``run``, by index."""
        return chain.from_iterable(
            zip(indices, values, strict=True) for indices, values in self._decoded(run)
        )

    def decoded_at(self, run: str, index: int) -> Any:
        """One result; KeyError when there is none."""
        place, values = self._pack_at(run, index)
        return values.decode_one(place, self.loader(run))

    def itervalues(self) -> Iterator[Any]:
        """Every result, one at a time: run by run, in the order of the items, then those of the shelves."""
        return chain(chain.from_iterable(values for _, values in self._decoded()), self._values_of_shelves())

    def _decoded(self, run: str | None = None) -> Iterator[tuple[Iterable[int], Iterable[Any]]]:
        """Indices and results, many at a time: what is done for each of them alone is not done in Python."""
        with self._reader.snapshot() as db:
            uids = dict(db.execute("SELECT number, uid FROM runs"))
            found, many = db.execute(_PACKS, everything(uids) if run is None else span_of(db, run)), 1
            while some := found.fetchmany(many):
                for id in (some[0][0], some[-1][0]):
                    self._uid_of(uids, id)
                payloads = [payload for _, _, payload in some]
                small = sum(map(len, payloads)) < _SMALL
                many = min(2 * many, _MANY) if small else max(1, many // 2)
                single = sum(count for _, count, _ in some) == len(some)
                if single and not any(payload[:1] == REFERENCE for payload in payloads):
                    yield [id & INDEX for id, _, _ in some], decode_each(payloads)
                else:
                    for id, count, payload in some:
                        load = self.loader(uids[id >> SHIFT])
                        yield _indices(id, count), Packed(payload, count).decode(load)

    def done_indices(self, run: str) -> Iterator[int]:
        """The indices of the done items of ``run``, ascending; no value is read."""
        query = "SELECT id, count FROM packs WHERE id BETWEEN :first AND :last ORDER BY id"
        return chain.from_iterable(_indices(id, count) for id, count in self._rows_of(run, query))

    def durations(self, run: str, most: int) -> tuple[Sequence[int], Sequence[float]]:
        """How long items of ``run`` took that are done, as a sample; only the rows that have it are read."""
        with self._reader.snapshot() as db:
            span = span_of(db, run)
            first, last = db.execute(_ENDS_OF_PACKS, span).fetchone()
            if first is None:
                return [], []

            def find(id: int) -> tuple[range, Sequence[float]] | None:
                for query in (_TIMES_BEFORE, _TIMES_BEHIND):
                    row = db.execute(query, {**span, "id": id}).fetchone()
                    if row is not None and id < row[0] + row[1]:
                        return range(row[0], row[0] + row[1]), rows.times_of(*row[1:])
                return None

            (done,) = db.execute(_DONE_OF, (bound(run),)).fetchone()
            try:
                ids, seconds = sample_of(
                    first, last, 1 if done <= most else -(-(last + 1 - first) // most), find
                )
            except ValueError as error:
                self._file.refuse_damage(str(error))
        return [id & INDEX for id in ids], seconds

    def packs(self, run: str) -> Iterator[Pack]:
        """The results of ``run`` with their times, by first index; nothing is unpickled."""
        query = "SELECT * FROM packs WHERE id BETWEEN :first AND :last ORDER BY id"
        try:
            yield from map(rows.pack_of, self._rows_of(run, query))
        except ValueError as error:
            self._file.refuse_damage(str(error))

    def timings(self, run: str) -> Timings:
        """When each done item of ``run`` ran, by index; no value is read."""
        query = (
            "SELECT id, count, process, started, seconds, each FROM packs "
            "WHERE id BETWEEN :first AND :last ORDER BY id"
        )
        try:
            return rows.timings_of(self._rows_of(run, query))
        except ValueError as error:
            self._file.refuse_damage(str(error))

    def _is_result(self, key: object) -> bool:
        """Whether there is such a result; none is read, as to find one of many may mean to decode them."""
        try:
            run, index = split_key(key)
            with self._reader.snapshot() as db:
                span = span_of(db, run)
                about = span["first"], _id(span, run, index)
                row = db.execute(_COVERING, about).fetchone()
        except KeyError:
            return False
        return row is not None and bool(row[0] > about[1])

    def _pack_at(self, run: str, index: int) -> tuple[int, Packed]:
        """The pack that has an item's result, and the place in it; KeyError when there is none."""
        first, last = self._span(run).values()
        row = self._reader.first(_PACK_AT, first + index) if first + index <= last else None
        if row is None or row[0] < first or row[0] + row[1] <= first + index:
            raise KeyError(join_key(run, index))
        return first + index - row[0], Packed(row[2], row[1])

    def itemcount(self) -> int:
        """How many results there are; each turn writes down the sum, so nothing is counted."""
        query = "SELECT (SELECT sum(done) FROM runs), (SELECT count(*) FROM shelves)"
        row = self._reader.first(query)
        return sum(number or 0 for number in row) if row else 0

    def _uid_of(self, uids: dict[int, str], id: int) -> str:
        """The run of an item."""
        uid = uids.get(id >> SHIFT)
        if uid is None:
            self._file.refuse_damage("it has an item of a run that it does not have")
        return uid

    def _rows_of(self, run: str, query: str) -> Iterator[tuple[Any, ...]]:
        """What ``query`` finds in the span of a run."""
        with self._reader.snapshot() as db:
            yield from db.execute(query, span_of(db, run))

    def _span(self, run: str) -> dict[str, int]:
        """The first and the last id that items of ``run`` can have."""
        with self._reader.snapshot() as db:
            return span_of(db, run)

    # -- sessions by hand --------------------------------------------------------------------------

    def shelf_names(self) -> list[str]:
        """The names of the sessions that were written by hand."""
        return [text_of(name) for (name,) in self._reader.rows("SELECT DISTINCT session FROM shelves")]

    def shelf_keys(self, name: str) -> list[str]:
        """The keys in such a session; none when it is not there."""
        query = "SELECT name FROM shelves WHERE session = ?"
        return [text_of(key) for (key,) in self._reader.rows(query, (bound(name),))]

    def shelf_get(self, name: str, key: str) -> bytes:
        """An encoded value; KeyError when it is not there."""
        query = "SELECT value FROM shelves WHERE session = ? AND name = ?"
        row = self._reader.first(query, bound(name), bound(key)) if isinstance(key, str) else None
        if row is None:
            raise KeyError(key)
        value: bytes = row[0]
        return value

    def shelf_set(self, name: str, key: str, data: bytes | None) -> None:
        """Write an encoded value, or with None delete it; durable when this returns."""
        with self._written().transaction() as db:
            if data is None:
                db.execute("DELETE FROM shelves WHERE session = ? AND name = ?", (bound(name), bound(key)))
            else:
                db.execute("REPLACE INTO shelves VALUES (?, ?, ?)", (bound(name), bound(key), data))

    def shelf_lock(self, name: str) -> AbstractContextManager[None]:
        """Excludes all other processes that ask for this, too."""
        from farmhand.codec import fingerprint

        self._reader.usable()
        self._file.refuse_read_only()
        # Not the database's own file: to close any descriptor of that one gives up SQLite's locks. And no
        # transaction of SQLite, which would keep all farms from storing meanwhile.
        path = f"{self._file.real}.{fingerprint(name).hex()[:16]}.lock"
        return self._locked(path, f"the session {name!r}")

    @contextmanager
    def _locked(self, path: str, what: str) -> Iterator[None]:
        from farmhand.locks import Held

        with Held(path, self._timeout, what, keep=False):
            yield

    def _values_of_shelves(self) -> Iterator[Any]:
        for name in self.shelf_names():
            for key in self.shelf_keys(name):
                yield self.shelf_value(name, key)

    # -- keeping order -----------------------------------------------------------------------------

    def forget_at(self, run: str, indices: Collection[int]) -> None:
        """Take away how these items ended, in one transaction."""
        number = self._span(run)["first"] >> SHIFT
        with self._written().transaction() as db:
            forget(db, number, indices)

    def check(self) -> Iterator[str]:
        """What is wrong with the store, in words. Nothing is unpickled."""
        sound = True
        for problem in checking.in_words(checking.problems(self._reader)):
            sound = False
            yield problem
        if sound:  # else reading, of which the rest consists, would break
            yield from checking.in_words(super().check())

    def vacuum(self) -> None:
        """Give back room that nothing needs, and write all of the store into its one file.

        Plain items of which other programs could not read yet what they are are described as well.
        """
        super().vacuum()
        writer, execute = self._written(), self._file.execute
        with self._file.errors():
            describe(writer)
            for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                execute(writer.db, statement).fetchall()

    def _written(self) -> Writer:
        """The connection to write with."""
        self._reader.usable()
        self._file.refuse_read_only()
        if self._writer is None:
            self._writer = Writer(self._file, self._synchronous)
        return self._writer


def _indices(id: int, count: int) -> range:
    first = id & INDEX
    return range(first, first + count)


def _id(span: dict[str, int], run: str, index: int) -> int:
    """The id of an item; KeyError for one that no run can have."""
    if index > INDEX:
        raise KeyError(join_key(run, index))
    return span["first"] + index
