"""The time remaining: what anybody would say with paper and pencil, and how sure one can be."""

from __future__ import annotations

from math import inf, isfinite, nan
from statistics import fmean, stdev

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from farmhand.eta import Durations, estimate
from farmhand.progress import Estimate

seconds = st.floats(0, 1e5)
anything = st.floats() | seconds
running = st.lists(st.tuples(anything, st.none() | anything), max_size=8)


def test_four_items_of_two_seconds_take_two_processes_four_seconds():
    """The estimate agrees with mental arithmetic, and encloses it."""
    left = estimate([2.0] * 10, items_left=4, processes=2)
    assert left is not None
    assert left.low <= left.median == 4.0 <= left.high


def test_five_items_on_two_processes_take_three_rounds():
    """Items are not divisible: one process runs three of them while the other waits."""
    left = estimate([2.0] * 10, items_left=5, processes=2)
    assert left is not None
    assert left.median == pytest.approx(6.0)


def test_one_item_takes_as_long_on_many_processes_as_on_one():
    """Dividing the work by the number of processes would promise far too much at the end."""
    left = estimate([2.0] * 10, items_left=1, processes=64)
    assert left is not None
    assert left.median == pytest.approx(2.0)


def test_an_unknown_length_has_no_time_remaining():
    """A generator may go on for ever."""
    assert estimate([2.0] * 10, items_left=None, processes=2) is None


def test_nothing_is_said_before_anything_is_known():
    """No item has ended and none reports: every number would be invented."""
    assert estimate([], items_left=4, processes=2, running=[(3.0, None), (3.0, 0.0)]) is None


@pytest.mark.parametrize("durations", [[], [1.0, 5.0]])
def test_nothing_remains_when_nothing_is_left_and_nothing_runs(durations):
    """The end is certain, even of a run that had no items."""
    assert estimate(durations, items_left=0, processes=4) == Estimate(0.0, 0.0, 0.0)


def test_a_report_is_enough_for_the_first_estimate():
    """A quarter done after one second: three more for this one, four for each of the others."""
    left = estimate([], items_left=2, processes=1, running=[(1.0, 0.25)])
    assert left is not None
    assert left.median == pytest.approx(7.0)


def test_a_run_lasts_at_least_as_long_as_its_slowest_item():
    """Near the end nothing but the slowest running item matters."""
    left = estimate([1.0] * 100, items_left=4, processes=4, running=[(10.0, 0.1), (0.5, None)])
    assert left is not None
    assert left.median >= 90.0


def test_an_item_without_reports_that_is_overdue_still_takes_time():
    """What has taken five times the mean does not end this instant."""
    left = estimate([1.0] * 100, items_left=1, processes=4, running=[(5.0, None)])
    assert left is not None
    assert left.median > 0.0


def test_items_that_do_not_end_make_the_rest_look_longer():
    """The short items end first: judging by them alone would be too hopeful."""
    ended = [0.5, 1.0, 2.0, 0.7]
    hopeful = estimate(ended, items_left=40, processes=4)
    sober = estimate(ended, items_left=44, processes=4, running=[(6.0, None)] * 4)
    assert hopeful is not None
    assert sober is not None
    assert sober.median > 1.5 * hopeful.median


def test_more_processes_than_before_shorten_the_rest():
    """A user who resizes the run sees at once what that brings."""
    few = estimate([2.0] * 10, items_left=100, processes=2)
    many = estimate([2.0] * 10, items_left=100, processes=8)
    assert few is not None
    assert many is not None
    assert many.high < few.low


