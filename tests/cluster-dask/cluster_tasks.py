"""Tasks of several test files: Dask's workers and farmhand's processes import it, so it imports little.

Tests wait for files: an item that is to be running when something happens says so with one, and goes
on when there is another.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

from waiting import wait_for, wait_until

FAST: dict[str, Any] = {"gui": False, "progress": "none"}  # no frontend, whatever is installed
MB = 1_000_000


def square(x: int) -> int:
    return x * x


def own_pid(_: Any) -> int:
    return os.getpid()


def say(folder: str | Path, name: str) -> None:
    Path(folder, name).touch()


def pids_in(folder: str | Path) -> list[int]:
    """The processes that have run an item of `gated` or `slow`."""
    return [int(path.name.removeprefix("pid")) for path in Path(folder).glob("pid*")]


def begun_in(folder: str | Path) -> set[int]:
    """The items of `gated` that have begun."""
    return {int(path.name.removeprefix("begun")) for path in Path(folder).glob("begun*")}


def begun_twice(folder: str | Path) -> list[int]:
    """The items of `slow` that have begun in more than one process."""
    counts = Counter(int(path.suffixes[0][1:]) for path in Path(folder).glob("slow.*"))
    return [index for index, count in counts.items() if count > 1]


def gated(index: int, folder: str) -> int:
    """Say that it has begun, then wait for the file ``gate``."""
    say(folder, f"pid{os.getpid()}")
    say(folder, f"begun{index}")
    wait_for(Path(folder, "gate"))
    return index


def slow(index: int, folder: str) -> tuple[int, int, int]:
    """An item of a twentieth of a second; where it has run: its process, and that of the Dask worker."""
    say(folder, f"pid{os.getpid()}")
    say(folder, f"slow.{index}.{os.getpid()}")
    time.sleep(0.05)
    return index, os.getpid(), os.getppid()


def parent(_: Any) -> int:
    return os.getppid()


def deadly(index: int, folder: str) -> tuple[int, int, int]:
    """Kills the Dask worker that its process is a child of, unless there is a folder."""
    if not folder:
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()  # it goes, too
    return slow(index, folder)


def draw(k: int, rng: Any) -> tuple[int, float, float]:
    """Of NumPy's numbers and of Python's."""
    return k, float(rng.random()), random.random()


def large(index: int, size: int) -> bytes:
    return bytes([index]) * size


def large_and_said(index: int, size: int, folder: str) -> bytes:
    say(folder, f"begun{index}")
    return large(index, size)


def deed(what: str, folder: str) -> str:
    """What is asked for: raises, dies, hangs, uses memory, prints, or is good."""
    say(folder, f"pid{os.getpid()}")
    if what == "raise":
        raise ValueError("as asked")
    if what == "die":
        os._exit(3)
    if what == "hang":
        child = subprocess.Popen(["sleep", "600"])
        say(folder, f"pid{child.pid}")
        wait_for(Path(folder, "never"))
    if what == "grow":
        data = [bytearray(os.urandom(1 << 20)) for _ in range(400)]
        wait_for(Path(folder, f"never{len(data)}"))
    if what == "print":
        print("moo")
    return what


def reporting(folder: str, report: Any) -> str:
    report.taskname = "milking"
    report.stage("the first half", 0, 0.5)
    report(0.5)
    wait_for(Path(folder, "gate"))
    return "milk"


class Counting:
    """A class task that knows the number of its process, and how many items it has had."""

    def __init__(self, start: int, *, process_number: int) -> None:
        self.count = start
        self.number = process_number

    def __call__(self, _: Any) -> tuple[int, int, int]:
        self.count += 1
        time.sleep(0.02)
        return self.number, os.getpid(), self.count


def device(folder: str) -> tuple[str, int]:
    """What the task of somebody who has one GPU on each worker sees; as many at once as there are."""
    say(folder, f"here{os.getpid()}")
    # both are at work before one of them ends: if there were more, they would have been, too
    wait_until(lambda: len(list(Path(folder).glob("here*"))) >= 2, "the other worker")
    time.sleep(0.05)
    return os.environ["CUDA_VISIBLE_DEVICES"], os.getpid()
