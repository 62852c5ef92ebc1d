"""Processes of this machine: the contract of all executors, then what only real processes can do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import waiting
from farmhand.cpus import cpu_count
from farmhand.events import ItemsDone, ProcessDied
from farmhand.local.supervise import LocalExecutor
from farmhand.testing.executors import ExecutorConformance, eventually, is_alive, note, when_there

posix = pytest.mark.skipif(os.name != "posix", reason="signals and process groups are POSIX's")
MB = 1_000_000
OS = "__import__('os')"


class LocalConformance(ExecutorConformance):
    """What both start methods promise."""

    @pytest.fixture
    def executor_factory(self):
        return LocalExecutor

    # -- deaths --------------------------------------------------------------------------------------

    @posix
    def test_a_process_that_is_killed_from_outside_names_the_signal(self, drive):
        """As the kernel does when memory runs out."""
        farm = drive()
        os.kill(farm.start(0), signal.SIGKILL)
        assert farm.next(ProcessDied, 0).reason == "signal 9 (SIGKILL)"

    def test_a_process_that_ends_itself_names_the_exit_code(self, drive):
        """os._exit says nothing to anybody else."""
        farm = drive()
        farm.start(0)
        farm.send(0, {0: f"{OS}._exit(77)"})
        assert farm.next(ProcessDied, 0).reason == "exit code 77"

    @posix
    def test_a_process_that_closed_its_channel_is_dead(self, drive):
        """Its result can never be sent; nothing hangs, and the item that did it is known."""
        farm = drive()
        pid = farm.start(0)
        farm.send(0, {0: f"{OS}.closerange(3, 256)"})
        assert farm.next(ProcessDied, 0).index == 0
        assert not is_alive(pid)

    @posix
    def test_a_death_is_noticed_although_the_channel_stays_open(self, drive, tmp_path):
        """A grandchild of the task, in a session of its own, holds a copy of it."""
        farm = drive()
        farm.start(0)
        escape = f"{OS}.setsid(), {note(tmp_path / 'escaped')}, {when_there(tmp_path / 'end')}, {OS}._exit(0)"
        wait = when_there(tmp_path / "escaped")
        copies = f"[{OS}.dup(fd) for fd in range(3, 64) if {OS}.path.exists(f'/proc/self/fd/{{fd}}')]"
        farm.send(0, {0: f"{copies} and ({escape}) if {OS}.fork() == 0 else (({wait}), {OS}._exit(3))"})
        assert farm.next(ProcessDied, 0).reason == "exit code 3"
        (tmp_path / "end").touch()

    @posix
    def test_a_process_that_is_stopped_by_a_signal_can_be_killed(self, drive):
        """SIGSTOP makes it deaf to everything else."""
        farm = drive()
        pid = farm.start(0)
        os.kill(pid, signal.SIGSTOP)
        farm.executor.stop(0)
        farm.executor.kill(0)
        assert farm.next(ProcessDied, 0).reason == "signal 9 (SIGKILL)"

    @posix
    @pytest.mark.parametrize("end", ["kill", "stop", "crash"])
    def test_what_a_task_started_ends_with_its_process(self, drive, end):
        """A compiler, a compiled simulation: it would go on for nobody."""
        farm = drive()
        farm.start(0)
        farm.send(0, {0: "__import__('subprocess').Popen(['sleep', '600']).pid"})
        grandchild = farm.results(1)[0]
        assert is_alive(grandchild)
        if end == "crash":
            farm.send(0, {1: f"{OS}.kill({OS}.getpid(), 9)"})
        else:
            getattr(farm.executor, end)(0)
        farm.next(ProcessDied, 0)
        eventually(lambda: not is_alive(grandchild))

    # -- what a worker finds ---------------------------------------------------------------------------

    @posix
    def test_standard_input_is_empty(self, drive):
        """A task that reads it, or asks for a password, ends at once instead of waiting for nobody."""
        farm = drive()
        farm.start(0)
        farm.send(
            0, {0: f"{OS}.read(0, 1)", 1: f"{OS}.path.samestat({OS}.fstat(0), {OS}.stat({OS}.devnull))"}
        )
        assert farm.results(2) == {0: b"", 1: True}

    @posix
    def test_a_worker_leads_a_session_of_its_own(self, drive):
        """So Ctrl-C reaches the parent alone, and killing its group kills what it started."""
        farm = drive()
        pid = farm.start(0)
        farm.send(0, {0: f"({OS}.getpid(), {OS}.getpgrp(), {OS}.getsid(0))"})
        assert farm.results(1) == {0: (pid, pid, pid)}

    def test_numerical_libraries_share_the_cpus(self, drive, monkeypatch):
        """Else each process would start as many threads as there are CPUs."""
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
        farm = drive(processes=1)
        farm.start(0)
        farm.send(0, {0: f"{OS}.environ['OMP_NUM_THREADS']", 1: f"{OS}.environ['OPENBLAS_NUM_THREADS']"})
        assert farm.results(2) == {0: str(cpu_count()), 1: "7"}, "what the user has set stays"

    def test_at_least_one_thread_is_left_to_numerical_libraries(self, drive, monkeypatch):
        """Although there are more processes than CPUs."""
        monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
        farm = drive(processes=1000)
        farm.start(0)
        farm.send(0, {0: f"{OS}.environ['MKL_NUM_THREADS']"})
        assert farm.results(1) == {0: "1"}

    # -- large things ------------------------------------------------------------------------------------

    @posix
    def test_large_items_do_not_make_the_farm_wait_for_a_process(self, drive):
        """They are kept until it takes them: here it is stopped, and takes nothing."""
        farm = drive()
        pid = farm.start(0)
        farm.start(1)
        os.kill(pid, signal.SIGSTOP)
        for index in range(4):
            farm.send(0, {index: "'" + "x" * (5 * MB) + f"'[{index}:]"})
        farm.send(1, {9: "'the other goes on'"})
        assert farm.results(1) == {9: "the other goes on"}
        os.kill(pid, signal.SIGCONT)
        results = farm.results(5)
        assert [len(results[index]) for index in range(4)] == [5 * MB - index for index in range(4)]

    def test_large_items_can_be_sent_to_a_process_that_is_starting(self, drive):
        """They wait until it listens."""
        farm = drive()
        farm.executor.start(0)
        for index in range(3):
            farm.send(0, {index: "len('" + "x" * (5 * MB) + "')"})
        assert farm.results(3) == dict.fromkeys(range(3), 5 * MB)

    def test_a_result_of_20_megabytes_arrives(self, drive):
        """In as many pieces as it takes, with small ones before and after, and others in between."""
        farm = drive()
        farm.start(0)
        farm.start(1)
        farm.send(0, {0: "'before'", 1: f"b'\\x80\\x05\\n' * {20 * MB // 3}", 2: "'after'"})
        farm.send(1, {index: str(index) for index in range(3, 200)})
        results = farm.results(200)
        assert results[1] == b"\x80\x05\n" * (20 * MB // 3)
        assert (results[0], results[2]) == ("before", "after")
        assert [results[index] for index in range(3, 200)] == list(range(3, 200))

    def test_a_large_result_arrives_although_its_process_dies_right_after(self, drive):
        """What was sent is read to its end before the death is told."""
        farm = drive()
        farm.start(0)
        farm.send(0, {0: f"'x' * {20 * MB}", 1: f"{OS}._exit(3)"})
        assert farm.next(ProcessDied, 0).index == 1
        assert len(farm.done()[0]) == 20 * MB
        assert [type(event) for event in farm.events[-2:]] == [ItemsDone, ProcessDied]

    def test_a_result_does_not_wait_for_a_long_item_behind_it(self, drive, tmp_path):
        """It is sent while the task's thread is busy with the next."""
        farm = drive()
        farm.start(0)
        farm.send(0, {0: "'first'", 1: "'second'", 2: when_there(tmp_path / "go")})
        assert farm.results(2) == {0: "first", 1: "second"}
        (tmp_path / "go").touch()
        farm.results(3)


