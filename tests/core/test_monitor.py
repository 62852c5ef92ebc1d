"""What frontends are shown of a real farm, and what they cannot do to it."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm_tasks import FAST, NoPickle, square, square_unless_odd, touch_and_wait
from farmhand import MemoryStore, StoreError, open_store, run_tasks
from farmhand.events import Resize
from farmhand.progress import Detach
from farmhand.testing.frontends import RecordingFrontend
from waiting import wait_for

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")


@pytest.fixture
def store():
    return MemoryStore()


def run(store, task, items, *frontends, **kwds):
    """A run that is shown to these; with processes that are there at once."""
    options = {**FAST, "poolsize": 2, "errors": "collect", "start_method": "fork", **kwds}
    return run_tasks(store, task, items, **{**options, "progress": frontends})


# -- failures --------------------------------------------------------------------------------------


def print_then_raise(k, folder):
    print("this is", k)
    if not Path(folder, f"{k}").exists():
        Path(folder, f"{k}").touch()
        raise RuntimeError("the first time")
    raise ValueError(f"no rate for {k}\nwith a second line")


def test_a_failure_is_shown_with_all_that_helps_to_understand_it(store, tmp_path):
    """So that nobody has to leave the window for the store: and if so, the key is there."""
    frontend = RecordingFrontend()
    run(store, print_then_raise, [(7, str(tmp_path))], frontend, retries=1, backoff=0.001)
    (failure,) = frontend.last.failures
    assert (failure.number, failure.index, failure.attempts, failure.process) == (1, 0, 2, 0)
    assert failure.item.startswith("(7, ")
    assert failure.error.type == "ValueError"
    assert "in print_then_raise" in failure.error.traceback
    assert failure.output == "this is 7\n"
    assert failure.seconds > 0.0
    assert str(failure) == "item 0 failed: ValueError: no rate for 7"
    record = store.record(failure.key)
    assert (record.index, record.error, record.attempts) == (0, failure.error, 2)
    assert store.output(failure.key) == failure.output


def test_failures_are_numbered_and_the_last_hundred_are_shown(store):
    """A frontend knows by the numbers what it has shown, and how many went by."""
    frontend = RecordingFrontend()
    run(store, square_unless_odd, range(600), frontend)
    for snapshot in frontend.snapshots:
        numbers = [failure.number for failure in snapshot.failures]
        assert numbers == list(range(max(1, snapshot.failed - 99), snapshot.failed + 1))
    assert frontend.last.failed == 300
    for failure in frontend.last.failures:
        assert store.record(failure.key).index == failure.index
        assert failure.item == str(failure.index)


def test_an_item_that_never_got_into_a_process_is_shown_as_well(store):
    """What cannot be pickled fails in the farm's own process: none is named."""
    frontend = RecordingFrontend()
    run(store, square, [1, NoPickle(), 3], frontend)
    (failure,) = frontend.last.failures
    assert (failure.index, failure.process, failure.error.kind) == (1, None, "unpicklable item")
    assert "NoPickle" in failure.item
    assert store.record(failure.key).error == failure.error


def die(k):
    print("the last words", flush=True)
    os._exit(3)


def test_the_last_words_of_a_process_that_died_are_shown(store):
    """They say more than anything else; there is no traceback."""
    frontend = RecordingFrontend()
    run(store, die, [1], frontend)
    (failure,) = frontend.last.failures
    assert (failure.error.kind, failure.error.traceback, failure.output) == ("died", "", "the last words\n")


def print_much_and_raise(k):
    print("x" * 50_000)
    raise ValueError("y" * 50_000)


def test_of_long_tracebacks_and_outputs_the_ends_are_shown(store):
    """A hundred of them are in each snapshot; the store has the whole."""
    frontend = RecordingFrontend()
    run(store, print_much_and_raise, [1], frontend)
    (failure,) = frontend.last.failures
    assert len(failure.output) <= 20_000
    assert len(failure.error.traceback) <= 20_000
    assert failure.output.endswith("x\n")
    assert failure.error.traceback.rstrip().endswith("y")


# -- processes -------------------------------------------------------------------------------------


