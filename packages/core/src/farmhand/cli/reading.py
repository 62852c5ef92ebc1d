"""The commands that only look: status, runs, ls, failures, show, check, export."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from math import isfinite

from farmhand import codec
from farmhand.cli.stores import (
    Items,
    arguments_text,
    find_item,
    find_run,
    item_name,
    last_stored,
    open_existing,
    open_run_text,
    quoted,
    record_of_item,
    runs_of,
    short_uids,
    snapshots_of,
    state_of,
)
from farmhand.cli.terminal import Column, Output, indented, plural
from farmhand.errors import FarmhandError, StoreError, UsageError
from farmhand.plain import plain_value
from farmhand.store import Counts, DataManager, Record, RunInfo, join_key
from farmhand.wording import duration_text, printable, size_text, when_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any, TypeVar

    from farmhand.progress import Snapshot

    T = TypeVar("T")

__all__ = ["check", "export", "failures", "ls", "runs", "show", "status"]

_LATEST = 10  # runs that `status` shows
_KINDS = 5  # kinds of failures that are counted by name
_RUN_COLUMNS = (
    Column("RUN"),
    Column("TASK", flexible=True),
    Column("STATE"),
    Column("STARTED"),
    Column("TOOK", right=True),
    Column("DONE", right=True),
    Column("FAILED", right=True),
    Column("TOTAL", right=True),
)


# -- runs ------------------------------------------------------------------------------------------------


def status(options: Namespace, out: Output) -> int:
    """What the store has, and what happens in it now."""
    with open_existing(options.store) as store:
        known, now = runs_of(store), time.time()
        counts = {run.uid: store.counts(run.uid) for run in known}
        results = store.itemcount()
        shown = snapshots_of([run for run in known if not run.outcome][-_LATEST:])
        if options.json:
            told = [
                {
                    **_run_json(run, counts[run.uid], store),
                    "last": last_stored(store, run),
                    "remaining": _remaining_json(shown.get(run.uid)),
                }
                for run in known
            ]
            out.json({"store": store.basepath, "results": results, "runs": told})
            return 0
        pairs = results - sum(each.done for each in counts.values())
        failed = sum(each.failed for each in counts.values())
        parts = [plural(results - pairs, "result"), plural(len(known), "run")]
        if failed:
            parts.insert(1, plural(failed, "failed item"))
        if pairs > 0:
            parts.append(plural(pairs, "pair") + " written by hand")
        out.title(f"{options.store}: {', '.join(parts)}")
        if known:
            out.line()
            names = short_uids(known)
            out.table(_RUN_COLUMNS, (_run_row(run, counts[run.uid], names, now) for run in known[-_LATEST:]))
            if len(known) > _LATEST:
                out.line(
                    f"... and {plural(len(known) - _LATEST, 'earlier run')}: farmhand runs {options.store}"
                )
            lines = [
                open_run_text(store, run, counts[run.uid], names, now, shown.get(run.uid))
                for run in known
                if not run.outcome
            ]
            if lines:
                out.line()
                for line in lines[-_LATEST:]:
                    out.paragraph(line)
            if any(state_of(run) == "running" and "control" in run.provenance for run in known):
                out.line(f"To look at it: farmhand watch {quoted(options.store)}")
    return 0


def _remaining_json(snapshot: Snapshot | None) -> dict[str, float] | None:
    rest = None if snapshot is None else snapshot.remaining
    if rest is None or not isfinite(rest.low + rest.median + rest.high):
        return None
    return {"low": rest.low, "median": rest.median, "high": rest.high}


def runs(options: Namespace, out: Output) -> int:
    """All runs; or all that is known of one."""
    with open_existing(options.store) as store:
        known = runs_of(store)
        wanted = [find_run(known, options.run)] if options.run is not None else known
        if options.json:
            for run in wanted:
                out.json(_run_json(run, store.counts(run.uid), store))
        elif options.run is not None:
            _show_run(wanted[0], store.counts(wanted[0].uid), out)
        else:
            names, now = short_uids(known), time.time()
            rows = (_run_row(run, store.counts(run.uid), names, now) for run in wanted)
            if not out.table(_RUN_COLUMNS, rows):
                out.line("no runs")
    return 0


def _run_json(run: RunInfo, counts: Counts, store: DataManager) -> dict[str, Any]:
    total, state = run.numitems, state_of(run)
    left = None if total is None else max(0, total - counts.done - counts.failed)
    return {
        "run": run.uid,
        "task": run.task,
        "state": state,
        "computer": run.computer,
        "started": run.started,
        "ended": run.ended,
        "total": total,
        "done": counts.done,
        "failed": counts.failed,
        "retried": counts.retried,
        "left": 0 if state == "finished" else left,
        "seed": run.seed,
        "parameters": list(run.parameters),
        "provenance": dict(run.provenance),
    }


def _run_row(run: RunInfo, counts: Counts, names: Mapping[str, str], now: float) -> list[str]:
    state = state_of(run)
    took = ""
    if run.ended is not None or state == "running":
        took = duration_text((now if run.ended is None else run.ended) - run.started)
    total = "" if run.numitems is None else f"{run.numitems:,}"
    numbers = [f"{counts.done:,}", f"{counts.failed:,}", total]
    return [names[run.uid], run.task, state, when_text(run.started, now), took, *numbers]


def _show_run(run: RunInfo, counts: Counts, out: Output) -> None:
    now = time.time()
    said = dict(run.provenance)
    for name in ("path", "argv"):  # `command` says more; --json has them
        said.pop(name, None)
    ended = "" if run.ended is None else f"{when_text(run.ended, now)}, after {_took(run)}"
    facts: list[tuple[str, Any]] = [
        ("run", run.uid),
        ("task", f"{run.task}({', '.join(run.parameters)})" if run.parameters else run.task),
        ("state", state_of(run)),
        ("started", when_text(run.started, now)),
        ("ended", ended),
        ("items", "" if run.numitems is None else f"{run.numitems:,}"),
        ("done", f"{counts.done:,}"),
        ("failed", f"{counts.failed:,}" + (f" ({counts.retried:,} retried)" if counts.retried else "")),
        ("seed", "" if run.seed is None else run.seed),
        ("computer", "" if "host" in said else run.computer),
    ]
    _facts(out, [*facts, *((name.replace("_", " "), _said(value)) for name, value in said.items())])


def _took(run: RunInfo) -> str:
    return duration_text((run.ended or run.started) - run.started)


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list | tuple):
        import shlex

        return shlex.join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _facts(out: Output, facts: list[tuple[str, Any]]) -> None:
    """Names and what they stand for, one below the other; what is not known is left out."""
    told = [(name, printable(str(value), 2000)) for name, value in facts if value not in ("", None)]
    width = max(len(name) for name, _ in told)
    for name, text in told:
        out.line(f"{name:{width}}  {text}")


# -- items -----------------------------------------------------------------------------------------------


def ls(options: Namespace, out: Output) -> int:
    """How items ended."""
    with open_existing(options.store) as store:
        known = runs_of(store)
        run = find_run(known, options.run).uid if options.run is not None else None
        reading = store.records(run, since=options.since)
        found = _chosen(reading, known, options.status, options.task)
        limited = False
        if options.slowest is not None:
            import heapq

            found = iter(heapq.nlargest(options.slowest, found, key=lambda record: record.seconds))
            limited = True
        if options.limit is not None:
            found, limited = _first(found, options.limit), True
        if options.json:
            for record in found:
                out.json(_record_json(record))
            if not limited:  # else the next reading would miss what was left out here
                out.json({"cursor": reading.cursor})
            return 0
        names, now = short_uids(known), time.time()
        columns = (
            Column("ITEM", right=len(known) < 2),
            Column("STATUS"),
            Column("STARTED"),
            Column("TOOK", right=True),
            Column("TRIES", right=True),
            Column("MEMORY", right=True),
            Column("PROCESS", right=True),
            Column("ERROR", flexible=True),
        )
        if not out.table(columns, (_record_row(record, names, now) for record in found)):
            out.line("no such items" if any((options.run, options.status, options.task)) else "no items")
    return 0


def _first(records: Iterator[Record], count: int) -> Iterator[Record]:
    from itertools import islice

    return islice(records, count)


def _chosen(
    records: Iterator[Record], known: list[RunInfo], status: str | None, task: str | None
) -> Iterator[Record]:
    if task is not None:
        named = {run.uid for run in known if run.task == task}
        if not named:
            tasks = ", ".join(dict.fromkeys(printable(run.task, 40) for run in known)) or "none"
            raise UsageError(f"no run has the task {task!r}; there are: {tasks}")
        records = (record for record in records if record.run in named)
    if status is not None:
        records = (record for record in records if record.status == status)
    return iter(records)


def _record_json(record: Record, traceback: bool = False) -> dict[str, Any]:
    error = None
    if record.error is not None:
        error = {"kind": record.error.kind, "type": record.error.type, "message": record.error.message}
        if traceback:
            error["traceback"] = record.error.traceback
    return {
        "key": record.key,
        "run": record.run,
        "index": record.index,
        "status": record.status,
        "process": record.process,
        "started": record.started,
        "seconds": record.seconds,
        "attempts": record.attempts,
        "memory": record.memory,
        "seed": record.seed,
        "error": error,
    }


def _record_row(record: Record, names: dict[str, str], now: float) -> list[str]:
    return [
        item_name(names, record.run, record.index),
        record.status,
        when_text(record.started, now) if record.started else "",
        duration_text(record.seconds),
        str(record.attempts),
        "" if record.memory is None else size_text(record.memory),
        "" if record.process is None else str(record.process),
        "" if record.error is None else _error_text(record),
    ]


def _error_text(record: Record) -> str:
    assert record.error is not None
    text = str(record.error)
    return text if record.error.kind in ("raised", "died", "lost") else f"{record.error.kind}: {text}"


def failures(options: Namespace, out: Output) -> int:
    """The items that failed, with their arguments; 1 when there are any."""
    with open_existing(options.store) as store:
        known = {run.uid: run for run in runs_of(store)}
        wanted = [find_run(list(known.values()), options.run)] if options.run is not None else known.values()
        found = (record for run in wanted for record in store.failures(run.uid))
        kinds: Counter[str] = Counter()
        told = _with_arguments(store, known, found)
        names, now = short_uids(list(known.values())), time.time()

        def counted() -> Iterator[tuple[Record, str]]:
            for record, arguments in told:
                assert record.error is not None
                raised = record.error.kind == "raised" and record.error.type
                kinds[record.error.type if raised else record.error.kind] += 1
                yield record, arguments

        if options.json:
            for record, arguments in counted():
                out.json({**_record_json(record, traceback=True), "arguments": arguments or None})
        elif options.traceback:
            for record, arguments in counted():
                name = item_name(names, record.run, record.index)
                out.title(f"item {name}{f' ({arguments})' if arguments else ''}")
                assert record.error is not None
                out.line(indented(record.error.traceback or _error_text(record)))
                out.line()
        else:
            columns = (
                Column("ITEM", right=len(known) < 2),
                Column("ARGUMENTS", flexible=True),
                Column("ERROR", flexible=True),
                Column("TRIES", right=True),
                Column("TOOK", right=True),
                Column("STARTED"),
            )
            out.table(
                columns,
                (
                    [
                        item_name(names, record.run, record.index),
                        arguments,
                        _error_text(record),
                        str(record.attempts),
                        duration_text(record.seconds),
                        when_text(record.started, now) if record.started else "",
                    ]
                    for record, arguments in counted()
                ),
            )
            if kinds:
                out.line()
        count = sum(kinds.values())
        if not options.json:
            if not count:
                out.line("no item has failed")
            else:
                common = [f"{number:,} {printable(kind)}" for kind, number in kinds.most_common(_KINDS)]
                more = f", {len(kinds) - _KINDS} other kinds" if len(kinds) > _KINDS else ""
                out.line(f"{plural(count, 'item')} failed: {', '.join(common)}{more}")
    return 1 if count else 0


def _with_arguments(
    store: DataManager, known: Mapping[str, RunInfo], records: Iterator[Record]
) -> Iterator[tuple[Record, str]]:
    items: Items | None = None
    run = ""
    for record in records:
        if items is None or record.run != run:
            run = record.run
            items = Items(store, known[run])
        yield record, items.text(record.index)


# -- one item ----------------------------------------------------------------------------------------------


def show(options: Namespace, out: Output) -> int:
    """Everything about one item."""
    with open_existing(options.store) as store:
        run, index = find_item(store, options.item, options.run)
        key, record = join_key(run.uid, index), record_of_item(store, run, index)
        tried = [each for each in store.retried(run.uid) if each.index == index]
        there = any(index in block.indices for block in store.blocks(run.uid))
        if record is None and not tried and not there:
            if run.numitems is not None and index >= run.numitems:
                raise UsageError(f"run {run.uid} has no item {index}: it has {plural(run.numitems, 'item')}")
            raise UsageError(
                f"item {index} of run {run.uid} has not begun, or was skipped, as its result was there before"
            )
        value, item = _values(store, run, index, record, decode=options.value)
        if record is not None and record.status == "done" and not value:
            value = "" if options.json else "(no plain value; --value decodes it)"
        if options.json:
            about = (
                {"key": key, "run": run.uid, "index": index, "status": "waiting"}
                if record is None
                else _record_json(record, traceback=True)
            )
            attempts = [
                {**_record_json(each, traceback=True), "output": store.output(key, each.attempts)}
                for each in tried
            ]
            output = store.output(key)
            told = {"task": run.task, "arguments": item or None, "result": value or None, "output": output}
            out.json({**about, **told, "retried": attempts})
            return 0
        _show(store, run, index, record, tried, item, "" if options.value else value, out)
        if options.value and value:
            out.line()
            out.title("Result:")
            out.line(indented(value))
    return 0


def _show(
    store: DataManager,
    run: RunInfo,
    index: int,
    record: Record | None,
    tried: list[Record],
    item: str,
    value: str,
    out: Output,
) -> None:
    key, now = join_key(run.uid, index), time.time()
    facts: list[tuple[str, Any]] = [
        ("item", f"{index} of run {run.uid}"),
        ("key", key),
        ("task", run.task),
        ("arguments", item or "(no plain values; --value decodes them)"),
        ("status", "waiting: it has not ended" if record is None else record.status),
    ]
    if record is not None:
        facts += [
            ("result", value),
            ("error", _error_text(record) if record.error is not None else ""),
            ("started", when_text(record.started, now) if record.started else ""),
            ("took", duration_text(record.seconds)),
            ("attempts", record.attempts),
            ("process", record.process),
            ("memory", None if record.memory is None else size_text(record.memory)),
            ("seed", record.seed),
        ]
    _facts(out, facts)
    for each in tried:
        assert each.error is not None
        out.line()
        out.title(f"Attempt {each.attempts} failed after {duration_text(each.seconds)}:")
        out.line(indented(each.error.traceback or str(each.error)))
        _print_output(store.output(key, each.attempts), f"Attempt {each.attempts} printed:", out)
    if record is not None and record.error is not None and record.error.traceback:
        out.line()
        out.title("Traceback:")
        out.line(indented(record.error.traceback))
    _print_output(store.output(key), "It printed:", out)


def _print_output(text: str, title: str, out: Output) -> None:
    if text:
        out.line()
        out.title(title)
        out.line(indented(text))


def _values(
    store: DataManager, run: RunInfo, index: int, record: Record | None, decode: bool
) -> tuple[str, str]:
    """Result and item in words; ``''`` for what is not plain, unless it may be decoded."""
    key = join_key(run.uid, index)
    item = Items(store, run).text(index)
    value = ""
    is_done = record is not None and record.status == "done"
    if is_done:
        try:
            value = codec.short(plain_value(store.encoded_at(run.uid, index)))
        except Exception:
            pass
    if decode and not item:
        item = _decoded(store, [run], lambda: _item_text(store, run, key), f"the item of {key}")
    if decode and is_done:
        value = _decoded(store, [run], lambda: _whole(store[key]), f"the result of {key}")
    return value, item


def _item_text(store: DataManager, run: RunInfo, key: str) -> str:
    try:
        item = store.item(key)
    except KeyError:  # it was large, and its text was not kept either
        return ""
    return arguments_text(run, item)


def _decoded(store: DataManager, runs: list[RunInfo], decode: Callable[[], T], what: str) -> T:
    """What ``decode`` returns, which may need the names of these runs' scripts."""
    from farmhand.rerun import Surroundings  # it knows how to make tasks, which is not needed to look

    try:
        try:
            return decode()
        except (AttributeError, ImportError):
            if not runs:
                raise
        with Surroundings(store, runs[-1], *runs[:-1], strict=False):
            return decode()
    except (FarmhandError, OSError):
        raise
    except Exception as error:
        raise StoreError(
            store.basepath,
            f"{what} cannot be decoded: {type(error).__name__}: {error}",
            "Make what it is made of importable (PYTHONPATH)",
        ) from error


