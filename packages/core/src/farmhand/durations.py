"""How long items took: a bounded sample of it, whichever order it came in.

All is kept in logarithms, as durations scatter by factors: an item that takes ten times as long as
most is common, one that takes no time is not. Pure, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from farmhand.values import dataclass

__all__ = ["LONGEST", "SHORTEST", "Sample", "Seen", "sane"]

LONGEST = 1e12  # seconds; more than in any run. Keeps sums finite whatever comes in
SHORTEST = 1e-9
_KEPT = 384  # items; more say no more
_TRIES = 4  # attempts at one item
_SCRAMBLE = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: multiples of it have no period


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

    Which ones are kept depends on their indices alone: not on the order in which they came, nor on
    how many came together. Where they are too many, one of every two neighbours goes, at each
    place another one, so that a sweep with a period is not seen at one of its phases alone.

    Attributes
    ----------
    count : int
        How many there were.
    total : float
        Seconds that they took together.
    top : int
        The index behind the last one.
    """

    __slots__ = ("_kept", "_level", "count", "top", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.top = 0
        self._kept: dict[int, list[float]] = {}  # logarithms, by index
        self._level = 0  # one of 2**level neighbours is kept

    def add(self, indices: Sequence[int], seconds: Sequence[float]) -> None:
        """Take in one batch; what no clock can have measured (negative, NaN, infinite) is left out."""
        together = sum(seconds)  # which tells as much as a look at each of a million
        if len(indices) != len(seconds) or not 0.0 <= together <= LONGEST:
            some = [(i, each) for i, each in zip(indices, seconds, strict=False) if 0.0 <= each <= LONGEST]
            indices, seconds = [index for index, _ in some], [each for _, each in some]
            together = sum(seconds)
        size = len(indices)
        if not size:
            return
        self.count += size
        self.total += together
        self.top = max(self.top, indices[-1] + 1)
        is_gapless = indices[-1] - indices[0] == size - 1
        while is_gapless and size >> self._level > 2 * _KEPT:
            self._thin_out()  # it would come to that anyway, after a look at all of them
        for place in _chosen(indices, self._level, is_gapless):
            if seconds[place] < 0.0:  # others made up for it
                continue
            logs = self._kept.setdefault(indices[place], [])
            logs.append(log(max(seconds[place], SHORTEST)))
            if len(logs) > _TRIES:
                logs.sort(key=hash)  # which has to do neither with when they came nor with their size
                logs.pop()
        while len(self._kept) > _KEPT:
            self._thin_out()

    def _thin_out(self) -> None:
        self._level = level = self._level + 1
        self._kept = {index: logs for index, logs in self._kept.items() if _is_kept(index, level)}

    def seen(self) -> list[Seen]:
        """What is kept, by index."""
        kept = sorted(self._kept.items())
        weight = self.count / max(1, sum(len(logs) for _, logs in kept))
        return [Seen(index, each, weight, True) for index, logs in kept for each in sorted(logs)]


def sane(value: float) -> float:
    """The nearest number of seconds that a clock can have measured."""
    return min(max(value, 0.0), LONGEST) if value == value else 0.0


def _which(pair: int, level: int) -> int:
    """Which of two neighbours stays when the so-many-th thinning out takes one of every two."""
    return (pair + level) * _SCRAMBLE >> 63 & 1


def _is_kept(index: int, level: int) -> bool:
    return all(index >> each - 1 & 1 == _which(index >> each, each) for each in range(1, level + 1))


def _chosen(indices: Sequence[int], level: int, is_gapless: bool) -> Sequence[int]:
    """The places of those that are kept; of many without gaps those are not looked at that are not."""
    first, size = indices[0], len(indices)
    if not level:
        return range(size)
    if size <= level or not is_gapless:
        return [place for place, index in enumerate(indices) if _is_kept(index, level)]
    places = []
    for block in range(first >> level, (indices[-1] >> level) + 1):
        index = block
        for each in range(level, 0, -1):
            index = 2 * index + _which(index, each)
        if 0 <= index - first < size:
            places.append(index - first)
    return places
