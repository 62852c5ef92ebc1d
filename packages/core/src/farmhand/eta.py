"""How long the rest will take: pure arithmetic, no clock and no chance.

How long items took (``durations``) says how long items take: how that depends on their index
(``trends``) and how it scatters (``spread``); those that run now have something to say as well, and so
have earlier runs. From that a few dozen possible futures are played: each draws what the running items
still need, how long the waiting ones are, how wrong the mean of those seen is, and where a trend leads;
and each shares the waiting items among the processes as a farm does. The middle one of the ends is the
estimate, and four out of five of them lie in its interval. The draws are always the same ones, so that
equal histories have equal estimates.

The numbers below were chosen by ``benchmarks/eta.py``, on the traces that are there to be tuned on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from heapq import heapify, heapreplace
from math import exp, fsum, log, log1p, sqrt
from operator import attrgetter

from farmhand.bars import REPORTED
from farmhand.courses import Courses
from farmhand.durations import LONGEST, SHORTEST, Sample, Seen, sane
from farmhand.progress import Estimate
from farmhand.trends import Law, laws
from farmhand.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["Estimator", "Running", "Steady", "reported"]

# how much is played
_FUTURES = (64, 48, 32, 24, 16)  # with many processes there are fewer of them
_MOST_DRAWS = 6000  # in all futures together
_MOST_LANES = 256  # processes that are played one by one; more are played as so many
_MOST_RUNNING = 64  # items that are looked at as to how long others take
_MOST_EARLIER = 64  # of earlier runs: the same
_MOST_ITEMS = 10**15
_LONGEST_RUN = 1e18  # seconds
_PLACES = 12  # of the waiting items, at which a trend is looked at
_ONE_BY_ONE = 32  # so few waiting items are always played one by one
_DIMENSIONS = 97  # of chance: what needs more shares them
# how wrong things may be, as standard deviations of logarithms
_OTHER = 0.7  # an item against all others
_BEND = 0.2  # a trend, of the change that it says comes
_DRIFT = 0.07  # the rest of a run, in ways that nobody foresees, when half of it is over
_FRESH = 0.3  # another run of the same task
_UNSEEN = 40.0  # what has not come yet, as one item is: so many times as long as others that scatter
_WIDER = 1.2  # the interval, against what the futures say
_LEAST_WIDTH = 0.02  # half of the interval, as a part of the estimate
# when things are known
_TELLING = 0.2  # of an item: when so much is done, its reports say how long such items take
_LAST = 0.25  # of an item that has reported its end: so long it may still take, against what it took
_SLOWER = 0.25  # the first items of processes are apart if they take so much longer (log)
_EARLIER = 20.0  # items of this run from which on one of an earlier run weighs less than one of these
_SETTLED = 20  # items of each process after which it shows what the farm itself costs
# when what is shown changes
_STEP = 0.15  # of the interval: so much is not worth a change
_NEAR = 0.02  # of the estimate: the same
_MOMENT = 1.0  # seconds for which the estimate must be elsewhere, unless
_SHORT = 0.1  # such a part of what has passed, or of what is left, is less than that


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

    Attributes
    ----------
    items, firsts, earlier : Sample
        How long items took: most of this run, the first ones of their processes, and those of earlier runs.
    courses : Courses
        What their reports were worth.
    process_seconds : float
        Seconds that went by while items waited, times the processes that were ready.
    """

    def __init__(self) -> None:
        self.items = Sample()
        self.firsts = Sample()
        self.earlier = Sample()
        self.process_seconds = 0.0
        self.courses = Courses()
        self._attempts = 0
        self._ended = 0
        self._slept: dict[int, float] = {}  # seconds, by item that ran meanwhile
        self._view: _View | None = None  # what was known at the last look, or when one item was asked about

    def learn(self, indices: Sequence[int], seconds: Sequence[float]) -> None:
        """Take in how long items of an earlier run of the same task took.

        They count until this run has shown enough itself.
        """
        self.earlier.add(indices, seconds)

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
        if self._view is not None and not self._view.laws:
            self._view = None  # now something is known
        self._attempts += size
        if not again:
            self._ended += size
        if self._slept:
            seconds = [self.awake(index, each) for index, each in zip(indices, seconds, strict=False)]
            for index in indices:
                self._slept.pop(index, None)
        if self.courses:
            for index, each in zip(indices, seconds, strict=False):
                self.courses.ended(index, each)
        if first:
            self.firsts.add(indices[:1], seconds[:1])
            indices, seconds = indices[1:], seconds[1:]
        self.items.add(indices, seconds)

    def spent(self, process_seconds: float) -> None:
        """So many seconds went by, times the processes that were ready, while items were waiting.

        What of it was no item's duration is what the farm itself costs; that matters for tiny items.
        """
        if 0.0 < process_seconds < LONGEST:
            self.process_seconds += process_seconds

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
        for item in running:
            rest = reported(item)
            if rest is not None:
                whole = self.awake(item.index, sane(item.elapsed)) + rest
                self.courses.said(item.index, item.complete or 0.0, whole)
        self._view = view = _View(self, running, total)
        if not view.laws:
            return None
        return _Futures(view, waiting, processes).estimate()

    def rest_of(self, item: Running) -> float | None:
        """Seconds that a running item probably still takes (the median); None when nobody can say.

        Of one that does not report, going by what was known when :meth:`remaining` was asked last.
        """
        rest = reported(item)
        if rest is not None:
            return rest
        if self._view is None:
            self._view = _View(self, (), None)
        if not self._view.laws:
            return None
        return self._view.rest(item, self._view.laws[0].at(item.index))(0.5)

    @property
    def attempts(self) -> float:
        """How many attempts an item takes."""
        return self._attempts / self._ended if self._ended else 1.0

    def awake(self, index: int, seconds: float) -> float:
        """How long an item took, without the time for which the computer slept, if that is in it."""
        slept = self._slept.get(index, 0.0)
        if not 0.0 < slept < seconds:
            return seconds
        usual = (self.items.total + self.firsts.total) / max(1, self.items.count + self.firsts.count)
        if not usual:
            return seconds - slept
        one, other = log(max(seconds, SHORTEST) / usual), log(max(seconds - slept, SHORTEST) / usual)
        return seconds if abs(one) < abs(other) else seconds - slept


