"""Stores with runs made by hand, for tests of what is read from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from farmhand import MemoryStore
from farmhand.store import DataManager, Turn
from farmhand.testing.stores import a_run, block, done, failed


class Poison:
    """A value that must not be decoded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return poisoned, ()


def poisoned() -> None:
    raise AssertionError("a value was decoded")


def add_run(
    store: DataManager, pairs: Sequence[tuple[Any, Any]], task: str = "t", parameters: Sequence[str] = ()
) -> None:
    """One more run, of pairs of item and result; a result may be an exception."""
    good, bad = [], []
    for place, (_, result) in enumerate(pairs):
        if isinstance(result, Exception):
            bad.append(failed(place, str(result)))
        else:
            good.append(place)
    session = store.begin(a_run(task=task, parameters=tuple(parameters)))
    blocks = [block(range(len(pairs)), [item for item, _ in pairs])] if pairs else []
    ended = [done(good, [pairs[place][1] for place in good])] if good else []
    session.record(Turn(blocks, ended, bad))
    session.close("finished", 2000.0)


def store_of(*runs: tuple[str, Sequence[str], Sequence[tuple[Any, Any]]]) -> MemoryStore:
    """A store with runs of ``(task, parameters, [(item, result), ...])``."""
    store = MemoryStore()
    for task, parameters, pairs in runs:
        add_run(store, pairs, task, parameters)
    return store
