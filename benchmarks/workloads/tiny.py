"""Tiny tasks: square ints, nothing but overhead. By hand or by farmhand, "SQLite" is synced to disk."""

# Each function is one contender, timed from before it imports its library to after its last result is
# stored; its docstring is its name in the table. They are written as a good engineer would who has read the
# documentation and tried some sizes. What is stored by hand is the bare int, which is less than farmhand
# keeps (any result, pickled, with its item, its process, its start and its duration).

import os
import sys
from typing import Any

COUNT = 100_000
FULL_COUNT = 1_000_000
ROUNDS = 5
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

    import by_hand

    with ProcessPoolExecutor() as executor:
        by_hand.store(path, enumerate(executor.map(square, range(count), chunksize=CHUNK)))


def executor_default_stored(count: int, path: str) -> None:
    """ProcessPoolExecutor.map, default, SQLite by hand"""
    from concurrent.futures import ProcessPoolExecutor

    import by_hand

    with ProcessPoolExecutor() as executor:
        by_hand.store(path, enumerate(executor.map(square, range(count))))


def pool_stored(count: int, path: str) -> None:
    """Pool.imap_unordered, chunksize=2000, SQLite by hand"""
    from multiprocessing import Pool

    import by_hand

    with Pool() as pool:
        by_hand.store(path, pool.imap_unordered(square_item, range(count), chunksize=CHUNK))


def pool_default_stored(count: int, path: str) -> None:
    """Pool.imap_unordered, default, SQLite by hand"""
    from multiprocessing import Pool

    import by_hand

    with Pool() as pool:
        by_hand.store(path, pool.imap_unordered(square_item, range(count)))


def mpire_stored(count: int, path: str) -> None:
    """mpire imap_unordered, chunk_size=2000, SQLite by hand"""
    import by_hand
    from mpire import WorkerPool

    with WorkerPool() as pool:
        by_hand.store(path, pool.imap_unordered(square_item, _as_mpire_wants(count), chunk_size=CHUNK))


def joblib_stored(count: int, path: str) -> None:
    """joblib, default (loky, generator), SQLite by hand"""
    import by_hand
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=-1, return_as="generator")
    by_hand.store(path, enumerate(parallel(delayed(square)(k) for k in range(count))))


def pebble_stored(count: int, path: str) -> None:
    """pebble ProcessPool.map, chunksize=2000, SQLite by hand"""
    import by_hand
    from pebble import ProcessPool

    with ProcessPool() as pool:
        by_hand.store(path, enumerate(pool.map(square, range(count), chunksize=CHUNK).result()))


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


def joblib(count: int, path: str) -> int:
    """joblib, default (loky), nothing stored"""
    from joblib import Parallel, delayed

    return sum(Parallel(n_jobs=-1)(delayed(square)(k) for k in range(count)))


# -- what they share ---------------------------------------------------------------------------------


def _farmhand(count: int, path: str, **options: Any) -> int:
    from farmhand import open_store, run_tasks

    with open_store(path) as results:
        run_tasks(results, square, range(count), gui=False, **options)
        return len(results)


def _as_mpire_wants(count: int) -> list[int]:
    return list(range(count))  # mpire puts a range into one pickle for each of its chunks as well


# -- for the harness ---------------------------------------------------------------------------------


def check(run: Any) -> None:
    """Raise unless a contender did its work."""
    total = sum(k * k for k in range(run.count))
    if not os.path.exists(run.path):
        assert run.result in (run.count, total), run.result
    elif run.result is None:  # stored by hand
        import sqlite3

        db = sqlite3.connect(run.path)
        rows = db.execute("SELECT count(*), min(item), max(item) FROM results").fetchone()
        db.close()
        assert rows == (run.count, 0, run.count - 1), rows
    else:
        from farmhand import open_store

        with open_store(run.path) as results:
            assert len(results) == run.count
            assert sum(results.itervalues()) == total


CONTENDERS = (
    farmhand,
    farmhand_fork,
    limit,
    pool_stored,
    executor_stored,
    joblib_stored,
    pebble_stored,
    mpire_stored,
    pool_default_stored,
    executor_default_stored,
    farmhand_memory,
    pool,
    joblib,
    mpire,
    pool_default,
)
SLOW = {pool_default_stored: 10, executor_default_stored: 50, pool_default: 10}
BASELINE = pool_stored
AIMS = {farmhand: "ratio ≥ 2"}

if __name__ == "__main__":
    from child import main

    main(globals())
