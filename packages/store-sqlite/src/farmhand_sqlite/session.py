"""Writing: one transaction for each turn of a run, and for whatever else is written by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from farmhand.events import RecordDone
from farmhand.store import RunInfo, Session, Turn, packs_of
from farmhand_sqlite import rows
from farmhand_sqlite.file import DatabaseFile
from farmhand_sqlite.plain import dumps, loads
from farmhand_sqlite.schema import SHIFT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["SqliteSession", "Writer", "describe", "forget"]

_BEFORE = "SELECT id, count FROM packs WHERE id <= ? ORDER BY id DESC LIMIT 1"
_PACK_BEFORE = "SELECT * FROM packs WHERE id <= ? ORDER BY id DESC LIMIT 1"
_INSERT_BLOCK = "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_PACK = "INSERT INTO packs VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_FAILURE = "INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_RETRIED = "INSERT INTO retried VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_ITEM = "INSERT INTO items VALUES (?, ?, ?, ?)"
_INSERT_USAGE = "INSERT INTO usage VALUES (?, ?, ?)"


class Writer:
    """A connection that writes, as durably as it was told, or says that it cannot.

    Parameters
    ----------
    file : DatabaseFile
        What it writes to.
    synchronous : str
        How much SQLite syncs: ``'FULL'`` or ``'NORMAL'``.
    """

    def __init__(self, file: DatabaseFile, synchronous: str) -> None:
        self.file = file
        with file.errors():
            self.db = db = file.connect()
        try:
            with file.errors():
                file.execute(db, f"PRAGMA synchronous = {synchronous}")
                file.execute(db, "SELECT 1 FROM runs")  # makes the -wal file
            self._identity = file.identity()
        except BaseException:
            db.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is written within is durable afterwards, or none of it is there, and an error."""
        file, db = self.file, self.db
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

    def close(self) -> None:
        """Release the file."""
        self.db.close()


class SqliteSession(Session):
    """One run, being written; see :class:`farmhand.store.Session`."""

    def __init__(self, file: DatabaseFile, synchronous: str, run: RunInfo, join: bool) -> None:
        self._file = file
        self._names = run.parameters
        row = rows.run_row(run)
        self._said = row[-1]  # the provenance as it is in the file, and as a value
        self._provenance: dict[str, Any] = dict(run.provenance)
        self._writer = Writer(file, synchronous)
        self._db = self._writer.db
        try:
            with self._writer.transaction() as db:
                found = db.execute("SELECT number FROM runs WHERE uid = ?", (run.uid,)) if join else ()
                self._number: int = next(iter(found), (0,))[0]
                if not self._number:
                    query = f"INSERT INTO runs ({rows.RUNS}) VALUES ({', '.join('?' * len(row))})"
                    self._number = db.execute(query, row).lastrowid or 0
        except BaseException:
            self._writer.close()
            raise
        self._base = self._number << SHIFT

    def record(self, turn: Turn) -> None:
        with self._writer.transaction() as db:
            if turn.blocks:
                db.executemany(_INSERT_BLOCK, (rows.block_row(self._base, block) for block in turn.blocks))
                for block in turn.blocks:
                    described = rows.item_rows(self._base, block, self._names)
                    db.executemany(_INSERT_ITEM, described)
            ended: list[tuple[int, int]] = []
            if turn.done:
                self._record_done(db, turn.done, ended)
            if turn.failed:
                self._record_failed(db, turn, ended)
            if ended:
                db.executemany("INSERT INTO ended (first, last) VALUES (?, ?)", _merged(ended))
            if turn.shipped:
                self._record_shipped(db, turn.shipped)
            if turn.provenance:
                self._record_provenance(db, turn)

    def _record_failed(self, db: sqlite3.Connection, turn: Turn, ended: list[tuple[int, int]]) -> None:
        base = self._base
        final = [failed for failed in turn.failed if not failed.again]
        again = [failed for failed in turn.failed if failed.again]
        db.executemany(_INSERT_FAILURE, (rows.failure_row(base, failed) for failed in final))
        db.executemany(_INSERT_USAGE, rows.usage_rows(base, {each.index: each.usage for each in final}))
        db.executemany(_INSERT_RETRIED, (rows.retried_row(base, failed) for failed in again))
        query = "UPDATE runs SET failed = failed + ?, retried = retried + ? WHERE number = ?"
        db.execute(query, (len(final), len(again), self._number))
        ended += ((base + failed.index, base + failed.index) for failed in final)

    def _record_done(
        self, db: sqlite3.Connection, records: Sequence[RecordDone], ended: list[tuple[int, int]]
    ) -> None:
        base, count = self._base, 0
        for record in records:
            done = record.done
            for whole in packs_of(done):
                for pack in rows.packs_apart(whole):
                    id, last = base + pack.indices[0], base + pack.indices[-1]
                    before = db.execute(_BEFORE, (last,)).fetchone()
                    if before is not None and before[0] + before[1] > id:
                        self._file.refuse_repetition()
                    db.execute(_INSERT_PACK, rows.pack_row(id, pack))
                    ended.append((id, last))
                    count += len(pack.indices)
            if record.attempts:
                attempts = ((base + index, number) for index, number in record.attempts.items())
                db.executemany("INSERT INTO attempts VALUES (?, ?)", attempts)
            if done.usage:
                db.executemany(_INSERT_USAGE, rows.usage_rows(base, done.usage))
        db.execute("UPDATE runs SET done = done + ? WHERE number = ?", (count, self._number))

    def _record_shipped(self, db: sqlite3.Connection, shipped: Sequence[bytes]) -> None:
        query = "SELECT coalesce(max(number) + 1, 0) FROM shipped WHERE run = ?"
        [first] = db.execute(query, (self._number,)).fetchone()
        numbered = ((self._number, number, data) for number, data in enumerate(shipped, first))
        db.executemany("INSERT INTO shipped VALUES (?, ?, ?)", numbered)

    def _record_provenance(self, db: sqlite3.Connection, turn: Turn) -> None:
        query = "SELECT provenance FROM runs WHERE number = ?"
        [said] = db.execute(query, (self._number,)).fetchone()
        if said != self._said:  # another session of the same run, which was joined, has written there
            self._provenance = loads(said)
        self._provenance.update(turn.provenance)
        self._said = dumps(self._provenance)
        db.execute("UPDATE runs SET provenance = ? WHERE number = ?", (self._said, self._number))

    def close(self, outcome: str, ended: float | None) -> None:
        self._file.refuse_fork()
        try:
            if outcome:
                with self._writer.transaction() as db:
                    end = (outcome, ended, self._number)
                    db.execute("UPDATE runs SET outcome = ?, ended = ? WHERE number = ?", end)
            try:  # so that the file is complete without its -wal, as far as readers permit
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            except sqlite3.Error:
                pass
        finally:
            self._writer.close()


