"""The store in memory passes the contract; it is also what other stores are compared with."""

import pytest

from farmhand.memory import MemoryStore
from farmhand.store import Turn
from farmhand.testing.stores import StoreConformance, a_run, block, done


class TestMemory(StoreConformance):
    persistent = False

    @pytest.fixture
    def open_store(self):
        return lambda location: MemoryStore()

    def test_what_is_read_is_a_copy(self, store):
        """Changing a result that was read must not change the store, as it would not with a file."""
        store.begin(a_run()).record(Turn([block([0], "a")], [done([0], [["one"]])]))
        store.values()[0].append("two")
        assert store.values() == [["one"]]

    def test_what_was_closed_stays_readable(self):
        """``with`` ends before one looks at the results, and there is nowhere to read them from again."""
        with MemoryStore() as store:
            store.begin(a_run()).record(Turn([block([0], "a")], [done([0], "A")]))
        assert store.values() == ["A"]
        assert store.basepath == ":memory:"
