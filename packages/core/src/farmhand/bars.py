"""Where a bar stands between two reports, and what a chart of the run shows: pure, no clock.

A task that reports every ten seconds makes a bar that jumps every ten seconds. People read that as
"it hangs", so that in between the bar goes on as fast as the reports did, but never further than
the next report can be expected to bring it.
"""

from __future__ import annotations

__all__ = ["REPORTED", "Bar", "History"]

#: So much of an item it has to have reported: below it the rest is anybody's guess, as Brian has it.
REPORTED = 0.001
_ALMOST = 0.99  # only a report says that an item is done
_CREEP = 0.5  # how much further than one expected step a bar may go when the next report is late
_AGAIN = 0.5  # of what was reported last; who says so little begins again


class Bar:
    """The bar of one attempt at one item.

    Attributes
    ----------
    complete : float or None
        What was reported last, from 0 to 1; None before anything was.
    """

    __slots__ = ("_at", "_began", "_period", "_shown", "complete")

    def __init__(self) -> None:
        self.complete: float | None = None
        self._began = 0.0  # seconds into the item, when it was at zero
        self._at = 0.0  # the same, at the last report
        self._period = 0.0  # the longest time between two reports that differ
        self._shown = 0.0

    def report(self, complete: float, elapsed: float) -> None:
        """The item has said how far it is, so many seconds after it began."""
        if complete != complete:
            return  # not a number: it says nothing
        complete = min(1.0, max(0.0, complete))
        elapsed = max(elapsed, self._at)
        if self.complete is not None and complete < self.complete:
            self._shown = 0.0
            if complete <= self.complete * _AGAIN:
                # it begins again, as a task of several simulations does, at a pace of its own
                self._began, self._period = self._at, 0.0
        if complete == 0.0:  # what went before (imports, compilation) is no pace
            self._began, self._period = elapsed, 0.0
        elif complete != self.complete:  # what says the same again brings no news, and no pace
            self._period = max(self._period, elapsed - self._at)
        self.complete, self._at = complete, elapsed

    def expected(self, elapsed: float) -> float | None:
        """How far it probably is by now; None when it has never reported. It does not go back."""
        if self.complete is None:
            return None
        reached = self.complete
        took, late = self._at - self._began, elapsed - self._at
        if took > 0.0 and late > 0.0 and reached < _ALMOST:
            reached = min(_ALMOST, reached + reached / took * min(late, self._period * (1.0 + _CREEP)))
        if reached > self._shown:
            self._shown = reached
        return self._shown

    def remaining(self, elapsed: float) -> float | None:
        """Seconds that the item probably still takes; None when nobody can say."""
        took = self._at - self._began
        if self.complete is None or self.complete <= REPORTED or took <= 0.0:
            return None
        return max(0.0, took / self.complete - (elapsed - self._began))


class History:
    """How many items had ended when, as not too many points at about even distances.

    When there are more than ``MOST`` every second one goes, and the distance doubles; a run of
    a week takes no more room than one of a minute.

    Attributes
    ----------
    points : tuple of (float, int)
        Seconds and items, in that order; the same object until there is a new point.
    """

    MOST = 240
    __slots__ = ("_interval", "_next", "points")

    def __init__(self) -> None:
        self._interval = 0.1  # seconds
        self._next = 0.0
        self.points: tuple[tuple[float, int], ...] = ()

    def add(self, elapsed: float, ended: int, last: bool = False) -> None:
        """So many items have ended after so many seconds; a point, if it is time for one, or the last."""
        if elapsed < self._next and not last:
            return
        points = (*self.points, (elapsed, ended))
        if len(points) > self.MOST:
            points = points[::2]  # their number is odd, so that the newest one stays
            self._interval *= 2
        self._next = points[-1][0] + self._interval
        self.points = points
