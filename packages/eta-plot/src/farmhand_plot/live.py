"""What is remembered of a run that goes on, snapshot by snapshot, to be drawn."""

from __future__ import annotations

import time
from itertools import accumulate
from math import isfinite

from farmhand.progress import Estimate, Snapshot
from farmhand.wording import RemainingWords, TimeLeft, printable
from farmhand_plot.course import Course

__all__ = ["Watched", "ordered"]

_MOST = 400  # moments that are remembered; when there are more, every second one goes
_SOON = 2.0  # seconds of a run in which whoever looks has seen it from its beginning
_LONGEST = 1e12  # seconds; no run is longer
_MOST_LETTERS = 60  # of a task's name


class Watched:
    """A run as it was seen so far. Its size does not grow.

    Attributes
    ----------
    last : Snapshot or None
        The newest snapshot.
    """

    def __init__(self) -> None:
        self.last: Snapshot | None = None
        self._estimates: list[tuple[float, Estimate | None]] = []
        self._interval = 0.0  # seconds between two that are remembered
        self._failures: list[float] = []
        self._now = 0.0  # seconds of the run,
        self._at = 0.0  # and the time of day, of the newest snapshot
        self._words = RemainingWords()
        self._left = TimeLeft()

    def add(self, snapshot: Snapshot) -> None:
        """Take in a snapshot; they come in order."""
        before, self.last = self.last, snapshot
        self._at = time.time()
        self._left = self._words.of(snapshot, self._at)
        now = _sane(snapshot.elapsed)
        if before is None or before.run != snapshot.run or now < self._now:
            self._estimates, self._failures, self._interval = [], [], 0.0
            failed = 0 if now <= _SOON else snapshot.failed  # nobody knows when
        else:
            failed = before.failed
        self._now = now
        if snapshot.failed > failed:
            self._failures.append(now)
            if len(self._failures) > _MOST:
                del self._failures[1::2]
        if not self._estimates or now >= self._estimates[-1][0] + self._interval:
            self._estimates.append((now, ordered(snapshot.remaining)))
            if len(self._estimates) > _MOST:
                del self._estimates[1::2]
                kept = self._estimates
                self._interval = (kept[-1][0] - kept[0][0]) / (len(kept) - 1)

    def course(self) -> Course:
        """All of it, to be drawn; there must have been a snapshot."""
        last = self.last
        assert last is not None
        remaining = ordered(last.remaining)
        points = [(_sane(seconds), ended) for seconds, ended in last.history]
        points.append((self._now, last.done + last.failed))
        estimates = self._estimates
        if estimates[-1][0] < self._now:
            estimates = [*estimates, (self._now, remaining)]
        return Course(
            task=printable(last.task, _MOST_LETTERS),
            run=printable(last.run)[:6],
            state=last.state,
            began=self._at - self._now,
            now=self._now,
            total=last.total,
            done=last.done,
            failed=last.failed,
            skipped=last.skipped,
            # nonsense is shown as what it would be in order
            times=[min(seconds, self._now) for seconds in accumulate((at for at, _ in points), max)],
            ended=list(accumulate((ended for _, ended in points), max)),
            failures=tuple(self._failures),
            remaining=remaining,
            left=self._left,
            estimates=tuple(estimates),
        )


def _sane(seconds: float) -> float:
    """``seconds``, as far as a clock can have measured them."""
    return min(max(seconds, 0.0), _LONGEST) if isfinite(seconds) else 0.0


def ordered(estimate: Estimate | None) -> Estimate | None:
    """``estimate``, if it can be drawn, in order; others may have made it."""
    if estimate is None or not all(map(isfinite, (estimate.low, estimate.median, estimate.high))):
        return None
    return Estimate(*sorted(map(_sane, (estimate.low, estimate.median, estimate.high))))