def report_and_fail_once(folder, report):
    first = not Path(folder, "tried").exists()
    Path(folder, "tried").touch()
    if first:
        report(0.75)
        wait_for(Path(folder, "seen 1"))
        raise RuntimeError("the first time")
    wait_for(Path(folder, "seen 2"))
    return "done"


@pytest.mark.parametrize("poolsize", [1, 2])
def test_an_attempt_begins_with_an_empty_bar_and_its_number(store, tmp_path, poolsize):
    """What the one before has reported is over, also in the same process."""
    seen = {}

    def script(snapshot):
        for view in snapshot.processes:
            if view.index is not None and (view.attempts == 2 or view.complete is not None):
                seen.setdefault(view.attempts, view)
                (tmp_path / f"seen {view.attempts}").touch()
        return []

    frontend = RecordingFrontend(script)
    options = {"poolsize": poolsize, "retries": 1, "backoff": 0.001}
    run(store, report_and_fail_once, [str(tmp_path)], frontend, **options)
    assert store.values() == ["done"]
    assert (seen[1].complete, seen[1].attempts) == (0.75, 1)
    assert seen[1].expected >= 0.75
    assert (seen[2].complete, seen[2].expected) == (None, None)


def report_half_and_wait(gate, seen, report):
    wait_for(seen)
    report(0.5)
    wait_for(gate)


def test_between_two_reports_the_bar_goes_on_and_the_fraction_stays(store, tmp_path):
    """The one is for the eye; the other, which counts, is what the task has said."""
    gate, seen, shown = tmp_path / "gate", tmp_path / "seen", []

    def script(snapshot):
        if any(view.elapsed > 0.05 for view in snapshot.processes):
            seen.touch()
        shown.extend(view for view in snapshot.processes if view.complete is not None)
        if shown and shown[-1].expected > 0.6:
            gate.touch()
        return []

    run(store, report_half_and_wait, [(str(gate), str(seen))], RecordingFrontend(script))
    assert {view.complete for view in shown} == {0.5}
    expected = [view.expected for view in shown]
    assert expected == sorted(expected)
    assert all(0.5 <= each <= 0.99 for each in expected)
    assert all(view.remaining is not None for view in shown)


def prepare_then_report(seen, gate, report):
    wait_for(seen)
    report.stage("warm-up", 0, 0.5)
    report(0.5)
    wait_for(gate)


def report_nothing(seen, gate, report):
    wait_for(seen if seen.endswith("0") else gate)


def report_by_keyword(seen, gate, **kwds):
    if not seen.endswith("0"):
        wait_for(seen)
    kwds["report"](0.0)
    wait_for(gate)


class Phases:
    """Sees the phases of items; an item goes on when it was seen, and ends when two were, or none is left."""

    def __init__(self, folder):
        self.folder = folder
        self.seen = {}

    def items(self, count):
        return [(str(self.folder / f"seen {k}"), str(self.folder / f"gate {k}")) for k in range(count)]

    def frontend(self):
        return RecordingFrontend(self._script)

    def _script(self, snapshot):
        for view in snapshot.processes:
            if view.index is not None:
                phases = self.seen.setdefault(view.index, [])
                phases.append(view.phase)
                (self.folder / f"seen {view.index}").touch()
                if len(set(phases)) > 1 or "" in phases:
                    (self.folder / f"gate {view.index}").touch()
        return []


def test_an_item_that_will_report_is_preparing_until_it_does(store, tmp_path):
    """It compiles or imports, which may take longer than all else. Then its part has a name of its own."""
    phases = Phases(tmp_path)
    run(store, prepare_then_report, phases.items(3), phases.frontend(), poolsize=1)
    assert phases.seen.keys() == {0, 1, 2}
    for seen in phases.seen.values():
        assert set(seen) == {"preparing", "warm-up"}
        assert seen == sorted(seen)  # and not the other way round


def test_a_task_that_takes_a_report_and_never_calls_it_is_not_preparing_for_ever(store, tmp_path):
    """After the first item it is known: the others just run."""
    phases = Phases(tmp_path)
    run(store, report_nothing, phases.items(3), phases.frontend(), poolsize=1)
    assert {*phases.seen[0]} == {"preparing"}
    assert [phases.seen[index][-1] for index in (1, 2)] == ["", ""]


