"""Tiny tasks: square ints, nothing but overhead. By hand or by farmhand, "SQLite" is synced to disk."""

# Each function is one contender, timed from before it imports its library to after its last result is
# stored; its docstring is its name in the table. They are written as a good engineer would who has read the
# documentation and tried some sizes. What is stored by hand is the bare int, which is less than farmhand
# keeps (any result, pickled, with its item, its process, its start and its duration).

import os
import sys
from collections.abc import Iterable, Iterator

COUNT = 100_000
FULL_COUNT = 1_000_000
BATCH = 5_000  # rows in a transaction by hand; 20 000 made no difference
CHUNK = 2_000  # items; from 1 000 to 16 000 made no difference to any peer, 500 and less is slower


def square(k: int) -> int:
    return k * k


def square_item(k: int) -> tuple[int, int]:
    return k, k * k  # where results come in any order, each must say what it belongs to


# -- durable -----------------------------------------------------------------------------------------


def farmhand(count: int, path: str) -> int:
    """farmhand, default settings, SQLite"""
    return _farmhand(count, path)


def farmhand_fork(count: int, path: str) -> int:
    """farmhand, start_method='fork', SQLite"""
    return _farmhand(count, path, start_method="fork")


def executor_stored(count: int, path: str) -> None:
    """ProcessPoolExecutor.map, chunksize=2000, SQLite by hand"""
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor() as executor:
        store(path, enumerate(executor.map(square, range(count), chunksize=CHUNK)))


def pool_stored(count: int, path: str) -> None:
    """Pool.imap_unordered, chunksize=2000, SQLite by hand"""
    from multiprocessing import Pool

    with Pool() as pool:
        store(path, pool.imap_unordered(square_item, range(count), chunksize=CHUNK))


def pool_default_stored(count: int, path: str) -> None:
    """Pool.imap_unordered, default, SQLite by hand"""
    from multiprocessing import Pool

    with Pool() as pool:
        store(path, pool.imap_unordered(square_item, range(count)))


def mpire_stored(count: int, path: str) -> None:
    """mpire imap_unordered, chunk_size=2000, SQLite by hand"""
    from mpire import WorkerPool

    with WorkerPool() as pool:
        store(path, pool.imap_unordered(square_item, _as_mpire_wants(count), chunk_size=CHUNK))


def limit(count: int, path: str) -> None:
    """the limit: benchmarks/limit.py, fork"""
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from limit import run

    run(square, count, path)


# -- nothing stored ----------------------------------------------------------------------------------


def farmhand_memory(count: int, path: str) -> int:
    """farmhand, default settings, ':memory:'"""
    return _farmhand(count, ":memory:")


def pool(count: int, path: str) -> int:
    """Pool.imap_unordered, chunksize=2000, nothing stored"""
    from multiprocessing import Pool

    with Pool() as pool:
        return sum(pool.imap_unordered(square, range(count), chunksize=CHUNK))


def pool_default(count: int, path: str) -> int:
    """Pool.imap_unordered, default, nothing stored"""
    from multiprocessing import Pool

    with Pool() as pool:
        return sum(pool.imap_unordered(square, range(count)))


def mpire(count: int, path: str) -> int:
    """mpire imap_unordered, default, nothing stored"""
    from mpire import WorkerPool

    with WorkerPool() as pool:
        return sum(pool.imap_unordered(square, _as_mpire_wants(count)))


# -- what they share ---------------------------------------------------------------------------------


def _farmhand(count: int, path: str, **options: str) -> int:
    from farmhand import open_store, run_tasks

    with open_store(path) as results:
        run_tasks(results, square, range(count), gui=False, **options)
        return len(results)


def _as_mpire_wants(count: int) -> list[int]:
    return list(range(count))  # mpire puts a range into one pickle for each of its chunks as well


def store(path: str, rows: Iterable[tuple[int, int]]) -> None:
    """SQLite by hand: write-ahead log, integer key, a synced transaction for every few thousand rows."""
    import sqlite3

    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE results (item INTEGER PRIMARY KEY, value INTEGER)")
    for batch in _batches(iter(rows)):
        db.execute("BEGIN")
        db.executemany("INSERT INTO results VALUES (?, ?)", batch)
        db.execute("COMMIT")
    db.close()


def _batches(rows: Iterator[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    from itertools import islice

    while batch := list(islice(rows, BATCH)):
        yield batch


# -- for the harness ---------------------------------------------------------------------------------


def check(count: int, path: str, result: str) -> None:
    """Raise unless a contender did its work; ``result`` is what it returned."""
    import sqlite3

    total = sum(k * k for k in range(count))
    if not os.path.exists(path):
        assert int(result) in (count, total), result
    elif result == "None":  # stored by hand
        db = sqlite3.connect(path)
        assert db.execute("SELECT count(*) FROM results").fetchone()[0] == count
        db.close()
    else:
        from farmhand import open_store

        with open_store(path) as results:
            assert sum(results.itervalues()) == total


CONTENDERS = (
    farmhand,
    farmhand_fork,
    limit,
    pool_stored,
    executor_stored,
    mpire_stored,
    pool_default_stored,
    farmhand_memory,
    pool,
    mpire,
    pool_default,
)
BASELINE = pool_stored

if __name__ == "__main__":
    from child import main

    main(globals())
