"""Brian 1.4's task farm: ``from brian.tools.taskfarm import run_tasks``.

It is :func:`farmhand.run_tasks`, printing what Brian printed, with Brian's arguments alone.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import farmhand
from farmhand.arguments import frontends_for
from farmhand.events import Control
from farmhand.plugins import Plugins
from farmhand.progress import ProcessView, Snapshot
from farmhand.text import News
from farmhand.wording import percent, printable, progress_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import IO, Any, Literal

__all__ = ["run_tasks"]

_MANY = 100  # lines of one moment: of more items than these, only the last one has its own
_REST = 1.0  # seconds between two messages on an item: simulations are looked at far more often than in 2011


def run_tasks(
    dataman: farmhand.DataManager | str | os.PathLike[str],
    task: Callable[..., Any],
    items: Iterable[Any],
    gui: bool | Literal["stay", "close", "wait"] = True,
    poolsize: int = 0,
    initargs: Sequence[Any] | None = None,
    initkwds: Mapping[str, Any] | None = None,
    verbose: bool | None = None,
    numitems: int | None = None,
) -> None:
    """Run a task on many items, on all CPUs, and store every result as it finishes.

    As :func:`farmhand.run_tasks`, which has more arguments and returns how it went.

    Parameters
    ----------
    dataman : DataManager
        Where results go, under keys that mean nothing: read them with ``dataman.values()``.
    task : function or class
        Called with each item; a class is made once in each process, and then called. Where it takes
        ``report``, it is given what ``run(..., report=report)`` of Brian 2 takes.
    items : iterable
        A tuple becomes the positional arguments, anything else is one argument.
    gui : bool
        Show a window, where farmhand-tk is installed and there is a display; otherwise warn once and
        show text. Without it, print how far all is whenever an item has ended.
    poolsize : int
        How many processes; 0: one for each CPU, -1: all but one, ...
    initargs, initkwds
        For a class, the arguments of its ``__init__``, beside ``process_number`` where it takes that.
    verbose : bool, optional
        Print every progress message; by default only without a window.
    numitems : int, optional
        The length of ``items``, where it has none, so that the time remaining can be estimated.

    Raises
    ------
    farmhand.TasksFailed
        Some items failed. Everything else was run and stored.
    farmhand.FarmhandError
        See :func:`farmhand.run_tasks`.
    KeyboardInterrupt
        Ctrl-C. Everything that had finished is stored, and no process is left.
    """
    if not inspect.isclass(task):
        initargs = None  # as Brian, which has never looked at them
    printer = _Printer(overall=not gui, verbose=not gui if verbose is None else verbose)
    shown = frontends_for(Plugins(), gui) if gui else []
    # not verbose: that is the printer's affair
    run = partial(farmhand.run_tasks, verbose=False, progress=[*shown, printer], numitems=numitems)
    try:
        summary = run(dataman, task, items, gui, poolsize, initargs, initkwds)
    except farmhand.TasksFailed as error:
        _say_end(getattr(error.summary, "stopped", False))
        raise
    except (KeyboardInterrupt, SystemExit):
        _say_end(stopped=True)
        raise
    _say_end(summary.stopped)


def _say_end(stopped: bool) -> None:
    _write(sys.stdout, ["Terminated task processes" if stopped else "Finished."])


def _write(stream: IO[str] | None, lines: Sequence[str]) -> None:
    if stream is not None and lines:
        with suppress(OSError, ValueError):  # nobody reads it any more: the run matters, not this
            stream.write("".join(f"{line}\n" for line in lines))
            stream.flush()


class _Printer:
    """Prints what Brian 1.4 printed, and what tasks print, to stdout; to stderr which items failed.

    Parameters
    ----------
    overall : bool
        Say how far all is whenever an item has ended: Brian did so where there was no window.
    verbose : bool
        Print every progress message.
    """

    def __init__(self, overall: bool, verbose: bool) -> None:
        self._overall = overall
        self._verbose = verbose
        self._failures = News(verbose=False)
        self._done: int | None = None
        # by process: item, name and percent in its last message, and when that was printed
        self._said: dict[int, tuple[tuple[int | None, str, int], float]] = {}

    def show(self, snapshot: Snapshot) -> None:
        """Print what is new in ``snapshot``."""
        lines: list[str] = []
        if self._done is None:
            for process in snapshot.processes if self._verbose else ():
                lines += [_process_line(ProcessView(process.number, complete=0.0)), "Overall, 0 done"]
        if self._overall:
            lines += self._ended(snapshot)
        if self._verbose:
            for process in snapshot.processes:
                if self._is_news(process, snapshot.elapsed):
                    lines += [_process_line(process), _overall_line(snapshot, snapshot.done)]
        self._done = snapshot.done
        printed = [output.text.removesuffix("\n") for output in snapshot.outputs]
        _write(sys.stdout, printed + lines)
        if self._overall:  # a window, or what is shown instead, says it too
            _write(sys.stderr, [line.text for line in self._failures.lines(snapshot)])

    def controls(self) -> Iterable[Control]:
        """Nothing: a stream of text takes no orders."""
        return ()

    def close(self) -> None:
        """Nothing is to be put back."""

    def _is_news(self, process: ProcessView, now: float) -> bool:
        """Whether a process has something to say: of a new item at once, then once a second."""
        if process.complete is None:
            return False
        says = (process.index, process.taskname, percent(process.complete))
        said, at = self._said.get(process.number, ((None, "", 0), 0.0))
        if says == said or (says[:2] == said[:2] and now < at + _REST):
            return False
        self._said[process.number] = says, now
        return True

    def _ended(self, snapshot: Snapshot) -> Iterable[str]:
        """A line for each item that has ended since the last snapshot, and one at the start."""
        first = 0 if self._done is None else self._done + 1
        if snapshot.done - first >= _MANY:
            first = snapshot.done
        return [_overall_line(snapshot, done) for done in range(first, snapshot.done + 1)]


def _process_line(process: ProcessView) -> str:
    taskname = printable(process.taskname) or "No task information"
    return f"Process {process.number}: {progress_text(process.elapsed, process.complete)}.: {taskname}"


def _overall_line(snapshot: Snapshot, done: int) -> str:
    """How far all is, or was, when so many items had been done."""
    text = f"Overall, {done} done"
    if snapshot.total is None:
        return text
    behind: float = done + snapshot.failed
    if done == snapshot.done:
        behind += sum(process.complete or 0.0 for process in snapshot.processes)
    complete = min(1.0, behind / snapshot.total) if snapshot.total else 1.0
    return f"{text} of {snapshot.total}: {progress_text(snapshot.elapsed, complete)}."
