"""What ``run_tasks`` promises, on real processes and with the store in memory.

Where a test has to do something while an item runs, that item waits for a file (a *gate*), and a
frontend, which the farm calls in this thread ten times a second, looks and acts.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm_tasks import (
    FAST,
    NoPickle,
    NoUnpickle,
    die_if_negative,
    draw,
    fail_until,
    is_alive,
    own_pid,
    pids_in,
    sleep_then_fail_or_return,
    square,
    square_unless_odd,
    touch_and_wait,
    write_pid,
)
from farmhand import (
    MemoryStore,
    ProcessesKeepDying,
    StoreError,
    TasksFailed,
    UnknownName,
    call,
    open_store,
    run_tasks,
    shipping,
)
from farmhand.events import Finish, Pause, Resize, Resume, Stop
from farmhand.testing.frontends import RecordingFrontend
from waiting import DEADLINE, wait_for, wait_until

METHODS = ["spawn", "fork"]
both = pytest.mark.parametrize("start_method", METHODS)


def run(store, task, items, *script, **kwds):
    """``run_tasks`` with two processes and no frontend, or with one that follows ``script``."""
    frontend = {"progress": RecordingFrontend(*script)} if script else {}
    return run_tasks(store, task, items, **{**FAST, "poolsize": 2, **frontend, **kwds})


@pytest.fixture
def store():
    return MemoryStore()


# -- completeness ----------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(
    plans=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([0, 0, 0, 0.001, 0.03]), st.integers(0, 3)), max_size=30
    ),
    poolsize=st.integers(1, 4),
    start_method=st.sampled_from(METHODS),
    retries=st.integers(0, 2),
    lazily=st.booleans(),
    recycle=st.none() | st.integers(1, 5),
)
def test_every_item_ends_exactly_once(plans, poolsize, start_method, retries, lazily, recycle):
    """Whatever the items, their durations and their failures: what is stored is what a loop gives."""
    store = MemoryStore()
    with tempfile.TemporaryDirectory() as folder:
        items = [
            (f"{index} {number}", seconds, failures, folder)
            for index, (number, seconds, failures) in enumerate(plans)
        ]
        summary = run(
            store,
            sleep_then_fail_or_return,
            iter(items) if lazily else items,
            poolsize=poolsize,
            start_method=start_method,
            retries=retries,
            backoff=0.01,
            recycle=recycle,
            errors="collect",
        )
    good = [item for item in items if item[2] <= retries]
    assert Counter(store.values()) == Counter((name, seconds) for name, seconds, _, _ in good)
    assert store.values() == [item[:2] for item in good], "they are read in the order of the items"
    assert [record.index for record in store.records()] == list(range(len(items)))
    assert {items[record.index] for record in store.failures()} == set(items) - set(good)
    assert (summary.done, summary.failed) == (len(good), len(items) - len(good))
    assert (summary.skipped, summary.stopped) == (0, False)
    assert all(
        record.attempts == items[record.index][2] + 1 for record in store.records() if not record.error
    )


def test_no_items_is_a_run_like_any_other(store):
    """It is remembered, and starts no process."""
    frontend = RecordingFrontend()
    assert run(store, square, [], progress=frontend).done == 0
    assert [info.outcome for info in store.runs()] == ["finished"]
    assert frontend.last.state == "finished"
    assert not any(snapshot.processes for snapshot in frontend.snapshots)


def test_many_tiny_items_are_all_stored(store):
    """In chunks of hundreds, of which none is lost or doubled."""
    assert run(store, square, range(20_000)).done == 20_000
    assert store.values() == [k * k for k in range(20_000)]


def test_results_are_joined_to_their_items(store):
    """Also when the item is too large to be kept: then a short text says what it was."""
    run(store, len, ["a", "b" * 1_000_000, "cc"])
    (first, (text, length), last) = store.pairs()
    assert (first, length, last) == (("a", 1), 1_000_000, ("cc", 2))
    assert "bbb" in text
    assert len(text) < 100


def test_a_path_is_opened_and_closed_again(tmp_path):
    """The store can be read at once, also by its path."""
    path = tmp_path / "results.db"
    try:
        run(path, square, range(5))
    except UnknownName:
        pytest.skip("needs farmhand-sqlite")
    with open_store(path) as store:
        assert store.values() == [0, 1, 4, 9, 16]


def test_two_farms_one_after_the_other(store):
    """Nothing of the first is left when the second begins, in the store or among the processes."""
    first = run(store, own_pid, range(4))
    pids = set(store.values())
    second = run(store, square, range(4))
    assert (first.run, second.run) == tuple(info.uid for info in store.runs())
    assert store.values()[4:] == [0, 1, 4, 9]
    assert not any(is_alive(pid) for pid in pids)


def test_a_farm_leaves_no_descriptors_behind(store):
    """A session in which hundreds of farms are run does not run out of them."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc")
    run(store, square, range(4))
    before = len(list(folder.iterdir()))
    for start_method in METHODS:
        run(store, square, range(4), start_method=start_method, recycle=1)
    assert len(list(folder.iterdir())) == before


