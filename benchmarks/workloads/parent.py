"""The parent's time with tiny tasks: for what it uses its CPU, and how much of the time it waits."""

# A signal for every so many milliseconds of CPU; its handler finds out what the parent was doing. What is
# imported and what is started come before the first item and are told apart.

import signal
import time
from collections import Counter
from types import FrameType
from typing import Any

COUNT = 500_000
FULL_COUNT = 2_000_000
ROUNDS = 3
INTERVAL = 0.001  # seconds of CPU, or as many as the system's clock allows

# The innermost function that is in this table says it: a part of its file's name, the beginning of its own
# (with the class), and what it does. The first line that fits counts.
DOES = (
    ("farmhand/local/supervise.py", "LocalExecutor.wait", "receive"),
    ("farmhand/local/supervise.py", "LocalExecutor._receive", "receive"),
    ("farmhand/local/supervise.py", "_event", "receive"),
    ("farmhand/local/frames.py", "FrameReader", "receive"),
    ("farmhand/local/frames.py", "pack", "send"),
    ("farmhand/local/supervise.py", "LocalExecutor.send", "send"),
    ("farmhand/local/supervise.py", "LocalExecutor._send", "send"),
    ("farmhand/local/supervise.py", "LocalExecutor.start", "start and end"),
    ("farmhand/local/supervise.py", "LocalExecutor.open", "start and end"),
    ("farmhand/local/supervise.py", "LocalExecutor.close", "start and end"),
    ("farmhand/local/launch.py", "", "start and end"),
    ("farmhand/scheduler.py", "", "decide"),
    ("farmhand/chunking.py", "", "decide"),
    ("farmhand_sqlite/store.py", "_SqliteSession", "store"),
    ("farmhand_sqlite/", "", "store"),
    ("farmhand/store.py", "", "store"),
    ("farmhand/feed.py", "Ledger.group", "send"),
    ("farmhand/feed.py", "Ledger.end", "store"),
    ("farmhand/feed.py", "Batch.blocks", "store"),
    ("farmhand/feed.py", "", "read items"),
    ("farmhand/codec.py", "", "read items"),
    ("farmhand/shipping.py", "", "read items"),
    ("farmhand/monitor.py", "", "show"),
    ("farmhand/outlook.py", "", "show"),
    ("farmhand/eta.py", "", "show"),
    ("farmhand/text.py", "", "show"),
    ("farmhand/farm.py", "_Farm._commit", "store"),
    ("farmhand/farm.py", "_Farm._send", "send"),
    ("farmhand/farm.py", "_Farm._read", "read items"),
    ("<frozen importlib", "", "start and end"),
    ("farmhand/", "", "other"),
)
KINDS = ("receive", "decide", "store", "send", "read items", "show", "start and end", "other")


def square(k: int) -> int:
    return k * k


def farmhand(count: int, path: str) -> list[Any]:
    """farmhand, default settings, SQLite"""
    return _sampled(count, path)


def farmhand_fork(count: int, path: str) -> list[Any]:
    """farmhand, start_method='fork', SQLite"""
    return _sampled(count, path, start_method="fork")


def _sampled(count: int, path: str, **options: Any) -> list[Any]:
    """What was seen how often, and seconds of CPU and of the clock."""
    from farmhand import open_store, run_tasks

    seen: Counter[str] = Counter()
    signal.signal(signal.SIGPROF, lambda number, frame: seen.update([what_it_does(frame)]))
    with open_store(path) as store:
        began, busy = time.perf_counter(), time.process_time()
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
        run_tasks(store, square, range(count), gui=False, **options)
        signal.setitimer(signal.ITIMER_PROF, 0)
        times = [time.process_time() - busy, time.perf_counter() - began]
        assert len(store) == count
    return [dict(seen), *times]


def what_it_does(frame: FrameType | None) -> str:
    """The kind of the innermost function that the table knows."""
    while frame is not None:
        code = frame.f_code
        for file, name, kind in DOES:
            if file in code.co_filename and code.co_qualname.startswith(name):
                return kind
        frame = frame.f_back
    return "other"


def figures(run: Any) -> dict[str, float]:
    seen, busy, seconds = run.result
    samples = sum(seen.values())
    shares = {f"{kind}, %": 100 * seen.get(kind, 0) / samples for kind in KINDS}
    return {
        "CPU, µs/item": 1e6 * busy / run.count,
        **shares,
        "waiting, % of the time": 100 * (1 - busy / seconds),
    }


CONTENDERS = (farmhand, farmhand_fork)
MORE_IS_BETTER = False
BASELINE = None

if __name__ == "__main__":
    from child import main

    main(globals())
