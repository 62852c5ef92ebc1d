"""Locks between processes, on files, for the stores on disk.

They are the kernel's: a process that dies releases its own, however it ends. Ctrl-C ends the wait for one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from farmhand.errors import StoreError

__all__ = ["Held", "locked"]

_SHORTEST, _LONGEST = 0.0005, 0.05  # seconds between two attempts
_held: set[int] = set()  # descriptors: a forked copy of one would keep the lock when its owner has died


def _forget_in_a_copy() -> None:
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_forget_in_a_copy)


class Held:
    """A lock on a file that is there for nothing else; it says which process has it.

    Parameters
    ----------
    path : str
        The file, which is made when it is not there.
    timeout : float
        Seconds to wait.
    what : str
        What is locked, for people.
    keep : bool
        Whether the file stays; else who had the lock deletes it, and only a killed process leaves it.

    Raises
    ------
    StoreError
        Another process has it for longer than that, or there can be no lock.
    """

    def __init__(self, path: str, timeout: float, what: str, keep: bool = True) -> None:
        self._pid = os.getpid()
        self._path = path
        self._keep = keep
        deadline = time.monotonic() + timeout
        while not self._try(deadline, timeout, what):
            pass  # who had it has deleted it meanwhile: others lock another file of that name

    def _try(self, deadline: float, timeout: float, what: str) -> bool:
        """Whether what was locked is the file at our path."""
        path = self._path
        try:
            self._descriptor = _open(path)
        except OSError as error:
            advice = "Get the right to write there"
            raise StoreError(path, f"{what} cannot be locked ({error.strerror})", advice) from error
        try:
            if not _acquired(self._descriptor, deadline):
                holder = os.pread(self._descriptor, 100, 0).decode("ascii", "replace").strip()
                who = f"process {holder}" if holder else "another process"
                advice = "Wait for it, end it, or open the store with a longer timeout="
                raise StoreError(path, f"{who} has kept {what} locked for {timeout:g} seconds", advice)
            if not _is(path, self._descriptor):
                os.close(self._descriptor)
                return False
            os.pwrite(self._descriptor, f"{self._pid:20}\n".encode(), 0)
        except OSError as error:
            os.close(self._descriptor)
            problem = f"{what} cannot be locked on this file system ({error.strerror})"
            raise StoreError(path, problem, "Put the store on a local disk") from error
        except BaseException:
            os.close(self._descriptor)
            raise
        _held.add(self._descriptor)
        return True

    def release(self) -> None:
        """Let others have it; a copy in a forked process has nothing to release."""
        if os.getpid() == self._pid and self._descriptor >= 0:
            if not self._keep:
                with suppress(OSError):
                    os.unlink(self._path)  # before it is unlocked: then nobody can have begun to use it
            _held.discard(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


@contextmanager
def locked(descriptor: int, path: str, timeout: float) -> Iterator[None]:
    """Exclude other writers of an open file for a moment, where the file system can.

    Where it cannot, nobody is excluded: a run has one writer, and others come in only when somebody
    forgets results or merges into it.
    """
    try:
        acquired = _acquired(descriptor, time.monotonic() + timeout)
        lockable = True
    except OSError:
        acquired, lockable = True, False
    if not acquired:
        advice = "End that process, or open the store with a longer timeout="
        raise StoreError(path, f"another process has kept it locked for {timeout:g} seconds", advice)
    try:
        yield
    finally:
        if lockable:
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _open(path: str) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    if descriptor > 2:
        return descriptor
    try:  # with 0, 1 or 2 closed, somebody's print would go there
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def _is(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _acquired(descriptor: int, deadline: float) -> bool:
    """Whether the lock could be had by then. Between two attempts signals get through, in any thread."""
    rest = _SHORTEST
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
        if time.monotonic() >= deadline:
            return False
        time.sleep(rest)
        rest = min(2 * rest, _LONGEST)
