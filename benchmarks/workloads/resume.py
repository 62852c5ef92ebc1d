"""Resume: the same call again, when every item has its result already: how many are skipped in a second."""

import time
from typing import Any

COUNT = 300_000
FULL_COUNT = 1_000_000
ROUNDS = 5


def square(k: int) -> int:
    return k * k


def farmhand(count: int, path: str) -> float:
    """farmhand, SQLite, resume=True"""
    from farmhand import open_store, run_tasks

    with open_store(path) as store:
        run_tasks(store, square, range(count), gui=False)
    start = time.perf_counter()
    with open_store(path) as store:
        summary = run_tasks(store, square, range(count), gui=False, resume=True)
    assert (summary.skipped, summary.done) == (count, 0)
    return time.perf_counter() - start


def joblib_memory(count: int, path: str) -> float:
    """joblib.Memory, every call once more in one process"""
    import joblib

    cached = joblib.Memory("cache", verbose=0).cache(square)
    for k in range(count):
        cached(k)
    start = time.perf_counter()
    assert sum(cached(k) for k in range(count)) == sum(k * k for k in range(count))
    return time.perf_counter() - start


def figures(run: Any) -> dict[str, float]:
    return {"items skipped/s": run.count / run.result, "s": run.result}


CONTENDERS = (farmhand, joblib_memory)
SLOW = {joblib_memory: 300}
BASELINE = farmhand
AIMS = {farmhand: "300 000"}

if __name__ == "__main__":
    from child import main

    main(globals())
