"""What each part of the window says of a snapshot: pure functions, no clock, no Tk."""

from __future__ import annotations

from math import isfinite
from pathlib import PurePath

from farmhand.progress import OVER, PREPARING, Failure, ProcessView, Snapshot, TimeLeft
from farmhand.values import dataclass, replace
from farmhand.wording import (
    clock_text,
    computer_text,
    duration_text,
    fraction,
    percent,
    phase_text,
    printable,
    rate_text,
    rest_text,
    resting_text,
    state_text,
)

__all__ = [
    "Bar",
    "Overview",
    "Row",
    "count_text",
    "full_failure_text",
    "kind_text",
    "lost_text",
    "news_text",
    "overview_of",
    "quoted",
    "reason_text",
    "rerun_text",
    "row_of",
    "shown",
    "store_name",
    "store_place",
    "terminate_text",
    "title_of",
    "whole_text",
]

_MEMORY = ":memory:"
_SIGNS = {"running": "▶", "paused": "‖", "finished": "✓", "stopped": "■", "broken": "✗"}
_QUIET = 3.0  # seconds without news that need no word
_LONGEST_LINE = 2000  # characters: a text of Tk is slow with longer ones
_SWEEP = 3.0  # seconds in which the block of a bar that knows nothing goes there and back


@dataclass(frozen=True, slots=True)
class Bar:
    """What a bar shows, each part from 0 to 1 of its length; they add up to at most 1.

    Parameters
    ----------
    skipped, done, failed, running : float
        The parts, from the left.
    begins : float
        Where the first one begins: not at the left in a bar that only says that something goes on.
    """

    skipped: float = 0.0
    done: float = 0.0
    failed: float = 0.0
    running: float = 0.0
    begins: float = 0.0


@dataclass(frozen=True, slots=True)
class Overview:
    """What the upper part of the window says."""

    task: str
    store: str
    state: str
    sign: str  # of the state
    tone: str  # of the state: 'good', 'busy', 'wait' or 'bad'
    percent: str
    bar: Bar
    done: str
    failed: str
    skipped: str
    elapsed: str
    remaining: str
    rate: str
    cpu: str


@dataclass(frozen=True, slots=True)
class Row:
    """What the row of one process says."""

    number: str
    computer: str
    label: str
    quiet: bool  # nothing runs in it: the label says why
    attempt: str
    percent: str
    elapsed: str
    remaining: str
    bar: Bar | None


def shown(text: str, limit: int = 500) -> str:
    """``text`` as one line that every Tk can draw."""
    return printable(text.strip(), limit)


def whole_text(text: str) -> str:
    """Several lines that every Tk can draw."""
    lines = text.expandtabs().splitlines()
    return "\n".join(printable(line, _LONGEST_LINE) for line in lines)


def count_text(count: int) -> str:
    """A number with its thousands apart: ``'12,345'``."""
    return f"{count:,}"


def store_name(store: str) -> str:
    """Where results go, in short: a file's name alone."""
    if store in ("", _MEMORY):
        return "in this program's memory"
    return shown(PurePath(store).name or store, 80)


def store_place(store: str) -> str:
    """Where results go, with the folders."""
    return store_name(store) if store in ("", _MEMORY) else shown(store)


def title_of(snapshot: Snapshot, lost: bool = False) -> str:
    """The window's title: what it is about comes first, for a task bar that cuts it."""
    name = shown(snapshot.task, 60) or "task"
    complete = fraction(snapshot)
    if lost:
        name += " lost"
    elif snapshot.state in OVER:
        name += f" {state_text(snapshot).partition(' ')[0]}"
    elif complete is not None:
        name += f" {percent(complete)} %"
    else:
        name += f" {count_text(snapshot.done)} done"
    return f"{name} - {store_name(snapshot.store)}"


