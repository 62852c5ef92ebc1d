"""The words that all frontends share, so that the terminal, the window and the plot say the same."""

from __future__ import annotations

import time
from math import isfinite
from unicodedata import combining, east_asian_width

from farmhand.bars import REPORTED
from farmhand.progress import OVER, PREPARING, ProcessView, Snapshot
from farmhand.timeleft import RemainingWords, about_text, finish_text, remaining_text

__all__ = [
    "RemainingWords",
    "bar_text",
    "cells",
    "clock_text",
    "computer_text",
    "cut",
    "duration_text",
    "finish_text",
    "fraction",
    "percent",
    "phase_text",
    "printable",
    "process_text",
    "processes_text",
    "progress_text",
    "rate_text",
    "remaining_text",
    "rest_text",
    "resting_text",
    "size_text",
    "starting_text",
    "state_text",
    "summary_text",
    "when_text",
]

_BRIEF = 0.5  # seconds of preparation that need no word
# what there is to say of a process that runs nothing, by its state
_REST = {
    "waiting": "waiting for a free worker",
    "starting": "starting",
    "idle": "waiting for an item",
    "leaving": "ending",
}


def clock_text(seconds: float) -> str:
    """A time that runs: ``'3s'``, ``'1m 20s'``, ``'2h 05m'``, ``'1d 3h'``."""
    if not isfinite(seconds):
        return "?"
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def duration_text(seconds: float) -> str:
    """A time that something took, of any length: ``'0.02ms'``, ``'340ms'``, ``'2.5s'``, ``'1m 20s'``."""
    if not isfinite(seconds) or seconds >= 59.5:
        return clock_text(seconds)
    if seconds < 0.9995:
        milliseconds = max(0.0, seconds) * 1000
        return f"{milliseconds:.0f}ms" if milliseconds >= 9.5 else f"{milliseconds:.2g}ms"
    return f"{seconds:.1f}s" if seconds < 9.95 else f"{seconds:.0f}s"


def size_text(size: int) -> str:
    """A number of bytes: ``'512 B'``, ``'12 MB'``, ``'1.5 GB'``."""
    if size < 1000:
        return f"{size} B"
    value, unit = size / 1000, 0
    while value >= 999.5 and unit < 4:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {'kMGTP'[unit]}B" if value < 9.95 else f"{value:.0f} {'kMGTP'[unit]}B"


def when_text(moment: float, now: float) -> str:
    """A time of day, here; of another day than ``now``, with the date."""
    try:
        then, today = time.localtime(moment), time.localtime(now)
    except (OverflowError, ValueError, OSError):
        return "?"
    if then[:3] == today[:3]:
        return time.strftime("%H:%M:%S", then)
    return time.strftime("%Y-%m-%d %H:%M", then)


def percent(complete: float) -> int:
    """Whole percent, rounded down (but 0.29 is 29): 100 means that all is done."""
    return int(min(max(complete, 0.0), 1.0) * 100 + 1e-9) if complete == complete else 0


def fraction(snapshot: Snapshot) -> float | None:
    """How much of the run is done, from 0 to 1; None when nobody knows how long it is."""
    if snapshot.total is None:
        return None
    if snapshot.complete is not None and snapshot.complete == snapshot.complete:
        return min(max(snapshot.complete, 0.0), 1.0)
    behind = snapshot.done + snapshot.failed + snapshot.skipped
    return min(1.0, behind / snapshot.total) if snapshot.total > 0 else 1.0


def phase_text(process: ProcessView) -> str:
    """Which part of its item a process is at: ``'preparing'``, ``'warm-up'``, ``'run 2 of 3'``, or ``''``.

    Most tasks are prepared at once, and need no word that flashes.
    """
    if process.phase == PREPARING and process.elapsed < _BRIEF:
        return ""
    return printable(process.phase, 40)


