"""Results found by the parameters of their items, and what a notebook shows; without any other package."""

import math
from collections import namedtuple

import pytest

from farm_tasks import FAST
from farmhand import MemoryStore, StoreError, UsageError, call, codec, run_tasks
from farmhand.events import ItemError, RecordFailed
from farmhand.store import Turn
from farmhand.tables import arguments_of, rows, select
from farmhand.testing.stores import a_run, block, done, failed
from made_stores import Poison, store_of

# -- rows ------------------------------------------------------------------------------------------


def test_parameters_without_a_name_are_numbered():
    """A builtin, or a task with ``*args``, says no names, or not enough of them."""
    assert arguments_of((1, 2)) == {"arg0": 1, "arg1": 2}
    assert arguments_of(5) == {"arg0": 5}
    assert arguments_of((1, 2, 3), ["a"]) == {"a": 1, "arg1": 2, "arg2": 3}
    assert arguments_of(call(1, a=2), ["a"]) == {"arg0": 1, "a": 2}
    assert arguments_of(call()) == {}
    assert arguments_of(namedtuple("Point", "x y")(1, 2)) == {"x": 1, "y": 2}
    assert arguments_of(namedtuple("Point", "x y")(1, 2), ["a", "b"]) == {"a": 1, "b": 2}


def test_rows_read_while_a_farm_writes_are_of_the_store_as_it_was():
    """A row has its own parameters and result, and what ends meanwhile is in the next table."""
    store = MemoryStore()
    session = store.begin(a_run(parameters=("k",)))
    session.record(Turn([block(range(4), [0, 1, 2, 3])], [done([0, 2], [0, 20])]))
    for records in (False, True):
        reading = rows(store, select(store, records=records))
        first = next(reading)
        if not records:
            session.record(Turn([], [done([1], [10])], [failed(3)]))
        found = [(row.parameters["k"], row.results["result"]) for row in [first, *reading]]
        assert all(result == 10 * k for k, result in found)
        assert {k for k, _ in found} >= {0, 2}


# -- where -----------------------------------------------------------------------------------------


def found(results):
    return [(result.item, result.value) for result in results]


def test_results_are_found_by_their_parameters():
    """By value, by a question, by several at once; whichever way the item was written."""
    items = [1, (2, 5), call(3, tau=7), call(k=2)]
    store = store_of(("rate", ["k", "tau"], [(item, place) for place, item in enumerate(items)]))
    assert found(store.where(k=2)) == [((2, 5), 1), (call(k=2), 3)]
    assert found(store.where(k=2, tau=5)) == [((2, 5), 1)]
    assert found(store.where(tau=lambda tau: tau > 5)) == [(call(3, tau=7), 2)]
    assert store.where(k=99) == []
    assert found(store.where()) == list(zip(items, range(4), strict=True))
    key = store.where(k=1)[0].key
    assert store.record(key).status == "done"
    assert store.forget(key) == 1
    assert store.where(k=1) == []


def test_a_name_that_no_item_has_is_refused():
    """A slip of the pen is not an empty list; in an empty store there is nothing to slip on."""
    store = store_of(("rate", ["k", "tau"], [((1, 2), 3)]))
    with pytest.raises(UsageError, match="no parameter of any item is called 'K'; known: k, tau"):
        store.where(K=1)
    assert MemoryStore().where(K=1) == []


def test_where_is_not_confused_by_a_parameter_called_self():
    """A task's parameters may have any name."""
    store = store_of(("t", [], [(call(self=1, store=2), 3)]))
    assert len(store.where(self=1, store=2)) == 1


