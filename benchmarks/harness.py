"""Runs contenders in fresh processes, one after the other in each round, and says what it found.

A workload is a module of ``workloads``. Its docstring is its title, and it has

``CONTENDERS``
    functions that do the work once; the docstring of each is its name in the table;
``BASELINE``
    the contender that the others are compared with;
``FLOOR``, optional
    the contender whose time is subtracted: what anybody would have to wait for;
``COUNT``, ``FULL_COUNT``, optional
    how many tasks there are; the contenders are then called with it and with a path for their store, speed is
    counted in tasks a second of the call, and ``check(count, path, result)`` raises unless the work was done.
    Without it, the milliseconds of the whole process are what counts;
``ROUNDS``, optional
    how many rounds a quick run has.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from types import ModuleType

ROUNDS = 5
TIMEOUT = 600  # seconds for one contender, once
PACKAGES = ("farmhand", "farmhand-sqlite", "mpire", "joblib", "numpy")


@dataclass
class Timings:
    """What one contender took: a value for each round."""

    label: str
    call: list[float] = field(default_factory=list)  # seconds of the call alone
    process: list[float] = field(default_factory=list)  # seconds of the whole process
    cpu: list[float] = field(default_factory=list)  # seconds of CPU, of the process and all that it started
    note: str = ""
    failure: str = ""


@dataclass
class Outcome:
    """What came of one workload."""

    name: str
    title: str
    count: int | None
    baseline: str
    floor: str | None
    contenders: dict[str, Timings]


def measure(module: ModuleType, *, full: bool, rounds: int | None, folder: str | None) -> Outcome:
    """Run every contender of a workload once in each round."""
    name = module.__name__.rpartition(".")[2]
    count = getattr(module, "COUNT", None)
    if full:
        count = getattr(module, "FULL_COUNT", count)
    outcome = Outcome(
        name,
        (module.__doc__ or name).strip(),
        count,
        module.BASELINE.__name__,
        module.FLOOR.__name__ if hasattr(module, "FLOOR") else None,
        {contender.__name__: Timings(contender.__doc__ or "") for contender in module.CONTENDERS},
    )
    times: int = getattr(module, "ROUNDS", ROUNDS) if rounds is None else rounds
    for turn in range(times):
        print(f"{name}: round {turn + 1} of {times}", end="\r", file=sys.stderr, flush=True)
        for contender, timings in outcome.contenders.items():
            if not timings.failure:
                with tempfile.TemporaryDirectory(dir=folder) as place:
                    _run_once(module, contender, count, place, timings)
    print(" " * 40, end="\r", file=sys.stderr)
    return outcome


def _run_once(module: ModuleType, contender: str, count: int | None, place: str, timings: Timings) -> None:
    path = os.path.join(place, "results.db")
    command = [sys.executable, os.path.abspath(module.__file__ or ""), contender]
    if count is not None:
        command += [str(count), path]
    # not as whoever runs this has set Python up, but as a user would find it
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    cpu = _cpu_of_children()
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        timings.failure = f"not done after {TIMEOUT} seconds"
        return
    seconds = time.perf_counter() - start
    if done.returncode:
        timings.failure = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return
    call, _, result = done.stdout.splitlines()[-1].partition(" ")
    if count is None:
        timings.note = "" if result == "None" else result
    else:
        module.check(count, path, result)
    timings.call.append(float(call))
    timings.process.append(seconds)
    timings.cpu.append(_cpu_of_children() - cpu)


def _cpu_of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


# -- saying it -----------------------------------------------------------------------------------------


def table(outcome: Outcome) -> str:
    """The outcome in Markdown: medians, least to greatest in brackets, and ratios round by round."""
    count = outcome.count
    if count is None:
        head = ["", "ms", "ms over bare", "ratio", ""]
    else:
        head = ["", "tasks/s", "ratio", "whole process, s", "CPU, µs/task"]
    rows = [head, ["---"] + ["---:"] * (len(head) - 1)]
    ratio = _ratios(outcome)
    for name, timings in outcome.contenders.items():
        label = f"**{timings.label}**" if name.startswith("farmhand") else timings.label
        if timings.failure:
            rows.append([label, f"failed: {timings.failure}"] + [""] * (len(head) - 2))
        elif count is None:
            milliseconds = [1e3 * seconds for seconds in timings.process]
            over = str(round(median(_over_floor(outcome, name)) * 1e3)) if outcome.floor else ""
            rows.append([label, _spread(milliseconds), over, ratio(name), timings.note])
        else:
            rates = [count / seconds for seconds in timings.call]
            cpu = f"{median(timings.cpu) / count * 1e6:.1f}"
            rows.append([label, _spread(rates), ratio(name), f"{median(timings.process):.2f}", cpu])
    what = f"{outcome.title} ({grouped(count)} tasks)" if count else outcome.title
    baseline = outcome.contenders[outcome.baseline].label
    rounds = max(len(timings.call) for timings in outcome.contenders.values())
    about = f"Medians of {rounds} rounds (least - greatest); *ratio*: to {baseline!r}."
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([f"### {outcome.name}", "", what, "", *lines, "", about, ""])


def _ratios(outcome: Outcome) -> Callable[[str], str]:
    """How many times as fast (or, of whole processes, as long) as the baseline, in the middle round."""
    base = outcome.contenders[outcome.baseline]

    def ratio(name: str) -> str:
        ours = outcome.contenders[name]
        if base.failure:
            return ""
        if outcome.count is None:
            pairs = zip(ours.process, base.process, strict=True)
        else:
            pairs = zip(base.call, ours.call, strict=True)
        return f"{median(a / b for a, b in pairs):.2f}"

    return ratio


def _over_floor(outcome: Outcome, name: str) -> list[float]:
    assert outcome.floor is not None
    floor = outcome.contenders[outcome.floor].process
    return [a - b for a, b in zip(outcome.contenders[name].process, floor, strict=True)]


def _spread(values: Sequence[float]) -> str:
    return f"{grouped(median(values))} ({grouped(min(values))} - {grouped(max(values))})"


def grouped(value: float) -> str:
    """A number with spaces between thousands and three digits that count."""
    if value >= 1000:
        value = round(value, -int(len(str(int(value))) - 3))
    return f"{value:,.0f}".replace(",", " ")


def about_this_machine() -> dict[str, str]:
    """What a reader must know to compare: never the machine's name."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    about = {
        "CPUs": str(cores),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            about[package] = version(package)
        except PackageNotFoundError:
            continue
    import sqlite3

    return {**about, "SQLite": sqlite3.sqlite_version}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def as_json(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """All numbers, so that two commits can be compared."""
    return {"machine": about_this_machine(), "outcomes": [asdict(outcome) for outcome in outcomes]}
