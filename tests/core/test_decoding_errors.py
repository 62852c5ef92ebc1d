"""What decoding a value raises reaches whoever asked for it, and is taken for nothing else."""

from __future__ import annotations

import pytest

from farmhand import MemoryStore
from farmhand.store import Turn
from farmhand.testing.stores import a_run, block, done


class Raises:
    """A value that cannot be made again, for a reason that a store could take for one of its own."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        return cannot, (self.error,)


def cannot(error):
    raise error


@pytest.fixture(
    params=[KeyError("unit"), AttributeError("no such class"), ValueError("no such value")], ids=repr
)
def error(request):
    return request.param


@pytest.fixture
def store(error):
    """A result, an item and a value by hand that raise it."""
    store = MemoryStore()
    session = store.begin(a_run(uid="run", parameters=("k",)))
    session.record(Turn([block(range(2), [0, 1])], [done([0, 1], [Raises(error), "fine"])]))
    session.record(Turn([block([7], [Raises(error)])], [done([7], ["fine"])]))
    store.session("by hand")["key"] = Raises(error)
    return store


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store["run-0"],
        lambda store: store.get("run-0"),
        lambda store: store.record("run-0").value,
        lambda store: store["key"],
        lambda store: store.get("key"),
        lambda store: store.get_flat_matching("key"),
        lambda store: store.session("by hand")["key"],
        lambda store: store.record("run-7").item,
    ],
)
def test_an_error_of_decoding_is_raised_as_it_is(store, error, ask):
    """A KeyError does not mean that there is no such value, and an AttributeError no such attribute."""
    with pytest.raises(type(error)) as caught:
        ask(store)
    assert caught.value.args == error.args


def test_where_leaves_out_no_result_that_cannot_be_decoded():
    """Only what failed, or has not ended, has no result."""
    store = MemoryStore()
    session = store.begin(a_run(parameters=("k",)))
    session.record(Turn([block(range(2), [0, 1])], [done([0], [Raises(KeyError("unit"))])]))
    assert store.where(k=1) == []
    with pytest.raises(KeyError, match="unit"):
        store.where(k=0)
