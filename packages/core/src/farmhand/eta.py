"""How long the rest will take: pure arithmetic, no clock.

The model is deliberately plain. Items that have not begun take the mean of those that have;
the processes share them as a farm does, each taking the next item when it is free; the interval
comes from the spread of the durations, how few of them were seen, and how many are left. It is
honest for even durations; where a few items take most of the time it is narrow and, early on,
low, most of all when those items do not report.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import fsum, isfinite, log, sqrt
from operator import mul

from farmhand.progress import Estimate
from farmhand.values import dataclass

__all__ = ["Durations", "Estimator", "Running", "Steady", "estimate"]

# Longer and more than in any run; keeps squares and sums finite whatever comes in.
_LONGEST = 1e12
_MOST_ITEMS = 10**15
_MOST_PROCESSES = 10**5
# Half-width of a normal 80 % interval, in standard deviations.
_Z80 = 1.2816
# Before much is seen, durations are taken to scatter by this fraction of their mean.
_PRIOR_SPREAD = 0.5
# How far random durations delay the end of the last item; fitted to simulated farms.
_END_GAME = 0.6
# Rounds in which the durations of running items and the mean of all are brought to agree.
_ROUNDS = 8
# So many items of a batch are looked at, spread evenly over it.
_SAMPLE = 64
# So many items in each process say more about the farm's speed than its start-up does.
_SETTLED = 50


@dataclass(frozen=True, slots=True)
class Running:
    """An item that runs now.

    Parameters
    ----------
    index : int
        The item.
    elapsed : float
        Seconds since it started.
    complete : float or None
        The fraction of it that is done, as it last reported; None when it does not say.
    rest : float or None
        Seconds that it still takes, going by its reports; None: ``elapsed`` goes on at the same pace.
    first : bool
        It is the first one of its process, which may have had to import or compile something.
    """

    index: int
    elapsed: float
    complete: float | None = None
    rest: float | None = None
    first: bool = False


class Estimator:
    """What one run has shown so far, and what follows from it. Its size does not grow.

    The same history gives the same estimate, in whatever order it came in.
    """

    def __init__(self) -> None:
        self._durations = Durations()
        self._spent = 0.0

    def learn(self, indices: Sequence[int], seconds: Sequence[float]) -> None:
        """Take in how long items of an earlier run of the same task took.

        They count until this run has shown enough itself.
        """

    def ended(
        self, indices: Sequence[int], seconds: Sequence[float], *, first: bool = False, again: bool = False
    ) -> None:
        """Take in how long items took, done or failed.

        Parameters
        ----------
        indices, seconds : sequences of the same length
            The items, and how long each took.
        first : bool
            The first of them was the first of its process.
        again : bool
            They failed, and will be tried again.
        """
        self._durations.add(seconds)

    def spent(self, process_seconds: float) -> None:
        """So many seconds went by, times the processes that were ready, while items were waiting.

        What of it was no item's duration is what the farm itself costs; that matters for tiny items.
        """
        self._spent += process_seconds

    def slept(self, seconds: float, indices: Iterable[int]) -> None:
        """The clock went on for so long while the computer slept; these items were running."""

    def remaining(
        self,
        items_left: int | None,
        processes: int,
        running: Sequence[Running] = (),
        *,
        total: int | None = None,
    ) -> Estimate | None:
        """Estimate the seconds until the run's end.

        Parameters
        ----------
        items_left : int or None
            How many items have not ended, those in ``running`` included; None when nobody knows.
        processes : int
            How many processes share the rest.
        running : sequence of Running
            What runs now.
        total : int, optional
            The index behind the last item; with it, a trend with the index leads to the last one.

        Returns
        -------
        Estimate or None
            None when ``items_left`` is None, or when nothing is known yet: no item has ended, none that
            runs has reported, and of earlier runs nothing was learnt.
        """
        return estimate(
            self._durations, items_left, processes, [(each.elapsed, each.complete) for each in running]
        )

    def rest_of(self, item: Running) -> float | None:
        """Seconds that a running item probably still takes (the median); None when nobody can say."""
        return item.rest


class Steady:
    """An estimate that can be read: it counts down, and changes only when it is worth a change.

    Bounds of the time of the end stay where they are until what is estimated anew is clearly
    elsewhere; so the words that a frontend makes of them do not flicker.
    """

    def show(self, estimate: Estimate | None, elapsed: float) -> Estimate | None:
        """What to show of an estimate made so many seconds after the run began."""
        return estimate


class Durations:
    """A running summary of how long items took; its size does not grow."""

    __slots__ = ("_squares", "_total", "count", "longest")

    def __init__(self, seconds: Sequence[float] = ()) -> None:
        self.count = 0
        self.longest = 0.0
        self._total = 0.0
        self._squares = 0.0
        self.add(seconds)

    def add(self, seconds: Sequence[float]) -> None:
        """Take in the durations of one batch of items.

        Parameters
        ----------
        seconds : sequence of float
            Values that no clock can have measured (negative, NaN, infinite) count as the
            nearest one that it can, NaN as zero.
        """
        if not len(seconds):
            return
        # Of a large batch, whose items are tiny, some stand for all: looking at each would be a good
        # part of what it costs.
        some = seconds[:: len(seconds) // _SAMPLE] if len(seconds) > 2 * _SAMPLE else seconds
        longest = max(some)
        squares = sum(map(mul, some, some))
        if not (isfinite(squares) and longest <= _LONGEST and min(some) >= 0.0):
            some = [_sane(value) for value in some]
            longest, squares = max(some), sum(map(mul, some, some))
        weight = len(seconds) / len(some)
        self.count += len(seconds)
        self._total += sum(some) * weight
        self._squares += squares * weight
        self.longest = max(self.longest, longest)

    def copy(self) -> Durations:
        """The same summary, to be continued apart from this one."""
        other = Durations()
        other.count, other.longest = self.count, self.longest
        other._total, other._squares = self._total, self._squares
        return other

    def scatter(self, squares: float) -> None:
        """Add a sum of squares for the scatter of durations that were only guessed."""
        self._squares += squares

    @property
    def mean(self) -> float:
        """The mean duration; zero when none was seen."""
        return self._total / self.count if self.count else 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation (of a sample); zero when fewer than two were seen."""
        if self.count < 2:
            return 0.0
        return sqrt(max(0.0, self._squares - self._total * self.mean) / (self.count - 1))


