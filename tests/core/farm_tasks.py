"""Tasks and helpers that several test files share; the workers import it, so it imports little itself.

Tests wait for files, never for the clock: a task that shall still be running when something
happens waits for a file that the test makes afterwards. The deadlines only keep a broken farm
from hanging the tests.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from waiting import wait_for

FAST = {"gui": False, "progress": "none"}  # no frontend, whatever is installed


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody has waited for does not."""
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pids_in(folder: Path) -> list[int]:
    """The processes that have called :func:`write_pid`."""
    return [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]


def write_pid(folder: str | Path) -> None:
    Path(folder, str(os.getpid())).touch()


# -- tasks ---------------------------------------------------------------------------------------


def square(x: Any) -> Any:
    return x * x


def own_pid(x: Any) -> int:
    return os.getpid()


def leave_a_trace(folder: str) -> None:
    """Shows that a process ran a task, which in most tests of bad input none may do."""
    Path(folder, "trace").touch()


def touch_and_wait(name: str, gate: str) -> str:
    """Make the file ``name`` + '.begun', then wait for ``gate``."""
    Path(name + ".begun").touch()
    wait_for(gate)
    return name


def square_unless_odd(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x * x


def fail_until(folder: str, name: str, times: int) -> str:
    """Fails as often as is said, counting in files, then succeeds."""
    for attempt in range(times):
        try:
            Path(folder, f"{name}.{attempt}").touch(exist_ok=False)
        except FileExistsError:
            continue
        raise RuntimeError(f"{name}: attempt {attempt}")
    return name


def draw(x: Any, rng: Any) -> tuple[Any, list[int]]:
    return x, rng.integers(1 << 30, size=3).tolist()


def sleep_then_fail_or_return(number: int, seconds: float, failures: int, folder: str) -> tuple[int, float]:
    time.sleep(seconds)
    fail_until(folder, str(number), failures)
    return number, seconds


class Counting:
    """A class task whose instances know their process and count their items."""

    def __init__(self, start: int = 0, *, process_number: int) -> None:
        self.count = start
        self.process_number = process_number

    def __call__(self, x: Any) -> tuple[int, int, int]:
        self.count += 1
        return self.process_number, os.getpid(), self.count


class NoPickle:
    """An item that no process can be sent."""

    def __reduce__(self) -> Any:
        raise TypeError("NoPickle stays at home")


class NoUnpickle:
    """An item that is sent, and that no process can make again."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> Any:
    raise ValueError("NoUnpickle cannot be made again")


def die_if_negative(x: int) -> int:
    if x < 0:
        sys.stdout.flush()
        os._exit(-x)
    return x


def pair(x, y=None):
    """What it was given, also inside other values."""
    return x, [{"y": y}]
