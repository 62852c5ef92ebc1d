"""Starting, killing and burying one process."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping

from farmhand import resources
from farmhand.cpus import SHARE
from farmhand.local.output import Output
from farmhand.local.page import Page
from farmhand.stdlib import signal, signal_name, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import NoReturn

__all__ = ["Child", "fork", "interpreter_flags", "spawn"]

_BOOT = (
    "import sys; sys.path[:] = [p for p in sys.path if p] + [{root!r}]; "
    "from farmhand.local.worker import main; main({sock}, {page}, {lifeline}, {output}, {keep}, {number})"
)
_ROOM = 1 << 20  # bytes; the system may give less
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
        """Kill the process and all that it started.

        Of a process that has ended already, only what stayed in its group is known to be its own.
        """
        if hasattr(os, "killpg"):
            started = list(resources.descendants(self.pid))  # between fork and setsid it has no group
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            for pid in started:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
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
            code: int | None = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            code = None
        if self._popen is not None:
            self._popen.returncode = code or 0  # it need not wait any more
        self.sock.close()
        os.close(self.lifeline)
        if self.output is not None:
            self.output.close()
        self.page.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
        if code is None:
            return "in a way that only somebody else knows, who has waited for it"
        if code >= 0:
            return f"exit code {code}"
        name = signal_name(-code)
        return f"signal {-code} ({name})" if name else f"signal {-code}"


class _Parts:
    """What the farm and a new process share: channel, page, lifeline and output."""

    def __init__(self, keep: int, undo: contextlib.ExitStack) -> None:
        self.ours, self.theirs = socket.socketpair()
        # Room for the results of a while, so that a process works on while the farm waits for the disk.
        with contextlib.suppress(OSError):
            self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
        undo.callback(self.ours.close)
        undo.callback(self.theirs.close)
        self.page = Page()
        undo.callback(self.page.close)
        self.output = Output(self.page, keep) if keep else None
        if self.output is not None:
            undo.callback(self.output.close)
        self.lifeline, self.end = os.pipe()
        undo.callback(os.close, self.lifeline)
        undo.callback(os.close, self.end)

    def child(self, pid: int, popen: subprocess.Popen[bytes] | None = None) -> Child:
        """The farm's half, when the process has its own."""
        self.theirs.close()
        os.close(self.lifeline)
        return Child(pid, self.ours, self.page, self.end, self.output, popen)


def spawn(number: int, threads: int, keep: int, variables: Mapping[str, str]) -> Child:
    """Start a fresh interpreter that knows nothing of this one.

    Parameters
    ----------
    number : int
        The number of the process.
    threads : int
        How many threads a numerical library in it should use, unless the user has said.
    keep : int
        How many bytes of what an item prints are kept; 0: it prints where this process prints.
    variables : mapping of str to str
        What it has in its environment beside all that is in ours.
    """
    import subprocess  # slow to import, and not needed by a fork

    with contextlib.ExitStack() as undo:
        parts = _Parts(keep, undo)
        printed = -1 if parts.output is None else parts.output.fileno()
        inherited = {
            "sock": parts.theirs.fileno(),
            "page": parts.page.fileno(),
            "lifeline": parts.lifeline,
            "output": printed,
        }
        boot = _BOOT.format(root=_ROOT, keep=keep, number=number, **inherited)
        popen = subprocess.Popen(
            [sys.executable, *interpreter_flags(), "-c", boot],
            stdin=subprocess.DEVNULL,
            stdout=printed if keep else None,
            stderr=printed if keep else None,
            pass_fds=[descriptor for descriptor in inherited.values() if descriptor >= 0],
            start_new_session=True,
            env={**dict.fromkeys(_THREADS, str(threads)), **os.environ, SHARE: str(threads), **variables},
        )
        undo.pop_all()
    return parts.child(popen.pid, popen)


def fork(
    number: int,
    threads: int,
    keep: int,
    variables: Mapping[str, str],
    inherited: Iterable[socket.socket | int],
    serve: Callable[..., NoReturn],
) -> Child:
    """Start a copy of this process.

    Parameters
    ----------
    number, threads, keep, variables
        As for :func:`spawn`.
    inherited : iterable of sockets and descriptors
        What the copy must close: as long as it holds the farm's end of another process's
        channel, or of its lifeline, that process would not notice the end of the farm.
    serve : callable
        Called in the copy with its socket, its page, its end of the lifeline, its output and its
        number; never returns.
    """
    with contextlib.ExitStack() as undo:
        parts = _Parts(keep, undo)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()  # or both processes would print what waits there
        pid = os.fork()
        undo.pop_all()
    if pid:
        return parts.child(pid)
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        atexit._clear()  # the exit handlers of the script are the script's
        parts.ours.close()
        os.close(parts.end)
        for thing in inherited:
            os.close(thing) if isinstance(thing, int) else thing.close()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        if null != 0:
            os.close(null)
        os.environ.update({name: str(threads) for name in _THREADS if name not in os.environ})
        os.environ.update({SHARE: str(threads), **variables})
        parts.page.protect()
        if parts.output is not None:
            parts.output.redirect()
        serve(parts.theirs, parts.page, parts.lifeline, parts.output, number)
    finally:
        os._exit(1)


def interpreter_flags() -> list[str]:
    """The options with which another interpreter is as isolated, optimized, ... as this one."""
    import subprocess

    # what multiprocessing uses to start an interpreter like this one
    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined, no-any-return]
