"""Runs of farmhand that show their progress, for the workloads that find out what it costs."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

RATIOS = {"time, %": "s", "CPU, %": "CPU, s"}


def run(task: Callable[..., Any], items: Iterable[Any], path: str, **options: Any) -> int:
    """How many results are stored then."""
    from farmhand import open_store, run_tasks

    with open_store(path) as store:
        run_tasks(store, task, items, **options)
        return len(store)


@contextlib.contextmanager
def terminal() -> Iterator[None]:
    """What is written to stderr goes to a terminal, whose other end is read."""
    other, ours = os.openpty()

    def read() -> None:
        with contextlib.suppress(OSError):  # closed
            while os.read(other, 65536):
                pass

    threading.Thread(target=read, daemon=True).start()
    before = sys.stderr
    with open(ours, "w") as sys.stderr:
        yield
    sys.stderr = before


def figures(run: Any) -> dict[str, float]:
    return {"s": run.seconds, "CPU, s": run.cpu}
