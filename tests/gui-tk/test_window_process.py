"""The window as a process of its own: how it begins, what it says first, and how it ends."""

from __future__ import annotations

import ctypes
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from farmhand.events import Pause
from farmhand.progress import ProcessView, Snapshot
from farmhand.remote import RemoteFrontend
from virtual_display import VirtualDisplay
from waiting import DEADLINE, wait_until

RUN = Snapshot(
    task="find_rate",
    store="/data/rates.db",
    run="r1",
    total=300,
    done=100,
    elapsed=725.0,
    complete=0.4,
    wanted=1,
    processes=(ProcessView(0, 77, "busy", 12, "(13.2, 0.5)"),),
)
NO_TK = "import sys; sys.modules['_tkinter'] = None"


class WindowProcess:
    """A process of a window, and the farm's end of its connection."""

    def __init__(self, *options: str, python: tuple[str, ...] = ("-m", "farmhand_tk")) -> None:
        ours, its = socket.socketpair()
        with its:
            self.process = subprocess.Popen(
                [sys.executable, *python, *options], stdin=its, stderr=subprocess.PIPE, text=True
            )
        self.sock = ours
        self.sock.settimeout(DEADLINE)

    def first_line(self) -> dict[str, object]:
        """What it says before anything else."""
        line = b""
        while not line.endswith(b"\n"):
            byte = self.sock.recv(1)
            assert byte, "the window has hung up without a word"
            line += byte
        said: dict[str, object] = json.loads(line)
        return said

    def farm(self) -> RemoteFrontend:
        """The farm's end, once the window is there."""
        assert self.first_line() == {"request": "ready"}
        return RemoteFrontend(self.sock, watching=True)

    def status(self) -> int:
        """How it ended, which it does soon."""
        return self.process.wait(DEADLINE)

    def end(self) -> None:
        self.sock.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def open_window() -> Iterator[Callable[..., WindowProcess]]:
    """Start the window's process with some options."""
    started: list[WindowProcess] = []

    def start(*options: str, **others: tuple[str, ...]) -> WindowProcess:
        started.append(WindowProcess(*options, **others))
        return started[-1]

    yield start
    for each in started:
        each.end()


def test_it_says_that_it_is_ready_and_shows_what_comes(on_display, open_window):
    """The farm knows then that nobody has to be shown text instead."""
    window = open_window()
    window.farm().show(RUN)
    wait_until(lambda: on_display.do("search", "--name", "find_rate 40 % - rates.db").stdout.strip())


def test_closing_it_ends_its_process_and_nothing_else(on_display, open_window):
    """The farm sees the end of the connection, and goes on."""
    window = open_window()
    farm = window.farm()
    farm.show(RUN)
    wait_until(lambda: on_display.do("search", "--name", "find_rate 40 %").stdout.strip())
    focus(on_display, "find_rate 40 %")
    on_display.do("key", "ctrl+w")
    assert window.status() == 0
    wait_until(lambda: list(farm.controls()) or farm.closed)
    assert window.process.stderr.read() == ""


def test_a_key_that_is_really_pressed_gives_an_order(on_display, open_window):
    """From the keyboard through the X server and the window to the farm."""
    farm = open_window().farm()
    farm.show(RUN)
    wait_until(lambda: on_display.do("search", "--name", "find_rate 40 %").stdout.strip())
    focus(on_display, "find_rate 40 %")
    on_display.do("key", "alt+p")
    asked: list[object] = []
    wait_until(lambda: asked.extend(farm.controls()) or asked)
    assert asked == [Pause()]


def focus(display: VirtualDisplay, name: str) -> None:
    """Give the keyboard to a window, as its user would by a click."""
    number = display.do("search", "--name", name).stdout.split()[-1]
    display.do("windowactivate", "--sync", number)
    wait_until(lambda: display.do("getwindowfocus").stdout.split()[-1:] == [number], "the focus")


def test_ctrl_c_in_the_terminal_is_not_for_the_window(on_display, open_window):
    """It stops the farm, and the window shows how that goes."""
    window = open_window()
    farm = window.farm()
    window.process.send_signal(signal.SIGINT)
    farm.show(RUN)
    wait_until(lambda: on_display.do("search", "--name", "find_rate 40 %").stdout.strip())
    window.process.send_signal(signal.SIGTERM)
    assert window.status() == -signal.SIGTERM


@pytest.mark.parametrize("last", [RUN, replace(RUN, state="finished", processes=())], ids=["killed", "ended"])
def test_one_that_closes_with_the_script_leaves_no_process(on_display, open_window, last):
    """However the script ended."""
    window = open_window("--after", "close")
    farm = window.farm()
    farm.show(last)
    farm.close()
    assert window.status() == 0


