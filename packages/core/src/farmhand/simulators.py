"""What farmhand knows of Brian 2. Nothing here imports it: whoever runs a simulation has done so.

Brian 2 calls the ``report=`` of a ``run`` at its beginning, at its end, and in between every ten seconds
unless told otherwise, so that a bar that goes by these calls alone stands still. So while
``Network.run`` is at work, a thread looks at the network's time. It finds the network in the frame that
has made the first call: that works whether ``run``, a magic network or a ``Network`` was asked, changes
nothing in Brian, and where anything is other than expected there is only nothing to see.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

__all__ = ["PERIOD", "Watch", "report_period"]

PERIOD = 0.1  # seconds between two looks; snapshots are as frequent

_NETWORK = "brian2.core.network"
_UNITS = "brian2.units.allunits"
_DEEP = 16  # frames between Network.run and here: what wraps a report is not deeper


def report_period() -> Any:
    """What to give to ``run(report_period=...)``: a quantity where Brian 2 is imported, else seconds."""
    second = getattr(sys.modules.get(_UNITS), "second", None)
    return PERIOD if second is None else PERIOD * second


class Watch:
    """Looks at a simulation while it runs, some ten times a second, in a thread of its own.

    Parameters
    ----------
    start, duration : float
        From when on and how long it simulates, in seconds.
    tell : callable
        Is given this object, and the fraction of the simulation that is done.
    """

    def __init__(self, start: float, duration: float, tell: Callable[[Watch, float], None]) -> None:
        self._start, self._duration = start, duration
        self._tell = tell
        # the frame of Network.run and the network: let go as soon as the simulation is over
        self._held: tuple[FrameType, Any] | None = None

    def begin(self) -> None:
        """Look at the simulation whose first report has led here; at nothing, if it is none of Brian 2's."""
        frame = _running_network()
        if frame is None or not self._duration > 0.0:
            return
        network = frame.f_locals.get("self")
        if not isinstance(getattr(network, "t_", None), float):
            return
        import threading

        self._held = frame, network
        self._thread = threading.get_ident()
        self._over = threading.Event()
        threading.Thread(target=self._look, name="farmhand watch", daemon=True).start()

    def end(self) -> None:
        """Look no more. That also ends by itself when the simulation does, in whatever way."""
        if self._held is not None:
            self._held = None
            self._over.set()

    def _look(self) -> None:
        try:
            while not self._over.wait(PERIOD):
                complete = self._complete()
                if complete is None:
                    break
                self._tell(self, complete)
        except Exception:  # of whatever kind: then there is nothing to see
            return
        finally:
            self._held = None

    def _complete(self) -> float | None:
        """How far it is; None when it is over. It may have raised, which nobody is told."""
        held = self._held
        if held is None:
            return None
        frame, network = held
        runs = sys._current_frames().get(self._thread)
        while runs is not None and runs is not frame:
            runs = runs.f_back
        return None if runs is None else (float(network.t_) - self._start) / self._duration


def _running_network() -> FrameType | None:
    """The frame of Brian's ``Network.run`` that has called what calls this, if there is one."""
    if _NETWORK not in sys.modules:
        return None
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_DEEP):
        if frame is None:
            return None
        if frame.f_code.co_name == "run" and frame.f_globals.get("__name__") == _NETWORK:
            return frame
        frame = frame.f_back
    return None
