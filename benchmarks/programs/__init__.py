"""Programs as people run them over many items, to record how long each item takes: ``benchmarks/record.py``.

Each module is a group, and its ``PROGRAMS`` say what there is. A group is either there to tune the estimate
of the time remaining on (``"tune"``) or only to report how good it is (``"report"``), so that what is
reported was measured on kinds of programs that nobody has tuned for. The groups with both keep apart what
makes durations differ: what compiles, grows or fails in one half does not in the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

GROUPS = ("spiking", "learning", "chance", "matrices", "numbers", "compiling", "searching", "faulty")


@dataclass(frozen=True)
class Program:
    """One task and its items.

    Parameters
    ----------
    name : str
        Of the trace, and of its file.
    group : str
        Programs of one kind.
    split : str
        ``"tune"`` or ``"report"``.
    about : str
        One sentence: what it computes, and with which parameters.
    task : callable
        What runs.
    items : callable
        Makes the items.
    options : mapping
        More arguments of ``run_tasks``.
    reports : bool
        Its results are courses (:class:`Course`).
    fails : bool
        Some of its items may fail; of any other program that is a mistake.
    """

    name: str
    group: str
    split: str
    about: str
    task: Callable[..., Any]
    items: Callable[[], Iterable[Any]]
    options: Mapping[str, Any] = field(default_factory=dict)
    reports: bool = False
    fails: bool = False


class Course:
    """Passes on what an item reports, and keeps it: pairs of seconds since it began and the fraction."""

    def __init__(self, report: Callable[..., None]) -> None:
        self._report = report
        self._start = time.monotonic()
        self.points: list[tuple[float, float]] = []

    def __call__(self, *progress: Any) -> None:
        complete = progress[0] if len(progress) == 1 else progress[1]
        self.points.append((time.monotonic() - self._start, float(complete)))
        self._report(*progress)
