"""What a process prints: its descriptors 1 and 2 lead into a file that has no name.

So everything is caught: C code, programs that a task starts, the last words before a crash. The
file is open in both processes as one description, so that they share its position, too: asking for
the position says, in one system call, whether anything was printed. Where the output of the running
item begins is written into the page that both share.

A task may print without end. The farm looks now and then, keeps the end, and starts the file anew.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

from farmhand.local.page import FileIdentity, Page, nameless_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Output"]

_LONG = 1 << 20  # bytes; a longer file is cut to its end


class _Stream(io.FileIO):
    """Descriptor 1 or 2 for Python's own printing, which tells of each write."""

    def __init__(self, number: int, output: Output) -> None:
        super().__init__(number, "w", closefd=False)
        self._output = output

    def write(self, data: Any) -> int:
        self._output.notice()
        return super().write(data)


class Output:
    """The file, in either process.

    Parameters
    ----------
    page : Page
        Where the beginning of the running item's output is written down.
    keep : int
        How many bytes of an item's output are kept: the last ones.
    fd : int, optional
        The descriptor of the file of another process; without it a new one is made.
    """

    def __init__(self, page: Page, keep: int, fd: int | None = None) -> None:
        self._page = page
        self._keep = keep
        self._file = nameless_file() if fd is None else io.FileIO(fd, "r+", closefd=False)
        self._fd = self._file.fileno()
        self._identity = FileIdentity(self._fd)
        self.notice: Callable[[], object] = int  # nobody is interested yet

    def fileno(self) -> int:
        """The descriptor to pass to the other process."""
        return self._fd

    def redirect(self) -> None:
        """Let this process's descriptors 1 and 2, and Python's streams on them, lead here."""
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(self._fd, number)
            raw = _Stream(number, self)
            # unbuffered, so that nothing is left for the next item or lost in a crash
            stream = io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)

    def watch(self, notice: Callable[[], object]) -> Callable[[], bool]:
        """A function that says whether this item has printed; ``notice`` is called at each print.

        The latter knows of Python's streams alone, and costs nothing as long as nobody prints.
        """
        self.notice = notice
        fd, start, seek = self._fd, self._page.output, os.lseek

        def anything() -> bool:
            try:
                return seek(fd, 0, 1) != start[2]
            except OSError:  # a task has closed what is not its own
                return False

        return anything

    def take(self) -> str:
        """What the running item has printed; what comes next belongs to the next item."""
        if not self._identity.is_at(self._fd):
            return ""  # the descriptor is somebody else's by now
        try:
            end = os.lseek(self._fd, 0, os.SEEK_CUR)
            text = self._text(end)
            if end > self._keep:
                self._restart(b"")
            else:
                self._page.output[2] = end
            return text
        except OSError:
            return ""

    def tail(self) -> str:
        """What the running item has printed so far."""
        try:
            return self._text(os.lseek(self._fd, 0, os.SEEK_CUR))
        except OSError:
            return ""

    def trim(self) -> bool:
        """Cut a file that has become long to its end; for the farm, while the process prints."""
        try:
            end = os.lseek(self._fd, 0, os.SEEK_CUR)
            if end <= max(_LONG, 2 * self._keep):
                return False
            self._restart(self._bytes(end))
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _text(self, end: int) -> str:
        return self._bytes(end).decode("utf-8", "backslashreplace")

    def _bytes(self, end: int) -> bytes:
        start = self._page.output[2]
        if start > end:  # it was cut meanwhile
            start = 0
        start = max(start, end - self._keep)
        return os.pread(self._fd, end - start, start)

    def _restart(self, beginning: bytes) -> None:
        os.lseek(self._fd, 0, os.SEEK_SET)
        os.ftruncate(self._fd, 0)
        self._page.output[2] = 0
        if beginning:
            os.write(self._fd, beginning)
