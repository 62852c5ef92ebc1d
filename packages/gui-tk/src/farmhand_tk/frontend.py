"""The farm's side of the window: starts its process, shows it snapshots, and does without it when it is gone.

The window never costs the run anything. Its process is told what there is to show over a socket that is
never waited for; when it cannot open, is closed, killed, or loses its display, the terminal takes over.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable

from farmhand import UnknownName
from farmhand.events import Control
from farmhand.progress import OVER, Detach, Frontend, FrontendOptions, Snapshot
from farmhand.wording import printable, summary_text
from farmhand_tk.process import Window, adopt, dismiss, is_dismissed, keep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

__all__ = ["TkFrontend"]

_ENDS = ("stay", "close", "wait")
_SOON = 1.0  # seconds of a run before which a window would only flash up, and cost CPU time
_LATE = 10.0  # seconds after which the terminal shows what a window that has not opened does not
_LOOKS = 10  # at a window whose connection has ended and whose process has not
_LAST = 0.5  # seconds in which the window can take the last snapshot
_OURS = frozenset({"farmhand", "farmhand_tk", "brian"})  # the last one has a run_tasks that calls farmhand's


class TkFrontend:
    """Shows a run in a window, which is a process of its own.

    Parameters
    ----------
    options : FrontendOptions
        ``argument`` is what becomes of the window when the script ends: ``''`` (it stays if its user is
        looking), ``'stay'``, ``'close'``, or ``'wait'``: :meth:`close` waits until its user closes it.

    Raises
    ------
    UnknownName
        The argument is another one.

    Notes
    -----
    The window is opened once the run has lasted a moment; what is over by then has only its last line in
    the terminal. After the run it waits for the next one of the same script.
    """

    def __init__(self, options: FrontendOptions) -> None:
        if options.argument and options.argument not in _ENDS:
            raise UnknownName("end of the window", options.argument, _ENDS)
        self._options = options
        self._after = options.argument if options.argument in ("stay", "close") else "auto"
        self._window: Window | None = None
        self._other: Frontend | None = None  # what shows the run as well, or instead
        self._last: Snapshot | None = None
        self._began = 0.0  # seconds of the run that had passed when the window was asked to open
        self._looks = 0
        self._closed_by_user = False
        if options.verbose:
            self._show_elsewhere()
        problem = _obstacle()
        self._possible = problem == ""
        if problem:
            self._do_without(problem)

    def show(self, snapshot: Snapshot) -> None:
        """Hand ``snapshot`` to the window, and to what is shown beside it or instead."""
        if self._window is None and self._possible:
            self._open(snapshot)
        if self._window is not None:
            self._window.remote.show(snapshot)
            if not self._window.remote.ready and snapshot.elapsed - self._began > _LATE:
                self._show_elsewhere()  # it has a far display, or a slow disk
        if self._other is not None:
            self._other.show(snapshot)
        self._last = snapshot

    def controls(self) -> Iterable[Control | Detach]:
        """What was asked for in the window, and that it was closed."""
        controls: list[Control | Detach] = []
        if self._window is not None:
            controls += self._window.remote.controls()
            self._look_after_window(patient=True)
        if self._closed_by_user and self._options.watching:
            controls.append(Detach())
        if self._other is not None:
            controls += self._other.controls()
        return controls

    def close(self) -> None:
        """See to it that the window has the last snapshot; it then waits for the next run of this script."""
        over = self._last is not None and self._last.state in OVER
        if self._window is not None:
            self._window.flush(_LAST)
            self._window.remote.controls()  # whoever asks now asks too late, but may have said that it failed
            self._look_after_window(patient=False)
        if self._last is not None and over and self._other is None and not self._options.watching:
            _tell(summary_text(self._last))
        try:
            if over and self._options.argument == "wait":
                self._wait()
        finally:
            if self._window is not None:
                if self._options.watching:
                    self._window.hang_up()
                else:
                    keep(self._window)
                self._window = None
            if self._other is not None:
                self._other.close()

    # -- the window --------------------------------------------------------------------------------

    def _open(self, snapshot: Snapshot) -> None:
        """Show the run in the window of the run before, or in a new one as soon as that is worth it."""
        watching = self._options.watching
        window = None if watching else adopt(self._after)
        waits = self._options.argument == "wait"  # there to close a window is to say "go on"
        if window is None and not watching and not waits and is_dismissed():
            self._possible = False
            self._show_elsewhere()
            return
        if window is None:
            if snapshot.state in OVER:
                wanted = watching or self._options.argument in ("stay", "wait")
            else:
                wanted = watching or snapshot.elapsed >= _SOON
            if not wanted:
                return
            try:
                window = Window.open(self._after, watching)
            except OSError as error:  # too many processes or descriptors
                self._do_without(f"its process could not be started ({error.strerror or error})")
                return
        self._window = window
        self._began = snapshot.elapsed

    def _look_after_window(self, patient: bool) -> None:
        """Notice that the window is gone, and go on without it.

        While its connection has ended but its process has not, one who is patient looks again later.
        """
        window = self._window
        assert window is not None
        failed = window.remote.failed
        if failed is None and not window.remote.closed and window.is_alive():
            return
        self._looks += 1
        if failed is None and window.is_alive():
            if patient and self._looks < _LOOKS:
                return
            if not patient:
                window.wait_for_end(_LAST)
        ready = window.remote.ready
        why = failed if failed is not None else window.last_words()
        window.hang_up()
        self._window = None
        if failed is not None or not ready:
            self._do_without(printable(why) or "its process has ended before it was open")
        else:
            self._possible = False
            self._closed_by_user = True
            if not self._options.watching:
                if not why and self._options.argument != "wait":
                    dismiss()
                self._say_gone(why)
                self._show_elsewhere()

    def _say_gone(self, why: str) -> None:
        """One line for whoever still looks at the terminal."""
        if self._last is None or self._last.state in OVER:
            return
        what = f"is gone ({printable(why, 200)})" if why else "was closed"
        store = self._last.store
        again = "" if store in ("", ":memory:") else f"{_command(store)} opens it again, "
        line = f"the window {what}; the run goes on. {again}Ctrl-C stops it"
        _tell(line if self._other is None else f"\n{line}")  # there may be half a line

    def _wait(self) -> None:
        """Return when the window was closed, or somebody has interrupted this process."""
        with _Interruptions() as interrupted:
            while self._window is not None and not interrupted:
                self._window.wait_for_news(0.1)
                self._window.remote.controls()  # nobody follows them any more
                self._look_after_window(patient=True)

    # -- without the window ------------------------------------------------------------------------

    def _do_without(self, reason: str) -> None:
        """Warn that there is no window, say why, and show the rest of the run in the terminal."""
        self._possible = False
        elsewhere = self._other is not None or self._options.instead is not None
        instead = "progress is shown in the terminal" if elsewhere else "no progress is shown"
        text = f"the window cannot open: {reason.rstrip('.')}. So {instead}"
        try:
            if self._options.watching:  # whoever looks has typed a command
                _tell(text)
            else:
                depth = _depth_of_user()
                warnings.warn(f"{text}, which gui=False asks for", UserWarning, stacklevel=depth)
        finally:
            self._show_elsewhere()

    def _show_elsewhere(self) -> None:
        """Show the newest snapshot, and those that come, in the terminal."""
        if self._other is None and self._options.instead is not None:
            self._other = self._options.instead()
            if self._last is not None:
                self._other.show(self._last)


class _Interruptions:
    """A context in which Ctrl-C and its like are only noted, and handed on when it ends.

    A farm that is about to end notes the first one, too, so that waiting would go on.
    """

    def __init__(self) -> None:
        self._came: list[tuple[int, FrameType | None]] = []
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return bool(self._came)

    def __enter__(self) -> _Interruptions:
        import signal

        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            handler = None if number is None else signal.getsignal(number)
            if number is not None and callable(handler):
                try:
                    signal.signal(number, self._note)
                except ValueError:  # signals are for the main thread, and this is another
                    break
                self._before[number] = handler
        return self

    def __exit__(self, *exc_info: object) -> None:
        import signal

        for number, handler in self._before.items():
            signal.signal(number, handler)
        for number, frame in self._came:
            self._before[number](number, frame)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came.append((number, frame))


def _obstacle() -> str:
    """Why no window can open here, as far as that is known without trying; ``''`` when it may."""
    if sys.platform == "win32":
        return "farmhand-tk does not run on Windows yet"
    if not sys.executable:
        return "this program does not know its Python (sys.executable), with which it would be started"
    if not _has_tk():
        version = ".".join(map(str, sys.version_info[:2]))
        return (
            f"this Python ({sys.executable}) has no Tk. Debian and Ubuntu: apt install python3-tk; "
            "Fedora: dnf install python3-tkinter; conda: conda install tk; "
            f"Homebrew: brew install python-tk@{version}"
        )
    if sys.platform != "darwin" and not os.environ.get("DISPLAY"):
        return "there is no display (DISPLAY is not set). Log in with ssh -X, or on that computer itself"
    return ""


def _has_tk() -> bool:
    from importlib.machinery import PathFinder

    return "_tkinter" in sys.builtin_module_names or PathFinder.find_spec("_tkinter") is not None


def _depth_of_user() -> int:
    """The ``stacklevel`` of a warning by our caller that points to the call of ``run_tasks``."""
    depth = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _OURS:
        frame = frame.f_back
        depth += 1
    return depth - 1 if frame is None else depth


def _command(store: str) -> str:
    import shlex

    return f"farmhand gui {shlex.quote(printable(store))}"


def _tell(line: str) -> None:
    """One line in the terminal, if there is one."""
    try:
        if sys.stderr is not None:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
    except (OSError, ValueError):
        pass  # nobody looks