def overview_of(snapshot: Snapshot, left: TimeLeft, lost: bool = False, watching: bool = False) -> Overview:
    """The upper part of the window.

    Parameters
    ----------
    snapshot : Snapshot
        The run.
    left : TimeLeft
        Its time remaining.
    lost : bool
        The farm is gone without having said how the run ended.
    watching : bool
        The run is that of another process, which is named then.
    """
    state = snapshot.state
    over = state in OVER
    remaining = "none" if state == "finished" else str(left) or "-"
    complete = fraction(snapshot)
    total = "" if snapshot.total is None else f" of {count_text(snapshot.total)}"
    whose = f" (run by process {snapshot.pid})" if watching and snapshot.pid is not None else ""
    # the reason may be long, and has a place of its own
    words = state_text(replace(snapshot, reason=""))
    return Overview(
        task=shown(snapshot.task, 120) or "task",
        store=store_place(snapshot.store) + whose,
        state=("Not connected" if watching else "The farm is gone") if lost else _sentence(words),
        sign="✗" if lost else _SIGNS.get(state, "…"),
        tone="bad" if lost else _tone(snapshot),
        percent="" if complete is None else f"{percent(complete)} %",
        bar=_overall_bar(snapshot, complete),
        done=f"{count_text(snapshot.done)}{total} done",
        failed=f"{count_text(snapshot.failed)} failed" if snapshot.failed else "none failed",
        skipped=f"{count_text(snapshot.skipped)} skipped" if snapshot.skipped else "",
        elapsed=clock_text(snapshot.elapsed),
        remaining="-" if lost else remaining,
        rate=rate_text(snapshot.rate) or "-",
        cpu="-" if snapshot.cpu is None or over or lost else f"{percent(snapshot.cpu)} %",
    )


def _overall_bar(snapshot: Snapshot, complete: float | None) -> Bar:
    if complete is None:
        return Bar() if snapshot.state in OVER else _sweep(snapshot.elapsed)
    total = snapshot.total or 0
    if total <= 0:
        return Bar(done=complete)
    skipped = min(1.0, max(0, snapshot.skipped) / total)
    done = min(1.0 - skipped, max(0, snapshot.done) / total)
    failed = min(1.0 - skipped - done, max(0, snapshot.failed) / total)
    running = 0.0 if snapshot.state in OVER else max(0.0, complete - skipped - done - failed)
    return Bar(skipped, done, failed, running)


def _sweep(elapsed: float, width: float = 0.2) -> Bar:
    """A block that goes there and back; it moves with the run's own time, and stands when no news come."""
    turn = (elapsed / _SWEEP) % 2.0 if isfinite(elapsed) else 0.0
    return Bar(running=width, begins=(turn if turn <= 1.0 else 2.0 - turn) * (1.0 - width))


def _tone(snapshot: Snapshot) -> str:
    if snapshot.state == "broken":
        return "bad"
    if snapshot.state == "finished":
        return "wait" if snapshot.failed else "good"
    return "busy" if snapshot.state == "running" else "wait"


def reason_text(snapshot: Snapshot) -> str:
    """Why the run stops by itself, or what broke it; else ``''``."""
    reason = shown(snapshot.reason)
    return f"Broken off: {reason}" if reason and snapshot.state == "broken" else _sentence(reason)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def row_of(process: ProcessView) -> Row:
    """The row of one process."""
    number, computer = str(process.number), computer_text(process)
    if process.state != "busy" or process.index is None:  # the latter: between two items
        label = resting_text(process) or shown(process.state, 40)
        return Row(number, computer, label, True, "", "", "", "", None)
    label = shown(process.taskname, 200) or shown(process.item, 200) or f"item {process.index}"
    phase = phase_text(process)
    prepares = phase if process.phase == PREPARING else ""
    if phase and not prepares:
        label = f"{phase}: {label}"
    at = process.expected if process.expected is not None else process.complete
    known = at is not None and isfinite(at)
    share = min(max(at, 0.0), 1.0) if known and at is not None else 0.0
    return Row(
        number=number,
        computer=computer,
        label=label,
        quiet=False,
        attempt=_attempt(process.attempts),
        percent=f"{percent(share)} %" if known else prepares,
        elapsed=clock_text(process.elapsed),
        remaining=rest_text(process),
        bar=Bar(running=share) if known else _sweep(process.elapsed, 0.16),
    )


