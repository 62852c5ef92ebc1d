"""The time remaining that a run shows: what its monitor tells the estimator, and how often it asks.

How good an estimate is, is for the tests and benchmarks of the estimator. Here it is only looked at
whether the right things were counted; so what is expected of its size leaves much room.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farm_tasks import FAST, square
from farmhand import MemoryStore, StoreError, open_store, run_tasks
from farmhand.eta import Estimator
from farmhand.events import Finish, Pause, Resize, Resume, Stop
from farmhand.progress import OVER, Estimate
from farmhand.testing.frontends import RecordingFrontend
from farmhand.values import replace
from farmhand.wording import RemainingWords
from planned_farm import Plan, PlannedFarm

NOTHING = Estimate(0.0, 0.0, 0.0)


@pytest.fixture
def farm(monkeypatch):
    """A farm whose time is a test's: nobody waits for anything."""
    return PlannedFarm(monkeypatch)


def at(snapshots, elapsed):
    """What was shown when the run had lasted so long."""
    return next(snapshot for snapshot in snapshots if snapshot.elapsed >= elapsed)


def left_at(snapshots, elapsed):
    """The estimate then, and the seconds that it really took from there on."""
    snapshot = at(snapshots, elapsed)
    assert snapshot.remaining is not None
    return snapshot.remaining.median, snapshots[-1].elapsed - snapshot.elapsed


def is_about(one, other, factor=1.5):
    return other / factor <= one <= other * factor


# -- what counts -----------------------------------------------------------------------------------


def test_even_items_are_estimated_well_and_nothing_flickers(farm):
    """The time of the end that is shown stays where it is; a user can plan with it."""
    snapshots = farm.run([0.25] * 40)
    settled = [each for each in snapshots if each.elapsed > 1.0 and each.state == "running"]
    assert all(each.remaining is not None for each in settled)
    ends = [each.elapsed + each.remaining.median for each in settled]
    assert all(is_about(end, snapshots[-1].elapsed, 1.2) for end in ends)
    changes = sum(abs(after - before) > 0.1 for before, after in itertools.pairwise(ends[:-5]))
    assert changes <= len(ends) / 20


def test_a_farm_tells_all_who_look_the_same_words(farm):
    """They were made by one who saw all of it, and are part of the snapshot."""
    snapshots = farm.run([0.25] * 40)
    words = RemainingWords()
    for snapshot in snapshots:
        assert snapshot.told == words.of(replace(snapshot, told=None), time.time())
    assert snapshots[20].told
    assert not snapshots[-1].told


def test_in_the_end_nothing_remains(farm):
    """Also where nobody knew how many items there are."""
    assert farm.run([1.0, 2.0])[-1].remaining == NOTHING
    assert farm.run(iter([1.0, 2.0]))[-1].remaining == NOTHING


def test_of_items_that_nobody_counted_nothing_is_said_until_all_were_read(farm):
    """A generator has no length; once it has ended, it has."""
    snapshots = farm.run(iter([1.0] * 5))
    assert at(snapshots, 1.5).remaining is None
    estimate, truth = left_at(snapshots, 2.5)
    assert is_about(estimate, truth)


def test_what_a_resumed_run_skips_counts_neither_as_work_nor_as_pace(farm):
    """Thousands skipped in no time would promise the end in no time."""
    items = [0.2 + k / 1e6 for k in range(60)]
    farm.fill(items[:40])
    snapshots = farm.run(items, resume=True)
    assert snapshots[-1].skipped == 40
    estimate, truth = left_at(snapshots, 0.8)
    assert is_about(estimate, truth)


@pytest.mark.parametrize("count", [60, 480])
def test_items_that_will_be_skipped_later_are_no_work_either(farm, count):
    """Where the store has items here and there, those behind the next one to run are looked at beforehand."""
    items = [0.1 + k / 1e6 for k in range(count)]
    farm.fill([item for place, item in enumerate(items) if place % 6])
    snapshots = farm.run(items, resume=True)
    assert snapshots[-1].done == count / 6
    estimate, truth = left_at(snapshots, 0.4)
    assert is_about(estimate, truth)


def test_what_the_store_has_of_other_items_is_still_work(farm):
    """As many results of another sweep of the same task say nothing of this one."""
    farm.fill([0.02 + k / 1e6 for k in range(200)])
    snapshots = farm.run([0.1 + k / 1e6 for k in range(60)], resume=True)
    assert snapshots[-1].skipped == 0
    estimate, truth = left_at(snapshots, 1.0)
    assert is_about(estimate, truth)


