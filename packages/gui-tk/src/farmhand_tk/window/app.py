"""The window of a run, and its connection to the farm."""

from __future__ import annotations

import threading
import time
import tkinter as tk
from collections.abc import Callable
from tkinter import ttk

from farmhand.messages import MessageError, encoded
from farmhand.progress import OVER, Snapshot, TimeLeft
from farmhand.remote import RemoteRun
from farmhand.values import replace
from farmhand.wording import RemainingWords, summary_text
from farmhand_tk.window.chart import ChartPane
from farmhand_tk.window.controls import ControlsPane
from farmhand_tk.window.failures import FailuresPane
from farmhand_tk.window.looks import Looks, chosen_theme, desktop_is_dark, icon
from farmhand_tk.window.orders import Orders
from farmhand_tk.window.overview import OverviewPane
from farmhand_tk.window.processes import ProcessesPane
from farmhand_tk.window.words import (
    Overview,
    count_text,
    lost_text,
    news_text,
    overview_of,
    reason_text,
    title_of,
)

__all__ = ["AFTER", "App"]

#: What becomes of the window when the script has ended.
AFTER = ("auto", "stay", "close")

_HOLD = 1.0  # seconds for which a number stays
_STEP = 50  # milliseconds between two looks at the connection
_SETTLED = 0.5  # seconds after the script's end: who puts the window away while it ends does not look
_LOOKED = 60.0  # seconds after which a user who has touched nothing is taken to be gone


