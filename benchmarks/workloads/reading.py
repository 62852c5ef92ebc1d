"""Reading: how many of a million small results are read in a second; and opening the store to count them."""

import os
import sqlite3
import subprocess
import sys
import time
from typing import Any

COUNT = 1_000_000
ROUNDS = 5

STATUS = """
import sys, time
start = time.perf_counter()
from farmhand import open_store
with open_store(sys.argv[1]) as store:
    counts = [store.counts(run.uid) for run in store.runs()]
    assert sum(each.done for each in counts) == len(store) == int(sys.argv[2])
print(time.perf_counter() - start)
"""


def square(k: int) -> int:
    return k * k


def bare(count: int, path: str) -> list[float]:
    """SELECT and pickle.loads, of the same rows"""
    from pickle import loads

    _fill(count, path)
    start = time.perf_counter()
    db, found = sqlite3.connect(path), 0
    for (payload,) in db.execute("SELECT payload FROM packs ORDER BY id"):
        values = loads(payload)
        for _ in values if type(values) is list else (values,):
            found += 1
    assert found == count
    return [time.perf_counter() - start]


def farmhand(count: int, path: str) -> list[float]:
    """farmhand, itervalues()"""
    from farmhand import open_store

    _fill(count, path)
    start = time.perf_counter()
    with open_store(path) as store:
        found = 0
        for _ in store.itervalues():
            found += 1
    seconds = time.perf_counter() - start
    assert found == count
    command = [sys.executable, "-c", STATUS, os.path.abspath(path), str(count)]
    return [seconds, float(subprocess.run(command, check=True, capture_output=True).stdout)]


def farmhand_items(count: int, path: str) -> list[float]:
    """farmhand, iteritems(), with keys"""
    from farmhand import open_store

    _fill(count, path)
    start = time.perf_counter()
    with open_store(path) as store:
        assert sum(1 for _ in store.iteritems()) == count
    return [time.perf_counter() - start]


def farmhand_records(count: int, path: str) -> list[float]:
    """farmhand, records(), which decode nothing"""
    from farmhand import open_store

    _fill(count, path)
    start = time.perf_counter()
    with open_store(path) as store:
        assert sum(1 for _ in store.records()) == count
    return [time.perf_counter() - start]


def view(count: int, path: str) -> list[float]:
    """SQL alone, all rows of the view of records"""
    _fill(count, path)
    start = time.perf_counter()
    db = sqlite3.connect(path)
    [(found,)] = db.execute("SELECT count(key) FROM records WHERE seconds >= 0")
    assert found == count
    return [time.perf_counter() - start]


def _fill(count: int, path: str) -> None:
    from farmhand import open_store, run_tasks

    with open_store(path) as store:
        run_tasks(store, square, range(count), gui=False, progress="none")


def figures(run: Any) -> dict[str, float]:
    seconds, *status = run.result
    more = {"open and count in a fresh process, ms": 1e3 * status[0]} if status else {}
    return {"results/s": run.count / seconds, "s": seconds, **more}


CONTENDERS = (bare, farmhand, farmhand_items, farmhand_records, view)
BASELINE = bare
AIMS = {farmhand: "≥ 0.67; ≤ 200 ms"}

if __name__ == "__main__":
    from child import main

    main(globals())
