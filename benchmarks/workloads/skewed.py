"""Skewed tasks, some much longer than others (lognormal): how near to the least time that is possible."""

# That least time is the total shared equally among the CPUs, or the longest task if that takes longer. Bare
# processes with shares that are equal, which nobody could know beforehand, take it on this machine.

import random
from typing import Any

import work

COUNT = 140  # a second of work for each of two CPUs
FULL_COUNT = 1_000
ROUNDS = 5
MEAN = 15  # ms
SIGMA = 1.5  # one task in a hundred takes ten times the mean, half of them less than a third of it
BATCH = 20  # results in a transaction by hand


def bare(count: int, path: str, per_ms: int) -> None:
    """bare processes with equal shares"""
    work.bare(_items(count, per_ms), path)


def farmhand(count: int, path: str, per_ms: int) -> int:
    """farmhand, default settings, SQLite"""
    return work.farmhand(_items(count, per_ms), path)


def pool(count: int, path: str, per_ms: int) -> None:
    """Pool.imap_unordered, default (one at a time), SQLite by hand"""
    work.pool(_items(count, per_ms), path, BATCH)


def executor(count: int, path: str, per_ms: int) -> None:
    """ProcessPoolExecutor.map, default (one at a time), SQLite by hand"""
    work.executor(_items(count, per_ms), path, BATCH)


def mpire(count: int, path: str, per_ms: int) -> None:
    """mpire imap_unordered, default, SQLite by hand"""
    work.mpire(_items(count, per_ms), path, BATCH)


def joblib(count: int, path: str, per_ms: int) -> None:
    """joblib, default (loky, unordered generator), SQLite by hand"""
    work.joblib(_items(count, per_ms), path, BATCH)


# the longest last, which is the worst for whoever makes chunks without looking


def farmhand_sorted(count: int, path: str, per_ms: int) -> int:
    """sorted: farmhand, default settings, SQLite"""
    return work.farmhand(_sorted(count, per_ms), path)


def pool_sorted(count: int, path: str, per_ms: int) -> None:
    """sorted: Pool.imap_unordered, default (one at a time), SQLite by hand"""
    work.pool(_sorted(count, per_ms), path, BATCH)


def pool_map_sorted(count: int, path: str, per_ms: int) -> None:
    """sorted: Pool.map, default (equal chunks), SQLite by hand"""
    work.pool_map(_sorted(count, per_ms), path, BATCH)


def joblib_sorted(count: int, path: str, per_ms: int) -> None:
    """sorted: joblib, default (loky, unordered generator), SQLite by hand"""
    work.joblib(_sorted(count, per_ms), path, BATCH)


def _durations(count: int) -> list[float]:
    """Milliseconds."""
    numbers = random.Random(1)
    mu = -(SIGMA**2) / 2
    drawn = [numbers.lognormvariate(mu, SIGMA) for _ in range(count)]
    return [MEAN * count * each / sum(drawn) for each in drawn]


def _items(count: int, per_ms: int) -> list[work.Item]:
    return [(k, round(duration * per_ms)) for k, duration in enumerate(_durations(count))]


def _sorted(count: int, per_ms: int) -> list[work.Item]:
    return sorted(_items(count, per_ms), key=lambda item: item[1])


def prepare(count: int) -> int:
    return work.calibrate()


def figures(run: Any) -> dict[str, float]:
    return work.figures(run, MEAN * run.count)


CONTENDERS = (
    bare,
    farmhand,
    pool,
    executor,
    mpire,
    joblib,
    farmhand_sorted,
    pool_sorted,
    pool_map_sorted,
    joblib_sorted,
)
BASELINE = bare
RATIOS = {"% of bound": work.WORK, "% without start and end": work.WORKING}
AIMS = {farmhand: "95 %", farmhand_sorted: "95 %"}

if __name__ == "__main__":
    from child import main

    main(globals())