def test_more_observations_make_the_estimate_surer():
    """The interval is relative to the median; it shrinks as the spread becomes known."""
    widths = []
    for count in (2, 20, 200):
        left = estimate([1.0, 3.0] * (count // 2), items_left=50, processes=2)
        assert left is not None
        widths.append((left.high - left.low) / left.median)
    assert widths == sorted(widths, reverse=True)


def test_even_durations_are_surer_than_scattered_ones():
    """The same mean with a larger spread is a wider interval."""
    even = estimate([2.0] * 20, items_left=50, processes=2)
    scattered = estimate([0.1, 3.9] * 10, items_left=50, processes=2)
    assert even is not None
    assert scattered is not None
    assert even.high - even.low < scattered.high - scattered.low


def test_what_the_farm_itself_costs_counts_for_tiny_items():
    """A million items of a microsecond don't take the farm a second."""
    tiny = Durations([1e-6] * 1000)
    left = estimate(tiny, items_left=10**6, processes=2, rate=200_000.0)
    assert left is not None
    assert left.median == pytest.approx(5.0)


def test_durations_are_summed_up_batch_by_batch():
    """However the items came in, the summary is that of all of them."""
    values = [0.5, 1.0, 4.0, 2.5, 0.25]
    summary = Durations(values[:2])
    summary.add([])
    summary.add(values[2:])
    assert summary.count == 5
    assert summary.longest == 4.0
    assert summary.mean == pytest.approx(fmean(values))
    assert summary.deviation == pytest.approx(stdev(values))


def test_no_durations_are_no_error():
    """Frontends ask before the first item has ended."""
    assert (Durations().count, Durations().mean, Durations().deviation) == (0, 0.0, 0.0)


@pytest.mark.parametrize("odd", [nan, inf, -inf, -1.0, 1e300])
def test_durations_that_no_clock_can_have_measured_do_no_harm(odd):
    """One broken value (a clock that was set back) must not spoil all that follows."""
    summary = Durations([1.0, odd, 1.0])
    assert summary.count == 3
    assert isfinite(summary.mean)
    assert summary.mean >= 0.0
    assert isfinite(summary.deviation)


@given(
    st.lists(anything, max_size=20),
    st.none() | st.integers(-3, 10**7) | st.integers(),
    st.integers(-2, 200) | st.integers(),
    running,
    anything,
)
@example([1.0], 10**12, 10**12, [], 0.0)  # as many processes as items, and no memory for a list of them
def test_an_estimate_is_always_in_order_and_never_negative(durations, items_left, processes, running, rate):
    """Whatever comes in, what comes out can be shown."""
    left = estimate(durations, items_left, processes, running, rate=rate)
    if left is not None:
        assert 0.0 <= left.low <= left.median <= left.high
        assert isfinite(left.high)


@given(st.lists(seconds), st.integers(1, 100), st.booleans())
def test_the_end_is_zero_whatever_came_before(durations, processes, batch):
    """At the end there is nothing left to be unsure about."""
    seen = Durations(durations) if batch else durations
    assert estimate(seen, 0, processes) == Estimate(0.0, 0.0, 0.0)


@given(
    st.lists(seconds, min_size=1, max_size=30), running, st.integers(0, 1000), st.integers(1, 8), st.data()
)
def test_the_order_in_which_items_ended_does_not_matter(durations, running, items_left, processes, data):
    """Two runs with the same history but for its order have the same rest."""
    shuffled = data.draw(st.permutations(durations))
    tolerance = 1e-4 * (max(durations) + 1e-9)  # the deviation of equal values is a rounding error
    one, other = Durations(durations), Durations(shuffled)
    assert one.mean == pytest.approx(other.mean)
    assert one.deviation == pytest.approx(other.deviation, rel=1e-4, abs=tolerance)
    # Whole items on whole processes make the end a staircase, and rounding may miss a step.
    first = estimate(one, items_left, processes, running)
    second = estimate(other, items_left, processes, running)
    assert first is not None
    assert second is not None
    step = 2 * max(one.mean, tolerance * (items_left + 1))
    assert first.median == pytest.approx(second.median, rel=1e-3, abs=step)
    assert first.high == pytest.approx(second.high, rel=1e-3, abs=step)


@given(st.lists(seconds, min_size=1, max_size=20), st.integers(0, 500), st.integers(1, 8))
def test_an_item_more_never_shortens_the_rest(durations, items_left, processes):
    """The median grows with what is left, in the end game as well."""
    fewer = estimate(durations, items_left, processes)
    more = estimate(durations, items_left + 1, processes)
    assert fewer is not None
    assert more is not None
    assert more.median >= fewer.median * (1 - 1e-9)


@given(st.lists(seconds, min_size=1, max_size=10), st.floats(0, 1e4), st.floats(0.01, 1.0))
def test_the_median_covers_what_a_running_item_says_it_needs(durations, elapsed, complete):
    """The farm can't be done before its running items are."""
    left = estimate(durations, 4, 2, [(elapsed, complete)])
    assert left is not None
    assert left.median >= elapsed * (1 - complete) / complete * (1 - 1e-9)
