"""The store that keeps everything in this process's memory: the contract in its shortest form.

Values stay the encoded bytes that came from the tasks, so that what is read back is a copy, as
from any other store. It may be used by one thread at a time, is gone with the process, and a
forked child has a copy that nobody else sees.
"""

from __future__ import annotations

from collections.abc import Iterator

from farmhand.errors import StoreError
from farmhand.events import RecordFailed, Usage
from farmhand.store import Block, DataManager, Record, RunInfo, Session, Turn, join_key, record_of
from farmhand.values import dataclass, field, replace

__all__ = ["MemoryStore"]


@dataclass(slots=True)
class _Run:
    info: RunInfo
    done: dict[int, tuple[bytes, int, float, float]] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    failed: dict[int, RecordFailed] = field(default_factory=dict)
    retried: dict[tuple[int, int], RecordFailed] = field(default_factory=dict)  # by item and attempt
    usage: dict[int, Usage] = field(default_factory=dict)  # of done items
    blocks: dict[int, Block] = field(default_factory=dict)


class MemoryStore(DataManager):
    """Results in memory."""

    basepath = ":memory:"

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}

    def begin(self, run: RunInfo) -> Session:
        if run.uid in self._runs:
            raise StoreError(self.basepath, f"it already has a run {run.uid!r}", "Each run needs its own uid")
        self._runs[run.uid] = _Run(run)
        return _MemorySession(self._runs[run.uid])

    def runs(self) -> list[RunInfo]:
        return [run.info for run in self._runs.values()]

    def records(self, run: str | None = None) -> Iterator[Record]:
        for each in list(self._runs.values()) if run is None else [self._runs[run]]:
            uid, records = each.info.uid, []
            for index, (_, number, started, seconds) in each.done.items():
                attempts = each.attempts.get(index, 1)
                memory = each.usage[index].memory if index in each.usage else None
                key, about = join_key(uid, index), (number, started, seconds, attempts, None, memory)
                records.append(Record(key, uid, index, "done", *about))
            records += [record_of(uid, failed) for failed in each.failed.values()]
            yield from sorted(records, key=lambda record: record.index)

    def retried(self, run: str | None = None) -> Iterator[Record]:
        for each in list(self._runs.values()) if run is None else [self._runs[run]]:
            yield from [record_of(each.info.uid, failed) for _, failed in sorted(each.retried.items())]

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
        done = self._runs[run].done
        yield from [(index, done[index][0]) for index in sorted(done)]

    def encoded_at(self, run: str, index: int) -> bytes:
        return self._runs[run].done[index][0]

    def blocks(self, run: str) -> Iterator[Block]:
        yield from [block for _, block in sorted(self._runs[run].blocks.items())]

    def itemcount(self) -> int:
        return sum(len(run.done) for run in self._runs.values())

    def done_indices(self, run: str) -> Iterator[int]:
        yield from sorted(self._runs[run].done)

    def close(self) -> None:
        """Nothing to release; what is here stays readable."""


class _MemorySession(Session):
    def __init__(self, run: _Run) -> None:
        self._run = run

    def record(self, turn: Turn) -> None:
        new = _Run(self._run.info)
        count = 0
        for record in turn.done:
            done = record.done
            numbers = [done.number] * len(done.indices)
            rows = zip(done.values, numbers, done.started, done.seconds, strict=True)
            new.done.update(zip(done.indices, rows, strict=True))
            new.attempts.update(record.attempts)
            new.usage.update(done.usage)
            count += len(done.indices)
        for failed in turn.failed:
            if failed.again:
                new.retried[failed.index, failed.attempts] = failed
            else:
                new.failed[failed.index] = failed
        new.blocks.update((block.indices[0], block) for block in turn.blocks)
        if count > len(new.done) or new.done.keys() & self._run.done.keys():
            raise StoreError(
                MemoryStore.basepath, "an item was recorded twice", "This is a fault in farmhand"
            )
        # only now, when nothing can go wrong any more, is any of it kept
        self._run.done.update(new.done)
        self._run.attempts.update(new.attempts)
        self._run.failed.update(new.failed)
        self._run.retried.update(new.retried)
        self._run.usage.update(new.usage)
        self._run.blocks.update(new.blocks)

    def close(self, outcome: str, ended: float) -> None:
        self._run.info = replace(self._run.info, outcome=outcome, ended=ended)
