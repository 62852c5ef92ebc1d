"""The upper part of the window: the whole run."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from tkinter import ttk

from farmhand_tk.window.looks import THEMES, Looks
from farmhand_tk.window.parts import DrawnBar, Ellipsis, Text
from farmhand_tk.window.words import Bar, Overview

__all__ = ["OverviewPane"]

_THEME_NAMES = {"auto": "As the desktop", "light": "Light", "dark": "Dark"}


class OverviewPane(ttk.Frame):
    """What the run is, how far it is, and how long it takes.

    Parameters
    ----------
    parent : widget
        The window.
    looks : Looks
        Its looks.
    theme : StringVar
        The theme that is chosen, one of ``THEMES``.
    show_failures : callable
        Called when the user wants to see what failed.
    close : callable
        Called when the user wants to close the window.
    """

    def __init__(
        self,
        parent: tk.Misc,
        looks: Looks,
        theme: tk.StringVar,
        show_failures: Callable[[], object],
        close: Callable[[], object],
    ) -> None:
        px = looks.px
        super().__init__(parent, padding=(px(14), px(10), px(14), px(4)))
        self._looks = looks
        self._bar_shown = Bar()
        self._store_text = self._task_text = ""
        self.columnconfigure(0, weight=1)

        head = ttk.Frame(self)
        head.grid(row=0, column=0, sticky="ew")
        head.columnconfigure(1, weight=1)
        self.task = Text(head, style="Large.TLabel")
        self.task.grid(row=0, column=0, sticky="w")
        self.condition = Text(head, style="Busy.TLabel", anchor="e")
        self.condition.grid(row=0, column=1, sticky="ew", padx=px(8))
        self.menu_button = ttk.Menubutton(head, text="View", underline=0)
        self.menu = tk.Menu(self.menu_button, tearoff=False)
        for name in THEMES:
            self.menu.add_radiobutton(label=_THEME_NAMES[name], variable=theme, value=name)
        self.menu.add_separator()
        self.menu.add_command(label="Close window", accelerator="Ctrl+W", command=close)
        self.menu_button.configure(menu=self.menu)
        self.menu_button.grid(row=0, column=2, sticky="e")

        below = ttk.Frame(self)
        below.grid(row=1, column=0, sticky="ew")
        below.columnconfigure(0, weight=1)
        self.store = Text(below, style="Quiet.TLabel")
        self.store.grid(row=0, column=0, sticky="ew")
        self.news = Text(below, style="Quiet.TLabel", anchor="e")
        self.news.grid(row=0, column=1, sticky="e")

        bar = ttk.Frame(self)
        bar.grid(row=2, column=0, sticky="ew", pady=(px(8), px(4)))
        bar.columnconfigure(0, weight=1)
        self._canvas = tk.Canvas(bar, height=px(20), width=px(200), highlightthickness=0, borderwidth=0)
        self._canvas.grid(row=0, column=0, sticky="ew")
        self._bar = DrawnBar(self._canvas)
        self.percent = Text(bar, style="Large.TLabel", anchor="e", width=5)
        self.percent.grid(row=0, column=1, sticky="e", padx=(px(8), 0))

        counts = ttk.Frame(self)
        counts.grid(row=3, column=0, sticky="ew")
        self._marks: dict[str, tk.Frame] = {}
        self.done = self._count(counts, 0, "accent")
        self.failed = ttk.Button(
            counts, style="Link.TButton", command=show_failures, takefocus=False, state="disabled"
        )
        self._mark(counts, 2, "bad")
        self.failed.grid(row=0, column=3, padx=(0, px(12)))
        self.skipped = self._count(counts, 4, "skipped")
        self._marks["skipped"].grid_remove()
        self._failed_text = ""

        figures = ttk.Frame(self)
        figures.grid(row=4, column=0, sticky="ew", pady=(px(6), 0))
        self.elapsed = self._figure(figures, 0, "Elapsed", 9)
        self.remaining = self._figure(figures, 1, "Remaining", 27)
        self.rate = self._figure(figures, 2, "Rate", 8)
        self.cpu = self._figure(figures, 3, "CPU use", 7)
        figures.columnconfigure(1, weight=1)

        self._head = head
        self._ellipsis = Ellipsis(looks.font)
        self._large_ellipsis = Ellipsis(looks.large)
        head.bind("<Configure>", lambda event: self._fit_task())
        self._tone = "busy"
        self._canvas.bind("<Configure>", lambda event: self._draw_bar())
        self.store.bind("<Configure>", lambda event: self._fit_store())
        looks.listen(self._colour)

    def _mark(self, parent: ttk.Frame, column: int, colour: str) -> None:
        """A small square that says which part of the bar a number is of."""
        side = self._looks.px(9)
        mark = self._marks[colour] = tk.Frame(parent, width=side, height=side)
        mark.grid(row=0, column=column, padx=(0, self._looks.px(5)))

    def _count(self, parent: ttk.Frame, column: int, colour: str) -> Text:
        self._mark(parent, column, colour)
        text = Text(parent)
        text.grid(row=0, column=column + 1, padx=(0, self._looks.px(16)))
        return text

    def _figure(self, parent: ttk.Frame, column: int, name: str, width: int) -> Text:
        px = self._looks.px
        ttk.Label(parent, text=name, style="Small.TLabel").grid(row=0, column=column, sticky="w")
        text = Text(parent, style="Value.TLabel", width=width)
        text.grid(row=1, column=column, sticky="ew", padx=(0, px(10)))
        return text

    def show(self, overview: Overview) -> None:
        """Draw the numbers."""
        if overview.task != self._task_text:
            self._task_text = overview.task
            self._fit_task()
        if overview.tone != self._tone:
            self._tone = overview.tone
            self.condition.configure(style=f"{overview.tone.title()}.TLabel")
        self.condition.say(f"{overview.sign} {overview.state}")
        self.percent.say(overview.percent)
        self.done.say(overview.done)
        if overview.failed != self._failed_text:
            self._failed_text = overview.failed
            some = not overview.failed.startswith("none")
            self.failed.configure(
                text=overview.failed, state="normal" if some else "disabled", takefocus=some
            )
            self._colour_marks()
        self.skipped.say(overview.skipped)
        if overview.skipped:
            self._marks["skipped"].grid()
        else:
            self._marks["skipped"].grid_remove()
        self.elapsed.say(overview.elapsed)
        self.remaining.say(overview.remaining)
        self.rate.say(overview.rate)
        self.cpu.say(overview.cpu)
        if overview.store != self._store_text:
            self._store_text = overview.store
            self._fit_store()
        self._bar_shown = overview.bar
        self._draw_bar()

    def say_news(self, text: str) -> None:
        """Show that nothing has come for a while, or nothing."""
        self.news.say(text)

    def _fit_task(self) -> None:
        """The task's name leaves room for the longest of the usual states."""
        others = (
            self._looks.bold.measure("▶ Finishing: 64 items still run") + self.menu_button.winfo_reqwidth()
        )
        room = self._head.winfo_width() - others - self._looks.px(24)
        self.task.say(self._large_ellipsis.fit(self._task_text, max(room, self._looks.px(100))))

    def _fit_store(self) -> None:
        self.store.say(self._ellipsis.fit(self._store_text, self.store.winfo_width() - 2))

    def _draw_bar(self) -> None:
        width, height = self._canvas.winfo_width(), self._canvas.winfo_height()
        self._bar.draw(self._bar_shown, 0, 0, width, height)

    def _colour(self) -> None:
        palette = self._looks.palette
        self._canvas.configure(background=palette.window)
        self._bar.colour(palette)
        self._looks.menu(self.menu)
        self._colour_marks()

    def _colour_marks(self) -> None:
        palette = self._looks.palette
        none = not self._failed_text or self._failed_text.startswith("none")
        for name, mark in self._marks.items():
            mark.configure(background=palette.trough if none and name == "bad" else getattr(palette, name))
