"""The farm's side of the window, with the real window on a real X server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import psutil
import pytest

from farmhand import MemoryStore, UnknownName, run_tasks
from farmhand.progress import Detach, FrontendOptions, Snapshot
from farmhand.testing.frontends import FrontendConformance, RecordingFrontend, a_failure, a_run
from farmhand_tk.frontend import TkFrontend
from farmhand_tk.process import adopt, keep, let_go
from virtual_display import VirtualDisplay
from waiting import wait_until

SENTINELS = iter(range(10**9))


def running(task: str = "find_rate", **fields: object) -> Snapshot:
    """A run that has lasted for long enough to have a window."""
    usual = {"total": 300, "done": 127, "elapsed": 60.0, "complete": 0.42}
    return Snapshot(task=task, **(usual | fields))  # type: ignore[arg-type]


def show_until(frontend: TkFrontend, snapshot: Snapshot, condition: Callable[[], object], what: str) -> None:
    """What a farm does all the time, until something has happened."""

    def look() -> object:
        frontend.show(snapshot)
        assert not any(frontend.controls())
        return condition()

    wait_until(look, what)


def opened(display: VirtualDisplay, frontend: TkFrontend, snapshot: Snapshot) -> str:
    """The window of a frontend, once it shows the snapshot."""
    show_until(frontend, snapshot, lambda: display.window(snapshot.task), "the window")
    return display.wait_for_window(snapshot.task)


def shown(display: VirtualDisplay, frontend: TkFrontend, task: str) -> str:
    """The window that a whole run was shown in, and that was kept."""
    window = opened(display, frontend, running(task))
    frontend.show(running(task, state="finished"))
    frontend.close()
    return window


@pytest.fixture
def instead() -> RecordingFrontend:
    """What is shown where there is no window."""
    return RecordingFrontend()


@pytest.fixture
def options(instead: RecordingFrontend) -> FrontendOptions:
    """As a farm has them."""
    return FrontendOptions("find_rate", instead=lambda: instead)


@pytest.fixture(autouse=True)
def no_window(virtual_display: VirtualDisplay) -> Iterator[None]:
    """No window is left of an earlier test, which would be shown the next run, nor after this one."""
    end_windows(virtual_display)
    yield
    end_windows(virtual_display)


def end_windows(display: VirtualDisplay) -> None:
    let_go()
    processes = display.processes()
    for process in processes:
        process.kill()
    psutil.wait_procs(processes)


class TestTkFrontend(FrontendConformance):
    """Nothing that a farm can show harms the window. One window serves all, since it may."""

    @pytest.fixture
    def no_window(self) -> None:
        """Here the windows of earlier tests are wanted."""

    @pytest.fixture(autouse=True)
    def window_survives(
        self, on_display: VirtualDisplay, capsys: pytest.CaptureFixture[str]
    ) -> Iterator[None]:
        """After whatever it was shown, the same window still shows the next run."""
        window = adopt("auto")
        if window is None:
            shown(on_display, TkFrontend(FrontendOptions()), "the first one")
            window = adopt("auto")
        assert window is not None
        keep(window)
        yield
        shown(on_display, TkFrontend(FrontendOptions()), f"sentinel{next(SENTINELS)}")
        assert adopt("auto") is window, "the window has ended"
        keep(window)
        assert "is gone" not in capsys.readouterr().err

    @pytest.fixture
    def options(self) -> FrontendOptions:
        return FrontendOptions("find_rate")  # all others are for what is shown beside the window

    @pytest.fixture
    def make_frontend(self) -> Callable[[FrontendOptions], TkFrontend]:
        return TkFrontend


# -- opening ---------------------------------------------------------------------------------------


def test_a_run_that_is_over_at_once_has_a_line_in_the_terminal_and_no_window(on_display, options, capsys):
    """A window that only flashes up is worse than none."""
    history = a_run(steps=3)
    frontend = TkFrontend(options)
    for snapshot in (history[0], replace(history[-1], elapsed=0.4)):
        frontend.show(snapshot)
        assert not any(frontend.controls())
    frontend.close()
    assert not on_display.processes()
    assert capsys.readouterr().err == "find_rate: 20 done in 0.4s\n"


@pytest.mark.parametrize("argument", ["stay", "wait"])
def test_a_run_that_is_over_at_once_has_a_window_for_who_wants_to_see_its_end(on_display, options, argument):
    """Whoever says that it stays, or waits for it, expects one."""
    frontend = TkFrontend(replace(options, argument=argument))
    on_display.press(opened(on_display, frontend, running(state="finished", elapsed=0.4)), "ctrl+w")
    frontend.close()


def test_the_line_of_a_run_that_was_shown_in_a_window_stays_in_the_terminal(on_display, options, capsys):
    """The window may be gone tomorrow."""
    frontend = TkFrontend(options)
    opened(on_display, frontend, running())
    frontend.show(running(state="finished", done=300, elapsed=65.0))
    frontend.close()
    assert capsys.readouterr().err == "find_rate: 300 done in 1m 05s\n"


def test_the_runs_of_one_script_share_a_window(on_display, options):
    """A loop of a hundred runs does not leave a hundred windows."""
    windows = [shown(on_display, TkFrontend(options), task) for task in ("first", "second")]
    assert windows[0] == windows[1]
    assert len(on_display.processes()) == 1


def test_runs_at_the_same_time_have_a_window_each(on_display, options):
    """Two threads of a script may each run tasks."""
    frontends = [TkFrontend(options), TkFrontend(options)]
    assert opened(on_display, frontends[0], running("one")) != opened(
        on_display, frontends[1], running("two")
    )
    for frontend in frontends:
        frontend.close()


def test_a_window_that_is_to_end_in_another_way_is_another_window(on_display, options):
    """gui='stay' is a promise about the window of that run."""
    shown(on_display, TkFrontend(replace(options, argument="stay")), "first")
    shown(on_display, TkFrontend(replace(options, argument="close")), "second")
    assert len(on_display.processes()) == 2


def test_a_fork_of_the_script_has_no_window(on_display, options):
    """What a forked copy does, and when it ends, is nothing to the window of the script."""
    shown(on_display, TkFrontend(options), "first")
    child = os.fork()
    if not child:
        os._exit(0 if adopt("auto") is None else 1)
    assert os.waitpid(child, 0)[1] == 0
    shown(on_display, TkFrontend(options), "second")
    assert len(on_display.processes()) == 1


def test_an_end_that_nobody_knows_is_an_error_before_the_run_begins():
    """Else a slip of the pen would be noticed in the morning."""
    store = MemoryStore()
    with pytest.raises(UnknownName, match="no end of the window is called 'foo'; known: stay, close, wait"):
        run_tasks(store, abs, [1, 2], progress="tk:foo")
    assert store.runs() == []


def test_messages_are_printed_beside_the_window(on_display, options, instead, capsys):
    """With verbose=True, as Brian did."""
    frontend = TkFrontend(replace(options, verbose=True))
    opened(on_display, frontend, running())
    frontend.show(running(state="finished"))
    frontend.close()
    assert instead.last.state == "finished"
    assert instead.closed
    assert capsys.readouterr().err == "", "the line is for the other one to print"


# -- without a window ------------------------------------------------------------------------------


def test_without_a_display_one_warning_says_so_and_progress_is_shown_elsewhere(
    monkeypatch, options, instead, recwarn
):
    """A cluster's nodes have none; that is no reason not to compute."""
    monkeypatch.delenv("DISPLAY", raising=False)
    frontend = TkFrontend(options)
    for snapshot in (running(), running(state="finished")):
        frontend.show(snapshot)
        assert not any(frontend.controls())
    frontend.close()
    [warning] = recwarn
    assert "there is no display (DISPLAY is not set)" in str(warning.message)
    assert "gui=False" in str(warning.message)
    assert warning.filename == __file__, "the warning is about the user's line"
    assert [snapshot.state for snapshot in instead.snapshots] == ["running", "finished"]
    assert instead.closed