def _attempt(attempts: int) -> str:
    if attempts < 2:
        return ""
    ending = "th" if attempts % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(attempts % 10, "th")
    return f"{attempts}{ending} try"


def news_text(seconds: float) -> str:
    """That nothing has come for so long; ``''`` while that is nothing unusual."""
    return f"no news for {clock_text(seconds)}" if seconds > _QUIET else ""


def quoted(text: str) -> str:
    """A word of a command line."""
    import shlex

    return shown(shlex.quote(text))


def kind_text(kind: str) -> str:
    """What happened to an item that failed, in a word or two."""
    words = {
        "died": "process died",
        "timeout": "took too long",
        "memory": "too much memory",
        "lost": "computer lost",
    }
    return words.get(kind, shown(kind, 30))


def rerun_text(failure: Failure, store: str) -> str:
    """How to run a failed item again, alone."""
    if store in ("", _MEMORY) or not failure.key:
        return ""
    return f"farmhand rerun {quoted(store)} {quoted(failure.key)}"


def full_failure_text(failure: Failure, store: str) -> str:
    """All that is known of a failure, as it is read and copied."""
    error = failure.error
    what = {"died": "Died", "lost": "Lost"}.get(error.kind) or _sentence(kind_text(error.kind))
    where = "" if failure.process is None else f" in process {failure.process}"
    tries = "" if failure.attempts < 2 else f", tried {failure.attempts} times"
    lines = [
        f"Item {failure.index}: {shown(failure.item, 2000)}",
        f"{what}{where} after {duration_text(failure.seconds)}{tries}",
    ]
    rerun = rerun_text(failure, store)
    if rerun:
        lines.append(f"Run it again: {rerun}")
    error_line = shown(": ".join(filter(None, (error.type, error.message))), _LONGEST_LINE)
    traceback = whole_text(error.traceback).strip("\n")
    lines += ["", traceback or error_line]
    if traceback and error_line and not traceback.endswith(error_line):
        lines.append(error_line)
    output = whole_text(failure.output).strip("\n")
    lines += ["", "What it printed:" if output else "It printed nothing.", output]
    return "\n".join(lines).rstrip("\n") + "\n"


def terminate_text(snapshot: Snapshot) -> str:
    """What is kept and what is lost when the run is terminated now."""
    kept = snapshot.done + snapshot.failed
    noun = "result is" if snapshot.done == 1 else "results are"
    where = store_name(snapshot.store)
    memory = snapshot.store in ("", _MEMORY)
    place = where if memory else f"stored in {where}"
    text = f"{count_text(snapshot.done)} {noun} {place} and {'stays' if snapshot.done == 1 else 'stay'}."
    if not kept:
        text = "Nothing is stored yet."
    busy = sum(process.state == "busy" for process in snapshot.processes)
    if not busy:
        return f"{text} No item is running, so that nothing is lost."
    lost = "1 running item is given up" if busy == 1 else f"{busy} running items are given up"
    again = "it runs again" if busy == 1 else "they run again"
    return f"{text} {lost}; with resume=True {again}."


def lost_text(snapshot: Snapshot | None, watching: bool = False) -> str:
    """What is known of a run whose farm is gone without a word, or (if watched) only out of reach."""
    if watching and snapshot is not None:
        return (
            "Nothing more comes: farmhand gui was stopped here, and the run goes on, or the farm was killed. "
            f"farmhand status {quoted(snapshot.store)} says which."
        )
    text = "The farm has ended without a word: it was killed, or its computer lost power."
    if snapshot is None:
        return text
    if snapshot.store in ("", _MEMORY):
        return f"{text} The results were in its memory and are gone."
    of = "" if snapshot.total is None else f" of {count_text(snapshot.total)}"
    kept = snapshot.done + snapshot.skipped
    verb = "is" if kept == 1 else "are"
    return (
        f"{text} {count_text(kept)}{of} {verb} stored in {store_name(snapshot.store)}; "
        "resume=True runs the rest."
    )
