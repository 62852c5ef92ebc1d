"""The time remaining: what anybody would say with paper and pencil, and how sure one can be."""

from __future__ import annotations

from math import exp, inf, isfinite, nan
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from farmhand.eta import Estimator, Running, Steady
from farmhand.progress import Estimate

seconds = st.floats(0, 1e5)
anything = st.floats() | seconds
indices = st.integers(0, 60) | st.integers()
running = st.lists(
    st.builds(Running, indices, anything, st.none() | anything, st.none() | anything, st.booleans()),
    max_size=8,
)


def after(durations, **options):
    """What is known after items that took so long."""
    known = Estimator()
    for index, each in enumerate(durations):
        known.ended([index], [each], **options)
    return known


def silent(elapsed, index=100, **more):
    """An item that runs, and does not report."""
    return Running(index, elapsed, **more)


# -- what anybody would say --------------------------------------------------------------------------


def test_four_items_of_two_seconds_take_two_processes_four_seconds():
    """The estimate agrees with mental arithmetic, and encloses it."""
    left = after([2.0] * 20).remaining(4, 2)
    assert left.low <= 4.0 <= left.high
    assert left.median == pytest.approx(4.0, rel=0.05)


def test_five_items_on_two_processes_take_three_rounds():
    """Items are not divisible: one process runs three of them while the other waits."""
    assert after([2.0] * 20).remaining(5, 2).median == pytest.approx(6.0, rel=0.1)


def test_one_item_takes_as_long_on_many_processes_as_on_one():
    """Dividing the work by the number of processes would promise far too much at the end."""
    assert after([2.0] * 20).remaining(1, 64).median == pytest.approx(2.0, rel=0.05)


def test_an_unknown_length_has_no_time_remaining():
    """A generator may go on for ever."""
    assert after([2.0] * 10).remaining(None, 2) is None


def test_nothing_is_said_before_anything_is_known():
    """No item has ended and none reports: every number would be invented."""
    assert Estimator().remaining(4, 2, [silent(3.0), Running(1, 3.0, 0.0)]) is None


@pytest.mark.parametrize("durations", [[], [1.0, 5.0]])
def test_nothing_remains_when_nothing_is_left_and_nothing_runs(durations):
    """The end is certain, even of a run that had no items."""
    assert after(durations).remaining(0, 4) == Estimate(0.0, 0.0, 0.0)


def test_a_report_is_enough_for_the_first_estimate():
    """A quarter done after one second: three more for this one, four for each of the others."""
    left = Estimator().remaining(2, 1, [Running(0, 1.0, 0.25)])
    assert left.low < 7.0 < left.high
    assert left.median == pytest.approx(7.0, rel=0.15)


def test_what_the_reports_say_is_still_to_come_goes_before_the_fraction():
    """Of an item that has begun again the fraction alone would count the first time, too."""
    left = Estimator().remaining(1, 1, [Running(0, 100.0, 0.5, rest=3.0)])
    assert left.median == pytest.approx(3.0, rel=0.15)


def test_a_run_lasts_at_least_as_long_as_its_slowest_item():
    """Near the end nothing but the slowest running item matters."""
    left = after([1.0] * 100).remaining(2, 4, [Running(100, 10.0, 0.1), silent(0.5, 101)])
    assert left.median == pytest.approx(90.0, rel=0.25)


def test_items_that_do_not_end_make_the_rest_look_longer():
    """The short items end first: judging by them alone would be too hopeful."""
    ended = after([0.5, 1.0, 2.0, 0.7])
    hopeful = ended.remaining(40, 4)
    sober = ended.remaining(44, 4, [silent(6.0, index) for index in range(4, 8)])
    assert sober.median > 1.5 * hopeful.median


def test_more_processes_than_before_shorten_the_rest():
    """A user who resizes the run sees at once what that brings."""
    known = after([2.0] * 10)
    assert known.remaining(100, 8).high < known.remaining(100, 2).low