def test_who_watches_from_a_terminal_is_told_by_a_line_that_there_is_no_window(
    monkeypatch, options, instead, capsys, recwarn
):
    """There is no script that a warning could point to, nor gui=False."""
    monkeypatch.delenv("DISPLAY", raising=False)
    frontend = TkFrontend(replace(options, watching=True))
    frontend.show(running())
    frontend.close()
    said = capsys.readouterr().err
    assert said.startswith("the window cannot open: there is no display")
    assert said.endswith("So progress is shown in the terminal\n")
    assert not recwarn
    assert instead.last == running()


def test_without_tk_the_warning_says_what_to_install(monkeypatch, options, instead):
    """Debian and Homebrew ship Python without it."""
    if "_tkinter" in sys.builtin_module_names:
        pytest.skip("Tk is built into this Python")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(sys, "path", [])
    with pytest.warns(UserWarning, match="has no Tk. Debian and Ubuntu: apt install python3-tk"):
        frontend = TkFrontend(options)
    frontend.show(running())
    assert instead.snapshots == [running()]


def test_a_display_that_does_not_answer_is_named(monkeypatch, options, instead):
    """As after logging in anew, with the old DISPLAY in a screen session."""
    monkeypatch.setenv("DISPLAY", ":7777")
    frontend = TkFrontend(options)
    with pytest.warns(UserWarning, match=":7777"):
        show_until(frontend, running(), lambda: instead.snapshots, "something else to show progress")
    frontend.close()
    assert instead.last == running()


