"""Resume: the same call again, when every item has its result already: how many are skipped in a second."""

import time
from typing import Any

COUNT = 300_000
FULL_COUNT = 1_000_000


def square(k: int) -> int:
    return k * k


def farmhand(count: int, path: str) -> float:
    """farmhand, SQLite, resume=True"""
    return _farmhand(count, path, range(count))


def farmhand_tuples(count: int, path: str) -> float:
    """the same, items that are tuples of a str and a float"""
    return _farmhand(count, path, [(f"item {k}", k / 2) for k in range(count)])


def joblib_memory(count: int, path: str) -> float:
    """joblib.Memory, every call once more in one process"""
    import joblib

    cached = joblib.Memory("cache", verbose=0).cache(square)
    for k in range(count):
        cached(k)
    start = time.perf_counter()
    assert sum(cached(k) for k in range(count)) == sum(k * k for k in range(count))
    return time.perf_counter() - start


def nothing(name: str, number: float) -> None:
    pass


def _farmhand(count: int, path: str, items: Any) -> float:
    from farmhand import open_store, run_tasks

    task = square if isinstance(items, range) else nothing
    with open_store(path) as store:
        run_tasks(store, task, items, gui=False)
    start = time.perf_counter()
    with open_store(path) as store:
        summary = run_tasks(store, task, items, gui=False, resume=True)
    assert (summary.skipped, summary.done) == (count, 0)
    return time.perf_counter() - start


def figures(run: Any) -> dict[str, float]:
    return {"items skipped/s": run.count / run.result, "s": run.result}


CONTENDERS = (farmhand, farmhand_tuples, joblib_memory)
SLOW = {joblib_memory: 300}
BASELINE = farmhand
AIMS = {farmhand: "300 000"}

if __name__ == "__main__":
    from child import main

    main(globals())
