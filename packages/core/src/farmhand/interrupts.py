"""Ctrl-C, and what asks a program to end, while a farm runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import FrameType

from farmhand.stdlib import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Interrupts"]


# What would end this process, with the handler that does so when nobody has set another.
_SIGNALS: dict[int, object] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
if hasattr(signal, "SIGHUP"):
    _SIGNALS[signal.SIGHUP] = signal.SIG_DFL


class Interrupts:
    """A context in which the first Ctrl-C asks the farm to stop and a second interrupts at once.

    The same for SIGTERM, which batch systems send before they kill, and for SIGHUP, which comes
    when a terminal is closed. While the user's own code runs in this thread, to give the next
    item, the first interrupts it too.

    A signal that is ignored (nohup), or handled by somebody else, is left alone, and so are all
    of them in another thread than the main one. Brian 2, when it is imported, handles Ctrl-C only to stop
    a simulation in this process, and else hands it on to Python: that is as if nobody had.

    Parameters
    ----------
    wake : callable
        Is called when the first one has come; must be safe in a signal handler.

    Attributes
    ----------
    asked, insisted : int
        The first signal that has come, and the second; 0 for none.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.asked = self.insisted = 0
        self._in_users_code = False
        self._wake = wake
        self._before: dict[int, Any] = {}  # the handlers that were there

    def __enter__(self) -> Interrupts:
        with contextlib.suppress(ValueError):  # this is not the main thread
            for number, usual in _SIGNALS.items():
                handler: Any = signal.getsignal(number)
                if handler is usual or getattr(handler, "previous_handler", None) is usual:
                    signal.signal(number, self._interrupt)
                    self._before[number] = handler
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def exception(self) -> BaseException:
        """What the signal means: KeyboardInterrupt, or the exit status that shells expect of it."""
        return KeyboardInterrupt() if self.asked == signal.SIGINT else SystemExit(128 + self.asked)

    @contextlib.contextmanager
    def users_code(self) -> Iterator[None]:
        """Around code that is not ours: Ctrl-C gets through to it, however long it blocks."""
        self._in_users_code = True
        try:
            yield
        finally:
            self._in_users_code = False

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.asked, self.insisted = number, self.asked
        self._wake()
        if self.insisted or self._in_users_code:
            raise self.exception()
