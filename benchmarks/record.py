"""Record how long the items of real programs take: ``python benchmarks/record.py --help``.

Each program of ``benchmarks/programs`` is run by a farm with two processes, and the durations that its store
has afterwards become a file in ``benchmarks/traces``, whose README says what is in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import chdir
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from programs import GROUPS, Program

from farmhand import open_store, run_tasks

TRACES = Path(__file__).parent / "traces"
PROCESSES = 2
GONE = {"died", "timeout", "memory"}  # what an item fails with whose process ends
BEGIN, END = "<!-- written by benchmarks/record.py -->", "<!-- end of what it wrote -->"
AT = [round(0.05 * k, 2) for k in range(21)]  # of the duration of an item


def programs() -> dict[str, Program]:
    """All that can be recorded, by name."""
    found = [each for group in GROUPS for each in import_module(f"programs.{group}").PROGRAMS]
    return {each.name: each for each in found}


def record(program: Program, most: int | None = None) -> dict[str, Any]:
    """Run it, or its first items alone, and make a trace of what its store then says."""
    items = list(islice(program.items(), most))
    with tempfile.TemporaryDirectory() as folder, chdir(folder), open_store("results.db") as store:
        summary = run_tasks(
            store,
            program.task,
            items,
            progress="none",
            poolsize=PROCESSES,
            errors="collect",
            **program.options,
        )
        attempts = [*store.records(summary.run), *store.retried(summary.run)]
        courses = [(result.index, result.value) for result in store.results()] if program.reports else []
    if summary.failures and not program.fails:
        raise RuntimeError(f"{program.name}: {summary.failed} items failed; {summary.failures[0].error}")
    if len(items) != summary.done + summary.failed:
        raise RuntimeError(f"{program.name} did not run to its end")
    last = {each.index: each.seconds for each in attempts if each.status != "retried"}
    trace = {
        "name": program.name,
        "group": program.group,
        "split": program.split,
        "about": program.about,
        "processes": PROCESSES,
        "seconds": [digits(last[index]) for index in range(len(items))],
        "first": sorted(firsts(attempts)),
    }
    retried = [[each.index, digits(each.seconds)] for each in attempts if each.status == "retried"]
    if retried:
        trace["retried"] = sorted(retried)
    if courses:
        trace["fractions"] = {"at": AT, "complete": typical(courses, last)}
    return trace


def firsts(attempts: Iterable[Any]) -> set[int]:
    """The items that were the first of their process, those of processes that replaced another included."""
    found = set()
    fresh: dict[int, bool] = {}
    for each in sorted(attempts, key=lambda each: each.started):
        if each.process is not None:
            if fresh.get(each.process, True):
                found.add(each.index)
            fresh[each.process] = each.error is not None and each.error.kind in GONE
    return found


def typical(
    courses: Iterable[tuple[int, Sequence[tuple[float, float]]]], seconds: Mapping[int, float]
) -> list[float]:
    """The median of what the items had reported last when each part of their duration was over."""
    reported = []
    for index, points in courses:
        parts = [(elapsed / seconds[index], complete) for elapsed, complete in points]
        reported.append([max((complete for part, complete in parts if part <= at), default=0.0) for at in AT])
    return [digits(statistics.median(column)) for column in zip(*reported, strict=True)]


def digits(value: float) -> float:
    """Four of them: a duration is not known better."""
    return float(f"{value:.4g}")


def save(trace: Mapping[str, Any], folder: Path) -> None:
    """One line for each of its parts, so that a new recording is a readable change."""
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in trace.items()]
    (folder / f"{trace['name']}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def load(folder: Path = TRACES) -> list[dict[str, Any]]:
    """All that was recorded."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def table(traces: Iterable[Mapping[str, Any]]) -> str:
    """What each trace is."""
    lines = [
        "| trace | group | split | items | median, s | longest, s | all, s | what it is |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for trace in sorted(
        traces, key=lambda trace: (trace["split"] == "report", trace["group"], trace["name"])
    ):
        seconds = trace["seconds"]
        facts = [trace["name"], trace["group"], trace["split"], str(len(seconds))]
        facts += [f"{value:.2g}" for value in (statistics.median(seconds), max(seconds))]
        lines.append(f"| {' | '.join([*facts, f'{sum(seconds):.0f}', trace['about']])} |")
    return "\n".join(lines) + "\n"


def describe(folder: Path) -> None:
    """Bring the table in the folder's README up to date, if it has one."""
    readme = folder / "README.md"
    if readme.exists():
        text = readme.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        after = rest.partition(END)[2]
        readme.write_text(f"{before}{BEGIN}\n\n{table(load(folder))}\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="the programs to record (default: all)")
    parser.add_argument("--list", action="store_true", help="say what there is, and no more")
    parser.add_argument("--items", type=int, help="only so many of each, to try it out")
    parser.add_argument("--folder", type=Path, default=TRACES, help="for the traces (benchmarks/traces)")
    options = parser.parse_args()
    known = programs()
    unknown = sorted(set(options.names) - set(known))
    if unknown:
        sys.exit(f"no program is called {unknown[0]!r}; choose from: {', '.join(known)}")
    if options.list:
        for program in known.values():
            print(f"{program.name:21} {program.split:7} {program.about}")
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.names or known:
        print(f"{name:21}", end="", flush=True)
        trace = record(known[name], options.items)
        save(trace, options.folder)
        seconds = trace["seconds"]
        print(
            f"{len(seconds):5} items: {sum(seconds):.1f} s, "
            f"{min(seconds):.3g} to {max(seconds):.3g}, median {statistics.median(seconds):.3g}",
            flush=True,
        )
    describe(options.folder)


if __name__ == "__main__":
    main()
