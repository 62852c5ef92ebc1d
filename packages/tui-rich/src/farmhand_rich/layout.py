"""A snapshot as lines of a terminal of any size: pure, no clock, nothing is drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.segment import Segment
from rich.style import Style

from farmhand.progress import PREPARING, ProcessView, Snapshot, TimeLeft
from farmhand.text import NewsLine
from farmhand.values import dataclass
from farmhand.wording import (
    bar_text,
    clock_text,
    computer_text,
    fraction,
    percent,
    phase_text,
    printable,
    processes_text,
    rate_text,
    rest_text,
    resting_text,
    starting_text,
    state_text,
)
from farmhand_rich.region import Line

__all__ = ["Layout", "Message"]

_MOST_NAME = 200  # characters of a name or an item
_COMPUTERS_FROM = 90  # columns of a terminal that has some for the names of computers,
_MOST_COMPUTER = 16  # at most so many
_FIGURES = 29  # columns of what stands between the bar of a process and its computer
_FREE_ROWS = 5  # at least for what is printed above, on a terminal of the usual height
_FIRST_REPORT = 3.0  # seconds after which an item should have reported, if others do
_STYLES = {
    "name": Style(bold=True),
    "dim": Style(dim=True),
    "state": Style(color="yellow", bold=True),
    "failed": Style(color="red"),
    "failure": Style(color="red"),
    "note": Style(color="yellow"),
    "question": Style(color="yellow", bold=True),
    "key": Style(bold=True),
    "done": Style(color="green"),
    "process": Style(color="cyan"),
    "held": Style(color="yellow"),
}


@dataclass(frozen=True, slots=True)
class Message:
    """What is below the bars.

    Parameters
    ----------
    help : sequence of (str, str)
        The keys that mean something, each with its meaning; none where there is no keyboard.
    text : str
        What the user is told, or asked.
    is_question : bool
        Whether it waits for an answer.
    """

    help: Sequence[tuple[str, str]] = ()
    text: str = ""
    is_question: bool = False


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of a line; where that is too long, those of the lowest rank are left out first."""

    rank: int
    text: str
    style: str = ""