def estimate(
    durations: Durations | Sequence[float],
    items_left: int | None,
    processes: int,
    running: Iterable[tuple[float, float | None]] = (),
    *,
    rate: float = 0.0,
) -> Estimate | None:
    """Estimate the seconds until the run's end.

    Parameters
    ----------
    durations : Durations or sequence of float
        How long the finished items took.
    items_left : int or None
        How many items have not ended, those in `running` included; None when nobody knows.
    processes : int
        How many processes share the rest.
    running : iterable of (float, float or None)
        For each item that runs now, the seconds since it started and the fraction of it that
        is done, None when it does not say.
    rate : float
        Items that ended in one second lately, pauses left out; zero when unknown. It stands
        for what the farm itself costs, which is not part of the durations and matters for
        tiny items only, so it is heeded only after many items in each process.

    Returns
    -------
    Estimate or None
        None when `items_left` is None, or when nothing is known yet: no item has ended and
        none that runs has reported.
    """
    if items_left is None:
        return None
    seen = durations if isinstance(durations, Durations) else Durations(durations)
    reporting: list[tuple[float, float]] = []
    silent: list[float] = []
    for elapsed, complete in running:
        fraction = 0.0 if complete is None else min(_sane(complete), 1.0)
        # An item at zero says nothing yet about its pace, so it counts as silent.
        if fraction > 0.0:
            reporting.append((_sane(elapsed), fraction))
        else:
            silent.append(_sane(elapsed))
    waiting = min(max(0, items_left - len(reporting) - len(silent)), _MOST_ITEMS)
    processes = max(1, min(processes, waiting + len(reporting) + len(silent), _MOST_PROCESSES))
    if not waiting and not reporting and not silent:
        return Estimate(0.0, 0.0, 0.0)
    if not seen.count and not reporting:
        return None

    known = seen.copy()
    known.add([elapsed / fraction for elapsed, fraction in reporting])
    mean, deviation, silent_rests = _complete(known, silent)
    rests = sorted([_sane(e * (1.0 - c) / c) for e, c in reporting] + silent_rests)
    median = _sane(_last_end(rests, waiting, mean, processes))
    open_items = waiting + len(silent)
    if open_items:
        median += _END_GAME * deviation * sqrt(2 * log(min(processes, open_items)))
    if rate > 0.0 and seen.count >= _SETTLED * processes:
        median = max(median, _sane(waiting / rate))

    spread = _cautious(deviation, mean, known.count) * sqrt(1 + 3 / known.count)
    each = spread * sqrt(open_items) / processes
    # The more of the begun items have not ended, the less those that have stand for all.
    of_mean = spread / sqrt(known.count) * (1 + len(silent) / known.count) * waiting / processes
    at_end = spread if open_items and processes > 1 else 0.0
    reports = max((_sane(e * (1.0 - c) ** 2 / c) / 2 for e, c in reporting), default=0.0)
    margin = _Z80 * sqrt(fsum((each**2, of_mean**2, at_end**2, reports**2)))
    # Lop-sided on purpose: a run can take far longer, but never less than no time.
    high = median + margin
    low = median * (median / high) if high > 0.0 else 0.0
    return Estimate(min(low, median), median, high)


