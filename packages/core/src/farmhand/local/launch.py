"""Starting, killing and burying one process."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn

from farmhand.cpus import SHARE
from farmhand.local.output import Output
from farmhand.local.page import Page

__all__ = ["Child", "fork", "spawn"]

_BOOT = (
    "import sys; sys.path[:] = [p for p in sys.path if p] + [{root!r}]; "
    "from farmhand.local.worker import main; main({sock}, {page}, {lifeline}, {output}, {keep}, {number})"
)
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# the thread pools inside numpy and its like would otherwise take every CPU in every process
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


class Child:
    """A process that was started, seen from the farm.

    Parameters
    ----------
    pid : int
        The system's number for it. It leads a session and a process group of that number.
    sock : socket
        The farm's end of the channel.
    page : Page
        Where it writes down the item that it is on.
    lifeline : int
        The farm's end of a pipe through which nothing ever goes: as soon as it is closed, by
        whatever end of the farm, the process is killed with its group.
    output : Output or None
        What it prints, where that is captured.
    popen : subprocess.Popen, optional
        How it was started; None for a fork.

    Attributes
    ----------
    pidfd : int or None
        Becomes readable when the process has ended; None where the system has no such thing.
    """

    def __init__(
        self,
        pid: int,
        sock: socket.socket,
        page: Page,
        lifeline: int,
        output: Output | None,
        popen: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.pid = pid
        self.sock = sock
        self.page = page
        self.lifeline = lifeline
        self.output = output
        self._popen = popen
        self._status: int | None = None  # what waiting for it said, where that had to come first
        self.pidfd: int | None = None
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):  # an old kernel, or a sandbox
                self.pidfd = os.pidfd_open(pid)

    def kill(self) -> None:
        """Kill the process and all that it started and that stayed in its group."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            # between fork and setsid it is in no group of its own
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, signal.SIGKILL)
        elif self._popen is not None:
            self._popen.kill()

    def ended(self) -> bool:
        """Whether the process has ended; what it was is kept until :meth:`bury`."""
        try:
            if not hasattr(os, "waitid"):  # macOS before Python 3.13
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self._status = status if pid else None
                return pid != 0
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True  # somebody else has waited for it

    def bury(self) -> str:
        """Kill what the process left behind, let the system forget it, and say how it ended."""
        self.kill()  # while it is a zombie, nothing else can have its number
        try:
            status = os.waitpid(self.pid, 0)[1] if self._status is None else self._status
            code = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            code = 0
        if self._popen is not None:
            self._popen.returncode = code  # it need not wait any more
        self.sock.close()
        os.close(self.lifeline)
        if self.output is not None:
            self.output.close()
        self.page.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"signal {-code} ({signal.Signals(-code).name})"
        except ValueError:
            return f"signal {-code}"


def spawn(number: int, threads: int, keep: int) -> Child:
    """Start a fresh interpreter that knows nothing of this one.

    Parameters
    ----------
    number : int
        The number of the process.
    threads : int
        How many threads a numerical library in it should use, unless the user has said.
    keep : int
        How many bytes of what an item prints are kept; 0: it prints where this process prints.
    """
    ours, theirs = socket.socketpair()
    page = Page()
    output = Output(page, keep) if keep else None
    inherited = (theirs.fileno(), page.fileno())
    lifeline, end = os.pipe()
    try:
        printed = -1 if output is None else output.fileno()
        names = {"sock": theirs.fileno(), "page": page.fileno(), "lifeline": lifeline, "output": printed}
        popen = subprocess.Popen(
            [
                sys.executable,
                *_interpreter_flags(),
                "-c",
                _BOOT.format(root=_ROOT, keep=keep, number=number, **names),
            ],
            stdin=subprocess.DEVNULL,
            stdout=printed if output else None,
            stderr=printed if output else None,
            pass_fds=(*inherited, lifeline, *([printed] if output else [])),
            start_new_session=True,
            env={**dict.fromkeys(_THREADS, str(threads)), **os.environ, SHARE: str(threads)},
        )
    except BaseException:
        ours.close()
        os.close(end)
        if output is not None:
            output.close()
        page.close()
        raise
    finally:
        theirs.close()
        os.close(lifeline)
    return Child(popen.pid, ours, page, end, output, popen)


def fork(
    number: int,
    threads: int,
    keep: int,
    inherited: Iterable[socket.socket | int],
    serve: Callable[..., NoReturn],
) -> Child:
    """Start a copy of this process.

    Parameters
    ----------
    number, threads, keep : int
        As for :func:`spawn`.
    inherited : iterable of sockets and descriptors
        What the copy must close: as long as it holds the farm's end of another process's
        channel, or of its lifeline, that process would not notice the end of the farm.
    serve : callable
        Called in the copy with its socket, its page, its end of the lifeline, its output and its
        number; never returns.
    """
    ours, theirs = socket.socketpair()
    page = Page()
    output = Output(page, keep) if keep else None
    lifeline, end = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()  # or both processes would print what waits there
    pid = os.fork()
    if pid:
        theirs.close()
        os.close(lifeline)
        return Child(pid, ours, page, end, output)
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        atexit._clear()  # the exit handlers of the script are the script's
        ours.close()
        os.close(end)
        for thing in inherited:
            os.close(thing) if isinstance(thing, int) else thing.close()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        if null != 0:
            os.close(null)
        os.environ.update({name: str(threads) for name in _THREADS if name not in os.environ})
        os.environ[SHARE] = str(threads)
        page.protect()
        if output is not None:
            output.redirect()
        serve(theirs, page, lifeline, output, number)
    finally:
        os._exit(1)


def _interpreter_flags() -> list[str]:
    # what multiprocessing uses to start an interpreter like this one
    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined, no-any-return]
