"""What a run may cost: time-outs, memory, failures, time; what tasks print; and how a run is stopped."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from farm_tasks import (
    FAST,
    fail_until,
    is_alive,
    leave_a_trace,
    pids_in,
    square,
    square_unless_odd,
    touch_and_wait,
)
from farmhand import MemoryStore, ProcessesKeepDying, TasksFailed, UsageError, call, run_tasks
from farmhand.testing.frontends import RecordingFrontend
from waiting import wait_for, wait_until

both = pytest.mark.parametrize("start_method", ["spawn", "fork"])
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is known on Linux alone")


def run(store, task, items, **kwds):
    return run_tasks(store, task, items, **{**FAST, "poolsize": 2, "errors": "collect", **kwds})


@pytest.fixture
def store():
    return MemoryStore()


# -- attempts --------------------------------------------------------------------------------------


def test_every_attempt_that_failed_is_data(store, tmp_path):
    """What went wrong on the way is there to be read, though the item was done in the end."""
    items = [(str(tmp_path), "late", 2), (str(tmp_path), "good", 0)]
    summary = run(store, fail_until, items, retries=3, backoff=0.001)
    assert (summary.done, summary.failed, store.failures()) == (2, 0, [])
    assert [(record.index, record.attempts) for record in store.retried()] == [(0, 1), (0, 2)]
    for record in store.retried():
        assert record.error.kind == "raised"
        assert record.error.message == f"late: attempt {record.attempts - 1}"
        assert "fail_until" in record.error.traceback
    assert [record.attempts for record in store.records()] == [3, 1]


def die_or_raise(name: str, folder: str) -> str:
    """Dies twice, then raises for ever."""
    for attempt in range(2):
        mark = Path(folder, f"{name}{attempt}")
        if not mark.exists():
            mark.touch()
            os._exit(1)
    raise ValueError("after all")


def test_retries_go_by_kind(store, tmp_path):
    """An item that kills its process again and again is given up after its own attempts."""
    summary = run(store, die_or_raise, [("a", str(tmp_path))], retries={"died": 5}, backoff=0.001)
    assert summary.kinds == {"raised": 1}
    assert [record.error.kind for record in store.retried()] == ["died", "died"]
    assert store.failures()[0].attempts == 3


def die_if_three(x: int) -> int:
    if x == 3:
        os._exit(5)
    return x


@both
def test_an_item_that_always_kills_its_process_takes_no_other_with_it(store, start_method):
    """Whichever items were sent together with it."""
    summary = run(store, die_if_three, range(200), retries={"died": 3}, backoff=0, start_method=start_method)
    assert (summary.done, summary.failed) == (199, 1)
    assert [record.index for record in store.retried()] == [3, 3, 3]
    assert store.failures()[0].error.message == "process died: exit code 5"


@pytest.mark.parametrize("retries", [{"dead": 1}, {"unpicklable item": 1}, {"died": -1}, {"died": "x"}])
def test_retries_that_mean_nothing_are_refused(store, retries):
    """With the kinds there are."""
    with pytest.raises(UsageError, match=r"retries|raised, died, timeout, memory"):
        run(store, square, range(3), retries=retries)


def test_resume_done_leaves_failures_alone(store):
    """They are done with; resume=True runs them again."""
    run(store, square_unless_odd, range(10))
    again = run(store, square_unless_odd, range(12), resume="done")
    assert (again.skipped, again.done, again.failed) == (10, 1, 1)
    again = run(store, square_unless_odd, range(12), resume=True)
    assert (again.skipped, again.done, again.failed) == (6, 0, 6)
    again = run(store, square_unless_odd, range(12), resume="done")
    assert (again.skipped, again.done, again.failed) == (12, 0, 0)


def test_a_way_to_resume_that_means_nothing_is_refused(store):
    with pytest.raises(UsageError, match="'done'"):
        run(store, square, range(3), resume="yes")


def test_tasks_failed_counts_the_kinds_and_says_where_the_rest_is(store):
    """Thousands of failures are told by three of them."""
    with pytest.raises(TasksFailed) as caught:
        run(store, die_or_odd, range(8), errors="raise")
    text = str(caught.value)
    assert "5 of 8 items failed; the 3 others are stored." in text
    assert "By kind: 4 raised, 1 died." in text
    assert "... and 2 more." in text
    assert "store.failures()" in text


def test_tasks_failed_has_the_last_words_of_a_process_that_died(store, tmp_path):
    """A crash in C leaves no traceback, but the interpreter says where it was."""
    with pytest.raises(TasksFailed) as caught:
        run(store, crash, [1], errors="raise")
    assert "item 0: process died: signal 11 (SIGSEGV)" in str(caught.value)
    assert "    about to crash" in str(caught.value)
    assert "in crash" in str(caught.value)


def crash(x: int) -> None:
    import ctypes

    print("about to crash")
    ctypes.string_at(0)


def die_or_odd(x: int) -> int:
    if x == 0:
        os._exit(9)
    return square_unless_odd(x)


# -- time-outs -------------------------------------------------------------------------------------


def wait_if(x: int, gate: str) -> int:
    if x == 7:
        wait_for(gate)  # longer than anybody has patience for
    return x


def test_a_time_out_can_be_a_multiple_of_the_median(store, tmp_path):
    """Nobody needs to know beforehand how long items take."""
    items = [(x, str(tmp_path / "never")) for x in range(10)]
    summary = run(store, wait_if, items, timeout="5x")
    assert (summary.done, summary.kinds) == (9, {"timeout": 1})
    [failure] = store.failures()
    assert failure.index == 7
    assert failure.seconds >= 1.0, "what takes less than a second is not killed"


@pytest.mark.parametrize("timeout", ["5", "x", "1x", "-3x", "nanx", 0, -1, True, "fivex"])
def test_a_time_out_that_means_nothing_is_refused(store, timeout):
    with pytest.raises(UsageError, match="timeout"):
        run(store, square, range(3), timeout=timeout)


# -- memory ----------------------------------------------------------------------------------------


def use_memory(megabytes: int, folder: str) -> int:
    kept = bytearray(megabytes << 20)
    for place in range(0, len(kept), 4096):
        kept[place] = 1
    if megabytes > 200:
        wait_for(Path(folder, "never"))
    return len(kept) >> 20


@linux
@both
def test_an_item_that_uses_too_much_memory_fails_alone(store, tmp_path, start_method):
    """Long before the computer swaps; it is said what happened, and how much it was."""
    items = [(1, str(tmp_path)), (400, str(tmp_path)), (2, str(tmp_path))]
    limit = "300 MB" if start_method == "spawn" else 300_000_000 + memory_of_a_copy()
    summary = run(store, use_memory, items, memory_limit=limit, start_method=start_method)
    assert (summary.done, summary.kinds) == (2, {"memory": 1})
    [failure] = store.failures()
    assert "memory_limit" in failure.error.message
    assert failure.memory > 300_000_000


def memory_of_a_copy() -> int:
    """What a forked process has from the start: not all that this one has, such as pages of libraries."""
    import psutil

    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.read(read, 1)
        os._exit(0)
    try:
        return int(psutil.Process(child).memory_info().rss)
    finally:
        os.write(write, b".")
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)


@linux
def test_what_a_task_started_counts_as_well(store, tmp_path):
    """A compiled simulation is a process of its own."""
    code = "import signal; kept = bytearray(b'1') * (400 << 20); signal.pause()"
    summary = run(store, run_program, [code], memory_limit="300 MB")
    assert summary.kinds == {"memory": 1}


def run_program(code: str) -> int:
    import subprocess

    return subprocess.run([sys.executable, "-c", code], check=True).returncode


class Greedy:
    def __init__(self) -> None:
        self.kept = bytearray(b"1") * (400 << 20)
        signal.pause()  # until somebody has noticed, and kills it

    def __call__(self, x: int) -> int:
        return x


@linux
def test_a_task_that_needs_too_much_memory_to_be_made_ends_the_run(store):
    """Else it would be made and killed for ever."""
    with pytest.raises(ProcessesKeepDying, match="memory"):
        run(store, Greedy, range(3), poolsize=1, memory_limit="300 MB")


def use_for_a_while(megabytes: int) -> int:
    kept = bytearray(b"1") * (megabytes << 20)
    time.sleep(0.03)  # items of a few milliseconds are not worth a look
    return len(kept) >> 20


@linux
def test_the_most_memory_of_each_item_is_recorded(store):
    """Of that item, and not of a larger one before it."""
    run(store, use_for_a_while, [10, 300, 20], poolsize=1)
    small, large, small_again = [record.memory for record in store.records()]
    assert large - small > 250 << 20
    assert large - small_again > 250 << 20


@linux
def test_a_process_that_the_system_killed_for_memory_is_named_as_such(store, tmp_path):
    """Not just as one that got signal 9: in a real control group with too little memory."""
    group = Path("/sys/fs/cgroup/memory", f"farmhand-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(200 << 20))
    except OSError as error:
        if group.exists():
            group.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    try:
        summary = run(store, join_and_use_memory, [(str(group), 400), (str(group), 1)], poolsize=1)
        assert (summary.done, summary.kinds) == (1, {"memory": 1})
        assert "run out of memory" in store.failures()[0].error.message
    finally:
        group.rmdir()


def join_and_use_memory(group: str, megabytes: int) -> int:
    Path(group, "cgroup.procs").write_text(str(os.getpid()))
    kept = bytearray(b"1") * (megabytes << 20)
    return len(kept)


def test_while_memory_is_short_items_are_begun_one_at_a_time(store, tmp_path, monkeypatch):
    """The run goes on, so that it ends, but never with two items at once."""
    from farmhand import resources

    monkeypatch.setattr(resources, "free_memory", lambda: (10, 10**9))
    items = [(str(tmp_path / "running"), str(tmp_path / f"gate {item}")) for item in range(6)]
    seen = set()

    def script(snapshot):
        busy = {view.index for view in snapshot.processes if view.index is not None}
        for index in busy & seen:  # it still runs at the second look: others have had their time to begin
            Path(items[index][1]).touch()
        seen.update(busy)
        return []

    assert run(store, alone, items, poolsize=3, progress=RecordingFrontend(script)).done == 6


def alone(mark: str, gate: str) -> str:
    Path(mark).mkdir()  # fails when another one is there
    wait_for(gate)
    Path(mark).rmdir()
    return gate


@pytest.mark.parametrize("limit", ["much", "2 XB", 0, -5, True, "", "GB", None.__class__])
def test_a_memory_limit_that_means_nothing_is_refused(store, limit):
    with pytest.raises(UsageError, match="memory_limit must be a size"):
        run(store, square, range(3), memory_limit=limit)


# -- stopping early --------------------------------------------------------------------------------


def test_so_many_failures_are_enough(store):
    """What is done is kept, and the summary says why it stopped."""
    summary = run(store, square_unless_odd, range(10_000), max_failures=3)
    assert summary.stopped
    assert summary.reason == "max_failures=3 is reached"
    assert summary.failed >= 3
    assert summary.done == len(store) < 5000
    assert [info.outcome for info in store.runs()] == ["stopped"]


def test_after_max_time_the_run_stops(store, tmp_path):
    """Also when nothing happens any more by then."""
    items = [call(str(tmp_path / str(item)), str(tmp_path / "never")) for item in range(3)]
    summary = run(store, touch_and_wait, items, max_time=0.3)
    assert (summary.stopped, summary.done) == (True, 0)
    assert summary.reason == "max_time=0.3 s is over"


def test_the_newest_records_can_say_that_it_is_enough(store):
    """They are in the store when they are shown, so that results can be looked at."""
    seen = []

    def enough(records):
        seen.extend(records)
        return any(store[record.key] == 49 for record in records)

    summary = run(store, square, range(100_000), stop_when=enough)
    assert summary.stopped
    assert summary.reason == "stop_when said so"
    assert 49 in store.values()
    assert len(store) < 100_000
    assert {record.key for record in seen} <= set(store.keys())
    assert len({record.key for record in seen}) == len(seen)


def test_a_stop_when_that_raises_ends_the_run_and_loses_nothing(store):
    """It is the script's own mistake, so the script gets it."""

    def broken(records):
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        run(store, square, range(1000), stop_when=broken)
    assert len(store) > 0
    assert [info.outcome for info in store.runs()] == ["broken"]