def test_an_attempt_that_will_be_followed_by_another_is_no_progress(farm):
    """Items that fail at first take their time twice, and that of others is estimated so."""
    snapshots = farm.run([Plan(0.2, fails=1)] * 20, retries=1)
    assert snapshots[-1].done == 20
    estimate, truth = left_at(snapshots, 2.5)
    assert is_about(estimate, truth, 1.6)


def test_an_item_whose_process_died_counts_with_the_time_that_it_took(farm):
    """The estimate is there although no item has been done."""
    snapshots = farm.run([Plan(0.5, dies=1)] * 20)
    assert snapshots[-1].failed == 20
    estimate, truth = left_at(snapshots, 2.5)
    assert is_about(estimate, truth, 1.6)


def test_what_lies_between_the_items_takes_its_time_as_well(farm):
    """Here it is a generator that is slower than what is done with its items."""

    def items():
        for _ in range(100):
            farm.clock.advance(0.05)
            yield 0.01

    estimate, truth = left_at(farm.run(items(), numitems=100, poolsize=1), 3.0)
    assert is_about(estimate, truth)


def test_the_first_item_of_a_process_says_little_of_the_others(farm):
    """It imports and compiles what they find ready, and so does the first one of a process that is new."""
    items = [3.0, 3.0] + [0.2] * 40
    snapshots = farm.run(items)
    estimate, truth = left_at(snapshots, 3.8)
    assert is_about(estimate, truth)


@pytest.mark.parametrize(("before", "after"), [(1, 3), (4, 1)])
def test_with_another_number_of_processes_another_time_remains_at_once(farm, before, after):
    """Those that are being started count, those that are one too many do not; nobody waits for the news."""

    def script(snapshot):
        return [Resize(after)] if snapshot.elapsed >= 2.6 and snapshot.wanted == before else []

    snapshots = farm.run([1.0] * 16, script, poolsize=before)
    news = next(each for each in snapshots if each.wanted == after)
    assert is_about(news.remaining.median, snapshots[-1].elapsed - news.elapsed, 1.3)


# -- states ----------------------------------------------------------------------------------------


def test_a_run_that_is_finishing_waits_for_what_was_begun_alone(farm):
    """Nothing else is begun; of a run of unknown length its end is known then."""

    def script(snapshot):
        return [Finish()] if snapshot.elapsed >= 2.6 and snapshot.state == "running" else []

    for items in ([1.0] * 1000, itertools.repeat(1.0)):
        snapshots = farm.run(items, script)
        finishing = [each for each in snapshots if each.state == "finishing"]
        for snapshot in finishing[1:]:
            truth = snapshots[-1].elapsed - snapshot.elapsed
            assert abs(snapshot.remaining.median - truth) < 0.2
        assert snapshots[-1].remaining == NOTHING


def test_a_paused_run_shows_what_would_remain_if_it_went_on_now(farm):
    """And the pause does not make the items look slow afterwards."""

    def script(snapshot):
        if 2.0 <= snapshot.elapsed < 2.2 and snapshot.state == "running":
            return [Pause()]
        return [Resume()] if snapshot.elapsed >= 12.0 and snapshot.state == "paused" else []

    snapshots = farm.run([0.2] * 40, script)
    paused = [each for each in snapshots if each.state == "paused" and each.elapsed > 3.0]
    assert len({round(each.remaining.median, 3) for each in paused}) == 1
    assert is_about(paused[0].remaining.median, 2.0)
    estimate, truth = left_at(snapshots, 12.5)
    assert is_about(estimate, truth)


def test_of_a_run_that_is_being_stopped_nothing_is_said(farm):
    """It ends at once, whatever its items had left."""

    def script(snapshot):
        return [Stop()] if snapshot.elapsed >= 1.0 and snapshot.state == "running" else []

    snapshots = farm.run([0.5] * 10, script)
    assert [each.remaining for each in snapshots if each.state == "stopping"] == [None] * sum(
        each.state == "stopping" for each in snapshots
    )
    assert (snapshots[-1].state, snapshots[-1].remaining) == ("stopped", NOTHING)


# -- items that run --------------------------------------------------------------------------------


def test_what_running_items_report_is_part_of_the_estimate(farm):
    """Before the first has ended, it is all there is."""
    reports = tuple((k / 20, k / 20) for k in range(1, 20))
    snapshots = farm.run([Plan(2.0, reports)] * 4)
    early = at(snapshots, 0.55)
    assert is_about(early.remaining.median, snapshots[-1].elapsed - early.elapsed)
    assert all(abs(view.remaining - 1.5) < 0.2 for view in early.processes)


