"""One page of memory that a worker shares with the farm: the item that it is on, and since when.

When a process dies, this says which item it was on, although its last results may never have
been sent. Writing it costs nothing beside sending a message for each item.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import mmap
import os
from time import monotonic

__all__ = ["LEEWAY", "FileIdentity", "Page", "nameless_file"]

LEEWAY = 0.002  # seconds

_SIZE = mmap.PAGESIZE
_SEALS = 0x02 | 0x10  # of Linux: nobody makes the file shorter, and nobody but those who map it writes


def nameless_file() -> io.FileIO:
    """A new file that has no name and is gone when nobody has it open; in memory where that is possible."""
    if hasattr(os, "memfd_create"):
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        return io.FileIO(os.memfd_create("farmhand", flags), "r+")
    import tempfile  # not needed in a worker on Linux, and slow

    with tempfile.TemporaryFile() as file:
        return io.FileIO(os.dup(file.fileno()), "r+")


class FileIdentity:
    """What a descriptor leads to, so that it is noticed when its number leads to something else."""

    def __init__(self, fd: int) -> None:
        self._status = os.fstat(fd)

    def is_at(self, fd: int) -> bool:
        """Whether the descriptor ``fd`` leads there."""
        try:
            return os.path.samestat(os.fstat(fd), self._status)
        except OSError:
            return False


class Page:
    """The shared page, in either process.

    Parameters
    ----------
    fd : int, optional
        The descriptor of the page of another process, which is the last to map it and closes it;
        without it a new page is made.

    Attributes
    ----------
    index : memoryview
        ``index[0]`` is the item, -1 for none, -2 in a process that was not yet ready for any.
    since : memoryview
        ``since[1]`` is when it started, by ``time.monotonic``; to be written before the index,
        so that a reader never sees an item with the start of an older one. Of tiny items only now
        and then one's start is written down, so that it may be early, by up to ``LEEWAY`` seconds.
    output : memoryview
        ``output[2]`` is where the output of that item begins; see ``farmhand.local.output``.
    """

    def __init__(self, fd: int | None = None) -> None:
        self._file = nameless_file() if fd is None else io.FileIO(fd, "r+")
        if fd is None:
            self._file.truncate(_SIZE)
        self._map = mmap.mmap(self._file.fileno(), _SIZE)
        self.index = memoryview(self._map).cast("q")
        self.since = memoryview(self._map).cast("d")
        self.output = self.index
        if fd is None:
            self.index[0] = -2
        else:
            self.protect()

    def protect(self) -> None:
        """Let nobody reach the page through a descriptor any more; for the worker, which maps it last.

        A task may write into descriptors that are not its own, or cut short what they lead to.
        """
        with contextlib.suppress(AttributeError, OSError):
            fcntl.fcntl(self._file.fileno(), fcntl.F_ADD_SEALS, _SEALS)
        self._file.close()

    def fileno(self) -> int:
        """The descriptor to pass to the other process; only where the page was made."""
        return self._file.fileno()

    @property
    def is_new(self) -> bool:
        """Whether the process has not begun to listen: nothing of the task runs in it."""
        return self.index[0] == -2

    def current(self) -> tuple[int, float] | None:
        """The item and for how many seconds it has run, None for none."""
        index = self.index[0]
        return (index, max(0.0, monotonic() - self.since[1])) if index >= 0 else None

    def close(self) -> None:
        """Unmap the page."""
        self.index.release()
        self.since.release()
        self._map.close()
        self._file.close()
