"""The bar of an item between two reports, and the points of a chart: whatever comes, in whatever order."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farmhand.bars import Bar, History

seconds = st.floats(0.0, 1e6)
# what a task may say, and when somebody looks: each a while after the one before
happenings = st.lists(
    st.tuples(seconds, st.none() | st.floats(0.0, 1.0) | st.sampled_from([0.0, 0.5, 1.0])), max_size=30
)


def played(history):
    """What a bar shows while that happens: (reported by then, shown, whether it began again)."""
    bar, now, shown = Bar(), 0.0, []
    for wait, complete in history:
        now += wait
        again = complete is not None and bar.complete is not None and complete < bar.complete
        if complete is not None:
            bar.report(complete, now)
        shown.append((bar.complete, bar.expected(now), again))
        assert (left := bar.remaining(now)) is None or 0.0 <= left < float("inf")
    return shown


# -- a bar -----------------------------------------------------------------------------------------


@given(happenings)
def test_a_bar_never_goes_back_unless_the_task_does(history):
    """People read a bar that goes back as a mistake."""
    for (_, before, _), (_, after, again) in pairwise(played(history)):
        assert before is None or again or after >= before


@given(happenings)
def test_a_bar_is_full_only_when_the_task_says_so(history):
    """It is never behind what was said either."""
    for complete, shown, _ in played(history):
        if complete is None:
            assert shown is None
        else:
            assert complete <= shown <= max(complete, 0.99)


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=20))
def test_no_number_makes_a_bar_of_nonsense(history):
    """A report may come from a process that is not ours, and clocks do strange things."""
    bar = Bar()
    for complete, elapsed in history:
        bar.report(complete, elapsed if elapsed == elapsed else 0.0)
        shown = bar.expected(max(0.0, elapsed) if elapsed == elapsed else 0.0)
        assert shown is None or 0.0 <= shown <= 1.0


def test_between_two_reports_a_bar_moves_as_fast_as_they_did():
    """10 % each 10 seconds: 5 seconds after the third, it is at 35 %."""
    bar = Bar()
    for step in (1, 2, 3):
        bar.report(step / 10, 10.0 * step)
    assert bar.expected(30.0) == 0.3
    assert bar.expected(35.0) == pytest.approx(0.35)
    assert bar.remaining(35.0) == pytest.approx(65.0)


def test_what_goes_before_the_work_is_no_pace():
    """A simulation compiles for a minute, says that it begins, and then takes ten seconds for each tenth."""
    bar = Bar()
    bar.report(0.0, 60.0)
    bar.report(0.1, 70.0)
    assert bar.remaining(70.0) == pytest.approx(90.0)
    assert bar.expected(75.0) == pytest.approx(0.15)


def test_a_bar_waits_for_a_report_that_is_late():
    """A task that hangs is seen to: the bar goes half a step further than it should be, and stands still."""
    bar = Bar()
    bar.report(0.1, 10.0)
    bar.report(0.2, 20.0)
    assert bar.expected(40.0) == bar.expected(4000.0) == pytest.approx(0.35)


def test_a_report_that_says_the_same_again_gives_no_pace():
    """A task that says 50 % every second is at 50 %, and the bar does not creep on for ever."""
    bar = Bar()
    for second in range(1, 1000):
        bar.report(0.5, float(second))
        bar.expected(second + 0.5)
    assert bar.expected(1000.0) < 0.9


def test_a_task_of_several_simulations_fills_its_bar_several_times():
    """The second one's pace is its own: it began when the first had ended."""
    bar = Bar()
    bar.report(1.0, 100.0)
    bar.report(0.1, 105.0)
    assert bar.expected(105.0) == 0.1
    assert bar.expected(106.0) == pytest.approx(0.12)
    assert bar.remaining(106.0) == pytest.approx(44.0)


def test_a_task_that_corrects_itself_keeps_its_pace():
    """Who estimates how far he is goes back a little now and then; that is no new beginning."""
    bar = Bar()
    for second in range(1, 51):
        bar.report(second / 100, float(second))
    bar.report(0.49, 51.0)
    assert bar.expected(51.0) == 0.49
    assert bar.expected(51.5) == pytest.approx(0.495, abs=0.005)
    assert bar.remaining(51.0) == pytest.approx(51.0 / 0.49 - 51.0)


def test_nothing_is_said_before_the_task_says_something():
    """A bar that moves without a report would be invented; at zero, nobody knows how long it takes."""
    bar = Bar()
    assert (bar.expected(5.0), bar.remaining(5.0)) == (None, None)
    bar.report(0.0, 5.0)
    assert (bar.expected(9.0), bar.remaining(9.0)) == (0.0, None)


# -- a chart ---------------------------------------------------------------------------------------


@given(st.lists(st.tuples(seconds, st.integers(0, 1000)), max_size=600), st.booleans())
def test_a_chart_has_few_points_in_order_and_ends_with_the_run(steps, dense):
    """However long the run, and however it went."""
    history, elapsed, ended = History(), 0.0, 0
    for wait, more in steps:
        elapsed, ended = elapsed + (0.1 if dense else wait), ended + more
        history.add(elapsed, ended)
        assert len(history.points) <= History.MOST
    history.add(elapsed + 1.0, ended, last=True)
    assert len(history.points) <= History.MOST
    assert list(history.points) == sorted(history.points)
    assert history.points[-1] == (elapsed + 1.0, ended)


def test_a_chart_of_a_long_run_is_as_even_as_that_of_a_short_one():
    """Three hours, looked at ten times a second: it begins at the beginning, at about even distances."""
    history = History()
    for tenth in range(10 * 3600 * 3):
        history.add(tenth / 10 + tenth % 7 / 100, tenth)
    times = [time for time, _ in history.points]
    steps = [after - before for before, after in pairwise(times)]
    assert times[0] == 0.0
    assert times[-1] > 3 * 3600 - 120
    assert History.MOST / 2 <= len(times) <= History.MOST
    assert max(steps) < 2 * min(steps)


def test_points_are_the_same_object_until_there_is_a_new_one():
    """Who sends them elsewhere need not compare them."""
    history = History()
    history.add(0.0, 0)
    before = history.points
    history.add(0.05, 3)
    assert history.points is before
    history.add(0.1, 4)
    assert history.points == ((0.0, 0), (0.1, 4))