# -- lazy items ------------------------------------------------------------------------------------


def test_an_infinite_generator_is_fine(store):
    """The run goes on until somebody says finish."""
    summary = run(
        store, square, itertools.count(), lambda snapshot: [Finish()] if snapshot.done >= 50 else []
    )
    assert summary.stopped
    assert summary.done >= 50
    assert all(result == item * item for item, result in store.pairs())
    assert len({item for item, _ in store.pairs()}) == summary.done == len(store)
    assert store.runs()[0].outcome == "stopped"


def test_items_are_read_only_as_they_are_needed(store, tmp_path):
    """While both processes are in their first item, only a handful were read."""
    read = 0

    def items():
        nonlocal read
        for k in range(1000):
            read += 1
            yield str(tmp_path / str(k)), str(tmp_path / "gate")

    read_at_gate = []

    def script(snapshot):
        if not read_at_gate and all((tmp_path / f"{k}.begun").exists() for k in range(2)):
            read_at_gate.append(read)
            (tmp_path / "gate").touch()
        return [Finish()] if snapshot.done else []

    run(store, touch_and_wait, items(), script)
    assert 2 <= read_at_gate[0] <= 6


def test_a_fast_generator_never_runs_far_ahead_of_the_store(store):
    """Memory stays flat: what was read but not stored is the work of a moment, not all items."""
    ahead = 0

    def items():
        nonlocal ahead
        for k in range(300_000):
            ahead = max(ahead, k - len(store))
            yield k

    assert run(store, square, items()).done == 300_000
    assert ahead < 100_000


@pytest.mark.parametrize("size", [1, 100_000], ids=["small", "large"])
def test_a_generator_may_use_one_object_for_all_its_items(store, size):
    """As simulations do with their state: each item is what it was when it was yielded."""
    np = pytest.importorskip("numpy")

    def items():
        state = np.zeros(size, np.uint8)
        for k in range(60):
            state[0] = k
            yield state if k % 2 else [state]

    first = lambda item: int(np.ravel(item)[0])  # noqa: E731
    run(store, first, items())
    assert store.values() == list(range(60))
    assert run(store, first, items(), resume=True).skipped == 60


def test_numitems_says_how_many_a_generator_will_give(store):
    """So that the time remaining can be told; a list says it itself."""
    for items, numitems, total in [
        (iter(range(6)), 6, 6),
        (iter(range(6)), None, None),
        (range(6), None, 6),
        (range(6), 5, 5),  # wrong: costs nothing but the estimate
    ]:
        frontend = RecordingFrontend()
        assert run(store, square, items, progress=frontend, numitems=numitems).done == 6
        assert {snapshot.total for snapshot in frontend.snapshots} == {total}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_iterable_that_raises_ends_the_run_after_what_is_running(store, tmp_path, error):
    """The running item finishes and is stored; then the very error is raised."""
    names = [str(tmp_path / name) for name in "ab"]
    gate = tmp_path / "gate"
    raised = error("the items are broken")

    def items():
        for name in names:
            yield name, str(gate)
        for name in names:
            wait_for(name + ".begun")
        raise raised

    def script(snapshot):
        if both_begun(names):
            gate.touch()
        return []

    with pytest.raises(error, match="the items are broken") as caught:
        # the generator waits inside the farm's loop, so that the next snapshot is after its error
        run(store, touch_and_wait, items(), script)
    assert caught.value is raised
    assert store.values() == names
    assert store.runs()[0].outcome == "broken"


def both_begun(names):
    return all(Path(name + ".begun").exists() for name in names)


def test_an_iterable_that_raises_at_once_starts_nothing(store):
    """There is no run to remember."""
    with pytest.raises(ZeroDivisionError):
        run(store, square, (1 / 0 for _ in range(3)))
    assert store.runs() == []


# -- controls --------------------------------------------------------------------------------------


def test_a_pause_pauses_and_a_resume_goes_on(store):
    """While the farm is paused nothing ends, for as many snapshots as one cares to look."""
    still = []

    def script(snapshot):
        if snapshot.state == "running" and snapshot.done and not still:
            return [Pause()]
        if snapshot.state == "paused":
            if all(view.index is None for view in snapshot.processes):
                still.append(snapshot.done)
            return [Resume()] if len(still) == 4 else []
        return []

    summary = run(store, sleep_then_fail_or_return, [(k, 0.005, 0, "") for k in range(100)], script)
    assert summary.done == 100
    assert len(still) == 4
    assert len(set(still)) == 1
    assert still[0] < 100


