"""Real farms on a real terminal: keys steer them, and the terminal is as before whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from farmhand import open_store
from waiting import wait_until

# Items wait until a file with their number is there, so that each test says what happens when.
SCRIPT = """
import os, sys, time
from farmhand import run_tasks
sys.path.insert(0, {tests!r})

def gated(k):
    from waiting import wait_for
    open(f"begun-{{k}}", "w").close()
    wait_for(f"go-{{k}}")
    print("printed by", k)
    return k
{more}
try:
    run_tasks("rates.db", gated, items(), numitems=6, gui=False, poolsize=2, progress={progress!r}, **options)
except BaseException as error:
    print("ended by", type(error).__name__)
    raise
print("ended")
"""
ITEMS = """
options = {}
def items():
    yield from range(6)
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Write the script, with something of one's own in it, into the folder where it is to run."""
    pytest.importorskip("farmhand_sqlite")
    monkeypatch.chdir(tmp_path)
    tests = os.path.dirname(os.path.dirname(__file__))

    def write(more="", progress=None):
        text = SCRIPT.format(tests=tests, more=ITEMS + more, progress=progress)
        (tmp_path / "farm.py").write_text(text)
        return [sys.executable, "farm.py"]

    return write


def let(*numbers):
    """Let these items end."""
    for number in numbers:
        open(f"go-{number}", "w").close()


def begun():
    """The items that have begun; which they are is the scheduler's affair."""
    return sorted(int(name.removeprefix("begun-")) for name in os.listdir() if name.startswith("begun-"))


def wait_begun(count):
    wait_until(lambda: len(begun()) == count, f"{count} items to begin")


def stored():
    with open_store("rates.db") as store:
        return sorted(store.values())


# -- chosen by itself ------------------------------------------------------------------------------


def test_a_run_without_a_window_has_bars_where_somebody_looks(terminal, script):
    """To install the package is all that it takes."""
    screen = terminal().start(*script())
    screen.see("q stop")
    screen.see(lambda: screen.lines[1] == "gated  rates.db")
    let(*range(6))
    assert screen.end() == 0
    *printed, summary, last = screen.lines
    assert sorted(printed) == [f"[{n}] printed by {n}" for n in range(6)]
    assert summary.startswith("gated: 6 done in ")
    assert last == "ended"


def test_a_run_whose_output_goes_elsewhere_is_plain_text(script):
    """A log of cursor movements is of no use to anybody."""
    command = script()
    let(*range(6))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.startswith("gated: 6 items, 2 processes\n")
    assert "\x1b" not in done.stderr + done.stdout
    assert done.stdout == "ended\n"


def test_a_run_that_is_over_at_once_does_not_import_rich(terminal, tmp_path):
    """It takes as long to import as some runs take."""
    (tmp_path / "short.py").write_text(
        "import sys\n"
        "from farmhand_rich import make_display\n"
        "from farmhand.progress import FrontendOptions, Snapshot\n"
        "frontend = make_display(FrontendOptions('short'))\n"
        "for state in ('running', 'finished'): frontend.show(Snapshot(state=state, total=1, elapsed=0.1))\n"
        "frontend.close()\n"
        "print('rich' in sys.modules)\n"
    )
    screen = terminal().start(sys.executable, tmp_path / "short.py")
    assert screen.end() == 0
    assert screen.lines == ["short: 0 done in 0.1s", "False"]


# -- keys ------------------------------------------------------------------------------------------


def test_pause_really_pauses_and_resume_resumes(terminal, script):
    """Running items end, and none begins until the user says so."""
    screen = terminal().start(*script())
    wait_begun(2)
    screen.see("p pause")
    screen.type("p")
    screen.see("paused: 2 items still run")
    let(*range(6))
    screen.see("2 of 6 done")
    screen.see(lambda: screen.text.count("waiting") == 2)
    assert len(begun()) == 2
    screen.see("p resume")
    screen.type("p")
    assert screen.end() == 0
    assert stored() == list(range(6))


def test_q_twice_stops_and_keeps_what_has_finished(terminal, script):
    """And what that costs is said before."""
    screen = terminal(100, 24).start(*script())
    let(0)
    wait_begun(3)
    screen.see("1 of 6 done")
    screen.type("q")
    screen.see("q again stops: 2 running items are given up, 1 result stays; any other key: go on")
    screen.type("x")
    screen.see("the run goes on")
    screen.type("q")
    screen.see("q again stops")
    screen.type("q")
    assert screen.end() == 0
    assert "gated: stopped after" in screen.text
    assert stored() == [0]
    assert screen.modes == screen.before


