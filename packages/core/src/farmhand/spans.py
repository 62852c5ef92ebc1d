"""Sets of item indices that are mostly consecutive: what a process holds, thousands at a time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence, Set

__all__ = ["Spans"]


class Spans(Set[int]):
    """A set of ints that costs by how often they are interrupted, and not by how many they are.

    Parameters
    ----------
    indices : iterable of int, optional
        What is in it at first.
    """

    __slots__ = ("_count", "_starts", "_stops")

    def __init__(self, indices: Iterable[int] = ()) -> None:
        # the spans, ascending; no two of them touch
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._count = 0
        self.add(list(indices))

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and self._holds(index, index + 1)

    def __iter__(self) -> Iterator[int]:
        for start, stop in zip(self._starts, self._stops, strict=True):
            yield from range(start, stop)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"Spans({list(map(range, self._starts, self._stops))})"

    def has_each(self, indices: Sequence[int]) -> bool:
        """Whether all of ``indices`` are in it, and none of them is named twice."""
        if not isinstance(indices, range) and len(set(indices)) < len(indices):
            return False
        return all(self._holds(start, stop) for start, stop in _spans(indices))

    def add(self, indices: Sequence[int]) -> None:
        """Put ``indices`` in, those that are not there yet."""
        for start, stop in _spans(indices):
            # all spans that overlap or touch this one become one with it
            low, high = bisect_left(self._stops, start), bisect_right(self._starts, stop)
            if low == high:  # none: as with items that are sent one by one
                self._starts.insert(low, start)
                self._stops.insert(low, stop)
                self._count += stop - start
            else:
                whole = min(start, self._starts[low]), max(stop, self._stops[high - 1])
                self._replace(low, high, [whole])

    def remove(self, indices: Sequence[int]) -> None:
        """Take ``indices`` out, those that are there."""
        for start, stop in _spans(indices):
            low, high = bisect_right(self._stops, start), bisect_left(self._starts, stop)
            if high - low == 1 and self._starts[low] == start and self._stops[low] == stop:
                del self._starts[low], self._stops[low]
                self._count -= stop - start
            elif low < high:
                left, right = (self._starts[low], start), (stop, self._stops[high - 1])
                self._replace(low, high, [rest for rest in (left, right) if rest[0] < rest[1]])

    def _holds(self, start: int, stop: int) -> bool:
        place = bisect_right(self._starts, start) - 1
        return place >= 0 and stop <= self._stops[place]

    def _replace(self, low: int, high: int, spans: list[tuple[int, int]]) -> None:
        self._count -= sum(self._stops[low:high]) - sum(self._starts[low:high])
        self._count += sum(stop - start for start, stop in spans)
        self._starts[low:high] = [start for start, _ in spans]
        self._stops[low:high] = [stop for _, stop in spans]


def _spans(indices: Sequence[int]) -> list[tuple[int, int]]:
    """``indices`` as pairs of first and behind the last, as far as they are consecutive."""
    if not indices:
        return []
    first = indices[0]
    if len(indices) == 1 or (isinstance(indices, range) and indices.step == 1):
        return [(first, first + len(indices))]
    spans = []
    stop = first
    for index in indices:
        if index != stop:
            spans.append((first, stop))
            first = index
        stop = index + 1
    spans.append((first, stop))
    return spans
