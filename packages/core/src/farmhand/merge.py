"""One store's runs and sessions into another, whatever kinds of stores they are.

Nothing is unpickled: results, items and tasks go over as the bytes that they are. Only what the target
lacks is added, in turns of some megabytes, so that a merge which was interrupted is completed by the next
one, and merging twice is merging once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from farmhand import codec, owner
from farmhand.errors import StoreError, UsageError
from farmhand.events import ItemsDone, RecordDone, RecordFailed, Usage
from farmhand.spans import Spans
from farmhand.store import Block, DataManager, Pack, Record, RunInfo, Session, Turn
from farmhand.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")

__all__ = ["Merged", "merge"]

_TURN = 4 << 20  # bytes of results, or of items, that are stored together
_MANY = 1000  # failures, or indices, that are handled together


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge has added.

    Parameters
    ----------
    runs : int
        Runs that the target did not have.
    done, failed : int
        Items that are done, and that failed.
    files : int
        Results in files of their own, of those that are done.
    pairs : int
        Pairs of key and value, in sessions that were written by hand.
    conflicts : tuple of (str, str)
        Session and key of the pairs that the target has with another value. It keeps its own.
    """

    runs: int = 0
    done: int = 0
    failed: int = 0
    files: int = 0
    pairs: int = 0
    conflicts: tuple[tuple[str, str], ...] = ()


def merge(source: DataManager, target: DataManager) -> Merged:
    """Add to ``target`` all that ``source`` has and it has not.

    A run that still goes on is merged as far as it is; merge again when it has ended. Items that were
    forgotten in one of the stores come back from the other.

    Parameters
    ----------
    source : DataManager
        Stays as it is.
    target : DataManager
        Of any kind; if results are in files of their own, one that has such files as well.

    Raises
    ------
    UsageError
        Both are the same store.
    StoreError
        One cannot be read or the other cannot be written. What has been merged so far is stored.
    """
    if source is target or _same(source.basepath, target.basepath):
        raise UsageError(f"{target.basepath} cannot be merged into itself; name two stores")
    merged = Merged()
    known = {run.uid: run for run in target.runs()}
    for run in source.runs():
        added = _Run(source, target, run, known.get(run.uid)).merge()
        merged = replace(
            merged,
            runs=merged.runs + (run.uid not in known),
            done=merged.done + added.done,
            failed=merged.failed + added.failed,
            files=merged.files + added.files,
        )
    pairs, conflicts = _merge_sessions(source, target)
    return replace(merged, pairs=pairs, conflicts=conflicts)


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them is no file
        return one == other and one != ":memory:"


class _Run:
    """One run on its way."""

    def __init__(self, source: DataManager, target: DataManager, run: RunInfo, known: RunInfo | None) -> None:
        self._source = source
        self._target = target
        self._run = run
        self._known = known
        self._uid = run.uid
        self._added = Merged()

    def merge(self) -> Merged:
        """Add what is missing; the end of the run comes last."""
        source, target, uid = self._source, self._target, self._uid
        # A farm may write meanwhile. So first it is read how items ended, then what belongs to that,
        # which is there for at least these: each was stored with it, or before.
        records = source.records(uid)
        outputs, packs = _begun(source.outputs(uid)), _begun(source.packs(uid))
        retried = _begun(source.retried(uid))
        there, blocks, attempts, shipped = Spans(), set[int](), set[tuple[int, int]](), 0
        if self._known is not None:
            there = _ended(target, uid)
            blocks = {block.indices[0] for block in target.blocks(uid)}
            attempts = {(record.index, record.attempts) for record in target.retried(uid)}
            shipped = len(target.shipped(uid))
        session = target.begin(self._beginning(), join=True)
        outcome, ended = "", None
        try:
            self._merge_origin(session, shipped)
            self._merge_blocks(session, blocks)
            new = (each for each in retried if (each.index, each.attempts) not in attempts)
            for group in _groups(new):
                failed = [_failure(each, source.output_at(uid, each.index, each.attempts)) for each in group]
                session.record(Turn(failed=failed))
            if self._known is None or not _ended(source, uid) <= there:
                self._merge_ends(session, packs, records, outputs, there)
            outcome, ended = self._run.outcome, self._run.ended
        finally:
            session.close(outcome, ended)
        return self._added

    def _beginning(self) -> RunInfo:
        run = replace(self._run, ended=None, outcome="")
        # nobody may take the files of this run for those of a dead farm while they are being copied
        alive = False if self._run.ended is not None else owner.is_alive(run.owner)
        return replace(run, owner=owner.here()) if alive is False else run

    def _merge_origin(self, session: Session, shipped: int) -> None:
        """The task, and where it came from."""
        more, missing = self._source.shipped(self._uid)[shipped:], {}
        if self._known is not None:
            known = self._known.provenance
            missing = {name: value for name, value in self._run.provenance.items() if name not in known}
        if more or missing:
            session.record(Turn(shipped=more, provenance=missing))

    def _merge_blocks(self, session: Session, there: set[int]) -> None:
        waiting: list[Block] = []
        size = 0
        for block in self._source.blocks(self._uid):
            if block.indices[0] not in there:
                waiting.append(block)
                size += 100 * len(block.indices) + len(block.payload or b"")
            if size >= _TURN:
                session.record(Turn(waiting))
                waiting, size = [], 0
        if waiting:
            session.record(Turn(waiting))

    def _merge_ends(
        self,
        session: Session,
        packs: Iterator[Pack],
        records: Iterator[Record],
        outputs: Iterator[tuple[int, str]],
        there: Spans,
    ) -> None:
        """How items ended, each once, and what is known of them beside their results."""
        ends = _ByIndex((record.index, record) for record in records)
        texts = _ByIndex(outputs)
        done: list[RecordDone] = []
        failed: list[RecordFailed] = []
        size = 0
        for pack in chain(packs, [None]):
            for record in ends.before(None if pack is None else pack.indices[0]):
                if record.status == "failed" and record.index not in there:
                    text = "".join(texts.within(record.index, record.index))
                    failed.append(_failure(record, text))
                    size += len(text) + 1000
                if size >= _TURN:
                    self._record(session, done, failed)
                    size = 0
            if pack is not None:
                first, last = pack.indices[0], pack.indices[-1]
                own = {r.index: r for r in ends.within(first, last) if r.index not in there}
                printed = {index: text for index, text in texts.pairs(first, last) if index in own}
                if len(own) < len(pack.indices):
                    parts = pack.without(set(pack.indices) - own.keys())
                else:
                    parts = [pack]
                for part in parts:
                    done.append(_done(part, own, printed))
                    size += 100 * len(part.indices) + len(part.values.payload)
                size += sum(map(len, printed.values()))
                if size >= _TURN:
                    self._record(session, done, failed)
                    size = 0
        self._record(session, done, failed)

    def _record(self, session: Session, done: list[RecordDone], failed: list[RecordFailed]) -> None:
        """Store results and failures, with the files of results before these."""
        if done or failed:
            references = [data for record in done for data in _references(record.done.values)]
            self._copy(references)
            session.record(Turn(done=list(done), failed=list(failed)))
            self._copy(references)  # in case somebody has just cleaned up behind a dead farm
            self._added = replace(
                self._added,
                done=self._added.done + sum(len(record.done.indices) for record in done),
                failed=self._added.failed + len(failed),
                files=self._added.files + len(references),
            )
            done.clear()
            failed.clear()

    def _copy(self, references: list[bytes]) -> None:
        source, target = self._source, self._target
        for data in references:
            if source.files is None:
                raise StoreError(source.basepath, "it has results in files, but no folder for these")
            if target.files is None:
                raise StoreError(
                    target.basepath,
                    f"this kind of store cannot have results in files of their own, as run {self._uid} has",
                    "Merge into one that can: farmhand-sqlite, farmhand-shelve",
                )
            target.files.copy(self._uid, data, source.files)


