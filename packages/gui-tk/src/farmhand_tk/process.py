"""The window's process: how it starts, how it ends, and how one window serves the runs of a script."""

from __future__ import annotations

import atexit
import os
import select
import sys
import time

from farmhand.local.launch import interpreter_flags
from farmhand.remote import RemoteFrontend
from farmhand.stdlib import signal_name, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = ["Window", "adopt", "dismiss", "is_dismissed", "keep", "let_go"]

# The folder that the script was started in, and the script's own, may have modules of any name.
_BOOT = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; "
    "sys.path += [p for p in {roots!r} if p not in sys.path]; "
    "from runpy import run_module; run_module('farmhand_tk', run_name='__main__', alter_sys=True)"
)
_MOST_PRINTED = 10_000  # bytes of what it printed, the last ones, in which we look for its last words
_ENDING = 0.5  # seconds in which a process whose connection has ended is buried
_AT_EXIT = 1.0  # seconds for what a window has not taken yet when the script ends


class Window:
    """A window's process, and the connection to it.

    Parameters
    ----------
    pid : int
        The system's number for the process.
    sock : socket
        Our end of the connection.
    printed : int
        A descriptor of the file that it prints into.
    after : str
        What becomes of it when the script ends: ``'auto'``, ``'stay'`` or ``'close'``.

    Attributes
    ----------
    remote : RemoteFrontend
        What shows a run there.
    """

    def __init__(self, pid: int, sock: socket.socket, printed: int, after: str) -> None:
        self.after = after
        self.remote = RemoteFrontend(sock, watching=True)
        self._pid = pid
        self._sock = sock
        self._printed = printed
        self._status: int | None = None  # as waitpid says it; -1 when somebody else has asked for it
        _alive.append(self)

    @classmethod
    def open(cls, after: str, watching: bool = False) -> Self:
        """Start one.

        Parameters
        ----------
        after : str
            What becomes of it when the connection ends.
        watching : bool
            Whether the run is of another process.

        Raises
        ------
        OSError
            Its process cannot be started.
        """
        import subprocess

        _bury()
        roots = [_root(sys.modules[name].__file__) for name in ("farmhand_tk", "farmhand")]
        command = [sys.executable, *interpreter_flags(), "-W", "ignore"]
        command += ["-c", _BOOT.format(roots=roots), "--after", after]
        if watching:
            command.append("--watching")
        ours, theirs = socket.socketpair()
        printed = _file()
        try:
            # Not into our terminal or pipe: whoever reads that would wait for the window to close.
            # A session of its own, which neither Ctrl-C nor the end of the terminal reaches.
            popen = subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=printed, stderr=printed, start_new_session=True
            )
        except BaseException:
            ours.close()
            os.close(printed)
            raise
        finally:
            theirs.close()
        popen.returncode = 0  # waiting for it is up to us, and it may outlive us
        return cls(popen.pid, ours, printed, after)

    def is_alive(self) -> bool:
        """Whether the process has not ended; it is buried when it has."""
        if self._status is None:
            try:
                pid, status = os.waitpid(self._pid, os.WNOHANG)
                self._status = status if pid else None
            except ChildProcessError:
                self._status = -1
        return self._status is None

    def wait_for_end(self, seconds: float) -> None:
        """Wait so long at most until the process has ended."""
        deadline = time.monotonic() + seconds
        while self.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)

    def wait_for_news(self, seconds: float) -> None:
        """Wait so long at most until the window says something, or is gone."""
        self._wait(select.POLLIN, seconds)

    def flush(self, seconds: float) -> None:
        """Wait so long at most until the window has taken all that was sent to it."""
        stream = self.remote.stream
        deadline = time.monotonic() + seconds
        left = seconds
        while stream.is_full and not stream.closed and left > 0:
            self._wait(select.POLLOUT, left)
            stream.flush()
            left = deadline - time.monotonic()

    def _wait(self, event: int, seconds: float) -> None:
        stream = self.remote.stream
        if stream.closed:
            time.sleep(min(seconds, 0.01))
            return
        poll = select.poll()
        poll.register(stream.fileno(), event)
        poll.poll(seconds * 1000)

    def last_words(self) -> str:
        """What ended the process that has ended, if that was no decision of its user; else ``''``."""
        if self._status is None or self._status <= 0:
            return ""
        code = os.waitstatus_to_exitcode(self._status)
        if code < 0:
            name = signal_name(-code)
            return f"signal {-code}, {name}" if name else f"signal {-code}"
        size = os.fstat(self._printed).st_size
        printed = os.pread(self._printed, _MOST_PRINTED, max(0, size - _MOST_PRINTED))
        lines = printed.decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"exit status {code}: {said}" if said else f"exit status {code}"

    def hang_up(self) -> None:
        """End the connection; what the window does then is its own affair."""
        self.remote.stream.close()
        if self._printed >= 0:
            os.close(self._printed)
            self._printed = -1

    def forget(self) -> None:
        """Close this process's copy of the connection, in a fork of the process that it is of."""
        self._sock.close()
        if self._printed >= 0:
            os.close(self._printed)
            self._printed = -1


_alive: list[Window] = []  # those that were not seen to have ended
_waiting: list[Window] = []  # those whose run is over: they may show the next one
_dismissed = False  # the user of this script has closed its window


def dismiss() -> None:
    """Note that the user has closed the window of this script, and wants no other with its next run.

    Else a loop of runs would open one with each of them. Where the user types the calls, each of
    them asks for a window anew.
    """
    global _dismissed
    _dismissed = not hasattr(sys, "ps1")


def is_dismissed() -> bool:
    """Whether the user has closed the window of this script."""
    return _dismissed


def keep(window: Window) -> None:
    """Keep a window whose run is over for the next run, until this process ends."""
    _waiting.append(window)


def adopt(after: str) -> Window | None:
    """A window of an earlier run that is still open, if there is one; nobody else gets it."""
    while _waiting:
        try:
            window = _waiting.pop()
        except IndexError:  # another thread was faster
            break
        window.remote.controls()  # nobody follows what was asked for when that run was over
        if window.after == after and not window.remote.closed and window.is_alive():
            window.remote.begin()
            return window
        if window.remote.closed:
            window.wait_for_end(_ENDING)
            if not window.last_words():
                dismiss()
        window.hang_up()
    return None


def let_go() -> None:
    """Hang up on the windows of runs that are over, and forget them; called when this process ends."""
    global _dismissed
    _dismissed = False
    while _waiting:
        window = _waiting.pop()
        window.flush(_AT_EXIT)
        window.hang_up()
    _bury()


def _bury() -> None:
    _alive[:] = [window for window in _alive if window.is_alive()]


def _forget() -> None:
    """A fork has none of the windows: they are those of the process that opened them."""
    for window in _alive:
        window.forget()
    _alive.clear()
    _waiting.clear()


def _root(file: str | None) -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(file or "")))


def _file() -> int:
    """A descriptor of a file without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("farmhand-window")
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


atexit.register(let_go)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
