"""The items: read lazily, numbered, encoded in batches, and skipped where a store has them.

Encoding a batch at once is several times faster than encoding its items one by one. But an item
that can be changed and comes from a generator is encoded before the next one is asked for: it may
be the same array every time, with other numbers in it.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from farmhand import codec
from farmhand.errors import UsageError
from farmhand.events import ItemError
from farmhand.store import Block
from farmhand.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

__all__ = ["Batch", "Feed", "Identity", "Ledger", "Reading", "text_block"]

# index, item, key and, if it had to be encoded at once, its bytes or why there are none
_Entry: TypeAlias = "tuple[int, Any, str | None, bytes | Exception | None]"

LARGE = 64 * 1024  # bytes; of a larger item, only a fingerprint and a short text are stored
_PATIENCE = 0.01  # seconds after which what a slow generator has given is sent
_SAMPLE = 256  # items that are looked at ahead, to know how many more will be skipped
_LEAST_SAMPLE = 16  # where items are so large that there is time for fewer, these say too little
_LOOKS = 1000  # items skipped in one reading, so that the farm never stops attending to the rest


class Identity:
    """What makes two items the same for ``resume``: the user's key, or the content.

    Parameters
    ----------
    key : callable, optional
        The user's: item to str.
    """

    def __init__(self, key: Callable[[Any], str] | None) -> None:
        self._key = key

    @property
    def is_keyed(self) -> bool:
        """Whether there is such a function."""
        return self._key is not None

    def key(self, item: Any) -> str | None:
        """The user's key of ``item``, None when there is no such function."""
        if self._key is None:
            return None
        key = self._key(item)
        if not isinstance(key, str):
            raise UsageError(
                f"key must return a str for each item, but for {codec.short(item)} it returned "
                f"{codec.short(key)}, a {type(key).__name__}"
            )
        return key

    def of_block(self, block: Block) -> Sequence[str | bytes | None]:
        """What is compared, for each item of a stored block; None where it cannot be known."""
        if self._key is not None and block.keys is not None:
            return block.keys
        if block.payload is not None:
            items = codec.decode_items(block.payload)
            return list(map(codec.identity, items)) if self._key is None else list(map(self.key, items))
        if self._key is None and block.fingerprints is not None:
            return block.fingerprints
        return [None] * len(block.indices)


@dataclass(slots=True)
class Batch:
    """Items that were read, and encoded, together.

    Attributes
    ----------
    indices : sequence of int
        Ascending; a ``range`` where they are consecutive.
    items : list or range
        The items themselves, as long as the batch has unended items.
    payload : bytes
        For :func:`farmhand.codec.decode_items`.
    keys : list of str or None
        What the user's ``key`` gave.
    unended : int
        How many of them have no end yet.
    recorded : bool
        Whether the store has the items.
    unchanged : bool
        Whether nobody can have changed the items since they were encoded.
    """

    indices: Sequence[int]
    items: Sequence[Any]
    payload: bytes
    keys: list[str] | None
    unended: int
    recorded: bool = False
    unchanged: bool = True

    def blocks(self) -> list[Block]:
        """The items as a store should keep them: of a large one only fingerprint and text."""
        if len(self.payload) <= LARGE * len(self.items):
            items = self.items if self.unchanged else None
            return [Block(self.indices, self.payload, keys=self.keys, items=items)]
        encoded = codec.split_each(self.payload)
        if encoded is None:
            encoded = [codec.encode(item) for item in self.items]
        return [self._block_of(place, data) for place, data in enumerate(encoded)]

    def _block_of(self, place: int, data: bytes) -> Block:
        index, item = self.indices[place], self.items[place]
        keys = None if self.keys is None else self.keys[place : place + 1]
        if len(data) <= LARGE:
            items = [item] if self.unchanged else None
            return Block(range(index, index + 1), codec.encode_each([data]), keys=keys, items=items)
        return text_block(index, item, [codec.fingerprint(item)], keys)

    def item(self, index: int) -> Any:
        """One of the items, by its index."""
        indices = self.indices
        place = index - indices[0] if isinstance(indices, range) else indices.index(index)
        return self.items[place]

    def encode_apart(self) -> None:
        """Encode the items one by one, so that a bad one does not spoil the others."""
        self.payload = codec.encode_each([codec.encode(item) for item in self.items])


