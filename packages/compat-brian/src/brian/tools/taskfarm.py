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
    with suppress(OSError, ValueError):  # nobody reads it any more; what has happened matters more
        _write(sys.stdout, "Terminated task processes\n" if stopped else "Finished.\n")


def _write(stream: IO[str] | None, text: str) -> None:
    if stream is not None and text:
        stream.write(text)
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
        self._reported: dict[int, tuple[int | None, int, str]] = {}  # by process: what was said last

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
                if self._is_news(process):
                    lines += [_process_line(process), _overall_line(snapshot, snapshot.done)]
        self._done = snapshot.done
        printed = "".join(output.text for output in snapshot.outputs)
        if printed and not printed.endswith("\n"):
            printed += "\n"
        _write(sys.stdout, printed + "".join(f"{line}\n" for line in lines))
        if self._overall:  # a window, or what is shown instead, says it too
            failures = self._failures.lines(snapshot)
            _write(sys.stderr, "".join(f"{line.text}\n" for line in failures))

    def controls(self) -> Iterable[Control]:
        """Nothing: a stream of text takes no orders."""
        return ()

    def close(self) -> None:
        """Nothing is to be put back."""

    def _is_news(self, process: ProcessView) -> bool:
        """Whether a process has reported something since it was last asked."""
        if process.complete is None:
            return False
        says = (process.index, percent(process.complete), process.taskname)
        if self._reported.get(process.number) == says:
            return False
        self._reported[process.number] = says
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
    if done == snapshot.done:  # a process that has said 1.0 is about to be counted as an item
        behind += sum((process.complete or 0.0) % 1.0 for process in snapshot.processes)
    complete = min(1.0, behind / snapshot.total) if snapshot.total else 1.0
    return f"{text} of {snapshot.total}: {progress_text(snapshot.elapsed, complete)}."
