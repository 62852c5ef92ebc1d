"""The run in a notebook: a piece of HTML that is replaced three times a second, and stays in the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from html import escape
from math import isfinite

from IPython.display import DisplayHandle, display

from farmhand.events import Control
from farmhand.progress import (
    OVER,
    PREPARING,
    Detach,
    Failure,
    FrontendOptions,
    ProcessView,
    Snapshot,
    TimeLeft,
)
from farmhand.text import News
from farmhand.values import replace
from farmhand.wording import (
    RemainingWords,
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
    summary_text,
)
from farmhand_rich.words import hint_text, origin_text

__all__ = ["NotebookFrontend"]

_LEAST = 0.33  # seconds between two displays
_REST = 40  # so many times as long as a display took there is none
_MOST_PROCESSES = 64
_MOST_LINES = 40  # of a traceback, or of what an item printed: the last ones

# Where the notebook has a theme its colours are used, else those of the browser.
_STYLE = """<style>
.farmhand-run { --fh-red: #b3261e; --fh-amber: #9a6700;
  font-family: var(--jp-ui-font-family, system-ui, sans-serif);
  font-size: 13px; line-height: 1.6; max-width: 60em; color: var(--jp-ui-font-color1, inherit);
  font-variant-numeric: tabular-nums; padding: 2px 0; }