def test_a_farm_can_grow_and_shrink(store):
    """Up: there are more processes at once. Down: some leave when their item has ended."""
    sizes = [1, 3, 1, 2]
    seen: list[int] = []

    def script(snapshot):
        if len(seen) < len(sizes) and len(snapshot.processes) == sizes[len(seen)]:
            seen.append(len(snapshot.processes))
            return [Resize(size) for size in sizes[len(seen) : len(seen) + 1]]
        return []

    items = (
        (k, 0.01, 0, "") for k in itertools.takewhile(lambda k: len(seen) < len(sizes), itertools.count())
    )
    summary = run(store, sleep_then_fail_or_return, items, script, poolsize=1)
    assert seen == sizes
    assert store.values() == [(k, 0.01) for k in range(summary.done)], "one was lost on the way"
    assert {record.process for record in store.records()} <= {0, 1, 2}


@both
def test_finish_lets_running_items_end_and_begins_no_others(store, tmp_path, start_method):
    """Two are running: both are stored; the others were never begun."""
    items = [(str(tmp_path / str(k)), str(tmp_path / "gate")) for k in range(9)]
    begun = [str(tmp_path / str(k)) for k in range(2)]

    def script(snapshot):
        if snapshot.state == "finishing":
            (tmp_path / "gate").touch()
        return [Finish()] if both_begun(begun) else []

    summary = run(store, touch_and_wait, items, script, start_method=start_method)
    assert store.values() == begun
    assert (summary.done, summary.failed, summary.stopped) == (2, 0, True)
    assert len(list(tmp_path.glob("*.begun"))) == 2


@both
def test_stop_abandons_running_items(store, tmp_path, start_method):
    """Two are running, and would for ever: they are neither done nor failed; a resume runs them."""
    begun = [str(tmp_path / str(k)) for k in range(2)]
    items = [(name, str(tmp_path / "gate")) for name in begun]
    script = lambda snapshot: [Stop()] if both_begun(begun) else []  # noqa: E731
    summary = run(store, touch_and_wait, items, script, start_method=start_method)
    assert (summary.done, summary.failed, summary.stopped) == (0, 0, True)
    assert list(store.records()) == []
    (tmp_path / "gate").touch()
    assert run(store, touch_and_wait, items, resume=True).done == 2


def test_stop_stores_what_had_finished(store, tmp_path):
    """Results on their way are not thrown away."""
    quick = [call(str(tmp_path / f"quick{k}"), str(tmp_path)) for k in range(50)]
    slow = [call(str(tmp_path / f"slow{k}"), str(tmp_path / "gate")) for k in range(2)]
    begun = [item.args[0] for item in slow]
    run(store, touch_and_wait, quick + slow, lambda snapshot: [Stop()] if both_begun(begun) else [])
    assert store.values() == [item.args[0] for item in quick]


# -- what is shown ---------------------------------------------------------------------------------


def report_and_wait(gate, report):
    report.taskname = "deep inside"
    report(0.25)
    wait_for(gate)


def test_what_a_running_item_reports_is_shown(store, tmp_path):
    """Its fraction, its name, its item and its process; and it counts into the total."""
    seen = []

    def script(snapshot):
        for view in snapshot.processes:
            if view.complete is not None and not seen:
                seen.append((view, snapshot.complete))
                (tmp_path / "gate").touch()
        return []

    run(store, report_and_wait, [str(tmp_path / "gate")], script)
    ((view, complete),) = seen
    assert (view.number, view.index, view.complete, view.taskname) == (0, 0, 0.25, "deep inside")
    assert "gate" in view.item
    assert view.state == "busy"
    assert view.pid not in (None, os.getpid())
    assert complete == 0.25


def test_snapshots_tell_the_run_from_its_beginning_to_its_end(store):
    """Counts never go back; the last one is the whole run, and the frontend is closed after it."""
    frontend = RecordingFrontend()
    summary = run(store, square_unless_odd, range(400), progress=frontend, errors="collect")
    counts = [(snapshot.done, snapshot.failed) for snapshot in frontend.snapshots]
    assert counts == sorted(counts)
    last = frontend.last
    assert (last.state, last.done, last.failed, last.total, last.complete) == ("finished", 200, 200, 400, 1.0)
    assert (summary.done, summary.failed) == (200, 200)
    assert last.task == "square_unless_odd"
    assert "is odd" in str(last.failures[-1])
    assert frontend.closed


def test_several_frontends_see_the_same(store):
    """By name and as objects, side by side."""
    one, two = RecordingFrontend(), RecordingFrontend()
    run(store, square, range(4), progress=["none", one, two])
    assert one.last == two.last
    assert one.closed
    assert two.closed


# -- resume ----------------------------------------------------------------------------------------


def test_resume_skips_what_the_store_has(store):
    """By the content of the item, wherever it stands in the items."""
    run(store, square, range(10))
    summary = run(store, square, range(5, 15), resume=True)
    assert (summary.done, summary.skipped) == (5, 5)
    assert sorted(store.values()) == [k * k for k in range(15)]


