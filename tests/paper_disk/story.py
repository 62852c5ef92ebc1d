"""What the tests of power cuts store, step by step, and everything that can be read of it afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from farmhand import MemoryStore
from farmhand.events import RecordDone, Usage
from farmhand.store import DataManager, RunInfo, Session, Turn
from farmhand.testing.stores import block, done, failed

RUNS = [RunInfo(name, "find_rate", "someone.somewhere", 1000.0) for name in ("first", "second", "third")]


def a_turn(number: int) -> Turn:
    """Four results, a failure and an attempt, of items that no other turn has; some are long."""
    first = 6 * number
    results = [f"{first + place} " * (10 + 900 * (place == number % 4)) for place in range(4)]
    results_done = done(range(first, first + 4), results, number % 2, **{f"i{first + 1}": 2}).done
    usage = {first + 2: Usage(10**9 + number, f"printed {number}\n" * 50)}
    failures = [failed(first + 1, "first try", again=True), failed(first + 4, "for good")]
    record = RecordDone(replace(results_done, usage=usage), {first + 1: 2})
    items = [f"item {first + place}" for place in range(6)]
    items_block = replace(block(range(first, first + 6), items), items=items)
    return Turn([items_block], [record], failures, [b"class %d" % number], {f"fact {number}": number})


def story(
    reopen: Callable[[], DataManager], record: Callable[[Session, Turn], None] = Session.record
) -> Iterator[DataManager]:
    """Two runs, one after the other; the store after each step. The second run has not ended."""
    for run, turns in zip(RUNS[:2], (11, 4), strict=True):
        store = reopen()
        session = store.begin(run)
        yield store
        for number in range(turns):
            record(session, a_turn(number))
            yield store
            if number == 3:
                store.forget_at(run.uid, [6, 8, 10])
                yield store
                store.shelf_set("by hand", "name", run.uid.encode() * 100)
                yield store
        if run is RUNS[0]:
            session.close("finished", 2000.0)
            yield store
            store.close()


def facts(store: DataManager) -> list[Any]:
    """Everything that can be read from a store."""
    runs = store.runs()
    return [
        runs,
        list(store.records()),
        list(store.retried()),
        [list(store.encoded(run.uid)) for run in runs],
        [[(list(b.indices), b.payload) for b in store.blocks(run.uid)] for run in runs],
        [store.output(record.key) for record in store.records()],
        [store.shipped(run.uid) for run in runs],
        [
            (name, key, store.shelf_get(name, key))
            for name in store.shelf_names()
            for key in store.shelf_keys(name)
        ],
        [store.counts(run.uid) for run in runs],
        store.itemcount(),
    ]


def chapters() -> list[Any]:
    """The facts before the story and after each of its steps: nothing else may ever be found."""
    store = MemoryStore()
    return [facts(store), *map(facts, story(lambda: store, lambda session, turn: session.record(turn)))]
