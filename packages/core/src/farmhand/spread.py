"""How durations scatter about what is usual: a distribution from what was seen, with a tail beyond it.

Items that still run count as what is known of them, that they take longer than they have. Pure, no clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from math import exp, fsum, inf, log, sqrt
from operator import itemgetter, mul

from farmhand.durations import Seen

__all__ = ["DOUBT", "Spread"]

DOUBT = 0.5  # durations may differ by such a factor (log) from the one that was seen
_DRAWS = 64  # quantiles that a spread is kept as
_HEAVIEST = 1.2  # no tail is steeper than that
_TOPS = (7, 20)  # parts of all that count as the longest ones
_TAIL_PARTS = tuple((part + 0.5) / 16 for part in range(16))

_Mark = tuple[float, bool, float]  # the log of a factor, whether the item has ended, and its weight


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
    average_rest : float
        What is left of an item at a random moment, on average.
    upward : float
        How far those scatter that are longer than usual: the standard deviation (log) if all were as they.
    """

    def __init__(
        self, points: Sequence[tuple[float, float]], tail: float, index: float, marks: Sequence[_Mark]
    ) -> None:
        # points: (log factor, probability of at most that), ascending; tail: the rest, which is longer
        self._logs = [value for value, _ in points]
        self._below = [below for _, below in points]
        self._last = self._logs[-1]
        self._tail = tail
        self._index = index
        self._far = log(1.0 / tail)
        self._table = [exp(self._log_at((draw + 0.5) / _DRAWS)) for draw in range(_DRAWS)]
        self.average_rest = fsum(map(mul, self._table, self._table)) / fsum(self._table) / 2
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
        weight = sum(mark[2] for mark in marks)
        self.middle = sum(mark[2] * mark[0] for mark in marks) / weight
        self.variance = sum(mark[2] * (mark[0] - self.middle) ** 2 for mark in marks) / weight
        usual = self._log_at(0.5)
        self.upward = sqrt(2 * sum(mark[2] * max(mark[0] - usual, 0.0) ** 2 for mark in marks) / weight)
        self._ends: tuple[list[float], list[float]] | None = None

    @classmethod
    def about(cls, seen: Sequence[Seen], curve: Sequence[float]) -> Spread:
        """How the observations scatter about a curve.

        Those that have not ended take longer than they have; their share goes to all longer ones
        (Kaplan and Meier, 1958).
        """
        marks = [(each.log - c, each.whole, each.weight) for each, c in zip(seen, curve, strict=True)]
        known = [mark for mark in marks if mark[1]]
        whole, weight = len(known), sum(mark[2] for mark in known)
        middle = sum(w * v for v, _, w in known) / weight
        variance = sum(w * (v - middle) ** 2 for v, _, w in known) / weight
        # before much is seen, durations are taken to scatter
        doubt = sqrt(variance + DOUBT**2 / whole)
        marks += [(middle + side, True, weight / whole / 2) for side in (-doubt, doubt)]
        marks.sort(key=itemgetter(0, 1))
        left = sum(mark[2] for mark in marks)
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
        index = min(_steepness(points[-max(2, len(points) // part) :], sqrt(variance)) for part in _TOPS)
        # what lies beyond the longest: the more, the more it scatters
        tail = min(max(index / (whole + 2.0), longer, 1e-6), 0.9)
        if longer < 1.0:
            points = [(value, below * (1.0 - tail) / (1.0 - longer)) for value, below in points]
        last = points[-1][0]
        if beyond:
            start = sum(beyond) / len(beyond)
            index += _surprise(start - last)
            points.append((start, 1.0 - tail))
        return cls(points, tail, min(index, _HEAVIEST), known)

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

    def left(self, age: float, usual: float) -> Callable[[float], float]:
        """What an item still needs that has run for ``age`` seconds, where such items take ``usual`` ones.

        It says how many seconds such a part of all are below.
        """
        least = age / usual
        value = log(least) if least > 0.0 else -inf
        if value >= self._last:
            # Longer than anything before: that it is another kind of item becomes ever likelier.
            index = min(self._index + _surprise(value - self._last), _HEAVIEST)
            return lambda part: max(0.0, age * exp(self._beyond((1.0 - part) * 0.1, index, 0.1)) - age)
        below, log_at = self._part(value), self._log_at
        rest = 1.0 - below
        return lambda part: max(0.0, exp(log_at(below + part * rest)) * usual - age)

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


def _steepness(top: Sequence[tuple[float, float]], scatter: float) -> float:
    """How much longer (log) the longest ones are than the shortest of them, on average (Hill, 1975).

    As if two more were seen that are as durations usually are.
    """
    excess = sum(value for value, _ in top) - len(top) * top[0][0]
    return (excess + 2 * 0.4 * scatter) / (len(top) - 1 + 2)


def _surprise(longer: float) -> float:
    """How much further than others an item may go that is so much (log) longer than all others were."""
    return 0.5 * min(1.0, max(0.0, longer) / 0.7)
