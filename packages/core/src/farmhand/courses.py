"""What reports are worth: what items said while they ran, and what came of it.

Few items go on as evenly as they report. A simulation compiles first and says nothing; a search slows
down towards its end; after the last report results are still gathered. All items of a task do so in much
the same way, so that those that have ended tell how to read those that run. Pure, no clock.
"""

from __future__ import annotations

from math import log, sqrt

from farmhand.durations import SHORTEST

__all__ = ["Courses"]

_STAGES = (0.25, 0.5, 0.75, 0.999)  # of an item: reports of one stage are wrong in one way
_PACE = 0.25  # how wrong reports are before any item has ended (log), at a tenth of an item
_DOUBT = 2.0  # items that must have ended before they say more than that
_MOST = 1.5  # reports are not corrected by more (log)


class Courses:
    """How reports and durations went together, in a few stages of an item."""

    def __init__(self) -> None:
        self._said: dict[int, list[float | None]] = {}  # by item that runs: what its reports made of it (log)
        self._counts = [0.0] * (len(_STAGES) + 1)
        self._sums = [0.0] * (len(_STAGES) + 1)
        self._squares = [0.0] * (len(_STAGES) + 1)

    def said(self, index: int, complete: float, seconds: float) -> None:
        """An item has done so much, and by its reports takes so many seconds in all."""
        said = self._said.setdefault(index, [None] * (len(_STAGES) + 1))
        stage = _stage(complete)
        if said[stage] is None:
            said[stage] = log(max(seconds, SHORTEST))

    def ended(self, index: int, seconds: float) -> None:
        """An item has taken so many seconds in all."""
        for stage, said in enumerate(self._said.pop(index, ())):
            if said is not None and seconds > 0.0:
                off = min(max(log(max(seconds, SHORTEST)) - said, -_MOST), _MOST)
                self._counts[stage] += 1
                self._sums[stage] += off
                self._squares[stage] += off * off

    def __bool__(self) -> bool:
        """Whether an item that runs has reported."""
        return bool(self._said)

    def reading(self, complete: float) -> tuple[float, float]:
        """By how much more (log) an item takes than it says at such a moment, and how uncertain that is."""
        stage = _stage(complete)
        count = self._counts[stage]
        doubt = _PACE * (1.0 - min(complete, 1.0)) / max(complete, 1e-3) ** 0.25
        off = self._sums[stage] / (count + _DOUBT)
        scatter = self._squares[stage] - 2 * off * self._sums[stage] + count * off * off
        return off, sqrt((max(scatter, 0.0) + _DOUBT * doubt * doubt) / (count + _DOUBT))


def _stage(complete: float) -> int:
    return sum(complete >= least for least in _STAGES)