def test_more_observations_make_the_estimate_surer():
    """The interval is relative to the median; it shrinks as the spread becomes known."""
    lefts = [after([1.0, 3.0] * (count // 2)).remaining(50, 2) for count in (2, 20, 200)]
    widths = [(left.high - left.low) / left.median for left in lefts]
    assert widths == sorted(widths, reverse=True)


def test_even_durations_are_surer_than_scattered_ones():
    """The same mean with a larger spread is a wider interval."""
    even = after([2.0] * 20).remaining(50, 2)
    scattered = after([0.1, 3.9] * 10).remaining(50, 2)
    assert even.high - even.low < scattered.high - scattered.low


def test_reports_that_are_always_wrong_in_the_same_way_are_read_as_they_are_meant():
    """Items say that a quarter is done when half of their time is over: so does the one that runs."""
    known = Estimator()
    for index in range(20):
        known.remaining(100 - index, 1, [Running(index, 5.0, 0.25)])
        known.ended([index], [10.0])
    left = known.remaining(1, 1, [Running(20, 20.0, 0.25)])
    assert left.median == pytest.approx(20.0, rel=0.2)  # and not 60
    assert left.high < 50.0


def test_an_item_that_says_it_is_done_and_goes_on_takes_as_long_as_others_did():
    """After the last report, results are gathered for a third of the time."""
    known = Estimator()
    for index in range(20):
        known.remaining(100 - index, 1, [Running(index, 20.0, 1.0)])
        known.ended([index], [30.0])
    assert known.remaining(1, 1, [Running(20, 20.0, 1.0)]).median == pytest.approx(10.0, rel=0.25)


# -- what peers get wrong ----------------------------------------------------------------------------


def test_first_items_that_compile_or_import_say_nothing_about_the_others():
    """Four processes took ten seconds for their first items, and then one for each."""
    known = Estimator()
    for index in range(4):
        known.ended([index], [11.0 + index / 10], first=True)
    for index in range(4, 16):
        known.ended([index], [1.0 + index / 100])
    left = known.remaining(100, 4, total=116)
    assert left.high < 60.0  # elapsed time and items that have ended would say 87
    assert left.median == pytest.approx(27.5, rel=0.15)


def test_a_first_item_that_still_runs_has_its_start_up_to_come():
    """A process that was added late compiles as the others did."""
    known = after([11.0] * 4, first=True)
    for index in range(4, 24):
        known.ended([index], [1.0])
    assert known.remaining(1, 1, [silent(2.0, 24, first=True)]).median == pytest.approx(9.0, rel=0.3)
    assert known.remaining(1, 1, [silent(0.2, 24)]).median == pytest.approx(0.8, rel=0.3)


@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_items_that_grow_with_their_index_are_extrapolated(power):
    """A sweep from small to large: what comes takes longer than what was."""
    took = [0.1 + 10.0 * (index / 100) ** power for index in range(100)]
    left = after(took[:50]).remaining(50, 1, total=100)
    assert left.low < sum(took[50:]) < left.high
    assert left.median == pytest.approx(sum(took[50:]), rel=0.15)


def test_items_that_shrink_with_their_index_are_extrapolated():
    """The same sweep from large to small: what comes takes a third of what was."""
    took = [10.1 - 0.1 * index for index in range(100)]
    left = after(took[:50]).remaining(50, 1, total=100)
    assert left.low < 1.2 * sum(took[50:])
    assert left.median < 0.6 * sum(took[:50])  # which is what elapsed time and items that have ended say


def test_without_a_trend_none_is_seen():
    """Scattered durations have steeper and flatter stretches by chance: the estimate stays with the mean."""
    chance = Random(7)
    took = [chance.lognormvariate(0.0, 0.5) for _ in range(60)]
    left = after(took).remaining(140, 1, total=200)
    assert left.median == pytest.approx(140 * sum(took) / 60, rel=0.15)


def test_a_computer_that_is_slower_for_a_while_is_no_trend():
    """Somebody else uses it: the last fifth of the items took a third longer, and that is all."""
    chance = Random(3)
    took = [chance.uniform(0.27, 0.31) for _ in range(64)] + [chance.uniform(0.33, 0.42) for _ in range(16)]
    left = after(took).remaining(220, 2, total=300)
    assert left.low < 110 * 0.32 < left.high
    assert left.median == pytest.approx(110 * 0.32, rel=0.2)


def test_a_few_long_items_among_many_short_ones_count_as_often_as_they_come():
    """One in ten takes a hundred times as long: the mean is that of both kinds."""
    left = after([100.0 if index % 10 == 5 else 1.0 for index in range(100)]).remaining(1000, 4)
    assert left.low < 10.9 * 1000 / 4 < left.high


def test_an_item_that_is_long_overdue_still_takes_its_time():
    """What has taken five times as long as everything before does not end this instant."""
    left = after([1.0] * 100).remaining(1, 4, [silent(5.0)])
    assert left.median > 0.5
    assert left.high > 2.0


def test_a_straggler_decides_about_the_end():
    """Few short items are left: they are over long before the one that runs."""
    known = after([1.0] * 50)
    assert known.remaining(4, 4, [silent(60.0)]).high > known.remaining(3, 4).high + 20.0


def test_earlier_runs_of_the_task_say_something_from_the_first_second():
    """Nothing has ended yet, but the run of yesterday took two seconds for each."""
    known = Estimator()
    known.learn(range(50), [2.0] * 50)
    left = known.remaining(100, 4, [silent(0.1, index) for index in range(4)])
    assert left.low < 50.0 < left.high
    assert left.median == pytest.approx(50.0, rel=0.1)


def test_what_runs_now_is_believed_before_what_ran_once():
    """The computer is twice as fast today."""
    known = after([1.0] * 60)
    known.learn(range(50), [2.0] * 50)
    assert known.remaining(100, 4, total=160).median == pytest.approx(25.0, rel=0.15)


def test_earlier_runs_show_a_trend_before_this_one_can():
    """The first items are the short ones, as they were yesterday."""
    took = [0.1 + index / 50 for index in range(100)]
    known = after(took[:5])
    known.learn(range(100), took)
    assert known.remaining(95, 1, total=100).median == pytest.approx(sum(took[5:]), rel=0.2)


def test_each_attempt_at_an_item_costs_its_time():
    """Every item has failed once: those to come will need two attempts as well."""
    known = after([1.0] * 20, again=True)
    for index in range(20):
        known.ended([index], [1.0])
    assert known.remaining(20, 1).median == pytest.approx(40.0, rel=0.1)


def test_what_the_farm_itself_costs_counts_for_tiny_items():
    """A million items of a microsecond don't take two processes half a second, if each cost them ten."""
    known = Estimator()
    known.ended(range(1000), [1e-6] * 1000)
    known.spent(1000 * 10e-6)
    assert known.remaining(10**6, 2).median == pytest.approx(5.0, rel=0.1)


def test_a_computer_that_slept_has_not_worked():
    """The clock went on for eight hours while it did: the items that ran then are as the others."""
    known = after([60.0] * 20)
    known.slept(8 * 3600.0, [20, 21])
    left = known.remaining(21, 2, [silent(8 * 3600.0 + 30.0, 20), silent(8 * 3600.0 + 10.0, 21)])
    assert left.high < 1200.0
    known.ended([20], [8 * 3600.0 + 60.0])
    assert known.remaining(20, 2, [silent(8 * 3600.0 + 40.0, 21)]).high < 1200.0


def test_a_sleep_that_is_not_in_the_durations_is_not_taken_out_of_them():
    """Only the process that watches was held up: its items went on and took their time."""
    known = after([60.0] * 20)
    known.slept(30.0, [20])
    known.ended([20], [60.0])
    assert known.remaining(1, 1, [silent(0.0, 21)]).median == pytest.approx(60.0, rel=0.05)


# -- one item ----------------------------------------------------------------------------------------


def test_the_rest_of_an_item_that_does_not_report_is_guessed_from_the_others():
    """A row for each process can say something about every item."""
    known = after([10.0, 12.0] * 10)
    assert known.rest_of(silent(4.0, 20)) == pytest.approx(7.0, rel=0.2)
    assert known.rest_of(silent(15.0, 20)) > 0.0


def test_the_rest_of_an_item_that_reports_is_what_it_says():
    """It knows better than all others."""
    assert after([10.0] * 20).rest_of(Running(20, 4.0, 0.1, rest=36.0)) == 36.0
    assert after([10.0] * 20).rest_of(Running(20, 4.0, 0.1)) == pytest.approx(36.0)


def test_of_the_first_item_nobody_knows_how_long_it_takes():
    """There is nothing to compare it with."""
    assert Estimator().rest_of(silent(4.0)) is None


# -- what is shown -----------------------------------------------------------------------------------


def test_what_is_shown_counts_down():
    """A second later the end is a second nearer, and at the same time of day."""
    steady = Steady()
    first = steady.show(Estimate(80.0, 100.0, 120.0), 10.0)
    assert first == Estimate(80.0, 100.0, 120.0)
    assert steady.show(Estimate(81.0, 99.0, 121.0), 11.0) == Estimate(79.0, 99.0, 119.0)


def test_what_is_shown_follows_when_the_end_is_elsewhere():
    """Many more processes: the old end would be wrong."""
    steady = Steady()
    steady.show(Estimate(80.0, 100.0, 120.0), 10.0)
    assert steady.show(Estimate(20.0, 25.0, 30.0), 11.0) == Estimate(20.0, 25.0, 30.0)


def test_what_comes_and_goes_in_less_than_a_second_is_not_shown():
    """A long item moves the estimate, and the next short one moves it back: nobody can read that."""
    steady = Steady()
    steady.show(Estimate(80.0, 100.0, 120.0), 100.0)
    for now in (100.1, 100.5, 100.9):
        assert now + steady.show(Estimate(150.0, 200.0, 250.0), now).high == pytest.approx(220.0)
    assert steady.show(Estimate(79.0, 99.0, 119.0), 101.0).high == pytest.approx(119.0)
    assert steady.show(Estimate(150.0, 200.0, 250.0), 101.9).high == pytest.approx(118.1)
    assert steady.show(Estimate(150.0, 200.0, 250.0), 102.1).high == pytest.approx(250.0)


def test_early_in_a_run_what_is_shown_does_not_wait():
    """Each of the first items says much, and what was shown before was a guess."""
    steady = Steady()
    steady.show(Estimate(80.0, 100.0, 120.0), 1.0)
    assert steady.show(Estimate(20.0, 25.0, 30.0), 1.2) == Estimate(20.0, 25.0, 30.0)


def test_near_the_end_what_is_shown_waits_for_less():
    """A second late is late when there are three left; and that all is over is said at once."""
    steady = Steady()
    steady.show(Estimate(2.0, 3.0, 4.0), 10.0)
    assert steady.show(Estimate(5.0, 6.0, 7.0), 10.7).median == 6.0
    assert steady.show(Estimate(0.0, 0.0, 0.0), 10.71) == Estimate(0.0, 0.0, 0.0)


def test_a_clock_that_was_set_back_does_not_keep_what_is_shown():
    """The moment for which it waits would never be over."""
    steady = Steady()
    steady.show(Estimate(80.0, 100.0, 120.0), 1000.0)
    assert steady.show(Estimate(20.0, 25.0, 30.0), 10.0) == Estimate(20.0, 25.0, 30.0)


def test_nothing_is_shown_when_nothing_is_known():
    """Not what was known once."""
    steady = Steady()
    steady.show(Estimate(80.0, 100.0, 120.0), 10.0)
    assert steady.show(None, 11.0) is None
    assert steady.show(Estimate(0.0, 0.0, 0.0), 12.0) == Estimate(0.0, 0.0, 0.0)


@given(st.lists(st.tuples(seconds, seconds, seconds, st.floats(0, 100) | st.floats(0, 1)), max_size=20))
def test_what_is_shown_is_never_far_from_what_was_estimated_for_long(moments):
    """After a second no bound is off by more than a part of the interval, or a little of the whole."""
    steady, now, agreed = Steady(), 0.0, 0.0
    for bounds in moments:
        low, median, high = sorted(bounds[:3])
        now += bounds[3]
        shown = steady.show(Estimate(low, median, high), now)
        assert 0.0 <= shown.low <= shown.median <= shown.high
        near = 0.2 * (high - low) + 0.05 * median + 1e-6
        if all(
            abs(one - other) <= near
            for one, other in zip((shown.low, shown.median, shown.high), (low, median, high), strict=True)
        ):
            agreed = now
        assert now - agreed < 1.0


# -- whatever comes in -------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", [nan, inf, -inf, -1.0, 1e300])
def test_durations_that_no_clock_can_have_measured_do_no_harm(odd):
    """One broken value (a clock that was set back) must not spoil all that follows."""
    left = after([1.0] * 50 + [odd]).remaining(50, 1)
    assert left.low < 50.0 < left.high


@given(
    st.lists(st.tuples(indices, anything, st.booleans(), st.booleans()), max_size=20),
    st.lists(st.tuples(indices, anything), max_size=5),
    st.none() | st.integers(-3, 10**7) | st.integers(),
    st.integers(-2, 200) | st.integers(),
    running,
    st.none() | indices,
    anything,
)
@example([(0, 1.0, False, False)], [], 10**12, 10**12, [], None, 0.0)  # and no memory for a list of them
def test_an_estimate_is_always_in_order_and_never_negative(
    ended, earlier, items_left, processes, running, total, passed
):
    """Whatever comes in, what comes out can be shown."""
    known = Estimator()
    for index, took in earlier:
        known.learn([index], [took])
    for index, took, first, again in ended:
        known.ended([index], [took], first=first, again=again)
    known.spent(passed)
    known.slept(passed, range(5))
    left = known.remaining(items_left, processes, running, total=total)
    if left is not None:
        assert 0.0 <= left.low <= left.median <= left.high
        assert isfinite(left.high)
    for item in running:
        rest = known.rest_of(item)
        assert rest is None or 0.0 <= rest < inf


@given(st.lists(seconds), st.integers(1, 100))
def test_the_end_is_zero_whatever_came_before(durations, processes):
    """At the end there is nothing left to be unsure about."""
    assert after(durations).remaining(0, processes) == Estimate(0.0, 0.0, 0.0)


@given(
    st.lists(st.tuples(seconds, st.booleans(), st.booleans()), min_size=1, max_size=30),
    running,
    st.integers(0, 1000),
    st.integers(1, 8),
    st.data(),
)
def test_the_order_in_which_items_ended_does_not_matter(ended, running, items_left, processes, data):
    """Two runs with the same history but for its order have the same rest."""
    lefts = []
    for history in (list(enumerate(ended)), data.draw(st.permutations(list(enumerate(ended))))):
        known = Estimator()
        for index, (took, first, again) in history:
            known.ended([index], [took], first=first, again=again)
        left = known.remaining(items_left, processes, running)
        lefts.append(None if left is None else pytest.approx((left.low, left.median, left.high), rel=1e-6))
        plain = None if left is None else (left.low, left.median, left.high)
    assert plain == lefts[0]


def test_of_many_items_the_order_does_not_matter_either():
    """What is kept of them is the same part of all, whichever came first."""
    chance = Random(1)
    took = [(index, exp(chance.gauss(0.0, 1.0))) for index in range(5000)]
    lefts = []
    for history in (took, took[::-1], chance.sample(took, len(took))):
        known = Estimator()
        for index, each in history:
            known.ended([index], [each])
        lefts.append(known.remaining(1000, 4, total=6000))
    assert lefts[0].median == pytest.approx(lefts[1].median)
    assert lefts[0].high == pytest.approx(lefts[2].high)


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=8), st.integers(0, 9))
def test_how_many_items_came_together_does_not_matter(sizes, seed):
    """Whether a process tells of each item or of a thousand at once: the same items say the same."""
    chance, total = Random(seed), sum(sizes)
    took = [exp(chance.gauss(0.0, 1.0)) for _ in range(total)]
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    batches = [range(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    known, other = Estimator(), Estimator()
    for batch in chance.sample(batches, len(batches)):
        known.ended(batch, took[batch.start : batch.stop])
    for first in range(2):  # with gaps
        batch = list(range(first, total, 2))
        other.ended(batch, [took[index] for index in batch])
    left, same = (each.remaining(100, 4, total=total + 100) for each in (known, other))
    assert (left.low, left.median, left.high) == pytest.approx((same.low, same.median, same.high), rel=1e-6)


@pytest.mark.parametrize("period", [2, 7, 10, 64])
def test_a_sweep_with_a_period_is_not_seen_at_one_of_its_phases_alone(period):
    """Loops within loops: every tenth item takes ten times as long, and of a million few are looked at."""
    took = [10.0 if index % period == 0 else 1.0 for index in range(100_000)]
    known = Estimator()
    known.ended(range(100_000), took)
    true = sum(took) / len(took) * 100_000
    assert known.remaining(100_000, 1, total=200_000).median == pytest.approx(true, rel=0.1)


def test_an_item_that_is_tried_for_ever_leaves_no_less_known_of_the_others():
    """Nor does it take more and more memory."""
    import pickle

    known = after([1.0] * 300)
    for attempt in range(5000):
        known.ended([0], [0.1 + attempt / 1e6], again=True)
    assert len(pickle.dumps(known)) < 20_000
    assert known.rest_of(silent(0.0, 400)) == pytest.approx(1.0, rel=0.2)


def test_its_size_does_not_grow():
    """A run of a million items, in batches and one by one, is kept as a few hundred."""
    import pickle

    known = Estimator()
    for first in range(0, 1_000_000, 10_000):
        known.ended(range(first, first + 10_000), [1.0] * 10_000)
    size = len(pickle.dumps(known))
    for index in range(1_000_000, 1_020_000):
        known.ended([index], [1.0 + index / 1e6])
    assert len(pickle.dumps(known)) < 2 * size + 20_000


@given(st.lists(seconds, min_size=1, max_size=20), st.integers(1, 8), st.integers(1, 40))
def test_it_shrinks_to_zero_as_items_end(durations, processes, count):
    """With fewer items left there is less to do, and nothing in the end."""
    known = after(durations)
    lefts = [known.remaining(left, processes).median for left in (4 * count, count, 0)]
    assert lefts[0] >= lefts[1] >= lefts[2] == 0.0


@given(st.lists(seconds, min_size=1, max_size=10), st.floats(0.1, 1e4), st.floats(0.01, 1.0))
def test_the_interval_covers_what_a_running_item_says_it_needs(durations, elapsed, complete):
    """The farm can't be done before its running items are."""
    left = after(durations).remaining(4, 2, [Running(100, elapsed, complete)])
    assert left.high >= elapsed * (1 - complete) / complete * (1 - 1e-9)
