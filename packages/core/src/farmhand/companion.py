"""A process beside the farm, in which a frontend has a loop of its own: a window, what draws plots.

It is told over a socket what there is to show (:mod:`farmhand.remote`), and never waited for.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Sequence

from farmhand.local.launch import interpreter_flags
from farmhand.remote import RemoteFrontend
from farmhand.stdlib import signal_name, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = ["Companion"]

# The folder that the script was started in, and the script's own, may have modules of any name.
_BOOT = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; "
    "sys.path += [p for p in {roots!r} if p not in sys.path]; "
    "from runpy import run_module; run_module({package!r}, run_name='__main__', alter_sys=True)"
)
_MOST_PRINTED = 10_000  # bytes of what it printed, the last ones, in which we look for its last words


class Companion:
    """A process that runs ``python -m PACKAGE``, and the connection to it.

    Its standard input is a socket, for a :class:`farmhand.remote.RemoteRun`. It leads a session of its own,
    so that neither Ctrl-C nor the end of the terminal reaches it; it should end when the connection does.

    Parameters
    ----------
    pid : int
        The system's number for the process.
    sock : socket
        Our end of the connection.
    printed : int
        A descriptor of the file that it prints into.

    Attributes
    ----------
    pid : int
        The system's number for the process.
    remote : RemoteFrontend
        What shows a run there.
    """

    def __init__(self, pid: int, sock: socket.socket, printed: int) -> None:
        self.pid = pid
        self.remote = RemoteFrontend(sock, watching=True)
        self._sock = sock
        self._printed = printed
        self._status: int | None = None  # as waitpid says it; -1 when somebody else has asked for it
        _alive.append(self)

    @classmethod
    def start(cls, package: str, arguments: Sequence[str] = ()) -> Self:
        """Start one.

        Parameters
        ----------
        package : str
            The package whose ``__main__`` it runs, which is imported here already.
        arguments : sequence of str, optional
            What it is started with.

        Raises
        ------
        OSError
            Its process cannot be started.
        """
        import subprocess

        cls.bury()
        roots = [_root(sys.modules[name].__file__) for name in (package, "farmhand")]
        command = [sys.executable, *interpreter_flags(), "-W", "ignore"]
        command += ["-c", _BOOT.format(roots=roots, package=package), *arguments]
        ours, theirs = socket.socketpair()
        printed = _file()
        try:
            # Not into our terminal or pipe: whoever reads that would wait for it to end.
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
        return cls(popen.pid, ours, printed)

    @staticmethod
    def bury() -> None:
        """Bury the processes that have ended."""
        _alive[:] = [each for each in _alive if each.is_alive()]

    def is_alive(self) -> bool:
        """Whether the process has not ended; it is buried when it has."""
        if self._status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
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
        """Wait so long at most until the process says something, or is gone."""
        self._wait(select.POLLIN, seconds)

    def flush(self, seconds: float) -> None:
        """Wait so long at most until the process has taken all that was sent to it."""
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
        """What ended the process that has ended, if it did not do so on purpose; else ``''``."""
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
        """End the connection; what the process does then is its own affair."""
        self.remote.stream.close()
        if self._printed >= 0:
            os.close(self._printed)
            self._printed = -1

    def kill(self) -> None:
        """End the process now."""
        if self.is_alive():
            os.kill(self.pid, 9)
            self.wait_for_end(1.0)

    def forget(self) -> None:
        """Close this process's copy of the connection, in a fork of the process that it is of."""
        self._sock.close()
        if self._printed >= 0:
            os.close(self._printed)
            self._printed = -1


_alive: list[Companion] = []  # those that were not seen to have ended


def _forget() -> None:
    """A fork has none of them: they are those of the process that started them."""
    for each in _alive:
        each.forget()
    _alive.clear()


def _root(file: str | None) -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(file or "")))


def _file() -> int:
    """A descriptor of a file without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("farmhand-companion")
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
