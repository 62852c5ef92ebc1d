"""How long items take as their index grows: which curves what was seen suggests, and how likely each is.

Sweeps go from small to large, or from large to small; the first half then says little about the second,
unless one sees the trend and where it leads. Some two hundred curves are laid through the observations,
flat ones, roots, lines, powers, exponential ones and steps; each is as likely as it fits, times how
common it is. Pure, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from math import erfc, exp, fsum, inf, log, pi, sqrt
from operator import attrgetter, mul, sub

from farmhand.durations import Seen
from farmhand.spread import DOUBT, Spread
from farmhand.values import dataclass, replace

__all__ = ["Curve", "Law", "laws"]

_BINS = 32  # of neighbouring items, through which curves are laid
_TREND = 0.3  # of all runs have a trend, before anything is seen
_SCATTER = 0.1  # one observation's worth of doubt about how much durations scatter (log)
_WORTH = 4.0  # a curve so much less likely (log) than the likeliest is not looked at
_LEAST = 0.03  # durations scatter by no less (log)
_STEPS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)  # log
_RATES = tuple(side * rate / 4 for rate in range(1, 17) for side in (-1, 1))  # log(last / first)
_GAINS = tuple(0.35 * 1.5**step for step in range(20))  # (last - first) / first
_LOSSES = (0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.94, 0.97, 0.99)  # (first - last) / first
_MODEST = 1.5  # trends that change durations by a larger factor (log) are rarer
_TICKS = 128  # of a curve's table
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
    """Curves over the whole run: how likely each is beforehand (log), and its heights at even distances."""
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
    together, sum_, squares = (sum(column) for column in zip(*of_whole, strict=True))
    one = together / len(whole)  # the weight of one item
    level = sum_ / together
    deviation = sqrt(max(0.0, squares / together - level * level) + DOUBT**2 / len(whole))
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
            # a straggler is no trend
            weight = each.weight * share * min(1.0, (2 * deviation / max(value - mean, 1e-9)) ** 2)
            imputed.append((weight, value))
            for nth, more in enumerate((weight, weight * value, weight * value * value)):
                sums[place][nth] += more
        weights = [max(each[0], 1e-9 * one) for each in sums]
        means = [each[1] / weight for each, weight in zip(sums, weights, strict=True)]
        together = sum(weights)
        inside = sum(each[2] - each[1] * mean for each, mean in zip(sums, means, strict=True))
        half = max(together / one - 1.0, 0.0) / 2
        tried = []
        close = []
        best = inf
        for prior, curve, height in curves:
            if curve.kind == "step" and not _step_shows(height, weights, 4 * one):
                continue
            rests = list(map(sub, means, height))
            level = sum(map(mul, weights, rests)) / together
            squares = sum(map(mul, weights, map(mul, rests, rests))) - together * level * level
            misfit = half * log(max(inside + squares, 0.0) / one + _SCATTER**2) - prior
            if misfit < best + 2 * _WORTH:
                best = min(best, misfit)
                close.append((prior, curve, height))
                tried.append((misfit, level, curve))
        curves = close  # what was far off does not come back
        tried = [
            (exp(best - misfit), level, curve) for misfit, level, curve in tried if misfit < best + _WORTH
        ]
        all_ = sum(weight for weight, _, _ in tried)
        found = [Law(weight / all_, level, curve) for weight, level, curve in tried]
        typical = [_typical(found, centre) for centre in centres]
        apart = [(mean - height) ** 2 for mean, height in zip(means, typical, strict=True)]
        deviation = sqrt(max(0.0, inside + sum(map(mul, weights, apart))) / together + _LEAST**2)
        expected = [_typical(found, each.index) for _, each in running]
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


def _step_shows(height: Sequence[float], weights: Sequence[float], least: float) -> bool:
    """Whether enough items are on either side of a step to tell it from a few odd ones."""
    after = sum(weight for weight, each in zip(weights, height, strict=True) if each)
    return least <= after <= sum(weights) - least


def _typical(found: Sequence[Law], index: float) -> float:
    if len(found) == 1:
        return found[0].at(index)
    return sum(law.weight * law.at(index) for law in found)


def _longer(least: float, mean: float, deviation: float) -> tuple[float, float]:
    """The mean of a normal variable that is known to be above something, and what part of all is below."""
    z = (least - mean) / deviation
    if z > 5.0:
        return least + deviation / z, 1.0
    tail = erfc(z / sqrt(2.0)) / 2
    return mean + deviation * exp(-z * z / 2) / sqrt(2 * pi) / tail, 1.0 - tail
