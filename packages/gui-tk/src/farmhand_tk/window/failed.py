"""The failures that have come, oldest first; pure."""

from __future__ import annotations

from farmhand.progress import Failure, Snapshot
from farmhand.values import dataclass

__all__ = ["Failed", "Seen"]

_MOST = 1000


@dataclass(frozen=True, slots=True)
class Seen:
    """A failure, and the time of day at which it came; None when it was there before."""

    failure: Failure
    moment: float | None


class Failed:
    """Those that a window keeps.

    Attributes
    ----------
    kept : dict
        By the number of the failure, in rising order: the newest thousand that were seen.
    unseen : int
        How many failed beside these.
    """

    def __init__(self) -> None:
        self.kept: dict[int, Seen] = {}
        self.unseen = 0
        self._newest = 0
        self._first = True

    def add(self, snapshot: Snapshot, now: float) -> list[Seen]:
        """Keep what is new in a snapshot; returns the new ones that are kept."""
        # of those that were there before the window was, nobody knows when
        moment = None if self._first and snapshot.elapsed > 2.0 else now
        self._first = False
        new = []
        for failure in snapshot.failures:
            if failure.number > self._newest:
                self._newest = failure.number
                new.append(Seen(failure, moment))
                self.kept[failure.number] = new[-1]
        while len(self.kept) > _MOST:
            del self.kept[next(iter(self.kept))]
        self.unseen = max(0, snapshot.failed - len(self.kept))
        return [seen for seen in new if seen.failure.number in self.kept]