class TestLocalSpawn(LocalConformance):
    """A fresh interpreter for each process."""

    start_method = "spawn"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
class TestLocalFork(LocalConformance):
    """A copy of this process."""

    start_method = "fork"

    def test_nothing_has_to_be_pickled(self, drive):
        """The task is there already, whatever it refers to."""
        lock = __import__("threading").Lock()
        farm = drive(lambda x: (lock.locked(), x))
        farm.start(0)
        farm.send(0, {0: 5})
        assert farm.results(1) == {0: (False, 5)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
class TestLocalWithoutPidfd(LocalConformance):
    """Where the system does not tell of the end of a process (macOS, old kernels): it is looked for."""

    start_method = "fork"

    @pytest.fixture(autouse=True)
    def _old_system(self, monkeypatch):
        monkeypatch.delattr(os, "pidfd_open", raising=False)


# -- the farm's own end ------------------------------------------------------------------------------

FARM = """
    import os, signal, subprocess, sys, time
    from pathlib import Path
    from farmhand import open_store, run_tasks

    folder = Path(sys.argv[1])

    sys.path.insert(0, {tests!r})
    import waiting

    def wait_for(name):
        waiting.wait_for(folder / name)

    def say(name, text=""):
        new = folder / (name + ', unfinished')
        new.write_text(text)
        new.rename(folder / name)  # whoever sees it can read it

    {task}

    {begin}
    run_tasks(open_store(":memory:"), task, range({items}), gui=False, progress="none", poolsize={processes},
              start_method={start_method!r})
    say("finished")
"""


@pytest.fixture
def script(tmp_path):
    """Runs a farm in a process (and process group) of its own; kills it in the end."""
    running: list[subprocess.Popen[bytes]] = []

    def run(task: str, start_method: str, begin: str = "", items: int = 1, processes: int = 1):
        parts = {"task": textwrap.indent(textwrap.dedent(task), "    ").strip(), "begin": begin}
        text = FARM.format(
            **parts,
            tests=os.path.dirname(waiting.__file__),
            start_method=start_method,
            items=items,
            processes=processes,
        )
        (tmp_path / "script.py").write_text(textwrap.dedent(text))
        command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path)]
        running.append(subprocess.Popen(command, start_new_session=True))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.wait()