def test_a_task_that_takes_no_report_is_never_preparing(store, tmp_path):
    """Nothing would ever end it."""
    phases = Phases(tmp_path)
    run(store, touch_and_wait, phases.items(1), phases.frontend(), poolsize=1)
    assert {*phases.seen[0]} == {""}


def test_a_task_that_takes_any_keyword_prepares_once_it_is_known_to_report(store, tmp_path):
    """``**kwds`` is given a report as well, but need not know of it."""
    phases = Phases(tmp_path)
    run(store, report_by_keyword, phases.items(2), phases.frontend(), poolsize=1)
    assert {*phases.seen[0]} == {""}
    assert {*phases.seen[1]} == {"preparing", ""}


def report_and_end(gate, over, report):
    report(0.9)
    wait_for(gate)
    over.touch()


def test_the_bar_of_the_run_does_not_go_back_when_an_item_ends(store, tmp_path):
    """What has ended counts as done at once, and not only when it is stored: what it reported is gone."""
    gates, overs = ([tmp_path / f"{name} {k}" for k in range(2)] for name in ("gate", "over"))

    def script(snapshot):
        if [view.complete for view in snapshot.processes] == [0.9, 0.9]:
            gates[0].touch()
        return []

    def store_slowly(records):
        """The first is being stored while the second one ends, which has to wait then."""
        gates[1].touch()
        wait_for(overs[1])
        time.sleep(0.1)

    frontend = RecordingFrontend(script)
    run(store, report_and_end, [*zip(gates, overs, strict=True)], frontend, stop_when=store_slowly)
    complete = [snapshot.complete for snapshot in frontend.snapshots]
    assert complete == sorted(complete)
    assert complete[-1] == 1.0


def test_a_process_too_many_is_shown_as_leaving_until_its_item_has_ended(store, tmp_path):
    """What is wanted changes at once, so that a spin box can be put back by a user who sees it."""
    items = [(str(tmp_path / str(k)), str(tmp_path / "gate")) for k in range(2)]
    leaving = []

    def script(snapshot):
        if not all(Path(f"{name}.begun").exists() for name, _ in items):
            return []
        for view in snapshot.processes:
            if view.state == "leaving":
                leaving.append((view, snapshot.wanted))
                (tmp_path / "gate").touch()
        return [Resize(1)] if snapshot.wanted == 2 else []

    frontend = RecordingFrontend(script)
    assert run(store, touch_and_wait, items, frontend).done == 2
    view, wanted = leaving[0]
    assert (view.number, wanted) == (1, 1)
    assert view.index in (0, 1)  # whichever it got first
    assert view.elapsed > 0.0


class Item:
    """Says how often it was looked at, in this process."""

    looks = 0

    def __init__(self, gate):
        self.gate = gate

    def __repr__(self):
        type(self).looks += 1
        return "an item whose repr takes its time"


def wait_at_gate(item):
    wait_for(item.gate)


def test_an_item_is_put_into_words_once_not_ten_times_a_second(store, tmp_path):
    """A repr is the user's code, and may take its time."""
    gate, shown = tmp_path / "gate", []

    def script(snapshot):
        shown.extend(view.item for view in snapshot.processes if view.index is not None)
        if len(shown) == 5:
            gate.touch()
        return []

    Item.looks = 0
    run(store, wait_at_gate, [Item(str(gate))], RecordingFrontend(script))
    assert set(shown) == {"an item whose repr takes its time"}
    assert Item.looks == 1


# -- the run ---------------------------------------------------------------------------------------


def test_the_chart_goes_from_the_beginning_to_the_end(store):
    """It only grows, in order, and its last point is how the run ended."""
    frontend = RecordingFrontend()
    run(store, square_unless_odd, range(2000), frontend)
    for snapshot in frontend.snapshots:
        assert list(snapshot.history) == sorted(snapshot.history)
        assert all(ended <= snapshot.done + snapshot.failed for _, ended in snapshot.history)
    assert frontend.snapshots[0].history[0][1] == 0
    assert frontend.last.history[-1] == (frontend.last.elapsed, 2000)


