"""What is wrong with a file, in words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from farmhand.errors import StoreError
from farmhand.store import Pack
from farmhand_sqlite.reading import Reader, Snapshot
from farmhand_sqlite.rows import INDEX, pack_of
from farmhand_sqlite.schema import SHIFT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["in_words", "problems"]

_OF_ITEMS = ("packs", "failures", "attempts", "usage", "retried", "blocks", "items")
_COUNTED = (
    ("done", "results", "SELECT total(count) FROM packs WHERE id BETWEEN ? AND ?"),
    ("failed", "failures", "SELECT count(*) FROM failures WHERE id BETWEEN ? AND ?"),
    ("retried", "earlier attempts", "SELECT count(*) FROM retried WHERE id BETWEEN ? AND ?"),
)
_FAILED = """
SELECT id, (SELECT id + count FROM packs WHERE packs.id <= failures.id ORDER BY packs.id DESC LIMIT 1)
FROM failures WHERE id BETWEEN ? AND ?
"""


def problems(reader: Reader) -> Iterator[str]:
    """What SQLite finds, and what does not fit together. Nothing is unpickled."""
    with reader.snapshot() as db:
        try:
            damage = [text for (text,) in db.execute("PRAGMA integrity_check(20)") if text != "ok"]
        except sqlite3.DatabaseError as error:
            damage = [str(error)]
        if damage:
            yield from (f"the file is damaged: {text}" for text in damage)
            return  # whatever else is found would be a consequence
        runs = db.execute("SELECT number, uid, done, failed, retried FROM runs").fetchall()
        yield from _strangers(db, {run[0] for run in runs})
        for number, uid, *said in runs:
            span = number << SHIFT, (number + 1 << SHIFT) - 1
            for (_, what, query), expected in zip(_COUNTED, said, strict=True):
                there = int(db.execute(query, span).fetchone()[0])
                if there != expected:
                    yield f"run {uid}: it has {there} {what}, and says that it has {expected}"
            yield from _packs(db, uid, span)
            # only failures are looked up: of results there may be millions
            for id, stop in db.execute(_FAILED, span):
                if stop is not None and stop > id:
                    yield f"run {uid}: item {id & INDEX} is done and has failed"


def _strangers(db: Snapshot, numbers: set[int]) -> Iterator[str]:
    """Rows of runs that are not there."""
    for table in _OF_ITEMS:
        for (number,) in _numbers(db, table):
            if number not in numbers:
                yield f"the table {table} has items of a run, number {number}, that is not there"
    for (number,) in db.execute("SELECT DISTINCT run FROM shipped"):
        if number not in numbers:
            yield f"the table shipped has the task of a run, number {number}, that is not there"


def _numbers(db: Snapshot, table: str) -> Iterator[tuple[int]]:
    """The numbers of the runs of which a table has rows, found without reading them all."""
    query = f"SELECT id >> {SHIFT} FROM {table} WHERE id >= ? ORDER BY id LIMIT 1"
    row = db.execute(query, (-(1 << 63),)).fetchone()
    while row is not None:
        yield row
        if row[0] + 1 >= 1 << 63 - SHIFT:
            return
        row = db.execute(query, (row[0] + 1 << SHIFT,)).fetchone()


def _packs(db: Snapshot, uid: str, span: tuple[int, int]) -> Iterator[str]:
    """Results that overlap, or that are not what their row says."""
    last = -1
    for row in db.execute("SELECT * FROM packs WHERE id BETWEEN ? AND ? ORDER BY id", span):
        index = row[0] & INDEX
        about = f"run {uid}: the results from item {index} on"
        if index <= last:
            yield f"{about} are there twice"
        last = index + row[1] - 1
        problem = _problem(row)
        if problem:
            yield f"{about} {problem}"


def _problem(row: tuple[Any, ...]) -> str:
    if row[1] < 1 or not isinstance(row[6], bytes):
        return "are missing"
    try:
        pack: Pack = pack_of(row)
    except ValueError:
        return "have not the times of all items"
    try:
        whole = len(list(pack.values)) == row[1]  # which decodes plain values at most
    except Exception as error:
        return f"cannot be taken apart ({type(error).__name__}: {error})"
    return "" if whole else "are not as many as their row says"


def in_words(problems: Iterator[str]) -> Iterator[str]:
    """``problems``; where finding them fails, the failure is one of them."""
    try:
        yield from problems
    except StoreError as error:
        yield str(error)
