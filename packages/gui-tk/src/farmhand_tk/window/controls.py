"""The buttons at the bottom of the window, and the question before a run is terminated."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk

from farmhand.events import Finish, Pause, Resize, Resume, Stop
from farmhand.progress import Snapshot
from farmhand_tk.window.looks import Looks
from farmhand_tk.window.orders import Orders
from farmhand_tk.window.parts import Text
from farmhand_tk.window.words import terminate_text

__all__ = ["ControlsPane"]

MOST_PROCESSES = 10_000
_SETTLE = 700  # milliseconds after the last turn of the spin box


class ControlsPane(ttk.Frame):
    """Pause, finish, terminate, and the number of processes.

    Parameters
    ----------
    parent : widget
        The window.
    looks : Looks
        Its looks.
    orders : Orders
        What passes on to the farm what the user wants.
    """

    def __init__(self, parent: tk.Misc, looks: Looks, orders: Orders) -> None:
        px = looks.px
        super().__init__(parent, padding=(px(14), px(4), px(14), px(12)))
        self._orders = orders
        self._snapshot: Snapshot | None = None
        self._connected = True
        self._shown: dict[ttk.Button, tuple[str, bool]] = {}
        self._due: str | None = None  # the timer of the spin box
        self._edited = False
        self._said = ("", "bad")
        self.columnconfigure(0, weight=1)

        self.note = ttk.Frame(self, style="Note.TFrame", padding=px(10))
        self.note.columnconfigure(0, weight=1)
        ttk.Label(self.note, text="Terminate this run?", style="Notehead.TLabel").grid(
            row=0, column=0, columnspan=3, sticky="w"
        )
        self.question = Text(self.note, style="Note.TLabel", wraplength=px(400), justify="left")
        self.question.grid(row=1, column=0, columnspan=3, sticky="ew", pady=(px(2), px(8)))
        self.keep_button = ttk.Button(self.note, text="Keep running", command=self.keep, underline=0)
        self.keep_button.grid(row=2, column=1, padx=px(6))
        self.yes_button = ttk.Button(
            self.note, text="Terminate", style="Danger.TButton", command=self._terminate
        )
        self.yes_button.grid(row=2, column=2)
        self.note.bind(
            "<Configure>",
            lambda event: self.question.configure(wraplength=max(px(150), event.width - px(24))),
        )
        for widget in (self.note, self.keep_button, self.yes_button):
            widget.bind("<Escape>", lambda event: self.keep())

        row = self._row = ttk.Frame(self)
        row.grid(row=1, column=0, sticky="ew")
        row.columnconfigure(3, weight=1)
        self.pause_button = ttk.Button(row, text="Pause", underline=0, width=11, command=self.pause)
        self.pause_button.grid(row=0, column=0, padx=(0, px(6)))
        self.finish_button = ttk.Button(
            row, text="Finish running items", underline=0, width=17, command=self.finish
        )
        self.finish_button.grid(row=0, column=1, padx=(0, px(6)))
        self.stop_button = ttk.Button(
            row,
            text="Terminate...",
            underline=0,
            style="Danger.TButton",
            width=14,
            command=self.ask_to_terminate,
        )
        self.stop_button.grid(row=0, column=2)
        self.change = Text(row, style="Quiet.TLabel", anchor="e", width=1)  # as wide as there is room
        self.change.grid(row=0, column=3, sticky="ew", padx=px(6))
        self.processes_label = ttk.Label(row, text="Processes", underline=1)
        self.processes_label.grid(row=0, column=4, padx=(0, px(6)))
        check = (self.register(self._may_type), "%P")
        self.processes = ttk.Spinbox(
            row,
            from_=1,
            to=MOST_PROCESSES,
            width=5,
            command=self._turned,
            validate="key",
            validatecommand=check,
            font=looks.font,
        )
        self.processes.grid(row=0, column=5)
        self.processes.bind("<Return>", lambda event: self._apply())
        self.processes.bind("<KP_Enter>", lambda event: self._apply())
        self.processes.bind("<FocusOut>", lambda event: self._apply())
        self.processes.bind("<Escape>", lambda event: self._undo())
        self.message = Text(self, style="Bad.TLabel", wraplength=px(500), justify="left")
        self.bind(
            "<Configure>", lambda event: self.message.configure(wraplength=max(px(150), event.width - px(30)))
        )

    # -- what the user does --------------------------------------------------------------------

    def pause(self) -> None:
        """Pause the run, or let it go on."""
        paused = self._snapshot is not None and self._snapshot.state == "paused"
        self._ask(Resume() if paused else Pause())

    def finish(self) -> None:
        """Begin no more items."""
        self._ask(Finish())

    def ask_to_terminate(self) -> None:
        """Ask whether the running items may be lost."""
        if self._snapshot is None or not self._orders.is_possible(Stop, self._snapshot, self._connected):
            return
        self.question.say(terminate_text(self._snapshot))
        self._row.grid_remove()  # one question at a time
        self.note.grid(row=0, column=0, sticky="ew")
        self.keep_button.focus_set()

    def keep(self) -> None:
        """The run goes on."""
        if self.note.winfo_manager():
            self._close_note()
            self.stop_button.focus_set()

    @property
    def asks(self) -> bool:
        """Whether the user is asked just now."""
        return bool(self.note.winfo_manager())

    def _close_note(self) -> None:
        self.note.grid_remove()
        self._row.grid()

    def _terminate(self) -> None:
        self.keep()
        self._ask(Stop())

    def _ask(self, control: Pause | Resume | Finish | Stop | Resize) -> None:
        if self._orders.is_possible(type(control), self._snapshot, self._connected):
            self._orders.ask(control)
            self._draw()

    # -- the number of processes ---------------------------------------------------------------

    def _may_type(self, text: str) -> bool:
        allowed = text == "" or (text.isascii() and text.isdigit() and len(text) <= 5)
        if allowed:
            self._edited = True
        return allowed

    def _turned(self) -> None:
        self._edited = True
        if self._due is not None:
            self.after_cancel(self._due)
        self._due = self.after(_SETTLE, self._apply)

    def _apply(self) -> None:
        if self._due is not None:
            self.after_cancel(self._due)
            self._due = None
        if not self._edited or self._snapshot is None:
            return
        self._edited = False
        text = self.processes.get()
        number = min(int(text), MOST_PROCESSES) if text.isdigit() else 0
        now = self._orders.wanted if self._orders.wanted is not None else self._snapshot.wanted
        if number >= 1 and number != now:
            self._ask(Resize(number))
        self._draw()

    def _undo(self) -> None:
        if self._due is not None:
            self.after_cancel(self._due)
            self._due = None
        self._edited = False
        self._draw()

    # -- what is drawn -------------------------------------------------------------------------

    def show(self, snapshot: Snapshot | None, connected: bool) -> None:
        """Draw the buttons as they are now."""
        self._snapshot, self._connected = snapshot, connected
        self._orders.look()
        self._draw()

    def say(self, text: str, tone: str = "bad") -> None:
        """Show a message below the buttons, or none."""
        self._said = (text, tone)
        self._draw_message()

    def _draw_message(self) -> None:
        text, tone = self._said
        if self._orders.error:  # the newest, and what the user waits for
            text, tone = f"Not done: {self._orders.error}", "bad"
        if text == self.message["text"]:
            return
        if text:
            self.message.configure(style=f"{tone.title()}.TLabel")
            self.message.grid(row=2, column=0, sticky="ew", pady=(self._pad(), 0))
        else:
            self.message.grid_remove()
        self.message.say(text)

    def _pad(self) -> int:
        return int(self.winfo_fpixels("5p"))

    def _draw(self) -> None:
        orders, snapshot, connected = self._orders, self._snapshot, self._connected
        kinds = ((self.pause_button, Pause), (self.finish_button, Finish), (self.stop_button, Stop))
        for button, kind in kinds:
            self._button(button, orders.label(kind, snapshot), orders.is_possible(kind, snapshot, connected))
        if self.asks:
            if orders.is_possible(Stop, snapshot, connected) and snapshot is not None:
                self.question.say(terminate_text(snapshot))
            else:
                self._close_note()  # it ended by itself
        possible = orders.is_possible(Resize, snapshot, connected)
        if possible == self.processes.instate(("disabled",)):
            self.processes.state(("!disabled",) if possible else ("disabled",))
        wanted = (
            orders.wanted if orders.wanted is not None else snapshot.wanted if snapshot is not None else 0
        )
        if not self._edited and wanted and self.processes.get() != str(wanted):
            self.processes.set(str(wanted))
            self._edited = False
        self._draw_message()
        change = ""
        if possible and snapshot is not None:
            there = sum(each.state != "leaving" for each in snapshot.processes)
            if wanted and len(snapshot.processes) != wanted and snapshot.processes:
                change = f"from {len(snapshot.processes)} to {wanted}..." if there else ""
        self.change.say(change)

    def _button(self, button: ttk.Button, text: str, possible: bool) -> None:
        if self._shown.get(button) != (text, possible):
            self._shown[button] = (text, possible)
            button.configure(text=text)
            button.state(("!disabled",) if possible else ("disabled",))