def computer_text(process: ProcessView) -> str:
    """The computer that a process is on, without its domain: ``'node17'``; ``''`` for this one."""
    name = printable(process.computer, 40)
    if name.replace(".", "").isdecimal():
        return name  # an address
    return name.partition(".")[0] or name


def progress_text(elapsed: float, complete: float | None, remaining: float | None = None) -> str:
    """How far one item is, in the words of Brian 1.4.

    ``'35% complete, 12s elapsed, approximately 22s remaining'``; without the last part while
    `complete` is (nearly) zero, and without the first when it is None. What remains follows from the
    others, as with Brian, where it is not known any better.
    """
    parts = [f"{_brian_clock(elapsed)} elapsed"]
    if complete is not None:
        parts.insert(0, f"{percent(complete)}% complete")
        if complete > REPORTED:
            rest = elapsed / min(complete, 1.0) - elapsed if remaining is None else remaining
            parts.append(f"approximately {_brian_clock(rest)} remaining")
    return ", ".join(parts)


def process_text(process: ProcessView) -> str:
    """One progress message as Brian printed it: ``'Process 0: 35% complete, ...: taskname'``.

    Of a process on another computer with that: ``'Process 0 on node17: ...'``.
    """
    phase, taskname = phase_text(process), printable(process.taskname)
    text = progress_text(process.elapsed, process.complete, process.remaining)
    if process.phase == PREPARING:
        text, phase = f"{PREPARING}, {text}", ""
    about = ": ".join(filter(None, (phase, taskname))) or "No task information"
    where = f" on {computer_text(process)}" if process.computer else ""
    return f"Process {process.number}{where}: {text}: {about}"


def processes_text(snapshot: Snapshot) -> str:
    """How many processes there are, and if they are elsewhere, where: ``'8 processes on 2 computers'``.

    Of one computer with its name: ``'8 processes on node17'``.
    """
    count = len(snapshot.processes)
    text = "1 process" if count == 1 else f"{count} processes"
    views = {view.computer: view for view in snapshot.processes if view.computer or view.pid is not None}
    if not any(views):
        return text
    (first, *others) = views.values()
    return f"{text} on {len(views)} computers" if others else f"{text} on {computer_text(first)}"


def rest_text(process: ProcessView) -> str:
    """How long the item of a process still takes: ``'1m 20s'`` as it reports, ``'~1.5 min'`` as others took.

    ``''`` where nobody can say, as of one that has outlasted such a guess; and a guess of hardly any time
    is none.
    """
    rest = process.remaining
    if rest is None or not isfinite(rest):
        return ""
    if process.complete is not None and process.complete > REPORTED:
        return clock_text(rest)
    guess = about_text(rest)
    return f"~{guess}" if guess else ""


def resting_text(process: ProcessView) -> str:
    """What a process does that runs no item: ``'starting'``; ``''`` between two items."""
    return _REST.get(process.state, "")


def starting_text(snapshot: Snapshot) -> str:
    """That no process is ready yet: ``'starting 4 processes'``; ``''`` once one was.

    Where all wait for a place, that is said: ``'waiting for a free worker'``.
    """
    processes = snapshot.processes
    states = {process.state for process in processes}
    if not states or states - {"waiting", "starting"}:
        return ""
    if states == {"waiting"}:
        return _REST["waiting"]
    return "starting 1 process" if len(processes) == 1 else f"starting {len(processes)} processes"


def state_text(snapshot: Snapshot) -> str:
    """What a run does now: ``'running'``, ``'finishing: 2 items still run'``, ``'finished in 2m 03s'``."""
    state = snapshot.state
    busy = sum(process.state == "busy" for process in snapshot.processes)
    items = "1 item still runs" if busy == 1 else f"{busy} items still run"
    reason = f": {printable(snapshot.reason)}" if snapshot.reason else ""
    if state == "running":
        return starting_text(snapshot) or state
    if state == "finished":
        return f"finished in {_took(snapshot.elapsed)}"
    if state in ("stopped", "broken"):
        how = "stopped" if state == "stopped" else "broken off"
        return f"{how} after {_took(snapshot.elapsed)}{reason}"
    if state in ("paused", "finishing") and busy:
        return f"{state}: {items}"
    return f"{printable(state)}{reason}"


