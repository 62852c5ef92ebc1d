"""Ctrl-C while a farm runs."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["Interrupts"]


class Interrupts:
    """A context in which the first Ctrl-C asks the farm to stop and a second interrupts at once.

    While the user's own code runs in this thread, to give the next item, the first interrupts it too.

    Where SIGINT is ignored (nohup), or handled by somebody else, or in another thread than the
    main one, it is left alone.

    Parameters
    ----------
    wake : callable
        Is called when the first one has come; must be safe in a signal handler.

    Attributes
    ----------
    asked, insisted : bool
        Whether the first one has come, and the second.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.asked = self.insisted = False
        self._in_users_code = False
        self._wake = wake
        self._mine = False

    def __enter__(self) -> Interrupts:
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            self._mine = True
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._mine:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    @contextlib.contextmanager
    def users_code(self) -> Iterator[None]:
        """Around code that is not ours: Ctrl-C gets through to it, however long it blocks."""
        self._in_users_code = True
        try:
            yield
        finally:
            self._in_users_code = False

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.asked, self.insisted = True, self.asked
        self._wake()
        if self.insisted or self._in_users_code:
            raise KeyboardInterrupt
