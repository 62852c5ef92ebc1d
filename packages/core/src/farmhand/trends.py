"""How long items take as their index grows: which curves what was seen suggests, and how likely each is.

Sweeps go from small to large, or from large to small; the first half then says little about the second,
unless one sees the trend and where it leads. Some two hundred curves are laid through the observations,
flat ones, roots, lines, powers, exponential ones and steps; each is as likely as it fits, times how
common it is. Pure, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from math import erfc, exp, fsum, inf, log, log1p, pi, sqrt
from operator import attrgetter, mul, sub

from farmhand.durations import Seen
from farmhand.spread import DOUBT, Spread
from farmhand.values import dataclass, replace

__all__ = ["Curve", "Law", "laws"]

_BINS = 32  # of neighbouring items, through which curves are laid
_TREND = 0.3  # of all runs have a trend, before anything is seen
_SCATTER = 0.1  # two observations' worth of doubt about how much durations scatter (log)
_WAVE = 0.1  # how much slower everything is for a while (log): a computer has other things to do, too;
_WAVES = 12  # so often in what was seen
_WORTH = 4.0  # a curve so much less likely (log) than the likeliest is not looked at
_LEAST = 0.03  # durations scatter by no less (log)
_STEPS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)  # log
_RATES = tuple(side * rate / 4 for rate in range(1, 17) for side in (-1, 1))  # log(last / first)
_GAINS = tuple(0.35 * 1.5**step for step in range(20))  # (last - first) / first
_LOSSES = (0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.94, 0.97, 0.99)  # (first - last) / first
_MODEST = 1.5  # trends that change durations by a larger factor (log) are rarer
_RECENT = 4  # one part in so many of what was seen, the last one, must fit, too


@dataclass(frozen=True, slots=True)
class Curve:
    """A way in which durations may depend on how far a run is, from 0 to 1.

    Parameters
    ----------
    kind : str
        ``'flat'``; ``'power'``: ``1 + size * u ** power`` where ``u`` is how far; ``'exponential'``;
        ``'step'``.
    size, power : float
        How much, and how bent.
    begin : float
        Where a step is.
    """

    kind: str
    size: float = 0.0
    power: float = 1.0
    begin: float = 0.0

    def heights(self, places: Sequence[float]) -> list[float]:
        """The logarithms of the factors by which items there differ from the first one."""
        size, power, begin = self.size, self.power, self.begin
        match self.kind:
            case "power":
                return [log(1.0 + size * u**power) for u in places]
            case "exponential":
                return [size * u for u in places]
            case "step":
                return [size if u >= begin else 0.0 for u in places]
        return [0.0] * len(places)


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
    length : float
        Over how many items.
    """

    weight: float
    level: float
    curve: Curve
    length: float

    def at(self, index: float) -> float:
        """The logarithm of the seconds of an item, but for the scatter."""
        return self.along((index,))[0]

    def along(self, indices: Sequence[float]) -> list[float]:
        """The same of several items."""
        return [self.level + each for each in self.curve.heights(_places(indices, self.length))]


def _places(indices: Sequence[float], length: float) -> list[float]:
    return [min(max(index / length, 0.0), 1.0) for index in indices]


@cache
def _smooth_curves() -> list[tuple[float, Curve]]:
    """Curves over the whole run, and how likely each is before anything is seen (log)."""
    curves = [Curve("exponential", rate) for rate in _RATES]
    curves += [Curve("power", gain, power) for power in (0.5, 1.0, 2.0, 3.0) for gain in _GAINS]
    curves += [Curve("power", -loss, power) for power in (0.5, 1.0, 2.0) for loss in _LOSSES]
    shares = [exp(-abs(curve.heights((1.0,))[0]) / _MODEST) for curve in curves]
    all_ = fsum(shares) / (_TREND * 4 / 5)
    return [(log(share / all_), curve) for curve, share in zip(curves, shares, strict=True)]


