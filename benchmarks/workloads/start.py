"""Start: four trivial items, from the start of Python to its end, all processes gone."""

ROUNDS = 7


def four(k: int) -> int:
    return k * k


def bare() -> None:
    """bare Python"""


def farmhand() -> None:
    """farmhand, default settings, SQLite"""
    _farmhand("results.db")


def farmhand_memory() -> None:
    """farmhand, default settings, ':memory:'"""
    _farmhand(":memory:")


def farmhand_fork() -> None:
    """farmhand, start_method='fork', SQLite"""
    _farmhand("results.db", start_method="fork")


def farmhand_fork_memory() -> None:
    """farmhand, start_method='fork', ':memory:'"""
    _farmhand(":memory:", start_method="fork")


def pool_spawn() -> None:
    """multiprocessing.Pool, spawn, nothing stored"""
    _pool("spawn")


def pool_fork() -> None:
    """multiprocessing.Pool, fork, nothing stored"""
    _pool("fork")


def mpire() -> None:
    """mpire, default (fork), nothing stored"""
    from mpire import WorkerPool

    with WorkerPool() as pool:
        assert pool.map(four, range(4)) == [0, 1, 4, 9]


def mpire_spawn() -> None:
    """mpire, spawn, nothing stored"""
    from mpire import WorkerPool

    with WorkerPool(start_method="spawn") as pool:
        assert pool.map(four, range(4)) == [0, 1, 4, 9]


def joblib() -> None:
    """joblib, default (loky), nothing stored"""
    from joblib import Parallel, delayed

    assert Parallel(n_jobs=-1)(delayed(four)(k) for k in range(4)) == [0, 1, 4, 9]


def pebble() -> None:
    """pebble, default (fork), nothing stored"""
    from pebble import ProcessPool

    with ProcessPool() as pool:
        assert list(pool.map(four, range(4)).result()) == [0, 1, 4, 9]


def dask() -> None:
    """dask.distributed, a client of this machine, nothing stored"""
    from distributed import Client

    with Client(dashboard_address=None) as client:
        assert client.gather(client.map(four, range(4))) == [0, 1, 4, 9]


def ray() -> None:
    """ray, nothing stored"""
    import os

    os.environ["RAY_AUTH_MODE"] = "disabled"  # or it leaves a token in the home directory
    import ray

    ray.init(include_dashboard=False, log_to_driver=False)
    remote = ray.remote(four)
    assert ray.get([remote.remote(k) for k in range(4)]) == [0, 1, 4, 9]
    ray.shutdown()


def _farmhand(path: str, **options: str) -> None:
    from farmhand import open_store, run_tasks

    with open_store(path) as store:
        run_tasks(store, four, range(4), gui=False, **options)
        assert sorted(store.values()) == [0, 1, 4, 9]


def _pool(method: str) -> None:
    from multiprocessing import get_context

    with get_context(method).Pool() as pool:
        assert pool.map(four, range(4)) == [0, 1, 4, 9]
        pool.close()
        pool.join()


CONTENDERS = (
    bare,
    farmhand,
    farmhand_memory,
    farmhand_fork,
    farmhand_fork_memory,
    pool_spawn,
    pool_fork,
    mpire,
    mpire_spawn,
    joblib,
    pebble,
)
FULL_CONTENDERS = (dask, ray)
BASELINE = pool_spawn
AIMS = {farmhand: "ratio ≤ 1", farmhand_fork: f"≤ 1.3 times {pool_fork.__doc__}"}
FLOOR = bare

if __name__ == "__main__":
    from child import main

    main(globals())
