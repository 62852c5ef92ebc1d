"""How a task says how far it is: stages, several simulations in one item, and one that was stopped early.

Brian is imitated here by the calls that its ``run`` makes: (0, 0.0, start, duration) first, and a last one
with what it has done. :mod:`test_simulators` has the real one.
"""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farmhand import StoppedEarly
from farmhand.task import Task


class Process:
    """A process that has made a task, and what it has sent; its clock stands unless it is moved."""

    def __init__(self, monkeypatch, task):
        self.now = 100.0
        self.sent = []
        monkeypatch.setattr("farmhand.report.time.monotonic", lambda: self.now)
        self.made = Task.check(task).make(0, lambda *sent: self.sent.append(sent))

    def run(self, item=None, index=0):
        """Run an item; the fractions that were sent, each with the name of its part."""
        self.sent.clear()
        self.made(index, item)
        return [(complete, phase) for _, complete, _, phase in self.sent]


@pytest.fixture
def process(monkeypatch):
    return lambda task: Process(monkeypatch, task)


class Simulations:
    """A task of several simulations; an item is how many seconds each of them takes."""

    process: Process

    def __call__(self, seconds, report):
        for each in seconds:
            report(0.0, 0.0, 0.0, 2.0)
            self.process.now += each / 2
            report(each / 2, 0.5, 0.0, 2.0)
            self.process.now += each / 2
            report(each, 1.0, 0.0, 2.0)


@pytest.fixture
def simulating(process):
    task = Simulations()
    task.process = process(task)
    return task.process


# -- stages ----------------------------------------------------------------------------------------


def test_what_is_reported_in_a_stage_is_a_part_of_the_item(process):
    """So that two simulations, or whatever else reports from 0 to 1, make one way through the item."""

    def task(x, report):
        report.stage("warm-up", 0, 0.2)
        report(0.0)
        report(1.0)
        report.stage("measurement", 0.2, 1)
        report(1.0)

    assert process(task).run() == [
        (None, "warm-up"),  # only a name: what goes before the first report is preparation
        (0.0, "warm-up"),
        (0.2, "warm-up"),
        (0.2, "measurement"),
        (1.0, "measurement"),
    ]


def test_a_stage_counts_for_whatever_reports(process):
    """Brian's calls, a loop, and a plain number."""

    def task(x, report):
        report.stage("first", 0, 0.5)
        report(0.0, 0.0, 0.0, 2.0)
        report(1.0, 1.0, 0.0, 2.0)
        report.stage("second", 0.5, 1)
        for _ in report.track([1]):
            pass

    fractions = [complete for complete, _ in process(task).run()]
    assert fractions == [None, 0.0, 0.5, 0.5, 1.0]


def test_the_next_item_begins_without_a_stage(process):
    """Nobody has to undo one."""

    def task(x, report):
        if x:
            report.stage("first", 0, 0.5)
        report(0.5)

    one = process(task)
    assert one.run(True)[-1] == (0.25, "first")
    assert one.run(False) == [(0.5, "")]


@pytest.mark.parametrize(("begin", "end"), [(-0.1, 0.5), (0.5, 1.1), (0.6, 0.5), (float("nan"), 1.0)])
def test_a_stage_that_is_no_part_of_an_item_is_an_error(process, begin, end):
    """It names the stage, as there may be several."""
    with pytest.raises(ValueError, match=r"0 <= begin to end <= 1; 'warm-up' is from"):
        process(lambda x, report: report.stage("warm-up", begin, end)).run()


# -- several simulations ---------------------------------------------------------------------------


def test_in_the_first_item_each_simulation_is_told_apart(simulating):
    """Nobody knows yet how many there will be, so that the second one begins anew, and says so."""
    assert simulating.run([1.0, 3.0]) == [
        *((0.0, ""), (0.5, ""), (1.0, "")),
        *((0.0, "run 2"), (0.5, "run 2"), (1.0, "run 2")),
    ]


def test_from_then_on_each_has_the_part_that_it_took_in_the_item_before(simulating):
    """The bar goes through the item once, at one pace."""
    simulating.run([1.0, 3.0])
    first, second = "run 1 of 2", "run 2 of 2"
    assert simulating.run([1.0, 3.0]) == [
        *((0.0, first), (0.125, first), (0.25, first)),
        *((0.25, second), (0.625, second), (1.0, second)),
    ]


