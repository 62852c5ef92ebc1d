"""The terminal as a file that never keeps the farm waiting.

Somebody presses Ctrl-S, or a connection over which the terminal is shown breaks: then whoever writes
to the terminal stands still. So we open it once more, for ourselves alone, and write only as much as
it takes; as long as something is left, nothing new is drawn.
"""

from __future__ import annotations

import os
from typing import IO

__all__ = ["Stream"]

_MOST_PENDING = 1 << 20  # characters that are kept for a terminal which takes nothing


class Stream:
    """A stream for text that is drawn on a terminal; also where it is none, as in tests.

    Parameters
    ----------
    stream : text file
        The terminal.

    Attributes
    ----------
    closed : bool
        Nothing can be written to it any more: the terminal is gone. That is no error.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.closed = False
        encoding = getattr(stream, "encoding", None)
        self.encoding: str = encoding if isinstance(encoding, str) else "utf-8"
        self._stream = stream
        self._text: list[str] = []
        self._pending = b""  # what the terminal has not taken yet
        self._own = _opened_again(stream)

    def isatty(self) -> bool:
        """Whether it is a terminal; what rich asks."""
        return self._own is not None or _says_that_it_is_one(self._stream)

    def fileno(self) -> int:
        """The descriptor of the terminal."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Keep ``text`` until the next ``flush``."""
        self._text.append(text)
        return len(text)

    def flush(self) -> None:
        """Write as much as the terminal takes now."""
        text = "".join(self._text)
        self._text.clear()
        if self.closed:
            return
        if self._own is None:
            self._write_through(text)
            return
        self._pending += text.encode(self.encoding, "backslashreplace")
        try:
            while self._pending:
                self._pending = self._pending[os.write(self._own, self._pending) :]
        except BlockingIOError:
            pass  # the rest when it takes something again
        except OSError:
            self.closed = True
            self._pending = b""

    def is_stuck(self) -> bool:
        """Whether the terminal has not taken everything that was written by now."""
        self.flush()
        return bool(self._pending)

    def is_full(self) -> bool:
        """Whether so much waits for the terminal that nothing should be added."""
        return len(self._pending) > _MOST_PENDING

    def drain(self) -> None:
        """Wait until the terminal has taken everything."""
        import select

        while self.is_stuck() and self._own is not None:
            select.select([], [self._own], [])

    def finish(self) -> None:
        """Write what is left, however long that takes, and close what was opened."""
        self.flush()
        if self._own is None:
            return
        os.close(self._own)
        self._own = None
        rest, self._pending = self._pending, b""
        self._write_through(rest.decode(self.encoding, "replace"))

    def _write_through(self, text: str) -> None:
        try:
            if text and not self.closed:
                try:
                    self._stream.write(text)
                except UnicodeError:
                    data = text.encode(self.encoding, "backslashreplace")
                    self._stream.write(data.decode(self.encoding))
                self._stream.flush()
        except BlockingIOError:
            pass  # the next drawing says it all again
        except (OSError, ValueError):
            self.closed = True


def _says_that_it_is_one(stream: IO[str]) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, OSError, ValueError):
        return False


def _opened_again(stream: IO[str]) -> int | None:
    """A descriptor of the same terminal that never blocks; None where that cannot be had.

    To set the one that is there to that would do so for the shell, too, and for all others who
    share it.
    """
    try:
        stream.flush()
        there = stream.fileno()
        own = os.open(os.ttyname(there), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError, AttributeError):  # the last one on Windows
        return None
    if os.fstat(own).st_rdev == os.fstat(there).st_rdev:
        return own
    os.close(own)  # in a container the name may be that of another terminal
    return None