def reported(item: Running) -> float | None:
    """Seconds that an item still takes, going by its reports; None when it does not report."""
    complete = item.complete
    if complete is None or not complete > REPORTED:
        return None
    if item.rest is not None and item.rest == item.rest:
        return sane(item.rest)
    part = min(complete, 1.0)
    return sane(sane(item.elapsed) * (1.0 - part) / part)


class _View:
    """All that is known at one moment.

    Attributes
    ----------
    laws : list of Law
        What durations may follow; empty when nothing is known.
    spread : Spread
        How they scatter about it; only if there are laws.
    silent, reporting : list of Running
        What runs, by whether it says how far it is.
    slower : float
        How much longer (log) the first items of processes take.
    level_error : float
        How uncertain it is that earlier runs were as this one (log).
    count : int
        How many items were seen.
    exact : float
        The mean of all of them, against that of those that were kept.
    top, total : int, int or None
        The index behind the last item that has begun, and behind the last of all.
    attempts : float
        How many an item takes.
    """

    def __init__(self, known: Estimator, running: Sequence[Running], total: int | None) -> None:
        self._known = known
        self.silent: list[Running] = []
        self.reporting: list[Running] = []
        for item in running:
            (self.silent if reported(item) is None else self.reporting).append(item)
        self.slower = self.level_error = 0.0
        self.exact = 1.0
        items, firsts = known.items.seen(), known.firsts.seen()
        if firsts:
            self.slower = _slower(firsts, items)
            items += [Seen(each.index, each.log - self.slower, each.weight) for each in firsts]
        # of a large number some were kept, and stand for many each: what runs stands for itself alone
        ended = known.items.count + known.firsts.count
        weight = sum(each.weight for each in items) / ended if ended else 1.0
        seen = items + self._begun(running, weight)
        self.top = max([known.items.top, known.firsts.top] + [item.index + 1 for item in running])
        self.total = total if total is None else max(total, self.top)
        earlier = _evenly(known.earlier.seen(), _MOST_EARLIER)
        if earlier:
            seen += self._shifted(earlier, seen)
        elif known.items.count > len(items):
            kept = fsum(each.weight * exp(each.log) for each in items) / fsum(each.weight for each in items)
            self.exact = known.items.total / known.items.count / kept
        if not any(each.whole for each in seen):  # better a bold guess, by the first reports, than none
            seen = [_whole(item) for item in self.reporting]
        seen.sort(key=attrgetter("index"))
        self.count = max(known.items.count, sum(each.whole for each in seen))
        self.laws: list[Law] = []
        if seen:
            self.laws, self.spread = laws(seen, self.total)
        self.attempts = known.attempts
        worked = known.items.total + known.firsts.total + fsum(sane(item.elapsed) for item in running)
        self._idle = max(0.0, known.process_seconds - worked)

    def _begun(self, running: Sequence[Running], weight: float) -> list[Seen]:
        """What the running items say about how long others take."""
        found = []
        some = _evenly(running, _MOST_RUNNING)
        for item in some:
            age = self._known.awake(item.index, sane(item.elapsed))
            rest = None if reported(item) is None else self.rest_reported(item)[0]
            # what has only just begun to report says that it runs, and not how long it takes
            whole = rest is not None and (item.complete or 0.0) >= _TELLING
            seconds = age + (rest or 0.0) if whole else age
            if seconds > 0.0:
                slower = self.slower if item.first else 0.0
                long = log(max(seconds, SHORTEST)) - slower
                found.append(Seen(item.index, long, weight * len(running) / len(some), whole))
        return found

    def _shifted(self, earlier: Sequence[Seen], seen: Sequence[Seen]) -> list[Seen]:
        """Observations of earlier runs, shifted to where those of this one are."""
        whole = [each for each in seen if each.whole]
        (before, *_), spread = laws(earlier, self.total)
        shift, weight, self.level_error = 0.0, 1.0, _FRESH
        if whole:
            off = fsum(each.log - before.at(each.index) - spread.middle for each in whole) / len(whole)
            error = (spread.variance + 0.01) / len(whole)
            apart = max(_FRESH**2, off * off - error)  # it may have been of quite other items
            trust = apart / (apart + error)
            shift, self.level_error = off * trust, sqrt(apart * (1.0 - trust))
            weight = sum(each.weight for each in whole) / len(whole)
        weight *= min(1.0, _EARLIER / (len(whole) + 1.0))
        weight /= sum(each.weight for each in earlier) / len(earlier)
        return [Seen(each.index, each.log + shift, each.weight * weight) for each in earlier]

    def overhead(self, processes: int) -> float:
        """Seconds of a process that an item takes beside its duration; zero before that is known."""
        return self._idle / self.count if self.count >= _SETTLED * processes else 0.0

    def rest(self, item: Running, usual: float) -> Callable[[float], float]:
        """What an item still needs, going by others: the seconds that such a part of all are below.

        ``usual`` is the logarithm of the seconds that such items take.
        """
        age = self._known.awake(item.index, sane(item.elapsed))
        return self.spread.left(age, exp(usual + (self.slower if item.first else 0.0)))

    def rest_reported(self, item: Running) -> tuple[float, float]:
        """What an item that reports still needs, read as others have shown; and how uncertain it is."""
        age, rest = self._known.awake(item.index, sane(item.elapsed)), reported(item) or 0.0
        off, error = self._known.courses.reading(item.complete or 0.0)
        return max(0.0, (age + rest) * exp(off) - age), error

    def reported(self, item: Running, usual: float) -> Callable[[float], float]:
        """The same of an item that reports.

        The earlier a report is the less it says about the whole, and the more do other items.
        """
        others = self.rest(item, usual)
        rest, error = self.rest_reported(item)
        if not rest:  # it says that it is done, and has something left to do
            most = _LAST * sane(item.elapsed)
            return lambda part: min(others(part), most)
        wrong = error**2 / (error**2 + self.spread.variance + _OTHER**2)

        def draw(part: float) -> float:
            if part < wrong:
                return others(part / wrong)
            return rest * exp(error * _normal((part - wrong) / (1.0 - wrong)))

        return draw


