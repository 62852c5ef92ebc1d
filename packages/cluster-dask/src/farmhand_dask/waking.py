"""Sleep that another thread, or a signal handler, can end, and what others have to say to who sleeps."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections import deque
from typing import Any

__all__ = ["Bell"]


class Bell:
    """One thread sleeps until somebody rings, who takes no lock for it.

    Attributes
    ----------
    happened : deque of tuple
        What has been told, and not yet been taken.
    """

    def __init__(self) -> None:
        self.happened: deque[tuple[Any, ...]] = deque()
        self._ours, self._theirs = socket.socketpair()
        for end in (self._ours, self._theirs):
            end.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._ours, selectors.EVENT_READ)

    def ring(self) -> None:
        """End the sleep, or the next one."""
        with contextlib.suppress(OSError):  # full: it has rung; closed: nobody sleeps
            self._theirs.send(b"\0")

    def tell(self, *happening: Any) -> None:
        """In any thread: something has happened."""
        self.happened.append(happening)
        self.ring()

    def sleep(self, seconds: float | None) -> None:
        """Sleep for so many seconds (None: for ever), or until somebody rings."""
        if self._selector.select(seconds):
            with contextlib.suppress(BlockingIOError):
                self._ours.recv(4096)

    def close(self) -> None:
        """Release what it has; safe to call twice."""
        self._selector.close()
        self._ours.close()
        self._theirs.close()
