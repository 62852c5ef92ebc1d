"""How long items took: a bounded sample of it, whichever order it came in.

All is kept in logarithms, as durations scatter by factors: an item that takes ten times as long as
most is common, one that takes no time is not. Pure, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, log

from farmhand.values import dataclass

__all__ = ["LONGEST", "SHORTEST", "Sample", "Seen", "sane"]

LONGEST = 1e12  # seconds; more than in any run. Keeps sums finite whatever comes in
SHORTEST = 1e-9
_KEPT = 384  # observations; more say no more
_BATCH = 64  # so many items of a large batch are looked at, spread evenly over it: each costs a microsecond
_PLENTY, _FEW = 10_000, 8  # and so many when so many items were seen
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
        """Take in one batch; what no clock can have measured (negative, NaN, infinite) is left out."""
        size = min(len(indices), len(seconds))
        looks = _BATCH if self.count < _PLENTY else _FEW
        step = 1 if size <= 2 * looks else size // looks
        some = [
            (indices[place], seconds[place])
            for place in range(0, size, step)
            if 0.0 <= seconds[place] <= LONGEST
        ]
        if not some:
            return
        count, together = size, sum(seconds) if step > 1 else -1.0
        if not 0.0 <= together <= LONGEST:
            count = len(some) * step
            together = fsum(value for _, value in some) * step
        self.count += count
        self.total += together
        self.top = max(self.top, indices[size - 1] + 1, max(some)[0] + 1)
        weight = count / len(some)
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
