"""One page of memory that a worker shares with the farm: the item that it is on, and since when.

When a process dies, this says which item it was on, although its last results may never have
been sent. Writing it costs nothing beside sending a message for each item.
"""

from __future__ import annotations

import io
import mmap
import os
import tempfile
from time import monotonic

__all__ = ["Page", "nameless_file"]

_SIZE = mmap.PAGESIZE


def nameless_file() -> io.FileIO:
    """A new file that has no name and is gone when nobody has it open; in memory where that is possible."""
    if hasattr(os, "memfd_create"):
        return io.FileIO(os.memfd_create("farmhand"), "r+")
    with tempfile.TemporaryFile() as file:
        return io.FileIO(os.dup(file.fileno()), "r+")


class Page:
    """The shared page, in either process.

    Parameters
    ----------
    fd : int, optional
        The descriptor of the page of another process; without it a new page is made.

    Attributes
    ----------
    index : memoryview
        ``index[0]`` is the item, -1 for none.
    since : memoryview
        ``since[1]`` is when it started, by ``time.monotonic``; to be written before the index,
        so that a reader never sees an item with the start of an older one.
    output : memoryview
        ``output[2]`` is where the output of that item begins; see ``farmhand.local.output``.
    """

    def __init__(self, fd: int | None = None) -> None:
        self._file = None
        if fd is None:
            self._file = nameless_file()
            self._file.truncate(_SIZE)
            fd = self._file.fileno()
        self._map = mmap.mmap(fd, _SIZE)
        self.index = memoryview(self._map).cast("q")
        self.since = memoryview(self._map).cast("d")
        self.output = self.index
        if self._file is not None:
            self.index[0] = -1

    def fileno(self) -> int:
        """The descriptor to pass to the other process; only where the page was made."""
        assert self._file is not None
        return self._file.fileno()

    def current(self) -> tuple[int, float] | None:
        """The item and for how many seconds it has run, None for none."""
        index = self.index[0]
        return (index, max(0.0, monotonic() - self.since[1])) if index >= 0 else None

    def close(self) -> None:
        """Unmap the page."""
        self.index.release()
        self.since.release()
        self._map.close()
        if self._file is not None:
            self._file.close()
