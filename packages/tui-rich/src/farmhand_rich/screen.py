"""The run on a terminal: bars that are drawn in place, what is printed above them, and keys below."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterable
from types import FrameType
from typing import IO, Any

from rich.console import Console
from rich.segment import Segment

from farmhand.events import Control
from farmhand.progress import OVER, Detach, FrontendOptions, Snapshot, TimeLeft
from farmhand.stdlib import signal
from farmhand.text import News, NewsLine
from farmhand.values import replace
from farmhand.wording import RemainingWords, printable, summary_text
from farmhand_rich.keys import Keyboard, Steering, presses
from farmhand_rich.layout import Layout, Message
from farmhand_rich.printing import Redirection
from farmhand_rich.region import Line, Region
from farmhand_rich.stream import Stream
from farmhand_rich.words import hint_text, origin_text

__all__ = ["Screen"]

_LEAST, _MOST = 0.1, 1.0  # seconds between two drawings
_REST = 40  # so many times as long as a drawing took nothing is drawn: it costs 2.5 % at most
_MOST_WAITING = 10_000  # lines for a terminal that takes nothing
_AS_USUAL = "\x1b[?7h\x1b[?25h"  # long lines are broken, and there is a cursor


class Screen:
    """What is drawn on one terminal during one run.

    Parameters
    ----------
    options : FrontendOptions
        What the frontend is made with.
    stream : text file
        The terminal.
    console : rich.console.Console, optional
        Draws on it, as wide and high as it says; by default one is made for the terminal.
    """

    def __init__(self, options: FrontendOptions, stream: IO[str], console: Console | None = None) -> None:
        self._options = options
        self._stream = Stream(stream)
        self._measured = console is None
        self._stack = contextlib.ExitStack()  # puts everything back
        self._stack.callback(self._stream.finish)
        file: Any = self._stream  # it has what rich asks for
        if console is None:
            width, height = _size_of(self._stream)
            console = Console(file=file, force_terminal=True, width=width, height=height)
        else:
            self._stack.callback(setattr, console, "file", console.file)
            console.file = file
        self._console = console
        # xterm and the console of Linux cut their lines off; all others break them anew
        cuts = os.environ.get("TERM") == "linux" or "XTERM_VERSION" in os.environ
        self._region = Region(console, reflows=not cuts or "TMUX" in os.environ)
        self._layout: Layout | None = None  # until there is a snapshot
        self._news = News(options.verbose, reports=False)  # for which there are bars
        self._words = RemainingWords()
        self._remaining = TimeLeft()
        self._steering = Steering(options.watching)
        self._above: list[Line] = []  # to be printed with the next drawing
        self._left_out = 0  # lines that a terminal did not take
        self._last: Snapshot | None = None
        self._size = (0, 0)
        self._drawn_state = ""
        self._next = 0.0  # when to draw again
        self._over = False
        self._suspended = False
        self._process = os.getpid()
        self._lock = threading.RLock()  # the script may print from any thread
        self._keyboard: Keyboard | None = None
        self._redirection: Redirection | None = None
        if self._stream.isatty():
            self._take_terminal()

    def show(self, snapshot: Snapshot) -> None:
        """Draw ``snapshot``, if it is time."""
        if self._over:
            return
        with self._lock:
            self._note(snapshot)
            self._last = snapshot
            self._remaining = self._words.of(snapshot, time.time())
            if snapshot.state in OVER:
                self._end(snapshot)
            elif self._is_due(snapshot):
                self._draw()

    def controls(self) -> Iterable[Control | Detach]:
        """What the keys that were pressed ask for."""
        if self._over or self._last is None or self._keyboard is None or not self._keyboard.is_ours():
            return ()
        keys = presses(self._keyboard.read())
        if not keys:
            return ()
        orders = self._steering.press(keys, self._last)
        with self._lock:
            self._draw()
        return orders

    def close(self) -> None:
        """Leave a last line, and put the terminal back as it was; safe to call more than once."""
        with self._lock:
            if self._last is not None and not self._over:
                self._end(self._last)
            self._over = True
            self._stack.close()

    # -- drawing -----------------------------------------------------------------------------------

    def _note(self, snapshot: Snapshot) -> None:
        """What is new, to be printed with the next drawing."""
        if self._layout is None:
            name = snapshot.task or self._options.task
            origin = origin_text(snapshot, self._options.watching)
            self._layout = Layout(self._console, name, origin)
        lines = self._news.lines(snapshot)
        room = max(0, _MOST_WAITING - len(self._above))
        self._left_out += max(0, len(lines) - room)
        self._above += map(self._layout.printed, lines[:room])

    def _is_due(self, snapshot: Snapshot) -> bool:
        changed = self._measure() != self._size or snapshot.state != self._drawn_state or self._suspended
        return changed or time.monotonic() >= self._next

    def _draw(self) -> None:
        """Draw the last snapshot, unless the terminal takes nothing now."""
        snapshot, layout = self._last, self._layout
        if snapshot is None or layout is None or self._stream.is_stuck():
            return
        began = time.monotonic()
        if self._suspended:
            self._suspended = False
            self._region.forget()
        self._size = columns, rows = self._measure()
        self._drawn_state = snapshot.state
        if self._measured:
            self._console.size = self._size
        lines: list[Line] = []
        if self._is_in_foreground():
            text = self._steering.text(snapshot)
            help_line = self._steering.help(snapshot) if self._has_keys() else ()
            message = Message(help_line, text, is_question=text.endswith("go on"))
            lines = layout.lines(snapshot, self._remaining, message, columns, rows)
            unfinished = self._redirection.unfinished if self._redirection is not None else ""
            if unfinished:
                begun = printable(unfinished.rpartition("\r")[2], 10_000)
                lines = [[Segment(begun[-(columns - 1) :])], *lines][:rows]
        self._region.draw(self._take_above(), lines, columns)
        now = time.monotonic()
        self._next = now + min(_MOST, max(_LEAST, _REST * (now - began))) - 0.01  # they come ten a second

    def _take_above(self) -> list[Line]:
        above, self._above = self._above, []
        if self._left_out and self._layout is not None:
            count, self._left_out = self._left_out, 0
            text = f"{count} more lines were left out, as the terminal took nothing; the store has them"
            above.append(self._layout.printed(NewsLine("note", text)))
        return above

    def _end(self, snapshot: Snapshot) -> None:
        """Put one line in the place of the bars, and a hint when something failed."""
        self._over = True
        lines = self._take_above()
        if self._redirection is not None and (rest := self._redirection.end()):
            lines.append([Segment(rest)])
        if self._layout is not None:
            named = replace(snapshot, task=snapshot.task or self._options.task)
            text = summary_text(named, self._options.watching)
            goes_on = self._options.watching and snapshot.state not in OVER
            lines += self._layout.summary(text, snapshot.failed, "" if goes_on else hint_text(snapshot))
        if self._suspended:
            self._region.forget()
        self._region.close(lines)
        self._stream.write(_AS_USUAL)

    def _print(self, text: str) -> None:
        """The script has printed whole lines, or (``''``) wants to be seen the line that it has begun."""
        with self._lock:
            if text:
                self._region.write_above(f"{text}\x1b[0m" if "\x1b" in text else text)
                if self._stream.is_full():
                    self._stream.drain()  # who prints waits for the terminal, as always
            elif time.monotonic() >= self._next:
                self._draw()

    # -- the terminal ------------------------------------------------------------------------------

    def _take_terminal(self) -> None:
        """Read keys, take what is printed; and whatever happens, put everything back."""
        self._redirection = Redirection(self._print)
        self._stack.callback(self._redirection.end)
        self._keyboard = Keyboard.find()
        if self._keyboard is not None:
            self._stack.callback(self._keyboard.restore)
            self._keyboard.is_ours()
        atexit.register(self._give_back)
        self._stack.callback(atexit.unregister, self._give_back)
        # Ctrl-Z; and what ends a process at once, unless somebody else heeds it, as a farm does
        for name in ("SIGTSTP", "SIGTERM", "SIGHUP", "SIGQUIT"):
            number = getattr(signal, name, None)
            if number is None or signal.getsignal(number) is not signal.SIG_DFL:
                continue
            with contextlib.suppress(ValueError):  # this is not the main thread
                signal.signal(number, self._give_way)
                self._stack.callback(signal.signal, number, signal.SIG_DFL)

    def _give_back(self) -> None:
        """Make the terminal usable now, whatever else is going on."""
        if os.getpid() != self._process:
            return  # a fork, whose terminal it is not
        if self._keyboard is not None:
            self._keyboard.restore()
        with contextlib.suppress(OSError, ValueError):
            if self._is_in_foreground():
                os.write(self._stream.fileno(), f"{_AS_USUAL}\r\n".encode())

    def _give_way(self, number: int, frame: FrameType | None) -> None:
        """Stop, or end, as a signal does that nobody heeds; but with the terminal as it was."""
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # here it goes on when it was stopped and is continued
        if os.getpid() == self._process and not self._over:
            signal.signal(number, self._give_way)
        self._suspended = True  # what stands on the terminal now is not ours

    def _is_in_foreground(self) -> bool:
        """Whether the terminal is this process's to draw on, and not the shell's."""
        try:
            return os.tcgetpgrp(self._stream.fileno()) == os.getpgrp()
        except (OSError, ValueError, AttributeError):
            return True  # it is nobody's, or no terminal of this system

    def _has_keys(self) -> bool:
        return self._keyboard is not None and self._keyboard.is_ours()

    def _measure(self) -> tuple[int, int]:
        """Columns and rows, as they are now."""
        if self._measured:
            return _size_of(self._stream)
        size = self._console.size
        return size.width, size.height


def _size_of(stream: Stream) -> tuple[int, int]:
    """Of the terminal that is drawn on, as standard output may well be a file."""
    size: Any = (0, 0)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        size = os.get_terminal_size(stream.fileno())
    columns, rows = size
    if columns > 0 and rows > 0:
        return columns, rows
    fallback = shutil.get_terminal_size()
    return fallback.columns, fallback.lines
