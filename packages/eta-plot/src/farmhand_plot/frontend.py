"""The progress frontend ``'plot:eta.png'``: a figure of the run, written again every few seconds.

Drawing takes a good part of a second, and matplotlib half of one to import, so that a process beside the
farm does it (``python -m farmhand_plot``). It is told of the run over a socket that is never waited for,
except for the last figure.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable

from farmhand import FarmhandError, UsageError
from farmhand.companion import Companion
from farmhand.events import Control
from farmhand.progress import OVER, Detach, FrontendOptions, Snapshot
from farmhand.values import replace
from farmhand.wording import RemainingWords, TimeLeft
from farmhand_plot.files import checked, clean

__all__ = ["PlotFrontend"]

_SOON = 1.0  # seconds of a run before which matplotlib would only compete with the processes that start
_INTERVAL = 0.5  # seconds between two snapshots that are handed on,
_SHARE = 1 / 400  # or this part of the run's time so far, if that is longer,
_MOST_INTERVAL = 10.0  # but not more
_LAST = 30.0  # seconds in which the last figure should be there,
_LAST_OF_STOPPED = 1.5  # or where somebody has pressed Ctrl-C, and waits
_ENDING = 1.0  # seconds in which a process that has given up should have ended


class PlotFrontend:
    """Writes a figure of the run: items over time, and the history of the estimate.

    Parameters
    ----------
    options : FrontendOptions
        ``argument`` is the file; its ending says which kind.

    Raises
    ------
    UsageError
        No file is named, or none can be written there.
    """

    def __init__(self, options: FrontendOptions) -> None:
        if not options.argument:
            raise UsageError("name the file that the plot is written to: progress='plot:eta.png'")
        self._name = options.argument
        self._path = checked(options.argument)
        self._watching = options.watching
        self._companion: Companion | None = None
        self._next = 0.0  # seconds of the run at which the next snapshot is handed on
        self._last_state = ""
        self._failed_items = 0
        self._words = RemainingWords()
        self._left = TimeLeft()  # what other frontends say now
        self._early: list[Snapshot] = []  # where that changed before there was a process to be told

    def show(self, snapshot: Snapshot) -> None:
        """Hand ``snapshot`` on, if it is time for one."""
        over = snapshot.state in OVER
        left, self._left = self._left, self._words.of(snapshot, time.time())
        if over and not snapshot.run and snapshot.skipped and os.path.exists(self._path):
            return  # there was nothing to do; the figure of the run before says more
        if self._companion is None:
            if not (over or self._watching or snapshot.elapsed >= _SOON):
                if self._left != left:
                    self._early.append(_slim(snapshot))
                return
            self._companion = self._start()
            while self._early:
                self._companion.remote.show(self._early.pop(0))
        failed, self._failed_items = self._failed_items, snapshot.failed
        # new words are handed on at once, so that those below the figure follow
        is_news = over or snapshot.failed != failed or self._left != left
        if not is_news and snapshot.elapsed < self._next:
            self._companion.remote.stream.flush()
            return
        pause = min(max(_INTERVAL, snapshot.elapsed * _SHARE), _MOST_INTERVAL)
        self._next = snapshot.elapsed + pause
        self._last_state = snapshot.state
        self._companion.remote.show(_slim(snapshot))

    def controls(self) -> Iterable[Control | Detach]:
        """Nothing can be asked for; but what went wrong is raised."""
        companion = self._companion
        if companion is not None:
            companion.remote.controls()
            gone = companion.remote.failed is not None or not companion.is_alive()
            if gone and self._last_state not in OVER:
                raise self._failed(companion)
        return ()

    def close(self) -> None:
        """Wait for the last figure."""
        companion, self._companion = self._companion, None
        if companion is None:
            return
        try:
            if self._last_state in OVER:
                seconds = _LAST_OF_STOPPED if self._last_state == "stopped" else _LAST
                deadline = time.monotonic() + seconds
                companion.flush(seconds)
                while companion.is_alive() and time.monotonic() < deadline:
                    # its end is the end of the connection, too
                    companion.wait_for_news(max(0.0, deadline - time.monotonic()))
                    companion.remote.controls()
                if companion.is_alive():
                    if self._last_state == "stopped":
                        return  # what was drawn before has to do
                    companion.remote.failed = f"it was not drawn within {_LAST:.0f} s"
                if companion.remote.failed is not None or companion.last_words():
                    raise self._failed(companion)
        finally:
            companion.hang_up()
            companion.kill()
            clean(self._path)  # of what it may just have been writing

    def _start(self) -> Companion:
        if not sys.executable:
            raise FarmhandError("this program does not know its Python (sys.executable), which would plot")
        return Companion.start("farmhand_plot", [self._path])

    def _failed(self, companion: Companion) -> FarmhandError:
        companion.wait_for_end(_ENDING)
        reason = companion.remote.failed
        if reason is None:
            reason = f"the process that draws it has ended ({companion.last_words() or 'it was closed'})"
        return FarmhandError(f"{self._name!r} is not written any more: {reason}")


def _slim(snapshot: Snapshot) -> Snapshot:
    """Without what is not drawn."""
    return replace(snapshot, processes=(), failures=(), outputs=())
