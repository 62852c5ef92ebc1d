"""What failed, as it comes, and all that is known of one of it."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from tkinter import ttk

from farmhand.progress import Failure, Snapshot
from farmhand.wording import when_text
from farmhand_tk.window.failed import Failed, Seen
from farmhand_tk.window.looks import Looks
from farmhand_tk.window.parts import Text
from farmhand_tk.window.words import count_text, full_failure_text, kind_text, quoted, shown

__all__ = ["FailuresPane"]

# Their names and titles, and the widest text that they have room for.
_COLUMNS = (
    ("item", "Item", "(13.25, 0.75)"),
    ("what", "What", "unpicklable item"),
    ("error", "Error", "ValueError: not finite"),
    ("tries", "Tries", "Tries "),
    ("when", "When", "00:00:00 "),
)


class FailuresPane(ttk.Frame):
    """A list of failures, and below it the one that is selected.

    Parameters
    ----------
    parent : widget
        Where it is.
    looks : Looks
        Its looks.
    counted : callable
        Called with the number of failures when it has changed.
    """

    def __init__(self, parent: tk.Misc, looks: Looks, counted: Callable[[int], object]) -> None:
        px = looks.px
        super().__init__(parent)
        self._looks = looks
        self._counted = counted
        self._count = 0
        self._failed = Failed()
        self._store = ""
        self._selected: Failure | None = None
        self.rowconfigure(0, weight=1)
        self.columnconfigure(0, weight=1)
        panes = ttk.PanedWindow(self, orient="vertical")
        panes.grid(row=0, column=0, sticky="nsew")

        upper = ttk.Frame(panes)
        upper.rowconfigure(0, weight=1)
        upper.columnconfigure(0, weight=1)
        self.list = ttk.Treeview(
            upper, columns=[name for name, _, _ in _COLUMNS], show="headings", selectmode="browse", height=3
        )
        for name, title, widest in _COLUMNS:
            self.list.heading(name, text=title, anchor="w")
            room = looks.font.measure(widest) + px(12)
            self.list.column(name, width=room, minwidth=px(40), stretch=name == "error", anchor="w")
        self.list.grid(row=0, column=0, sticky="nsew")
        bar = ttk.Scrollbar(upper, orient="vertical", command=self.list.yview)
        bar.grid(row=0, column=1, sticky="ns")
        self.list.configure(yscrollcommand=lambda first, last: self._scrolled(bar, first, last))
        self.more = ttk.Label(upper, style="Quiet.TLabel", padding=(px(8), px(2)))
        panes.add(upper, weight=2)

        lower = ttk.Frame(panes, style="Surface.TFrame")
        lower.rowconfigure(1, weight=1)
        lower.columnconfigure(0, weight=1)
        # as large as there is room, and no larger because of what it holds
        self.text = tk.Text(
            lower,
            width=1,
            height=4,
            wrap="word",
            state="disabled",
            font=looks.fixed,
            borderwidth=0,
            padx=px(10),
            pady=px(6),
            highlightthickness=px(1),
            takefocus=True,
            cursor="xterm",
        )
        self.text.grid(row=1, column=0, sticky="nsew")
        text_bar = ttk.Scrollbar(lower, orient="vertical", command=self.text.yview)
        text_bar.grid(row=1, column=1, sticky="ns")
        self.text.configure(yscrollcommand=text_bar.set)
        head = ttk.Frame(lower, style="Surface.TFrame", padding=(px(10), px(4), px(4), px(2)))
        head.grid(row=0, column=0, columnspan=2, sticky="ew")
        head.columnconfigure(0, weight=1)
        self.title = Text(head, style="Notehead.TLabel", width=1)
        self.title.grid(row=0, column=0, sticky="ew")
        self.copy_button = ttk.Button(head, text="Copy", width=8, command=self.copy, underline=0)
        self.copy_button.grid(row=0, column=1)
        panes.add(lower, weight=3)

        self.menu = tk.Menu(self, tearoff=False)
        self.menu.add_command(label="Copy", accelerator="Ctrl+C", command=self.copy)
        self.list.bind("<<TreeviewSelect>>", lambda event: self._select())
        for widget in (self.list, self.text):
            widget.bind("<Control-c>", lambda event: self._copy_some())
            widget.bind("<Button-3>", self._popup)
        self.text.bind("<Button-1>", lambda event: self.text.focus_set())
        looks.listen(self._colour)
        self._say_none()

    def clear(self) -> None:
        """Begin anew."""
        self._failed = Failed()
        self._count = 0
        self._selected = None
        self.list.delete(*self.list.get_children())
        self.more.grid_remove()
        self._say_none()
        self._counted(0)

    def _scrolled(self, bar: ttk.Scrollbar, first: float, last: float) -> None:
        bar.set(first, last)
        if float(first) <= 0.0 and float(last) >= 1.0:
            bar.grid_remove()
        else:
            bar.grid()

    def opened(self) -> None:
        """The user looks here now: the newest failure, unless there is a choice already."""
        rows = self.list.get_children()
        if rows and not self.list.selection():
            self.list.selection_set(rows[-1])
            self.list.focus(rows[-1])
            self.list.see(rows[-1])

    def show(self, snapshot: Snapshot, now: float) -> None:
        """Add the failures that are new; ``now`` is the time of day."""
        self._store = snapshot.store
        if snapshot.failures or snapshot.failed:
            new = self._failed.add(snapshot, now)
            if new:
                self._add(new, now)
        if snapshot.failed != self._count:
            self._count = snapshot.failed
            self._counted(snapshot.failed)
            unseen = self._failed.unseen
            if unseen:
                memory = snapshot.store in ("", ":memory:")
                where = (
                    "store.failures() has them all"
                    if memory
                    else f"farmhand failures {quoted(snapshot.store)}"
                )
                self.more.configure(text=f"and {count_text(unseen)} more: {where}")
                self.more.grid(row=1, column=0, columnspan=2, sticky="ew")
            else:
                self.more.grid_remove()

    def _add(self, new: list[Seen], now: float) -> None:
        follows = self.list.yview()[1] >= 0.999  # whoever looks at an older one is left there
        for seen in new:
            failure = seen.failure
            error = ": ".join(filter(None, (failure.error.type, failure.error.message)))
            values = (
                shown(failure.item, 200) or f"item {failure.index}",
                kind_text(failure.error.kind),
                shown(error, 300),
                str(failure.attempts),
                "earlier" if seen.moment is None else when_text(seen.moment, now),
            )
            self.list.insert("", "end", iid=str(failure.number), values=values)
        kept = self._failed.kept
        # by their numbers, which rise: a user's selection among them stays where it is
        old = [iid for iid in self.list.get_children() if int(iid) not in kept]
        if old:
            self.list.delete(*old)
        if follows:
            self.list.see(self.list.get_children()[-1])

    def _select(self) -> None:
        chosen = self.list.selection()
        if not chosen:
            return
        seen = self._failed.kept.get(int(chosen[0]))
        if seen is not None and seen.failure is not self._selected:
            self._selected = seen.failure
            self.title.say(f"Item {seen.failure.index}: {shown(seen.failure.item)}")
            self._say(full_failure_text(seen.failure, self._store).partition("\n")[2])  # without the title
            self.copy_button.configure(state="normal")

    def _say(self, text: str) -> None:
        self.text.configure(state="normal")
        self.text.delete("1.0", "end")
        self.text.insert("1.0", text)
        self.text.configure(state="disabled")
        self.text.yview_moveto(0.0)

    def _say_none(self) -> None:
        self._say("Select a failure to see its traceback, and what it printed.")
        self.title.say("")
        self.copy_button.configure(state="disabled")

    def copy(self) -> None:
        """All of the selected failure to the clipboard."""
        if self._selected is not None:
            self.clipboard_clear()
            self.clipboard_append(full_failure_text(self._selected, self._store))
            self.copy_button.configure(text="Copied")
            self.after(1500, lambda: self.copy_button.configure(text="Copy"))

    def _copy_some(self) -> str:
        """What is marked in the text, or all."""
        marked = self.text.tag_ranges("sel")
        if marked and self.focus_get() is self.text:
            self.clipboard_clear()
            self.clipboard_append(self.text.get(*marked))
        else:
            self.copy()
        return "break"

    def _popup(self, event: tk.Event[tk.Misc]) -> None:
        if event.widget is self.list:
            row = self.list.identify_row(event.y)
            if row:
                self.list.selection_set(row)
                self._select()
        self.menu.tk_popup(event.x_root, event.y_root)

    def _colour(self) -> None:
        p = self._looks.palette
        self.text.configure(
            background=p.surface,
            foreground=p.text,
            insertbackground=p.text,
            selectbackground=p.accent,
            selectforeground=p.accent_text,
            highlightbackground=p.trough,
            highlightcolor=p.accent,
        )
        self._looks.menu(self.menu)
