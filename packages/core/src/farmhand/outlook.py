"""The time that a run will still take: tells the estimator what happens, and asks it when it is worth it.

An estimate takes milliseconds, and ten a second are shown. So it is made anew about twice a second, and
for no more than a fiftieth of the time; in between the last one counts down. Guesses of what single items
take cost another fiftieth, and where there are many of them, some wait until the next look.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from farmhand.eta import Estimator, Running, Steady
from farmhand.events import ExecutorEvent, ItemFailed, ItemsDone, ProcessDied, ProcessStarted, RecordFailed
from farmhand.progress import OVER, Estimate
from farmhand.scheduler import Scheduler

__all__ = ["Outlook", "ended_in"]

_REST = 50  # so many times as long as an estimate took, before the next
_LONG = 0.005  # seconds in one look for what running items still take
_OFTEN = 5.0  # seconds of a run in which only that counts; from then on
_INTERVAL = 0.5  # seconds between two estimates


class Outlook:
    """What one run has shown of its pace, and what it lets expect.

    Parameters
    ----------
    began : float
        The clock at the beginning.
    """

    def __init__(self, began: float) -> None:
        self._estimator = Estimator()
        self._steady = Steady()
        self._began = began
        self._warm: set[int] = set()  # processes that have ended an item
        self._passed = began  # the clock up to which the time was counted,
        self._pace = 0  # and how many processes were at work for the items that wait
        self._idle = 0.0  # seconds in which the run did not go on: it was paused, or the computer slept
        self._estimate: Estimate | None = None
        self._made = 0.0  # when, in working seconds
        self._due = began  # the clock at which the next one is made,
        self._about: object = None  # unless this has changed
        self._anew = True
        self._rests_from = began  # the clock from which on running items are asked about,
        self._rests_cost = 0.0  # seconds that this has taken in this look,
        self._asks = True  # and whether it is time for that

    # -- what happens ------------------------------------------------------------------------------

    def learn(self, earlier: Iterable[tuple[Sequence[int], Sequence[float]]]) -> None:
        """Take in how long items of earlier runs took, run by run: their indices, and seconds."""
        for indices, seconds in earlier:
            if len(indices):
                self._estimator.learn(indices, seconds)

    def saw(self, event: ExecutorEvent) -> None:
        """Something has happened in a process. How an attempt failed is told to :meth:`failed`."""
        match event:
            case ItemsDone():
                self._estimator.ended(event.indices, event.seconds, first=self.is_first(event.number))
                self._warm.add(event.number)
            case ProcessStarted():
                self._warm.discard(event.number)

    def failed(self, record: RecordFailed) -> None:
        """An attempt at an item has failed, whether it raised, died or took too long."""
        number = record.number
        if number is None:
            return  # it never ran
        first = self.is_first(number)
        self._estimator.ended((record.index,), (record.seconds,), first=first, again=record.again)
        self._warm.add(number)

    def is_first(self, number: int) -> bool:
        """Whether no item has ended yet in a process since it started."""
        return number not in self._warm

    def passed(self, now: float, scheduler: Scheduler) -> None:
        """Time has passed; to be called some times a second, also if nobody looks."""
        seconds, self._passed = max(0.0, now - self._passed), now
        before, self._pace = self._pace, _pace(scheduler)
        if scheduler.state == "paused":
            self._idle += seconds
        elif before or self._pace:
            self._estimator.spent(seconds * (before + self._pace) / 2)

    def slept(self, seconds: float, indices: Iterable[int]) -> None:
        """The clock went on for so long while nothing did; these items were running."""
        self._estimator.slept(seconds, indices)
        self._passed += seconds
        self._idle += seconds
        self._about = None

    # -- what follows from it ----------------------------------------------------------------------

    def look(self, now: float, *about: object) -> None:
        """Somebody looks: decide whether to think anew, as when something of ``about`` has changed."""
        self._anew = now >= self._due
        if about != self._about:
            self._about, self._anew = about, True
            self._steady = Steady()  # of what is another case now nothing need be held
        if self._rests_cost:
            self._rests_from, self._rests_cost = now + _REST * self._rests_cost, 0.0
        self._asks = now >= self._rests_from

    def has_time(self) -> bool:
        """Whether :meth:`rest_of` may be asked, in this look; if not, a later one has the time."""
        return self._asks and self._rests_cost < _LONG

    def rest_of(self, item: Running) -> float | None:
        """Seconds that a running item probably still takes; None when nobody can say."""
        began = time.monotonic()
        rest = self._estimator.rest_of(item)
        self._rests_cost += time.monotonic() - began
        return rest

    def remaining(
        self,
        now: float,
        state: str,
        running: Sequence[Running],
        items_left: int | None,
        processes: int,
        total: int | None,
    ) -> Estimate | None:
        """Seconds until the run's end, as they are to be shown; after :meth:`look`.

        Parameters
        ----------
        now : float
            The clock.
        state : str
            That of the run. One that is being stopped does not wait for its items.
        running, items_left, processes, total
            As for :meth:`farmhand.eta.Estimator.remaining`.
        """
        if state in OVER:
            return Estimate(0.0, 0.0, 0.0)
        if state == "stopping":
            return None
        working = now - self._began - self._idle
        if self._anew:
            began = time.monotonic()
            self._estimate = self._estimator.remaining(items_left, processes, running, total=total)
            self._made = working
            ended = time.monotonic()
            rest = _REST * (ended - began)
            self._due = now + (rest if working < _OFTEN else max(rest, _INTERVAL))
        return self._steady.show(_later(self._estimate, working - self._made), working)


def _pace(scheduler: Scheduler) -> int:
    """How many processes are at work, as long as items wait for them."""
    if scheduler.state != "running":
        return 0
    target, left = scheduler.target, scheduler.items_left
    phases = scheduler.processes
    if left is not None and left <= sum(len(scheduler.holder(number)) for number in phases):
        return 0  # the rest is begun, and processes run out of work
    return sum(phase == "ready" and number < target for number, phase in phases.items())


def _later(estimate: Estimate | None, seconds: float) -> Estimate | None:
    """What is left of an estimate so many seconds later."""
    if estimate is None or seconds <= 0.0:
        return estimate
    each = (estimate.low, estimate.median, estimate.high)
    return Estimate(*(max(0.0, bound - seconds) for bound in each))


def ended_in(events: Iterable[ExecutorEvent], seconds: float) -> Iterator[int]:
    """The items that have just ended, in whatever way, and took at least so long."""
    for event in events:
        match event:
            case ItemsDone():
                for index, took in zip(event.indices, event.seconds, strict=False):
                    if took >= seconds:
                        yield index
            case ItemFailed() | ProcessDied():
                if event.index is not None and event.seconds >= seconds:
                    yield event.index
