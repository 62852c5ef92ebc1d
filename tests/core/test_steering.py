"""Watching and steering a farm from another terminal: what a user types, and what that does to a real run.

Each item touches a file when it begins and waits for another one, so that a test knows what runs.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from farmhand import open_store
from farmhand.store import Turn
from farmhand.testing.stores import block, done, failed
from waiting import DEADLINE, wait_for, wait_until

pytest.importorskip("farmhand_sqlite", reason="another process finds a run by its store")

HERE = Path(__file__).parent
PRELUDE = f"""
import os, sys
sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]
from pathlib import Path
from farmhand import run_tasks
from waiting import wait_for

def step(name, gate, fails):
    print("item", os.path.basename(name))
    Path(name + ".begun").touch()
    wait_for(gate)
    if fails:
        raise ValueError("bad")
    return os.path.basename(name)

def farm(path, folder, count, free=0, failing=(), **options):
    gates = ["/" if n < free else os.path.join(folder, f"{{n}}.go") for n in range(count)]
    items = [(os.path.join(folder, str(n)), gate, n in failing) for n, gate in enumerate(gates)]
    options = {{"gui": False, "progress": "none", "poolsize": 2, "errors": "collect", **options}}
    run_tasks(path, step, items, **options)
"""


@pytest.fixture
def prelude():
    """What the script of a farm begins with."""
    return PRELUDE


@pytest.fixture(autouse=True)
def one_place(monkeypatch):
    """The doors are in the folder of the tests, which has to be empty in the end."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rates.db"


class Farm:
    """A farm in another process."""

    def __init__(self, process, path, folder):
        self.process = process
        self.path = path
        self.folder = folder

    def begun(self):
        """The items that have begun."""
        return sorted(int(each.stem) for each in self.folder.glob("*.begun"))

    def wait_for(self, count):
        """Until so many have begun."""
        wait_until(lambda: len(self.begun()) >= count, f"{count} items to begin")

    def let_go(self, *items):
        """Let these end, or all."""
        for item in items or range(50):
            (self.folder / f"{item}.go").touch()

    def done(self):
        """The results in the store."""
        with open_store(self.path) as store:
            return sorted(map(int, store.values()))

    def run(self):
        with open_store(self.path) as store:
            return store.runs()[-1]

    def door(self):
        return Path(self.run().provenance["control"].removeprefix("unix:"))


@pytest.fixture
def farm(another_process, path, tmp_path):
    """Starts a farm of some items, of which the first few need no permission to end."""

    def start(count, code="", free=0, **options):
        folder = tmp_path / f"items{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        call = f"farm({str(path)!r}, {str(folder)!r}, {count}, {free}, **{options!r})"
        farm = Farm(another_process(f"{code}\n{call}\n"), path, folder)
        farm.wait_for(min(count, free + 2))
        wait_until(lambda: len(farm.done()) >= min(count, free) - len(options.get("failing", ())))
        return farm

    return start


@pytest.fixture
def elsewhere():
    """Starts a command in a process of its own, as in another terminal."""
    started = []

    def start(*words, **options):
        command = [sys.executable, "-m", "farmhand", *map(str, words)]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, **{"text": True, **pipes, **options}))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def steer(farmhand):
    """Types a command with ``--json``; gives what it says."""

    def type_it(*words):
        _, out, err = farmhand(*words, "--json")
        assert err == ""
        return json.loads(out)

    return type_it


def until(stream, text):
    """Read lines until one has ``text``; returns them all."""
    lines = []
    for line in stream:
        lines.append(line)
        if text in line:
            break
    assert text in "".join(lines)
    return "".join(lines)


# -- watching ----------------------------------------------------------------------------------------


def test_a_run_is_watched_to_its_end(farm, elsewhere):
    """From another terminal it looks as it does in its own; all is well, says the exit status."""
    running = farm(6, free=2)
    watching = elsewhere("watch", running.path)
    seen = until(watching.stderr, "6 items, 2 processes")
    running.let_go()
    seen += watching.stderr.read()
    assert watching.wait(DEADLINE) == 0
    assert "step: 6 done in" in seen
    assert running.process.wait(DEADLINE) == 0