def test_resume_with_everything_done_starts_nothing(store):
    """No process, and no run to remember; the frontend is told."""
    run(store, own_pid, range(10))
    frontend = RecordingFrontend()
    summary = run(store, own_pid, range(10), resume=True, progress=frontend)
    assert (summary.run, summary.done, summary.skipped) == ("", 0, 10)
    assert len(store.runs()) == 1
    assert (frontend.last.state, frontend.last.skipped) == ("finished", 10)
    assert frontend.closed


def test_resume_on_an_empty_store_is_a_run_like_any_other(store):
    """So that a script can always say it."""
    assert run(store, square, range(3), resume=True).done == 3


def test_without_resume_everything_runs_again(store):
    """It has to be asked for."""
    for _ in range(2):
        assert run(store, square, range(3)).skipped == 0
    assert sorted(store.values()) == [0, 0, 1, 1, 4, 4]


def test_equal_items_are_counted(store):
    """Of five equal items, of which the store has two, three run."""
    run(store, square, [3, 7, 3])
    summary = run(store, square, [3, 3, 8, 3, 3, 3], resume=True)
    assert (summary.done, summary.skipped) == (4, 2)
    assert sorted(store.values()) == [9] * 5 + [49, 64]


def test_items_that_are_equal_in_content_are_the_same(store):
    """Another object, or numpy's number instead of Python's: what is in it counts."""
    np = pytest.importorskip("numpy")
    count = lambda *args: len(args)  # noqa: E731
    run(store, count, [1.5, (1, [2, "x"]), {"a": 1, "b": 2}, np.arange(3)])
    again = [np.float64(1.5), (1, [2, "x"]), {"b": 2, "a": 1}, np.arange(3), np.arange(4)]
    assert run(store, count, again, resume=True).skipped == 4


def test_resume_goes_by_the_users_key(store):
    """The item may have changed where it does not matter."""
    key = lambda item: item["name"]  # noqa: E731
    run(store, len, [{"name": "a", "at": 1}, {"name": "b", "at": 1}], key=key)
    summary = run(store, len, [{"name": "b", "at": 2}, {"name": "c", "at": 2}], key=key, resume=True)
    assert (summary.done, summary.skipped) == (1, 1)


def test_resume_knows_large_items_too(store):
    """Of these only a fingerprint was stored."""
    large = ["x" * 200_000, "y" * 200_000]
    run(store, len, large[:1])
    assert run(store, len, large, resume=True).skipped == 1


def test_failed_items_run_again(store, tmp_path):
    """A result is what counts."""
    items = [(str(tmp_path), name, times) for name, times in [("good", 0), ("bad", 1)]]
    assert run(store, fail_until, items, errors="collect").failed == 1
    summary = run(store, fail_until, items, resume=True)
    assert (summary.done, summary.skipped) == (1, 1)
    assert sorted(store.values()) == ["bad", "good"]


def test_results_of_another_task_do_not_count(store):
    """The same item means something else to it."""
    run(store, square, range(3))
    assert run(store, square_unless_odd, [0, 2], resume=True).done == 2
    assert run(store, square, range(3), resume=True).skipped == 3


def test_a_total_counts_skipped_items(store):
    """The bar of a resumed run starts where it had stopped."""
    run(store, square, range(6))
    frontend = RecordingFrontend()
    run(store, square, range(10), resume=True, progress=frontend)
    assert (frontend.last.total, frontend.last.skipped, frontend.last.done) == (10, 6, 4)


def test_an_item_that_cannot_be_pickled_does_not_spoil_a_resume(store):
    """It has no fingerprint, so it cannot have been done."""
    run(store, square, [1])
    summary = run(store, square, [1, NoPickle(), 2], resume=True, errors="collect")
    assert (summary.done, summary.skipped, summary.failed) == (1, 1, 1)


# -- what goes wrong -------------------------------------------------------------------------------


@both
def test_an_item_that_cannot_be_pickled_fails_alone(store, start_method):
    """Before it is sent; the others of its chunk run."""
    items = [1, NoPickle(), 2, NoPickle(), *range(3, 50)]
    summary = run(store, square, items, errors="collect", start_method=start_method)
    assert (summary.done, summary.failed) == (49, 2)
    assert [record.index for record in summary.failures] == [1, 3]
    for record in summary.failures:
        assert record.error.kind == "unpicklable item"
        assert "NoPickle stays at home" in record.error.message
        assert record.process is None


@both
def test_an_item_that_cannot_be_made_again_fails_alone(store, start_method):
    """The process says so; the others of its chunk run."""
    items = [1, NoUnpickle(), 2, NoUnpickle(), *range(3, 50)]
    summary = run(store, square, items, errors="collect", start_method=start_method)
    assert (summary.done, summary.failed) == (49, 2)
    for record in summary.failures:
        assert record.error.kind == "unpicklable item"
        assert "NoUnpickle cannot be made again" in record.error.message


