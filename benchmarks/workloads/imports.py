"""Import: from the start of Python to its end, with nothing between but imports."""

import sys

ROUNDS = 10


def bare() -> str:
    """bare Python"""
    return _numpy()


def farmhand() -> str:
    """import farmhand"""
    import farmhand  # noqa: F401

    return _numpy()


def farmhand_names() -> str:
    """from farmhand import run_tasks, open_store"""
    from farmhand import open_store, run_tasks  # noqa: F401

    return _numpy()


def farmhand_sqlite() -> str:
    """the same, and the SQLite store"""
    import farmhand_sqlite.store  # noqa: F401
    from farmhand import open_store, run_tasks  # noqa: F401

    return _numpy()


def pool() -> str:
    """import multiprocessing.pool"""
    import multiprocessing.pool  # noqa: F401

    return _numpy()


def executor() -> str:
    """from concurrent.futures import ProcessPoolExecutor"""
    from concurrent.futures import ProcessPoolExecutor  # noqa: F401

    return _numpy()


def mpire() -> str:
    """from mpire import WorkerPool"""
    from mpire import WorkerPool  # noqa: F401

    return _numpy()


def _numpy() -> str:
    return "numpy imported" if "numpy" in sys.modules else "no numpy"


CONTENDERS = (bare, farmhand, farmhand_names, farmhand_sqlite, pool, executor, mpire)
BASELINE = pool
FLOOR = bare

if __name__ == "__main__":
    from child import main

    main(globals())
