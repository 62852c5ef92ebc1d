"""Steady tasks, each 5 ms of CPU: how much of the CPUs becomes work. Each result is stored on the disk."""

from typing import Any

import work

COUNT = 800
FULL_COUNT = 4_000
ROUNDS = 5
EACH = 5  # ms
BATCH = 50  # results in a transaction by hand, which is a tenth of a second of work


def bare(count: int, path: str, per_ms: int) -> None:
    """bare processes with equal shares"""
    work.bare(_items(count, per_ms), path)


def farmhand(count: int, path: str, per_ms: int) -> int:
    """farmhand, default settings, SQLite"""
    return work.farmhand(_items(count, per_ms), path)


def pool_each(count: int, path: str, per_ms: int) -> None:
    """Pool.imap_unordered, default, SQLite by hand, a transaction for each result"""
    work.pool(_items(count, per_ms), path, 1)


def pool(count: int, path: str, per_ms: int) -> None:
    """Pool.imap_unordered, default, SQLite by hand"""
    work.pool(_items(count, per_ms), path, BATCH)


def executor(count: int, path: str, per_ms: int) -> None:
    """ProcessPoolExecutor.map, default, SQLite by hand"""
    work.executor(_items(count, per_ms), path, BATCH)


def mpire(count: int, path: str, per_ms: int) -> None:
    """mpire imap_unordered, default, SQLite by hand"""
    work.mpire(_items(count, per_ms), path, BATCH)


def joblib(count: int, path: str, per_ms: int) -> None:
    """joblib, default (loky, unordered generator), SQLite by hand"""
    work.joblib(_items(count, per_ms), path, BATCH)


def pebble(count: int, path: str, per_ms: int) -> None:
    """pebble ProcessPool.map, default, SQLite by hand"""
    work.pebble(_items(count, per_ms), path, BATCH)


def _items(count: int, per_ms: int) -> list[work.Item]:
    return [(k, EACH * per_ms) for k in range(count)]


def prepare(count: int) -> int:
    return work.calibrate()


def figures(run: Any) -> dict[str, float]:
    return work.figures(run, EACH * run.count)


CONTENDERS = (bare, farmhand, pool_each, pool, executor, mpire, joblib, pebble)
BASELINE = bare
RATIOS = {"% of bare": work.WORK, "% without start and end": work.WORKING}
AIMS = {farmhand: "95 %"}

if __name__ == "__main__":
    from child import main

    main(globals())
