"""Chooses how a run is shown: on a terminal with rich, in a notebook, or else as text."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from farmhand.events import Control
from farmhand.progress import OVER, Detach, Frontend, FrontendOptions, Snapshot
from farmhand.text import TextFrontend, is_live
from farmhand.values import replace
from farmhand_rich.words import hint_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    from rich.console import Console

__all__ = ["RichFrontend"]

# Rich takes as long to import as a short run takes. So there are bars only after so many seconds, and
# later where a run will probably be over soon.
_PATIENCE, _MOST_PATIENCE = 0.25, 2.0
_SOON = 1.0
_MOST_EARLY = 50  # snapshots


class RichFrontend:
    """Shows progress in the terminal, or the notebook, that this process runs in.

    Parameters
    ----------
    options : FrontendOptions
        With ``verbose``, what tasks print is printed above the bars. Progress messages are not: the
        bars say the same.
    console : rich.console.Console, optional
        Where to draw; by default the terminal that is ``sys.stderr`` now, or the notebook. Where
        that is none that can be drawn on anew (a file, ``TERM=dumb``, ``CI``) it is plain text.
    """

    def __init__(self, options: FrontendOptions, console: Console | None = None) -> None:
        self._options = options
        self._stream: IO[str] | None = sys.stderr
        self._frontend: Frontend | None = None  # what does the work; none as long as we wait
        self._early: list[Snapshot] = []
        self._closed = False
        if console is not None:
            if console.is_terminal and not console.is_dumb_terminal:
                from farmhand_rich.screen import Screen

                self._frontend = Screen(options, console.file, console)
            else:
                self._frontend = TextFrontend(options, console.file)
        elif _is_notebook():
            from farmhand_rich.notebook import NotebookFrontend

            self._frontend = NotebookFrontend(options)
        elif not is_live(self._stream):
            self._frontend = TextFrontend(options, self._stream)

    def show(self, snapshot: Snapshot) -> None:
        """Draw ``snapshot``."""
        if self._closed:
            return
        if self._frontend is not None:
            self._frontend.show(snapshot)
            return
        self._early.append(snapshot)
        if snapshot.state in OVER:
            self._show_as_text()
        elif not _is_short(snapshot) or len(self._early) > _MOST_EARLY:
            self._begin()

    def controls(self) -> Iterable[Control | Detach]:
        """What its user asked for by pressing keys."""
        return () if self._frontend is None else self._frontend.controls()

    def close(self) -> None:
        """Put the terminal back as it was; safe to call more than once."""
        if self._closed:
            return
        self._closed = True
        if self._frontend is None and self._early:
            self._show_as_text()
        if self._frontend is not None:
            self._frontend.close()

    def _begin(self) -> None:
        from farmhand_rich.screen import Screen  # as long as a short run takes

        assert self._stream is not None, "what is live is there"
        screen = Screen(self._options, self._stream)
        self._frontend = screen
        early, self._early = self._early, []
        for snapshot in early:
            screen.show(snapshot)

    def _show_as_text(self) -> None:
        """A run that was over before bars made any sense."""
        self._frontend = TextFrontend(self._options, self._stream)
        early, self._early = self._early, []
        outputs = tuple(output for snapshot in early for output in snapshot.outputs)
        self._frontend.show(replace(early[-1], outputs=outputs, processes=()))
        self._frontend.close()
        hint = hint_text(early[-1])
        if hint and self._stream is not None:
            try:
                self._stream.write(f"{hint}\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass  # nobody looks any more


def _is_short(snapshot: Snapshot) -> bool:
    """Whether a run has just begun, or will be over before bars make any sense."""
    remaining = snapshot.remaining
    soon = remaining is not None and remaining.median < _SOON
    return snapshot.elapsed < (_MOST_PATIENCE if soon else _PATIENCE)


def _is_notebook() -> bool:
    """Whether this process is the kernel of a notebook (and not one that only has it installed)."""
    if "ipykernel" not in sys.modules or "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None
