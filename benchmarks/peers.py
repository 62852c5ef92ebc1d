"""Estimates of the time remaining: farmhand's, and those that others show, by their documented formulas.

Each is made for one trace and then shown one ``Look`` after the other. It answers with low, median and high,
or one number, in seconds, or None where it would show nothing.
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Protocol

from families import DRAWS, Trace
from replay import Look

from farmhand.eta import Estimator, Running, Steady

Answer = tuple[float, float, float] | float | None


class Contender(Protocol):
    """Who estimates."""

    def look(self, look: Look) -> Answer:
        """Seconds that the rest takes."""


class Farmhand:
    """farmhand's, as its frontends show it."""

    def __init__(self, trace: Trace) -> None:
        self._total = len(trace.seconds)
        self._estimator = Estimator()
        self._steady = Steady()
        self._slept = 0.0
        self.cost: list[float] = []  # seconds of CPU, of each estimate
        if trace.earlier:
            self._estimator.learn(list(trace.earlier), list(trace.earlier.values()))

    def look(self, look: Look) -> Answer:
        began = time.process_time()
        estimator, slept = self._estimator, look.slept
        for ended in look.ended:
            if slept is not None and ended.when >= slept.when:
                estimator.slept(slept.seconds, slept.indices)
                slept = None
            estimator.ended(ended.indices, ended.seconds, first=ended.first, again=ended.again)
        if slept is not None:
            estimator.slept(slept.seconds, slept.indices)
        if look.slept is not None:
            self._slept += look.slept.seconds
        estimator.spent(look.spent)
        running = [
            Running(each.index, each.elapsed, each.complete, each.rest, each.first) for each in look.running
        ]
        estimate = estimator.remaining(look.left, look.processes, running, total=self._total)
        shown = self._steady.show(estimate, look.elapsed - self._slept)
        self.cost.append(time.process_time() - began)
        return None if shown is None else (shown.low, shown.median, shown.high)


class Average:
    """Elapsed/done, as most bars have it: what a resumed run skips is done, and took no time."""

    def __init__(self, trace: Trace) -> None:
        self._skipped = len(trace.skipped)

    def look(self, look: Look) -> Answer:
        done = self._skipped + look.done
        return look.elapsed / done * look.left if done else None


class OwnAverage(Average):
    """Elapsed/done, of the items of this run alone."""

    def __init__(self, trace: Trace) -> None:
        self._skipped = 0


class Tqdm:
    """tqdm 4: the rate as the ratio of two exponential averages, of items and of seconds between updates.

    By what its documentation says of ``smoothing`` (0.3), ``mininterval`` (0.1 s), ``maxinterval`` (10 s),
    ``miniters`` and ``initial``, at https://tqdm.github.io; it says the same as tqdm 4.70 with a clock of
    virtual time. Each average is divided by 1 - 0.7**updates, which cancels in the ratio. ``initial`` is what
    a resumed run skips, which doesn't count in the rate. Updates less than ``mininterval`` apart are one; how
    many items end in it is smoothed as well, and nothing is an update before as many have ended, or before
    ``maxinterval`` is over.
    """

    SMOOTHING = 0.3
    MININTERVAL = 0.1
    MAXINTERVAL = 10.0

    def __init__(self, trace: Trace) -> None:
        self._items = self._seconds = 0.0  # the two averages,
        self._usual = 0.0  # and that of items in an interval, of so many updates
        self._updates = 0
        self._last = 0.0  # when the last update was
        self._since = 0  # items since then
        self._least = 0.0  # items that make an update

    def look(self, look: Look) -> Answer:
        for ended in look.ended:
            if not ended.again:
                self._since += len(ended.indices)
                self._update(ended.when)
        if self._items:
            return look.left * self._seconds / self._items
        return look.elapsed / look.done * look.left if look.done else None

    def _update(self, now: float) -> None:
        passed = now - self._last
        if passed < self.MININTERVAL or (self._since < self._least and passed < self.MAXINTERVAL):
            return
        self._items += self.SMOOTHING * (self._since - self._items)
        self._seconds += self.SMOOTHING * (passed - self._seconds)
        usual = self._since * self.MININTERVAL / passed
        if passed >= self.MAXINTERVAL:
            self._least = usual
        else:
            self._usual += self.SMOOTHING * (usual - self._usual)
            self._updates += 1
            self._least = self._usual / (1.0 - (1.0 - self.SMOOTHING) ** self._updates)
        self._last, self._since = now, 0


