"""A store as the first farmhand-sqlite made it: format 1; and formats 2 and 3, which came after it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from farmhand import codec
from farmhand.events import ItemError
from farmhand.store import Block, Record, RunInfo

SCHEMA = """
CREATE TABLE runs (number INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, task, computer, started REAL,
    numitems INTEGER, seed TEXT, ended REAL, outcome TEXT DEFAULT '', done INTEGER NOT NULL DEFAULT 0);
CREATE TABLE results (id INTEGER PRIMARY KEY, process INTEGER, started REAL, seconds REAL, value BLOB);
CREATE TABLE attempts (id INTEGER PRIMARY KEY, attempts INTEGER NOT NULL);
CREATE TABLE failures (id INTEGER PRIMARY KEY, process INTEGER, started REAL, seconds REAL,
    attempts INTEGER, kind, type, message, traceback);
CREATE TABLE blocks (id INTEGER PRIMARY KEY, count INTEGER NOT NULL, offsets BLOB, payload BLOB,
    fingerprints BLOB, texts TEXT, keys TEXT);
"""
SCHEMA_2 = """
CREATE TABLE usage (id INTEGER PRIMARY KEY, memory INTEGER, output);
CREATE TABLE retried (id INTEGER, attempt INTEGER, process INTEGER, started REAL, seconds REAL,
    memory INTEGER, kind, type, message, traceback, output, PRIMARY KEY (id, attempt)) WITHOUT ROWID;
"""
# instead of ``results``, which format 3 has no more
SCHEMA_3 = """
CREATE TABLE packs (id INTEGER PRIMARY KEY, count INTEGER NOT NULL, process INTEGER, started REAL,
    seconds REAL, each BLOB, payload BLOB);
DROP TABLE results;
"""
APPLICATION_ID = 0x6661726D  # "farm"
FIRST = 1 << 40  # the id of the first item of the first run

RUN = RunInfo("old-run", "find_rate", "someone.somewhere", 1000.0, 3, None, 1010.5, "finished")
ERROR = ItemError("raised", "ValueError", "no", "Traceback ...\n")
RECORDS = [
    Record("old-run-0", "old-run", 0, "done", 0, 1001.0, 0.25),
    Record("old-run-1", "old-run", 1, "done", 1, 1001.5, 0.5, 2),
    Record("old-run-2", "old-run", 2, "failed", 0, 1002.0, 1.0, 3, ERROR),
]
PAIRS = [("a", "result a"), ("b", "result b")]
BLOCK = Block(range(3), codec.encode_items(["a", "b", "c"]))


def make(path: Path, version: int = 1) -> None:
    """Write such a store, with one run: two results and a failure."""
    db = sqlite3.connect(path, isolation_level=None)
    later = (SCHEMA_2 if version >= 2 else "") + (SCHEMA_3 if version >= 3 else "")
    db.executescript(
        f"BEGIN; {SCHEMA} {later} PRAGMA application_id = {APPLICATION_ID}; "
        f"PRAGMA user_version = {version}; COMMIT;"
    )
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("BEGIN")
    run = (1, RUN.uid, RUN.task, RUN.computer, RUN.started, RUN.numitems, None, RUN.ended, RUN.outcome, 2)
    db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", run)
    encoded = [codec.encode(value) for _, value in PAIRS]
    if version < 3:
        for record, data in zip(RECORDS[:2], encoded, strict=True):
            about = (FIRST + record.index, record.process, record.started, record.seconds, data)
            db.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?)", about)
    else:  # each by its own process, and so each in a row of its own
        for record, data in zip(RECORDS[:2], encoded, strict=True):
            about = (FIRST + record.index, 1, record.process, record.started, record.seconds, None, data)
            db.execute("INSERT INTO packs VALUES (?, ?, ?, ?, ?, ?, ?)", about)
    db.execute("INSERT INTO attempts VALUES (?, 2)", (FIRST + 1,))
    failure = (FIRST + 2, 0, 1002.0, 1.0, 3, ERROR.kind, ERROR.type, ERROR.message, ERROR.traceback)
    db.execute("INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", failure)
    db.execute("INSERT INTO blocks VALUES (?, 3, NULL, ?, NULL, NULL, NULL)", (FIRST, BLOCK.payload))
    db.execute("COMMIT")
    db.close()
