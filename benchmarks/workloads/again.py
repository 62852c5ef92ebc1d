"""A second call in one script: four trivial items, all processes of its own; the first call beside it."""

import time
from collections.abc import Callable
from typing import Any

ROUNDS = 5


def four(k: int) -> int:
    return k * k


def farmhand() -> list[float]:
    """farmhand, default settings, SQLite"""
    return _farmhand()


def farmhand_fork() -> list[float]:
    """farmhand, start_method='fork', SQLite"""
    return _farmhand(start_method="fork")


def pool_spawn() -> list[float]:
    """multiprocessing.Pool, spawn, nothing stored"""
    return _pool("spawn")


def pool_fork() -> list[float]:
    """multiprocessing.Pool, fork, nothing stored"""
    return _pool("fork")


def executor() -> list[float]:
    """ProcessPoolExecutor, nothing stored"""

    def call() -> list[int]:
        from concurrent.futures import ProcessPoolExecutor

        with ProcessPoolExecutor() as executor:
            return list(executor.map(four, range(4)))

    return _twice(call)


def mpire() -> list[float]:
    """mpire, nothing stored"""

    def call() -> list[int]:
        from mpire import WorkerPool

        with WorkerPool() as pool:
            return pool.map(four, range(4))

    return _twice(call)


def joblib() -> list[float]:
    """joblib (loky, which keeps its processes), nothing stored"""

    def call() -> list[int]:
        from joblib import Parallel, delayed

        return list(Parallel(n_jobs=-1)(delayed(four)(k) for k in range(4)))

    return _twice(call)


def _farmhand(**options: Any) -> list[float]:
    def call() -> list[int]:
        from farmhand import open_store, run_tasks

        with open_store("results.db") as store:
            run_tasks(store, four, range(4), gui=False, **options)
            return sorted(store.values())[-4:]

    return _twice(call)


def _pool(method: str) -> list[float]:
    def call() -> list[int]:
        from multiprocessing import get_context

        with get_context(method).Pool() as pool:
            results = pool.map(four, range(4))
            pool.close()
            pool.join()
            return results

    return _twice(call)


def _twice(call: Callable[[], list[int]]) -> list[float]:
    """Milliseconds of the first call, with what it imports, and of the second."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        results = call()
        times.append(1e3 * (time.perf_counter() - start))
        assert max(results) == 9
    return times


def figures(run: Any) -> dict[str, float]:
    first, second = run.result
    return {"second call, ms": second, "first call, ms": first}


CONTENDERS = (farmhand, farmhand_fork, pool_spawn, pool_fork, executor, mpire, joblib)
BASELINE = pool_spawn
AIMS = {farmhand: "≤ first call", farmhand_fork: "≤ first call"}

if __name__ == "__main__":
    from child import main

    main(globals())