def test_what_goes_before_the_first_step_is_no_pace(farm):
    """A simulation compiles for a while, and then runs: that takes no longer because the other did.

    The call that says so comes just before one that tells of the first step, sooner than anybody looks.
    """
    steps = tuple((0.5 + part / 2, part) for part in (0.0, 0.0001, 0.001, *(k / 40 for k in range(1, 40))))
    snapshots = farm.run([Plan(40.0, steps)] * 2)
    for elapsed in (22.0, 25.0, 35.0):
        shown = at(snapshots, elapsed)
        left = snapshots[-1].elapsed - shown.elapsed
        assert all(is_about(view.remaining, left) for view in shown.processes)
        assert is_about(shown.remaining.median, left)


def test_an_item_that_says_nothing_is_judged_by_those_that_have_ended(farm):
    """What it has left counts down; before anything has ended, nobody can say."""
    snapshots = farm.run([1.0] * 8)
    assert [view.remaining for view in at(snapshots, 0.5).processes] == [None, None]
    later = at(snapshots, 1.3)
    assert all(view.remaining is not None for view in later.processes)
    assert all(0.0 <= view.remaining <= 1.5 for view in later.processes)


def test_what_an_item_still_takes_is_guessed_once_and_counts_down(farm):
    """A guess that grows with an item that outlasts the others says something else at each look."""
    snapshots = farm.run([1.0] * 10 + [30.0] + [1.0] * 40, poolsize=2)
    views = [view for each in snapshots for view in each.processes if view.index == 10]
    guessed = [view for view in views if view.remaining is not None]
    ends = [view.elapsed + view.remaining for view in guessed]
    assert max(ends) - min(ends) < 1e-6
    assert is_about(ends[0], 1.0)
    assert [view.remaining for view in views[len(guessed) :]] == [None] * (len(views) - len(guessed))
    assert views[-1].elapsed > 29.0


def test_an_item_that_begins_to_report_is_no_guess_any_more(farm):
    """What it says itself is better than what others took."""
    reports = tuple((k / 20, k / 20) for k in range(20))
    snapshots = farm.run([1.0] * 6 + [Plan(10.0, reports)], poolsize=2)
    views = [view for each in snapshots for view in each.processes if view.index == 6]
    guessed = [view for view in views if view.complete == 0.0]
    assert guessed
    assert all(is_about(view.elapsed + view.remaining, 1.0) for view in guessed)
    assert all(is_about(view.elapsed + view.remaining, 10.0) for view in views if view.complete > 0.0)


# -- earlier runs ----------------------------------------------------------------------------------


def test_what_the_run_before_took_is_known_in_the_first_snapshot(farm):
    """The same sweep again, or the rest of it: its user need not wait for the first item to end."""
    farm.fill([0.3] * 10)
    first = farm.run([0.3] * 12)[0]
    assert first.remaining is not None
    assert is_about(first.remaining.median, 1.8, 2.0)


def test_runs_of_other_tasks_are_no_experience(farm):
    """Nothing is known of a task that the store has not seen."""
    run_tasks(farm.store, square, range(3), start_method="fork", **FAST)
    assert farm.run([0.3] * 4)[0].remaining is None


class Unreadable(MemoryStore):
    """Its records cannot be read any more."""

    def durations(self, run, most):
        raise StoreError("rates", "it is damaged", "Put it back")


def test_a_store_that_cannot_say_what_items_took_does_not_end_the_run(farm):
    """An estimate is not worth that; it begins with nothing."""
    farm.store = Unreadable()
    farm.fill([1.0] * 3)
    snapshots = farm.run([1.0] * 3)
    assert snapshots[0].remaining is None
    assert snapshots[-1].done == 3


class Counting(MemoryStore):
    """Knows how often it was asked, and how much it said."""

    asked = said = 0

    def durations(self, run, most):
        found = super().durations(run, most)
        self.asked += 1
        self.said += len(found[0])
        return found


def test_of_a_long_history_a_little_is_read_and_once(farm):
    """However many runs there were, and only when somebody looks."""
    farm.store = Counting()
    for _ in range(8):
        farm.fill([0.002] * 300)
    farm.store.asked = farm.store.said = 0
    farm.run([0.2] * 4)
    assert 0 < farm.store.asked <= 5
    assert farm.store.said <= 1000
    farm.store.asked = 0
    run_tasks(farm.store, square, range(3), start_method="fork", **FAST)
    assert farm.store.asked == 0


# -- what it costs ---------------------------------------------------------------------------------


@pytest.fixture
def costly(farm, monkeypatch):
    """Whatever the estimator is asked takes 20 ms; how often it was asked for what."""
    asked = Counter()

    def slowed(name):
        plain = getattr(Estimator, name)

        def slow(*args, **kwds):
            asked[name] += 1
            farm.clock.advance(0.02)
            return plain(*args, **kwds)

        monkeypatch.setattr(Estimator, name, slow)

    slowed("remaining")
    slowed("rest_of")
    return asked