def test_status_says_how_long_a_run_still_takes_as_all_who_watch_it_are_told(farm, farmhand, steer):
    """The farm is asked: it alone knows what runs, how far that is, and who shares the rest."""
    running = farm(8, free=4)
    status, out, _ = farmhand("status", running.path)
    assert status == 0
    assert "4 of 8 items have ended, the last one " in joined(out)
    assert re.search(r"(ago|just now); [^;]* left\.", joined(out))
    remaining = steer("status", running.path)["runs"][0]["remaining"]
    assert 0.0 <= remaining["low"] <= remaining["median"] <= remaining["high"]
    farmhand("pause", running.path)
    _, out, _ = farmhand("status", running.path)
    assert "; paused: 2 items still run; " in joined(out)
    running.let_go()


def test_status_does_without_a_farm_that_does_not_answer(farm, farmhand, steer):
    """It may be suspended for the night; what is stored can be told all the same."""
    running = farm(8, free=4)
    running.process.send_signal(signal.SIGSTOP)
    try:
        status, out, err = farmhand("status", running.path)
        assert (status, err) == (0, "")
        said = r"4 of 8 items have ended, the last one ([^;,]* ago|just now), with [^;,]* left then\."
        assert re.search(said, joined(out))
        assert steer("status", running.path)["runs"][0]["remaining"] is None
    finally:
        running.process.send_signal(signal.SIGCONT)
    running.let_go()


def joined(out):
    """What was broken into lines."""
    return " ".join(out.split())


def test_a_run_that_did_not_end_well_is_told_by_the_exit_status(farm, elsewhere):
    """A script that waits for a run asks for it."""
    running = farm(3, failing=[1])
    watching = elsewhere("watch", running.path)
    until(watching.stderr, "3 items")
    running.let_go()
    rest = watching.stderr.read()
    assert watching.wait(DEADLINE) == 1
    assert "item 1 failed: ValueError: bad" in rest
    assert "2 done, 1 failed" in rest


def test_ctrl_c_ends_the_watching_and_not_the_run(farm):
    """In a terminal, where the line is redrawn and has to be left in order."""
    running = farm(4)
    terminal, ours = pty.openpty()
    command = [sys.executable, "-m", "farmhand", "watch", "--progress", "text", str(running.path)]
    child = "import os, sys; os.setsid(); import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
    code = f"{child}; os.execv(sys.executable, {command!r})"
    environment = {**os.environ, "TERM": "xterm", "CI": ""}
    watching = subprocess.Popen(
        [sys.executable, "-c", code], stdin=ours, stdout=ours, stderr=ours, env=environment
    )
    os.close(ours)
    try:
        seen = b""
        while b"0/4" not in seen:
            seen += os.read(terminal, 1 << 16)
        os.write(terminal, b"\x03")
        assert watching.wait(DEADLINE) == 0
        rest = os.read(terminal, 1 << 16)
        assert b"the run goes on" in rest
    finally:
        watching.kill()
        watching.wait()
        os.close(terminal)
    running.let_go()
    assert running.process.wait(DEADLINE) == 0
    assert running.done() == [0, 1, 2, 3]


def test_watchers_that_stop_or_die_cost_the_run_nothing(farm, elsewhere):
    """One is suspended, one is killed, one goes on; the run completes, and who wakes up sees how it ended."""
    running = farm(40)
    watchers = [elsewhere("watch", running.path) for _ in range(3)]
    for watching in watchers:
        until(watching.stderr, "40 items")
    stuck, dead, alive = watchers
    stuck.send_signal(signal.SIGSTOP)
    dead.send_signal(signal.SIGKILL)
    running.let_go()
    assert running.process.wait(DEADLINE) == 0
    assert running.done() == list(range(40))
    assert "40 done in" in alive.stderr.read()
    assert alive.wait(DEADLINE) == 0
    stuck.send_signal(signal.SIGCONT)
    assert "40 done" in stuck.stderr.read()
    assert stuck.wait(DEADLINE) == 0
    assert not running.door().exists()