def test_a_snapshot_says_where_the_results_are_and_whose_run_it_is(tmp_path):
    """So that a window or a watcher can say it, too."""
    frontend = RecordingFrontend()
    pytest.importorskip("farmhand_sqlite")
    with open_store(tmp_path / "rates.db") as store:
        summary = run(store, square, range(3), frontend)
        assert (frontend.last.store, frontend.last.run) == (store.basepath, summary.run)
        assert frontend.last.pid == os.getpid()
        again = RecordingFrontend()
        run(store, square, range(3), again, resume=True)
    assert (again.last.run, again.last.skipped, again.last.complete) == ("", 3, 1.0)
    assert [snapshot.state for snapshot in again.snapshots] == ["finished"]


@linux
def test_the_use_of_the_cpus_is_a_fraction(store, tmp_path):
    """Known after about a second, in which this test waits for it."""
    gate, seen = tmp_path / "gate", []

    def script(snapshot):
        seen.append(snapshot.cpu)
        if snapshot.cpu is not None:
            gate.touch()
        return []

    run(store, touch_and_wait, [(str(tmp_path / "it"), str(gate))], RecordingFrontend(script))
    assert seen[0] is None
    assert 0.0 <= seen[-1] <= 1.0


class Full(MemoryStore):
    """There is no room for anything."""

    def begin(self, run):
        session = super().begin(run)

        def record(turn):
            raise StoreError("rates", "the disk is full", "Make room")

        session.record = record
        return session


def raise_at_three(k):
    if k == 3:
        raise ValueError(k)
    return k


def test_the_last_snapshot_says_why_a_run_has_ended(store):
    """A user who comes back in the morning wants to know; a run that came to its end needs no reason."""
    last = {}
    limits = {
        "end": (range(20), {}),
        "failures": (itertools.count(), {"max_failures": 1}),
        "asked": (itertools.count(), {"stop_when": lambda records: True}),
    }
    for name, (items, limit) in limits.items():
        frontend = RecordingFrontend()
        run(store, raise_at_three, items, frontend, poolsize=1, **limit)
        last[name] = frontend.last
    assert (last["end"].state, last["end"].reason) == ("finished", "")
    assert (last["failures"].state, last["failures"].reason) == ("stopped", "max_failures=1 is reached")
    assert last["asked"].reason == "stop_when said so"
    frontend = RecordingFrontend()
    with pytest.raises(StoreError):
        run(Full(), square, range(5), frontend)
    assert frontend.last.state == "broken"
    assert frontend.last.reason.startswith("StoreError: ")
    assert "the disk is full" in frontend.last.reason
    assert "\n" not in frontend.last.reason


def test_the_last_snapshot_says_what_was_wrong_with_the_items(store):
    """An iterable that raises breaks the run off, after what was running."""

    def items():
        yield from range(5)
        raise OSError("the list of items is gone\nentirely")

    frontend = RecordingFrontend()
    with pytest.raises(OSError, match="gone"):
        run(store, square, items(), frontend)
    assert (frontend.last.state, frontend.last.reason) == ("broken", "OSError: the list of items is gone")
    assert frontend.last.done == 5


# -- frontends that are no good --------------------------------------------------------------------


class Slow(RecordingFrontend):
    """A terminal at the other end of the world."""

    SECONDS = 0.05

    def show(self, snapshot):
        time.sleep(self.SECONDS)
        super().show(snapshot)


def test_a_slow_frontend_is_shown_less_and_the_run_completes(store, tmp_path):
    """Drawing takes a fifth of the time at most. It is shown the last snapshot all the same."""
    slow, gate = Slow(), tmp_path / "gate"

    def script(snapshot):
        if len(slow.snapshots) == 4:
            gate.touch()
        return []

    other = RecordingFrontend(script)
    assert run(store, wait_at_gate, [Item(gate)], slow, other).done == 1
    looks = [snapshot.elapsed for snapshot in slow.snapshots[:-1]]
    assert min(after - before for before, after in itertools.pairwise(looks)) >= 5 * Slow.SECONDS
    assert slow.last.done == 1
    assert slow.last == other.last
    assert slow.closed


class Bad(RecordingFrontend):
    """Does something wrong, the n-th time that one of its methods is called."""

    def __init__(self, method, what, times):
        super().__init__()
        self.method, self.what, self.times = method, what, times

    def bad(self, method):
        if method == self.method:
            self.times -= 1
        if method == self.method and self.times < 0:
            if isinstance(self.what, Exception):
                raise self.what
            return self.what
        return ()

    def show(self, snapshot):
        super().show(snapshot)
        self.bad("show")

    def controls(self):
        return self.bad("controls")

    def close(self):
        super().close()
        self.bad("close")