@given(st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=9), st.integers(1, 3))
def test_whatever_they_take_the_bar_goes_from_0_to_1_and_never_back(seconds, items):
    """As long as the number of simulations is that of the item before."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        task = Simulations()
        task.process = Process(monkeypatch, task)
        task.process.run(seconds)
        for _ in range(items):
            fractions = [complete for complete, _ in task.process.run(seconds)]
            assert fractions == sorted(fractions)
            assert (fractions[0], fractions[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("elapsed", [0.0, 2e-7])
def test_a_simulation_begins_once_however_slow_its_first_step_is(process, elapsed):
    """A compiled program's clock has gone on for a moment; Brian calls again whenever its period is over."""

    def task(x, report):
        for _ in range(2):
            report(elapsed, 0.0, 0.0, 2.0)
            report(1e-6, 0.0, 0.0, 2.0)
            report(0.3, 0.0, 0.0, 2.0)
            report(1.0, 1.0, 0.0, 2.0)

    assert process(task).run()[-1] == (1.0, "run 2")


def test_one_more_than_in_the_item_before_begins_anew(simulating):
    """As in the first item: there is no part left for it."""
    simulating.run([1.0, 1.0])
    assert simulating.run([1.0, 1.0, 1.0])[-4:] == [
        (1.0, "run 2 of 2"), (0.0, "run 3"), (0.5, "run 3"), (1.0, "run 3")
    ]  # fmt: skip


def test_a_single_simulation_needs_no_name(simulating):
    """Most tasks have one."""
    simulating.run([1.0])
    assert simulating.run([1.0]) == [(0.0, ""), (0.5, ""), (1.0, "")]


def test_an_item_that_failed_teaches_nothing(process):
    """It may have failed before its second simulation."""

    def task(fails, report):
        for _ in range(2):
            report(0.0, 0.0, 0.0, 2.0)
            one.now += 1.0
            report(1.0, 1.0, 0.0, 2.0)
            if fails:
                raise ZeroDivisionError

    one = process(task)
    one.run(False)
    with pytest.raises(ZeroDivisionError):
        one.run(True)
    assert one.run(False)[-1] == (1.0, "run 2 of 2")


# -- stopped early ---------------------------------------------------------------------------------


def test_a_simulation_that_was_stopped_early_fails_its_item(process):
    """Its result looks like any other, and is not that of the whole simulation."""

    def task(x, report):
        report(0.0, 0.0, 0.0, 2.0)
        report(0.1, 0.25, 0.0, 2.0)
        return "half-baked"

    with pytest.raises(StoppedEarly, match=r"after 0\.5 s of its 2 s .* calls report\(1\.0\)"):
        process(task).run()


@pytest.mark.parametrize("done", [(1.0,), (9.0, 1.0)], ids=["report(1.0)", "Brian 1's way"])
def test_a_task_that_says_that_it_is_done_is_done(process, done):
    """A simulation may well be run until something happens; no rate limit swallows that."""

    def task(x, report):
        report(0.0, 0.0, 0.0, 2.0)
        report(0.1, 0.25, 0.0, 2.0)
        report(*done)

    assert process(task).run()[-1][0] == 1.0


def stop_one_and_end_one(report, says_so):
    report(0.0, 0.0, 0.0, 2.0)
    report(0.1, 0.25, 0.0, 2.0)
    if says_so:
        report(1.0)
    report(0.0, 0.0, 0.5, 3.0)
    report(0.1, 1.0, 0.5, 3.0)


def test_one_that_was_stopped_is_not_made_good_by_those_that_follow(process):
    """A warm-up that ``maximum_run_time`` has cut, on a busy computer, is in all that comes after."""
    with pytest.raises(StoppedEarly, match=r"after 0\.5 s of its 2 s"):
        process(lambda x, report: stop_one_and_end_one(report, says_so=False)).run()


def test_a_simulation_until_something_happens_may_go_before_another(process):
    """As a search for the steady state does: said after it, that counts for what came so far."""

    def task(x, report):
        stop_one_and_end_one(report, says_so=True)
        if x:
            report(0.0, 0.0, 3.5, 2.0)

    one = process(task)
    one.run(False)
    with pytest.raises(StoppedEarly, match="after 0 s of its 2 s"):
        one.run(True)


def test_one_that_is_good_as_it_is_fills_its_own_part_of_the_bar(process):
    """The item goes on, and its bar does not come back from the end."""

    def task(x, report):
        for complete in (0.5, 1.0):
            report(0.0, 0.0, 0.0, 2.0)
            one.now += 1.0
            report(1.0, complete, 0.0, 2.0)
            if complete < 1.0:
                report(1.0)

    one = process(task)
    one.run()
    first, second = "run 1 of 2", "run 2 of 2"
    assert one.run() == [(0.0, first), (0.25, first), (0.5, first), (0.5, second), (1.0, second)]