def test_a_tk_that_cannot_be_loaded_is_named(monkeypatch, options, instead, on_display, tmp_path):
    """Its library may be missing although Python has its part."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nclass Blocked:\n    def find_spec(self, name, *rest):\n        if name == '_tkinter':\n"
        "            raise ImportError('libtk8.6.so: cannot open shared object file')\n"
        "sys.meta_path.insert(0, Blocked())\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    frontend = TkFrontend(options)
    with pytest.warns(UserWarning, match="libtk8.6.so"):
        show_until(frontend, running(), lambda: instead.snapshots, "something else to show progress")
    frontend.close()


def test_a_process_that_ends_before_the_window_is_open_is_reported(monkeypatch, options, instead, on_display):
    """Whatever it is that ends it, its last words are passed on."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    frontend = TkFrontend(options)
    with pytest.warns(UserWarning, match="the window cannot open: exit status 1"):
        show_until(frontend, running(), lambda: instead.snapshots, "something else to show progress")
    frontend.close()


def test_a_python_that_is_not_there_is_reported(monkeypatch, options, instead, on_display):
    """A virtual environment may be removed while its Python runs."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    frontend = TkFrontend(options)
    with pytest.warns(UserWarning, match="could not be started \\(No such file"):
        frontend.show(running())
    frontend.close()
    assert instead.snapshots == [running()]


# -- losing it -------------------------------------------------------------------------------------


def test_when_the_user_closes_the_window_the_terminal_takes_over(on_display, options, instead, capsys):
    """It is the window that was closed, and not the run."""
    shown = running(store="my rates.db")
    frontend = TkFrontend(options)
    on_display.press(opened(on_display, frontend, shown), "ctrl+w")
    show_until(frontend, shown, lambda: instead.snapshots, "the terminal to take over")
    assert instead.snapshots[0] == shown, "the newest is shown at once"
    frontend.show(running(state="finished"))
    frontend.close()
    said = capsys.readouterr().err
    assert said == (
        "the window was closed; the run goes on. farmhand gui 'my rates.db' opens it again, Ctrl-C stops it\n"
    )
    wait_until(lambda: not on_display.processes(), "its process to end")


@pytest.mark.parametrize("how", ["process", "server"])
def test_when_the_window_is_lost_the_terminal_takes_over(new_display, options, instead, capsys, how):
    """The window's process is killed, or the X server ends."""
    display = new_display()
    frontend = TkFrontend(options)
    opened(display, frontend, running())
    if how == "server":
        display.kill()
    else:
        display.processes()[0].kill()
    show_until(frontend, running(), lambda: instead.snapshots, "the terminal to take over")
    frontend.show(running(state="finished"))
    frontend.close()
    said = capsys.readouterr().err
    assert said.startswith("the window is gone ("), said
    assert said.endswith("; the run goes on. Ctrl-C stops it\n"), said
    assert ("signal 9, SIGKILL" in said) == (how == "process")


def test_who_watches_the_run_of_another_process_and_closes_the_window_is_done(
    on_display, options, instead, capsys
):
    """The run is somebody else's; nothing is left to show here."""
    frontend = TkFrontend(replace(options, watching=True))
    on_display.press(opened(on_display, frontend, running()), "ctrl+w")
    asked: list[object] = []

    def look() -> bool:
        frontend.show(running())
        asked.extend(frontend.controls())
        return bool(asked)

    wait_until(look, "the window to be closed")
    frontend.close()
    assert asked == [Detach()]
    assert not instead.snapshots
    assert capsys.readouterr().err == ""


def test_a_window_that_hangs_delays_nobody_and_shows_the_newest_when_it_is_back(on_display, options, capsys):
    """As under a debugger, over a bad line, or on a computer that swaps."""
    frontend = TkFrontend(options)
    opened(on_display, frontend, running())
    [process] = on_display.processes()
    process.suspend()
    for number in range(1, 3000):
        failures = (a_failure(number, "x" * 5000),)
        frontend.show(running("find_rate", failed=number, failures=failures, elapsed=60 + number * 0.1))
        assert not any(frontend.controls())
    frontend.show(running("the last one", state="finished"))
    process.resume()
    frontend.close()
    on_display.wait_for_window("the last one")


# -- the end ---------------------------------------------------------------------------------------