def test_a_run_with_limits_that_are_not_reached_is_a_run_like_any_other(store):
    summary = run(store, square, range(100), max_failures=1, max_time=1000.0, stop_when=lambda records: False)
    assert (summary.done, summary.stopped, summary.reason) == (100, False, "")


# -- what tasks print ------------------------------------------------------------------------------


def speak(x: int, way: str) -> int:
    import logging
    import subprocess

    if way == "print":
        print(f"item {x}", "µ")
    elif way == "stderr":
        print(f"item {x} µ", file=sys.stderr)
    elif way == "descriptor":
        os.write(2, f"item {x} µ\n".encode())
    elif way == "program":
        subprocess.run(["printf", f"item {x} µ\\n"], check=True)
    elif way == "logging":
        logging.getLogger().handlers.clear()  # what a forked process has from the tests
        logging.getLogger("milking").warning("item %d µ", x)
    elif way == "raise":
        print(f"item {x} µ")
        raise ValueError(x)
    elif way == "die":
        print(f"item {x} µ", end="\n")
        os._exit(3)
    return x


@both
@pytest.mark.parametrize("way", ["print", "stderr", "descriptor", "program", "logging", "raise", "die"])
def test_what_an_item_prints_is_kept_with_it(store, way, start_method, capfd):
    """However it is printed, and whatever becomes of the item; and it is not on this script's streams."""
    run(store, speak, [(x, way if x % 2 else "silently") for x in range(8)], start_method=start_method)
    for record in store.records():
        assert store.output(record.key) == (f"item {record.index} µ\n" if record.index % 2 else "")
    out, err = capfd.readouterr()
    assert "item" not in out + err


