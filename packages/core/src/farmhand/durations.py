"""How long items take: what was seen, how it depends on the item's index, how it scatters.

Pure arithmetic over a bounded sample; what a farm will see next is ``eta``'s business. All is done
in logarithms, as durations scatter by factors: an item that takes ten times as long as most is
common, one that takes no time is not.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from math import erfc, exp, fsum, inf, log, pi, sqrt
from operator import itemgetter, mul, sub

from farmhand.values import dataclass, replace

__all__ = ["Law", "Sample", "Seen", "laws"]

LONGEST = 1e12  # seconds; more than in any run. Keeps sums finite whatever comes in
SHORTEST = 1e-9
_KEPT = 384  # observations; more say no more
_BATCH = 64  # so many items of a batch are looked at, spread evenly over it
_SCRAMBLE = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: multiples of it spread evenly, with no period
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Seen:
    """One observation: an item, the logarithm of its seconds, and for how many it stands.

    ``whole`` is False where the item has not ended: it takes longer than that.
    """

    index: int
    log: float
    weight: float = 1.0
    whole: bool = True


class Sample:
    """Observations of items that have ended: all while there are few, else an even part of them.

    Which ones are kept depends on their indices alone, not on the order in which they came.

    Attributes
    ----------
    count : int
        How many there were.
    total : float
        Seconds that they took together.
    top : int
        The index behind the last one.
    """

    __slots__ = ("_kept", "_limit", "count", "top", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.top = 0
        self._kept: dict[tuple[int, float], float] = {}  # the weight by index and logarithm
        self._limit = _MASK  # those whose scrambled index is not above it are kept

    def add(self, indices: Sequence[int], seconds: Sequence[float]) -> None:
        """Take in one batch.

        Durations that no clock can have measured (negative, NaN, infinite) count as the nearest
        one that it can, NaN as zero.
        """
        size = min(len(indices), len(seconds))
        if not size:
            return
        step = 1 if size <= 2 * _BATCH else size // _BATCH
        some = [(indices[place], sane(seconds[place])) for place in range(0, size, step)]
        together = sum(seconds) if step > 1 else 0.0
        if not 0.0 < together < LONGEST or min(seconds) < 0.0:
            together = fsum(value for _, value in some) * size / len(some)
        self.count += size
        self.total += together
        self.top = max(self.top, indices[size - 1] + 1, max(some)[0] + 1)
        weight = size / len(some)
        kept, limit = self._kept, self._limit
        for index, value in some:
            if (index * _SCRAMBLE & _MASK) <= limit:
                place = (index, log(max(value, SHORTEST)))
                kept[place] = kept.get(place, 0.0) + weight
        while len(self._kept) > _KEPT and self._limit:
            self._limit //= 2
            self._kept = {
                place: weight
                for place, weight in self._kept.items()
                if (place[0] * _SCRAMBLE & _MASK) <= self._limit
            }

    def seen(self) -> list[Seen]:
        """What is kept, by index."""
        return [Seen(index, value, weight) for (index, value), weight in sorted(self._kept.items())]


def sane(value: float) -> float:
    """The nearest number of seconds that a clock can have measured."""
    return min(max(value, 0.0), LONGEST) if value == value else 0.0


# -- how durations depend on the index ---------------------------------------------------------------

_BINS = 32  # of neighbouring items, through which curves are laid
_TREND = 0.2  # of all runs have a trend, before anything is seen
_SCATTER = 0.1  # one observation's worth of doubt about how much durations scatter (log)
_WORTH = 4.0  # a curve so much less likely (log) than the likeliest is not looked at
_LEAST = 0.03  # durations scatter by no less (log)
_STEPS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)  # log
_RATES = tuple(side * rate / 4 for rate in range(1, 17) for side in (-1, 1))  # log(last / first)
_GAINS = tuple(0.35 * 1.5**step for step in range(20))  # (last - first) / first
_LOSSES = (0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.94, 0.97, 0.99)  # (first - last) / first
_MODEST = 1.5  # trends that change durations by a larger factor (log) are rarer
_TICKS = 200  # of a curve's table
_RECENT = 4  # one part in so many of what was seen, the last one, must fit, too


@dataclass(frozen=True, slots=True)
class Curve:
    """A way in which durations may depend on the item's index.

    Parameters
    ----------
    kind : str
        ``'flat'``; ``'power'``: ``1 + size * u ** power`` where ``u`` goes from 0 to 1 over the run;
        ``'exponential'``; ``'step'``.
    size, power : float
        How much, and how bent.
    begin : float
        Where a step is.
    length : float
        Over how many items ``u`` goes from 0 to 1.
    """

    kind: str
    size: float = 0.0
    power: float = 1.0
    begin: float = 0.0
    length: float = 1.0

    def at(self, index: float) -> float:
        """The logarithm of the factor by which an item differs from the first one."""
        if self.kind == "flat":
            return 0.0
        if self.kind == "step":
            return self.size if index >= self.begin else 0.0
        u = min(max(index / self.length, 0.0), 1.0)
        if self.kind == "exponential":
            return self.size * u
        return log(1.0 + self.size * u**self.power)


@cache
def _smooth_curves() -> list[tuple[Curve, float, tuple[float, ...]]]:
    """Curves over the whole run, each with how likely it is beforehand (log), and its heights at so many ticks."""
    curves = [Curve("exponential", rate) for rate in _RATES]
    curves += [Curve("power", gain, power) for power in (0.5, 1.0, 2.0, 3.0) for gain in _GAINS]
    curves += [Curve("power", -loss, power) for power in (0.5, 1.0, 2.0) for loss in _LOSSES]
    ticks = [tick / _TICKS for tick in range(_TICKS + 1)]
    shares = [exp(-abs(curve.at(1.0)) / _MODEST) for curve in curves]
    all_ = fsum(shares) / (_TREND * 4 / 5)
    return [
        (curve, log(share / all_), tuple(map(curve.at, ticks)))
        for curve, share in zip(curves, shares, strict=True)
    ]


def _curves(centres: Sequence[float], top: int, total: int) -> list[tuple[float, Curve, list[float]]]:
    """The curves that are tried: how likely before anything is seen, and the height at each centre."""
    length = float(max(total, 1))
    ticks = [min(max(int(centre / length * _TICKS + 0.5), 0), _TICKS) for centre in centres]
    tried = [(log(1.0 - _TREND), Curve("flat"), [0.0] * len(centres))]
    for curve, prior, table in _smooth_curves():
        tried.append(
            (prior, Curve(curve.kind, curve.size, curve.power, 0.0, length), [table[tick] for tick in ticks])
        )
    prior = log(_TREND / 5 / 4 / len(_STEPS))
    for part in (0.3, 0.5, 0.7, 0.85):
        after = [centre >= top * part for centre in centres]
        for size in _STEPS:
            tried.append((prior, Curve("step", size, begin=top * part), [size * each for each in after]))
    return tried


@dataclass(frozen=True, slots=True)
class Law:
    """One way in which durations may follow from the index.

    Parameters
    ----------
    weight : float
        How likely it is; those of all laws add up to one.
    level : float
        The logarithm of the seconds of the first item, but for the scatter.
    curve : Curve
        How it goes on from there.
    """

    weight: float
    level: float
    curve: Curve

    def at(self, index: float) -> float:
        """The logarithm of the seconds of an item, but for the scatter."""
        return self.level + self.curve.at(index)


def laws(seen: Sequence[Seen], total: int | None) -> tuple[list[Law], Spread]:
    """What the observations suggest, the likeliest law first, and how they scatter about it.

    Parameters
    ----------
    seen : sequence of Seen
        By index. At least one must be whole.
    total : int, optional
        The index behind the last item of the run.
    """
    size = max(1, -(-len(seen) // _BINS))
    bins = [seen[first : first + size] for first in range(0, len(seen), size)]
    centres = [sum(each.index for each in bin_) / len(bin_) for bin_ in bins]
    top = seen[-1].index + 1
    curves = _curves(centres, top, max(top, 2 * top if total is None else total))
    whole = [each for each in seen if each.whole]
    of_whole = [_sums((each.weight, each.log) for each in bin_ if each.whole) for bin_ in bins]
    running = [(place, each) for place, bin_ in enumerate(bins) for each in bin_ if not each.whole]
    together, sum_, squares = map(sum, zip(*of_whole, strict=True))
    one = together / len(whole)  # the weight of one item
    level = sum_ / together
    deviation = sqrt(max(0.0, squares / together - level * level) + _DOUBT**2 / len(whole))
    expected = [level] * len(running)
    imputed: list[tuple[float, float]] = []  # weight and value of what runs
    found: list[Law] = []
    # An item that has not ended takes longer than that: how long, the others say, and so on. It has
    # something to say only as far as others would have ended by now.
    for _ in range(3 if running else 1):
        imputed = []
        sums = [list(each) for each in of_whole]
        for (place, each), mean in zip(running, expected, strict=True):
            value, share = _longer(each.log, mean, deviation)
            weight = each.weight * share
            imputed.append((weight, value))
            for nth, more in enumerate((weight, weight * value, weight * value * value)):
                sums[place][nth] += more
        weights = [max(each[0], 1e-9 * one) for each in sums]
        means = [each[1] / weight for each, weight in zip(sums, weights, strict=True)]
        together = sum(weights)
        inside = sum(each[2] - each[1] * mean for each, mean in zip(sums, means, strict=True))
        half = max(together / one - 1.0, 0.0) / 2
        tried = []
        best = inf
        for prior, curve, height in curves:
            rests = list(map(sub, means, height))
            level = sum(map(mul, weights, rests)) / together
            squares = sum(map(mul, weights, map(mul, rests, rests))) - together * level * level
            misfit = half * log(max(inside + squares, 0.0) / one + _SCATTER**2) - prior
            if misfit < best + _WORTH:
                best = min(best, misfit)
                tried.append((misfit, level, curve))
        tried = [
            (exp(best - misfit), level, curve) for misfit, level, curve in tried if misfit < best + _WORTH
        ]
        all_ = sum(weight for weight, _, _ in tried)
        found = [Law(weight / all_, level, curve) for weight, level, curve in tried]
        typical = [_typical(found, centre) for centre in centres]
        off = [(mean - height) ** 2 for mean, height in zip(means, typical, strict=True)]
        deviation = sqrt(max(0.0, inside + sum(map(mul, weights, off))) / together + _LEAST**2)
        expected = [_typical(found, each.index) for _, each in running]
    found.sort(key=_weight, reverse=True)
    # where the last ones say clearly something else than a law, they are right
    last = bins[len(bins) - max(1, len(bins) // _RECENT) :]
    first = len(bins) - len(last)
    recent = [(each.index, each.weight, each.log) for bin_ in last for each in bin_ if each.whole]
    recent += [
        (each.index, weight, value)
        for (place, each), (weight, value) in zip(running, imputed, strict=True)
        if place >= first
    ]
    weight = sum(weight for _, weight, _ in recent)
    if weight > 4 * one:
        error = deviation**2 * one / weight
        for place, law in enumerate(found):
            off = sum(weight * (value - law.at(index)) for index, weight, value in recent) / weight
            if off * off > 4 * error:
                found[place] = replace(law, level=law.level + off * (1.0 - 4 * error / off**2))
    return found, Spread.about(seen, [_typical(found, each.index) for each in seen])


def _sums(weighted: Iterable[tuple[float, float]]) -> tuple[float, float, float]:
    """Of weights, of values, of squares."""
    weights = values = squares = 0.0
    for weight, value in weighted:
        weights += weight
        values += weight * value
        squares += weight * value * value
    return weights, values, squares


def _typical(found: Sequence[Law], index: float) -> float:
    if len(found) == 1:
        return found[0].at(index)
    return sum(law.weight * law.at(index) for law in found)


def _weight(law: Law) -> float:
    return law.weight


def _longer(least: float, mean: float, deviation: float) -> tuple[float, float]:
    """The mean of a normal variable that is known to be above something, and what part of all is below."""
    z = (least - mean) / deviation
    if z > 5.0:
        return least + deviation / z, 1.0
    tail = erfc(z / sqrt(2.0)) / 2
    return mean + deviation * exp(-z * z / 2) / sqrt(2 * pi) / tail, 1.0 - tail


# -- how durations scatter ---------------------------------------------------------------------------

_DRAWS = 64  # quantiles that a spread is kept as
_DOUBT = 0.5  # durations may differ by such a factor (log) from the one that was seen
_LONGEST_TAIL = 0.8
_BEYOND = 1.0
_TAIL_PARTS = tuple((part + 0.5) / 16 for part in range(16))


class Spread:
    """The factors by which durations differ from the curve, with a tail beyond the longest one seen.

    Attributes
    ----------
    mean : float
        Of the factors.
    square : float
        The mean of their squares.
    middle, variance : float
        The mean and the variance of their logarithms, of those that were seen.
    """

    def __init__(
        self, points: Sequence[tuple[float, float]], tail: float, index: float, middle: float, variance: float
    ) -> None:
        # points: (log factor, probability of at most that), ascending; tail: the rest, which is longer
        self._logs = [value for value, _ in points]
        self._below = [below for _, below in points]
        self._last = self._logs[-1]
        self._tail = tail
        self._index = index
        self._far = log(1.0 / tail)
        self._table = [exp(self._log_at((draw + 0.5) / _DRAWS)) for draw in range(_DRAWS)]
        total = squares = before = 0.0
        for value, below in points:
            factor = exp(value)
            total += (below - before) * factor
            squares += (below - before) * factor * factor
            before = below
        for part in _TAIL_PARTS:
            factor = exp(self._last + self._beyond(part * tail))
            total += tail * factor / len(_TAIL_PARTS)
            squares += tail * factor * factor / len(_TAIL_PARTS)
        self.mean, self.square = total, squares
        self.middle = middle
        self.variance = variance
        self._ends: tuple[list[float], list[float]] | None = None

    @classmethod
    def about(cls, seen: Sequence[Seen], curve: Sequence[float]) -> Spread:
        """How the observations scatter about a curve.

        Those that have not ended take longer than they have; their share goes to all longer ones
        (Kaplan and Meier, 1958).
        """
        whole = sum(each.whole for each in seen)
        weight = fsum(each.weight for each in seen if each.whole)
        marks = [(each.log - c, each.whole, each.weight) for each, c in zip(seen, curve, strict=True)]
        middle = fsum(w * v for v, e, w in marks if e) / weight
        variance = fsum(w * (v - middle) ** 2 for v, e, w in marks if e) / weight
        # before much is seen, durations are taken to scatter
        doubt = sqrt(variance + _DOUBT**2 / whole)
        marks += [(middle + side, True, weight / whole / 2) for side in (-doubt, doubt)]
        marks.sort(key=itemgetter(0, 1))
        left = fsum(mark[2] for mark in marks)
        longer = 1.0
        points: list[tuple[float, float]] = []
        beyond: list[float] = []  # what runs, and has run for longer than all that have ended
        for value, ended, weight in marks:
            if ended:
                longer *= max(0.0, 1.0 - weight / left)
                points.append((value, 1.0 - longer))
                beyond = []
            else:
                beyond.append(value)
            left = max(left - weight, 1e-12)
        top = points[-max(2, len(points) // 7) :]
        excess = fsum(value - top[0][0] for value, _ in top[1:])
        index = (excess + 2 * 0.4 * sqrt(variance)) / (len(top) - 1 + 2)
        # what lies beyond the longest: the more, the more it scatters
        tail = min(max(_BEYOND * index / (whole + 2.0), longer, 1e-6), 0.9)
        if longer < 1.0:
            points = [(value, below * (1.0 - tail) / (1.0 - longer)) for value, below in points]
        last = points[-1][0]
        if beyond:
            start = fsum(beyond) / len(beyond)
            index += _surprise(start - last)
            points.append((start, 1.0 - tail))
        return cls(points, tail, min(index, _LONGEST_TAIL), middle, variance)

    def _log_at(self, part: float) -> float:
        below = self._below
        if part >= 1.0 - self._tail:
            return self._last + self._beyond(1.0 - part)
        place = bisect_left(below, part)
        if place == 0:
            return self._logs[0]
        if place >= len(below):
            return self._last
        share = (part - below[place - 1]) / max(below[place] - below[place - 1], 1e-12)
        return self._logs[place - 1] + share * (self._logs[place] - self._logs[place - 1])

    def _beyond(self, longer: float, index: float = 0.0, tail: float = 0.0) -> float:
        """How much longer (log) than the longest one seen an item is, that only such a part of all exceed.

        The tail is that of a Weibull distribution, as steep where it begins as the longest ones were.
        """
        far = log(1.0 / tail) if tail else self._far
        return (index or self._index) * far * log(log(1.0 / max(longer, 1e-12)) / far)

    def draw(self, part: float) -> float:
        """The factor that so many of one are below."""
        return self._table[min(int(part * _DRAWS), _DRAWS - 1)] if part < 0.97 else exp(self._log_at(part))

    def above(self, least: float) -> Callable[[float], float]:
        """The same of those that are longer than ``least``."""
        value = log(least) if least > 0.0 else -inf
        if value >= self._last:
            # Longer than anything before: that it is another kind of item becomes ever likelier.
            index = min(self._index + _surprise(value - self._last), _LONGEST_TAIL)
            return lambda part: least * exp(self._beyond((1.0 - part) * 0.1, index, 0.1))
        below = self._part(value)
        rest = 1.0 - below
        return lambda part: max(least, exp(self._log_at(below + part * rest)))

    def _part(self, value: float) -> float:
        logs, below = self._logs, self._below
        place = bisect_right(logs, value)
        if place == 0:
            return 0.0
        if place >= len(logs):
            return below[-1]
        width = logs[place] - logs[place - 1]
        share = (value - logs[place - 1]) / width if width else 0.0
        return below[place - 1] + share * (below[place] - below[place - 1])

    @property
    def average_rest(self) -> float:
        """What is left of an item at a random moment, on average."""
        return sum(map(mul, self._table, self._table)) / sum(self._table) / 2

    def last_rest(self, part: float) -> float:
        """What is left of an item at a random moment: the factor that so many of one are below."""
        if self._ends is None:
            table = self._table
            # the part of all time that is spent in what is left above a step, step by step
            sums = [0.0]
            before = 0.0
            for place, value in enumerate(table):
                sums.append(sums[-1] + (value - before) * (1.0 - place / _DRAWS))
                before = value
            self._ends = ([0.0, *table], sums)
        values, sums = self._ends
        wanted = part * sums[-1]
        place = min(max(bisect_left(sums, wanted), 1), len(values) - 1)
        width = sums[place] - sums[place - 1]
        share = (wanted - sums[place - 1]) / width if width else 0.0
        return values[place - 1] + share * (values[place] - values[place - 1])


def _surprise(longer: float) -> float:
    """How much further than others an item may go that is so much (log) longer than all others were."""
    return 0.5 * min(1.0, max(0.0, longer) / 0.7)
