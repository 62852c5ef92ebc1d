"""A window in this process, with the farm's end of its connection, and a clock that a test turns."""

from __future__ import annotations

import socket
import tkinter as tk
from collections.abc import Callable, Iterable

from farmhand.events import Control
from farmhand.progress import Snapshot
from farmhand.remote import RemoteFrontend, RemoteRun
from farmhand_tk.window.app import App
from farmhand_tk.window.looks import prepare
from waiting import wait_until

NOON = 1_772_625_600.0


class ShownWindow:
    """What a test shows snapshots to, and looks at; a frontend as well.

    Attributes
    ----------
    app : App
        The window.
    farm : RemoteFrontend
        The farm's end.
    asked : list of Control
        What was asked for in the window.
    mistakes : list of exceptions
        What went wrong in the window's own code.
    """

    def __init__(self, after: str = "stay", watching: bool = False) -> None:
        ours, its = socket.socketpair()
        self.farm = RemoteFrontend(ours, watching=True)
        self.clock = 0.0
        self.asked: list[Control] = []
        self.mistakes: list[object] = []
        self.root = prepare()
        self.app = App(
            self.root,
            RemoteRun(its),
            after,
            watching,
            clock=lambda: self.clock,
            now=lambda: NOON + self.clock,
        )
        self.root.report_callback_exception = lambda *error: self.mistakes.append(error[1])
        self.app.open()

    def show(self, snapshot: Snapshot) -> None:
        """The farm shows a snapshot, and the window draws it."""
        self.farm.show(snapshot)
        self.draw()

    def controls(self) -> Iterable[Control]:
        """What the farm is asked for."""
        new = list(self.farm.controls())
        self.asked += new
        return new

    def close(self) -> None:
        """The farm hangs up, and the user closes what is left."""
        self.farm.close()
        self.draw()
        self.end()

    def end(self) -> None:
        """Close the window, in which nothing may have gone wrong."""
        self.app.close()
        self.app.run.stream.close()
        self.farm.close()
        assert not self.mistakes, self.mistakes

    def draw(self, seconds: float = 0.1) -> None:
        """Let some time pass for the window."""
        self.clock += seconds
        self.app.step()
        self.update()

    def update(self) -> None:
        """Let Tk do what there is to do."""
        if not self.app.closed:
            self.root.update()

    def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Let Tk work until something is so."""

        def met() -> object:
            self.update()
            return condition()

        wait_until(met, what)

    def press(self, key: str) -> None:
        """Press a key where the focus is, as the window's own events."""
        (self.root.focus_get() or self.root).event_generate(key)
        self.update()

    def click(self, button: tk.Misc) -> None:
        """Press a button as a user does, so that one that cannot be pressed does nothing."""
        self.update()
        x, y = button.winfo_width() // 2, button.winfo_height() // 2
        button.event_generate("<Enter>", x=x, y=y)
        button.event_generate("<ButtonPress-1>", x=x, y=y)
        button.event_generate("<ButtonRelease-1>", x=x, y=y)
        self.update()
        self.controls()

    def tab_texts(self) -> list[str]:
        """The titles of the tabs that can be seen."""
        tabs = self.app.tabs
        return [tabs.tab(each, "text") for each in tabs.tabs() if tabs.tab(each, "state") != "hidden"]
