"""A row for each process: only those that are seen are drawn, and of these only what has changed."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk

from farmhand.progress import PREPARING, ProcessView
from farmhand_tk.window.looks import Looks
from farmhand_tk.window.parts import DrawnBar, Ellipsis, wheel
from farmhand_tk.window.words import Row, row_of

__all__ = ["ProcessesPane"]

_MOST_PERCENT = "100 %"


class ProcessesPane(ttk.Frame):
    """The list of processes.

    Parameters
    ----------
    parent : widget
        Where it is.
    looks : Looks
        Its looks.
    """

    def __init__(self, parent: tk.Misc, looks: Looks) -> None:
        super().__init__(parent, style="Card.TFrame", padding=1)
        self._looks = looks
        self._rows: tuple[ProcessView, ...] = ()
        self._otherwise = ""
        self._elsewhere = False  # whether some are on other computers, which makes a column
        self._first = 0  # the row at the top
        self._slots: list[_Slot] = []
        self._height = looks.font.metrics("linespace") + looks.px(9)
        self.rowconfigure(1, weight=1)
        self.columnconfigure(0, weight=1)
        self._head = tk.Canvas(
            self, height=looks.small.metrics("linespace") + looks.px(8), highlightthickness=0
        )
        self._head.grid(row=0, column=0, columnspan=2, sticky="ew")
        self.canvas = tk.Canvas(self, takefocus=True, highlightthickness=looks.px(1), width=1, height=1)
        self.canvas.grid(row=1, column=0, sticky="nsew")
        self._scrollbar = ttk.Scrollbar(self, orient="vertical", command=self._scrolled)
        self._empty = self.canvas.create_text(0, 0, anchor="center", font=looks.font, state="hidden")
        self._titles = {
            name: self._head.create_text(0, 0, text=name, font=looks.small, anchor="e" if right else "w")
            for name, right in (
                ("#", True),
                ("Computer", False),
                ("Item", False),
                ("Progress", False),
                ("Elapsed", True),
                ("Remaining", True),
            )
        }
        self.ellipsis = Ellipsis(looks.font)
        self.columns = _Columns(looks, 0, self._elsewhere)
        self.canvas.bind("<Configure>", lambda event: self._resized())
        self.canvas.bind("<Button-1>", lambda event: self.canvas.focus_set())
        wheel(self.canvas, lambda steps: self.scroll(3 * steps))
        for key, rows in (
            ("Up", -1),
            ("Down", 1),
            ("Prior", -9),
            ("Next", 9),
            ("Home", -99999),
            ("End", 99999),
        ):
            self.canvas.bind(f"<{key}>", lambda event, rows=rows: self.scroll(rows))  # type: ignore[misc]
        looks.listen(self._colour)

    def show(self, processes: tuple[ProcessView, ...], otherwise: str = "") -> None:
        """Draw the processes, or say something where there are none."""
        if otherwise != self._otherwise:
            self._otherwise = otherwise
            self.canvas.itemconfigure(self._empty, text=otherwise)
        if len(processes) != len(self._rows):
            self._rows = processes
            self._place()
        self._rows = processes
        elsewhere = any(process.computer for process in processes)
        # the column does not go while all of them wait for a place
        if elsewhere != self._elsewhere and any(process.pid is not None for process in processes):
            self._elsewhere = elsewhere
            self._resized()
        self._draw()

    def height_for(self, rows: int) -> int:
        """The pixels that so many rows take, with the head of the list."""
        return int(self._head.winfo_reqheight()) + rows * self._height + self._looks.px(6)

    def texts(self) -> list[str]:
        """What the rows that are seen say, for whoever cannot see them."""
        return [slot.text() for slot in self._slots if slot.row is not None]

    def scroll(self, rows: int) -> None:
        """Move the list by so many rows, downwards when positive."""
        self._first += rows
        self._place()
        self._draw()

    def _scrolled(self, what: str, value: str, unit: str = "") -> None:
        if what == "moveto":
            self._first = round(float(value) * len(self._rows))
            self.scroll(0)
        else:
            self.scroll(int(value) * (self._seen() if unit.startswith("page") else 1))

    def _seen(self) -> int:
        """How many whole rows there is room for."""
        return max(1, (self.canvas.winfo_height() - 2 * self._looks.px(1)) // self._height)

    def _resized(self) -> None:
        self.columns = _Columns(self._looks, self.canvas.winfo_width(), self._elsewhere)
        middle = self._head.winfo_reqheight() // 2
        c = self.columns
        for name, x in (
            ("#", c.number),
            ("Computer", c.computer),
            ("Item", c.label),
            ("Progress", c.bar),
            ("Elapsed", c.elapsed),
            ("Remaining", c.remaining),
        ):
            self._head.coords(self._titles[name], x, middle)
        for name, shows in (("Computer", c.shows_computer), ("Remaining", c.shows_remaining)):
            self._head.itemconfigure(self._titles[name], state="normal" if shows else "hidden")
        self.canvas.coords(self._empty, self.canvas.winfo_width() // 2, self._height)
        for slot in self._slots:
            slot.forget()
        self._place()
        self._draw()

    def _place(self) -> None:
        """Find which rows are seen, and have as many places for them."""
        seen = self._seen()
        self._first = max(0, min(self._first, len(self._rows) - seen))
        if len(self._rows) > seen:
            self._scrollbar.grid(row=1, column=1, sticky="ns")
            self._scrollbar.set(self._first / len(self._rows), (self._first + seen) / len(self._rows))
        else:
            self._scrollbar.grid_remove()
        # one more, of which a part is seen
        while len(self._slots) < min(seen + 1, len(self._rows)):
            slot = _Slot(self, len(self._slots), self._height)
            slot.colour(self._looks)
            self._slots.append(slot)
        self.canvas.itemconfigure(self._empty, state="hidden" if self._rows else "normal")

    def _draw(self) -> None:
        for at, slot in enumerate(self._slots, self._first):
            slot.show(row_of(self._rows[at]) if at < len(self._rows) else None)

    def _colour(self) -> None:
        palette = self._looks.palette
        self._head.configure(background=palette.surface)
        self.canvas.configure(
            background=palette.surface,
            highlightbackground=palette.surface,
            highlightcolor=palette.accent,
        )
        self.canvas.itemconfigure(self._empty, fill=palette.text)
        for title in self._titles.values():
            self._head.itemconfigure(title, fill=palette.quiet)
        for slot in self._slots:
            slot.colour(self._looks)


class _Columns:
    """Where the columns are in a list of some width, with one for computers if they are several."""

    def __init__(self, looks: Looks, width: int, elsewhere: bool) -> None:
        px, measure = looks.px, looks.font.measure
        gap = px(12)
        self.shows_remaining = width > px(430)
        self.shows_computer = elsewhere and width > px(560)
        right = width - gap
        self.remaining = right
        if self.shows_remaining:
            right -= max(measure("00m 00s"), looks.small.measure("Remaining")) + gap
        self.elapsed = right
        right -= measure("00m 00s") + gap
        self.percent = right
        self.word_begin = right - measure(PREPARING) - px(6)
        right -= measure(_MOST_PERCENT) + px(6)
        self.bar_end = right
        self.number = px(8) + measure("000")
        self.computer = self.label = self.number + gap
        if self.shows_computer:
            self.label += max(measure("node-00-00"), looks.small.measure("Computer")) + gap
        self.computer_end = self.label - gap
        room = max(0, right - self.label)
        self.bar = right - max(px(40), int(room * 0.45)) if room > px(120) else right
        self.label_end = self.bar - gap


class _Slot:
    """A place for a row."""

    def __init__(self, pane: ProcessesPane, place: int, height: int) -> None:
        self.row: Row | None = None
        self._pane = pane
        self._canvas = canvas = pane.canvas
        self._top = place * height + 1
        self._height = height
        font = pane._looks.font
        self._bar = DrawnBar(canvas)
        self._texts = {
            name: canvas.create_text(0, 0, anchor="w" if name in ("label", "computer") else "e", font=font)
            for name in ("number", "computer", "label", "attempt", "percent", "elapsed", "remaining")
        }
        self._said: dict[str, str] = {}
        self._quiet: bool | None = None
        self._moved = False

    def forget(self) -> None:
        """The list has another width."""
        self._moved = False
        self._said.clear()
        self.row = None

    def text(self) -> str:
        return " ".join(filter(None, self._said.values()))

    def colour(self, looks: Looks) -> None:
        for name, text in self._texts.items():
            quiet = name in ("number", "computer", "elapsed", "remaining")
            self._canvas.itemconfigure(text, fill=looks.palette.quiet if quiet else looks.palette.text)
        self._canvas.itemconfigure(self._texts["attempt"], fill=looks.palette.wait)
        self._quiet = None
        self.row = None
        self._bar.colour(looks.palette)

    def show(self, row: Row | None) -> None:
        if row == self.row and self._moved:
            return
        self.row = row
        columns = self._pane.columns
        middle = self._top + self._height // 2
        if not self._moved:
            self._moved = True
            places = {"attempt": columns.label_end}
            for name, text in self._texts.items():
                self._canvas.coords(text, places.get(name) or getattr(columns, name), middle)
        if row is None:
            for name in self._texts:
                self._say(name, "")
            self._bar.draw(None, 0, 0, 0, 0)
            return
        if row.quiet != self._quiet:
            self._quiet = row.quiet
            palette = self._pane._looks.palette
            self._canvas.itemconfigure(
                self._texts["label"], fill=palette.quiet if row.quiet else palette.text
            )
        px = self._pane._looks.px
        room = columns.label_end - columns.label
        if row.attempt:
            room -= self._pane._looks.font.measure(row.attempt) + px(8)
        fits = room > px(30)
        self._say("number", row.number)
        width = columns.computer_end - columns.computer
        self._say("computer", self._pane.ellipsis.fit(row.computer, width) if columns.shows_computer else "")
        self._say("label", self._pane.ellipsis.fit(row.label, room) if fits else "")
        self._say("attempt", row.attempt if fits else "")
        self._say("percent", row.percent)
        self._say("elapsed", row.elapsed)
        self._say("remaining", row.remaining if columns.shows_remaining else "")
        half = px(5)
        # a word where the percent would be takes its room from the bar, or all of it
        end = columns.word_begin if len(row.percent) > len(_MOST_PERCENT) else columns.bar_end
        bar = row.bar if end - columns.bar >= px(24) else None
        self._bar.draw(bar, columns.bar, middle - half, end, middle + half)

    def _say(self, name: str, text: str) -> None:
        if self._said.get(name) != text:
            self._said[name] = text
            self._canvas.itemconfigure(self._texts[name], text=text)