@media (prefers-color-scheme: dark) { .farmhand-run { --fh-red: #ff8a80; --fh-amber: #f2b84b; } }
.farmhand-run .fh-dim { color: var(--jp-ui-font-color2, inherit); opacity: .8; }
.farmhand-run .fh-failed { color: var(--jp-error-color1, var(--fh-red)); }
.farmhand-run .fh-held { color: var(--jp-warn-color0, var(--fh-amber)); }
.farmhand-run .fh-bar { background: rgba(128, 128, 128, .25); border-radius: 4px; height: 8px;
  overflow: hidden; }
.farmhand-run .fh-bar div { background: #2f9e5b; height: 100%; border-radius: 4px; }
.farmhand-run .fh-rests .fh-bar div { background: #d29922; }
.farmhand-run .fh-all .fh-bar { height: 12px; margin: 3px 0; }
.farmhand-run .fh-process { display: grid; align-items: center; column-gap: 10px;
  grid-template-columns: 2em minmax(60px, 180px) 3em 4.5em 7.5em 1fr; }
.farmhand-run .fh-process .fh-bar div { background: #3a8fb7; }
.farmhand-run .fh-process > span { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.farmhand-run .fh-number { text-align: right; }
.farmhand-run .fh-process > .fh-wide { grid-column: span 2; }
.farmhand-run .fh-part { color: #3a8fb7; }
.farmhand-run pre { white-space: pre-wrap; margin: 2px 0 8px 1.2em; font-size: 12px; max-height: 24em;
  overflow: auto; color: inherit; background: rgba(128, 128, 128, .12); padding: 6px 8px;
  border-radius: 4px; }
.farmhand-run summary { cursor: pointer; }
.farmhand-run details details { margin-left: 1.2em; }
</style>"""


class NotebookFrontend:
    """Shows progress as the output of a cell, which is replaced in place.

    Failures are a display of their own, which changes only when there are new ones: whoever has
    unfolded a traceback can read it.

    Parameters
    ----------
    options : FrontendOptions
        With ``verbose``, what tasks print is printed below.
    """

    def __init__(self, options: FrontendOptions) -> None:
        self._options = options
        self._news = News(options.verbose, reports=False)
        self._words = RemainingWords()
        self._remaining = TimeLeft()
        self._progress: DisplayHandle | None = None
        self._failures: DisplayHandle | None = None
        self._last: Snapshot | None = None
        self._listed = 0  # failures that are shown
        self._next = 0.0  # when to display again
        self._state = ""
        self._over = False

    def show(self, snapshot: Snapshot) -> None:
        """Display ``snapshot``, if it is time."""
        if self._over:
            return
        self._last = snapshot
        self._remaining = self._words.of(snapshot, time.time())
        self._over = snapshot.state in OVER
        began = time.monotonic()
        if self._over or began >= self._next or snapshot.state != self._state:
            self._state = snapshot.state
            self._display(snapshot)
            now = time.monotonic()
            self._next = now + max(_LEAST, _REST * (now - began))
        self._print(snapshot)

    def controls(self) -> Iterable[Control | Detach]:
        """Nothing: the kernel is busy with the run, and hears of no key."""
        return ()

    def close(self) -> None:
        """Leave the last state as the output; safe to call more than once."""
        if self._last is not None and not self._over:
            self._over = True
            self._display(replace(self._last, state="broken"))

    def _display(self, snapshot: Snapshot) -> None:
        named = replace(snapshot, task=printable(snapshot.task or self._options.task, 60) or "task")
        content = {
            "text/html": f"{_STYLE}{_run(named, self._remaining, self._options.watching)}",
            "text/plain": summary_text(named) if self._over else f"{named.task}: {state_text(named)}",
        }
        self._progress = _shown(content, self._progress)
        if self._failures is None:  # made at once, so that what is printed comes below
            self._failures = _shown({"text/html": "", "text/plain": ""}, None)
        if snapshot.failed > self._listed and snapshot.failures:
            self._listed = snapshot.failed
            content = {
                "text/html": f"{_STYLE}{_failures(named)}",
                "text/plain": "\n".join(printable(str(failure)) for failure in snapshot.failures[-10:]),
            }
            self._failures = _shown(content, self._failures)

    def _print(self, snapshot: Snapshot) -> None:
        for line in self._news.lines(snapshot):
            if line.kind == "output" and sys.stdout is not None:
                sys.stdout.write(f"{line.prefix}{_valid(line.text)}\n")


def _shown(content: dict[str, str], handle: DisplayHandle | None) -> DisplayHandle | None:
    """Display some content, in the place of what a handle stands for."""
    if handle is None:
        made: DisplayHandle | None = display(content, raw=True, display_id=True)
        return made
    handle.update(content, raw=True)
    return handle


def _run(snapshot: Snapshot, remaining: TimeLeft, watching: bool) -> str:
    over = snapshot.state in OVER
    held = snapshot.state not in ("running", "finished")
    complete = fraction(snapshot)
    state = state_text(snapshot)
    state = "" if state == "running" else state
    about = f" {_span(state, 'fh-held' if held else 'fh-dim')}" if state else ""
    origin = origin_text(snapshot, watching)
    parts = [f"<div><b>{_text(snapshot.task)}</b>{about} {_span(origin, 'fh-dim')}</div>"]
    counts = [f"{snapshot.done} done"]
    if complete is not None:
        parts.append(_bar(complete))
        counts = [f"<b>{percent(complete)}%</b>", f"{snapshot.done} of {snapshot.total} done"]
    if snapshot.failed:
        counts.append(_span(f"{snapshot.failed} failed", "fh-failed"))
    if snapshot.skipped:
        counts.append(_span(f"{snapshot.skipped} skipped", "fh-dim"))
    figures = [] if over else [f"{clock_text(snapshot.elapsed)} elapsed"]
    if remaining and not over:
        figures.append(remaining.whole)
    if rate := rate_text(snapshot.rate):
        figures.append(rate)
    if not over and snapshot.cpu is not None and isfinite(snapshot.cpu):
        figures.append(f"CPU {percent(snapshot.cpu)}%")
    parts.append(f"<div>{' &nbsp; '.join(counts)} &nbsp; {_span(' · '.join(figures), 'fh-dim')}</div>")
    hint = hint_text(snapshot) if over else ""
    if hint:
        parts.append(f"<div class='fh-dim'><code>{_text(hint)}</code></div>")
    whole = f"<div class='fh-all{' fh-rests' if held else ''}'>{''.join(parts)}</div>"
    processes = () if over else snapshot.processes
    rows = "".join(map(_process, processes[:_MOST_PROCESSES]))
    rest = processes[_MOST_PROCESSES:]
    if rest:
        busy = sum(process.state == "busy" for process in rest)
        rows += f"<div class='fh-dim'>... and {len(rest)} more processes, {busy} busy</div>"
    return f"<div class='farmhand-run'>{whole}{rows}</div>"


def _process(process: ProcessView) -> str:
    number = f"<span class='fh-number fh-dim'>{process.number}</span>"
    if process.index is None:
        nothing = "<span></span>" * 3
        word = " ".join(filter(None, (resting_text(process), _where(process))))
        return f"<div class='fh-process'>{number}{_bar(0.0)}{nothing}{_span(word, 'fh-dim')}</div>"
    expected = process.complete if process.expected is None else process.expected
    known = expected is not None and isfinite(expected)
    share = f"{percent(expected)}%" if known and expected is not None else ""
    bar = _bar(expected if known and expected is not None else 0.0)
    how_far = f"{bar}<span class='fh-number'>{share}</span>"
    phase = phase_text(process)
    part = f"{_span(f'{phase}:', 'fh-part')} " if phase else ""
    if phase and process.phase == PREPARING:
        how_far, part = _span(phase, "fh-wide fh-number fh-dim"), ""
    rest = rest_text(process)
    left = f"{rest} left" if rest else ""
    attempt = f"{_span(f'try {process.attempts}:', 'fh-held')} " if process.attempts > 1 else ""
    item, taskname = printable(process.item, 200), printable(process.taskname, 200)
    elapsed = f"<span class='fh-number'>{clock_text(process.elapsed)}</span>"
    name = f"{_text(taskname)} {_span(item, 'fh-dim')}" if taskname else _text(item)
    if where := _where(process):
        name += f" {_span(where, 'fh-dim')}"
    return (
        f"<div class='fh-process'>{number}{how_far}{elapsed}"
        f"{_span(left, 'fh-dim')}<span>{attempt}{part}{name}</span></div>"
    )


def _where(process: ProcessView) -> str:
    return f"on {computer_text(process)}" if process.computer else ""


def _failures(snapshot: Snapshot) -> str:
    shown = snapshot.failures
    text = f"{snapshot.failed} failed"
    if len(shown) < snapshot.failed:
        text += f", the last {len(shown)} of them"
    listed = "".join(map(_failure, reversed(shown)))
    return (
        f"<div class='farmhand-run'><details open><summary class='fh-failed'>{text}</summary>"
        f"{listed}</details></div>"
    )


def _failure(failure: Failure) -> str:
    item = printable(failure.item, 80)
    name = f"item {failure.index}" + (f" ({item})" if item and item != str(failure.index) else "")
    error = printable(str(failure.error).partition("\n")[0], 200)
    about = [f"after {duration_text(failure.seconds)}"]
    if failure.process is not None:
        about.append(f"process {failure.process}")
    if failure.attempts > 1:
        about.append(f"{failure.attempts} attempts")
    parts = [f"<div class='fh-dim'>{_text(', '.join(about))}</div>"]
    parts += [
        f"<pre>{_lines(text)}</pre>" for text in (failure.error.traceback, failure.output) if text.strip()
    ]
    summary = f"<summary><b>{_text(name)}</b> {_text(error)}</summary>"
    return f"<details>{summary}{''.join(parts)}</details>"


def _bar(complete: float) -> str:
    share = percent(complete)
    width = min(max(complete, 0.0), 1.0) * 100
    return (
        "<div class='fh-bar' role='progressbar' aria-valuemin='0' aria-valuemax='100' "
        f"aria-valuenow='{share}'>"
        f"<div style='width: {width:.1f}%'></div></div>"
    )


def _span(text: str, style: str) -> str:
    return f"<span class='{style}'>{_text(text)}</span>"


def _text(text: str) -> str:
    return escape(_valid(printable(text)))


def _lines(text: str) -> str:
    """The last lines of a text, without what would control a terminal."""
    lines = text.rstrip().splitlines()[-_MOST_LINES:]
    return escape(_valid("\n".join(printable(line.expandtabs(4), 2000) for line in lines)))


def _valid(text: str) -> str:
    """What can be sent to a browser."""
    return text.encode("utf-8", "replace").decode("utf-8")