def test_programs_watch_line_by_line(farm, elsewhere):
    """Each snapshot is an object, with what is new of failures and of what items print."""
    running = farm(6, failing=[2, 4])
    watching = elsewhere("watch", running.path, "--json")
    first = json.loads(watching.stdout.readline())
    running.let_go()
    lines = [first, *map(json.loads, watching.stdout)]
    assert watching.wait(DEADLINE) == 1
    assert (first["task"], first["state"], first["total"]) == ("step", "running", 6)
    assert first["processes"][0]["state"] == "busy"
    assert "history" not in first
    assert lines[-1]["state"] == "finished"
    failures = [each for line in lines for each in line["failures"]]
    assert Counter(each["index"] for each in failures) == {2: 1, 4: 1}
    printed = {each["index"]: each["text"] for line in lines for each in line["outputs"]}
    assert printed[5] == "item 5\n"


def test_a_run_that_has_not_begun_can_be_waited_for(farm, elsewhere, path):
    """The store may not even be there yet."""
    watching = elsewhere("watch", "--wait", path)
    until(watching.stderr, f"waiting for a run to begin in {path}")
    running = farm(3)
    until(watching.stderr, "3 items")
    running.let_go()
    assert "3 done in" in watching.stderr.read()
    assert watching.wait(DEADLINE) == 0


def test_without_a_display_the_window_is_replaced_by_the_terminal(farm, elsewhere):
    """One warning says why, and the run is watched all the same."""
    pytest.importorskip("farmhand_tk")
    running = farm(3)
    environment = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    watching = elsewhere("gui", running.path, env=environment)
    seen = until(watching.stderr, "3 items")
    assert seen.count("there is no display") == 1
    running.let_go()
    assert "3 done in" in watching.stderr.read()
    assert watching.wait(DEADLINE) == 0


def test_of_several_runs_the_last_is_watched(farm, farmhand, elsewhere):
    """And it says so; --run chooses another."""
    first, second = farm(3), farm(5)
    with open_store(first.path) as store:
        runs = sorted(store.runs(), key=lambda run: run.numitems)
    status, _, err = farmhand("pause", first.path)
    assert status == 2
    assert "2 runs go on" in err
    assert all(run.uid[:6] in err for run in runs)
    watching = elsewhere("watch", first.path)
    assert "2 runs go on" in watching.stderr.readline()
    until(watching.stderr, "5 items")
    other = elsewhere("watch", first.path, "--run", runs[0].uid[:6])
    until(other.stderr, "3 items")
    for each in (first, second):
        each.let_go()
    assert (watching.wait(DEADLINE), other.wait(DEADLINE)) == (0, 0)


# -- steering ------------------------------------------------------------------------------------------


def test_pause_pauses_and_resume_goes_on(farm, farmhand, steer):
    """The running items go on to their end; none begins before it is resumed."""
    running = farm(6)
    status, out, _ = farmhand("resume", running.path)
    assert (status, out) == (0, f"{running.path}: it was running already; 0 of 6 done\n")
    status, out, _ = farmhand("pause", running.path)
    assert (status, out) == (
        0,
        f"{running.path}: paused; 2 running items go on to their end, 0 of 6 done\n",
    )
    running.let_go(*running.begun())
    wait_until(lambda: steer("pause", running.path)["running"] == 0)
    assert len(running.begun()) == 2
    status, out, _ = farmhand("pause", running.path)
    assert (status, out) == (0, f"{running.path}: it was paused already; 2 of 6 done\n")
    status, out, _ = farmhand("resume", running.path)
    assert (status, out) == (0, f"{running.path}: goes on; 2 of 6 done\n")
    running.wait_for(4)
    running.let_go()
    assert running.process.wait(DEADLINE) == 0


def test_the_number_of_processes_can_be_changed(farm, farmhand, steer):
    """More at once; fewer as items end."""
    running = farm(9)
    status, out, _ = farmhand("workers", 4, running.path)
    assert (status, out) == (0, f"{running.path}: 4 processes from now on, 2 before\n")
    running.wait_for(4)
    assert farmhand("workers", 4, running.path)[1] == f"{running.path}: it has 4 processes already\n"
    told = steer("workers", 1, running.path)
    assert (told["processes"], told["state"], told["total"]) == (1, "running", 9)
    running.let_go()
    assert running.process.wait(DEADLINE) == 0