def _merge_sessions(source: DataManager, target: DataManager) -> tuple[int, tuple[tuple[str, str], ...]]:
    """The pairs that somebody wrote by hand: how many were added, and which there are with another value."""
    added, conflicts = 0, []
    for name in source.shelf_names():
        with target.shelf_lock(name):
            for key in source.shelf_keys(name):
                try:
                    data = source.shelf_get(name, key)
                except KeyError:  # somebody has just deleted it
                    continue
                try:
                    known: bytes | None = target.shelf_get(name, key)
                except KeyError:
                    known = None
                if known is None:
                    target.shelf_set(name, key, data)
                    added += 1
                elif known != data:
                    conflicts.append((name, key))
    return added, tuple(conflicts)


# -- what goes over ------------------------------------------------------------------------------------


class _ByIndex:
    """Pairs of index and anything, ascending, that are read only as far as is asked for."""

    def __init__(self, pairs: Iterable[tuple[int, Any]]) -> None:
        self._pairs = iter(pairs)
        self._next = next(self._pairs, None)

    def before(self, stop: int | None) -> Iterator[Any]:
        """What has come before an index and was not given yet; None: all."""
        while self._next is not None and (stop is None or self._next[0] < stop):
            thing = self._next[1]
            self._next = next(self._pairs, None)
            yield thing

    def pairs(self, first: int, last: int) -> Iterator[tuple[int, Any]]:
        """What these indices have; what comes before them is left out."""
        for _ in self.before(first):
            pass
        while self._next is not None and self._next[0] <= last:
            pair = self._next
            self._next = next(self._pairs, None)
            yield pair

    def within(self, first: int, last: int) -> Iterator[Any]:
        """As :meth:`pairs`, without the indices."""
        return (thing for _, thing in self.pairs(first, last))


def _done(pack: Pack, records: Mapping[int, Record], printed: Mapping[int, str]) -> RecordDone:
    usage, attempts = {}, {}
    for index in pack.indices:
        record, text = records[index], printed.get(index, "")
        if record.memory is not None or text:
            usage[index] = Usage(record.memory, text)
        if record.attempts != 1:
            attempts[index] = record.attempts
    about = (pack.number, pack.indices, pack.values, pack.started, pack.seconds)
    return RecordDone(ItemsDone(*about, usage), attempts)


def _failure(record: Record, output: str) -> RecordFailed:
    assert record.error is not None
    about = (record.index, record.error, record.process, record.started, record.seconds, record.attempts)
    return RecordFailed(*about, Usage(record.memory, output), again=record.status == "retried")


def _ended(store: DataManager, uid: str) -> Spans:
    """Which items of a run have ended."""
    ended = Spans()
    for some in _groups(store.done_indices(uid)):
        ended.add(some)
    if store.counts(uid).failed:
        ended.add([record.index for record in store.failures(uid)])
    return ended


def _references(values: Sequence[bytes]) -> list[bytes]:
    """Those of some results that are in files of their own."""
    assert isinstance(values, codec.Packed)
    each = [values.payload] if len(values) == 1 else codec.split_each(values.payload) or []
    return [data for data in each if data[:1] == codec.REFERENCE]


def _begun(things: Iterator[T]) -> Iterator[T]:
    """``things`` as they are now: a reading that has begun does not see what comes later."""
    for first in things:
        return chain([first], things)
    return things


def _groups(things: Iterable[T]) -> Iterator[list[T]]:
    things = iter(things)
    while some := list(islice(things, _MANY)):
        yield some