def _curves(end: float) -> list[tuple[float, Curve]]:
    """The curves that are tried when the run is so far, and how likely each is beforehand (log)."""
    prior = log(_TREND / 5 / 4 / len(_STEPS))
    steps = [
        (prior, Curve("step", size, begin=end * part)) for part in (0.3, 0.5, 0.7, 0.85) for size in _STEPS
    ]
    return [(log(1.0 - _TREND), Curve("flat")), *_smooth_curves(), *steps]


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
    length = float(max(top, 2 * top if total is None else total, 1))
    places = _places(centres, length)
    curves = [(prior, curve, curve.heights(places)) for prior, curve in _curves(top / length)]
    whole = [each for each in seen if each.whole]
    of_whole = [_sums((each.weight, each.log) for each in bin_ if each.whole) for bin_ in bins]
    running = [(place, each) for place, bin_ in enumerate(bins) for each in bin_ if not each.whole]
    runs = [each.index for _, each in running]
    together, sum_, squares = (sum(column) for column in zip(*of_whole, strict=True))
    one = together / len(whole)  # the weight of one item
    level = sum_ / together
    deviation = sqrt(max(0.0, squares / together - level * level) + DOUBT**2 / len(whole))
    steps = [(before.log - after.log) ** 2 / 2 for before, after in pairwise(whole)]  # von Neumann's, 1941
    scatter = (sum(steps) + 2 * _SCATTER**2) / (len(steps) + 2)
    imputed: list[tuple[float, float]] = []  # weight and value of what runs
    found: list[Law] = []
    # An item that has not ended takes longer than that: how long, the others say, and so on. It has
    # something to say only as far as others would have ended by now.
    for _ in range(3 if running else 1):
        expected = _typical(found, runs) if found else [level] * len(runs)
        imputed = []
        sums = [list(each) for each in of_whole]
        for (place, each), mean in zip(running, expected, strict=True):
            value, share = _longer(each.log, mean, deviation)
            # a straggler is no trend
            weight = each.weight * share * min(1.0, (2 * deviation / max(value - mean, 1e-9)) ** 2)
            imputed.append((weight, value))
            for nth, more in enumerate((weight, weight * value, weight * value * value)):
                sums[place][nth] += more
        weights = [max(each[0], 1e-9 * one) for each in sums]
        means = [each[1] / weight for each, weight in zip(sums, weights, strict=True)]
        together = sum(weights)
        inside = sum(each[2] - each[1] * mean for each, mean in zip(sums, means, strict=True))
        # neighbours scatter, and a computer is slower for a while and faster again, which is no trend either
        wave = _WAVE**2 * max(1.0, len(bins) / _WAVES)
        trusts = [1.0 / (scatter * one / weight + wave) for weight in weights]
        trust = sum(trusts)
        freedom = max(min(len(bins), together / one) - 1.0, 0.0)
        tried = []
        best = inf
        for prior, curve, heights in curves:
            if curve.kind == "step" and not _step_shows(heights, weights, 4 * one):
                continue
            rests = list(map(sub, means, heights))
            level = sum(map(mul, weights, rests)) / together
            middle = sum(map(mul, trusts, rests)) / trust
            off = max(0.0, sum(map(mul, trusts, map(mul, rests, rests))) - trust * middle * middle)
            misfit = (freedom / 2 * log1p(off / freedom) if freedom else 0.0) - prior
            if misfit < best + 2 * _WORTH:
                best = min(best, misfit)
                tried.append((misfit, level, prior, curve, heights))
        curves = [each[2:] for each in tried]  # what was far off does not come back
        tried = [each for each in tried if each[0] < best + _WORTH]
        likely = [exp(best - each[0]) for each in tried]
        all_ = sum(likely)
        found = [
            Law(weight / all_, level, curve, length)
            for weight, (_, level, _, curve, _) in zip(likely, tried, strict=True)
        ]
        apart = [(mean - height) ** 2 for mean, height in zip(means, _typical(found, centres), strict=True)]
        deviation = sqrt(max(0.0, inside + sum(map(mul, weights, apart))) / together + _LEAST**2)
    found.sort(key=attrgetter("weight"), reverse=True)
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
        places = _places([index for index, _, _ in recent], length)
        mean = sum(each * value for _, each, value in recent) / weight
        shares = [each / weight for _, each, _ in recent]
        for nth, law in enumerate(found):
            off = mean - law.level - sum(map(mul, shares, law.curve.heights(places)))
            if off * off > 4 * error:
                found[nth] = replace(law, level=law.level + off * (1.0 - 4 * error / off**2))
    return found, Spread.about(seen, _typical(found, [each.index for each in seen]))


def _typical(found: Sequence[Law], indices: Sequence[float]) -> list[float]:
    """What all laws together say of items: the logarithms of their seconds."""
    places = _places(indices, found[0].length)
    mean = [sum(law.weight * law.level for law in found)] * len(places)
    for law in found:
        if law.curve.kind != "flat":
            weight, heights = law.weight, law.curve.heights(places)
            mean = [so_far + weight * height for so_far, height in zip(mean, heights, strict=True)]
    return mean


def _sums(weighted: Iterable[tuple[float, float]]) -> tuple[float, float, float]:
    """Of weights, of values, of squares."""
    weights = values = squares = 0.0
    for weight, value in weighted:
        weights += weight
        values += weight * value
        squares += weight * value * value
    return weights, values, squares


def _step_shows(height: Sequence[float], weights: Sequence[float], least: float) -> bool:
    """Whether enough items are on either side of a step to tell it from a few odd ones."""
    after = sum(weight for weight, each in zip(weights, height, strict=True) if each)
    return least <= after <= sum(weights) - least


def _longer(least: float, mean: float, deviation: float) -> tuple[float, float]:
    """The mean of a normal variable that is known to be above something, and what part of all is below."""
    z = (least - mean) / deviation
    if z > 5.0:
        return least + deviation / z, 1.0
    tail = erfc(z / sqrt(2.0)) / 2
    return mean + deviation * exp(-z * z / 2) / sqrt(2 * pi) / tail, 1.0 - tail
