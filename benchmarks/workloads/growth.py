"""Growth: what an item costs, in time and on the disk, the more there are. Ints squared, default settings."""

import os
import time
from statistics import median
from typing import Any

ROUNDS = 3


def square(k: int) -> int:
    return k * k


def farmhand() -> list[float]:
    """10 000 items"""
    return _cost(10_000, times=5)  # for one is over so soon that its start is most of it


def farmhand_100_000() -> list[float]:
    """100 000 items"""
    return _cost(100_000)


def farmhand_1_000_000() -> list[float]:
    """1 000 000 items"""
    return _cost(1_000_000)


def farmhand_10_000_000() -> list[float]:
    """10 000 000 items"""
    return _cost(10_000_000)


def _cost(count: int, times: int = 1) -> list[float]:
    """Microseconds and bytes for each item, beyond those of a call with four items."""
    _call(4, "first.db")  # imports what it needs
    few = median(_call(4, f"few{number}.db") for number in range(5))
    seconds = median(_call(count, f"many{number}.db") for number in range(times)) - few
    size = os.path.getsize("many0.db") - os.path.getsize("few0.db")
    return [1e6 * seconds / count, size / count]


def _call(count: int, path: str) -> float:
    from farmhand import open_store, run_tasks

    start = time.perf_counter()
    with open_store(path) as store:
        run_tasks(store, square, range(count), gui=False)
        assert len(store) == count
    return time.perf_counter() - start


def figures(run: Any) -> dict[str, float]:
    time_each, size_each = run.result
    return {"µs/item": time_each, "bytes/item": size_each, "whole process, s": run.process}


CONTENDERS = (farmhand, farmhand_100_000, farmhand_1_000_000)
FULL_CONTENDERS = (farmhand_10_000_000,)
BASELINE = farmhand_100_000
RATIOS = {"time, ratio": "µs/item", "bytes, ratio": "bytes/item"}
AIMS = dict.fromkeys((farmhand_1_000_000, farmhand_10_000_000), "both ratios ≤ 1.1")

if __name__ == "__main__":
    from child import main

    main(globals())
