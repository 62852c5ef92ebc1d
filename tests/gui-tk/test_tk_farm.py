"""Farms with a window, steered by a hand on the mouse and the keyboard, and robbed of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from farmhand_tk.window.looks import LIGHT
from virtual_display import VirtualDisplay, area
from waiting import DEADLINE, wait_until

# A script that tells on its standard output what a frontend is shown, and at the end what is stored.
PRELUDE = f"""
import json, os, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from farmhand import MemoryStore, run_tasks
from waiting import wait_for

def work(k, report):
    report(0.5)
    if k in GATES:
        wait_for(f"{{k}}.gate")
    return sum(range(20_000))

class Teller:
    def show(self, snapshot):
        busy = sum(process.index is not None for process in snapshot.processes)
        told = dict(state=snapshot.state, done=snapshot.done, busy=busy)
        print(json.dumps(told), flush=True)
    def controls(self):
        return ()
    def close(self):
        pass

def run(items, gui=True, poolsize=1, **options):
    progress = ["tk" if gui is True else f"tk:{{gui}}", Teller()]
    store = MemoryStore()
    summary = run_tasks(store, work, range(items), poolsize=poolsize, progress=progress, **options)
    assert summary.done == len(store.values()), "what was shown as done is not stored"
    print(json.dumps(dict(state="returned", done=summary.done, stopped=summary.stopped)), flush=True)
"""


class Farm:
    """A script that runs a farm, what it tells, and its window."""

    def __init__(self, display: VirtualDisplay, folder: Path, code: str, gates: tuple[int, ...]) -> None:
        self.display = display
        self.folder = folder
        script = folder / "script.py"
        script.write_text(f"GATES = {gates}\n{PRELUDE}\n{code}")
        with open(folder / "errors", "w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, script], cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True
            )

    def open(self, gate: int) -> None:
        """Let an item go on."""
        (self.folder / f"{gate}.gate").touch()

    def told(self) -> Mapping[str, Any]:
        """What it says next."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it has ended: {self.errors()}"
        told: Mapping[str, Any] = json.loads(line)
        return told

    def until(self, condition: Callable[[Mapping[str, Any]], object]) -> Mapping[str, Any]:
        """What it says as soon as that is so."""
        while not condition(told := self.told()):
            pass
        return told

    def until_state(self, state: str) -> Mapping[str, Any]:
        return self.until(lambda told: told["state"] == state)

    def window(self) -> str:
        return self.display.wait_for_window("^work ")

    def windows_process(self) -> psutil.Process:
        [process] = self.display.processes()
        return process

    def errors(self) -> str:
        """What it has printed beside that, and what its frontends have."""
        return (self.folder / "errors").read_text()


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Callable[..., Farm]]:
    """Start a script with a farm and a window on a display."""
    farms: list[Farm] = []

    def start(display: VirtualDisplay, code: str, gates: tuple[int, ...] = ()) -> Farm:
        farms.append(Farm(display, tmp_path, code, gates))
        return farms[-1]

    yield start
    for each in farms:
        each.process.kill()
        each.process.communicate()
        processes = each.display.processes()
        for process in processes:
            process.kill()
        psutil.wait_procs(processes)


# -- what it shows ---------------------------------------------------------------------------------


def test_the_bar_grows_with_the_run(on_display, farm):
    """What is coloured is what is done: more of the window at nine of ten items than at two of ten."""
    started = farm(on_display, "run(10)", gates=(2, 9))
    window = started.window()

    def coloured(percent: int) -> int:
        """The area of the bars once the window says so."""
        on_display.wait_for_window(f"^work {percent} %")
        return area(on_display.picture(window), LIGHT.accent)

    few = coloured(25)  # two, and half of the third
    started.open(2)
    wait_until(lambda: coloured(95) > few + 1000, "the bars to grow")
    started.open(9)
    started.until_state("returned")


# -- what its user does ----------------------------------------------------------------------------


def test_a_click_on_pause_pauses_and_one_on_resume_goes_on(on_display, farm):
    """Items that run end, none begins, nothing more is stored; then it goes on where it was."""
    started = farm(on_display, "run(10_000_000)")
    window = started.window()
    on_display.do("windowactivate", "--sync", window)
    _, _, _, height = on_display.place(window)
    pause = ("mousemove", "--window", window, 60, height - 28, "click", 1)
    on_display.do(*pause)
    paused = started.until(lambda told: told["state"] == "paused" and not told["busy"])
    for _ in range(5):
        told = started.told()
    assert told == paused, "it goes on"
    on_display.do(*pause)  # where Resume is now
    started.until(lambda told: told["state"] == "running" and told["done"] > paused["done"])


