"""A stream: items from a generator, all results stored; memory of the parent, and of the whole tree."""

from typing import Any

import by_hand
import counted

COUNT = 1_000_000
FULL_COUNT = 10_000_000
ROUNDS = 1  # memory hardly varies
WATCH = True
CHUNK = 2_000  # as in tiny


def farmhand(count: int, path: str) -> list[int]:
    """farmhand, default settings, SQLite"""
    return _farmhand(count, path)


def farmhand_fork(count: int, path: str) -> list[int]:
    """farmhand, start_method='fork', SQLite"""
    return _farmhand(count, path, start_method="fork")


def pool(count: int, path: str) -> list[int]:
    """Pool.imap_unordered, chunksize=2000, SQLite by hand"""
    from multiprocessing import Pool

    items = counted.Items(count)
    with Pool() as pool:
        by_hand.store(path, pool.imap_unordered(counted.square_item, items, chunksize=CHUNK))
    return [items.ahead]


def mpire(count: int, path: str) -> list[int]:
    """mpire imap_unordered, chunk_size=2000, SQLite by hand"""
    from mpire import WorkerPool

    items = counted.Items(count)
    with WorkerPool() as pool:
        rows = pool.imap_unordered(counted.square_item, items, iterable_len=count, chunk_size=CHUNK)
        by_hand.store(path, rows)
    return [items.ahead]


def executor(count: int, path: str) -> list[int]:
    """ProcessPoolExecutor.map, chunksize=2000, SQLite by hand"""
    from concurrent.futures import ProcessPoolExecutor

    items = counted.Items(count)
    with ProcessPoolExecutor() as executor:
        by_hand.store(path, enumerate(executor.map(counted.square, items, chunksize=CHUNK)))
    return [items.ahead]


def pebble(count: int, path: str) -> list[int]:
    """pebble ProcessPool.map, chunksize=2000, SQLite by hand"""
    from pebble import ProcessPool

    items = counted.Items(count)
    with ProcessPool() as pool:
        by_hand.store(path, enumerate(pool.map(counted.square, items, chunksize=CHUNK).result()))
    return [items.ahead]


def _farmhand(count: int, path: str, **options: Any) -> list[int]:
    from farmhand import open_store, run_tasks

    items = counted.Items(count)
    with open_store(path) as store:
        run_tasks(store, counted.square, items, gui=False, **options)
        return [items.ahead, len(store)]


def check(run: Any) -> None:
    found = run.result[1] if len(run.result) == 2 else len(by_hand.stored(run.path))
    assert found == run.count, found


def figures(run: Any) -> dict[str, float]:
    most = max(look.processes for look in run.looks)
    working = [look for look in run.looks if look.processes == most]
    end = working[-1]
    second = next((look for look in run.looks if look.seconds >= 1), end)
    return {
        "parent at most, MiB": max(look.parent for look in run.looks),
        "after 1 s": second.parent,
        "at the end": end.parent,
        "tree at most, MiB": max(look.tree for look in run.looks),
        "tree after 1 s": second.tree,
        "tree at the end": end.tree,
        "read ahead, items": run.result[0],
        "whole process, s": run.process,
    }


CONTENDERS = (farmhand, farmhand_fork, pool, mpire, executor, pebble)
MORE_IS_BETTER = False
BASELINE = pool
AIMS = {farmhand: "parent < 40 MiB, both flat after 1 s"}

if __name__ == "__main__":
    from child import main

    main(globals())
