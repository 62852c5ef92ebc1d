"""Tasks for runs whose store fails; the processes of a farm import this module.

Each makes an empty file of the name of its process in ``folder``, so that a test knows which
processes there were.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import psutil

from waiting import DEADLINE, wait_for, wait_until

QUIET = {"gui": False, "progress": "none", "poolsize": 2}


def processes_of(folder: Path) -> list[int]:
    """The processes that have run a task."""
    return [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]


def are_gone(folder: Path) -> bool:
    """Whether no process that has run a task is alive."""
    alive = [psutil.Process(pid) for pid in processes_of(folder) if psutil.pid_exists(pid)]
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in alive)


class Long:
    """Returns the item with some thousand bytes; from item 20 on it waits until something is stored.

    Else a farm that is held up might store all of them in one transaction. At item 20 something is done to
    the store.
    """

    def __init__(
        self, folder: str, harm: Callable[[str, str], None] | None = None, location: str = ""
    ) -> None:
        self.folder = folder
        self.harm = harm
        self.location = location
        self.stored = False

    def __call__(self, item: int) -> tuple[int, str]:
        Path(self.folder, str(os.getpid())).touch()
        if item >= 20 and self.location and not self.stored:
            wait_until(lambda: has_results(self.location), "the first results")
            self.stored = True
        if item == 20 and self.harm is not None:
            self.harm(self.location, self.folder)
        return item, "x" * 5000


def has_results(location: str) -> bool:
    """Whether something is stored already."""
    db = sqlite3.connect(f"file:{location}?mode=ro", uri=True)
    try:
        return bool(db.execute("SELECT count(*) FROM packs").fetchone()[0])
    finally:
        db.close()


# -- what may happen to a store, in the middle of a run ----------------------------------------------


def delete(location: str, folder: str) -> None:
    os.unlink(location)


def replace(location: str, folder: str) -> None:
    """Put a copy of itself into its place, and keep another copy."""
    shutil.copy(location, location + ".copy")
    shutil.copy(location, location + ".new")
    os.replace(location + ".new", location)


def delete_wal(location: str, folder: str) -> None:
    os.unlink(location + "-wal")


def lock(location: str, folder: str) -> None:
    """Have another process lock the store, which is to run :func:`lock_when_asked`."""
    Path(folder, "lock").touch()
    wait_for(Path(folder, "locked"))


def lock_when_asked(location: str, folder: str) -> None:
    """Keep the store locked until the end of this process."""
    wait_for(Path(folder, "lock"))
    db = sqlite3.connect(location, isolation_level=None, timeout=DEADLINE)
    db.execute("BEGIN IMMEDIATE")
    Path(folder, "locked").touch()
    signal.pause()


def break_locks(location: str, folder: str) -> None:
    """From now on ``broken_locks.c`` breaks what it shall break."""
    Path(folder, "now").touch()


def meet(mine: str, other: str, item: int) -> int:
    """Two farms that wait for each other's first item are at work at the same time."""
    Path(mine).touch()
    wait_for(other)
    return item


def find_rate(item: str) -> str:
    return f"new result {item}"
