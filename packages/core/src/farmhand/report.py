"""How a task says how far its item is: the ``report`` that it is given.

A task may say so itself, or hand it to Brian's ``run(report=report)``. A simulation reports its own
beginning and end; a task of several simulations makes several times such a way from 0 to 1. The first
item of a process can only show them one after the other. From then on it is known which part of an item
each of them took in the item before, and the bar goes through the item once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator

from farmhand import simulators
from farmhand.errors import StoppedEarly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias, TypeVar

    T = TypeVar("T")

__all__ = ["Report"]

SendReport: TypeAlias = "Callable[[int, float | None, str | None, str], None]"

_Part: TypeAlias = "tuple[str, float, float]"  # of an item: its name, begin and end

_ALL: _Part = ("", 0.0, 1.0)
_SHORTEST = 1e-300  # seconds
_INTERVAL = 0.05  # seconds; a task may report in its innermost loop
_MOMENT = 0.05  # seconds
_ROUNDING = 1e-9  # a simulation that has done all but so much has done all
_PRECISION = 8 * sys.float_info.epsilon  # of its times, which are counted from the network's beginning


class Report:
    """Says how far the running item is. A task that takes ``report`` is given one.

    It can be called as ``report(complete)``, as Brian 1 does with ``report(elapsed, complete)``
    and as Brian 2 does with ``report(elapsed, complete, start, duration)`` (with units, or in seconds);
    then ``complete`` is the fraction from 0 to 1 of the item that is done. It may be called as often
    as you like, and from any thread: it passes on some twenty calls a second.

    While Brian 2's ``run(report=report)`` is at work, farmhand looks at the network's time by itself, so
    that ``report_period`` need not be given. Several ``run`` of one item are told apart: see :meth:`stage`.

    A simulation whose last report is below 1 was stopped before its end. Its item fails with
    :class:`farmhand.errors.StoppedEarly`, also when others follow, unless ``report(1.0)`` says after it
    that all is well.

    Attributes
    ----------
    taskname : str
        Shown beside the bar of this process; set it to say what the item is doing.
    """

    def __init__(self, send: SendReport, owner: object = None) -> None:
        from threading import RLock  # made in the processes of a farm alone

        self._send = send
        self._owner = owner  # a class task may carry the name, as ``self.taskname``
        self._lock = RLock()  # simulations report from other threads, too
        self._index: int | None = None
        self._next = 0.0
        self._taskname = ""
        self._complete: float | None = None
        self._phase = ""
        self._stage: _Part | None = None  # as the task has said
        self._said = 0.0  # of the present part
        self._simulations = _Simulations()
        self._watch: simulators.Watch | None = None

    def __call__(self, *progress: Any) -> None:
        if len(progress) == 4:
            self._simulated(*map(float, progress))
            return
        if len(progress) == 1:
            complete = float(progress[0])
        elif len(progress) == 2:
            complete = float(progress[1])
        else:
            raise TypeError(
                "report takes (complete), (elapsed, complete) or (elapsed, complete, start, duration), "
                f"not {len(progress)} arguments"
            )
        if complete >= 1.0:
            with self._lock:
                self._stop_watching()
                if self._simulations.stopped:  # so it is that simulation which is done, and others may follow
                    self._simulations.accept()
                    self._pass_on(1.0, self._stage or self._simulations.part())
                    return
        self._count(complete)

    def _count(self, complete: float) -> None:
        """The task says how far it is, which says nothing of its simulations."""
        now = time.monotonic()
        if now >= self._next or complete >= 1.0:
            with self._lock:
                if now >= self._next or self._said < 1.0:
                    self._pass_on(complete, self._stage or _ALL)

    @property
    def period(self) -> Any:
        """What ``run(report_period=...)`` may be given: 0.1 s, with Brian 2's unit where it is imported.

        No bar needs it. It is for a report of your own that calls this one.
        """
        return simulators.report_period()

    def stage(self, name: str, begin: float, end: float) -> None:
        """What is reported from now on, from 0 to 1, is a part of the item.

        Parameters
        ----------
        name : str
            Shown beside the bar: ``'warm-up'``.
        begin, end : float
            Where the part begins and ends, as fractions of the item; 0 is its beginning, 1 its end.

        Raises
        ------
        ValueError
            When these are no fractions, or in the wrong order.

        Notes
        -----
        Several ``run`` of Brian 2 without stages are told apart as well: each has as large a part of the
        item as it took of the time in the item before, which the same process ran. In the first item of a
        process nothing is known yet; there the second one begins anew, and is called ``run 2``.

        Examples
        --------
        ::

            def find_rate(k, report):
                ...
                report.stage("warm-up", 0, 0.2)
                run(1 * second, report=report)
                report.stage("measurement", 0.2, 1)
                run(4 * second, report=report)
        """
        if not 0.0 <= begin <= end <= 1.0:
            raise ValueError(
                f"a stage is a part of the item, from 0 <= begin to end <= 1; {name!r} is from {begin!r} "
                f"to {end!r}"
            )
        with self._lock:
            self._stage = str(name), float(begin), float(end)
            self._said = 0.0
            self._pass_on(None, self._stage)

    def track(self, iterable: Iterable[T], total: int | None = None) -> Iterator[T]:
        """Yield from ``iterable`` and report how far that is.

        Parameters
        ----------
        iterable : iterable
            What to loop over.
        total : int, optional
            Its length, where ``len(iterable)`` does not work; without either nothing is reported.
        """
        if total is None:
            try:
                total = len(iterable)  # type: ignore[arg-type]
            except TypeError:
                yield from iterable
                return
        if total:
            self._count(0.0)  # what goes before is no part of the loop's pace
        for count, element in enumerate(iterable, 1):
            yield element
            self._count(count / total if total else 1.0)

    @property
    def taskname(self) -> str:
        return self._taskname

    @taskname.setter
    def taskname(self, name: object) -> None:
        text = str(name)
        if text != self._taskname:
            self._taskname = text
            self._send_on()

    # -- an item -------------------------------------------------------------------------------------

    def _begin(self, index: int) -> None:
        self._index = index
        self._complete = self._stage = None
        self._phase = ""
        self._said = self._next = 0.0
        self._simulations.begin()
        self.taskname = self._name_of_owner()

    def _check(self) -> None:
        """The task has returned. Raises StoppedEarly when a simulation has not come to its end."""
        stopped = self._simulations.stopped
        if stopped:
            raise StoppedEarly(*stopped[0])
        self._simulations.remember()

    def _end(self) -> None:
        if self._watch is not None:
            with self._lock:
                self._stop_watching()
        self.taskname = self._name_of_owner()
        self._index = None  # a thread that the task left behind may report no longer

    # -- simulations ---------------------------------------------------------------------------------

    def _simulated(self, elapsed: float, complete: float, start: float, duration: float) -> None:
        """A simulation says how far it is."""
        if complete != complete:
            return  # not a number: it says nothing
        with self._lock:
            if self._index is None:
                return
            simulations = self._simulations
            if complete == 0.0 and simulations.begins(elapsed):
                self._stop_watching()
                simulations.start(duration)
                self._watch = watch = simulators.Watch(start, duration, self._seen)
                watch.begin()
            # The end of a run is computed as start + duration - start, which may be a little less.
            elif complete >= 1.0 - _ROUNDING - _PRECISION * abs(start) / max(duration, _SHORTEST):
                complete = 1.0
                self._stop_watching()
            simulations.report(complete, duration)
            if complete in (0.0, 1.0) or time.monotonic() >= self._next:
                self._pass_on(complete, self._stage or simulations.part())

    def _seen(self, watch: simulators.Watch, complete: float) -> None:
        """What a thread has seen of a running simulation; it may come late."""
        with self._lock:
            if watch is self._watch and self._simulations.reached < complete < 1.0:
                self._simulations.report(complete, watch.duration)
                self._pass_on(complete, self._stage or self._simulations.part())

    def _stop_watching(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.end()

    # -- sending -------------------------------------------------------------------------------------

    def _name_of_owner(self) -> str:
        return str(
            self._taskname if self._owner is None else getattr(self._owner, "taskname", self._taskname)
        )

    def _pass_on(self, complete: float | None, part: _Part) -> None:
        """Say how much is done of a part of the item, unless that is not known; and what it is called."""
        self._phase, begin, end = part
        if complete is not None:
            self._next = time.monotonic() + _INTERVAL
            self._taskname = self._name_of_owner()
            if complete == complete:  # what is no number says nothing
                self._said = min(1.0, max(0.0, complete))
                # to the last digit, as what begins where the one before ends must not seem to go back
                self._complete = end if self._said == 1.0 else min(end, begin + (end - begin) * self._said)
        self._send_on()

    def _send_on(self) -> None:
        if self._index is not None:
            self._send(self._index, self._complete, self._taskname, self._phase)


class _Simulations:
    """The simulations of an item, one after the other, and what those of the item before took.

    Attributes
    ----------
    reached : float
        How far the last one is known to be.
    stopped : list of tuple
        Those that are not at their end, the newest one last: for each what StoppedEarly is given.
    """

    def __init__(self) -> None:
        self._before: list[float] = []  # seconds of each in the item before
        self._began = 0.0
        self.begin()

    def begin(self) -> None:
        """An item begins."""
        self._seconds: list[float] = []  # of each of its simulations, as far as it has come
        self.reached = 0.0
        self.stopped: list[tuple[float, float]] = []

    def begins(self, elapsed: float) -> bool:
        """Whether one that is at zero after so many seconds begins; else it is a slow first step of this one.

        The clock of a compiled program has gone on for a moment when it says so.
        """
        is_known = bool(self._seconds) and self.reached == 0.0
        return elapsed == 0.0 or (elapsed < _MOMENT and not is_known)

    def start(self, duration: float) -> None:
        """A simulation begins."""
        self.reached = 0.0
        self._began = time.monotonic()
        self._seconds.append(0.0)
        self.stopped.append((0.0, duration))

    def report(self, complete: float, duration: float) -> None:
        """It has done so much of its duration, which is in seconds."""
        self.reached = max(self.reached, complete)
        del self.stopped[-1:]
        if complete < 1.0:
            self.stopped.append((complete * duration, duration))
        if self._seconds:
            self._seconds[-1] = time.monotonic() - self._began

    def accept(self) -> None:
        """They are good as they are."""
        self.stopped.clear()

    def remember(self) -> None:
        """The item has come to a good end."""
        if self._seconds:
            self._before = self._seconds

    def part(self) -> _Part:
        """What the present one is called, and which part of the item it is."""
        run, before = len(self._seconds), self._before
        whole = sum(before)
        if len(before) < 2 or run > len(before) or not whole:
            return (f"run {run}" if run > 1 else ""), 0.0, 1.0
        return f"run {run} of {len(before)}", sum(before[: run - 1]) / whole, sum(before[:run]) / whole