@pytest.mark.parametrize(
    "result", [NoPickle, NoUnpickle, lambda: (k for k in ())], ids=["out", "in", "generator"]
)
def test_a_result_that_cannot_travel_fails_alone(store, result):
    """Found in the process that made it, so that the store can always be read."""
    summary = run(store, lambda x: result() if x == 5 else x, range(10), errors="collect")
    assert (summary.done, summary.failed) == (9, 1)
    (record,) = summary.failures
    assert (record.index, record.error.kind) == (5, "unpicklable result")
    assert record.error.message.startswith("its result, a ")


def raise_something(item):
    if item == "exit":
        sys.exit("on purpose")
    if item == "interrupt":
        raise KeyboardInterrupt
    if item == "unpicklable":
        error = ValueError("with a lock in it")
        error.lock = threading.Lock()
        raise error
    if item == "no text":

        class Mute(Exception):
            def __str__(self):
                raise RuntimeError("no text")

        raise Mute
    if item == "surrogate":
        raise ValueError("\udc80")
    if item == "group":
        raise ExceptionGroup("several", [ValueError(1), KeyError(2)])
    return item


@both
def test_whatever_a_task_raises_is_that_items_failure(store, start_method):
    """``BaseException`` as well: the process stays, the others run, and nothing hangs."""
    bad = ["exit", "interrupt", "unpicklable", "no text", "surrogate", "group"]
    summary = run(store, raise_something, [*bad, "good"], errors="collect", start_method=start_method)
    assert (summary.done, summary.failed) == (1, len(bad))
    errors = [record.error for record in store.failures()]
    assert {error.kind for error in errors} == {"raised"}
    assert [error.type.split(".")[-1] for error in errors] == [
        "SystemExit", "KeyboardInterrupt", "ValueError", "Mute", "ValueError", "ExceptionGroup"
    ]  # fmt: skip
    assert all("in raise_something" in error.traceback for error in errors if "Mute" not in error.type)


@both
def test_a_process_that_dies_costs_one_item(store, start_method):
    """It fails with the reason; a new process takes the number, and the rest of the chunk."""
    items = [*range(100), -3, *range(100)]
    summary = run(store, die_if_negative, items, errors="collect", start_method=start_method)
    assert (summary.done, summary.failed) == (200, 1)
    assert str(summary.failures[0].error) == "process died: exit code 3"
    assert summary.failures[0].error.kind == "died"


def kill_own_process(number):
    if number:
        os.kill(os.getpid(), number)
    return number


def test_a_process_that_is_killed_costs_one_item(store):
    """As by the system, when memory is short."""
    summary = run(store, kill_own_process, [0, signal.SIGKILL, 0, signal.SIGSEGV, 0], errors="collect")
    assert summary.done == 3
    reasons = [str(record.error) for record in store.failures()]
    assert reasons == ["process died: signal 9 (SIGKILL)", "process died: signal 11 (SIGSEGV)"]


class DiesWhenMade:
    def __init__(self):
        os._exit(7)

    def __call__(self, item):
        return item


def test_processes_that_never_get_ready_end_the_run(store):
    """A broken set-up is no reason to start processes for ever."""
    with pytest.raises(ProcessesKeepDying, match=r"3 processes in a row.*exit code 7"):
        run(store, DiesWhenMade, range(100))
    assert store.runs()[0].outcome == "broken"


def test_an_item_that_runs_too_long_is_killed_with_all_it_started(store, tmp_path):
    """Also a program that the task has started; the others are not disturbed."""

    def hang(item):
        if item == "hangs":
            import subprocess
            import sys

            child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
            (tmp_path / "child").write_text(str(child.pid))
            child.wait()
        return item

    summary = run(store, hang, ["a", "hangs", "b"], timeout=1.5, errors="collect")
    assert store.values() == ["a", "b"]
    assert summary.failures[0].error.kind == "timeout"
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not is_alive(child), "the end of what the task had started")


def test_an_item_that_fails_is_tried_again_as_often_as_said(store, tmp_path):
    """And no more often; how often it took is recorded."""
    items = [(str(tmp_path), str(times), times) for times in range(4)]
    summary = run(store, fail_until, items, retries=2, errors="collect")
    assert store.values() == ["0", "1", "2"]
    assert [record.attempts for record in store.records()] == [1, 2, 3, 3]
    assert [record.error.message for record in summary.failures] == ["3: attempt 2"]


def test_an_item_whose_process_dies_is_tried_again_too(store, tmp_path):
    """A crash or a time-out is a failed attempt like any other."""

    def die_once(name):
        try:
            (tmp_path / name).touch(exist_ok=False)
        except FileExistsError:
            return name
        os._exit(1)

    assert run(store, die_once, ["a", "b", "c"], retries=1).done == 3


def test_tasks_failed_says_what_failed_and_what_to_do(store):
    """The first three in full, with their tracebacks; everything else was run and is stored."""
    with pytest.raises(TasksFailed) as caught:
        run(store, square_unless_odd, range(20))
    text = str(caught.value)
    first = r"10 of 20 items failed; the 10 others are stored\.\nBy kind: 10 raised\.\nitem (\d+): ValueError"
    assert re.match(first + r": \1 is odd\n", text)
    assert 'raise ValueError(f"{x} is odd")' in text
    assert text.count("Traceback") == 3
    assert "... and 7 more." in text
    assert "store.failures()" in text
    assert "errors='collect'" in text
    assert "resume=True" in text
    assert caught.value.summary.failed == 10
    assert len(store) == 10


