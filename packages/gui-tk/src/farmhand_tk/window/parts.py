"""Small parts that several pieces of the window are made of."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from tkinter import font as tkfont
from tkinter import ttk

from farmhand_tk.window.looks import Palette
from farmhand_tk.window.words import Bar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["DrawnBar", "Ellipsis", "Text", "wheel"]


class Text(ttk.Label):
    """A label that is drawn again only when its text changes."""

    def __init__(self, parent: tk.Misc, **options: Any) -> None:
        super().__init__(parent, **options)
        self._shown = ""

    def say(self, text: str) -> None:
        """Show a text."""
        if text != self._shown:
            self._shown = text
            self.configure(text=text)


class DrawnBar:
    """A bar on a canvas, moved only when it would look different.

    Parameters
    ----------
    canvas : Canvas
        Where it is drawn.
    """

    _PARTS = ("skipped", "done", "failed", "running")

    def __init__(self, canvas: tk.Canvas) -> None:
        self._canvas = canvas
        self._trough = canvas.create_rectangle(0, 0, 0, 0, width=0)
        self._parts = [canvas.create_rectangle(0, 0, 0, 0, width=0, state="hidden") for _ in self._PARTS]
        self._place: tuple[int, int, int, int] | None = None
        self._ends: list[tuple[int, int] | None] = [None] * len(self._parts)
        self._hidden = False

    def colour(self, palette: Palette, quiet: bool = False) -> None:
        """Use a theme's colours; quiet ones for what waits."""
        colours = (palette.skipped, palette.quiet if quiet else palette.accent, palette.bad, palette.running)
        self._canvas.itemconfigure(self._trough, fill=palette.trough)
        for part, colour in zip(self._parts, colours, strict=True):
            self._canvas.itemconfigure(part, fill=colour)

    def draw(self, bar: Bar | None, left: int, top: int, right: int, bottom: int) -> None:
        """Draw the bar there; None hides it."""
        hidden = bar is None or right <= left
        if hidden != self._hidden:
            self._hidden = hidden
            self._canvas.itemconfigure(self._trough, state="hidden" if hidden else "normal")
        if bar is None or hidden:
            for n, part in enumerate(self._parts):
                self._part(n, part, None, top, bottom)
            return
        if self._place != (left, top, right, bottom):
            self._place = (left, top, right, bottom)
            self._ends = [(-1, -1)] * len(self._parts)
            self._canvas.coords(self._trough, left, top, right, bottom)
        width = right - left
        at = left + bar.begins * width
        for n, (part, name) in enumerate(zip(self._parts, self._PARTS, strict=True)):
            amount = getattr(bar, name)
            begin, at = at, at + amount * width
            ends = (round(begin), round(at))
            if amount > 0 and ends[0] == ends[1]:
                ends = (ends[0], ends[0] + 1)  # one of a million that failed is seen as well
            self._part(n, part, ends if amount > 0 else None, top, bottom)

    def _part(self, n: int, part: int, ends: tuple[int, int] | None, top: int, bottom: int) -> None:
        before = self._ends[n]
        if ends == before:
            return
        self._ends[n] = ends
        if ends is None:
            self._canvas.itemconfigure(part, state="hidden")
            return
        self._canvas.coords(part, ends[0], top, ends[1], bottom)
        if before is None or before == (-1, -1):
            self._canvas.itemconfigure(part, state="normal")


class Ellipsis:
    """Cuts texts to a width, and remembers how.

    Parameters
    ----------
    font : Font
        The font that they are drawn with.
    """

    def __init__(self, font: tkfont.Font) -> None:
        self._font = font
        self._known: dict[tuple[str, int], str] = {}

    def fit(self, text: str, width: int) -> str:
        """The beginning of ``text`` that fits, with three dots where something is missing."""
        if not text or width <= 0:
            return ""
        known = self._known.get((text, width))
        if known is None:
            if len(self._known) > 2000:
                self._known.clear()
            known = self._known[text, width] = self._cut(text, width)
        return known

    def _cut(self, text: str, width: int) -> str:
        if self._font.measure(text) <= width:
            return text
        fits, too_long = 0, len(text)
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            if self._font.measure(text[:middle].rstrip() + "...") <= width:
                fits = middle
            else:
                too_long = middle
        return text[:fits].rstrip() + "..."


def wheel(widget: tk.Misc, turned: Callable[[int], object]) -> None:
    """Call a function with the steps, downwards positive, that the mouse wheel is turned over a widget."""
    widget.bind("<Button-4>", lambda event: turned(-1))
    widget.bind("<Button-5>", lambda event: turned(1))
    # macOS tells single steps, Windows 120 for each
    widget.bind("<MouseWheel>", lambda event: turned(-_steps(event.delta)))


def _steps(delta: int) -> int:
    return delta if abs(delta) < 120 else delta // 120