def test_what_tiny_items_print_is_kept_with_each_of_them(store):
    """Python's streams tell who prints, however many items have printed nothing before."""
    run(store, print_now_and_then, range(20_000), poolsize=2)
    printed = {record.index: store.output(record.key) for record in store.records()}
    wanted = {x: f"item {x}\n" if x % 1000 == 999 else "" for x in range(20_000)}
    assert {x: text for x, text in printed.items() if text != wanted[x]} == {}


def print_now_and_then(x: int) -> None:
    if x % 1000 == 999:
        print("item", x)


def test_what_tiny_items_print_past_python_is_not_lost(store):
    """An item that ended soon after may get it, as nobody is asked after each; but all is there, in order."""
    run(store, write_now_and_then, range(20_000), poolsize=1)
    printed = [(record.index, store.output(record.key)) for record in store.records()]
    assert "".join(text for _, text in printed) == "".join(f"item {x}\n" for x in range(999, 20_000, 1000))
    for index, text in printed:
        for line in text.splitlines():
            assert int(line.split()[1]) <= index


def write_now_and_then(x: int) -> None:
    if x % 1000 == 999:
        os.write(1, f"item {x}\n".encode())


def test_of_an_endless_output_the_end_is_kept(store):
    """And no disk is filled: a task may print gigabytes."""
    run(store, print_much, [1000, 3], poolsize=1, capture=1000)
    much, little = (store.output(record.key) for record in store.records())
    assert len(much) == 1000
    assert much.endswith("line 999\n")
    assert little == "line 0\nline 1\nline 2\n"


