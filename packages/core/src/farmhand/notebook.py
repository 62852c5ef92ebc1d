"""How a store shows itself in a notebook: its runs and newest failures, without decoding anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from farmhand.kept import Record, RunInfo
from farmhand.wording import clock_text, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from farmhand.tables import Source

__all__ = ["html"]

_RUNS = 10
_FAILURES = 5


def html(store: Source, title: str, place: str) -> str:
    """The store as a piece of HTML: what it is, its newest runs, and their newest failures.

    Parameters
    ----------
    store : DataManager
        The store.
    title : str
        What kind of store it is.
    place : str
        Where it is.
    """
    runs = store.runs()
    counts = {run.uid: store.counts(run.uid) for run in runs}
    done = sum(count.done for count in counts.values())
    failed = sum(count.failed for count in counts.values())
    parts = [
        f"<p><b>{_text(title)}</b> <code>{_text(place)}</code>: "
        f"{_number(done, 'result')}, {_number(failed, 'failure')} in {_number(len(runs), 'run')}</p>"
    ]
    newest = sorted(runs, key=lambda run: run.started, reverse=True)
    if newest:
        lines: list[Sequence[Any]] = [
            (run.task, _date(run.started), _state(run), counts[run.uid].done, counts[run.uid].failed, run.uid)
            for run in newest[:_RUNS]
        ]
        parts.append(_table(("task", "began", "state", "done", "failed", "run"), lines))
        if len(newest) > _RUNS:
            parts.append(f"<p>... and {len(newest) - _RUNS} older: <code>runs()</code></p>")
    failures: list[tuple[Record, RunInfo]] = []
    for run in newest:
        if counts[run.uid].failed and len(failures) < _FAILURES:
            records = sorted(store.failures(run.uid), key=lambda each: -each.started)
            failures += [(each, run) for each in records]
    if failures:
        lines = [
            (run.task, record.index, str(record.error), _date(record.started), record.key)
            for record, run in failures[:_FAILURES]
        ]
        parts.append("<p>The newest failures:</p>")
        parts.append(_table(("task", "item", "error", "began", "key"), lines))
        if failed > len(lines):
            parts.append(f"<p>... and {failed - len(lines)} more: <code>failures()</code></p>")
    return "<div>" + "\n".join(parts) + "</div>"


def _state(run: RunInfo) -> str:
    if run.ended is None:
        return "running, or killed"
    return f"{run.outcome} after {clock_text(run.ended - run.started)}"


def _table(names: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in line)}</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _date(seconds: float) -> str:
    import time

    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):  # a date that no calendar has
        return f"{seconds:g}"


def _text(value: object) -> str:
    """``value`` as one line of HTML that says nothing but what it says."""
    import html

    return html.escape(printable(str(value)))