def test_collect_returns_the_failures_instead(store):
    """The summary has the first hundred; the store has them all."""
    summary = run(store, square_unless_odd, range(300), errors="collect")
    assert (summary.done, summary.failed) == (150, 150)
    assert len(summary.failures) == 100
    assert [record.index for record in store.failures()] == list(range(1, 300, 2))
    assert all(record.error.type == "ValueError" for record in summary.failures)


class FullStore(MemoryStore):
    """Its disk is full after a few turns."""

    def __init__(self, turns):
        super().__init__()
        self.turns = turns

    def begin(self, run):
        session = super().begin(run)
        record = session.record

        def record_or_not(turn):
            self.turns -= 1
            if self.turns < 0:
                raise StoreError("results", "the disk is full", "Make room")
            record(turn)

        session.record = record_or_not
        return session


@both
def test_a_store_that_cannot_write_ends_the_run(tmp_path, start_method):
    """With its reason; what was committed is intact, and no process is left."""

    def task(x):
        write_pid(tmp_path)
        return x

    store = FullStore(turns=2)
    frontend = RecordingFrontend()
    with pytest.raises(StoreError, match=r"the disk is full\. Make room"):
        run(store, task, itertools.count(), start_method=start_method, progress=frontend)
    assert 1 <= len(store) == len(store.values())
    assert (store.runs()[0].outcome, frontend.last.state) == ("broken", "broken")
    assert frontend.closed
    assert pids_in(tmp_path)
    assert not any(is_alive(pid) for pid in pids_in(tmp_path))


# -- processes -------------------------------------------------------------------------------------


@both
def test_recycle_replaces_a_process_after_so_many_items(store, start_method):
    """For libraries that leak; all items run all the same."""
    run(store, own_pid, range(23), recycle=5, poolsize=1, start_method=start_method)
    runs_of = Counter(store.values())
    assert sorted(runs_of.values()) == [3, 5, 5, 5, 5]


def test_no_more_processes_than_items(store, tmp_path):
    """Four trivial items on a machine with 64 CPUs start four processes."""
    frontend = RecordingFrontend()
    run(store, own_pid, range(2), poolsize=8, progress=frontend)
    assert max(len(snapshot.processes) for snapshot in frontend.snapshots) <= 2


def test_the_random_numbers_of_an_item_depend_on_the_seed_alone(store):
    """Neither on the number of processes, nor on how they are started, nor on the order."""
    pytest.importorskip("numpy")
    results = []
    for poolsize, start_method in [(1, "spawn"), (3, "spawn"), (1, "fork"), (3, "fork")]:
        run(store, draw, range(40), seed=12, poolsize=poolsize, start_method=start_method)
        results.append(store.values()[-40:])
    assert results == [results[0]] * 4
    run(store, draw, range(40), seed=13)
    assert store.values()[-40:] != results[0]


def test_a_seed_that_was_drawn_is_stored_with_the_run(store):
    """So that every run can be repeated."""
    pytest.importorskip("numpy")
    run(store, draw, range(9))
    first = store.values()
    info = store.runs()[0]
    run(store, draw, range(9), seed=info.seed)
    assert store.values()[9:] == first
    run(store, square, range(9))
    assert store.runs()[-1].seed is None, "a task that takes no rng needs no seed"


# -- signals ---------------------------------------------------------------------------------------


def handlers_during(store, **kwds):
    """The handlers of SIGINT that are seen while a farm runs, and after it."""
    seen = []

    def script(snapshot):
        seen.append(signal.getsignal(signal.SIGINT))
        return []

    run(store, square, range(3), script, **kwds)
    return {*seen, signal.getsignal(signal.SIGINT)}


def test_a_farm_in_a_thread_leaves_signals_alone(store):
    """Only the main thread can handle them; the farm runs all the same."""
    results, before = [], signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=lambda: results.append(handlers_during(store)))
    thread.start()
    thread.join(DEADLINE)
    assert results == [{before}]
    assert store.values() == [0, 1, 4]


