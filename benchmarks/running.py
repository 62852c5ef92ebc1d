"""Runs contenders in fresh processes, one after the other in each round.

A workload is a program in ``workloads/``, and a module. Its docstring is its title, and it has

``CONTENDERS``
    functions that do the work once; the docstring of each is its name in the table. They return what
    ``ast.literal_eval`` understands; a str is shown as a note;
``FULL_CONTENDERS``, optional
    those that join them in a full run;
``BASELINE``
    the contender that the others are compared with; ``None`` where nothing is to be compared;
``FLOOR``, optional
    the contender whose figure is subtracted: what anybody would have to wait for;
``COUNT``, ``FULL_COUNT``, optional
    how many items there are; the contenders are then called with it and with a path for their store;
``SLOW``, optional
    contenders that are given but a part of the items, because they would take most of the time, and by what
    to divide: ``{pool: 10}``;
``prepare(count)``, optional
    returns an int that contenders are called with as well: it is made once, so that it is the same for all;
``warm(...)``, optional
    is called first, with the same arguments, in the process of each contender, and is no part of the call:
    it makes the same what would depend on who was there before;
``check(run)``, optional
    raises unless the work was done;
``figures(run)``, optional
    what is shown of a ``Run``: numbers by name, which says their unit. The first is compared. By default it
    is tasks a second of the call if there are items, and the milliseconds of the whole process if there are
    none;
``MORE_IS_BETTER``
    whether of the first figure; by default if there are items;
``RATIOS``, optional
    the ratios to the baseline that are shown, by name, and of which figures; in percent where the name has
    that sign. By default one ratio, of the first figure;
``AIMS``, optional
    what is aimed at, by contender: words that are shown beside what was reached;
``ROUNDS``, ``FULL_ROUNDS``, optional
    how often each contender runs;
``WATCH``, optional
    whether to look at the memory that its processes have in use.
"""

from __future__ import annotations

import ast
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import memory

ROUNDS = 5
TIMEOUT = 600  # seconds for one contender, once
WORKLOADS = Path(__file__).parent / "workloads"


@dataclass
class Run:
    """One contender, once."""

    count: int  # items; 0 where there are none
    path: str  # of its store
    prepared: int | None
    seconds: float = 0.0  # of the call alone
    process: float = 0.0  # seconds of the whole process
    cpu: float = 0.0  # seconds of CPU, of the process and all that it started
    result: Any = None  # what the contender returned
    looks: list[memory.Look] = field(default_factory=list)


@dataclass
class Contender:
    """What came of one contender: for each figure a value for each round."""

    label: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    note: str = ""
    failure: str = ""


@dataclass
class Outcome:
    """What came of one workload."""

    name: str
    title: str
    count: int
    more_is_better: bool
    ratios: dict[str, str] | None
    baseline: str | None
    floor: str | None
    aims: dict[str, str]
    contenders: dict[str, Contender]
    took: float = 0.0  # seconds, to measure all this


def workload(name: str) -> ModuleType:
    """The module, imported as its contenders import it, which run with its folder first on their path."""
    if str(WORKLOADS) not in sys.path:
        sys.path.insert(0, str(WORKLOADS))
    return import_module(name)


def measure(module: ModuleType, *, full: bool, rounds: int | None, folder: str | None) -> Outcome:
    """Run every contender of a workload once in each round."""
    start = time.perf_counter()
    count: int = getattr(module, "FULL_COUNT", 0) if full else 0
    count = count or getattr(module, "COUNT", 0)
    times: int = getattr(module, "FULL_ROUNDS", 0) if full else 0
    times = rounds or times or int(getattr(module, "ROUNDS", ROUNDS))
    functions = [*module.CONTENDERS, *(getattr(module, "FULL_CONTENDERS", ()) if full else ())]
    slow: dict[Callable[..., Any], int] = getattr(module, "SLOW", {})
    outcome = Outcome(
        module.__name__,
        (module.__doc__ or module.__name__).strip(),
        count,
        getattr(module, "MORE_IS_BETTER", count > 0),
        getattr(module, "RATIOS", None),
        _name(module.BASELINE),
        _name(getattr(module, "FLOOR", None)),
        {function.__name__: aim for function, aim in getattr(module, "AIMS", {}).items()},
        {function.__name__: Contender(_label(function, slow.get(function, 1))) for function in functions},
    )
    prepared = module.prepare(count) if hasattr(module, "prepare") else None
    for turn in range(times):
        print(f"{outcome.name}: round {turn + 1} of {times}", end="\r", file=sys.stderr, flush=True)
        for function in functions:
            contender = outcome.contenders[function.__name__]
            if not contender.failure:
                with tempfile.TemporaryDirectory(dir=folder) as place:
                    run = Run(count // slow.get(function, 1), os.path.join(place, "results.db"), prepared)
                    _run_once(module, function.__name__, place, run, contender)
    outcome.took = time.perf_counter() - start
    print(f"{outcome.name}: {outcome.took:.0f} s" + " " * 20, file=sys.stderr)
    return outcome


def _name(function: Callable[..., Any] | None) -> str | None:
    return None if function is None else function.__name__


def _label(function: Callable[..., Any], part: int) -> str:
    label = function.__doc__ or function.__name__
    return label if part == 1 else f"{label}, 1/{part} of the items"


def _run_once(module: ModuleType, name: str, place: str, run: Run, contender: Contender) -> None:
    command = [sys.executable, str(module.__file__), name]
    if run.count:
        command += [str(run.count), run.path]
    if run.prepared is not None:
        command.append(str(run.prepared))
    # not as whoever runs this has set Python up, but as a user would find it
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    cpu = _cpu_of_children()
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            if getattr(module, "WATCH", False):
                with memory.Watch(process.pid) as watch:
                    output, errors = process.communicate(timeout=TIMEOUT)
                run.looks = watch.looks
            else:
                output, errors = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            contender.failure = f"failed: not done after {TIMEOUT} seconds"
            return
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
    run.process = time.perf_counter() - start
    run.cpu = _cpu_of_children() - cpu
    if process.returncode:
        last = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        missing = last.startswith("ModuleNotFoundError")
        contender.failure = "not installed" if missing else f"failed: {last}"
        return
    run.seconds, run.result = ast.literal_eval(output.splitlines()[-1])
    if hasattr(module, "check"):
        try:
            module.check(run)
        except AssertionError as error:
            contender.failure = f"failed: the work was not done {error}".strip()
            return
    if isinstance(run.result, str):
        contender.note = run.result
    for unit, value in (module.figures if hasattr(module, "figures") else figures)(run).items():
        contender.figures.setdefault(unit, []).append(value)


def figures(run: Run) -> dict[str, float]:
    """What most workloads are about: items a second, or the milliseconds of a whole process."""
    if not run.count:
        return {"ms": 1e3 * run.process}
    return {
        "tasks/s": run.count / run.seconds,
        "whole process, s": run.process,
        "CPU, µs/task": 1e6 * run.cpu / run.count,
    }


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