def print_much(lines: int) -> None:
    for line in range(lines):
        print("line", line)


def test_while_an_item_prints_without_end_its_file_stays_small(store, tmp_path):
    """The farm cuts it to its end now and then; the item need not have ended for that."""
    run(store, print_until_it_is_cut, [0], poolsize=1, timeout=60)
    assert "the file was cut" in store.output(store.keys()[0])


def print_until_it_is_cut(x: int) -> None:
    while os.fstat(1).st_size < 2 << 20:
        os.write(1, b"x" * 65536)
    wait_until(lambda: os.fstat(1).st_size < 2 << 20, "somebody to cut the file")
    print("the file was cut")


def test_without_capture_tasks_print_where_the_script_does(store, capfd):
    """For a debugger, say; then nothing is kept."""
    run(store, speak, [(1, "print")], capture=0)
    assert "item 1 µ" in capfd.readouterr().out
    assert store.output(store.keys()[0]) == ""


def test_what_was_printed_is_shown_once_the_item_has_ended(store):
    """By frontends that care; it is in the snapshot after."""
    frontend = RecordingFrontend()
    run(store, speak, [(x, "print") for x in range(3)], progress=frontend)
    shown = [output for snapshot in frontend.snapshots for output in snapshot.outputs]
    assert sorted((output.index, output.text) for output in shown) == [(x, f"item {x} µ\n") for x in range(3)]