def rate_text(rate: float) -> str:
    """A rate that a person can picture: ``'3.4/s'``, ``'12k/s'``, ``'4.1/min'``; ``''`` for none."""
    if not (isfinite(rate) and rate > 0.0):
        return ""
    # One item a second is common, and should not flip between 1.0/s and 59/min.
    scales = ((1e-6, "M/s", 1e6), (1e-3, "k/s", 1e3), (1.0, "/s", 0.5), (60.0, "/min", 0.5 / 60))
    factor, unit = next(((f, u) for f, u, least in scales if rate >= least), (3600.0, "/h"))
    value = rate * factor
    return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"


def summary_text(snapshot: Snapshot, watching: bool = False) -> str:
    """The one line that is left when a run is over.

    ``'find_rate: 200 done, 3 failed, 10 skipped in 1m 02s'``; a run that did not come to its
    end says so, and why: ``'find_rate: stopped after 12s: 80 of 213 done, 3 failed (max_failures=3 is
    reached)'``. Of one of another process, which somebody has only watched (``watching``), its state
    is told as it was last.
    """
    took = _took(snapshot.elapsed)
    counts = [f"{snapshot.done} done"]
    if snapshot.failed:
        counts.append(f"{snapshot.failed} failed")
    if snapshot.skipped:
        counts.append(f"{snapshot.skipped} skipped")
    name = printable(snapshot.task) or "task"
    if snapshot.state == "finished":
        return f"{name}: {', '.join(counts)} in {took}"
    if snapshot.total is not None:
        counts[0] = f"{snapshot.done} of {snapshot.total} done"
    how = "stopped" if snapshot.state == "stopped" else "broken off"
    if watching and snapshot.state not in OVER:
        how = printable(snapshot.state)
    why = f" ({printable(snapshot.reason, 200)})" if snapshot.reason else ""
    return f"{name}: {how} after {took}: {', '.join(counts)}{why}"


def printable(text: str, limit: int = 500) -> str:
    """`text` as one line that cannot move a cursor or change a colour, cut to `limit` characters.

    Names and items come from the user's code and may hold anything: newlines, terminal
    escapes, right-to-left marks, a megabyte of digits.
    """
    if len(text) > limit:
        text = text[: limit - 3] + "..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def bar_text(complete: float, width: int, only_ascii: bool = False) -> tuple[str, str]:
    """A bar of so many columns: what is done of it, from 0 to 1, and what is not."""
    full, half, empty = ("#", "", "-") if only_ascii else ("━", "╸", "─")
    halves = int(complete * width * 2 + 1e-9)
    done = full * (halves // 2) + (half if halves % 2 else "")
    return done, empty * (width - len(done))


def cells(text: str) -> int:
    """The columns that `text` takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_cell, text))


def cut(text: str, width: int) -> str:
    """The beginning of `text` that fits into so many columns."""
    if text.isascii():
        return text[:width]
    while text and cells(text) > width:
        text = text[:-1]
    return text


def _cell(char: str) -> int:
    return 0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1


def _took(elapsed: float) -> str:
    """How long a run took: many take a second or two, where whole seconds would say little."""
    return f"{max(0.0, elapsed):.1f}s" if elapsed < 9.95 else clock_text(elapsed)


def _brian_clock(seconds: float) -> str:
    """Times as Brian 1.4 told them: no padding, and down to the second even after days."""
    if not isfinite(seconds):
        return "?"
    whole = max(0, int(seconds))
    text = f"{whole % 60}s"
    if whole >= 60:
        text = f"{whole // 60 % 60}m {text}"
    if whole >= 3600:
        text = f"{whole // 3600 % 24}h {text}"
    if whole >= 86400:
        text = f"{whole // 86400}d {text}"
    return text
