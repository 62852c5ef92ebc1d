"""Steady tasks on a Dask cluster of two workers with a thread each, 10 ms of CPU: how much becomes work."""

from typing import Any

import on_dask
import work

COUNT = 1_000
FULL_COUNT = 6_000
ROUNDS = 3
CLUSTER = (2, 1)
EACH = 10  # ms


def bare(count: int, path: str, per_ms: int) -> None:
    """bare processes with equal shares, without Dask"""
    work.bare(_items(count, per_ms), path)


def farmhand(count: int, path: str, per_ms: int) -> int:
    """farmhand, executor='dask', SQLite"""
    return on_dask.farmhand(work.spin_item, [(item,) for item in _items(count, per_ms)], path)


def mapped(count: int, path: str, per_ms: int) -> None:
    """client.map, as_completed, SQLite by hand, a transaction for all that have arrived"""
    on_dask.mapped(work.spin_item, _items(count, per_ms), path)


def joblib(count: int, path: str, per_ms: int) -> None:
    """joblib, backend='dask', SQLite by hand, at the end"""
    on_dask.joblib(work.spin_item, _items(count, per_ms), path)


def _items(count: int, per_ms: int) -> list[work.Item]:
    return [(k, EACH * per_ms) for k in range(count)]


def prepare(count: int) -> int:
    return work.calibrate()


def figures(run: Any) -> dict[str, float]:
    return {name: value for name, value in work.figures(run, EACH * run.count).items() if "CPU" not in name}


CONTENDERS = (bare, farmhand, mapped, joblib)
BASELINE = bare
RATIOS = {"% of bare": work.WORK, "% without start and end": work.WORKING}
AIMS = {farmhand: "95 %"}

if __name__ == "__main__":
    from child import main

    main(globals())