@pytest.mark.parametrize("start_method", ["spawn", "fork"])
def test_stop_leaves_everything_stored_that_had_finished(farm, farmhand, start_method):
    """It returns when the run has ended, and says what is stored; no door is left."""
    running = farm(9, free=4, start_method=start_method)
    door = running.door()
    assert door.exists()
    status, out, err = farmhand("stop", running.path)
    assert (status, err) == (0, "")
    assert re.fullmatch(
        rf"{re.escape(str(running.path))}: \w+ \(step\) was stopped at [\d:]+: 4 of 9 done; "
        r"resume=True runs the rest\n",
        out,
    )
    assert running.done() == [0, 1, 2, 3]
    assert running.process.wait(DEADLINE) == 0
    assert not door.exists()
    status, _, err = farmhand("stop", running.path)
    assert status == 2
    assert "nothing runs" in err


def test_finish_lets_the_running_items_end(farm, farmhand):
    """It returns at once; what is asked for afterwards is answered with what is true."""
    running = farm(9)
    status, out, _ = farmhand("finish", running.path)
    assert status == 0
    assert "finishing; 2 running items go on to their end" in out
    status, out, _ = farmhand("pause", running.path)
    assert (status, out) == (1, f"{running.path}: it is finishing, and cannot be paused\n")
    assert "it was finishing already" in farmhand("finish", running.path)[1]
    begun = running.begun()
    running.let_go()
    assert running.process.wait(DEADLINE) == 0
    assert running.done() == begun


def test_stop_says_as_json_how_the_run_has_ended(farm, steer):
    """For programs."""
    running = farm(9, free=4, failing=[1])
    told = steer("stop", running.path)
    assert told == {
        "store": str(running.path),
        "run": running.run().uid,
        "state": "stopped",
        "total": 9,
        "done": 3,
        "failed": 1,
        "skipped": 0,
        "running": 0,
        "processes": 2,
    }


@pytest.mark.parametrize("number", ["0", "-1", "many", "1.5", "100000"])
def test_a_number_of_processes_that_means_nothing_is_refused(farmhand, path, number):
    """Before anything is asked."""
    status, _, err = farmhand("workers", "--", number, path)
    assert status == 2
    assert "no number of processes" in err


# -- farms that do not answer ---------------------------------------------------------------------------


def test_a_farm_that_was_killed_is_reported_with_what_it_left(farm, farmhand, elsewhere):
    """By who watched it, and by whoever asks later; what is left of its door is swept by the next farm."""
    running = farm(9, free=4)
    watching = elsewhere("watch", running.path)
    until(watching.stderr, "9 items")
    running.process.kill()
    rest = watching.stderr.read()
    assert watching.wait(DEADLINE) == 1
    assert re.search(r"was killed: 4 of 9 items have ended.*resume=True", rest)
    for command in (["pause"], ["watch"], ["workers", 3]):
        status, out, err = farmhand(*command, running.path)
        assert (status, out) == (1, "")
        assert "nothing runs" in err
        assert "was killed: 4 of 9 items have ended" in err
    door = running.door()
    assert door.exists()
    after = farm(2, free=2)
    assert after.process.wait(DEADLINE) == 0
    assert not door.exists()


def test_a_farm_whose_copies_live_on_is_known_to_be_dead(farm, elsewhere):
    """What a script has forked holds the connection open, and will never say anything."""
    code = """
class Forking:
    def show(self, snapshot):
        if Path(sys.argv[0] + ".fork").exists() and not hasattr(self, "pid"):
            self.pid = os.fork()
            if self.pid == 0:
                os.close(1)
                os.setsid()
                sys.stdin.read()
                os._exit(0)
            Path(sys.argv[0] + ".forked").touch()
    def controls(self):
        return ()
    def close(self):
        pass
farm_of = farm
def farm(*args, **options):
    farm_of(*args, **options, progress=Forking())
"""
    running = farm(4, code=code)
    watching = elsewhere("watch", running.path)
    until(watching.stderr, "4 items")
    script = running.process.args[1]
    Path(f"{script}.fork").touch()
    wait_for(f"{script}.forked")
    os.kill(running.process.pid, signal.SIGKILL)
    rest = watching.stderr.read()
    assert watching.wait(DEADLINE) == 1
    assert "was killed: 0 of 4 items have ended" in rest


