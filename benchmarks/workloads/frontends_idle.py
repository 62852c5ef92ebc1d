"""Frontends, 64 processes that sleep and report: the CPU time that the farm's own process takes."""

import sys
import threading
import time
from typing import Any

import shown

COUNT = 64  # processes, with an item each
ROUNDS = 3
BEFORE, LOOK, AFTER = 3.0, 5.0, 2.0  # seconds


def sleep(k: int, report: Any) -> int:
    steps = int((BEFORE + LOOK + AFTER) / 0.2)
    for step in range(steps):
        report(step / steps)  # bars that move
        time.sleep(0.2)
    return k


def looked_at(count: int, path: str, progress: str) -> float:
    """The milliseconds of CPU that this process, in which the farm is, takes in a second."""
    found = []

    def look() -> None:
        time.sleep(BEFORE)  # until all are there
        wall, cpu = time.monotonic(), time.process_time()
        time.sleep(LOOK)
        found.append(1e3 * (time.process_time() - cpu) / (time.monotonic() - wall))

    looking = threading.Thread(target=look)
    looking.start()
    options = {"poolsize": count, "start_method": "fork", "progress": progress}
    assert shown.run(sleep, range(count), path, **options) == count
    looking.join()
    return found[0]


def none(count: int, path: str) -> float:
    """progress='none'"""
    return looked_at(count, path, "none")


def text(count: int, path: str) -> float:
    """progress='text' on a terminal"""
    with shown.terminal():
        return looked_at(count, path, "text")


def rich(count: int, path: str) -> float:
    """progress='rich' on a terminal"""
    shown.need("farmhand_rich.frontend")
    with shown.terminal():
        return looked_at(count, path, "rich")


def tk(count: int, path: str) -> float:
    """progress='tk', on a display without a screen"""
    return looked_at(count, path, "tk:close")


def warm(count: int, path: str) -> None:
    if sys.argv[1] == "tk":
        shown.need("farmhand_tk.frontend")
        shown.need("tkinter")
        shown.display()


def figures(run: Any) -> dict[str, float]:
    return {"CPU, ms/s": run.result, "CPU of all processes, s": run.cpu}


CONTENDERS = (none, text, rich, tk)
MORE_IS_BETTER = False
BASELINE = None
FLOOR = none
AIMS = dict.fromkeys((text, rich, tk), "< 50 ms/s")

if __name__ == "__main__":
    from child import main

    main(globals())