class GnuParallel:
    """GNU parallel --eta, by ``compute_eta`` of version 20221122, which is not rounded to seconds here.

    The average time is that since the first job has ended, divided by all jobs that have ended, those that
    ``--resume`` skips included; it is smoothed: the more of all jobs are done, the more the newest value
    counts. What rises by less than a tenth is not shown. Here that is done whenever something ends, and
    whenever somebody looks.
    """

    def __init__(self, trace: Trace) -> None:
        self._skipped = len(trace.skipped)
        self._total = len(trace.seconds)
        self._done = self._skipped
        self._first: float | None = 0.0 if self._skipped else None
        self._smoothed = 0.0
        self._shown = 0.0

    def look(self, look: Look) -> Answer:
        for ended in look.ended:
            if not ended.again:
                self._done += len(ended.indices)
                self._compute(ended.when)
        if not self._done:
            return None
        return self._compute(look.elapsed)

    def _compute(self, now: float) -> float:
        if self._first is None:
            self._first = now
        complete = self._done / self._total
        average = (now - self._first) / self._done
        self._smoothed = self._smoothed or average
        self._smoothed = (1 - complete) * self._smoothed + complete * average
        left = (self._total - self._done) * self._smoothed
        if not 0.9 * left < self._shown < left:
            self._shown = left
        return self._shown


class Brian:
    """Brian 1.4's task farm: elapsed / complete - elapsed, running items counted by what they reported last.

    By ``brian/tools/taskfarm.py`` and ``brian/utils/progressreporting.py``. Below 0.001 it says nothing. It
    had no resume, so that only the items of this run count.
    """

    def __init__(self, trace: Trace) -> None:
        self._total = len(trace.seconds) - len(trace.skipped)

    def look(self, look: Look) -> Answer:
        inside = sum(each.reported or 0.0 for each in look.running)
        complete = (look.done + inside) / self._total
        return look.elapsed / complete - look.elapsed if complete > 0.001 else None


class Oracle:
    """Knows how long all items take that have not ended, but not in which order those come that wait.

    Nor does it know which attempts fail, or that the number of processes changes.
    What is left of its error is that of the end, when processes become idle one by one.
    """

    ORDERS = 9
    MOST = 2000  # items; with more the order hardly matters

    def __init__(self, trace: Trace) -> None:
        self._source = random.Random(trace.seed)
        self._seconds = trace.seconds
        self._overhead = trace.overhead

    def look(self, look: Look) -> Answer:
        waiting = [self._seconds[index] + self._overhead for index in look.waiting]
        free = sorted(each.left for each in look.running)[: look.processes]
        free = [0.0] * (look.processes - len(free)) + free
        if len(waiting) > self.MOST:
            return (sum(free) + sum(waiting)) / look.processes
        return median(self._end(free, waiting) for _ in range(self.ORDERS))

    def _end(self, free: list[float], waiting: list[float]) -> float:
        self._source.shuffle(waiting)
        return last_end(free, waiting)


class Expert:
    """Knows from which family the durations are drawn, as if it had run such items very often, but not these.

    The rest of the run is drawn anew many times: its error is what nobody could avoid who has to guess the
    durations as well, and its interval should hold the truth four times out of five. It is not told of
    a change of the number of processes, and hears no reports.
    """

    DRAWN = 59  # with the 6th and the 54th of them four fifths of all cases are between

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._draw = DRAWS.get(trace.family)
        self._source = random.Random(f"expert {trace.seed}")

    def look(self, look: Look) -> Answer:
        if self._draw is None:
            return None
        running = [(each, self._longer(each.index, each.elapsed, each.first)) for each in look.running]
        fresh = self._trace.start_up if not look.done else 0.0
        ends = []
        for _ in range(self.DRAWN):
            free = sorted(self._source.choice(longer) - each.elapsed for each, longer in running)
            free = [fresh] * (look.processes - len(free)) + free[: look.processes]
            ends.append(last_end(free, [self._seconds(index) for index in look.waiting]))
        ends.sort()
        return ends[self.DRAWN // 10], ends[self.DRAWN // 2], ends[-1 - self.DRAWN // 10]

    def _seconds(self, index: int) -> float:
        assert self._draw is not None
        return max(1e-6, self._draw(self._source, index / max(1, len(self._trace.seconds) - 1), index))

    def _longer(self, index: int, elapsed: float, first: bool) -> list[float]:
        """Durations that this item may have, since it has run for so long."""
        more = self._trace.start_up if first else 0.0
        drawn = [self._seconds(index) + more for _ in range(400)]
        return [each for each in drawn if each >= elapsed] or [1.3 * elapsed]


def last_end(free: Sequence[float], waiting: Iterable[float]) -> float:
    """When the last item ends: whichever process becomes free takes the next one."""
    ends = list(free)
    heapq.heapify(ends)
    for seconds in waiting:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


CONTENDERS: dict[str, Callable[[Trace], Contender]] = {
    "farmhand": Farmhand,
    "elapsed/done": Average,
    "elapsed/own": OwnAverage,
    "tqdm": Tqdm,
    "parallel": GnuParallel,
    "Brian": Brian,
    "oracle": Oracle,
    "expert": Expert,
}
AT_CHECKPOINTS = ("oracle", "expert")  # they need not be asked in between
