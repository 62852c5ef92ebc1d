"""One page of memory that a worker shares with the farm: the item that it is on, and since when.

When a process dies, this says which item it was on, although its last results may never have
been sent. Writing it costs nothing beside sending a message for each item.
"""

from __future__ import annotations

import mmap
import tempfile
import time

__all__ = ["Page"]

_SIZE = mmap.PAGESIZE


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
    """

    def __init__(self, fd: int | None = None) -> None:
        self._file = None
        if fd is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close(); has no name on disk
            self._file.truncate(_SIZE)
            fd = self._file.fileno()
        self._map = mmap.mmap(fd, _SIZE)
        self.index = memoryview(self._map).cast("q")
        self.since = memoryview(self._map).cast("d")
        if self._file is not None:
            self.index[0] = -1

    def fileno(self) -> int:
        """The descriptor to pass to the other process; only where the page was made."""
        assert self._file is not None
        return self._file.fileno()

    def current(self) -> tuple[int, float] | None:
        """The item and for how many seconds it has run, None for none."""
        index = self.index[0]
        return (index, max(0.0, time.monotonic() - self.since[1])) if index >= 0 else None

    def close(self) -> None:
        """Unmap the page."""
        self.index.release()
        self.since.release()
        self._map.close()
        if self._file is not None:
            self._file.close()