def test_one_whose_farm_was_killed_says_so_and_stays(on_display, open_window):
    """Somebody comes back in the morning, and reads what happened in the night."""
    window = open_window("--after", "auto")
    farm = window.farm()
    farm.show(RUN)
    wait_until(lambda: on_display.do("search", "--name", "find_rate 40 %").stdout.strip())
    farm.close()
    wait_until(lambda: on_display.do("search", "--name", "find_rate lost").stdout.strip())
    assert window.process.poll() is None


@pytest.mark.parametrize(
    ("display", "reason"),
    [("", "there is no display: DISPLAY is not set"), (":4077", "the display :4077 cannot be reached")],
)
def test_one_without_a_display_says_so(monkeypatch, open_window, display, reason):
    """In words, over the connection, so that the farm's user reads them."""
    monkeypatch.setenv("DISPLAY", display)
    window = open_window()
    said = window.first_line()
    assert said["request"] == "failed"
    assert str(said["reason"]).startswith(reason)
    assert window.status() == 3


def test_one_without_tk_says_what_to_install(open_window):
    """Many Pythons come without."""
    run = "from runpy import run_module; run_module('farmhand_tk', run_name='__main__', alter_sys=True)"
    window = open_window(python=("-c", f"{NO_TK}; {run}"))
    said = window.first_line()
    assert said["request"] == "failed"
    assert "apt install python3-tk" in str(said["reason"])
    assert window.status() == 3


def test_it_is_not_for_people_to_start():
    """Who tries is told which command opens a window."""
    done = subprocess.run(
        [sys.executable, "-m", "farmhand_tk"], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "farmhand gui STORE" in done.stderr


# -- sizes -----------------------------------------------------------------------------------------


MEASURE = """
from farmhand_tk.window.looks import Looks, prepare
looks = Looks(prepare())
print(looks.font.metrics("linespace"), looks.px(12))
"""


def sizes() -> tuple[int, int]:
    """The height of a line of text, and what twelve ordinary pixels are here.

    In a process of its own: Tk keeps its connection to a display, and dies with that.
    """
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    line, pixels = map(int, done.stdout.split())
    return line, pixels


def test_everything_is_larger_on_a_screen_with_more_pixels(new_display):
    """Text and everything around it: a screen of 192 dots an inch has twice as many pixels for the same."""
    new_display(dpi=96)
    line, pixels = sizes()
    new_display(dpi=192)
    large_line, large_pixels = sizes()
    assert large_line == pytest.approx(2 * line, abs=3)
    assert large_pixels == pytest.approx(2 * pixels, abs=1)


def test_the_size_can_be_chosen(on_display, monkeypatch):
    """Not every screen says the truth about itself."""
    line, pixels = sizes()
    monkeypatch.setenv("FARMHAND_SCALE", "2")
    large_line, large_pixels = sizes()
    assert large_line == pytest.approx(2 * line, abs=3)
    assert large_pixels == pytest.approx(2 * pixels, abs=1)
    for nonsense in ("large", "-1", "1e9", "nan"):
        monkeypatch.setenv("FARMHAND_SCALE", nonsense)
        assert sizes() == (line, pixels)


def test_the_size_that_the_desktop_is_set_to_is_heeded(new_display):
    """Desktops tell X programs by the resource Xft.dpi."""
    display = new_display()
    line, pixels = sizes()
    set_resources(display.name, b"Xft.dpi:\t192\n")
    large_line, large_pixels = sizes()
    assert large_line == pytest.approx(2 * line, abs=3)
    assert large_pixels == pytest.approx(2 * pixels, abs=1)


def set_resources(name: str, text: bytes) -> None:
    """Write the X resources of a display, as xrdb does."""
    resource_manager, string, eight_bits, replacing = 23, 31, 8, 0
    x = ctypes.CDLL("libX11.so.6")
    pointer, number = ctypes.c_void_p, ctypes.c_ulong
    x.XOpenDisplay.restype, x.XOpenDisplay.argtypes = pointer, [ctypes.c_char_p]
    x.XDefaultRootWindow.restype, x.XDefaultRootWindow.argtypes = number, [pointer]
    x.XChangeProperty.argtypes = [
        *(pointer, number, number, number, ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
    ]
    x.XCloseDisplay.argtypes = [pointer]
    display = x.XOpenDisplay(name.encode())
    root = x.XDefaultRootWindow(display)
    x.XChangeProperty(display, root, resource_manager, string, eight_bits, replacing, text, len(text))
    x.XCloseDisplay(display)
