"""A store that fails: at its first write, at its last, or at any between them."""

from __future__ import annotations

import time
from collections import Counter
from itertools import count

import pytest

from farm_tasks import FAST, square_unless_odd
from farmhand import MemoryStore, StoreError, run_tasks
from farmhand.store import Session
from farmhand.testing.scheduling import ScriptedExecutor

ITEMS = range(20)


class FailingSession(Session):
    """Passes on to another session, and fails at the write that was said."""

    def __init__(self, session, store):
        self.session = session
        self.store = store

    def write(self):
        self.store.writes += 1
        if self.store.writes == self.store.fails_at:
            raise StoreError(self.store.basepath, "the disk is full", "Make room")

    def record(self, turn):
        self.write()
        self.session.record(turn)

    def close(self, outcome, ended):
        self.write()
        self.session.close(outcome, ended)


class FailingStore(MemoryStore):
    """Fails at its n-th write: the beginning of the run, a turn, or its end."""

    def __init__(self):
        super().__init__()
        self.writes = 0
        self.fails_at = 0

    def begin(self, run):
        self.writes += 1
        if self.writes == self.fails_at:
            raise StoreError(self.basepath, "the disk is full", "Make room")
        return FailingSession(super().begin(run), self)


class HaltingExecutor(ScriptedExecutor):
    """Between two happenings nothing happens for as long as the farm waits, so that it stores what it has.

    That is a millisecond, or more where storing has just taken long.
    """

    halted = False

    def wait(self, timeout):
        self.halted = timeout is not None and not self.halted
        if self.halted:
            time.sleep(min(timeout, 0.2))
            return []
        return super().wait(timeout)


def run(store, script, **kwds):
    executor = HaltingExecutor(script)
    return run_tasks(
        store, square_unless_odd, ITEMS, poolsize=3, executor=executor, errors="collect", **FAST, **kwds
    )


@pytest.mark.parametrize("script", range(5))
def test_whichever_write_fails_the_run_stops_and_nothing_that_was_stored_is_lost(script):
    """With the store's own reason; then the rest can be run, and none is run twice."""
    for fails_at in count(1):
        store = FailingStore()
        store.fails_at = fails_at
        error = None
        try:
            run(store, script)
        except StoreError as caught:
            error = caught
        if store.writes < fails_at:
            break  # it was done before that write
        assert "the disk is full. Make room" in str(error)
        assert store.writes <= fails_at + 1, "after a failed write only the end of the run is written down"
        before = store.values()
        again = run(store, script, resume=True)
        assert again.skipped == len(before)
        assert Counter(store.values()) == Counter(x * x for x in ITEMS if x % 2 == 0)
    assert fails_at > 5
