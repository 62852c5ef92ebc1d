"""The text frontend: one line that is redrawn on a terminal, plain lines everywhere else.

It draws snapshots and nothing else: no state of the farm. Where nobody is looking
(a closed pipe, no stderr at all) it falls silent, and the run goes on.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable

from farmhand.events import Control
from farmhand.progress import OVER, FrontendOptions, Snapshot, TimeLeft
from farmhand.values import dataclass, replace
from farmhand.wording import (
    RemainingWords,
    bar_text,
    cells,
    clock_text,
    cut,
    fraction,
    percent,
    phase_text,
    printable,
    process_text,
    processes_text,
    rate_text,
    starting_text,
    summary_text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

__all__ = ["News", "NewsLine", "TextFrontend", "is_live"]

_RED, _GREEN, _YELLOW, _DIM = "31", "32", "33", "2"
_STYLES = {"failure": _RED}  # of lines that are printed once, by kind
# Nobody reads more failures than these as they pass; all are in the store.
_MANY_FAILURES = 100


@dataclass(frozen=True, slots=True)
class NewsLine:
    """A line that is printed once.

    Parameters
    ----------
    kind : str
        ``'output'``, ``'failure'``, ``'report'`` or ``'note'``.
    text : str
        One line that is fit to be printed.
    prefix : str
        What goes before it, set off: the item that has printed it.
    """

    kind: str
    text: str
    prefix: str = ""


class News:
    """What in each snapshot is new and worth a line of its own.

    That is: failures, each once, and those that went by between two snapshots as a number; with
    `verbose` also what tasks print, and, unless there are bars for that, progress messages as Brian
    had them.
    """

    def __init__(self, verbose: bool, reports: bool = True) -> None:
        self._verbose = verbose
        self._with_reports = verbose and reports
        self._announced = 0  # failures that were printed, or counted as "more"
        self._reports: dict[int, tuple[int | None, int | None, str, str]] = {}

    def lines(self, snapshot: Snapshot) -> list[NewsLine]:
        """The lines of the next snapshot."""
        lines = self._printed(snapshot) if self._verbose else []
        lines += self._new_failures(snapshot)
        if self._with_reports:
            lines += self._new_reports(snapshot)
        return lines

    def _printed(self, snapshot: Snapshot) -> list[NewsLine]:
        """What the tasks printed, each line with its item: those of several processes come mixed."""
        return [
            NewsLine("output", printable(line), f"[{output.index}] ")
            for output in snapshot.outputs
            for line in output.text.splitlines()
        ]

    def _new_failures(self, snapshot: Snapshot) -> list[NewsLine]:
        """The failures that were not printed yet; those that went by between two snapshots are counted."""
        new = snapshot.failed - self._announced
        if new <= 0:
            return []
        shown = [failure for failure in snapshot.failures if failure.number > self._announced]
        announced, self._announced = self._announced, snapshot.failed
        if announced >= _MANY_FAILURES and not self._verbose:
            return []
        lines = [NewsLine("failure", printable(str(failure))) for failure in shown]
        if shown and new > len(shown):
            lines.insert(0, NewsLine("failure", f"{_plural(new - len(shown), 'more item')} failed, and"))
        if self._announced >= _MANY_FAILURES and not self._verbose:
            lines.append(
                NewsLine("note", "further failures are counted, not printed; the store has them all")
            )
        return lines

    def _new_reports(self, snapshot: Snapshot) -> list[NewsLine]:
        """Brian's progress messages of the processes that have something new to say."""
        lines = []
        reports = {}
        for process in snapshot.processes:
            done = None if process.complete is None else percent(process.complete)
            report = (process.index, done, process.taskname, phase_text(process))
            reports[process.number] = report
            before = self._reports.get(process.number, (None, None, "", ""))
            says = done is not None or report[3] or report[2] not in ("", before[2])
            if report != before and says:
                lines.append(NewsLine("report", process_text(process)))
        self._reports = reports
        return lines


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of the line; on a narrow terminal those of the lowest rank are left out first."""

    rank: int
    text: str
    style: str = ""


class TextFrontend:
    """Shows progress as text, on stderr unless told otherwise.

    Parameters
    ----------
    options : FrontendOptions
        With ``verbose``, each progress message is printed, as Brian did, and what tasks print.
    stream : text file, optional
        Where to write; `sys.stderr` as it is now by default. When it is a terminal (and
        ``TERM`` is not ``dumb`` and ``CI`` is not set), one line is redrawn in place, in
        colour unless ``NO_COLOR`` is set. Else lines are written, without control characters
        and ever more seldom, up to every 30 seconds.
    """

    def __init__(self, options: FrontendOptions, stream: IO[str] | None = None) -> None:
        self._options = options
        self._stream: IO[str] | None = sys.stderr if stream is None else stream
        self._live = is_live(self._stream)
        ansi = os.name != "nt" or any(name in os.environ for name in ("WT_SESSION", "ANSICON", "TERM"))
        self._ansi = self._live and ansi
        self._colour = self._ansi and not os.environ.get("NO_COLOR")
        self._ascii = not _can_encode(self._stream, "".join(bar_text(0.5, 3)))
        self._last: Snapshot | None = None
        self._over = False
        self._status = ""  # what stands in the line that is redrawn
        self._next_line = 1.0
        self._news = News(options.verbose)
        self._words = RemainingWords()

    def show(self, snapshot: Snapshot) -> None:
        """Draw `snapshot`."""
        if self._stream is None or self._over:
            return
        lines = [
            self._paint(_DIM, line.prefix) + self._paint(_STYLES.get(line.kind, ""), line.text)
            for line in self._news.lines(snapshot)
        ]
        left = self._words.of(snapshot, time.time())
        if snapshot.state in OVER:
            self._over = True
            self._write([*lines, self._summary(snapshot)], "")
        elif self._live:
            self._write(lines, self._draw(snapshot, left, self._columns() - 1))
        else:
            lines += self._due_line(snapshot, left)
            self._write(lines, "")
        self._last = snapshot

    def controls(self) -> Iterable[Control]:
        """Nothing: a stream of text takes no orders."""
        return ()

    def close(self) -> None:
        """Finish the line that is redrawn; safe to call more than once."""
        if self._over or self._last is None:
            return
        # The run ended without saying how, so what was last seen is all there is to tell.
        self._over = True
        self._write([self._summary(self._last)], "")

    def _due_line(self, snapshot: Snapshot, left: TimeLeft) -> list[str]:
        """The line that says how far the run is, when it is time for one."""
        if self._last is None:
            return [self._first_line(snapshot)]
        if snapshot.elapsed >= self._next_line or snapshot.state != self._last.state:
            self._next_line = snapshot.elapsed + min(30.0, max(5.0, snapshot.elapsed / 4))
            return [self._plain(snapshot, left)]
        return []

    def _first_line(self, snapshot: Snapshot) -> str:
        parts = []
        if snapshot.total is not None:
            parts.append(_plural(snapshot.total, "item"))
        if snapshot.skipped:
            parts.append(f"{snapshot.skipped} skipped")
        if snapshot.processes:
            parts.append(processes_text(snapshot))
        return f"{self._name(snapshot)}: {', '.join(parts) or 'started'}"

    def _plain(self, snapshot: Snapshot, left: TimeLeft) -> str:
        state = starting_text(snapshot) if snapshot.state == "running" else snapshot.state
        parts = [state] if state else []
        complete = fraction(snapshot)
        if complete is None:
            parts.append(f"{snapshot.done} done")
        else:
            parts.append(f"{percent(complete)}%")
            parts.append(f"{snapshot.done} of {snapshot.total} done")
        if snapshot.failed:
            parts.append(f"{snapshot.failed} failed")
        if snapshot.skipped:
            parts.append(f"{snapshot.skipped} skipped")
        if rate := rate_text(snapshot.rate):
            parts.append(rate)
        if any(process.computer for process in snapshot.processes):
            parts.append(processes_text(snapshot))
        parts.append(f"{clock_text(snapshot.elapsed)} elapsed")
        if left:
            parts.append(left.whole)
        return f"{self._name(snapshot)}: {', '.join(parts)}"

    def _summary(self, snapshot: Snapshot) -> str:
        text = summary_text(replace(snapshot, task=self._name(snapshot)), self._options.watching)
        failed = f"{snapshot.failed} failed"
        return text.replace(failed, self._paint(_RED, failed)) if snapshot.failed else text

    # -- the line that is redrawn --------------------------------------------------------------

    def _draw(self, snapshot: Snapshot, left: TimeLeft, width: int) -> str:
        """The line for a terminal of `width` free columns."""
        complete = fraction(snapshot)
        parts = [_Part(5, self._name(snapshot))]
        if complete is None:
            parts.append(_Part(9, f"{snapshot.done} done"))
        else:
            digits = len(str(snapshot.total))
            parts.append(_Part(9, f"{percent(complete):3d}%"))
            parts.append(_Part(4, ""))  # the bar: what the others leave
            parts.append(_Part(8, f"{snapshot.done:{digits}d}/{snapshot.total}"))
        if snapshot.failed:
            parts.append(_Part(7, f"{snapshot.failed} failed", _RED))
        if snapshot.skipped:
            parts.append(_Part(1, f"{snapshot.skipped} skipped", _DIM))
        if rate := rate_text(snapshot.rate):
            parts.append(_Part(2, rate, _DIM))
        parts.append(_Part(3, clock_text(snapshot.elapsed)))
        if left:
            parts.append(_Part(6, left.left))
        if left.end:
            parts.append(_Part(0, left.end))
        if snapshot.state != "running":
            parts.append(_Part(10, snapshot.state, _YELLOW))
        elif starting := starting_text(snapshot):
            parts.append(_Part(1, starting, _DIM))
        return self._fit(parts, complete or 0.0, snapshot.state == "running", width)

    def _fit(self, parts: list[_Part], complete: float, running: bool, width: int) -> str:
        def columns(part: _Part) -> int:
            return cells(part.text) if part.text else 10  # the bar, at its shortest

        free = width - sum(map(columns, parts)) - 2 * (len(parts) - 1)
        while free < 0 and len(parts) > 1:
            least = min(parts, key=lambda part: part.rank)
            parts.remove(least)
            free += columns(least) + 2
        # Longer on a wide terminal; in steps, so that it does not jump with each digit beside it.
        length = min(30, 10 + max(0, free), max(10, (width + 1) // 4)) // 5 * 5
        bar = self._draw_bar(complete, length, _GREEN if running else _YELLOW)
        if free < 0:
            return cut(parts[0].text, width)
        return "  ".join(self._paint(part.style, part.text) if part.text else bar for part in parts)

    def _draw_bar(self, complete: float, width: int, style: str) -> str:
        done, rest = bar_text(complete, width, self._ascii)
        return self._paint(style, done) + self._paint(_DIM, rest)

    # -- the stream ----------------------------------------------------------------------------

    def _write(self, lines: list[str], status: str) -> None:
        """Write whole `lines`, and below them on a terminal the new `status`, in one go."""
        if self._stream is None or (not lines and status == self._status):
            return
        text = "".join(f"{line}\n" for line in lines) + status
        if self._status:
            # Erasing before writing, not after: behind a line that fills the terminal the
            # cursor still stands on its last character.
            text = ("\r\x1b[K" if self._ansi else f"\r{' ' * cells(self._status)}\r") + text
        self._status = status
        try:
            self._stream.write(_encodable(self._stream, text))
            self._stream.flush()
        except BlockingIOError:
            pass  # a terminal that is busy: the next snapshot says it all again
        except (OSError, ValueError):
            self._stream = None  # closed, or nobody reads it any more: the run matters, not this

    def _columns(self) -> int:
        """The width of the terminal now; of ours, as stdout may well be a file."""
        try:
            columns = os.get_terminal_size(self._stream.fileno() if self._stream else -1).columns
        except (OSError, ValueError, AttributeError):
            columns = 0
        import shutil  # it imports what unpacks archives, too

        return columns or shutil.get_terminal_size().columns

    def _paint(self, style: str, text: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour and style and text else text

    def _name(self, snapshot: Snapshot) -> str:
        return printable(snapshot.task or self._options.task, 40) or "task"


def is_live(stream: IO[str] | None) -> bool:
    """Whether a line on `stream` can be redrawn for somebody who watches."""
    if os.environ.get("TERM") == "dumb" or os.environ.get("CI", "").lower() not in ("", "0", "false"):
        return False
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, OSError, ValueError):
        return False


def _can_encode(stream: IO[str] | None, text: str) -> bool:
    return _encodable(stream, text) == text


def _encodable(stream: IO[str] | None, text: str) -> str:
    """`text` with what `stream` cannot encode written as escapes."""
    encoding = getattr(stream, "encoding", None)
    if text.isascii() or not isinstance(encoding, str):
        return text
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except (LookupError, UnicodeError):
        return text.encode("ascii", "backslashreplace").decode("ascii")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
