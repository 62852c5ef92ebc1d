"""The estimate again, from records: what a farm would have said, as far as records tell.

Where it matters what the estimate goes by, an estimator is told the same by hand, and must say the same: what
follows from that is its own affair (``test_eta.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite, nan

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from farmhand import MemoryStore
from farmhand.eta import Estimator, Running, Steady
from farmhand.progress import Estimate
from farmhand.replay import earlier_runs, estimate_now, replay
from farmhand.store import Timings, Turn
from farmhand.testing.stores import a_run, block, done

BEGAN = 1000.0

Row = tuple[
    int, int, float, float
]  # item, process, seconds from the run's beginning to its start, and its own


def timings(*rows: Row, began: float = BEGAN) -> Timings:
    """Columns, from rows."""
    made = Timings()
    for index, process, start, seconds in rows:
        made.add(index, process, began + start, seconds)
    return made


def shown(
    estimator: Estimator, moment: float, left: int, processes: int, running: Sequence[Running], total: int
):
    """What is shown when an estimator is asked for the first time."""
    return Steady().show(estimator.remaining(left, processes, running, total=total), moment)


# Two processes and six items, of which the first process gets 0, 2 and 4.
SIX = (
    (0, 0, 0.0, 2.0),
    (1, 1, 0.0, 3.0),
    (2, 0, 2.0, 3.0),
    (3, 1, 3.0, 1.0),
    (4, 1, 4.0, 2.0),
    (5, 0, 5.0, 4.0),
)


def test_what_had_ended_and_what_ran_is_what_the_estimate_goes_by():
    """The first item of a process is told as such; the age of what ran is that of the moment."""
    estimator = Estimator()
    estimator.ended([0], [2.0], first=True)
    estimator.spent(2.5 * 2)
    expected = shown(estimator, 2.5, 5, 2, [Running(1, 2.5, first=True), Running(2, 0.5)], 6)
    assert replay(timings(*SIX), began=BEGAN, moments=[2.5], total=6) == [expected]
    assert expected is not None


def test_an_item_that_ends_at_a_moment_has_ended_by_then():
    """So that the last moment of a run has nothing left."""
    (estimate,) = replay(timings(*SIX), began=BEGAN, moments=[9.0], total=6)
    assert estimate == Estimate(0.0, 0.0, 0.0)


def test_the_estimate_is_shown_as_a_farm_shows_it():
    """Steady: from moment to moment, one after the other."""
    moments = [1.0, 2.5, 3.5, 5.0, 8.0, 9.0]
    steady = Steady()
    for moment, estimate in zip(
        moments, replay(timings(*SIX), began=BEGAN, moments=moments, total=6), strict=True
    ):
        ended = [row for row in SIX if row[2] + row[3] <= moment]
        estimator = Estimator()
        for index, _, _, seconds in ended:
            estimator.ended([index], [seconds], first=index in (0, 1))
        # items were waiting until the last one began
        estimator.spent(2 * min(moment, 5.0))
        running = [
            Running(index, moment - start, first=index in (0, 1))
            for index, _, start, seconds in SIX
            if start <= moment < start + seconds
        ]
        # process 1 had no more items, and was there all the same
        expected = steady.show(estimator.remaining(6 - len(ended), 2, running, total=6), moment)
        assert (estimate is None) == (expected is None)
        if estimate is not None and expected is not None:
            for name in ("low", "median", "high"):
                assert getattr(estimate, name) == pytest.approx(getattr(expected, name))


def test_attempts_that_were_tried_again_are_told_and_are_no_ends():
    """They say how long items take, and how many attempts; what is left stays as much as it was."""
    estimator = Estimator()
    estimator.ended([0], [1.0], first=True, again=True)
    estimator.ended([0], [1.0])
    estimator.spent(2.5)
    assert estimator.attempts == 2.0
    ended = timings((0, 0, 1.0, 1.0), (1, 0, 2.0, 1.0), (2, 0, 3.0, 1.0))
    expected = shown(estimator, 2.5, 2, 1, [Running(1, 0.5)], 3)
    assert replay(ended, timings((0, 0, 0.0, 1.0)), began=BEGAN, moments=[2.5], total=3) == [expected]


def test_the_first_items_of_processes_may_be_slower():
    """They import and compile: they are told apart, those that have ended and the one that runs."""
    rows = [(0, 0, 0.0, 10.0), *((n, 0, 9.0 + n, 1.0) for n in range(1, 10)), (10, 1, 15.0, 10.0)]
    estimator = Estimator()
    estimator.ended([0], [10.0], first=True)
    estimator.ended(range(1, 9), [1.0] * 8)
    estimator.spent(18.0 + 3.0)
    running = [Running(9, 0.0), Running(10, 3.0, first=True)]
    expected = shown(estimator, 18.0, 31, 2, running, 40)
    later = (11, 1, 25.0, 1.0)  # so that items were waiting
    assert replay(timings(*rows, later), began=BEGAN, moments=[18.0], total=40) == [expected]


def test_skipped_items_are_neither_left_nor_counted():
    """A resumed run is as long as what it has to do, from the first moment on."""
    moments = [0.5, 2.5, 4.5, 9.0]
    resumed = timings(*((index + 100, *row) for index, *row in SIX))
    whole = timings(*((index + 100, *row) for index, *row in SIX), (106, 0, 9.0, 1.0))
    for estimate in (
        replay(resumed, began=BEGAN, moments=moments, total=106)[-1],
        replay(resumed, began=BEGAN, moments=moments, total=200)[-1],  # the end was skipped as well
    ):
        assert estimate == Estimate(0.0, 0.0, 0.0)
    estimator = Estimator()
    estimator.ended([100], [2.0], first=True)
    estimator.spent(5.0)
    running = [Running(101, 2.5, first=True), Running(102, 0.5)]
    expected = shown(estimator, 2.5, 6, 2, running, 107)
    assert replay(whole, began=BEGAN, moments=[2.5], total=107) == [expected]


def test_earlier_runs_are_learnt_from():
    """As a farm does, before anything has ended."""
    estimator = Estimator()
    estimator.learn([0, 1], [5.0, 6.0])
    expected = shown(estimator, 0.0, 6, 3, [], 6)
    earlier = [([0, 1], [5.0, 6.0]), ([], [])]
    assert replay(
        Timings(), began=BEGAN, moments=[0.0], total=6, processes=3, earlier=earlier, outcome=""
    ) == [expected]


def test_a_run_that_goes_on_has_something_running_in_each_process():
    """Its records say only what has ended: since then each process is on another item."""
    known = timings(*SIX[:3])
    estimator = Estimator()
    estimator.ended([0], [2.0], first=True)
    estimator.ended([1], [3.0], first=True)
    estimator.ended([2], [3.0])
    estimator.spent(2 * 7.0)
    expected = shown(estimator, 7.0, 3, 2, [Running(3, 4.0), Running(4, 2.0)], 6)
    assert replay(known, began=BEGAN, moments=[7.0], total=6, processes=2, outcome="") == [expected]
    over = replay(known, began=BEGAN, moments=[7.0], total=6, processes=2, outcome="stopped")
    assert over != [expected]
    # item 1 is on its way: it has not been skipped, as item 0 may have been
    late = timings((0, 0, 0.0, 1.0), (2, 1, 1.0, 1.0))
    estimator = Estimator()
    estimator.ended([0], [1.0], first=True)
    estimator.ended([2], [1.0], first=True)
    estimator.spent(3.0 + 2.0)
    expected = shown(estimator, 3.0, 4, 2, [Running(3, 2.0), Running(4, 1.0)], 6)
    assert replay(late, began=BEGAN, moments=[3.0], total=6, processes=2, outcome="") == [expected]


def test_a_short_silence_is_no_long_item():
    """Of tiny items thousands are on their way into the store; a hundredth of a second is nothing."""
    known = timings(*((n, n % 2, n // 2 * 1e-5, 1e-5) for n in range(1000)))
    for moment in (0.01, 0.06):
        [left] = replay(known, began=BEGAN, moments=[moment], total=2000, processes=2, outcome="")
        assert left.high < 0.1


def test_the_last_items_are_with_the_processes_that_have_been_silent_for_longest():
    """The others have found none left, and wait."""
    known = timings((0, 0, 0.0, 2.0), (1, 1, 0.0, 3.0), (2, 2, 0.0, 4.0))
    estimator = Estimator()
    for index in range(3):
        estimator.ended([index], [2.0 + index], first=True)
    estimator.spent(3 * 6.0)
    expected = shown(estimator, 6.0, 1, 3, [Running(3, 4.0)], 4)
    assert replay(known, began=BEGAN, moments=[6.0], total=4, processes=3, outcome="") == [expected]


def test_a_process_that_left_is_not_counted():
    """After a resize fewer share the rest: one that got no item while others began some is gone."""
    left = ((0, 0, 0.0, 1.0), (1, 1, 0.0, 1.0), *((2 + n, 0, 1.0 + n, 1.0) for n in range(9)))
    estimator = Estimator()
    for index in range(2):
        estimator.ended([index], [1.0], first=True)
    estimator.ended([2, 3, 4], [1.0, 1.0, 1.0])
    estimator.spent(4.5 + 1.0)
    expected = shown(estimator, 4.5, 6, 1, [Running(5, 0.5)], 11)
    assert replay(timings(*left), began=BEGAN, moments=[4.5], total=11, processes=2) == [expected]


def paused(pause: float) -> Estimate | None:
    """The estimate for items that cost the farm more than they take, after a pause in their midst."""
    half = [(n, 0, 0.5 * n, 0.1) for n in range(30)]
    rest = [(30 + n, 0, 15.0 + pause + 0.5 * n, 0.1) for n in range(30)]
    moments = [15.0, 15.0 + pause, 25.0 + pause]
    return replay(timings(*half, *rest), began=BEGAN, moments=moments, total=200)[-1]


def test_what_the_farm_itself_costs_is_told_and_a_pause_is_no_such_thing():
    """Seconds in which nothing ran would make each item seem slower."""
    estimator = Estimator()
    estimator.ended([0], [0.1], first=True)
    estimator.ended(range(1, 50), [0.1] * 49)
    estimator.spent(25.0)
    raw = estimator.remaining(150, 1, [Running(50, 0.0)], total=200)
    estimate = paused(0.0)
    assert raw is not None
    assert estimate is not None
    assert estimate.median == pytest.approx(raw.median, rel=0.1)  # what is shown may stay where it was
    again = paused(300.0)
    assert again is not None
    assert again.median == pytest.approx(estimate.median, rel=0.1)


@pytest.mark.parametrize("total", [None, 0])
def test_where_nobody_knows_how_many_items_there_are_nothing_is_said(total):
    """And where there are none, nothing is left."""
    estimates = replay(Timings(), began=BEGAN, moments=[0.0, 1.0], total=total)
    assert estimates == ([None, None] if total is None else [Estimate(0.0, 0.0, 0.0)] * 2)
    assert replay(timings(*SIX), began=BEGAN, moments=[], total=6) == []


anything = st.floats() | st.floats(-1e4, 1e4)
rows = st.lists(st.tuples(st.integers(0, 30), st.integers(-1, 4), anything, anything), max_size=30)


@given(
    rows,
    rows,
    st.lists(st.floats(0, 1e4), max_size=6),
    st.integers(0, 40),
    st.sampled_from(["", "finished", "stopped", "broken"]),
)
@example([(0, 0, nan, nan), (0, 0, inf, inf), (0, 0, -inf, -1.0)], [(1, 0, 0.0, 0.0)], [0.0, 1.0], 5, "")
@example([(0, 0, 0.0, 0.0)] * 3, [], [0.0, 0.0, 0.0], 1, "finished")
def test_whatever_the_records_are_there_is_no_nonsense(ended, again, moments, total, outcome):
    """Clocks that jumped, items that overlap in one process or were run twice, NaN, zero durations."""
    estimates = replay(
        timings(*ended), timings(*again), began=BEGAN, moments=sorted(moments), total=total, outcome=outcome
    )
    assert len(estimates) == len(moments)
    for estimate in estimates:
        if estimate is not None:
            assert 0.0 <= estimate.low <= estimate.median <= estimate.high
            assert isfinite(estimate.high)


@given(st.permutations(SIX), st.sampled_from([0.5, 2.0, 2.5, 5.0, 8.5, 9.0]))
def test_the_order_of_records_means_nothing(mixed, moment):
    """Stores give them by index, merged and resumed ones in stretches."""
    (one,) = replay(timings(*SIX), began=BEGAN, moments=[moment], total=6)
    (other,) = replay(timings(*mixed), began=BEGAN, moments=[moment], total=6)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert (one.low, one.median, one.high) == pytest.approx((other.low, other.median, other.high))


# -- from stores -------------------------------------------------------------------------------------------


def test_earlier_runs_are_those_of_the_task_that_began_before_the_newest_of_them_first():
    """What another task took says nothing, nor what a later run did; of many, not all are read."""
    store = MemoryStore()
    runs = [a_run(task="t", started=float(when)) for when in (700, 100, 300, 200, 400, 500, 600, 800)]
    for place, run in enumerate([*runs, a_run(task="other", started=450.0)]):
        store.begin(run).record(Turn([block([place], "x")], [done([place], "y")]))
    assert [list(indices) for indices, _ in earlier_runs(store, runs[0])] == [[6], [5], [4], [2], [3]]
    many = a_run(task="t", started=650.0)
    store.begin(many).record(Turn([], [done(list(range(100, 2600)), [0] * 2500)]))
    indices, seconds = next(earlier_runs(store, runs[0]))
    assert len(indices) == len(seconds) <= 1000
    assert (indices[0], indices[-1]) == (100, 2599)
    assert seconds[0] == 0.25 * 101


def test_the_time_that_remains_can_be_told_from_the_store_alone():
    """Of a run in another process, or on another computer; what it has not stored yet is not known."""
    store = MemoryStore()
    store.begin(a_run(started=10.0)).record(Turn([block([0], "x")], [done([0], "y")]))
    run = a_run(numitems=20, started=100.0, provenance={"processes": 3})
    session = store.begin(run)
    session.record(Turn([block(range(4), "abcd")], [done([0, 1], "ab"), done([2, 3], "cd", process=1)]))
    about = {"total": 20, "processes": 3, "earlier": list(earlier_runs(store, run)), "outcome": ""}
    expected = replay(store.timings(run.uid), began=100.0, moments=[8.0], **about)
    assert [estimate_now(store, run, 108.0)] == expected
    assert [indices[0] for indices, _ in earlier_runs(store, run)] == [0]
    assert expected[0] is not None
    assert expected[0].median > 0.0
    assert estimate_now(store, run, 0.0) is None or estimate_now(store, run, 0.0).median >= 0.0  # its clock
    assert estimate_now(store, a_run(), 108.0) is None