class App:
    """The window.

    Parameters
    ----------
    root : Tk
        From ``looks.prepare``; shown by this.
    run : RemoteRun
        The farm's connection.
    after : str
        One of ``AFTER``.
    watching : bool
        Whether the run belongs to another process that was there before the window.
    clock, now : callable
        Seconds that pass, and the time of day.

    Attributes
    ----------
    snapshot : Snapshot or None
        The newest one.
    lost : bool
        The connection has ended before the run had.
    closed : bool
        The window is closed.
    """

    def __init__(
        self,
        root: tk.Tk,
        run: RemoteRun,
        after: str = "auto",
        watching: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.root = root
        self.run = run
        self.snapshot: Snapshot | None = None
        self.lost = False
        self.closed = False
        self._ended = False  # the connection, and what follows from that is done
        self._after = after
        self._leaves: float | None = None  # when it closes, if nobody looks at it then
        self._watching = watching
        self._clock, self._now = clock, now
        self._news = clock()  # when something came for the last time
        self._touched = float("-inf")  # when the user did something for the last time
        self._shown: Overview | None = None
        self._words = RemainingWords()
        self._left = TimeLeft()
        self._told = 0.0  # when its numbers were written
        self._title = ""
        self._stale = False  # nobody could see what was drawn last
        self._mistaken = False
        self._desktop_dark: bool | None = None
        self._asking: threading.Thread | None = None
        self._timer: str | None = None
        self.looks = looks = Looks(root)
        self.orders = Orders(run)
        self.theme = tk.StringVar(root, chosen_theme())
        looks.use(False)
        self._build()
        self.theme.trace_add("write", lambda *_: self._use_theme())
        self._use_theme()
        self._bind_keys()
        self.overview.condition.say("Waiting for the run to begin")

    # -- how it is made ------------------------------------------------------------------------

    def _build(self) -> None:
        root, looks = self.root, self.looks
        px = looks.px
        root.title("farmhand")
        root.report_callback_exception = self._tell_mistake
        root.iconphoto(True, icon(root, 64), icon(root, 32))
        width = min(px(780), root.winfo_screenwidth() - px(40))
        height = min(px(720), root.winfo_screenheight() - px(80))
        root.geometry(f"{width}x{height}")
        root.protocol("WM_DELETE_WINDOW", self.close)
        root.columnconfigure(0, weight=1)
        root.rowconfigure(1, weight=1)
        self.overview = OverviewPane(root, looks, self.theme, self.show_failures, self.close)
        self.overview.grid(row=0, column=0, sticky="ew")
        self.panes = ttk.PanedWindow(root, orient="vertical")
        self.panes.grid(row=1, column=0, sticky="nsew", padx=px(14), pady=px(6))
        self.processes = ProcessesPane(self.panes, looks)
        self.panes.add(self.processes, weight=3)
        self.tabs = ttk.Notebook(self.panes)
        self.chart = ChartPane(self.tabs, looks)
        self.failures = FailuresPane(self.tabs, looks, self._counted_failures)
        self.tabs.add(self.chart, text="Chart", underline=1)
        self.tabs.add(self.failures, text="Failures")
        self.tabs.hide(self.failures)
        self.tabs.enable_traversal()
        self.tabs.bind("<<NotebookTabChanged>>", lambda event: self._turned_to_tab())
        self.panes.add(self.tabs, weight=2)
        self._dragged = False  # the user has divided the room between the two
        self._divided: tuple[int, int] | None = None
        self.panes.bind("<B1-Motion>", lambda event: self._drag())
        self.panes.bind("<Configure>", lambda event: self._divide())
        self.controls = ControlsPane(root, looks, self.orders)
        self.controls.grid(row=2, column=0, sticky="ew")
        root.update_idletasks()
        outside = self.overview.winfo_reqheight() + self.controls.winfo_reqheight()
        narrowest = max(self.overview.winfo_reqwidth(), self.controls.winfo_reqwidth())
        root.minsize(narrowest, outside + self.processes.height_for(2) + px(160))

    def _bind_keys(self) -> None:
        root, controls = self.root, self.controls
        for keys in ("<Control-w>", "<Control-q>"):
            root.bind_all(keys, lambda event: self.close())
        for letter, do in (
            ("p", controls.pause),
            ("r", controls.pause),
            ("f", controls.finish),
            ("t", controls.ask_to_terminate),
            ("k", controls.keep),
            ("o", controls.processes.focus_set),
            ("v", lambda: self.overview.menu_button.event_generate("<<Invoke>>")),
            ("c", self.failures.copy),
            ("a", self.show_failures),
            ("h", lambda: self.tabs.select(self.chart)),  # type: ignore[no-untyped-call]
        ):
            root.bind(f"<Alt-{letter}>", lambda event, do=do: self._do(do))  # type: ignore[misc]
        root.bind("<Escape>", lambda event: controls.keep())
        root.event_add("<<Invoke>>", "<Return>", "<KP_Enter>")  # as the space bar does
        for event in ("<Key>", "<Button>", "<Motion>"):
            root.bind_all(event, lambda event: self._touch(), add="+")

    def _do(self, do: Callable[[], object]) -> str:
        do()
        return "break"

    def _touch(self) -> None:
        self._touched = self._clock()

    # -- how it runs ---------------------------------------------------------------------------

    def open(self) -> None:
        """Put the window on the screen and tell the farm."""
        if self._asking is not None:
            self._asking.join(0.2)  # a window that turns dark after it has appeared dazzles
            self._follow_desktop()
        self.root.deiconify()
        self.root.update()
        self.run.stream.send(encoded({"request": "ready"}))
        self.run.watch(outputs=False)

    def loop(self) -> None:
        """Show the run until the window is closed."""
        self._again()
        self.root.mainloop()

    def _tell_mistake(self, kind: type[BaseException], error: BaseException, trace: object) -> None:
        """A mistake of the window is told once, to whoever may mend it; the window goes on."""
        if not self._mistaken:
            self._mistaken = True
            import traceback

            traceback.print_exception(error)

    def _again(self) -> None:
        if self.closed:
            return
        self._timer = self.root.after(_STEP, self._again)
        self.step()

    def step(self) -> None:
        """Look at the connection once, and draw what is new."""
        if self.closed:
            return
        error = ""
        snapshots: list[Snapshot] = []
        if not self._ended:
            try:
                snapshots = self.run.snapshots()
            except MessageError as problem:
                error = str(problem)
                self.run.stream.close()
        for snapshot in snapshots:
            self._take(snapshot)
        if snapshots:
            self._news = self._clock()
            self._draw()
        elif self._stale and self.root.winfo_viewable():
            self._draw()
        if self.run.closed and not self._ended:
            self._end(error)
        elif not self._ended:
            self.controls.show(self.snapshot, connected=True)
            over = self.snapshot is not None and self.snapshot.state in OVER
            self.overview.say_news("" if over else news_text(self._clock() - self._news))
        if self._leaves is not None and self._clock() >= self._leaves:
            self._leaves = None
            if not self.is_looked_at():
                self.close()
        if not self.closed:
            self._follow_desktop()

    def _follow_desktop(self) -> None:
        dark = self._desktop_dark
        if dark is not None and self.theme.get() == "auto" and dark != self.looks.palette.dark:
            self.looks.use(dark)

    def _take(self, snapshot: Snapshot) -> None:
        """Take a snapshot; what it has that later ones have not is kept at once."""
        before = self.snapshot
        if before is not None and (
            before.state in OVER or (before.run, before.pid) != (snapshot.run, snapshot.pid)
        ):
            self._begin()
        self.snapshot = snapshot
        self._left = self._words.of(snapshot, self._now())
        self.failures.show(snapshot, self._now())

    def _begin(self) -> None:
        """Another run of the same script."""
        self.orders.forget()
        self.failures.clear()
        self.chart.clear()
        self.controls.say("")
        self._shown = None

    def _end(self, error: str) -> None:
        """The connection has ended."""
        self._ended = True
        self.orders.forget()
        over = self.snapshot is not None and self.snapshot.state in OVER
        # without a snapshot there was never anything to see
        if self._after == "close" or (self._after == "auto" and self.snapshot is None):
            self.close()
            return
        if self._after == "auto" and over and not error:
            self._leaves = self._clock() + _SETTLED
        self.lost = not over or bool(error)
        if error:
            self.controls.say(f"What the farm sends cannot be read: {error}")
        elif self.lost:
            self.controls.say(lost_text(self.snapshot, self._watching))
        self.overview.say_news("" if over else "not connected")
        self._draw()
        self.controls.show(self.snapshot, connected=False)

    def is_looked_at(self) -> bool:
        """Whether somebody looks at the window, as far as that can be told."""
        if not self.root.winfo_viewable():
            return False
        try:
            focus = self.root.focus_displayof() is not None
        except KeyError:
            focus = True  # a menu, which tkinter does not know
        if focus or self._clock() - self._touched < _LOOKED:
            return True
        x, y = self.root.winfo_pointerxy()
        return self.root.winfo_containing(x, y) is not None

    def close(self) -> None:
        """Close the window; the run goes on. The connection is left to the end of the process."""
        if not self.closed:
            self.closed = True
            if self._timer is not None:
                self.root.after_cancel(self._timer)
            self.root.destroy()

    # -- what is drawn -------------------------------------------------------------------------

    def _draw(self) -> None:
        snapshot = self.snapshot
        if snapshot is None:
            return
        title = title_of(snapshot, self.lost)
        if title != self._title:
            self._title = title
            self.root.title(title)
        if not self.root.winfo_viewable():
            self._stale = True
            return
        self._stale = False
        self.overview.show(self._held(overview_of(snapshot, self._left, self.lost, self._watching)))
        if not self.lost:
            self.controls.say(reason_text(snapshot), "bad" if snapshot.state == "broken" else "wait")
        if snapshot.state in OVER:
            self.processes.show((), summary_text(snapshot))
        else:
            self.processes.show(snapshot.processes, "No processes")
        self._divide()
        self._draw_chart()

    def _drag(self) -> None:
        self._dragged = True

    def _divide(self) -> None:
        """Give the processes the room that they need, up to half of it, until the user has a wish."""
        room = self.panes.winfo_height()
        rows = 4
        if self.snapshot is not None:
            rows = 2 if self.snapshot.state in OVER else len(self.snapshot.processes)
        if self._dragged or room < 10 or self._divided == (room, rows):
            return
        self._divided = (room, rows)
        least, most = self.processes.height_for(2), room - self.looks.px(180)
        place = max(least, min(self.processes.height_for(rows), max(most, room // 2)))
        self.panes.sashpos(0, place)  # type: ignore[no-untyped-call]

    def _held(self, overview: Overview) -> Overview:
        """The overview, with rates that change at most once a second: nobody can read a flicker."""
        held, now = self._shown, self._clock()
        if held is not None and overview.state == held.state and 0.0 <= now - self._told < _HOLD:
            held = replace(overview, rate=held.rate, cpu=held.cpu)
        else:
            held, self._told = overview, now
        self._shown = held
        return held

    def show_failures(self) -> None:
        """Show the list of failures."""
        if self.snapshot is not None and self.snapshot.failed:
            self.tabs.select(self.failures)  # type: ignore[no-untyped-call]
            self.failures.opened()
            self.failures.list.focus_set()

    def _counted_failures(self, count: int) -> None:
        """Name their number in the tab; without any there is no such tab."""
        if count:
            # where the tab appears it stays in the background: the user looks at something else
            self.tabs.add(self.failures, text=f"Failures ({count_text(count)})", underline=1)
        else:
            self.tabs.hide(self.failures)

    def _turned_to_tab(self) -> None:
        if self.failures.winfo_viewable():
            self.failures.opened()
        self._draw_chart()

    def _use_theme(self) -> None:
        word = self.theme.get()
        if word != "auto":
            self.looks.use(word == "dark")
            return
        if self._asking is None:  # once: who changes the desktop's theme later can choose here, too
            self._asking = threading.Thread(target=self._ask_desktop, daemon=True)
            self._asking.start()
        self.looks.use(bool(self._desktop_dark))

    def _ask_desktop(self) -> None:
        self._desktop_dark = desktop_is_dark()

    def _draw_chart(self) -> None:
        if self.snapshot is not None:
            # where the line would have led is of no use any more
            shown = replace(self.snapshot, remaining=None) if self.lost else self.snapshot
            self.chart.show(shown, self._left)
