"""The store that keeps everything in this process's memory: the contract in its shortest form.

Values stay the encoded bytes that came from the tasks, so that what is read back is a copy, as
from any other store. It may be used by one thread at a time, is gone with the process, and a
forked child has a copy that nobody else sees.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

from farmhand.errors import StoreError, UsageError
from farmhand.events import RecordFailed, Usage, starts
from farmhand.store import (
    Block,
    Counts,
    DataManager,
    Pack,
    Record,
    Records,
    RunInfo,
    Session,
    Timings,
    Turn,
    join_key,
    packs_of,
    record_of,
    sample_of,
)
from farmhand.values import dataclass, field, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["MemoryStore"]


@dataclass(slots=True)
class _Run:
    info: RunInfo
    packs: list[Pack] = field(default_factory=list)  # ascending
    firsts: list[int] = field(default_factory=list)  # the first index of each
    done: int = 0
    attempts: dict[int, int] = field(default_factory=dict)
    failed: dict[int, RecordFailed] = field(default_factory=dict)
    retried: dict[tuple[int, int], RecordFailed] = field(default_factory=dict)  # by item and attempt
    usage: dict[int, Usage] = field(default_factory=dict)  # of done items
    blocks: dict[int, Block] = field(default_factory=dict)
    shipped: list[bytes] = field(default_factory=list)

    def pack_of(self, index: int) -> Pack | None:
        """The pack that has the result of an item."""
        place = bisect_right(self.firsts, index) - 1
        return self.packs[place] if place >= 0 and index in self.packs[place].indices else None

    def overlaps(self, pack: Pack) -> bool:
        """Whether there is a result already of an item of ``pack``."""
        first, last = pack.indices[0], pack.indices[-1]
        after = bisect_right(self.firsts, first)
        return self.pack_of(first) is not None or any(
            known <= last for known in self.firsts[after : after + 1]
        )

    def records(self) -> Iterator[Record]:
        """How every item ended, by index."""
        uid, records = self.info.uid, []
        for pack in self.packs:
            when = zip(starts(pack.started, pack.seconds), pack.seconds, strict=True)
            for index, (started, seconds) in zip(pack.indices, when, strict=True):
                attempts = self.attempts.get(index, 1)
                memory = self.usage[index].memory if index in self.usage else None
                about = (pack.number, started, seconds, attempts, None, memory, self.info.seed)
                records.append(Record(join_key(uid, index), uid, index, "done", *about))
        return iter(sorted(records + self.failures(), key=lambda record: record.index))

    def failures(self) -> list[Record]:
        """How those items ended that failed, by index."""
        return [record_of(self.info.uid, failed, self.info.seed) for _, failed in sorted(self.failed.items())]

    def forget(self, indices: Collection[int]) -> None:
        """Take away all that is known of these items."""
        kept = [part for pack in self.packs for part in pack.without(indices)]
        self.packs, self.firsts = kept, [_first(pack) for pack in kept]
        self.done = sum(len(pack.indices) for pack in kept)
        for index in indices:
            self.failed.pop(index, None)
            self.attempts.pop(index, None)
            self.usage.pop(index, None)
        for key in [key for key in self.retried if key[0] in indices]:
            del self.retried[key]


class MemoryStore(DataManager):
    """Results in memory."""

    basepath = ":memory:"

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._shelves: dict[str, dict[str, bytes]] = {}
        self._log: list[tuple[str, set[int]]] = []  # which items of which run ended, turn by turn
        self._name = os.urandom(8).hex()  # tells its cursors from those of others

    def begin(self, run: RunInfo, join: bool = False) -> Session:
        if run.uid not in self._runs:
            self._runs[run.uid] = _Run(run)
        elif not join:
            raise StoreError(self.basepath, f"it already has a run {run.uid!r}", "Each run needs its own uid")
        return _MemorySession(self._runs[run.uid], self._log)

    def runs(self) -> list[RunInfo]:
        return [run.info for run in self._runs.values()]

    def records(self, run: str | None = None, since: str | None = None) -> Records:
        cursor = f"{self._name}.{len(self._log)}"
        wanted: dict[str, set[int]] | None = None
        if since is not None:
            name, _, turns = since.partition(".") if isinstance(since, str) else ("", "", "")
            known = name == self._name and turns.isdecimal() and len(turns) <= 18
            if not known or int(turns) > len(self._log):
                raise UsageError(f"since={since!r} is no cursor of this store; it comes from store.records()")
            wanted = {}
            for uid, indices in self._log[int(turns) :]:
                wanted.setdefault(uid, set()).update(indices)
        runs = list(self._runs.values()) if run is None else [self._runs[run]]
        found = [
            record
            for each in runs
            if wanted is None or each.info.uid in wanted
            for record in each.records()
            if wanted is None or record.index in wanted[each.info.uid]
        ]
        return Records(iter(found), cursor)

    def retried(self, run: str | None = None) -> Iterator[Record]:
        for each in list(self._runs.values()) if run is None else [self._runs[run]]:
            yield from [
                record_of(each.info.uid, failed, each.info.seed) for _, failed in sorted(each.retried.items())
            ]

    def output_at(self, run: str, index: int, attempt: int | None = None) -> str:
        kept = self._runs[run]
        if attempt is not None and (index, attempt) in kept.retried:
            return kept.retried[index, attempt].usage.output
        if index in kept.failed:
            usage, attempts = kept.failed[index].usage, kept.failed[index].attempts
        else:
            usage, attempts = kept.usage.get(index, Usage()), kept.attempts.get(index, 1)
        return usage.output if attempt in (None, attempts) else ""

    def encoded(self, run: str) -> Iterator[tuple[int, bytes]]:
        for pack in list(self._runs[run].packs):
            yield from zip(pack.indices, pack.values, strict=True)

    def encoded_at(self, run: str, index: int) -> bytes:
        pack = self._pack(run, index)
        data: bytes = pack.values[index - pack.indices[0]]
        return data

    def decoded(self, run: str) -> Iterator[tuple[int, Any]]:
        for pack in self.packs(run):
            yield from zip(pack.indices, pack.values.decode(self.loader(run)), strict=True)

    def decoded_at(self, run: str, index: int) -> Any:
        pack = self._pack(run, index)
        return pack.values.decode_one(index - pack.indices[0], self.loader(run))

    def packs(self, run: str) -> Iterator[Pack]:
        yield from list(self._runs[run].packs)

    def timings(self, run: str) -> Timings:
        timings = Timings()
        for pack in self.packs(run):
            timings.add_pack(pack.indices, pack.number, pack.started, pack.seconds)
        return timings

    def _pack(self, run: str, index: int) -> Pack:
        pack = self._runs[run].pack_of(index)
        if pack is None:
            raise KeyError(join_key(run, index))
        return pack

    def blocks(self, run: str) -> Iterator[Block]:
        yield from [block for _, block in sorted(self._runs[run].blocks.items())]

    def shipped(self, run: str) -> list[bytes]:
        return list(self._runs[run].shipped)

    def forget_at(self, run: str, indices: Collection[int]) -> None:
        self._runs[run].forget(indices)

    def itemcount(self) -> int:
        return sum(run.done for run in self._runs.values()) + sum(map(len, self._shelves.values()))

    def failures(self, run: str | None = None) -> list[Record]:
        runs = self._runs.values() if run is None else [self._runs[run]]
        return [record for each in runs for record in each.failures()]

    def counts(self, run: str) -> Counts:
        kept = self._runs[run]
        return Counts(kept.done, len(kept.failed), len(kept.retried))

    def durations(self, run: str, most: int) -> tuple[Sequence[int], Sequence[float]]:
        kept = self._runs[run]
        if not kept.packs:
            return [], []
        first, last = kept.firsts[0], kept.packs[-1].indices[-1]

        def find(index: int) -> tuple[range, Sequence[float]] | None:
            pack = kept.pack_of(index)
            if pack is None:
                place = bisect_right(kept.firsts, index)
                pack = kept.packs[place] if place < len(kept.packs) else None
            return None if pack is None else (pack.indices, pack.seconds)

        stride = 1 if kept.done <= most else -(-(last + 1 - first) // most)
        return sample_of(first, last, stride, find)

    def done_indices(self, run: str) -> Iterator[int]:
        for pack in self.packs(run):
            yield from pack.indices

    def shelf_names(self) -> list[str]:
        return list(self._shelves)

    def shelf_keys(self, name: str) -> list[str]:
        return list(self._shelves.get(name, ()))

    def shelf_get(self, name: str, key: str) -> bytes:
        return self._shelves.get(name, {})[key]

    def shelf_set(self, name: str, key: str, data: bytes | None) -> None:
        shelf = self._shelves.setdefault(name, {})
        if data is None:
            shelf.pop(key, None)
        else:
            shelf[key] = data

    def shelf_lock(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()  # no other process sees it

    def close(self) -> None:
        """Nothing to release; what is here stays readable."""


class _MemorySession(Session):
    def __init__(self, run: _Run, log: list[tuple[str, set[int]]]) -> None:
        self._run = run
        self._log = log

    def record(self, turn: Turn) -> None:
        run = self._run
        packs = sorted([pack for record in turn.done for pack in packs_of(record.done)], key=_first)
        if any(map(run.overlaps, packs)) or any(a.indices[-1] >= _first(b) for a, b in pairwise(packs)):
            raise StoreError(
                MemoryStore.basepath, "an item was recorded twice", "This is a fault in farmhand"
            )
        # only now, when nothing can go wrong any more, is any of it kept
        for pack in packs:
            place = bisect_right(run.firsts, _first(pack))
            run.firsts.insert(place, _first(pack))
            run.packs.insert(place, pack)
            run.done += len(pack.indices)
        for record in turn.done:
            run.attempts.update(record.attempts)
            run.usage.update(record.done.usage)
        for failed in turn.failed:
            if failed.again:
                run.retried[failed.index, failed.attempts] = failed
            else:
                run.failed[failed.index] = failed
        run.blocks.update((block.indices[0], replace(block, items=None)) for block in turn.blocks)
        run.shipped += turn.shipped
        if turn.provenance:
            run.info = replace(run.info, provenance={**run.info.provenance, **turn.provenance})
        ended = {index for pack in packs for index in pack.indices}
        ended.update(failed.index for failed in turn.failed if not failed.again)
        self._log.append((run.info.uid, ended))

    def close(self, outcome: str, ended: float | None) -> None:
        if outcome:
            self._run.info = replace(self._run.info, outcome=outcome, ended=ended)


def _first(pack: Pack) -> int:
    return pack.indices[0]
