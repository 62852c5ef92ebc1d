"""Values as rows, and rows as values. Nothing here is unpickled."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from farmhand.codec import REFERENCE, Packed, split_each
from farmhand.events import ItemError, RecordFailed, Usage, starts
from farmhand.plain import plain_items
from farmhand.store import Block, Pack, RunInfo, Timings
from farmhand_sqlite.plain import descriptions, dumps, loads
from farmhand_sqlite.schema import SHIFT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "RECORDS",
    "RETRIED",
    "RUNS",
    "block_of",
    "block_row",
    "bound",
    "error_of",
    "failure_row",
    "item_rows",
    "pack_of",
    "pack_row",
    "packs_apart",
    "records_of_rows",
    "retried_row",
    "run_of",
    "run_row",
    "text_of",
    "times_of",
    "timings_of",
    "usage_rows",
]

INDEX = (1 << SHIFT) - 1  # the part of an id that is the item's index
# What belongs to an item in a pack comes behind the pack, and before the next pack or failure.
RECORDS = """
SELECT id, 0, count, process, started, seconds, each, NULL, NULL, NULL, NULL
FROM packs WHERE id BETWEEN :first AND :last
UNION ALL
SELECT id, 1, attempts, process, started, seconds, NULL, kind, type, message, traceback
FROM failures WHERE id BETWEEN :first AND :last
UNION ALL
SELECT id, 2, attempts, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM attempts WHERE id BETWEEN :first AND :last
UNION ALL
SELECT id, 3, memory, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM usage WHERE id BETWEEN :first AND :last AND memory IS NOT NULL
ORDER BY 1, 2
"""
PACK, FAILURE, ATTEMPTS, MEMORY = range(4)
RETRIED = """
SELECT id, attempt, process, started, seconds, memory, kind, type, message, traceback
FROM retried WHERE id BETWEEN :first AND :last ORDER BY id, attempt
"""
MANY = 1000  # items in a block; each takes less than 50 us then, and a text of a float takes 0.5
_SHORT = 1 << 20  # bytes of a block, beyond which its items are hardly short
RUNS = "uid, task, computer, started, numitems, seed, ended, outcome, parameters, owner, provenance"  # in SQL


# -- runs ------------------------------------------------------------------------------------------


def run_row(run: RunInfo) -> tuple[Any, ...]:
    """What ``RUNS`` names."""
    seed = None if run.seed is None else str(run.seed)  # may have more than 64 bits
    about = (run.uid, bound(run.task), bound(run.computer), run.started, run.numitems, seed)
    texts = (dumps(list(run.parameters)), bound(run.owner), dumps(dict(run.provenance)))
    return *about, run.ended, run.outcome, *texts


def run_of(row: Sequence[Any]) -> RunInfo:
    """A run from what ``RUNS`` names."""
    uid, task, computer, started, numitems, seed, ended, outcome, parameters, owner, provenance = row
    number = None if seed is None else int(seed)
    about = (uid, text_of(task), text_of(computer), started, numitems, number, ended, outcome)
    return RunInfo(*about, tuple(loads(parameters)), text_of(owner), loads(provenance))


# -- packs and records -----------------------------------------------------------------------------


def packs_apart(pack: Pack) -> list[Pack]:
    """``pack``, cut so that each result that is in a file has a row of its own."""
    if len(pack.indices) == 1 or REFERENCE not in pack.values.payload:
        return [pack]
    encoded = split_each(pack.values.payload)
    first = pack.indices[0]
    alone = [first + place for place, data in enumerate(encoded or ()) if data[:1] == REFERENCE]
    if not alone:
        return [pack]
    parts = [*pack.without(alone), *pack.parts(range(index, index + 1) for index in alone)]
    return sorted(parts, key=lambda part: part.indices[0])


def pack_row(id: int, pack: Pack) -> tuple[Any, ...]:
    """All columns of ``packs``."""
    seconds, count = pack.seconds, len(pack.indices)
    each = _swapped(seconds).tobytes() if count > 1 else None
    return id, count, pack.number, pack.started, sum(seconds), each, pack.values.payload


def pack_of(row: Sequence[Any]) -> Pack:
    """A pack from all columns of its row; ValueError when it has not the times of all items."""
    id, count, process, started, seconds, each, payload = row
    took, first = times_of(count, seconds, each), id & INDEX
    return Pack(range(first, first + count), process, started, took, Packed(payload, count))


def times_of(count: int, seconds: float, each: bytes | None) -> array[float]:
    """How long each item of a pack took; ValueError when it does not say so of all."""
    took = array("d", [seconds]) if each is None else _swapped(array("d", each))
    if len(took) != count:
        raise ValueError("it has not the times of all items")
    return took


def timings_of(found: Iterable[tuple[Any, ...]]) -> Timings:
    """What rows of ``packs`` say, but for results; ValueError when one has not the times of all its items."""
    timings, rows = Timings(), iter(found)
    while some := list(islice(rows, MANY)):
        ids, counts, processes, started, seconds, each = zip(*some, strict=True)
        if counts.count(1) == each.count(None) == len(some):  # items that took long enough to come alone
            timings.indices.extend([id & INDEX for id in ids])
            timings.processes.extend(processes)
            timings.started.extend(started)
            timings.seconds.extend(seconds)
            continue
        for row in some:
            pack = pack_of((*row, b""))
            timings.add_pack(pack.indices, pack.number, pack.started, pack.seconds)
    return timings


def _swapped(seconds: array[float]) -> array[float]:
    """``seconds`` as a file has them, or has been read from a file, whatever this computer's own order."""
    if sys.byteorder == "big":
        seconds = array("d", seconds)
        seconds.byteswap()
    return seconds