class Layout:
    """Makes the lines.

    Parameters
    ----------
    console : rich.console.Console
        The terminal with its colours and its encoding.
    name : str
        What the run is called.
    origin : str
        Where it is: its store, and the process, if that is another one.
    """

    def __init__(self, console: Console, name: str, origin: str) -> None:
        self._console = console
        self._name = printable(name, 60) or "task"
        self._origin = printable(origin, _MOST_NAME)
        self._task_reports = False  # how far it is, as far as was seen

    def lines(
        self, snapshot: Snapshot, remaining: TimeLeft, message: Message, columns: int, rows: int
    ) -> list[Line]:
        """The lines for a terminal of so many columns and rows.

        Parameters
        ----------
        remaining : TimeLeft
            The time remaining, in words.
        """
        width = max(1, columns - 1)
        head = [
            self._title(snapshot, width),
            self._overall(snapshot, width),
            self._figures(snapshot, remaining, width),
        ]
        below = self._below(message, width)
        room = max(1, rows - min(_FREE_ROWS, rows // 4) - len(below))
        head = head[max(0, len(head) - room) :] if room >= 2 else [self._overall(snapshot, width)]
        room -= len(head)
        gap: list[Line] = [[]] if room >= len(snapshot.processes) + 3 else []
        processes = self._processes(snapshot, width, room - len(gap))
        # what is printed above is set off, also where the bars need all the room that they can have
        top: list[Line] = [[]] if gap or rows >= 4 * _FREE_ROWS else []
        return [*top, *head, *(gap if processes else []), *processes, *(gap if below else []), *below]

    def printed(self, line: NewsLine) -> Line:
        """A line that is printed above."""
        styled = Segment(line.text, _STYLES.get(line.kind))
        return [Segment(line.prefix, _STYLES["dim"]), styled] if line.prefix else [styled]

    def summary(self, text: str, failed: int, hint: str) -> list[Line]:
        """What is left in the end: how it went, and how to learn more of what failed."""
        before, found, after = text.partition(f"{failed} failed" if failed else "\0")
        lines = [[Segment(before), Segment(found, _STYLES["failed"]), Segment(after)]]
        return [*lines, [Segment(hint, _STYLES["dim"])]] if hint else lines

    # -- the run -----------------------------------------------------------------------------------

    def _title(self, snapshot: Snapshot, width: int) -> Line:
        parts = [_Part(9, self._name, "name")]
        text = state_text(snapshot)
        if text != "running":
            parts.append(_Part(8, text, "dim" if text == starting_text(snapshot) else "state"))
        if self._origin:
            parts.append(_Part(1, self._origin, "dim"))
        return _fitted(parts, width)

    def _overall(self, snapshot: Snapshot, width: int) -> Line:
        """The bar, with percent and counts: the line that is left when there is room for one only."""
        complete = fraction(snapshot)
        if complete is None:
            counts = [_Part(9, f"{snapshot.done} done")]
        else:
            digits = len(str(snapshot.total))
            long = f"{snapshot.done:{digits}d} of {snapshot.total} done"
            counts = [_Part(9, long if width >= 50 else f"{snapshot.done:{digits}d}/{snapshot.total}")]
        if snapshot.failed:
            counts.append(_Part(10, f"{snapshot.failed} failed", "failed"))
        if snapshot.skipped:
            counts.append(_Part(1, f"{snapshot.skipped} skipped", "dim"))
        if complete is None:
            return _fitted(counts, width)
        start = Segment(f"{percent(complete):3d}% ", _STYLES["name"])
        if width < 12:
            return _cropped([start], width)
        tail = _fitted(counts, max(0, width - 5 - min(12, width // 4)))
        length = width - 5 - Segment.get_line_length(tail) - 2
        length = min(length, max(12, width // 2)) // 2 * 2  # it does not jump with each digit beside it
        style = "done" if snapshot.state == "running" else "held"
        bar = self._bar(complete, length, style, snapshot.elapsed) if length >= 4 else []
        return _cropped([start, *bar, Segment("  " if bar else ""), *tail], width)

    def _figures(self, snapshot: Snapshot, remaining: TimeLeft, width: int) -> Line:
        parts = [_Part(8, f"{clock_text(snapshot.elapsed)} elapsed")]
        if remaining:
            parts.append(_Part(9, remaining.whole if width >= 50 else remaining.left))
        if rate := rate_text(snapshot.rate):
            parts.append(_Part(3, rate, "dim"))
        if snapshot.cpu is not None and isfinite(snapshot.cpu):
            parts.append(_Part(2, f"CPU {percent(snapshot.cpu)}%", "dim"))
        if snapshot.processes:
            parts.append(_Part(1, processes_text(snapshot), "dim"))
        return _fitted(parts, width)

    # -- its processes -----------------------------------------------------------------------------

    def _processes(self, snapshot: Snapshot, width: int, room: int) -> list[Line]:
        """A line for each process, as far as there is room."""
        processes = snapshot.processes
        if room < 1 or not processes:
            return []
        shown, rest = processes, processes[:0]
        if len(processes) > room:
            shown, rest = processes[: room - 1], processes[room - 1 :]
        held = snapshot.state != "running"
        self._task_reports |= any(process.complete is not None for process in processes)
        digits = max(2, len(str(max(process.number for process in processes))))
        computers = 0  # columns for their names, where there is room for them
        if width >= _COMPUTERS_FROM:
            computers = min(_MOST_COMPUTER, max(cell_len(computer_text(process)) for process in shown))
        lines = [self._process(process, digits, held, computers, width) for process in shown]
        if rest:
            busy = sum(process.state == "busy" for process in rest)
            text = _plural(len(rest), "more process" if shown else "process", "es")
            text = f"... and {text}" if shown else text
            lines.append(_cropped([Segment(f"{text}, {busy} busy", _STYLES["dim"])], width))
        return lines

    def _process(self, process: ProcessView, digits: int, held: bool, computers: int, width: int) -> Line:
        """Number, bar, percent, elapsed, remaining, the computer, and last what may be of any width."""
        line = [Segment(f"{process.number:{digits}d} ", _STYLES["dim"])]
        length = 0 if width < 40 else min(30, width // 4)
        computer = f"{set_cell_size(computer_text(process), computers)}  " if computers else ""
        if process.index is None:
            # between two tiny items: the line stands still
            space = " " * (length + 1) if length and process.state == "busy" else ""
            text = space + resting_text(process)
            if computer.strip():  # where it is in other lines
                text = set_cell_size(text, length + _FIGURES) + computer
            return _cropped([*line, Segment(text, _STYLES["dim"])], width)
        expected = process.complete if process.expected is None else process.expected
        if expected is not None and not isfinite(expected):
            expected = None
        phase = phase_text(process)
        is_preparing = process.phase == PREPARING and bool(phase)
        word = f" {phase}" if is_preparing and width >= 30 else ""
        if word:
            phase = ""
            length = max(0, length + 5 - len(word))  # the word is where the percent would be, and is longer
        if length:
            soon = self._task_reports and process.elapsed < _FIRST_REPORT
            line += self._bar(
                0.0 if expected is None and soon and not word else expected,
                length,
                "held" if held else "process",
                process.elapsed,
            )
        if word:
            line.append(Segment(word if width >= 40 else f"{word:>13}", _STYLES["dim"]))
        else:
            line.append(Segment("     " if expected is None else f"{percent(expected):4d}%"))
        if width >= 30 and (not word or width >= 40):
            line.append(Segment(f" {clock_text(process.elapsed):>7}"))
        if width >= 60:
            rest = rest_text(process)
            line.append(Segment(f" {f'{rest} left' if rest else '':>13}", _STYLES["dim"]))
        line.append(Segment("  " if width >= 30 else " "))
        if computer:
            line.append(Segment(computer, _STYLES["dim"]))
        if process.state == "leaving":
            line.append(Segment("last: ", _STYLES["note"]))
        if process.attempts > 1:
            line.append(Segment(f"try {process.attempts}: ", _STYLES["note"]))
        if phase:
            line.append(Segment(f"{phase}: ", _STYLES["dim" if is_preparing else "process"]))
        item, taskname = printable(process.item, _MOST_NAME), printable(process.taskname, _MOST_NAME)
        line.append(Segment(taskname or item))
        if taskname and item:
            line.append(Segment(f"  {item}", _STYLES["dim"]))
        return _cropped(line, width)

    # -- below -------------------------------------------------------------------------------------

    def _below(self, message: Message, width: int) -> list[Line]:
        """The keys and what they do, or what the user is asked."""
        style = _STYLES["question" if message.is_question else "note"]
        if message.is_question:
            return [[Segment(text, style)] for text in _wrapped(message.text, width)]
        line: Line = []
        for key, meaning in message.help:
            line += [
                Segment("   " if line else ""),
                Segment(key, _STYLES["key"]),
                Segment(f" {meaning}", _STYLES["dim"]),
            ]
        if not message.text:
            return [_cropped(line, width)] if line else []
        told = [Segment(message.text, style)]
        free = width - Segment.get_line_length(line) - 3
        if line and free >= cell_len(message.text):
            return [[*line, Segment("   "), *told]]
        return [_cropped(told, width)]

    def _bar(self, complete: float | None, length: int, style: str, seconds: float) -> Line:
        """A bar; one that moves to and fro when nobody knows how far it is."""
        lit, rest = _STYLES[style], _STYLES["dim"]
        options = self._console.options
        only_ascii = options.ascii_only or options.legacy_windows
        if complete is not None:
            done, open_ = bar_text(min(max(complete, 0.0), 1.0), length, only_ascii)
            return [Segment(done, lit), Segment(open_, rest)]
        tip = max(1, length // 5)
        way = length - tip
        place = int((seconds if isfinite(seconds) else 0.0) * length / 2) % max(1, 2 * way)
        before = min(place, 2 * way - place)
        full, empty = bar_text(1.0, length, only_ascii)[0], bar_text(0.0, length, only_ascii)[1]
        return [Segment(empty[:before], rest), Segment(full[:tip], lit), Segment(empty[: way - before], rest)]


def _fitted(parts: list[_Part], width: int) -> Line:
    """The parts of a line that have room, two columns apart."""
    parts = list(parts)
    free = width - sum(cell_len(part.text) for part in parts) - 2 * (len(parts) - 1)
    while free < 0 and len(parts) > 1:
        least = min(parts, key=lambda part: part.rank)
        parts.remove(least)
        free += cell_len(least.text) + 2
    line: Line = []
    for part in parts:
        if line:
            line.append(Segment("  "))
        line.append(Segment(part.text, _STYLES.get(part.style)))
    return _cropped(line, width)


def _cropped(line: Line, width: int) -> Line:
    """As much of a line as there is room for."""
    cropped: Line = []
    for segment in line:
        length = cell_len(segment.text)
        if length > width:
            if width > 0:
                cropped.append(Segment(set_cell_size(segment.text, width), segment.style))
            break
        width -= length
        cropped.append(segment)
    return cropped


def _wrapped(text: str, width: int) -> list[str]:
    """A text of words as lines."""
    import textwrap

    return textwrap.wrap(text, max(8, width)) if text else []


def _plural(count: int, noun: str, ending: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{ending}"
