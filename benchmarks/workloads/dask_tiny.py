"""Tiny tasks on a Dask cluster of two workers with a thread each: square ints, nothing but overhead."""

from typing import Any

import on_dask

COUNT = 100_000
FULL_COUNT = 1_000_000
ROUNDS = 3
CLUSTER = (2, 1)  # workers, and threads of each
CHUNK = 1_000


def square(k: int) -> int:
    return k * k


def square_item(k: int) -> tuple[int, int]:
    return k, k * k


def farmhand(count: int, path: str) -> int:
    """farmhand, executor='dask', SQLite"""
    return on_dask.farmhand(square, range(count), path)


def mapped(count: int, path: str) -> int:
    """client.map, as_completed, nothing stored"""
    return on_dask.mapped(square_item, range(count))


def mapped_stored(count: int, path: str) -> int:
    """client.map, as_completed, SQLite by hand, a transaction for all that have arrived"""
    return on_dask.mapped(square_item, range(count), path)


def mapped_each(count: int, path: str) -> int:
    """client.map, as_completed, SQLite by hand, a transaction for each result"""
    return on_dask.mapped_each(square_item, range(count), path)


def mapped_chunks(count: int, path: str) -> int:
    """client.map over chunks of 1000, as_completed, SQLite by hand"""
    return on_dask.mapped_chunks(square_item, range(count), path, CHUNK)


def joblib(count: int, path: str) -> int:
    """joblib, backend='dask', SQLite by hand, at the end"""
    return on_dask.joblib(square_item, range(count), path)


def bag(count: int, path: str) -> int:
    """dask.bag, SQLite by hand, at the end"""
    return on_dask.bag(square_item, range(count), path)


def check(run: Any) -> None:
    assert run.result == run.count, run.result


def figures(run: Any) -> dict[str, float]:
    return {"items/s": run.count / run.seconds, "call, s": run.seconds}


CONTENDERS = (farmhand, mapped, mapped_stored, mapped_each, mapped_chunks, joblib, bag)
SLOW = {mapped: 20, mapped_stored: 20, mapped_each: 20}
BASELINE = mapped_stored
AIMS = {farmhand: "ratio ≥ 20"}

if __name__ == "__main__":
    from child import main

    main(globals())
