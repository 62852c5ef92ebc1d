"""How long the rest will take: pure arithmetic, no clock and no chance.

What items were seen to take, and how long those that run have taken already, says what items may
take (``durations``). From that a few dozen possible futures are played: each draws what the running
items still need, how long the waiting ones are, how wrong the mean of those seen is, and how a trend
goes on; and each shares the waiting items among the processes as a farm does. The middle one of the
ends is the estimate, and four out of five of them lie in its interval. The draws are always the same
ones, so that equal histories have equal estimates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from heapq import heapify, heapreplace
from math import exp, fsum, isfinite, log, log1p, sqrt

from farmhand.durations import LONGEST, SHORTEST, Law, Sample, Seen, laws, sane
from farmhand.progress import Estimate
from farmhand.values import dataclass

__all__ = ["Estimator", "Running", "Steady"]

_FUTURES = 64
_MOST_DRAWS = 6000  # in all futures together: with many processes there are fewer futures
_LEAST_FUTURES = 16
_MOST_PROCESSES = 256  # that are played one by one; more are played as so many
_MOST_ITEMS = 10**15
_LONGEST_RUN = 1e18  # seconds
_PLACES = 12  # of the waiting items, at which a curve is looked at
_ONE_BY_ONE = 32  # so few waiting items are always played one by one
_PACE = 0.25  # how uneven the pace inside an item is (log): its reports are not exact
_WIDER = 1.0  # the interval, against what the futures say: fitted to the traces in benchmarks/
_LEAST_WIDTH = 0.02  # half of the interval, as a part of the estimate
_DIMENSIONS = 97
_UNSEEN = 15.0
_DRIFT = 0.03  # how much the rest differs from what was seen in ways that nobody foresees (log)
_STEP = 0.15  # of the interval: so much is not worth a change of what is shown
_NEAR = 0.02  # of the estimate: the same
_SLOWER = 0.25  # the first items of processes are apart if they take so much longer (log)
_FRESH = 0.3  # how much another run of the same task may differ as a whole (log)
_EARLIER = 20.0  # items of this run that weigh as much as all those of earlier runs
_SETTLED = 20  # items of each process after which it is known what the farm itself costs


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
        self._items = Sample()
        self._firsts = Sample()  # of their processes
        self._earlier = Sample()  # of earlier runs
        self._attempts = 0
        self._ended = 0
        self._spent = 0.0
        self._slept: dict[int, float] = {}  # seconds, by item that ran meanwhile

    def learn(self, indices: Sequence[int], seconds: Sequence[float]) -> None:
        """Take in how long items of an earlier run of the same task took.

        They count until this run has shown enough itself.
        """
        self._earlier.add(indices, seconds)

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
        size = min(len(indices), len(seconds))
        if not size:
            return
        self._attempts += size
        if not again:
            self._ended += size
        if self._slept:
            seconds = [self.awake(index, each) for index, each in zip(indices, seconds, strict=False)]
            for index in indices:
                self._slept.pop(index, None)
        if first:
            self._firsts.add(indices[:1], seconds[:1])
            indices, seconds = indices[1:], seconds[1:]
        self._items.add(indices, seconds)

    def spent(self, process_seconds: float) -> None:
        """So many seconds went by, times the processes that were ready, while items were waiting.

        What of it was no item's duration is what the farm itself costs; that matters for tiny items.
        """
        if 0.0 < process_seconds < LONGEST:
            self._spent += process_seconds

    def slept(self, seconds: float, indices: Iterable[int]) -> None:
        """The clock went on for so long while the computer slept; these items were running."""
        for index in indices:
            self._slept[index] = self._slept.get(index, 0.0) + sane(seconds)

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
        if items_left is None:
            return None
        waiting = min(max(0, items_left - len(running)), _MOST_ITEMS)
        if not waiting and not running:
            return Estimate(0.0, 0.0, 0.0)
        view = _View(self, running, total)
        if not view.laws:
            return None
        return _play(view, self, waiting, max(1, processes))

    def rest_of(self, item: Running) -> float | None:
        """Seconds that a running item probably still takes (the median); None when nobody can say."""
        rest = reported(item)
        if rest is not None:
            return rest
        view = _View(self, (item,), None)
        if not view.laws:
            return None
        return max(0.0, view.rest(item, self.awake(item.index, sane(item.elapsed)), view.laws[0])(0.5))

    @property
    def attempts(self) -> float:
        """How many attempts an item takes."""
        return self._attempts / self._ended if self._ended else 1.0

    def awake(self, index: int, seconds: float) -> float:
        """How long an item took, without the time for which the computer slept, if that is in it."""
        slept = self._slept.get(index, 0.0)
        if not 0.0 < slept < seconds:
            return seconds
        usual = (self._items.total + self._firsts.total) / max(1, self._items.count + self._firsts.count)
        if not usual:
            return seconds - slept
        one, other = log(max(seconds, SHORTEST) / usual), log(max(seconds - slept, SHORTEST) / usual)
        return seconds if abs(one) < abs(other) else seconds - slept


def reported(item: Running) -> float | None:
    """Seconds that an item still takes, going by its reports; None when it does not report."""
    complete = item.complete
    if complete is None or not complete > 0.001:  # below, as Brian has it, it is anybody's guess
        return None
    if item.rest is not None and item.rest == item.rest:
        return sane(item.rest)
    part = min(complete, 1.0)
    return sane(sane(item.elapsed) * (1.0 - part) / part)


class _View:
    """All that is known at one moment."""

    def __init__(self, known: Estimator, running: Sequence[Running], total: int | None) -> None:
        self.reporting: list[tuple[float, float]] = []  # what they still need, and how sure that is
        self.silent: list[tuple[Running, float]] = []  # with how long they have run
        self.slower = 0.0  # how much longer the first items of processes take (log)
        self.level_error = 0.0
        self.exact = 1.0  # the mean of all, against that of those that are kept
        items, firsts = known._items.seen(), known._firsts.seen()
        if firsts and not self._are_slower(firsts, items):
            items = sorted(items + firsts, key=_index)
        # what is kept of a large number stands for many items each; what runs, for as many
        weight = fsum(each.weight for each in items) / len(items) if items else 1.0
        seen = list(items)
        for item in running:
            rest, age = reported(item), known.awake(item.index, sane(item.elapsed))
            slower = self.slower if item.first else 0.0
            if rest is not None:
                self.reporting.append((rest, _PACE * (1.0 - min(item.complete or 0.0, 1.0))))
                seen.append(Seen(item.index, log(max(age + rest, SHORTEST)) - slower, weight))
            else:
                self.silent.append((item, age))
                if age > 0.0:
                    seen.append(Seen(item.index, log(max(age, SHORTEST)) - slower, weight, False))
        self.top = max([known._items.top, known._firsts.top] + [item.index + 1 for item in running])
        self.total = total if total is None else max(total, self.top)
        earlier = known._earlier.seen()
        if earlier:
            seen += self._shifted(earlier, seen)
        elif known._items.count > len(items):
            kept = fsum(each.weight * exp(each.log) for each in items) / fsum(each.weight for each in items)
            self.exact = known._items.total / known._items.count / kept
        seen.sort(key=_index)
        self.whole = sum(each.whole for each in seen)
        self.count = max(known._items.count, self.whole)
        self.laws: list[Law] = []
        if self.whole:
            self.laws, self.spread = laws(seen, self.total)
        worked = known._items.total + known._firsts.total + fsum(item.elapsed for item in running)
        self.idle = max(0.0, known._spent - worked)  # seconds of processes

    def _are_slower(self, firsts: list[Seen], items: list[Seen]) -> bool:
        """Whether the first items of processes take longer than others; if nobody knows, they do not."""
        if len(items) < 2:
            return False
        one = fsum(each.log for each in firsts) / len(firsts)
        other = fsum(each.log for each in items) / len(items)
        scatter = fsum((each.log - other) ** 2 for each in items) + fsum(
            (each.log - one) ** 2 for each in firsts
        )
        error = sqrt((scatter + 0.05) / (len(items) + len(firsts)) * (1 / len(items) + 1 / len(firsts)))
        if one - other > _SLOWER + 2.5 * error:
            self.slower = one - other
            return True
        return False

    def _shifted(self, earlier: list[Seen], seen: list[Seen]) -> list[Seen]:
        """Observations of earlier runs, shifted to where those of this one are."""
        whole = [each for each in seen if each.whole]
        (before, *_), spread = laws(earlier, self.total)
        shift, self.level_error = 0.0, _FRESH
        weight = 1.0
        if whole:
            middle, variance = spread.middle, spread.variance + 0.01
            shift = fsum(each.log - before.at(each.index) - middle for each in whole) / len(whole)
            trust = _FRESH**2 / (_FRESH**2 + variance / len(whole))
            shift *= trust
            self.level_error *= sqrt(1.0 - trust)
            weight = fsum(each.weight for each in whole) / len(whole)
        weight *= min(1.0, _EARLIER / (len(whole) + 1.0)) / (
            fsum(each.weight for each in earlier) / len(earlier)
        )
        return [Seen(each.index, each.log + shift, each.weight * weight) for each in earlier]

    def rest(self, item: Running, age: float, law: Law) -> Callable[[float], float]:
        """What an item that does not report still needs: the seconds that such a part of all are below."""
        usual = exp(law.at(item.index) + (self.slower if item.first else 0.0))
        draw = self.spread.above(age / usual)
        return lambda part: draw(part) * usual - age


def _play(view: _View, known: Estimator, waiting: int, processes: int) -> Estimate:
    """Play what may happen, and look where the ends lie."""
    running = len(view.silent) + len(view.reporting)
    tries = waiting * (known.attempts)
    processes = min(processes, waiting + running)
    crowd = max(1.0, processes / _MOST_PROCESSES)  # each that is played stands for so many
    lanes = min(processes, _MOST_PROCESSES)
    one_by_one = waiting <= max(2 * lanes, _ONE_BY_ONE) and crowd == 1.0
    draws = len(view.silent) / crowd + (waiting if one_by_one else 4)
    futures = int(min(_FUTURES, max(_LEAST_FUTURES, _MOST_DRAWS / max(1.0, draws))))
    some = view.silent[:: max(1, int(crowd))]
    overhead = view.idle / view.count if view.count >= _SETTLED * processes else 0.0
    total = view.top + waiting if view.total is None else max(view.total, view.top + 1)
    width = (total - view.top) / min(waiting, _PLACES) if waiting else 0.0
    places = [view.top + (place + 0.5) * width for place in range(min(waiting, _PLACES))]
    gap = (total - view.top) / waiting if waiting else 0.0
    each_at = [view.top + (place + 0.5) * gap for place in range(waiting)] if one_by_one else []
    spread = view.spread
    variance = max(0.0, spread.square / spread.mean**2 - 1.0)
    doubt = sqrt(log1p(variance / view.count) + view.level_error**2 + _DRIFT**2)
    unseen = _UNSEEN * min(1.0, 0.3 + sqrt(spread.variance)) / (view.count + 1.0)
    wobble = log1p(variance / tries) if waiting else 0.0
    silent = [0.0] * len(some)
    ends: list[float] = []
    numbers = [_parts(futures, dimension) for dimension in range(_DIMENSIONS)]
    sofar = 0.0
    upcoming = iter(view.laws)
    for future in range(futures):
        if (future + 0.5) / futures > sofar or not future:
            law = next(upcoming)
            while law.weight + sofar < (future + 0.5) / futures and law is not view.laws[-1]:
                sofar += law.weight
                law = next(upcoming)
            sofar += law.weight if law is not view.laws[-1] else 2.0
            draws = [view.rest(item, age, law) for item, age in some]
            if waiting:
                curve = [exp(law.at(at)) for at in (each_at if one_by_one else places)]
            exact = view.exact if law.curve.kind == "flat" else 1.0
        level = exact * exp(doubt * _normal(numbers[0][future]))
        level *= 1.0 + unseen * numbers[1][future] ** 4
        rests = [
            rest * exp(pace * _normal(numbers[(3 + place) % _DIMENSIONS][future]))
            for place, (rest, pace) in enumerate(view.reporting)
        ]
        rests += [
            max(0.0, draw(numbers[(3 + place) % _DIMENSIONS][future]))
            for place, draw in enumerate(draws, len(rests))
        ]
        rests.sort()
        longest = rests[-1] if rests else 0.0
        if not waiting:
            ends.append(longest)
            continue
        free = [0.0] * (lanes - len(rests)) + rests[:lanes]
        if one_by_one:
            level *= known.attempts
            heapify(free)
            for place, usual in enumerate(curve, 3 + len(rests)):
                seconds = usual * level * spread.draw(numbers[place % _DIMENSIONS][future])
                heapreplace(free, free[0] + seconds + overhead)
            ends.append(max(longest, max(free)))
            continue
        mean = sum(curve) / len(curve) * level * spread.mean
        work = tries * (mean * exp(sqrt(wobble) * _normal(numbers[2][future]) - wobble / 2) + overhead)
        filled = _level(free, work / crowd)
        # the queue is empty before that, and then each process is somewhere in an item
        odd = numbers[3 + len(rests) % (_DIMENSIONS - 3)][future] ** (1.0 / processes)
        over = max(0.0, spread.last_rest(odd) - spread.average_rest)
        ends.append(max(longest, filled + over * curve[-1] * level))
    ends.sort()
    low, median, high = (min(_quantile(ends, share), _LONGEST_RUN) for share in (0.1, 0.5, 0.9))
    if median > 0.0:
        low = median * (max(low, 1e-9 * median) / median) ** _WIDER
        high = median * (high / median) ** _WIDER
    low = min(low, median * (1.0 - _LEAST_WIDTH))
    return Estimate(low, median, max(high, median * (1.0 + _LEAST_WIDTH)))


def _level(free: Sequence[float], work: float) -> float:
    """When all processes have done so much work together; ``free`` says, rising, when each begins."""
    used, before = len(free), fsum(free)
    while used > 1 and work < used * free[used - 1] - before:
        used -= 1
        before -= free[used]
    return (work + max(0.0, before)) / used


def _quantile(ordered: Sequence[float], part: float) -> float:
    place = part * len(ordered) - 0.5
    below = min(max(int(place), 0), len(ordered) - 1)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@cache
def _parts(futures: int, dimension: int) -> tuple[float, ...]:
    """A number between 0 and 1 for each future, spread evenly, in an order of this dimension's own."""
    parts = [(future + 0.5) / futures for future in range(futures)]
    state = 0x2545F491 * (dimension + 1) + futures
    for place in range(futures - 1, 0, -1):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        other = (state >> 33) % (place + 1)
        parts[place], parts[other] = parts[other], parts[place]
    return tuple(parts)


def _normal(part: float) -> float:
    """The normal deviate that such a part of all are below (the lambda distribution; to 0.01)."""
    return 4.91 * (part**0.14 - (1.0 - part) ** 0.14)


class Steady:
    """An estimate that can be read: it counts down, and changes only when it is worth a change.

    Bounds of the time of the end stay where they are until what is estimated anew is clearly
    elsewhere; so the words that a frontend makes of them do not flicker.
    """

    def __init__(self) -> None:
        self._held: tuple[float, float, float] | None = None  # times of the end

    def show(self, estimate: Estimate | None, elapsed: float) -> Estimate | None:
        """What to show of an estimate made so many seconds after the run began."""
        if estimate is None:
            self._held = None
            return None
        new = (elapsed + estimate.low, elapsed + estimate.median, elapsed + estimate.high)
        held = self._held
        if held is None or any(
            abs(one - other) > _STEP * (estimate.high - estimate.low) + _NEAR * estimate.median
            for one, other in zip(new, held, strict=True)
        ):
            held = self._held = new
        return Estimate(*(max(0.0, end - elapsed) for end in held))


def _index(seen: Seen) -> int:
    return seen.index
