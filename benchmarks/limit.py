"""How fast it could be: one process for each CPU, one pipe each, no promises.

What a farm needs at the least is here and nothing else: results pickled one by one in the workers, sent
in lists, and stored by the parent with many rows a statement under integer keys, one synced transaction
for whatever has arrived. There is no scheduler and no progress; items are not sent, recorded or timed;
and nothing may fail. It is the yardstick for farmhand, not a peer.
"""

import os
import pickle
import sqlite3
from collections.abc import Callable
from itertools import chain
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, cast

CHUNK = 1_000  # results in a message
ROWS = 100  # in a statement


def run(task: Callable[[int], Any], count: int, path: str) -> None:
    """Store ``task(k)`` for every k below ``count``."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE results (item INTEGER PRIMARY KEY, value BLOB)")
    context = get_context("fork")
    processes = len(os.sched_getaffinity(0))
    readers = {}
    for number in range(processes):
        share = range(count * number // processes, count * (number + 1) // processes)
        reader, writer = context.Pipe(duplex=False)
        context.Process(target=_work, args=(writer, task, share)).start()
        writer.close()
        readers[reader] = share
    while readers:
        flat: list[Any] = []
        for ready in wait(list(readers)):
            reader = cast("Connection", ready)
            try:
                values = pickle.loads(reader.recv_bytes())
            except EOFError:
                del readers[reader]
                continue
            flat += chain.from_iterable(zip(readers[reader], values, strict=False))
            readers[reader] = readers[reader][len(values) :]
        if flat:
            _store(db, flat)
    db.close()


def _work(writer: Connection, task: Callable[[int], Any], share: range) -> None:
    dumps = pickle.dumps
    for start in range(0, len(share), CHUNK):
        values = [dumps(task(k), 5) for k in share[start : start + CHUNK]]
        writer.send_bytes(dumps(values, 5))
    writer.close()


def _store(db: sqlite3.Connection, flat: list[Any]) -> None:
    one = "INSERT INTO results VALUES (?, ?)"
    many = one + ", (?, ?)" * (ROWS - 1)
    rest = len(flat) // (2 * ROWS) * 2 * ROWS
    db.execute("BEGIN")
    for start in range(0, rest, 2 * ROWS):
        db.execute(many, flat[start : start + 2 * ROWS])
    db.executemany(one, zip(*[iter(flat[rest:])] * 2, strict=True))
    db.execute("COMMIT")