both = pytest.mark.parametrize("start_method", ["spawn", "fork"])


@posix
@both
def test_workers_do_not_outlive_a_farm_that_was_killed(script, tmp_path, start_method):
    """Nor does what their tasks started; whether they are busy in Python, asleep, or have nothing to do."""
    farm = script(
        """
        def task(index):
            if index == 3:
                return wait_for("never")
            if index == 0:
                child = subprocess.Popen(["sleep", "600"])
                say("grandchild", str(child.pid))
            say(f"worker {index}", str(os.getpid()))
            if index == 0:
                signal.pause()
            while index == 1:
                pass
            wait_for("worker 0")
            wait_for("worker 1")
        """,
        start_method,
        items=3,
        processes=3,
    )
    names = ["worker 0", "worker 1", "worker 2", "grandchild"]
    pids = [int(eventually(reader(tmp_path / name))) for name in names]
    assert all(is_alive(pid) for pid in [pids[0], pids[1], pids[3]])
    farm.kill()
    farm.wait()
    for pid in pids:
        eventually(lambda pid=pid: not is_alive(pid))


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux ends a process that does not run"
)
@both
@pytest.mark.parametrize(
    "deed",
    ["os.kill(os.getpid(), signal.SIGSTOP)", "ctypes.PyDLL(None).sleep(600)"],
    ids=["stopped", "holds the interpreter's lock in C"],
)
def test_workers_that_cannot_notice_it_do_not_outlive_their_farm(script, tmp_path, start_method, deed):
    """The kernel ends them, with what they started."""
    farm = script(
        f"""
        def task(index):
            import ctypes
            child = subprocess.Popen(["sleep", "600"])
            say("grandchild", str(child.pid))
            say("worker", str(os.getpid()))
            {deed}
        """,
        start_method,
    )
    pids = [int(eventually(reader(tmp_path / name))) for name in ("worker", "grandchild")]
    farm.kill()
    farm.wait()
    for pid in pids:
        eventually(lambda pid=pid: not is_alive(pid))


@posix
@both
def test_an_interrupt_of_the_whole_group_does_not_reach_the_workers(script, tmp_path, start_method):
    """Ctrl-C in a terminal is sent to all processes of the group; what follows is the farm's decision."""
    farm = script(
        """
        def task(index):
            signal.signal(signal.SIGINT, lambda *_: say("worker interrupted"))
            say("ready")
            wait_for("parent interrupted")
            wait_for("sent to all")
        """,
        start_method,
        begin='signal.signal(signal.SIGINT, lambda *_: say("parent interrupted"))',
    )
    eventually((tmp_path / "ready").exists)
    os.killpg(farm.pid, signal.SIGINT)
    (tmp_path / "sent to all").touch()
    assert farm.wait(60) == 0
    assert (tmp_path / "parent interrupted").exists()
    assert (tmp_path / "finished").exists()
    assert not (tmp_path / "worker interrupted").exists()


def reader(path: Path) -> Callable[[], str]:
    """What is in a file, or nothing as long as it is not there."""
    return lambda: path.read_text() if path.exists() else ""


def test_an_executor_can_be_opened_where_standard_streams_are_closed(tmp_path):
    """A daemon, or pythonw: descriptors 0 to 2 may be anything."""
    code = "import os; os.closerange(0, 3)\n" + textwrap.dedent(
        f"""
        from farmhand import open_store, run_tasks
        store = open_store(":memory:")
        run_tasks(store, abs, [-1, -2], gui=False, progress="none", poolsize=1)
        open({str(tmp_path / "out")!r}, "w").write(repr(sorted(store.values())))
        """
    )
    subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert (tmp_path / "out").read_text() == "[1, 2]"
