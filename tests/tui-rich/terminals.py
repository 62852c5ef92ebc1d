"""A terminal for tests: a real pseudo-terminal, and what would be seen on it, as text."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from typing import Any

import pyte

from waiting import DEADLINE

# Makes the terminal on standard input that of its session, so that keys such as Ctrl-C become signals.
TAKE_TERMINAL = """import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])"""


class Screen(pyte.HistoryScreen):
    """What is seen, and what has scrolled away above.

    Attributes
    ----------
    cleared : int
        How often all was erased from the first cell on, which tmux takes for "clear the screen".
    """

    cleared = 0

    def erase_in_display(self, how: int = 0, *args: Any, **options: Any) -> None:
        self.cleared += how == 0 and self.cursor.x == self.cursor.y == 0 and self.lines > 1
        super().erase_in_display(how, *args, **options)


class Terminal:
    """A terminal, with a program on it if one is started.

    Attributes
    ----------
    written : bytes
        All that was written to it.
    """

    def __init__(self, columns: int = 80, rows: int = 24, term: str = "xterm-256color") -> None:
        self.screen = Screen(columns, rows, history=10_000)
        self.written = b""
        self._lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self._stream = pyte.ByteStream(self.screen)
        self._master, self.slave = os.openpty()
        self._environment = {**os.environ, "TERM": term}
        for name in ("CI", "NO_COLOR", "COLUMNS", "LINES", "COLORTERM", "TMUX"):
            self._environment.pop(name, None)
        self._environment["XTERM_VERSION"] = "XTerm(1)"  # pyte does not break lines anew either
        self._set_size(columns, rows)
        self.before = self.modes

    def start(self, *command: str | os.PathLike[str], **environment: str) -> Terminal:
        """Start a program on this terminal, in a session of its own."""
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", TAKE_TERMINAL, *map(str, command)],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=self._environment | environment,
            start_new_session=True,
        )
        return self

    def type(self, keys: str) -> None:
        """Press some keys."""
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Make it as wide and as high, as a user does with the mouse."""
        self.read()
        self.screen.resize(rows, columns)
        self._set_size(columns, rows)

    def read(self, seconds: float = 0.0) -> bool:
        """Take what was written to it; whether there was anything within so many seconds."""
        with self._lock:
            return self._read(seconds)

    def _read(self, seconds: float) -> bool:
        found = False
        while self._master >= 0 and select.select([self._master], [], [], 0.0 if found else seconds)[0]:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:  # what Linux says when nobody has the other end any more
                break
            self.written += data
            self._stream.feed(data)
            found = True
        return found

    @property
    def lines(self) -> list[str]:
        """What stands on it now, without what is empty at the end."""
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def all_lines(self) -> list[str]:
        """The same, with what has scrolled away above."""
        above = [
            "".join(line[n].data for n in range(self.screen.columns)) for line in self.screen.history.top
        ]
        return [*(line.rstrip() for line in above), *self.lines]

    @property
    def text(self) -> str:
        """The lines in one piece."""
        return "\n".join(self.lines)

    @property
    def modes(self) -> list[Any]:
        """How the terminal treats what is typed."""
        return termios.tcgetattr(self.slave)

    @property
    def echoes(self) -> bool:
        """Whether it is as shells want it: what is typed is seen, and arrives in lines."""
        both = termios.ICANON | termios.ECHO
        return self.modes[3] & both == both

    def see(self, what: str | Callable[[], object]) -> str:
        """Wait until a text stands on the screen, or something is so; what the screen shows then."""
        deadline = time.monotonic() + DEADLINE
        while not (what in self.text if isinstance(what, str) else what()):
            assert time.monotonic() < deadline, f"waited in vain for {what!r}; the screen:\n{self.text}"
            self.read(0.02)
        return self.text

    def end(self) -> int:
        """Wait until the program has ended; its exit status."""
        assert self.process is not None
        deadline = time.monotonic() + DEADLINE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end; the screen:\n{self.text}"
            self.read(0.02)
        self.read()
        return self.process.returncode

    def hang_up(self) -> None:
        """Close the window of the terminal."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def close(self) -> None:
        """Take the terminal away, and end what still runs on it."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.hang_up()
        os.close(self.slave)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
