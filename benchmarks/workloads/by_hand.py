"""How a good engineer stores what a pool computes: SQLite, write-ahead log, integer key, synced batches."""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

BATCH = 5_000  # rows in a transaction, where many come at once; 20 000 made no difference


def store(path: str, rows: Iterable[tuple[int, Any]], batch: int = BATCH) -> None:
    """Store what belongs to each item, in a synced transaction for every so many rows."""
    db = connect(path)
    for some in _batches(iter(rows), batch):
        db.execute("BEGIN")
        db.executemany("INSERT INTO results VALUES (?, ?)", some)
        db.execute("COMMIT")
    db.close()


def connect(path: str) -> sqlite3.Connection:
    """A new table of results, each transaction of which is on the disk once it is committed."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE results (item INTEGER PRIMARY KEY, value)")
    return db


def stored(path: str) -> list[tuple[int, Any]]:
    """All rows."""
    db = sqlite3.connect(path)
    rows = db.execute("SELECT item, value FROM results").fetchall()
    db.close()
    return rows


def _batches(rows: Iterator[tuple[int, Any]], size: int) -> Iterator[list[tuple[int, Any]]]:
    while batch := list(islice(rows, size)):
        yield batch
