"""What an item costs the process that calls run_tasks, with every result stored: what one caller can carry.

``python benchmarks/caller.py`` measures processes of this computer and, where farmhand-dask is installed,
those of a Dask cluster on it, whose workers are processes of their own. Only the CPU time of the caller
counts, that of all its threads: of a run with more items beside one with fewer, so that nothing is left of
begin and end. Items are tiny, and come by the thousand in a message; or they take longer than a process
gathers results, and then each comes by itself, which costs most.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from farmhand import open_store, run_tasks

ROUNDS = 3


@dataclass(frozen=True)
class Kind:
    """Items of one kind, and in how many processes they run."""

    name: str
    seconds: float  # that an item sleeps
    size: int  # bytes of its result
    processes: int
    counts: tuple[int, int]  # items of the shorter and of the longer run


KINDS = (
    Kind("tiny, results of 100 bytes", 0.0, 100, 2, (100_000, 1_100_000)),
    Kind("alone, results of 1 kB", 0.03, 1_000, 32, (2_000, 12_000)),
    Kind("alone, results of 100 kB", 0.03, 100_000, 32, (2_000, 6_000)),
)


def work(item: int, seconds: float, size: int) -> bytes:
    """The task: it waits, so that one computer can play many."""
    if seconds:
        time.sleep(seconds)
    return bytes(size)


def busy(kind: Kind, count: int, folder: str, make_executor: Callable[[], Any]) -> float:
    """Seconds of CPU time of a run."""
    executor = make_executor()
    path = Path(folder, f"{time.monotonic_ns()}.db")
    task = partial(work, seconds=kind.seconds, size=kind.size)
    began = time.process_time()
    run_tasks(
        path, task, range(count), gui=False, progress="none", poolsize=kind.processes, executor=executor
    )
    took = time.process_time() - began
    with open_store(path) as store:
        assert len(store) == count, "a result is missing"
    return took


def cost(kind: Kind, make_executor: Callable[[], Any]) -> float:
    """Seconds of CPU time for each further item."""
    few, many = kind.counts
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            less, more = (busy(kind, count, folder, make_executor) for count in (few, many))
            costs.append((more - less) / (many - few))
    return median(costs)


def main() -> None:
    """Measure all kinds, and print them as Markdown."""
    with ExitStack() as stack:
        executors: dict[str, Callable[[], Any]] = {"of this computer": lambda: "local"}
        try:
            from distributed import Client, LocalCluster

            from farmhand_dask import DaskExecutor
        except ImportError:
            print("farmhand-dask is not installed: processes of this computer alone", file=sys.stderr)
        else:
            threads = max(kind.processes for kind in KINDS) // 2
            cluster = stack.enter_context(
                LocalCluster(n_workers=2, threads_per_worker=threads, dashboard_address=None)
            )
            executors["of a Dask cluster"] = partial(DaskExecutor, stack.enter_context(Client(cluster)))
        print("| items | processes | CPU of the caller, µs/item | items/s with one CPU |")
        print("| --- | --- | ---: | ---: |")
        for kind in KINDS:
            for name, make_executor in executors.items():
                seconds = cost(kind, make_executor)
                cells = [kind.name, f"{kind.processes} {name}", f"{1e6 * seconds:,.1f}"]
                print("|", " | ".join([*cells, f"{round(1 / seconds, -2):,.0f}"]), "|", flush=True)


if __name__ == "__main__":
    main()
