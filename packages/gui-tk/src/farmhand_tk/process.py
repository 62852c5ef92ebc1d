"""The window's process: how it starts, how it ends, and how one window serves the runs of a script."""

from __future__ import annotations

import atexit
import os
import sys

from farmhand.companion import Companion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = ["Window", "adopt", "dismiss", "is_dismissed", "keep", "let_go"]

_ENDING = 0.5  # seconds in which a process whose connection has ended is buried
_AT_EXIT = 1.0  # seconds for what a window has not taken yet when the script ends


class Window(Companion):
    """A window's process, and the connection to it.

    Attributes
    ----------
    after : str
        What becomes of it when the script ends: ``'auto'``, ``'stay'`` or ``'close'``.
    """

    after = "auto"

    @classmethod
    def open(cls, after: str, watching: bool = False) -> Self:
        """Start one.

        Parameters
        ----------
        after : str
            What becomes of it when the connection ends.
        watching : bool
            Whether the run is of another process.

        Raises
        ------
        OSError
            Its process cannot be started.
        """
        window = cls.start("farmhand_tk", ["--after", after, *(["--watching"] if watching else [])])
        window.after = after
        return window


_waiting: list[Window] = []  # those whose run is over: they may show the next one
_dismissed = False  # the user of this script has closed its window


def dismiss() -> None:
    """Note that the user has closed the window of this script, and wants no other with its next run.

    Else a loop of runs would open one with each of them. Where the user types the calls, each of
    them asks for a window anew.
    """
    global _dismissed
    _dismissed = not hasattr(sys, "ps1")


def is_dismissed() -> bool:
    """Whether the user has closed the window of this script."""
    return _dismissed


def keep(window: Window) -> None:
    """Keep a window whose run is over for the next run, until this process ends."""
    _waiting.append(window)


def adopt(after: str) -> Window | None:
    """A window of an earlier run that is still open, if there is one; nobody else gets it."""
    while _waiting:
        try:
            window = _waiting.pop()
        except IndexError:  # another thread was faster
            break
        window.remote.controls()  # nobody follows what was asked for when that run was over
        if window.after == after and not window.remote.closed and window.is_alive():
            window.remote.begin()
            return window
        if window.remote.closed:
            window.wait_for_end(_ENDING)
            if not window.last_words():
                dismiss()
        window.hang_up()
    return None


def let_go() -> None:
    """Hang up on the windows of runs that are over, and forget them; called when this process ends."""
    global _dismissed
    _dismissed = False
    while _waiting:
        window = _waiting.pop()
        window.flush(_AT_EXIT)
        window.hang_up()
    Companion.bury()


atexit.register(let_go)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_waiting.clear)
