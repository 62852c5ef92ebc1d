"""Tasks that only compute, for a time that is known beforehand, and every way to run them on all CPUs.

A task is so many rounds of a loop. How many make a millisecond of CPU is found out once (``calibrate``); all
contenders then do the same work, however much of the CPUs others use meanwhile. What they are compared with
is bare processes, one for each CPU, that were forked with their share of the items.

Each result is when its task began and when it ended, so that the start of the processes can be left out.
"""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Item = tuple[int, int]  # its number, and how many rounds of the loop it takes
Span = tuple[float, float]  # when it began and ended

WORK, WORKING = "work, ms/s", "without start and end, ms/s"  # figures
_FEW = 100_000  # rounds of the loop


def spin(rounds: int) -> Span:
    """The task."""
    began = time.monotonic()
    x = 1
    for _ in range(rounds):
        x = x * 1_103_515_245 + 12_345 & 0x7FFF_FFFF
    return began, time.monotonic()  # the same clock in all processes


def spin_item(item: Item) -> tuple[int, str]:
    """The task as its peers want it: one argument, and a result that says what it belongs to."""
    k, rounds = item
    began, ended = spin(rounds)
    return k, f"{began} {ended}"  # as one column in SQLite


def calibrate() -> int:
    """How many rounds make a millisecond."""
    times = []
    for _ in range(50):
        start = time.thread_time()  # which stands still while others have the CPU
        spin(_FEW)
        times.append(time.thread_time() - start)
    return round(_FEW / (1e3 * sorted(times)[len(times) // 2]))


# -- contenders, for workloads to choose from; each stores every result on the disk ------------------


def bare(items: Sequence[Item], path: str) -> None:
    """Processes that were forked with shares of the work that are equal, and store only their spans."""
    shares: list[list[Item]] = [[] for _ in range(_cpus())]
    loads = [0] * len(shares)
    for item in sorted(items, key=lambda item: -item[1]):
        least = loads.index(min(loads))
        shares[least].append(item)
        loads[least] += item[1]
    children = []
    for number, share in enumerate(shares):
        pid = os.fork()
        if not pid:
            with open(f"{path}.{number}", "w") as file:
                file.writelines(f"{k} {span}\n" for k, span in map(spin_item, share))
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)


def farmhand(items: Sequence[Item], path: str) -> int:
    from farmhand import open_store, run_tasks

    with open_store(path) as store:
        run_tasks(store, spin_item, [(item,) for item in items], gui=False)  # or each is two arguments
        return len(store)


def pool(items: Sequence[Item], path: str, batch: int) -> None:
    from multiprocessing import Pool

    import by_hand

    with Pool() as pool:
        by_hand.store(path, pool.imap_unordered(spin_item, items), batch)


def pool_map(items: Sequence[Item], path: str, batch: int) -> None:
    from multiprocessing import Pool

    import by_hand

    with Pool() as pool:
        by_hand.store(path, pool.map(spin_item, items), batch)


def executor(items: Sequence[Item], path: str, batch: int) -> None:
    from concurrent.futures import ProcessPoolExecutor

    import by_hand

    with ProcessPoolExecutor() as executor:
        by_hand.store(path, executor.map(spin_item, items), batch)


def mpire(items: Sequence[Item], path: str, batch: int) -> None:
    import by_hand
    from mpire import WorkerPool

    with WorkerPool() as pool:
        by_hand.store(path, pool.imap_unordered(spin_item, [(item,) for item in items]), batch)  # as above


def joblib(items: Sequence[Item], path: str, batch: int) -> None:
    import by_hand
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=-1, return_as="generator_unordered")
    by_hand.store(path, parallel(delayed(spin_item)(item) for item in items), batch)


def pebble(items: Sequence[Item], path: str, batch: int) -> None:
    import by_hand
    from pebble import ProcessPool

    with ProcessPool() as pool:
        by_hand.store(path, pool.map(spin_item, items).result(), batch)


# -- what they did -----------------------------------------------------------------------------------


def figures(run: Any, busy: float) -> dict[str, float]:
    """How much of ``busy`` milliseconds of work was done in a second of the call, and of its working part."""
    spans = dict(_spans(run))
    assert sorted(spans) == list(range(run.count)), "some results are missing"
    began = min(began for began, _ in spans.values())
    ended = max(ended for _, ended in spans.values())
    return {
        WORK: busy / run.seconds,
        WORKING: busy / (ended - began),
        "CPU, s": run.cpu,
    }


def _spans(run: Any) -> Iterator[tuple[int, Span]]:
    rows: list[Any]
    if os.path.exists(f"{run.path}.0"):  # bare
        files = [Path(f"{run.path}.{number}") for number in range(_cpus())]
        rows = [line.split(maxsplit=1) for file in files for line in file.read_text().splitlines()]
    elif run.result is None:
        import by_hand

        rows = by_hand.stored(run.path)
    else:
        from farmhand import open_store

        with open_store(run.path) as store:
            rows = store.values()
    for k, span in rows:
        began, ended = span.split()
        yield int(k), (float(began), float(ended))


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
