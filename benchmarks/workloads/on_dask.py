"""Ways to run a task on the workers of a Dask cluster, which ``DASK_SCHEDULER_ADDRESS`` names.

They are written as Dask's documentation advises. What is stored by hand are bare values. The cluster is there
before any contender begins, so that what it takes to start it is nobody's.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import work

Row = tuple[int, Any]  # an item's number, and its result
Task = Callable[[Any], Row]


def farmhand(task: Callable[..., Any], items: Iterable[Any], path: str) -> int:
    from farmhand import open_store, run_tasks

    with open_store(path) as store:
        run_tasks(store, task, items, executor="dask", gui=False)
        return len(store)


def mapped(task: Task, items: Sequence[Any], path: str = "") -> int:
    """``client.map`` and ``as_completed``: what has arrived is stored in one transaction, if at all."""
    from distributed import Client, as_completed

    with Client() as client:
        results = as_completed(client.map(task, items, pure=False), with_results=True)
        return _keep(([row for _, row in batch] for batch in results.batches()), path)


def mapped_each(task: Task, items: Sequence[Any], path: str) -> int:
    """The same, but a transaction for each result."""
    from distributed import Client, as_completed

    with Client() as client:
        results = as_completed(client.map(task, items, pure=False), with_results=True)
        return _keep(([row] for _, row in results), path)


def mapped_chunks(task: Task, items: Sequence[Any], path: str, size: int) -> int:
    """``client.map`` over chunks of items: Dask has a task for each of these alone."""
    from distributed import Client, as_completed

    def run(chunk: Sequence[Any]) -> list[Row]:
        return [task(item) for item in chunk]

    with Client() as client:
        chunks = [items[first : first + size] for first in range(0, len(items), size)]
        results = as_completed(client.map(run, chunks, pure=False), with_results=True)
        return _keep((list(chain(*(rows for _, rows in batch))) for batch in results.batches()), path)


def joblib(task: Task, items: Sequence[Any], path: str) -> int:
    """joblib with its Dask backend, which makes its own chunks."""
    from distributed import Client
    from joblib import Parallel, delayed, parallel_config

    with Client(), parallel_config(backend="dask"):
        return _keep([Parallel()(delayed(task)(item) for item in items)], path)


def bag(task: Task, items: Sequence[Any], path: str) -> int:
    """``dask.bag``, with as many partitions as it makes by itself."""
    from dask import bag
    from distributed import Client

    with Client():
        return _keep([bag.from_sequence(items).map(task).compute()], path)


def _keep(batches: Iterable[list[Row]], path: str) -> int:
    """Store what comes, a transaction for each batch; without a path only count it."""
    if not path:
        return sum(map(len, batches))
    import by_hand

    count = 0
    with by_hand.connect(path) as db:
        for rows in batches:
            db.execute("BEGIN")
            db.executemany("INSERT INTO results VALUES (?, ?)", rows)
            db.execute("COMMIT")
            count += len(rows)
    db.close()
    return count


# -- tasks that only wait, so that there can be more of them than there are CPUs ------------------------


def wait(item: tuple[int, int]) -> tuple[int, str]:
    """The task: for so many milliseconds. Its result is that of :func:`work.spin_item`."""
    k, milliseconds = item
    began = time.monotonic()
    time.sleep(milliseconds / 1e3)
    return k, f"{began} {time.monotonic()}"


def used(run: Any, each: int, slots: int) -> dict[str, float]:
    """How much of the workers' time was used by tasks that take ``each`` milliseconds."""
    done = work.figures(run, each * run.count)
    percent = 10 * slots  # ms that the workers have in a second, a hundredth of them
    return {
        "% of the workers' time": done[work.WORK] / percent,
        "% without start and end": done[work.WORKING] / percent,
        "call, s": run.seconds,
    }
