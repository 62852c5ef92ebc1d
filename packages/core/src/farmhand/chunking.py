"""How many items to send next: pure arithmetic on what has been seen.

The constants fit processes of this computer, for which a message and its answer (a round trip) take less than
a millisecond. For processes that are far away everything that is there to hide a round trip is longer:

- What a process has in hand when it asks for more is what it lives on until more has come: a round trip and
  the time for which it gathers results, at least; as items are of different lengths, three round trips.
- A chunk is four round trips longer, so that a process does not ask much more often than once in each.
- An item a hundred times as long as a round trip has none waiting behind it: that costs one part in a hundred
  at most, and it might have waited for long.
- Towards the end no chunk is less than a round trip of work: what would even it out further comes too late.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Sequence

__all__ = ["GATHER", "Middle", "Pace", "chunk_size", "refill", "worth_taking"]

TARGET = 0.05  # seconds of work in a chunk: long beside a round trip, short beside a person
SINGLE = 0.02  # seconds; items that take longer travel alone
UNDISTURBED = 0.1  # seconds; items that take longer need nothing waiting behind them
OVERHEAD = 2e-6  # seconds that an item costs a process beside the task itself
LARGEST = 8_192  # items; keeps what is read ahead, and what a crash sends back, small
LEAST = 0.005  # seconds of work; smaller chunks towards the end cost more than they even out
GATHER = 0.02  # seconds for which a process keeps results, to send them together
LONGEST_TRIP = 0.5  # seconds; a longer round trip is a stall of the network, which no chunk can bridge
NOTHING = 100  # round trips beside which one is nothing
MOST = 4  # a chunk for processes that are far away is at most so many times as large as any other
GROWTH = 64  # a chunk is at most this many times the one before, in case the first items misled
LATEST = 10  # batches that say how long items take


class Pace:
    """The mean duration of an item, recent ones first, from batches of durations."""

    __slots__ = ("_count", "_seconds")

    def __init__(self) -> None:
        self._count = 0.0
        self._seconds = 0.0

    def add(self, count: int, seconds: float, batches: int = LATEST) -> None:
        """``count`` items took ``seconds`` together; the latest ``batches`` batches or so count."""
        fade = 1.0 - 1.0 / batches
        self._count = self._count * fade + count
        self._seconds = self._seconds * fade + max(0.0, seconds)

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


def chunk_size(mean: float | None, last: int, left: int | None, processes: int, trip: float = 0.0) -> int:
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
    trip : float
        Seconds of a round trip to a process; zero for those of this computer.

    Returns
    -------
    int
        About 50 ms of work and four round trips; one item when it takes more than 20 ms and two
        round trips; and towards the end no more than half of an equal share, or 5 ms of work and
        a round trip, so that all processes end together.
    """
    trip = min(trip, LONGEST_TRIP)
    target = TARGET + 4 * trip
    if mean is None or mean > SINGLE + 2 * trip:
        return 1
    largest = int(LARGEST * min(target / TARGET, MOST))
    size = min(largest, int(target / (mean + OVERHEAD)), GROWTH * max(last, 1))
    if left is not None:
        share = -(-left // (2 * processes))
        size = min(size, left, max(share, int((LEAST + trip) / (mean + OVERHEAD))))
    return max(1, size)


def refill(mean: float | None, size: int, held: int, trip: float = 0.0) -> bool:
    """Whether a process that holds ``held`` items should be sent ``size`` more.

    A process never waits for its next item unless items are so long that the wait is nothing
    beside them; then none waits behind a long one.
    """
    if held == 0:
        return True
    trip = min(trip, LONGEST_TRIP)
    if mean is None or mean > max(UNDISTURBED, NOTHING * trip):
        return False
    if held <= max(1, size // 2):
        return True
    # the item that it is on may be about to end; towards the end, when chunks are small, so is this
    return trip > 0.0 and held <= 2 * size and (held - 1) * (mean + OVERHEAD) < GATHER + 3 * trip


def worth_taking(mean: float | None, held: int, silent: float, trip: float = 0.0) -> bool:
    """Whether some of the ``held`` items of a process should go to one that has none.

    On this computer always. Elsewhere they are on the way for a round trip and a half, so that there must be
    work for two, as far as is known; unless the process has been ``silent`` for so many seconds that it
    should have ended them all: then it is on an item that is longer than others.
    """
    if held < 2:
        return False
    if not trip:
        return True
    work = held * (mean or 0.0)
    return work > 2 * trip or silent > work + 2 * trip