@pytest.mark.parametrize(
    "handler", [signal.SIG_IGN, lambda number, frame: None], ids=["nohup", "the user's own"]
)
def test_a_handler_that_is_not_pythons_own_stays(store, handler):
    """A farm started under nohup is not stopped by a Ctrl-C; a host program knows what it does."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        assert handlers_during(store) == {handler}
    finally:
        signal.signal(signal.SIGINT, before)


def test_pythons_own_handler_is_put_back(store):
    """After the farm a Ctrl-C is what it was."""
    during = handlers_during(store)
    assert signal.default_int_handler in during
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert len(during) == 2, "the farm did not listen to Ctrl-C"


def test_a_handler_of_brian_is_pythons_own_while_no_simulation_runs(store, brian2):
    """Most scripts of its users import it first, and a Ctrl-C must stop their farms as well."""
    handler = brian2._int_handler
    before = signal.signal(signal.SIGINT, handler)
    try:
        during = handlers_during(store)
        assert len(during) == 2, "the farm did not listen to Ctrl-C"
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


FARM = """\
import itertools, os, signal, sys, threading
from pathlib import Path
sys.path[:0] = {tests!r}
from farm_tasks import write_pid
from waiting import wait_for, wait_until
from farmhand import open_store, run_tasks

folder = Path({folder!r})
store = open_store({location!r})

class Show:
    def show(self, snapshot):
        (folder / snapshot.state).touch()
        (folder / f"done{{snapshot.done}}").touch()
    def controls(self): return ()
    def close(self): pass

def task(k):
    write_pid(folder / "pids")
    if k >= 10:
        (folder / f"begun{{k}}").touch()
        {block}
    return k

def go(**kwds):
    return run_tasks(store, task, range(20), poolsize=2, progress=Show(), **dict(kwds, {options}))
"""


class Farm:
    """A script with a farm of two processes: ten items are quick, ten wait for ever, or for a gate."""

    def __init__(self, folder, *, block="wait_for(folder / 'gate')", location=":memory:", options=""):
        self.folder = folder
        self.pids = folder / "pids"
        self.pids.mkdir()
        tests = [*map(str, Path(__file__).parents[:2])]
        self.source = FARM.format(
            tests=tests, folder=str(folder), location=str(location), block=block, options=options
        )
        self.process = None

    def start(self, body):
        """Run the script in a process group of its own, as a shell would, until both are in long items."""
        path = self.folder / "script.py"
        path.write_text(self.source + textwrap.dedent(body))
        self.process = subprocess.Popen(
            [sys.executable, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        wait_until(
            lambda: len(list(self.folder.glob("begun*"))) == 2 or self.process.poll() is not None, "the items"
        )
        return self

    def ctrl_c(self):
        """What a terminal does: every process of the group gets the signal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self):
        """Wait for the script; what it printed."""
        out, err = self.process.communicate(timeout=DEADLINE)
        assert pids_in(self.pids)
        wait_until(lambda: not any(map(is_alive, pids_in(self.pids))), "the end of the processes")
        return out.strip(), err

    def kill(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.kill()
            for pid in filter(
                is_alive, pids_in(self.pids)
            ):  # a frozen one does not notice that its farm is gone
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def farm(tmp_path):
    farms = []

    def make(**kwds):
        farms.append(Farm(tmp_path, **kwds))
        return farms[-1]

    yield make
    for each in farms:
        each.kill()


INTERRUPTED = """
    try:
        go()
    except KeyboardInterrupt:
        print(store.values(), [run.outcome for run in store.runs()], len(store.failures()))
        raise
"""


@both
def test_ctrl_c_stores_what_has_finished_and_leaves_nobody(farm, start_method):
    """Then it is a KeyboardInterrupt as ever: a traceback, and the exit status that shells expect."""
    running = farm(options=f"start_method={start_method!r}").start(INTERRUPTED)
    running.ctrl_c()
    out, err = running.end()
    assert out == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9] ['stopped'] 0"
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert err.count("Traceback") == 1, "a worker has said something as well"
    assert running.process.returncode == -signal.SIGINT


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_ends_processes_that_do_not_answer(farm, presses):
    """A process that is frozen, or deep in C, is killed after its grace, or at the second Ctrl-C."""
    # frozen only when the other one has its item too: it could not hand over what waits in it
    both_busy = "wait_until(lambda: len(list(folder.glob('begun*'))) == 2)"
    block = f"wait_for(folder / 'done10'); {both_busy}; os.kill(os.getpid(), signal.SIGSTOP)"
    frozen = farm(block=block).start(INTERRUPTED)
    wait_for(frozen.folder / "done10")
    frozen.ctrl_c()
    if presses == 2:
        wait_until(
            lambda: (frozen.folder / "stopping").exists() or frozen.process.poll() is not None, "the first"
        )
        frozen.ctrl_c()
    out, err = frozen.end()
    assert out.startswith("[0, 1, 2, 3, 4, 5, 6, 7, 8, 9] [")
    assert err.rstrip().endswith("KeyboardInterrupt")


TERMINATED = """
    try:
        go()
    except SystemExit as leaving:
        print(store.values(), [run.outcome for run in store.runs()], leaving.code)
        assert not store.failures()
        raise
"""


@both
@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_what_asks_the_script_to_end_stores_what_has_finished(farm, start_method, name, status):
    """SIGTERM comes from batch systems before they kill, SIGHUP from a terminal that is closed."""
    running = farm(options=f"start_method={start_method!r}").start(TERMINATED)
    running.process.send_signal(getattr(signal, name))
    out, err = running.end()
    assert out == f"[0, 1, 2, 3, 4, 5, 6, 7, 8, 9] ['stopped'] {status}"
    assert err == ""
    assert running.process.returncode == status


