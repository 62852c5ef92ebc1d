"""Watches from outside what memory a process and all that it started have in use. Linux only."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

INTERVAL = 0.1  # seconds; a look takes about a millisecond
_MIB = 1 << 20


@dataclass
class Look:
    """Resident memory in MiB at one moment; what processes share is counted for each."""

    seconds: float  # since the process was started
    parent: float
    tree: float
    processes: int


class Watch(threading.Thread):
    """A context in which a process is looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.looks: list[Look] = []
        self._pid = pid
        self._began = time.perf_counter()
        self._over = threading.Event()

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(INTERVAL):
            tree = family(self._pid)
            sizes = [resident(pid) for pid in tree]
            if sizes and sizes[0]:
                seconds = time.perf_counter() - self._began
                self.looks.append(Look(seconds, sizes[0], sum(sizes), len(tree)))


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for member in found:  # which grows meanwhile
        for thread in _listed(f"/proc/{member}/task"):
            with contextlib.suppress(OSError):
                found += map(int, Path(f"/proc/{member}/task/{thread}/children").read_text().split())
    return found


def resident(pid: int) -> float:
    """MiB, 0 if it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGESIZE") / _MIB


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []
