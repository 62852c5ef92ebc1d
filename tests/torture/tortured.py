"""The farm that is killed, and what its items should come to; ``torture.py`` runs it as a script.

It is given a plan, as JSON: see ``torture.draw_plan``.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from farmhand import run_tasks
from farmhand.local.supervise import LocalExecutor
from farmhand.progress import Snapshot
from farmhand.store import RunInfo, Session, Turn
from farmhand_sqlite import SqliteStore

TOKEN = "FARMHAND_TORTURE"  # in the environment of all that belongs to one farm, and of nothing else
PLAN: dict[str, Any] = {}
_left: list[int] = []  # how often the moment of the kill must still come


# -- what is expected ------------------------------------------------------------------------------


def items_of(plan: dict[str, Any]) -> list[int]:
    return [item for item in range(plan["items"]) for _ in range(plan["copies"])]


def answer(plan: dict[str, Any], item: int) -> Any:
    """The result of an item that does not fail."""
    return item, item * item, "x" * (200_000 if item in plan["large"] else item % 50)


def kind_of_failure(plan: dict[str, Any], item: int) -> str:
    """How an item fails whenever it is run, ``''`` for one that is done in the end."""
    return "raised" if item in plan["raise"] else "died" if item in plan["exit"] else ""


def printed(item: int) -> str:
    return f"this is item {item}\n"


# -- the tasks -------------------------------------------------------------------------------------


def plain(item: int) -> Any:
    note("ran", f"{item}\n")
    if PLAN["prints"]:
        print(printed(item), end="")
    if item % 4 == 0:
        hang(PLAN["hang"])
    if item in PLAN["child"]:  # the number finds it, even the one that has lost its environment
        subprocess.Popen(["sleep", f"600.{os.environ[TOKEN]}"], env={} if item % 2 else None)
    if item in PLAN["exit"] or (item in PLAN["exit once"] and is_first(item)):
        sys.stdout.flush()
        os._exit(3)
    if item in PLAN["raise"] or (item in PLAN["raise once"] and is_first(item)):
        raise ValueError(item)
    time.sleep(PLAN["pace"])
    return answer(PLAN, item)


class Made:
    """The same as a class that is made once in each process."""

    def __init__(self, process_number: int) -> None:
        if process_number == 1:
            hang(PLAN["hang"])

    def __call__(self, item: int) -> Any:
        return plain(item)


def hang(how: str) -> None:
    """Be in a state in which no thread of this process can notice anything."""
    if how == "deaf":
        ctypes.PyDLL(None).sleep(600)  # and keep the interpreter's lock meanwhile
    elif how == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)


def is_first(item: int) -> bool:
    """Whether this is the first attempt at the item, in all rounds."""
    try:
        os.close(os.open(os.path.join(PLAN["folder"], f"once-{item}"), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def note(name: str, lines: str) -> None:
    """Append to a file of this round; what has been written survives a kill."""
    path = os.path.join(PLAN["folder"], f"{name}-{PLAN['round']}")
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, lines.encode())
    finally:
        os.close(file)


# -- the moments of a kill -------------------------------------------------------------------------


def moment(name: str) -> None:
    """End this process, as ``kill -9`` does, if the plan says that its time has come."""
    if PLAN["kill"] == name:
        _left[0] -= 1
        if _left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Watched(SqliteStore):
    """A store whose sessions tell what was stored, after it was."""

    def begin(self, run: RunInfo) -> Session:
        session = WatchedSession(super().begin(run), run.uid)
        moment("begun")
        return session


class WatchedSession(Session):
    def __init__(self, session: Session, run: str) -> None:
        self._session = session
        self._run = run

    def record(self, turn: Turn) -> None:
        moment("before a commit")
        self._session.record(turn)
        moment("after a commit")
        note("stored", "".join(f"{line}\n" for line in lines_of(self._run, turn)))
        moment("after the log")

    def close(self, outcome: str, ended: float) -> None:
        moment("before the close")
        self._session.close(outcome, ended)
        moment("after the close")


def lines_of(run: str, turn: Turn) -> list[str]:
    lines = [f"done {run} {index} 0" for record in turn.done for index in record.done.indices]
    for failed in turn.failed:
        status = "retried" if failed.again else "failed"
        lines.append(f"{status} {run} {failed.index} {failed.attempts if failed.again else 0}")
    return lines


class Executor(LocalExecutor):
    def start(self, number: int) -> None:
        moment("before a start")
        super().start(number)
        moment("after a start")

    def stop(self, number: int) -> None:
        super().stop(number)
        if PLAN["kill"] == "after a stop":
            time.sleep(0.03)  # as if the store were slow: the process has left, and is not yet buried
        moment("after a stop")


class Frontend:
    def show(self, snapshot: Snapshot) -> None:
        moment("snapshot")

    def controls(self) -> Sequence[Any]:
        return ()

    def close(self) -> None:
        pass


def trace_statements() -> None:
    """Make each SQL statement a moment, those that create the store too."""
    connect = sqlite3.connect

    def traced(*args: Any, **kwds: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwds)
        connection.set_trace_callback(lambda statement: moment("statement"))
        return connection

    sqlite3.connect = traced  # type: ignore[assignment]


def main() -> None:
    PLAN.update(json.loads(sys.argv[1]))
    _left.append(PLAN["kill number"])
    if PLAN["kill"] == "statement":
        trace_statements()
    os.close(PLAN["ready"])  # the other end sees it: the imports are over
    with Watched(os.path.join(PLAN["folder"], "results.db")) as store:
        summary = run_tasks(
            store,
            Made if PLAN["class"] else plain,
            items_of(PLAN),
            gui=False,
            poolsize=PLAN["processes"],
            progress=Frontend(),
            executor=Executor(),
            resume=True,
            errors="collect",
            start_method=PLAN["start method"],
            **PLAN["options"],
        )
    note("summary", json.dumps([summary.done, summary.failed, summary.skipped]))


if __name__ == "__main__":
    main()