@both
def test_a_batch_system_that_sends_it_to_all_processes_costs_nothing(farm, start_method):
    """Not even the running items are failures then: they are run again."""
    running = farm(options=f"start_method={start_method!r}").start(TERMINATED)
    for pid in pids_in(running.pids):
        os.kill(pid, signal.SIGTERM)
    running.process.send_signal(signal.SIGTERM)
    out, _ = running.end()
    assert out == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9] ['stopped'] 143"


@both
def test_a_task_that_blocks_signals_is_stopped_all_the_same(farm, start_method):
    """Whatever it does with signals, and although it never comes back from C code."""
    # only when the other one has its item too: it could not hand over what waits in it
    both_busy = "wait_until(lambda: len(list(folder.glob('begun*'))) == 2)"
    deaf = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); any(iter(int, 1))"
    block = f"wait_for(folder / 'done10'); {both_busy}; {deaf}"
    running = farm(
        options=f"start_method={start_method!r}", block=block.replace("{", "{{").replace("}", "}}")
    )
    running.start(INTERRUPTED).ctrl_c()
    out, err = running.end()
    assert out.startswith("[0, 1, 2, 3, 4, 5, 6, 7, 8, 9] [")
    assert err.rstrip().endswith("KeyboardInterrupt")


def test_ctrl_c_under_nohup_is_nothing(farm):
    """The signal is ignored before the farm starts, so it stays ignored."""
    running = farm().start("""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        go()
        print(len(store), store.runs()[0].outcome)
    """)
    running.ctrl_c()
    (running.folder / "gate").touch()
    out, err = running.end()
    assert (out, err) == ("20 finished", "")


def test_a_farm_that_was_killed_outright_is_resumed(farm, tmp_path):
    """SIGKILL half-way: its processes go, what was committed is there, the rest runs, none twice."""
    path = tmp_path / "results.db"
    try:
        open_store(path).close()
    except UnknownName:
        pytest.skip("needs farmhand-sqlite")
    running = farm(location=path).start("go()")
    with open_store(path) as store:  # readable while the farm is writing
        wait_until(lambda: len(store) == 10, "ten results")
        assert store.values() == list(range(10))
        running.process.kill()
        running.end()
    for name in tmp_path.glob("begun*"):
        name.unlink()
    (tmp_path / "gate").touch()
    again = running.start("summary = go(resume=True)\nprint(summary.done, summary.skipped)")
    assert again.end() == ("10 10", "")
    with open_store(path) as store:
        assert Counter(store.values()) == Counter(range(20))
        assert [info.outcome for info in store.runs()] == ["", "finished"]


def test_ctrl_c_reaches_a_generator_that_blocks(store):
    """Its next item may be hours away; what has finished is stored all the same."""

    def slow_to_come():
        yield 7
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: False)

    with pytest.raises(KeyboardInterrupt):
        run(store, square, slow_to_come(), poolsize=1, numitems=10**6)
    assert store.values() == [49]
    assert [each.outcome for each in store.runs()] == ["stopped"]


def test_what_a_slow_generator_has_given_is_not_kept_waiting(store):
    """The farm would like many tiny items at once, but it does not wait for them."""
    most_behind = 0

    def slow_to_come():
        nonlocal most_behind
        for k in range(60):
            most_behind = max(most_behind, k - len(store))
            time.sleep(0.02)
            yield k

    run(store, square, slow_to_come(), poolsize=2)
    assert len(store) == 60
    assert most_behind < 30


class Interrupting:
    """Presses Ctrl-C while it is pickled."""

    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGINT)
        return int, (1,)


def test_ctrl_c_while_items_are_encoded_loses_nothing(store):
    """What has just finished is stored in the same turn of the loop that reads the next items."""
    with pytest.raises(KeyboardInterrupt):
        run(store, square, [0, *[Interrupting()] * 20], poolsize=1)
    assert store.values() == [0]
    assert [each.outcome for each in store.runs()] == ["stopped"]


# -- what is kept so that an item can be run again -----------------------------------------------------


def test_the_store_has_what_processes_were_sent(store):
    """The task of a script exists nowhere else once the script has ended."""

    def local(k):
        return k + 1

    run_tasks(store, local, [1, 2], **FAST)
    [run] = store.runs()
    [task] = store.shipped(run.uid)
    assert shipping.receive(task).make(0, lambda *report: None)(0, 41) == 42


def test_large_data_that_a_task_brings_along_is_not_kept(store):
    """The store would grow by it with each run."""
    data = os.urandom(2 << 20)

    def local(k):
        return len(data) + k

    run_tasks(store, local, [1], **FAST)
    assert store.values() == [len(data) + 1]
    assert store.shipped(store.runs()[0].uid) == []
