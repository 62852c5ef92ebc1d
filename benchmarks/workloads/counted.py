"""Counts the items that were read and those that were computed, to see how far apart they are."""

import mmap
import os
from array import array
from collections.abc import Iterator

_SLOTS = 64  # processes; more would share one, and lose a few counts
_PATH = "COUNTED"  # the variable of the environment that says where the counts are
_mine: memoryview | None = None  # the slot of this process


def square(k: int) -> int:
    """The task."""
    global _mine
    if _mine is None:
        slot = os.getpid() % _SLOTS
        _mine = _counts()[slot : slot + 1]
    _mine[0] += 1
    return k * k


def square_item(k: int) -> tuple[int, int]:
    """The same for those whose results come in any order."""
    return k, square(k)


class Items:
    """Numbers from a generator, which notices how far it is ahead of the tasks."""

    def __init__(self, count: int) -> None:
        self.ahead = 0
        self._count = count
        os.environ[_PATH] = os.path.abspath("counts")
        with open("counts", "wb") as file:
            array("Q", [0] * _SLOTS).tofile(file)

    def __iter__(self) -> Iterator[int]:
        counts = _counts()
        for k in range(self._count):
            if not k % 100:
                self.ahead = max(self.ahead, k - sum(counts))
            yield k
        self.ahead = max(self.ahead, self._count - sum(counts))


def _counts() -> memoryview:
    with open(os.environ[_PATH], "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")