def _complete(known: Durations, silent: Sequence[float]) -> tuple[float, float, list[float]]:
    """Mean and deviation of all items that were begun, and what the silent ones have left.

    The items that end first are the short ones, so early in a run the mean of the finished is
    too small. Each silent item is therefore counted too, with the time it has taken and the
    time it is expected to take, until the two agree. If durations scatter as much as their mean
    (waiting times do) what was taken says nothing about the rest; if they hardly scatter the
    rest is what the mean leaves.
    """
    mean, deviation = known.mean, known.deviation
    rests: list[float] = []
    for _ in range(_ROUNDS if silent else 0):
        memory = min(1.0, _cautious(deviation, mean, known.count) / mean) if mean > 0.0 else 0.0
        surprise = memory * memory * mean
        # One that has run for longer than the mean will not end at once: it is one of the long ones.
        rests = [max(mean - e, surprise, e / 10 if e > mean else 0.0) for e in silent]
        begun = known.copy()
        begun.add([e + rest for e, rest in zip(silent, rests, strict=True)])
        begun.scatter(sum(map(mul, rests, rests)) * memory * memory)
        mean, deviation = begun.mean, begun.deviation
    return mean, deviation, rests


def _cautious(deviation: float, mean: float, count: int) -> float:
    """The deviation when few items were seen: one more is counted, at the prior spread."""
    return sqrt((deviation**2 * count + (_PRIOR_SPREAD * mean) ** 2) / (count + 1))


def _last_end(rests: list[float], items: int, mean: float, processes: int) -> float:
    """When the last item ends if each one takes `mean` and goes to the first free process.

    `rests` says, in rising order, when the busy processes become free.
    """
    longest = rests[-1] if rests else 0.0
    if not items or mean <= 0.0:
        return longest
    free = [0.0] * (processes - len(rests)) + rests[:processes]
    # Pour the work over the processes like water over steps: all reach the same level.
    used, below = len(free), sum(free)
    while used > 1 and items * mean < used * free[used - 1] - below:
        used -= 1
        below -= free[used]
    level = (items * mean + max(0.0, below)) / used
    # Items don't flow. Those that end by the level are whole; the others end one step above.
    whole = [int((level - start) / mean + 1e-6) for start in free[:used]]
    missing = items - sum(whole)
    if missing <= 0:
        return max(longest, level)
    above = sorted(start + (n + 1) * mean for start, n in zip(free, whole, strict=False))
    return max(longest, above[min(missing, used) - 1])


def _sane(value: float) -> float:
    return min(max(value, 0.0), _LONGEST) if value == value else 0.0