def test_verbose_prints_it_without_garbling_the_progress(store, capfd):
    """Whole lines, each with the number of its item."""
    run_tasks(store, speak, [(x, "print") for x in range(3)], gui=False, verbose=True, progress="text")
    lines = capfd.readouterr().err.splitlines()
    assert {f"[{x}] item {x} µ" for x in range(3)} <= set(lines)


def test_an_interpreter_that_does_not_start_says_what_it_printed(store):
    """The reason is in the error, and not lost with the process."""
    with pytest.raises(ProcessesKeepDying, match="this is why"):
        run(store, NeverReady, range(3), poolsize=1)


class NeverReady:
    def __init__(self) -> None:
        print("this is why")
        os._exit(1)

    def __call__(self, x: int) -> int:
        return x


# -- farms in farms --------------------------------------------------------------------------------


def nested(x: int) -> tuple[int, int, list[int]]:
    from farmhand.cpus import cpu_count

    inner = MemoryStore()
    run_tasks(inner, square, range(x), gui=False, progress="none")
    return x, cpu_count(), inner.values()


@both
def test_a_task_may_run_a_farm_of_its_own(store, start_method):
    """Which by default has the CPUs of its process alone."""
    from farmhand.cpus import cpu_count

    run(store, nested, [3, 5], poolsize=2, start_method=start_method)
    share = max(1, cpu_count() // 2)
    assert store.values() == [(x, share, [k * k for k in range(x)]) for x in (3, 5)]


def test_a_parent_with_threads_and_locks_is_safe_by_default(store):
    """A copy of it would hold locks that nobody in the copy can release."""
    import threading

    lock, stop = threading.Lock(), threading.Event()
    busy = threading.Thread(target=lambda: [lock.acquire(), stop.wait()])
    busy.start()
    try:
        assert run(store, square, range(10)).done == 10
    finally:
        stop.set()
        busy.join()


def test_bad_numbers_start_nothing(store, tmp_path):
    """Every limit is looked at before a process is."""
    for options in (
        {"max_failures": 0},
        {"max_failures": 1.5},
        {"max_time": 0},
        {"max_time": "long"},
        {"backoff": -1},
        {"stop_when": "soon"},
        {"capture": -1},
    ):
        [name] = options
        with pytest.raises(UsageError, match=name):
            run(store, leave_a_trace, [str(tmp_path)], **options)
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def pool_in_task(x: int) -> list[int]:
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-x, x])


@both
def test_a_task_may_use_a_pool_of_its_own(store, start_method):
    """Whose processes are ended by SIGTERM, which must therefore mean to them what it always means."""
    run(store, pool_in_task, [1, 2], start_method=start_method)
    assert store.values() == [[1, 1], [2, 2]]


def start_elsewhere(folder: str) -> None:
    import subprocess

    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(folder, str(child.pid)).touch()
    child.wait()


@linux
def test_what_a_task_started_in_a_session_of_its_own_is_killed_too(store, tmp_path):
    """A time-out ends the program that the task started, however it was started."""
    assert run(store, start_elsewhere, [str(tmp_path)], timeout=0.5).kinds == {"timeout": 1}
    [pid] = pids_in(tmp_path)
    wait_until(lambda: not is_alive(pid), "the end of the program")


def test_a_process_that_cannot_be_started_ends_the_run_with_the_reason(store):
    """Here the limit of open files; the error says what to do."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 25, limits[1]))
    try:
        with pytest.raises(
            ProcessesKeepDying, match=r"could not be started \(Too many open files\); use fewer"
        ):
            run(store, square, range(1000), poolsize=30)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