def text_block(
    index: int, item: Any, fingerprints: list[bytes] | None = None, keys: list[str] | None = None
) -> Block:
    """One item of which only a text is kept. One that cannot be pickled has no fingerprint either."""
    return Block(range(index, index + 1), None, fingerprints, [codec.short(item)], keys)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one call of :meth:`Feed.read` brought.

    ``batch`` is None when there was nothing to send; ``rejected`` are items that no process
    can be sent, with the reason.
    """

    batch: Batch | None
    rejected: Sequence[tuple[int, Any, ItemError]] = ()


class Feed:
    """Reads the user's items, never further ahead than it is asked to.

    Parameters
    ----------
    items : iterable
        The user's.
    identity : Identity
        What resume goes by, and the user's keys.

    Attributes
    ----------
    skipped : int
        Items that the store already had.
    ended : bool
        Nothing more will come.
    error : BaseException or None
        What the user's iterable raised; the feed has then ended.

    Raises
    ------
    UsageError
        When ``items`` is not iterable.
    """

    def __init__(self, items: Iterable[Any], identity: Identity) -> None:
        try:
            self._items = iter(items)
        except TypeError as error:
            raise UsageError(
                f"items must be iterable (a list, an array, a generator, ...), not {type(items).__name__}"
            ) from error
        self._identity = identity
        self._done = Counter[str | bytes]()
        self._range = items if type(items) is range else None
        kind = type(items)  # these have all their items already, or make each of them anew
        eager = kind in (list, tuple, range, set, frozenset, dict)
        self._lazy = not eager and kind.__module__ not in ("numpy", "farmhand.sweeps")
        random_access = not self._lazy and hasattr(items, "__len__") and hasattr(items, "__getitem__")
        self._whole: Any = items if random_access and kind is not dict else ()
        self._sample: list[tuple[int, bool]] | None = None  # an item, and whether the store has it
        self._next = 0  # the index of the next item
        self._ahead: deque[_Entry] = deque()
        self._fresh = self._unskipped()
        self.skipped = 0
        self.ended = False
        self.error: BaseException | None = None

    def skip(self, done: Counter[str | bytes]) -> None:
        """Leave out as many items of each identity as ``done`` says; before the first is read."""
        self._done = done

    def peek(self) -> None:
        """Look for the first item to run, so that an empty feed is known to be empty."""
        while not self._ahead and not self.ended:
            self._ahead.extend(self._take(1))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to read, now or later."""
        return self.ended and not self._ahead

    @property
    def to_skip(self) -> int:
        """About how many items that were not read yet the store has: of many, a sample is looked at.

        What a generator will give nobody knows: none of that.
        """
        if not self._done or self.ended:
            return 0
        if self._sample is None:
            self._sample = self._look_ahead()
        ahead = [has for place, has in self._sample if place >= self._next]
        return round(sum(ahead) / len(ahead) * max(0, len(self._whole) - self._next)) if ahead else 0

    def _look_ahead(self) -> list[tuple[int, bool]]:
        """Some items, evenly spread over those that were not read yet, and whether the store has them."""
        first, sample = self._next, []
        count = len(self._whole) - first
        if count <= 0:
            return []
        # steps of about the golden ratio: wherever it is broken off, what was looked at is evenly spread
        step = round(count * 0.618) or 1
        while math.gcd(step, count) > 1:
            step += 1
        enough = time.monotonic() + _PATIENCE
        for number in range(min(count, _SAMPLE)):
            place = first + number * step % count
            try:
                item = self._whole[place]
                key = self._identity.key(item)
                sample.append((place, bool(self._done.get(self._name(item) if key is None else key))))
            except Exception:
                return []  # whoever reads it will say why
            if time.monotonic() > enough:
                break
        return sample if len(sample) >= min(count, _LEAST_SAMPLE) else []

    def read(self, count: int) -> Reading:
        """Up to ``count`` items; fewer at the end, or while many are being skipped."""
        if not (self._ahead or self._done or self._lazy or self._identity.is_keyed or self.ended):
            return self._read_plainly(count)
        taken = [self._ahead.popleft() for _ in range(min(count, len(self._ahead)))]
        if len(taken) < count and not self.ended:
            taken += self._take(count - len(taken))
        if not taken:
            return Reading(None)
        if not self._lazy or all(data is None for _, _, _, data in taken):
            try:
                payload = codec.encode_items([item for _, item, _, _ in taken])
            except Exception:
                return self._read_apart(taken)
            return Reading(_batch(taken, payload))
        return self._read_apart(taken)

    def _read_plainly(self, count: int) -> Reading:
        """As :meth:`read`, when nothing is to be skipped, keyed or copied: several times as fast."""
        first = self._next
        items: Sequence[Any]
        if self._range is not None:  # a part of it says what it is without a look at each item
            items = self._range[first : first + count]
        else:
            taken: list[Any] = []
            items = taken
            try:
                taken.extend(islice(self._items, count))  # keeps what came before an error
            except BaseException as error:
                self.error = error
        self.ended = len(items) < count
        self._next += len(items)
        if not items:
            return Reading(None)
        try:
            payload = codec.encode_items(items)
        except Exception:
            return self._read_apart([(first + place, item, None, None) for place, item in enumerate(items)])
        return Reading(Batch(range(first, self._next), items, payload, None, len(items)))

    def _read_apart(self, taken: list[_Entry]) -> Reading:
        """As :meth:`read`, when the items are encoded one by one, or some item cannot be."""
        good: list[_Entry] = []
        encoded: list[bytes] = []
        rejected: list[tuple[int, Any, ItemError]] = []
        for entry in taken:
            index, item, _, data = entry
            data = _encoded(item) if data is None else data
            if isinstance(data, bytes):
                good.append(entry)
                encoded.append(data)
            else:
                message = f"the item cannot be pickled: {data}"
                error = ItemError("unpicklable item", type(data).__qualname__, message)
                rejected.append((index, item, error))
        if not good:
            return Reading(None, rejected)
        return Reading(_batch(good, codec.encode_each(encoded)), rejected)

    def _take(self, count: int) -> list[_Entry]:
        taken: list[_Entry] = []
        enough = time.monotonic() + _PATIENCE if self._lazy else math.inf
        for entry in self._fresh:
            if entry is None:
                break  # enough was skipped for now
            taken.append(entry)
            if len(taken) == count or (self._lazy and time.monotonic() > enough):
                break
        else:
            self.ended = True
        return taken

    def _name(self, item: Any) -> bytes:
        try:
            return codec.identity(item)
        except Exception:
            return b""  # it cannot be pickled, which is said when it is read

    def _unskipped(self) -> Iterator[_Entry | None]:
        """The items to run; now and then None, when nothing but items to skip has come."""
        done, lazy = self._done, self._lazy
        key_of = self._identity.key if self._identity.is_keyed else None
        looks = 0
        while True:
            try:
                item = next(self._items)
            except StopIteration:
                return
            except BaseException as error:
                self.error = error
                return
            index = self._next
            self._next += 1
            key = None
            if key_of is not None:
                try:
                    key = key_of(item)
                except BaseException as error:
                    self.error = error
                    return
            if done:
                name = self._name(item) if key is None else key
                left = done.get(name, 0)
                if left:
                    done[name] = left - 1
                    self.skipped += 1
                    looks += 1
                    if looks >= _LOOKS:
                        looks = 0
                        yield None
                    continue
            looks = 0
            if lazy and type(item) not in _CONSTANTS and not _is_constant(item):
                # a generator may change it, and yield it again, as soon as it is asked for the next one
                data = _encoded(item)
                if isinstance(data, bytes) and len(data) > LARGE:
                    item = _copy(data, item)  # its fingerprint is taken when it has ended
                yield index, item, key, data
            else:
                yield index, item, key, None


