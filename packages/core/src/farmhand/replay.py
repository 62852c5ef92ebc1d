"""What a farm would have said of the time remaining, from the records that a run has left behind.

A run's records say when each item started, in which process, and how long it took. That is nearly all that
the estimate goes by, so that it can be made again, for any moment of a run that somebody wants to
understand (``farmhand plot``), and of one on another computer, of which only the store can be seen. What
records do not have is what items reported while they ran, and when the computer slept; there the farm
itself knew more, and whoever can reach it should ask it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, compress, count, groupby, islice, repeat
from math import inf, isfinite
from operator import add, lt, sub

from farmhand.durations import LONGEST, sane
from farmhand.errors import FarmhandError
from farmhand.eta import Estimator, Running, Steady
from farmhand.kept import Timings, in_order
from farmhand.progress import Estimate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from farmhand.kept import Record, RunInfo

    class Source(Protocol):
        """The part of a store that is read here."""

        def runs(self) -> list[RunInfo]: ...
        def timings(self, run: str) -> Timings: ...
        def durations(self, run: str, most: int) -> tuple[Sequence[int], Sequence[float]]: ...
        def failures(self, run: str | None = None) -> list[Record]: ...
        def retried(self, run: str | None = None) -> Iterator[Record]: ...


__all__ = ["earlier_runs", "estimate_now", "replay"]

_EARLIER_RUNS = 5  # that are learnt from, the newest; those before them hardly say more,
_KNOWN = 1000  # and neither do more items of them
_PAUSE = 2.0  # seconds in which no process runs anything: a farm hands out items faster than that
_ON_ITS_WAY = 0.1  # seconds that results may take into the store


def earlier_runs(store: Source, run: RunInfo) -> Iterator[tuple[Sequence[int], Sequence[float]]]:
    """Indices and durations of done items of the same task in runs that began before ``run``.

    The newest run first, and no more items than an estimate needs, spread evenly. What cannot be read is
    left out: an estimate is not worth an error, and whoever needs more of the store finds out what is wrong.
    """
    left = _KNOWN
    try:
        before = [each for each in in_order(store.runs()) if each.task == run.task]
        before = [each for each in before if each.started < run.started]
        for each in before[: -_EARLIER_RUNS - 1 : -1]:
            indices, seconds = store.durations(each.uid, left)
            yield indices, seconds
            left -= len(indices)
            if left <= 0:
                return
    except (FarmhandError, OSError, KeyError):
        return


def replay(
    ended: Timings,
    again: Timings | None = None,
    *,
    began: float,
    moments: Sequence[float],
    total: int | None,
    processes: int = 1,
    earlier: Iterable[tuple[Sequence[int], Sequence[float]]] = (),
    outcome: str = "finished",
) -> list[Estimate | None]:
    """Estimate the time remaining as a farm would have shown it.

    Parameters
    ----------
    ended : Timings
        The items of the run that have ended, done or failed, in any order.
    again : Timings, optional
        Attempts that failed and were followed by another.
    began : float
        When the run began, in seconds since the epoch, by the clock that the items' times come from.
    moments : sequence of float
        Ascending: seconds since then.
    total : int or None
        How many items there are, skipped ones included; None when nobody knows.
    processes : int
        How many processes there are before any of them has begun with an item.
    earlier : iterable of (sequence of int, sequence of float)
        Items of earlier runs of the same task, run by run: their indices, and how long each took.
    outcome : str
        As :class:`RunInfo` has it; with ``''`` the run goes on, and its processes run something that has
        not ended either.

    Returns
    -------
    list of (Estimate or None)
        For each moment the seconds that remained, with their uncertainty, as :meth:`Estimator.remaining`
        estimates them and :class:`Steady` shows them.
    """
    if not moments or total is None:
        return [None] * len(moments)
    story = _Story(ended, again or Timings(), began, moments, processes, outcome)
    estimator, steady = Estimator(), Steady()
    for indices, seconds in earlier:
        if len(indices):
            estimator.learn(indices, seconds)
    shown: list[Estimate | None] = []
    ended_so_far = 0
    last = 0.0
    for place, moment in enumerate(moments):
        for indices, seconds, first, retried in story.batches(place):
            estimator.ended(indices, seconds, first=first, again=retried)
            ended_so_far += 0 if retried else len(indices)
        running = story.running(place)
        estimator.spent(story.spent(last, moment))
        last = moment
        left = max(0, total - story.skipped(place, total) - ended_so_far)
        active = max(1, story.alive(moment), len(running))
        if left < len(running):  # items that were run twice, or records of another time
            running = running[:left]
        estimate = estimator.remaining(left, active, running, total=total)
        shown.append(steady.show(estimate, moment))
    return shown


def estimate_now(store: Source, run: RunInfo, now: float) -> Estimate | None:
    """Estimate the time remaining of a run that goes on elsewhere, by what the store has of it.

    Parameters
    ----------
    store : DataManager
        Where it is.
    run : RunInfo
        The run, which has not ended.
    now : float
        Seconds since the epoch.

    Returns
    -------
    Estimate or None
        None when nothing can be said.
    """
    if run.numitems is None:
        return None
    ended, again = store.timings(run.uid), Timings()
    ended.add_records(store.failures(run.uid))
    again.add_records(store.retried(run.uid))
    known = run.provenance.get("processes")
    (estimate,) = replay(
        ended,
        again,
        began=run.started,
        moments=[max(0.0, now - run.started)],
        total=run.numitems,
        processes=known if isinstance(known, int) and known > 0 else 1,
        earlier=earlier_runs(store, run),
        outcome="",
    )
    return estimate


class _Story:
    """A run's records, by the moments between which things happened.

    Times are sane here: seconds since the run began, never negative, never NaN.
    """

    def __init__(
        self,
        ended: Timings,
        again: Timings,
        began: float,
        moments: Sequence[float],
        processes: int,
        outcome: str,
    ) -> None:
        self._moments = moments
        self._processes, self._outcome = processes, outcome
        self._batches: list[dict[int, tuple[array[int], array[float]]]] = [{}, {}]  # ended, to be tried again
        self._firsts: dict[int, list[tuple[int, float, bool]]] = {}
        self._running: dict[int, list[Running]] = {}
        self._lives: dict[int, tuple[float, float]] = {}  # of each process: its first start, its last end
        told = [_Columns(timings, began, moments) for timings in (ended, again)]
        firsts: dict[int, tuple[float, int, int]] = {}  # of each process: its start, and where it is
        for number, columns in enumerate(told):
            for process, (start, last_end, place) in columns.processes().items():
                about = (start, number, place)
                firsts[process] = min(about, firsts.get(process, about))
                known = self._lives.get(process, (start, last_end))
                self._lives[process] = min(start, known[0]), max(last_end, known[1])
        self._last_start = max((max(each.starts) for each in told if each.starts), default=0.0)
        self._pauses = _pauses(told)
        for number, columns in enumerate(told):
            self._sort_in(number, columns, {place for _, of, place in firsts.values() if of == number})
        self._indices = sorted(ended.indices)
        # for each moment, the index behind the last item that had begun by then
        heads = [0] * (len(moments) + 1)
        for when, some in _stretches(told[0].begin):
            heads[when] = max(heads[when], max(ended.indices[some]) + 1)
        self._heads = list(accumulate(heads, max))

    def _sort_in(self, number: int, columns: _Columns, firsts: set[int]) -> None:
        """Put items where they ended, and where they ran."""
        indices, seconds, moments = columns.indices, columns.seconds, self._moments
        for place in compress(count(), map(lt, columns.begin, columns.end)):
            for at in range(columns.begin[place], columns.end[place]):
                elapsed = moments[at] - columns.starts[place]
                running = Running(indices[place], elapsed, first=place in firsts)
                self._running.setdefault(at, []).append(running)
        end = list(columns.end)
        for place in firsts:
            about = (indices[place], seconds[place], bool(number))
            self._firsts.setdefault(end[place], []).append(about)
            end[place] = -1
        batches = self._batches[number]
        for when, some in _stretches(end):
            if when >= 0:
                batch = batches.setdefault(when, (array("q"), array("d")))
                batch[0].extend(indices[some])
                batch[1].extend(seconds[some])

    def batches(self, place: int) -> Iterator[tuple[Sequence[int], Sequence[float], bool, bool]]:
        """What ended after the moment before this one, until this one; whether first, whether tried again."""
        for index, took, retried in self._firsts.pop(place, ()):
            yield [index], [took], True, retried
        for number, batches in enumerate(self._batches):
            if place in batches:
                yield *batches.pop(place), False, bool(number)

    def running(self, place: int) -> list[Running]:
        """What ran at that moment."""
        running = sorted(self._running.get(place, ()), key=lambda item: item.index)
        if self._outcome:
            return running
        moment, head = self._moments[place], self._heads[place]
        # a process of a run that goes on has begun another item when its last one ended; or many tiny ones,
        # of which nothing is stored yet
        silent = [moment - end for _, end in self._lives.values() if end <= moment]
        idle = [(seconds if seconds > _ON_ITS_WAY else 0.0, False) for seconds in silent]
        if self._lives:
            start = min(start for start, _ in self._lives.values())
            unseen = self._processes - len(self._lives)
            idle += [(moment - start, True)] * (unseen if start <= moment else 0)
        idle.sort(reverse=True)  # where few items are left, those have them that have been silent for longest
        return running + [
            Running(head + number, elapsed, first=first) for number, (elapsed, first) in enumerate(idle)
        ]

    def _left_at(self, end: float) -> float:
        """When a process left whose last item ended then: never, unless others have begun with items since.

        One of a run that goes on may be on a long item all that time.
        """
        return inf if not self._outcome or end >= self._last_start else end

    def alive(self, moment: float) -> int:
        """How many processes there were."""
        if not self._outcome or not any(start <= moment for start, _ in self._lives.values()):
            return max(self._processes, len(self._lives) if not self._outcome else 0)
        return sum(start <= moment <= self._left_at(end) for start, end in self._lives.values())

    def spent(self, since: float, until: float) -> float:
        """Process-seconds between two moments while items were waiting."""
        if self._outcome:
            until = min(until, self._last_start)
        spent = 0.0
        for start, end in self._lives.values():
            begin, stop = max(since, start), min(until, self._left_at(end))
            if begin < stop:
                pauses = sum(max(0.0, min(stop, to) - max(begin, at)) for at, to in self._pauses)
                spent += stop - begin - pauses
        return spent

    def skipped(self, place: int, total: int) -> int:
        """How many items had been skipped: those of which there is no record before the last that had begun.

        At its end, a run has looked at all of them.
        """
        at_end = self._outcome == "finished" and self._moments[place] >= self._last_start
        head = total if at_end else min(self._heads[place], total)
        holes = head - bisect_left(self._indices, head)
        if not self._outcome:
            holes -= max(self._processes, len(self._lives))  # they run
        return max(0, holes)


class _Columns:
    """Timings since the run began, whatever a clock has done, and the moments at which they matter.

    Attributes
    ----------
    indices, starts, seconds, ends
        Of each item.
    begin, end : list of int
        For each item the place of the first moment at which it had started, and had ended.
    """

    def __init__(self, timings: Timings, began: float, moments: Sequence[float]) -> None:
        self.indices = timings.indices
        self.starts = _each_sane(array("d", [start - began for start in timings.started]))
        self.seconds = _each_sane(timings.seconds)
        self._processes = timings.processes
        self.ends = list(map(add, self.starts, self.seconds))
        self.begin = list(map(bisect_left, repeat(moments), self.starts))
        self.end = list(map(bisect_left, repeat(moments), self.ends))

    def processes(self) -> dict[int, tuple[float, float, int]]:
        """For each process its first start, its last end, and the place of its first item."""
        first: dict[int, tuple[float, int]] = {}
        last: dict[int, float] = {}
        for place, (process, start, end) in enumerate(
            zip(self._processes, self.starts, self.ends, strict=True)
        ):
            if process not in first:
                first[process], last[process] = (start, place), end
            else:
                if end > last[process]:
                    last[process] = end
                if start < first[process][0]:
                    first[process] = start, place
        return {process: (start, last[process], place) for process, (start, place) in first.items()}


def _pauses(told: Sequence[_Columns]) -> list[tuple[float, float]]:
    """When nothing ran at all for so long that somebody must have paused the run."""
    starts = sorted(chain.from_iterable(each.starts for each in told))
    ends = sorted(chain.from_iterable(each.ends for each in told))
    # as many have begun as have ended: between the last that ended and the next that begins nothing runs
    gaps = map(sub, islice(starts, 1, None), ends)
    return [(ends[place], starts[place + 1]) for place, gap in enumerate(gaps) if gap > _PAUSE]


def _stretches(values: Sequence[int]) -> Iterator[tuple[int, slice]]:
    """Values that are the same, one behind the other: tiny items come in stretches of thousands."""
    start = 0
    for value, same in groupby(values):
        stop = start + len(list(same))
        yield value, slice(start, stop)
        start = stop


def _each_sane(times: array[float]) -> array[float]:
    # a look at the sum is cheaper than one at each of a million
    if times and not (isfinite(sum(times)) and min(times) >= 0.0 and max(times) <= LONGEST):
        return array("d", map(sane, times))
    return times