def test_a_loop_that_comes_to_its_end_does_not_make_a_stopped_simulation_good(process):
    """It is farmhand that says 1 there, and not the task."""

    def task(x, report):
        report(0.0, 0.0, 0.0, 2.0)
        report(0.1, 0.25, 0.0, 2.0)
        for _ in report.track([1, 2]):
            pass

    with pytest.raises(StoppedEarly):
        process(task).run()


def test_simulations_side_by_side_are_all_at_their_ends_in_the_end(process):
    """Each thread waits for a program of its own."""

    def task(ends, report):
        for _ in range(2):
            report(0.0, 0.0, 0.0, 2.0)
        for complete in (0.5, *ends):
            report(0.1, complete, 0.0, 2.0)

    one = process(task)
    one.run([1.0, 0.75, 1.0])
    with pytest.raises(StoppedEarly):
        one.run([0.75, 1.0])


@pytest.mark.parametrize("progress", [(0.25,), (9.0, 0.25)])
def test_only_simulations_are_taken_at_their_word(process, progress):
    """Many a loop reports at its beginning, and never 1."""
    process(lambda x, report: report(*progress)).run()


def test_a_stopped_simulation_does_not_hide_what_the_task_raised(process):
    """That says more."""

    def task(x, report):
        report(0.0, 0.0, 0.0, 2.0)
        report(0.1, 0.25, 0.0, 2.0)
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        process(task).run()


def test_the_next_item_is_not_blamed(process):
    """Each begins anew."""

    def task(stops, report):
        report(0.0, 0.0, 0.0, 2.0)
        report(0.1, 0.25 if stops else 1.0, 0.0, 2.0)

    one = process(task)
    with pytest.raises(StoppedEarly):
        one.run(True)
    one.run(False)


@given(st.floats(0.0, 1e6), st.floats(1e-4, 1e6))
def test_rounding_stops_no_simulation(start, duration):
    """Brian tells ``(start + duration - start) / duration``, which need not be 1."""
    complete = (start + duration - start) / duration

    def task(x, report):
        report(0.0, 0.0, start, duration)
        report(1.0, complete, start, duration)

    with pytest.MonkeyPatch.context() as monkeypatch:
        assert Process(monkeypatch, task).run() == [(0.0, ""), (1.0, "")]


@given(st.floats(0.0, 1e3), st.integers(2, 10_000_000), st.floats(1e-5, 1e-2))
def test_one_step_less_is_noticed(start, steps, dt):
    """However long the simulation is."""
    duration = steps * dt
    complete = (start + (steps - 1) * dt - start) / duration

    def task(x, report):
        report(0.0, 0.0, start, duration)
        report(1.0, complete, start, duration)

    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(StoppedEarly):
        Process(monkeypatch, task).run()


# -- what is passed on -----------------------------------------------------------------------------


def test_the_beginning_and_the_end_of_a_simulation_are_always_passed_on(process):
    """However soon they come after others: a bar begins its pace at the one, and is full with the other."""

    def task(x, report):
        for k in range(11):
            report(k / 10, k / 10, 0.0, 2.0)

    assert process(task).run() == [(0.0, ""), (1.0, "")]


def test_a_loop_that_is_faster_than_its_bar_ends_at_1(process):
    """What comes behind it may take long."""

    def task(x, report):
        for _ in report.track(range(1000)):
            pass

    assert process(task).run() == [(0.0, ""), (1.0, "")]


def test_what_is_no_number_says_nothing_and_not_too_often(process):
    """A loop over what has diverged must not drown its farm in messages."""

    def task(x, report):
        report(0.5)
        for _ in range(100):
            report(float("nan"))
        one.now += 1.0
        for _ in range(100):
            report(float("nan"))

    one = process(task)
    assert one.run() == [(0.5, "")] * 2


def test_a_report_may_come_from_any_thread(process):
    """A program that runs apart from the task is listened to by a thread."""

    def task(x, report):
        def listen():
            report(0.0, 0.0, 0.0, 2.0)
            report(1.0, 1.0, 0.0, 2.0)

        threads = [threading.Thread(target=listen) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    one = process(task)
    assert sorted({complete for complete, _ in one.run()}) == [0.0, 1.0]


def test_a_simulation_that_a_task_left_behind_is_nobodys(process):
    """Its item has ended; the next one is not blamed for it."""
    reports = []
    one = process(lambda x, report: reports.append(report))
    one.run()
    reports[0](0.0, 0.0, 0.0, 2.0)
    reports[0](0.1, 0.25, 0.0, 2.0)
    assert one.sent == []
    one.run()