def test_f_lets_the_running_items_finish(terminal, script):
    """The others stay for another time."""
    screen = terminal().start(*script())
    wait_begun(2)
    screen.see("f finish")
    screen.type("f")
    screen.see("finishing: 2 items still run")
    running = begun()
    let(*range(6))
    assert screen.end() == 0
    assert stored() == running


def test_plus_and_minus_change_the_number_of_processes(terminal, script):
    """While it runs; a process that is to go ends its item first."""
    screen = terminal().start(*script())
    wait_begun(2)
    screen.see("+ - processes")
    screen.type("+")
    screen.see("3 processes")
    wait_begun(3)
    screen.type("--")
    screen.see("1 process")
    let(*range(6))
    assert screen.end() == 0
    assert stored() == list(range(6))


def test_without_a_keyboard_there_are_no_keys(terminal, script):
    """Standard input is a file, or another program's: it is not ours to read."""
    screen = terminal().start("sh", "-c", "echo qqqq | " + " ".join(script()))
    screen.see("0 of 6 done")
    assert "q stop" not in screen.text
    let(*range(6))
    assert screen.end() == 0
    assert stored() == list(range(6))


# -- from another terminal -------------------------------------------------------------------------


@pytest.fixture
def running(script):
    """A farm that shows itself nowhere, with both of its processes at work."""
    farm = subprocess.Popen(script(progress="none"), stdout=subprocess.DEVNULL)
    wait_begun(2)
    yield farm
    farm.kill()
    farm.wait()


WATCH = [sys.executable, "-m", "farmhand", "watch", "rates.db"]


def test_another_terminal_shows_and_steers_the_run(terminal, running):
    """The same bars and keys; to leave costs the run nothing."""
    screen = terminal().start(*WATCH)
    screen.see(f"rates.db, process {running.pid}")
    screen.type("p")
    screen.see("paused: 2 items still run")
    screen.type("p")
    screen.see("p pause")
    screen.type("q")
    assert screen.end() == 0
    assert "─" not in screen.text
    assert "broken off" not in screen.text
    assert screen.modes == screen.before
    let(*range(6))
    assert running.wait(60) == 0
    assert stored() == list(range(6))