def test_who_asked_to_wait_waits_until_the_window_is_closed(on_display, options):
    """For a script that was started by a click, and has no terminal that would tell the result."""
    frontend = TkFrontend(replace(options, argument="wait"))
    window = opened(on_display, frontend, running("waited", state="finished"))
    closed = []

    def user() -> None:
        closed.append(True)
        on_display.press(window, "ctrl+w")

    thread = threading.Timer(0.0, user)
    thread.start()
    frontend.close()
    assert closed
    assert not on_display.processes()
    thread.join()


def test_an_interruption_ends_the_waiting(on_display, options):
    """Ctrl-C stops whatever a script does."""
    frontend = TkFrontend(replace(options, argument="wait"))
    opened(on_display, frontend, running("waited", state="finished"))
    usual = signal.getsignal(signal.SIGINT)

    def user() -> None:
        wait_until(lambda: signal.getsignal(signal.SIGINT) is not usual, "it to wait")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Timer(0.0, user)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        frontend.close()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is usual


@pytest.mark.parametrize("when", ["run", "kept"])
@pytest.mark.parametrize("interactive", [False, True], ids=["script", "prompt"])
def test_who_has_closed_the_window_of_a_script_gets_no_other_with_its_next_run(
    on_display, options, instead, monkeypatch, when, interactive
):
    """A loop of runs would open one after the other; at a prompt each call asks for one anew."""
    if interactive:
        monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    frontend = TkFrontend(options)
    window = opened(on_display, frontend, running("first"))
    [process] = on_display.processes()
    if when == "run":
        on_display.press(window, "ctrl+w")
        show_until(frontend, running("first"), lambda: instead.snapshots, "the terminal to take over")
    frontend.show(running("first", state="finished"))
    frontend.close()
    if when == "kept":
        on_display.press(window, "ctrl+w")
        psutil.wait_procs([process])
    second = RecordingFrontend()
    frontend = TkFrontend(replace(options, instead=lambda: second))
    if interactive:
        opened(on_display, frontend, running("second"))
    else:
        frontend.show(running("second"))
        assert second.snapshots == [running("second")]
        assert not on_display.processes()
    frontend.close()
    assert not process.is_running(), "it was not buried"


def test_a_window_can_be_kept_and_taken_by_hand(on_display, options):
    """Whoever takes it has it alone."""
    shown(on_display, TkFrontend(options), "first")
    window = adopt("auto")
    assert window is not None
    assert adopt("auto") is None
    keep(window)


# -- however the script was started ----------------------------------------------------------------

SCRIPT = """
import os, sys
from farmhand_tk.frontend import TkFrontend
from farmhand.progress import FrontendOptions, Snapshot
frontend = TkFrontend(FrontendOptions("find_rate"))
while not os.path.exists("seen"):
    frontend.show(Snapshot("started", elapsed=60.0))
    list(frontend.controls())
frontend.show(Snapshot("started", state="finished", elapsed=60.0))
frontend.close()
"""


@pytest.mark.parametrize("how", ["-", "-I script", "-E script", "-O -W error script"])
def test_the_window_opens_however_the_script_was_started(on_display, tmp_path, how):
    """Also beside files that have the names of modules, of which the script needs none."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("tkinter.py", "runpy.py") if how == "-" else ("tkinter.py", "farmhand_tk.py", "farmhand.py"):
        (folder / name).write_text("raise RuntimeError('this is the wrong module')")
    command = [sys.executable, *(str(script) if word == "script" else word for word in how.split())]
    with (
        open(script) as code,
        subprocess.Popen(command, cwd=folder, stdin=code, stderr=subprocess.PIPE, text=True) as process,
    ):
        on_display.wait_for_window("started")
        (folder / "seen").touch()
        assert process.stderr is not None
        # this ends, although a window may still be there that was started by what had this pipe
        assert process.stderr.read() == "started: 0 done in 1m 00s\n"
    assert process.returncode == 0


@pytest.mark.parametrize(("argument", "stays"), [("", False), ("close", False), ("stay", True)])
def test_what_becomes_of_the_window_when_the_script_ends(on_display, tmp_path, argument, stays):
    """By default it stays for one who looks at it, and here nobody does."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace('"find_rate"', f'"find_rate", argument={argument!r}'))
    with subprocess.Popen([sys.executable, script], cwd=tmp_path):
        window = on_display.wait_for_window("started")
        [windows_process] = on_display.processes()
        on_display.do("windowminimize", "--sync", window)
        (tmp_path / "seen").touch()
    if stays:
        on_display.press(window, "ctrl+w")
    psutil.wait_procs([windows_process])
    assert not windows_process.is_running()