def _slower(firsts: Sequence[Seen], items: Sequence[Seen]) -> float:
    """How much longer (log) the first items of processes take than others; if nobody knows, no longer."""
    if not items or len(firsts) + len(items) < 3:
        return 0.0
    one = fsum(each.log for each in firsts) / len(firsts)
    other = fsum(each.log for each in items) / len(items)
    squares = fsum((each.log - one) ** 2 for each in firsts) + fsum((each.log - other) ** 2 for each in items)
    variance = (squares + 0.05) / (len(firsts) + len(items))
    error = sqrt(variance * (1 / len(firsts) + 1 / len(items)))
    return one - other if one - other > _SLOWER + 2.5 * error else 0.0


def _whole(item: Running) -> Seen:
    """An item that has begun to report, as if it had ended."""
    return Seen(item.index, log(max(sane(item.elapsed) + (reported(item) or 0.0), SHORTEST)))


@dataclass(frozen=True, slots=True)
class _Prospect:
    """What one law says: what running items need, and the logarithms of what waiting ones take."""

    rests: Sequence[Callable[[float], float]]
    waiting: Sequence[float]
    bends: Sequence[float]  # how far each of these may be off
    exact: float


class _Futures:
    """What may happen.

    Parameters
    ----------
    view : _View
        What is known.
    waiting : int
        Items that have not begun.
    processes : int
        How many share them.
    """

    def __init__(self, view: _View, waiting: int, processes: int) -> None:
        running = len(view.silent) + len(view.reporting)
        self._view, self._spread = view, view.spread
        self._waiting = waiting
        self._tries = waiting * view.attempts
        self._processes = processes = max(1, min(processes, waiting + running))
        self._lanes = min(processes, _MOST_LANES)
        self._crowd = max(1.0, processes / _MOST_LANES)  # processes that each lane stands for
        self._reporting, self._silent = (
            _evenly(items, int(len(items) / self._crowd)) for items in (view.reporting, view.silent)
        )
        self._one_by_one = waiting <= max(2 * self._lanes, _ONE_BY_ONE) and self._crowd == 1.0
        self._overhead = view.overhead(processes)
        draws = max(1.0, running / self._crowd + (waiting if self._one_by_one else 0))
        # one of a few numbers, as what is played of chance is kept for each of them
        self._count = next((each for each in _FUTURES if each * draws <= _MOST_DRAWS), _FUTURES[-1])
        self._chances = _chances(self._count)
        last = view.top + waiting if view.total is None else max(view.total, view.top + 1)
        looks = waiting if self._one_by_one else min(waiting, _PLACES)
        gap = (last - view.top) / max(1, looks)
        self._places = [view.top + (place + 0.5) * gap for place in range(looks)]
        spread = view.spread
        self._variance = max(0.0, spread.square / spread.mean**2 - 1.0)
        drift = _DRIFT * sqrt(min(16.0, (last - view.top) / max(view.top, 1)))
        self._doubt = sqrt(log1p(self._variance / view.count) + view.level_error**2 + drift**2)
        self._unseen = _UNSEEN * (0.15 + min(1.5, spread.upward)) / (view.count + 5.0)

    def estimate(self) -> Estimate:
        """What most of them have in common."""
        ends: list[float] = []
        likely = 0.0
        for law in self._view.laws:
            likely += law.weight
            prospect = None
            while len(ends) + 0.5 < likely * self._count or law is self._view.laws[-1]:
                if len(ends) == self._count:
                    break
                prospect = prospect or self._under(law)
                ends.append(min(self._end(len(ends), prospect), _LONGEST_RUN))
        ends.sort()
        low, median, high = (_quantile(ends, part) for part in (0.1, 0.5, 0.9))
        if median > 0.0:
            low = median * (max(low, 1e-9 * median) / median) ** _WIDER
            high = median * (high / median) ** _WIDER
        low = min(low, median * (1.0 - _LEAST_WIDTH))
        return Estimate(low, median, max(high, median * (1.0 + _LEAST_WIDTH)))

    def _under(self, law: Law) -> _Prospect:
        view = self._view
        rests = [
            draw(item, usual)
            for draw, items in ((view.reported, self._reporting), (view.rest, self._silent))
            for item, usual in zip(items, law.along([item.index for item in items]), strict=True)
        ]
        now, *waiting = law.along([view.top, *self._places])
        if law.curve.kind == "flat":
            return _Prospect(rests, waiting, (), view.exact)
        return _Prospect(rests, waiting, [_BEND * (each - now) for each in waiting], 1.0)

    def _end(self, future: int, prospect: _Prospect) -> float:
        """When the last item ends, in one future."""
        first, *chance = self._chances[future]
        rests = [draw(chance[(4 + place) % len(chance)]) for place, draw in enumerate(prospect.rests)]
        rests.sort()
        longest = rests[-1] if rests else 0.0
        if not self._waiting:
            return longest
        lanes, spread = self._lanes, self._spread
        free = [0.0] * (lanes - len(rests)) + rests[:lanes]
        level = prospect.exact * exp(self._doubt * _normal(first))
        level *= (1.0 + self._unseen * chance[0] ** 6) / (
            1.0 + self._unseen / 7
        )  # as much as before, on average
        usual = prospect.waiting
        if prospect.bends:
            turn = _normal(chance[1])
            usual = [each + turn * bend for each, bend in zip(usual, prospect.bends, strict=True)]
        if self._one_by_one:
            level *= self._view.attempts
            heapify(free)
            for place, each in enumerate(usual, 4 + len(rests)):
                seconds = exp(each) * level * spread.draw(chance[place % len(chance)])
                heapreplace(free, free[0] + seconds + self._overhead)
            return max(longest, max(free))
        mean = sum(map(exp, usual)) / len(usual) * level * spread.mean
        scatter = log1p(self._variance / self._tries)
        mean *= exp(sqrt(scatter) * _normal(chance[2]) - scatter / 2)
        work = self._tries * (mean + self._overhead)
        # when all work is done, each process is somewhere in its last item; one of them furthest from its end
        most = spread.last_rest(chance[3] ** (1.0 / self._processes))
        over = max(0.0, most - spread.average_rest) * exp(usual[-1]) * level
        return max(longest, _level(free, work / self._crowd) + over)