def _merged(spans: list[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """Spans of ids, ascending, those that touch each other as one."""
    if len(spans) < 2:
        return spans
    spans.sort()
    merged = [spans[0]]
    for first, last in spans:
        if first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


_UNDESCRIBED = """
SELECT * FROM blocks WHERE id BETWEEN ? AND ? AND payload IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM items WHERE items.id BETWEEN blocks.id AND blocks.id + blocks.count - 1)
ORDER BY id LIMIT 100
"""


def describe(writer: Writer) -> None:
    """Say of all items what they are, as far as they are plain: also of those for which nobody had time.

    Some blocks at once, so that farms can write in between.
    """
    runs = writer.db.execute("SELECT number, parameters FROM runs").fetchall()
    for number, parameters in runs:
        base, names = number << SHIFT, loads(parameters)
        first = base
        while True:
            with writer.transaction() as db:
                found = db.execute(_UNDESCRIBED, (first, base + rows.INDEX)).fetchall()
                for row in found:
                    db.executemany(_INSERT_ITEM, rows.item_rows(base, rows.block_of(row), names, hasty=False))
            if not found:
                break
            first = found[-1][0] + 1


def forget(db: sqlite3.Connection, number: int, indices: Collection[int]) -> None:
    """Delete how these items of a run ended, within a transaction; runs no code.

    The log of what ended stays: it says of items that they have ended since, and they have not any more.
    """
    if not indices:
        return
    base, wanted = number << SHIFT, set(indices)
    taken = 0
    seen = -1  # up to this index, all packs have been looked at
    for index in sorted(wanted):
        if index <= seen:
            continue
        row = db.execute(_PACK_BEFORE, (base + index,)).fetchone()
        if row is None or row[0] < base or row[0] + row[1] <= base + index:
            continue  # it has no result
        pack = rows.pack_of(row)
        left, seen = pack.without(wanted), pack.indices[-1]
        db.execute("DELETE FROM packs WHERE id = ?", row[:1])
        db.executemany(_INSERT_PACK, (rows.pack_row(base + part.indices[0], part) for part in left))
        taken += len(pack.indices) - sum(len(part.indices) for part in left)
    ids = [(base + index,) for index in wanted]
    failed = db.executemany("DELETE FROM failures WHERE id = ?", ids).rowcount
    retried = db.executemany("DELETE FROM retried WHERE id = ?", ids).rowcount
    for table in ("attempts", "usage"):
        db.executemany(f"DELETE FROM {table} WHERE id = ?", ids)
    query = "UPDATE runs SET done = done - ?, failed = failed - ?, retried = retried - ? WHERE number = ?"
    db.execute(query, (taken, failed, retried, number))