def test_equal_means_what_it_means_for_arrays_and_numbers_of_numpy():
    """Not "the truth value of an array is ambiguous", and not that any array of fives is five."""
    numpy = pytest.importorskip("numpy")
    values = [5, numpy.array([5, 5]), numpy.float64(2.5), math.nan, (numpy.array([1]), "x"), [1, 2], None]
    store = store_of(("t", [], [(call(k=value), place) for place, value in enumerate(values)]))
    asked = [5, numpy.array([5, 5]), 2.5, numpy.float64("nan"), (numpy.array([1]), "x"), [1, 2], None]
    for place, value in enumerate(asked):
        assert [result.value for result in store.where(k=value)] == [place]
    assert [result.value for result in store.where(k=numpy.int64(5))] == [0]
    assert [result.value for result in store.where(k=numpy.array([5.0, 5.0]))] == [1]
    assert store.where(k=numpy.array([5, 6])) == []


@pytest.mark.parametrize("count", [3, 300])
def test_only_results_that_match_are_decoded(count):
    """They may be huge, or of a class that is gone; whether they are looked up one by one or together."""
    store = MemoryStore()
    session = store.begin(a_run(parameters=("k", "wanted")))
    items = [(k, k % 2 == 0) for k in range(count)]
    values = [k if wanted else Poison() for k, wanted in items]
    session.record(Turn([block(range(count), items)], [done(range(count), values)]))
    assert [result.value for result in store.where(wanted=True)] == list(range(0, count, 2))
    with pytest.raises(AssertionError, match="was decoded"):
        store.where(wanted=False)


def test_an_error_of_the_question_says_of_which_item_it_was_asked():
    """One item in a million has a text where the others have numbers."""
    store = store_of(("t", ["k"], [(1, 10), ("one", 20)]))
    with pytest.raises(TypeError, match="not supported") as caught:
        store.where(k=lambda k: k > 0)
    assert any("item 1 of run" in note and "'one'" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("write", [str, lambda x: (x,), lambda x: call(x), lambda x: call(text=x)])
def test_a_large_item_is_found_by_an_equal_value(write):
    """The store has its fingerprint, however the item was written."""

    def length(text):
        return len(text)

    store = MemoryStore()
    run_tasks(store, length, [write("x" * 100_000), "y"], **FAST)
    assert [result.value for result in store.where(text="x" * 100_000)] == [100_000]
    assert [result.value for result in store.where(text="y")] == [1]
    assert store.where(text="x" * 99_999) == []
    assert store.where(text=lambda text: len(text) > 1) == []
    assert [result.value for result in store.where()] == [100_000, 1]


# -- in a notebook ---------------------------------------------------------------------------------


def test_a_notebook_shows_runs_and_newest_failures_and_decodes_nothing():
    """Looking at a store that somebody sent must run none of its code."""
    store = MemoryStore()
    run = a_run(task="find <rate>", started=1000.0)
    session = store.begin(run)
    error = ItemError("raised", "ValueError", "<script>alert(1)</script>\nsecond line")
    records = [RecordFailed(3, error, 0, 1002.0, 0.5), *[failed(index, "old") for index in range(4, 12)]]
    payload = block(range(12), [Poison() for _ in range(12)])
    session.record(Turn([payload], [done([0, 1, 2], [Poison()] * 3)], records))
    session.close("stopped", 1070.0)
    page = store._repr_html_()
    assert "3 results, 9 failures in 1 run" in page
    assert "find &lt;rate&gt;" in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert page.index("&lt;script&gt;") < page.index("ValueError: old"), "the newest failure comes first"
    assert "4 more" in page
    assert "stopped after 1m 10s" in page
    with pytest.raises(AssertionError, match="was decoded"):
        store.values()


def test_a_notebook_shows_an_empty_store_and_one_of_many_runs():
    """And leaves out what nobody reads."""
    assert "0 results, 0 failures in 0 runs" in MemoryStore()._repr_html_()
    store = store_of(*[(f"task{number}", ["k"], [(1, 1)]) for number in range(12)])
    page = store._repr_html_()
    assert "task11" in page
    assert "task0<" not in page
    assert "2 older" in page


def test_a_store_that_cannot_be_read_shows_its_plain_text():
    """A notebook with a closed store is no wall of traceback."""

    class Closed(MemoryStore):
        def runs(self):
            raise StoreError("results.db", "it is closed")

    assert Closed()._repr_html_() is None
    assert codec.short(Closed()).startswith("<Closed")