def test_an_estimate_takes_a_fiftieth_of_the_time_at_most(farm, costly):
    """And so does what single items still take, however many run."""
    snapshots = farm.run([2.0] * 80, poolsize=16)
    most = snapshots[-1].elapsed / 50
    assert 0.02 * costly["remaining"] <= 1.2 * most
    assert 0.02 * costly["rest_of"] <= 1.2 * most
    assert costly["remaining"] >= snapshots[-1].elapsed / 3


def test_each_of_many_running_items_has_its_turn(farm, costly):
    """What one look has no time for, a later one has."""
    snapshots = farm.run([20.0] * 16, poolsize=8)
    running = at(snapshots, 35.0).processes
    assert all(view.remaining is not None for view in running)


def test_in_a_long_run_an_estimate_is_made_twice_a_second(farm, monkeypatch):
    """However little it costs; in between what is shown counts down."""
    made = []
    plain = Estimator.remaining

    def noted(*args, **kwds):
        made.append(farm.clock())
        return plain(*args, **kwds)

    monkeypatch.setattr(Estimator, "remaining", noted)
    snapshots = farm.run([4.0] * 6)
    late = [when for when in made if when >= made[0] + 6.0]
    assert len(late) <= 2 * (snapshots[-1].elapsed - 5.0)
    ends = [each.elapsed + each.remaining.median for each in snapshots if 9.0 <= each.elapsed < 11.0]
    assert max(ends) - min(ends) < 1.0


# -- clocks ----------------------------------------------------------------------------------------


def test_a_computer_that_slept_has_not_become_slower(farm):
    """Where the clock goes on meanwhile, the items that ran seem to have taken ten minutes each."""
    snapshots = farm.run([0.5] * 30, sleeps=[(3.2, 600.0)])
    estimate, truth = left_at(snapshots, 604.5)
    assert is_about(estimate, truth)
    assert snapshots[-1].elapsed > 600.0


def in_time(reports):
    """As an item can make them."""
    return tuple(sorted(reports, key=lambda report: report[0]))


ODD = (math.nan, -1.0, 7.0, math.inf, -math.inf, 0.0)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.builds(
            Plan,
            st.floats(0.0, 1.0),
            st.lists(
                st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0) | st.sampled_from(ODD)), max_size=3
            ).map(in_time),
            st.none() | st.floats(-10.0, 10.0) | st.sampled_from(ODD),
            st.integers(0, 2),
            st.integers(0, 1),
        ),
        max_size=8,
    ),
    st.none() | st.integers(0, 12),
    st.integers(0, 1),
    st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 100.0)), max_size=2).map(sorted),
)
def test_whatever_items_report_and_clocks_say_a_snapshot_is_sane(farm, items, announced, retries, sleeps):
    """Fractions that are none, items shorter than nothing, and a wrong number of items."""
    snapshots = farm.run(items, numitems=announced, retries=retries, sleeps=sleeps)
    for snapshot in snapshots:
        if snapshot.remaining is not None:
            bounds = (snapshot.remaining.low, snapshot.remaining.median, snapshot.remaining.high)
            assert list(bounds) == sorted(bounds)
            assert bounds[0] >= 0.0
            assert math.isfinite(bounds[2])
        for view in snapshot.processes:
            assert view.complete is None or 0.0 <= view.complete <= 1.0
            assert view.remaining is None or 0.0 <= view.remaining < math.inf
    assert snapshots[-1].remaining == NOTHING
    assert snapshots[-1].state in OVER


def test_when_more_items_end_than_were_announced_nothing_is_promised(farm):
    """Whoever said that there are ten does not know how many there are."""
    snapshots = farm.run(iter([0.2] * 20), numitems=10)
    assert at(snapshots, 0.6).remaining is not None
    assert at(snapshots, 1.6).remaining is None
    assert snapshots[-1].done == 20


def test_when_fewer_items_come_than_were_announced_the_end_is_near_at_once(farm):
    """As soon as a process asks for another one in vain."""
    snapshots = farm.run(iter([0.5] * 5), numitems=1000)
    assert at(snapshots, 0.8).remaining.median > 100.0
    assert snapshots[-2].remaining.median < 1.0


# -- real processes --------------------------------------------------------------------------------


def test_a_real_run_shows_what_remains_of_it_and_then_nothing(tmp_path):
    """With processes, a store on disk and its own clock: the second run knows it from the beginning."""
    pytest.importorskip("farmhand_sqlite")
    with open_store(tmp_path / "rates.db") as store:
        for _ in range(2):
            options = {"poolsize": 2, "start_method": "fork", "progress": [frontend := RecordingFrontend()]}
            run_tasks(store, square, range(5000), **options)
    assert frontend.snapshots[0].remaining is not None
    assert frontend.last.remaining == NOTHING