@pytest.mark.parametrize("start_method", ["spawn", "fork"])
def test_terminate_asks_and_then_everything_finished_is_stored(on_display, farm, start_method):
    """Nothing happens before the answer; after it only the running items are lost."""
    started = farm(on_display, f"run(10_000_000, start_method={start_method!r})")
    window = started.window()

    def asks() -> bool:
        """Whether the question is there, which has a frame of this colour."""
        return area(on_display.picture(window), LIGHT.wait) > 500

    on_display.press(window, "alt+t")
    wait_until(asks, "the question")
    on_display.press(window, "Escape")
    wait_until(lambda: not asks(), "the question to be gone")
    before = started.told()
    started.until(lambda told: told["state"] == "running" and told["done"] > before["done"])
    on_display.press(window, "alt+t")
    wait_until(asks, "the question")
    on_display.press(window, "Tab", "space")
    assert started.until_state("stopped")["done"] > before["done"]
    assert started.until_state("returned")["stopped"]
    assert started.process.wait(DEADLINE) == 0


def test_finish_ends_the_run_once_the_running_items_have(on_display, farm):
    """They are not lost."""
    started = farm(on_display, "run(10_000_000)", gates=(0,))
    on_display.press(started.window(), "alt+f")
    started.until_state("finishing")
    started.open(0)
    assert started.until_state("returned")["done"] >= 1


# -- how it is lost --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["closed", "killed", "no more display"])
def test_a_run_that_loses_its_window_goes_on_to_its_end(on_display, new_display, farm, how):
    """It is shown in the terminal from then on, after a line that says why."""
    display = new_display() if how == "no more display" else on_display
    started = farm(display, "run(200)", gates=(150,))
    window = started.window()
    if how == "closed":
        display.press(window, "ctrl+w")
    elif how == "killed":
        started.windows_process().kill()
    else:
        display.kill()
    wait_until(lambda: "the run goes on" in started.errors(), "the terminal to take over")
    started.open(150)
    assert started.until_state("returned") == {"state": "returned", "done": 200, "stopped": False}
    assert started.process.wait(DEADLINE) == 0
    said = started.errors()
    assert said.startswith("the window was closed" if how == "closed" else "the window is gone (")
    assert "work: 200 done in" in said


@pytest.mark.parametrize("display", ["", ":7777"])
def test_a_run_without_a_display_warns_once_and_goes_on(on_display, monkeypatch, farm, display):
    """With one line that names the script's, in which the run was begun."""
    started = farm(on_display, f"os.environ['DISPLAY'] = {display!r}\nrun(200)", gates=(150,))
    wait_until(lambda: "the window cannot open" in started.errors(), "a warning")
    started.open(150)
    started.until_state("returned")
    assert started.process.wait(DEADLINE) == 0
    said = started.errors()
    assert said.count("UserWarning") == 1
    assert f"{started.folder / 'script.py'}:" in said
    assert "work: 200 done in" in said


# -- the end ---------------------------------------------------------------------------------------


def test_the_runs_of_a_script_are_shown_one_after_the_other(on_display, farm):
    """In one window, which is gone with the script."""
    started = farm(on_display, "run(10, gui='close')\nrun(10, gui='close')", gates=(5,))
    started.window()
    process = started.windows_process()
    started.open(5)
    started.until_state("returned")
    started.until_state("returned")
    assert started.process.wait(DEADLINE) == 0
    process.wait(DEADLINE)
    assert not on_display.processes()


def test_the_call_waits_for_a_window_that_it_was_told_to_wait_for(on_display, farm):
    """And ends with it."""
    started = farm(on_display, "run(10, gui='wait')")
    started.until_state("finished")
    window = on_display.wait_for_window("^work finished")
    assert started.process.poll() is None
    on_display.press(window, "ctrl+w")
    started.until_state("returned")
    assert started.process.wait(DEADLINE) == 0


def test_ctrl_c_ends_the_waiting_and_the_script(on_display, farm):
    """The first one does: the farm, which would only note it, is over."""
    started = farm(on_display, "run(10, gui='wait')")
    on_display.wait_for_window("^work finished")
    started.process.send_signal(signal.SIGINT)
    assert started.process.wait(DEADLINE) == -signal.SIGINT
    assert "KeyboardInterrupt" in started.errors()


@pytest.mark.parametrize(("gui", "stays"), [("close", False), ("stay", True)])
def test_the_window_of_a_script_that_was_killed_says_so_or_is_gone(on_display, farm, gui, stays):
    """A script that is killed has no last word; its window knows by the end of the connection."""
    started = farm(on_display, f"run(10_000_000, gui={gui!r})")
    started.window()
    process = started.windows_process()
    started.process.kill()
    started.process.wait()
    if stays:
        on_display.press(on_display.wait_for_window("^work lost"), "ctrl+w")
    process.wait(DEADLINE)