class Ledger:
    """The batches that have unended items, by item."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._batches: list[Batch] = []

    def add(self, batch: Batch) -> None:
        """Batches come in ascending order."""
        self._firsts.append(batch.indices[0])
        self._batches.append(batch)

    def batch(self, index: int) -> Batch:
        """The batch of an item that has not ended."""
        return self._batches[bisect_right(self._firsts, index) - 1]

    def group(self, indices: Sequence[int]) -> list[tuple[Batch, Sequence[int]]]:
        """``indices`` by batch, each in the order given."""
        if not indices:
            return []
        ascending = isinstance(indices, range)
        first = self.batch(indices[0] if ascending else min(indices))
        if (indices[-1] if ascending else max(indices)) <= first.indices[-1]:
            return [(first, indices)]
        groups: dict[int, tuple[Batch, list[int]]] = {}
        for index in indices:
            batch = self.batch(index)
            groups.setdefault(batch.indices[0], (batch, []))[1].append(index)
        return list(groups.values())

    def end(self, indices: Sequence[int]) -> list[Batch]:
        """These items have ended; returns the batches among theirs that the store lacks."""
        unrecorded = []
        for batch, members in self.group(indices):
            batch.unended -= len(members)
            if not batch.recorded:
                batch.recorded = True
                unrecorded.append(batch)
            if not batch.unended:
                place = bisect_right(self._firsts, batch.indices[0]) - 1
                del self._firsts[place], self._batches[place]
        return unrecorded

    def __len__(self) -> int:
        return len(self._batches)


def _batch(entries: list[_Entry], payload: bytes) -> Batch:
    indices = _compact([index for index, _, _, _ in entries])
    keys = [key for _, _, key, _ in entries if key is not None] or None
    unchanged = all(data is None for _, _, _, data in entries)
    items = [item for _, item, _, _ in entries]
    return Batch(indices, items, payload, keys, len(entries), unchanged=unchanged)


_CONSTANTS = frozenset([bool, int, float, complex, str, bytes, type(None)])


def _is_constant(item: Any) -> bool:
    """Whether nobody can change it: plain values, numpy's numbers, tuples of these."""
    kind = type(item)
    if kind is tuple:
        return _CONSTANTS.issuperset(map(type, item)) or all(map(_is_constant, item))
    return kind in _CONSTANTS or (kind.__module__ == "numpy" and kind.__name__ != "ndarray")


def _encoded(item: Any) -> bytes | Exception:
    try:
        return codec.encode(item)
    except Exception as error:
        return error


def _copy(data: bytes, item: Any) -> Any:
    try:
        return codec.decode(data)
    except Exception:
        return item  # whoever has to decode it will say why


def _compact(indices: list[int]) -> Sequence[int]:
    first, last = indices[0], indices[-1]
    return range(first, last + 1) if last - first == len(indices) - 1 else indices
