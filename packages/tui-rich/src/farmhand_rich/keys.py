"""Keys that steer a run: what they mean, and how they are read from a terminal that is put back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from farmhand.events import Control, Finish, Pause, Resize, Resume, Stop
from farmhand.progress import OVER, Detach, Snapshot

__all__ = ["Keyboard", "Steering", "presses"]

_NOTED = 3.0  # seconds that a note is shown which waits for nothing


class Keyboard:
    """The terminal on standard input, which tells of each key as it is pressed.

    Ctrl-C and Ctrl-Z stay signals. While this process is in the background nothing is read, and
    the terminal is as the shell wants it.
    """

    def __init__(self, descriptor: int) -> None:
        import termios  # not on Windows

        self._termios = termios
        self._descriptor = descriptor
        self._before: list[int | list[bytes | int]] | None = None  # how the terminal was

    @classmethod
    def find(cls) -> Keyboard | None:
        """The keyboard of this process; None when it has none."""
        try:
            descriptor = sys.stdin.fileno()
            if os.isatty(descriptor):
                os.tcgetpgrp(descriptor)  # not if it belongs to another session
                return cls(descriptor)
        except (OSError, ValueError, AttributeError, ImportError):
            pass
        return None

    def is_ours(self) -> bool:
        """Whether this process is in the foreground; then keys arrive from now on."""
        try:
            if os.tcgetpgrp(self._descriptor) != os.getpgrp():
                return False
            modes = self._termios.tcgetattr(self._descriptor)
            usual = self._termios.ICANON | self._termios.ECHO
            if modes[3] & usual:  # never set yet, or set by a shell since
                self._before = [*modes[:6], list(modes[6])]
                modes[3] &= ~usual
                modes[6][self._termios.VMIN] = modes[6][self._termios.VTIME] = 0
                self._termios.tcsetattr(self._descriptor, self._termios.TCSANOW, modes)
        except (OSError, self._termios.error):
            return False
        return True

    def read(self) -> bytes:
        """What was typed since the last call. To be called only when it is ours."""
        try:
            return os.read(self._descriptor, 1024)
        except OSError:
            return b""

    def restore(self) -> None:
        """Put the terminal back as it was; safe to call at any time, more than once."""
        if self._before is None:
            return
        try:
            # in the background it is another's now, and whoever changes it all the same is stopped
            if os.tcgetpgrp(self._descriptor) == os.getpgrp():
                self._termios.tcsetattr(self._descriptor, self._termios.TCSANOW, self._before)
        except (OSError, self._termios.error):
            pass  # it is gone
        self._before = None


def presses(data: bytes) -> list[str]:
    """The keys in what a terminal sent: characters, and ``''`` for each other key (arrows, ...)."""
    keys: list[str] = []
    place = 0
    while place < len(data):
        code = data[place]
        place += 1
        if code == 0x1B:  # a key that sends several bytes
            if data[place : place + 1] in (b"[", b"O"):
                place += 1
                while place < len(data) and not 0x40 <= data[place] <= 0x7E:
                    place += 1
            place += 1
            keys.append("")
        elif code < 0x80:
            keys.append(chr(code))
        elif code >= 0xC0:  # the first byte of some character
            keys.append("")
    return keys


class Steering:
    """What keys mean, and what their user is told.

    Parameters
    ----------
    watching : bool
        The run is another process's: ``q`` only leaves it.
    """

    def __init__(self, watching: bool) -> None:
        self._watching = watching
        self._asked = False  # whether to stop
        self._note = ""
        self._noted: Callable[[Snapshot], bool] = bool  # whether the note is out of date
        self._processes: int | None = None  # as many as were asked for

    def press(self, keys: list[str], snapshot: Snapshot) -> list[Control | Detach]:
        """What some keys ask for."""
        orders: list[Control | Detach] = []
        for key in keys:
            if self._is_asking():
                self._asked = False
                if key in "qQ" and key:
                    orders.append(self._waits("stopping...", lambda s: s.state == "stopping", Stop()))
                else:
                    self._tell("the run goes on", snapshot)
                break  # what else was typed was meant for something else
            order = self._meaning(key, snapshot)
            if order is not None:
                orders.append(order)
            if self._is_asking():
                break  # an answer counts once its question was seen
        return orders

    def text(self, snapshot: Snapshot) -> str:
        """What the user is told or asked now; ``''`` for nothing."""
        if snapshot.state in OVER or snapshot.state == "stopping":
            self._asked = False
        if self._asked:
            return self._question(snapshot)
        if self._note and self._noted(snapshot):
            self._note, self._processes = "", None
        return self._note

    def help(self, snapshot: Snapshot) -> list[tuple[str, str]]:
        """The keys that mean something now, each with its meaning."""
        keys = []
        if snapshot.state in ("running", "paused"):
            keys.append(("p", "resume" if snapshot.state == "paused" else "pause"))
            keys.append(("f", "finish"))
        stop = "Q" if self._watching else "q"
        if self._watching:
            keys.append(("q", "leave"))
        if snapshot.state != "stopping":
            keys.append((stop, "stop"))
        if snapshot.state in ("running", "paused"):
            keys.append(("+ -", "processes"))
        return keys

    def _is_asking(self) -> bool:
        return self._asked

    def _meaning(self, key: str, snapshot: Snapshot) -> Control | Detach | None:
        state = snapshot.state
        goes_on = state in ("running", "paused")
        match key:
            case "q" if self._watching:
                return Detach()
            case "q" | "Q" if state != "stopping":
                self._asked = True
            case "p" | "P" if state == "paused":
                return self._waits("resuming...", lambda s: s.state != "paused", Resume())
            case "p" | "P" if goes_on:
                return self._waits("pausing...", lambda s: s.state != "running", Pause())
            case "f" | "F" if goes_on:
                return self._waits("finishing the running items...", lambda s: s.state != state, Finish())
            case "+" | "=" if goes_on:
                return self._resize(1, snapshot)
            case "-" | "_" if goes_on:
                return self._resize(-1, snapshot)
        return None

    def _resize(self, step: int, snapshot: Snapshot) -> Control | None:
        before = snapshot.wanted or len(snapshot.processes)
        if self._processes is not None:
            before = self._processes
        wanted = before + step
        if wanted < 1:
            self._tell("one process is the least; p pauses", snapshot)
            return None
        self._processes = wanted
        text = "1 process..." if wanted == 1 else f"{wanted} processes..."
        return self._waits(text, lambda s: s.wanted == wanted == len(s.processes), Resize(wanted))

    def _waits(self, text: str, until: Callable[[Snapshot], bool], order: Control) -> Control:
        self._note, self._noted = text, lambda s: until(s) or s.state in OVER
        return order

    def _tell(self, text: str, snapshot: Snapshot) -> None:
        end = snapshot.elapsed + _NOTED
        self._note, self._noted = text, lambda s: not snapshot.elapsed <= s.elapsed < end

    def _question(self, snapshot: Snapshot) -> str:
        running = sum(process.index is not None for process in snapshot.processes)
        lost = "no item is given up"
        if running:
            lost = f"{_plural(running, 'running item')} {'is' if running == 1 else 'are'} given up"
        kept = f"{_plural(snapshot.done, 'result')} {'stays' if snapshot.done == 1 else 'stay'}"
        key = "Q" if self._watching else "q"
        return f"{key} again stops: {lost}, {kept}; any other key: go on"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
