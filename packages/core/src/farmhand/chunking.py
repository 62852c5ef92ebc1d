"""How many items to send next: pure arithmetic on what has been seen."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Sequence

__all__ = ["Middle", "Pace", "chunk_size", "refill"]

TARGET = 0.05  # seconds of work in a chunk: long beside a round trip, short beside a person
SINGLE = 0.02  # seconds; items that take longer travel alone
UNDISTURBED = 0.1  # seconds; items that take longer need nothing waiting behind them
OVERHEAD = 2e-6  # seconds that an item costs a process beside the task itself
LARGEST = 8_192  # items; keeps what is read ahead, and what a crash sends back, small
LEAST = 0.005  # seconds of work; smaller chunks towards the end cost more than they even out
GROWTH = 64  # a chunk is at most this many times the one before, in case the first items misled
FADE = 0.9  # how much the past still counts after each batch


class Pace:
    """The mean duration of an item, recent ones first, from batches of durations."""

    __slots__ = ("_count", "_seconds")

    def __init__(self) -> None:
        self._count = 0.0
        self._seconds = 0.0

    def add(self, count: int, seconds: float) -> None:
        """``count`` items took ``seconds`` together."""
        self._count = self._count * FADE + count
        self._seconds = self._seconds * FADE + max(0.0, seconds)

    @property
    def mean(self) -> float | None:
        """Seconds for one item; None before the first."""
        return self._seconds / self._count if self._count else None


class Middle:
    """The median duration of the latest items; of a batch of tiny ones a few stand for all.

    Attributes
    ----------
    count : int
        How many durations it was given.
    """

    LATEST = 1001
    OF_A_BATCH = 8

    def __init__(self) -> None:
        self.count = 0
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, seconds: Sequence[float]) -> None:
        """Take in the durations of one batch."""
        self.count += len(seconds)
        for value in seconds[:: max(1, len(seconds) // self.OF_A_BATCH)]:
            if len(self._latest) == self.LATEST:
                self._sorted.remove(self._latest.popleft())
            self._latest.append(value)
            insort(self._sorted, value)

    @property
    def value(self) -> float:
        """The median; zero before the first."""
        return self._sorted[len(self._sorted) // 2] if self._sorted else 0.0


def chunk_size(mean: float | None, last: int, left: int | None, processes: int) -> int:
    """How many items the next chunk of a process should have, at least one.

    Parameters
    ----------
    mean : float or None
        Seconds that an item takes; None when no item has ended yet.
    last : int
        The size of this process's last chunk, 0 before its first.
    left : int or None
        Items that are not sent yet; None when nobody knows.
    processes : int
        How many processes share them.

    Returns
    -------
    int
        About 50 ms of work; one item when it takes more than 20 ms; and towards the end no
        more than half of an equal share, or 5 ms of work, so that all processes end together.
    """
    if mean is None or mean > SINGLE:
        return 1
    size = min(LARGEST, int(TARGET / (mean + OVERHEAD)), GROWTH * max(last, 1))
    if left is not None:
        share = -(-left // (2 * processes))
        size = min(size, left, max(share, int(LEAST / (mean + OVERHEAD))))
    return max(1, size)


def refill(mean: float | None, size: int, held: int) -> bool:
    """Whether a process that holds ``held`` items should be sent ``size`` more.

    A process never waits for its next item unless items are so long that the wait is nothing
    beside them; then none waits behind a long one.
    """
    if held == 0:
        return True
    if mean is None or mean > UNDISTURBED:
        return False
    return held <= max(1, size // 2)