def _whole(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return codec.short(value)


# -- the store as a whole ------------------------------------------------------------------------------------


def check(options: Namespace, out: Output) -> int:
    """Whether the store is as it was written; 1 when it is not."""
    with open_existing(options.store) as store:
        problems = []
        for problem in store.check():
            problems.append(problem)
            if not options.json:
                out.line(printable(problem, 2000))
        if options.json:
            out.json({"store": store.basepath, "problems": problems})
        elif problems:
            out.line(f"{options.store}: {plural(len(problems), 'problem')}")
        else:
            out.line(f"{options.store}: all is well ({plural(store.itemcount(), 'result')})")
    return 1 if problems else 0


def export(options: Namespace, out: Output) -> int:
    """Results, and what they are of, for other programs."""
    from farmhand.exports import export

    format = options.format
    if format is None:
        ending = (options.out or "").rpartition(".")[2].lower()
        format = ending if ending in ("csv", "jsonl", "parquet") else "csv"
    path = None if options.out is None else os.path.abspath(options.out)
    with open_existing(options.store) as store:
        known = runs_of(store)
        run = find_run(known, options.run) if options.run is not None else None

        def write() -> int:
            target: Any = out.stream if path is None else path
            choice = {"run": run, "task": options.task, "records": options.records}
            return export(store, format, target, **choice, failures=options.failures)

        out.flush()
        count = _decoded(store, known if run is None else [run], write, "a result")
        if path is not None:
            out.line(f"{options.out}: {plural(count, 'row')}")
    return 0
