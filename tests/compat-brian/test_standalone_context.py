"""A model for each item, built and run in C++ standalone mode; and progress alone, for those by hand."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("brian2")

from brian2 import (
    NeuronGroup,
    SpikeMonitor,
    defaultclock,
    device,
    get_device,
    ms,
    prefs,
    run,
    second,
    set_device,
)

from farmhand import open_store, run_tasks, scratch_directory
from farmhand_brian import standalone, standalone_report

pytestmark = [pytest.mark.brian, pytest.mark.timeout(600)]  # compilers share the CPUs with other tests

FAST = {"gui": False, "progress": "none"}


def neurons(size, threshold="v > 10*mV"):
    """Integrate-and-fire neurons without noise: how often they spike in 50 ms is known."""
    return NeuronGroup(
        size, "dv/dt = (20*mV - v) / (10*ms) : volt", threshold=threshold, reset="v = 0*mV", method="exact"
    )


def count(size, report):
    """The same task for runtime mode, where report is passed to run as ever."""
    defaultclock.dt = 0.05 * ms
    G = neurons(size)
    M = SpikeMonitor(G)
    run(50 * ms, report=report)
    return int(M.num_spikes)


def several_ways(size, broken, report):
    """Counts spikes in both modes, in one process; tells what was compiled, reported, and left behind."""
    prefs.codegen.cpp.extra_compile_args = ["-O0", "-w"]
    prefs.codegen.target = "numpy"
    seen: list[tuple[Any, ...]] = []

    def note(*words):
        seen.append(words)
        report(*words)

    dt = float(defaultclock.dt)
    with standalone() as folder:
        before = objects_in(folder)
        if broken == "the program":
            device.insert_code("main", "*(volatile int*)0 = 1;")
        compiled = count(size, note)
        after = objects_in(folder)
        if broken == "the task":
            raise RuntimeError("the task's own error")
    defaultclock.dt = dt * second
    plain = count(size, None)
    defaultclock.dt = dt * second
    return {
        "compiled": compiled,
        "plain": plain,
        "pid": os.getpid(),
        "folder": str(folder),
        "is private": folder.is_relative_to(scratch_directory()),
        "anew": sorted(name for name in after if after[name] != before.get(name)),
        "reports": seen,
        "device": type(get_device()).__name__,
    }


def objects_in(folder):
    """What the compiler has made, and when."""
    return {path.name: path.stat().st_mtime_ns for path in Path(folder).rglob("*.o")}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Items of one process: the same model three times, and between them failures; results, and errors."""
    temporary, before = tmp_path_factory.mktemp("tmp"), os.environ["TMPDIR"]
    os.environ["TMPDIR"] = str(temporary)
    try:
        store = open_store(":memory:")
        items = [(3, ""), (3, "the task"), (3, ""), (3, "the program"), (3, "")]
        run_tasks(store, several_ways, items, poolsize=1, errors="collect", **FAST)
    finally:
        os.environ["TMPDIR"] = before
    return store.values(), [record.error.message for record in store.failures()]


@pytest.fixture
def three_items(sweep):
    """Those without a failure."""
    return sweep[0]


def test_the_same_task_gives_the_same_in_both_modes(three_items):
    """Nothing in it names the mode; also the time step of the task counts in both."""
    for result in three_items:
        assert result["compiled"] == result["plain"] == 3 * 7


def test_the_farms_report_is_passed_to_run_as_in_runtime_mode(three_items):
    """Brian takes only C++ there; it is called in Brian's words, with units, from 0 to 1."""
    for result in three_items:
        words = result["reports"]
        assert [words[0][1], words[-1][1]] == [0, 1]
        elapsed, _, start, duration = words[-1]
        assert elapsed >= 0 * second
        assert (start, duration) == (0 * second, 50 * ms)


def test_brian_is_in_the_mode_in_which_it_was(three_items):
    """After each item, also after one that failed."""
    assert {result["device"] for result in three_items} == {"RuntimeDevice"}


def test_what_has_not_changed_is_not_compiled_again(three_items):
    """All items of a process have the same directory, and that is its own."""
    first, again, _ = three_items
    assert first["pid"] == again["pid"]
    assert first["folder"] == again["folder"]
    assert first["is private"]
    assert len(first["anew"]) > 3
    assert again["anew"] == []


def test_a_program_that_crashed_can_be_run_again_when_the_next_one_is_there(sweep):
    """The next item makes its program in the same directory."""
    results, (own, crash) = sweep
    assert own == "the task's own error"
    command = crash.partition("To run it again: ")[2]
    again = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert again.returncode in (139, -11)
    assert not command.startswith(f"cd {results[0]['folder']} ")


# -- by hand -----------------------------------------------------------------------------------------


def by_hand(size, report):
    """Everything as in Brian's documentation, but for the report."""
    prefs.codegen.cpp.extra_compile_args = ["-O0", "-w"]
    seen = []
    set_device("cpp_standalone", directory=str(scratch_directory() / "mine"))
    G = neurons(size)
    M = SpikeMonitor(G)
    run(50 * ms, report=standalone_report(lambda *words: seen.append(words[1])))
    first = int(M.num_spikes), list(seen)
    del seen[:]
    standalone_report(lambda *words: seen.append(words[1] / 2))
    device.run()  # again, as one does with other run_args
    return first, (int(M.num_spikes), seen)


def test_the_progress_alone_for_those_who_do_all_else_by_hand():
    """One body for all items; the function that was named last is told."""
    store = open_store(":memory:")
    run_tasks(store, by_hand, [2], **FAST)
    (((spikes, seen), (again, halves)),) = store.values()
    assert spikes == again == 2 * 7
    assert (seen[0], seen[-1]) == (0, 1)
    assert (halves[0], halves[-1]) == (0, 0.5)