def _evenly(items: Sequence[T], most: int) -> Sequence[T]:
    """So many of the items at most."""
    count = len(items)
    return items if count <= most else [items[place * count // most] for place in range(most)]


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
def _chances(futures: int) -> list[tuple[float, ...]]:
    """Numbers between 0 and 1 for each future; each dimension of them is evenly spread over all futures."""
    return list(zip(*(_parts(futures, dimension) for dimension in range(_DIMENSIONS)), strict=True))


def _parts(futures: int, dimension: int) -> list[float]:
    """A number between 0 and 1 for each future, spread evenly, in an order of this dimension's own."""
    parts = [(future + 0.5) / futures for future in range(futures)]
    state = 0x2545F491 * (dimension + 1) + futures
    for place in range(futures - 1, 0, -1):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        other = (state >> 33) % (place + 1)
        parts[place], parts[other] = parts[other], parts[place]
    return parts


def _normal(part: float) -> float:
    """The normal deviate that such a part of all are below (Tukey's lambda distribution: to about 0.01)."""
    deviate: float = 4.91 * (part**0.14 - (1.0 - part) ** 0.14)
    return deviate


class Steady:
    """An estimate that can be read: it counts down, and changes only when it is worth a change.

    Bounds of the time of the end stay where they are until what is estimated anew is clearly
    elsewhere, and has been so for a moment; so the words that a frontend makes of them do not flicker.
    """

    def __init__(self) -> None:
        self._held: tuple[float, float, float] | None = None  # times of the end
        self._agreed = 0.0  # when these were last about what was estimated

    def show(self, estimate: Estimate | None, elapsed: float) -> Estimate | None:
        """What to show of an estimate made so many seconds after the run began."""
        if estimate is None:
            self._held = None
            return None
        new = (elapsed + estimate.low, elapsed + estimate.median, elapsed + estimate.high)
        held = self._held or new
        enough = _STEP * (estimate.high - estimate.low) + _NEAR * estimate.median
        is_near = all(abs(one - other) <= enough for one, other in zip(new, held, strict=True))
        # one item that ends may move the estimate, and the next one may move it back
        waited = elapsed - self._agreed
        if not is_near and not 0.0 <= waited < min(_MOMENT, _SHORT * elapsed, _SHORT * estimate.median):
            held, is_near = new, True
        if is_near:
            self._agreed = elapsed
        self._held = held
        return Estimate(*(max(0.0, end - elapsed) for end in held))