def test_a_farm_that_does_not_answer_is_said_to_be_busy(farm, farmhand, elsewhere):
    """It was suspended; when it goes on it does what it was asked to."""
    running = farm(6)
    watching = elsewhere("watch", running.path)
    until(watching.stderr, "6 items")
    running.process.send_signal(signal.SIGSTOP)
    try:
        status, _, err = farmhand("pause", running.path)
        assert status == 1
        assert "suspended" in err
        assert "it will follow" in err
        assert "no news for 3 s" in until(watching.stderr, "no news")
    finally:
        running.process.send_signal(signal.SIGCONT)
    until(watching.stderr, "paused")
    running.let_go()
    farmhand("resume", running.path)
    assert watching.wait(DEADLINE) == 0
    assert watching.stderr.read().count("no news") == 0


# -- runs that cannot be reached ----------------------------------------------------------------------------


COMMANDS = [["watch"], ["gui"], ["pause"], ["resume"], ["finish"], ["stop"], ["workers", 3]]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_where_nothing_runs_it_says_what_did(farmhand, a_store, command):
    """The last run, and how it ended."""
    path = a_store(
        Turn([block(range(4), "abcd")], [done([0, 1], "AB")], [failed(2)]),
        outcome="stopped",
        uid="abcdef0123",
        numitems=4,
    )
    status, out, err = farmhand(*command, path)
    assert (status, out) == (2, "")
    assert err == (
        f"farmhand: nothing runs in {path}; the last run: abcdef (find_rate) was stopped at "
        "1970-01-01 00:33: 2 of 4 done, 1 failed; resume=True runs the rest\n"
    ).replace("1970-01-01 00:33", re.search(r"at (.*): 2 of", err)[1])


def test_a_store_without_runs_says_so(farmhand, path):
    """There was never anything to be watched."""
    open_store(path).close()
    assert farmhand("watch", path)[::2] == (2, f"farmhand: nothing runs in {path}: it has no runs yet\n")


def test_a_store_that_is_not_there_is_an_error(farmhand, path):
    """And none is made."""
    status, _, err = farmhand("stop", path)
    assert status == 2
    assert "there is no store" in err
    assert not path.exists()


def test_a_store_in_memory_cannot_be_steered(farmhand):
    """It is within one program."""
    for words in (["pause", ":memory:"], ["watch", "--wait", ":memory:"]):
        status, _, err = farmhand(*words)
        assert status == 2
        assert "within one program" in err


def test_a_run_on_another_computer_is_reached_from_there(farmhand, a_store):
    """The socket is on that one."""
    path = a_store(outcome="", owner="night/1/2/3/4", computer="ada.night", uid="abcdef0123")
    status, _, err = farmhand("watch", path)
    assert status == 2
    assert "runs on night, or was killed there" in err
    assert "reached from there" in err


def test_a_run_without_a_door_is_ended_by_a_signal(farmhand, a_store):
    """There was no place for a socket, or its farmhand was an older one."""
    path = a_store(outcome="", uid="abcdef0123")
    status, _, err = farmhand("stop", path)
    assert status == 2
    assert "cannot be reached" in err
    assert f"kill -TERM {os.getpid()} stops it in order" in err


@pytest.mark.parametrize("address", ["unix:/does/not/exist", "tcp:1:/dev/null", "what", 3])
def test_a_door_that_is_gone_is_said_to_be(farmhand, a_store, address):
    """Somebody has cleaned up; what the store says may be anything."""
    path = a_store(outcome="", uid="abcdef0123", provenance={"control": address})
    status, _, err = farmhand("pause", path)
    assert status == 2
    assert "cannot be reached" in err
    assert f"kill -TERM {os.getpid()}" in err


def test_status_says_how_to_look_at_a_run(farmhand, farm):
    """One line, while something runs."""
    running = farm(3)
    assert farmhand("status", running.path)[1].splitlines()[-1] == (
        f"To look at it: farmhand watch {running.path}"
    )
    running.let_go()
    assert running.process.wait(DEADLINE) == 0
    assert "farmhand watch" not in farmhand("status", running.path)[1]