WRONG = {
    "it raises in show": ("show", RuntimeError("no")),
    "it raises in controls": ("controls", RuntimeError("no")),
    "it raises in close": ("close", RuntimeError("no")),
    "it asks for nothing that there is": ("controls", ["stop"]),
    "it hands back no list": ("controls", 3),
    "it wants no process at all": ("controls", [Resize(0)]),
    "it wants words of processes": ("controls", [Resize("four")]),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("times", [0, 1])
def test_a_bad_frontend_is_reported_once_and_costs_nothing(store, caplog, wrong, times):
    """By name; it is closed, whatever it did, and the others go on."""
    bad, good = Bad(*wrong, 0 if wrong[0] == "close" else times), RecordingFrontend()
    with caplog.at_level(logging.ERROR, "farmhand"):
        assert run(store, square, range(500), bad, good).done == 500
    assert store.values() == [k * k for k in range(500)]
    (record,) = caplog.records
    assert "progress frontend 'Bad' failed; the run goes on without it" in record.getMessage()
    assert bad.closed
    assert good.last.done == 500
    assert good.closed


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["show", "controls", "close", "detach"]), st.integers(0, 3)), max_size=4
    )
)
def test_whatever_frontends_do_all_results_are_stored(deeds):
    """Several at once, each with its own fault, at its own time, or closed by its user."""
    store = MemoryStore()
    wrong = {"detach": ("controls", [Detach()])}
    frontends = [Bad(*wrong.get(deed, (deed, RuntimeError(deed))), times) for deed, times in deeds]
    logging.getLogger("farmhand").addFilter(nothing)
    try:
        assert run(store, square, range(300), *frontends).done == 300
    finally:
        logging.getLogger("farmhand").removeFilter(nothing)
    assert store.values() == [k * k for k in range(300)]
    assert all(frontend.closed for frontend in frontends)


def nothing(record):
    """The reports are another test's business."""
    return False


def test_for_nobody_nothing_is_drawn_up(store, tmp_path):
    """With progress='none' no snapshot is made: no item, of which somebody could read, is put into words."""
    Item.looks = 0
    items = [Item(str(tmp_path / "gate"))]  # where it waits until the run's time is over
    assert run_tasks(store, wait_at_gate, items, start_method="fork", max_time=0.5, **FAST).stopped
    assert Item.looks == 0


# -- frontends that are closed ---------------------------------------------------------------------


def test_a_frontend_that_its_user_closes_is_closed_once_and_shown_nothing_more(store, tmp_path):
    """The run goes on, and so do the others; what was asked for before that counts."""
    gate = tmp_path / "gate"
    leaving = RecordingFrontend({1: [Resize(1), Detach(), Resize(7)]})

    def script(snapshot):
        if leaving.closed and snapshot.wanted != 2:
            gate.touch()
        return []

    staying = RecordingFrontend(script)
    run(store, touch_and_wait, [(str(tmp_path / "it"), str(gate))], leaving, staying)
    assert len(leaving.snapshots) == 2
    assert staying.last.wanted == 1
    assert staying.last.state == "finished"


def test_when_the_last_frontend_has_gone_the_run_goes_on_in_silence(store, tmp_path, capfd):
    """Nobody is told anything, and everything is stored."""
    gate = tmp_path / "gate"

    class Closing(RecordingFrontend):
        def close(self):
            super().close()
            gate.touch()  # only now the item can end

    frontend = Closing({0: [Detach()]})
    assert run(store, touch_and_wait, [(str(tmp_path / "it"), str(gate))], frontend, capture=0).done == 1
    assert len(frontend.snapshots) == 1
    assert capfd.readouterr() == ("", "")


def test_a_frontend_that_cannot_close_is_not_closed_again(store, caplog):
    """It is reported, as one that raises at any other time."""
    bad = Bad("close", RuntimeError("no"), 0)
    bad.controls = lambda: [Detach()]
    with caplog.at_level(logging.ERROR, "farmhand"):
        assert run(store, square, range(5), bad).done == 5
    assert len(caplog.records) == 1
    assert len(bad.snapshots) == 1