def test_another_terminal_stops_the_run_with_a_capital_q(terminal, running):
    """Asked for once more, as it is final; what has finished is stored."""
    let(0)
    wait_begun(3)
    screen = terminal(100, 24).start(*WATCH)
    screen.see("1 of 6 done")
    screen.type("Q")
    screen.see("Q again stops: 2 running items are given up, 1 result stays")
    screen.type("Q")
    screen.see("gated: stopped after")
    screen.end()
    running.wait(60)
    assert stored() == [0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_watcher_that_is_killed_leaves_the_terminal_as_before(terminal, running, number):
    """Nobody else handles these signals there; the run goes on."""
    screen = terminal().start(*WATCH)
    screen.see("q leave")
    screen.process.send_signal(number)
    assert screen.end() == -number
    assert screen.modes == screen.before
    assert not screen.screen.cursor.hidden
    let(*range(6))
    assert running.wait(60) == 0


# -- the terminal is as before ---------------------------------------------------------------------


def test_the_terminal_is_as_before_after_ctrl_c(terminal, script):
    """Else the shell echoes nothing any more, and the user types blindly."""
    screen = terminal().start(*script())
    wait_begun(2)
    screen.see("q stop")
    assert not screen.echoes
    screen.type("\x03")
    assert screen.end() != 0
    assert "ended by KeyboardInterrupt" in screen.text
    assert screen.modes == screen.before
    assert not screen.screen.cursor.hidden


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_as_before_after_a_signal(terminal, script, number):
    """A batch system, or a user with kill, ends the farm in order."""
    screen = terminal().start(*script())
    wait_begun(2)
    screen.see("q stop")
    screen.process.send_signal(number)
    assert screen.end() == 128 + number
    assert screen.modes == screen.before
    assert not screen.screen.cursor.hidden


def test_the_terminal_is_as_before_after_an_error(terminal, script):
    """The traceback is printed below what is left of the display, whole."""
    more = "def items():\n    yield from range(2)\n    wait_for('go-2')\n    raise OSError('no more')\n"
    screen = terminal().start(*script("from waiting import wait_for\n" + more))
    screen.see("q stop")
    let(*range(6))
    assert screen.end() == 1
    assert "OSError: no more" in screen.text
    assert "gated: broken off" in screen.text
    assert screen.modes == screen.before


def test_the_terminal_is_as_before_when_the_script_exits_in_between(terminal, script):
    """A thread of the script, or one of its libraries, ends the process its own way."""
    more = (
        "import threading\nfrom waiting import wait_for\n"
        "def leave():\n    wait_for('leave')\n    import atexit; atexit._run_exitfuncs(); os._exit(3)\n"
        "threading.Thread(target=leave, daemon=True).start()\n"
    )
    screen = terminal().start(*script(more))
    screen.see("q stop")
    open("leave", "w").close()
    assert screen.end() == 3
    assert screen.modes == screen.before
    assert not screen.screen.cursor.hidden


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(terminal, script):
    """Between the two the shell is used; the display then begins anew below."""
    screen = terminal(80, 40).start("bash", "--norc", "-i", PS1="READY ")
    screen.see("READY")
    screen.type(" ".join(script()) + "\n")
    screen.see("q stop")
    screen.type("\x1a")
    screen.see("Stopped")
    screen.type("stty -a | grep -o ' icanon'; echo seen\n")
    screen.see("\n icanon\nseen")
    screen.type("fg\n")
    screen.see(lambda: screen.text.rpartition("seen")[2].count("q stop") == 1)
    assert not screen.echoes
    screen.type("p")
    screen.see("paused")
    screen.type("p")
    let(*range(6))
    screen.see("gated: 6 done")
    screen.see(lambda: screen.lines[-1].startswith("READY"))
    screen.type("exit\n")
    assert screen.end() == 0
    assert stored() == list(range(6))


def test_in_the_background_it_neither_reads_nor_draws(terminal, script):
    """The keyboard and the screen are the shell's: who reads or sets them there is stopped by the system."""
    screen = terminal(80, 40).start("bash", "--norc", "-i", PS1="READY ")
    screen.see("READY")
    screen.type(" ".join(script()) + " &\n")
    wait_begun(2)
    screen.type("echo qq $((6 * 7))\n")
    screen.see("qq 42")
    let(*range(6))
    screen.see("gated: 6 done")
    screen.type("wait; exit\n")
    assert screen.end() == 0
    assert "─" not in screen.written.decode()
    assert stored() == list(range(6))


def test_a_terminal_that_is_closed_ends_the_farm_in_order(terminal, script):
    """Its window was closed: what has finished is stored, and no process is left."""
    screen = terminal().start(*script())
    let(0)
    wait_begun(3)
    screen.see("1 of 6 done")
    screen.hang_up()
    screen.process.wait(60)
    assert stored() == [0]


# -- what is printed meanwhile ---------------------------------------------------------------------


@pytest.mark.parametrize("start_method", ["spawn", "fork"])
def test_what_tasks_print_is_kept_and_not_drawn_over(terminal, script, start_method):
    """A forked process has a copy of what stands for the streams here; it prints where it belongs."""
    screen = terminal(80, 40).start(*script(f"options['start_method'] = {start_method!r}\n"))
    screen.see("q stop")
    let(*range(6))
    assert screen.end() == 0
    assert sorted(line for line in screen.lines if "printed" in line) == [
        f"[{n}] printed by {n}" for n in range(6)
    ]
    with open_store("rates.db") as store:
        assert {store.output(key) for key in store} == {f"printed by {n}\n" for n in range(6)}


def test_what_the_script_prints_meanwhile_stands_above(terminal, script):
    """Its items are read while the bars are there, and whoever makes them may print."""
    more = "def items():\n    for n in range(6):\n        print('makes', n)\n        yield n\n"
    screen = terminal(80, 40).start(*script(more))
    let(0, 1, 2)
    screen.see("3 of 6 done")
    let(3, 4, 5)
    assert screen.end() == 0
    assert [line for line in screen.lines if line.startswith("makes")] == [f"makes {n}" for n in range(6)]
    assert "━" not in screen.text
