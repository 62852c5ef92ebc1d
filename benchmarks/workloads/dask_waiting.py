"""Tasks that wait for 10 ms, on a Dask cluster of two workers with four threads each: how much is used."""

from typing import Any

import on_dask

COUNT = 8_000
FULL_COUNT = 24_000
ROUNDS = 3
CLUSTER = (2, 4)  # workers, and threads of each
EACH = 10  # ms


def farmhand(count: int, path: str) -> int:
    """farmhand, executor='dask', SQLite"""
    return on_dask.farmhand(on_dask.wait, [(item,) for item in _items(count)], path)


def mapped(count: int, path: str) -> None:
    """client.map, as_completed, SQLite by hand, a transaction for all that have arrived"""
    on_dask.mapped(on_dask.wait, _items(count), path)


def joblib(count: int, path: str) -> None:
    """joblib, backend='dask', SQLite by hand, at the end"""
    on_dask.joblib(on_dask.wait, _items(count), path)


def _items(count: int) -> list[tuple[int, int]]:
    return [(k, EACH) for k in range(count)]


def figures(run: Any) -> dict[str, float]:
    return on_dask.used(run, EACH, CLUSTER[0] * CLUSTER[1])


CONTENDERS = (farmhand, mapped, joblib)
SLOW = {mapped: 2, joblib: 2}
BASELINE = None
AIMS = {farmhand: "95 %"}

if __name__ == "__main__":
    from child import main

    main(globals())
