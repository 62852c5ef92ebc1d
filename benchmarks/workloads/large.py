"""Large results: arrays of 16 MiB, each on the disk before the call ends."""

import os
from collections.abc import Iterable
from typing import Any

COUNT = 64
ROUNDS = 3
SIZE = 16 << 20  # bytes


def array(k: int) -> Any:
    import numpy

    return numpy.full(SIZE // 8, k, float)


def array_item(k: int) -> tuple[int, Any]:
    return k, array(k)


def save(k: int) -> int:
    import numpy

    with open(f"{k}.npy", "wb") as file:
        numpy.save(file, array(k))
        file.flush()
        os.fsync(file.fileno())
    return k


def dump(k: int) -> int:
    import joblib

    with open(f"{k}.joblib", "wb") as file:
        joblib.dump(array(k), file)
        file.flush()
        os.fsync(file.fileno())
    return k


def warm(count: int, path: str) -> None:
    """Have the system's memory for files ready: to get it takes several times as long as to write there."""
    for k in range(count):
        with open(f"{k}.warm", "wb", buffering=0) as file:
            file.write(bytes(SIZE))
    for k in range(count):
        os.unlink(f"{k}.warm")


def write_and_sync(first: int, count: int, step: int) -> None:
    for k in range(first, count, step):
        with open(f"{k}.bytes", "wb", buffering=0) as file:
            file.write(array(k).data.cast("B"))
            os.fsync(file.fileno())


def bare(count: int, path: str) -> int:
    """two bare processes that write and sync files: what the disk can do"""
    from multiprocessing import Process

    processes = [Process(target=write_and_sync, args=(first, count, 2)) for first in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return count


def farmhand(count: int, path: str) -> int:
    """farmhand, default settings, SQLite"""
    from farmhand import open_store, run_tasks

    with open_store(path) as store:
        run_tasks(store, array, range(count), gui=False)
        return len(store)


def pool_blobs(count: int, path: str) -> int:
    """Pool.imap_unordered, SQLite by hand: a blob and a transaction for each array"""
    from multiprocessing import Pool

    import by_hand

    def rows(arrays: Iterable[tuple[int, Any]]) -> Iterable[tuple[int, Any]]:
        for k, values in arrays:
            yield k, values.data.cast("B")  # no copy

    with Pool() as pool:
        by_hand.store(path, rows(pool.imap_unordered(array_item, range(count))), batch=1)
    return count


def pool_files(count: int, path: str) -> int:
    """Pool.imap_unordered, numpy.save and fsync in the task"""
    from multiprocessing import Pool

    with Pool() as pool:
        return len(set(pool.imap_unordered(save, range(count))))


def joblib_files(count: int, path: str) -> int:
    """joblib, joblib.dump and fsync in the task"""
    from joblib import Parallel, delayed

    return len(set(Parallel(n_jobs=-1)(delayed(dump)(k) for k in range(count))))


def check(run: Any) -> None:
    folder = os.path.dirname(run.path)
    stored = sum(
        os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names
    )
    assert run.result == run.count, run.result
    assert stored >= run.count * SIZE, stored


def figures(run: Any) -> dict[str, float]:
    return {
        "MB/s": run.count * SIZE / 1e6 / run.seconds,
        "whole process, s": run.process,
        "CPU, s": run.cpu,
    }


CONTENDERS = (farmhand, bare, pool_files, joblib_files, pool_blobs)
BASELINE = bare
AIMS = {farmhand: "ratio ≥ 0.8"}

if __name__ == "__main__":
    from child import main

    main(globals())