def records_of_rows(rows: Iterable[tuple[Any, ...]]) -> Generator[tuple[Any, ...]]:
    """What rows of ``RECORDS`` say of each item: its id, and what comes after the index in a record."""
    main: tuple[Any, ...] | None = None  # of a pack or a failure; what belongs to it comes behind it
    attempts: dict[int, int] = {}
    memory: dict[int, int] = {}
    for row in chain(rows, [None]):
        if row is not None and row[1] == ATTEMPTS:
            attempts[row[0]] = row[2]
        elif row is not None and row[1] == MEMORY:
            memory[row[0]] = row[2]
        else:
            if main is not None:
                id, kind, number, process, started, seconds, each, *error = main
                if kind == FAILURE:
                    yield id, "failed", process, started, seconds, number, error_of(error), memory.get(id)
                else:
                    took = [seconds] if each is None else _swapped(array("d", each))
                    when = zip(starts(started, took), took, strict=True)
                    for item, (began, lasted) in zip(range(id, id + number), when, strict=True):
                        about = (attempts.get(item, 1), None, memory.get(item))
                        yield item, "done", process, began, lasted, *about
            main = row
            attempts.clear()
            memory.clear()


def error_of(parts: Sequence[Any]) -> ItemError:
    """An error from its four columns."""
    return ItemError(*map(text_of, parts))


def failure_row(base: int, failed: RecordFailed) -> tuple[Any, ...]:
    """All columns of ``failures``."""
    error = failed.error
    texts = map(bound, (error.kind, error.type, error.message, error.traceback))
    return base + failed.index, failed.number, failed.started, failed.seconds, failed.attempts, *texts


def retried_row(base: int, failed: RecordFailed) -> tuple[Any, ...]:
    """All columns of ``retried``."""
    error, usage = failed.error, failed.usage
    about = (failed.attempts, failed.number, failed.started, failed.seconds, usage.memory)
    texts = map(bound, (error.kind, error.type, error.message, error.traceback, usage.output))
    return base + failed.index, *about, *texts


def usage_rows(base: int, usage: Mapping[int, Usage]) -> Iterator[tuple[Any, ...]]:
    """What there is to say of these items; of most there is nothing."""
    return (
        (base + index, used.memory, bound(used.output))
        for index, used in usage.items()
        if used.output or used.memory is not None
    )


# -- items -----------------------------------------------------------------------------------------


def item_rows(base: int, block: Block, names: Sequence[str], hasty: bool = True) -> Iterator[tuple[Any, ...]]:
    """The items of ``block`` for other programs, as far as they are plain, for the table ``items``.

    Thousands of items come together when they take microseconds, and then a text of each would take a good
    part of that. So with ``hasty`` only what needs none is said of these: ints in steps.
    """
    items, indices = block.items, block.indices
    only_steps = hasty and len(indices) > MANY
    if items is None and block.payload is not None and len(block.payload) < _SHORT and not only_steps:
        items = plain_items(block.payload)
    if not items:
        return
    start = 0  # where there are gaps, a text begins anew
    for place in range(1, len(indices) + 1) if len(indices) <= indices[-1] - indices[0] else [len(indices)]:
        if place == len(indices) or indices[place] != indices[place - 1] + 1:
            some = items if place - start == len(items) else items[start:place]
            for offset, *about in descriptions(some, names, only_steps=only_steps):
                yield base + indices[start] + offset, *about
            start = place


def block_row(base: int, block: Block) -> tuple[Any, ...]:
    """All columns of ``blocks``."""
    indices, first = block.indices, block.indices[0]
    span, offsets = indices[-1] - first, None
    if span >= len(indices):  # there are gaps
        offsets = struct.pack(_offsets(len(indices), wide=span >> 32), *(index - first for index in indices))
    prints = None if block.fingerprints is None else b"".join(block.fingerprints)
    texts, keys = _joined(block.texts), _joined(block.keys)
    return base + first, len(indices), offsets, block.payload, prints, texts, keys


def block_of(row: Sequence[Any]) -> Block:
    """Undo :func:`block_row`, but for what the id says of the run."""
    id, count, offsets, payload, prints, texts, keys = row
    first = id & INDEX
    indices: Sequence[int] = range(first, first + count)
    if offsets is not None:
        unpacked = struct.unpack(_offsets(count, wide=len(offsets) > 4 * count), offsets)
        indices = [first + offset for offset in unpacked]
    return Block(
        indices,
        payload,
        None if prints is None else [prints[start : start + 16] for start in range(0, len(prints), 16)],
        _split(texts),
        _split(keys),
    )


def _joined(texts: Sequence[str] | None) -> str | None:
    return None if texts is None else dumps(list(texts))


def _split(texts: str | None) -> list[str] | None:
    if texts is None:
        return None
    found: list[str] = loads(texts)
    return found


def _offsets(count: int, wide: int) -> str:
    return f"<{count}{'Q' if wide else 'I'}"


# -- texts -----------------------------------------------------------------------------------------


def bound(text: str) -> str | bytes:
    """``text`` as SQLite can keep it: half a surrogate pair, as in odd file names, only as bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def text_of(kept: str | bytes) -> str:
    """Undo :func:`bound`."""
    return kept if isinstance(kept, str) else kept.decode("utf-8", "surrogatepass")
