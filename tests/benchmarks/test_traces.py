"""The recorded durations are what they say they are, and anybody can record them again."""

import json
import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FILES = sorted((BENCHMARKS / "traces").glob("*.json"))
NEEDED = {"name", "group", "split", "about", "processes", "seconds", "first"}
SPLITS = ("tune", "report")
OPTIONAL = {"retried", "fractions"}


@pytest.fixture
def recorder(monkeypatch):
    """The program's module, imported as it runs, and forgotten afterwards with what it imported."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = dict(sys.modules)
    import record

    yield record
    for name in set(sys.modules) - set(before):
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def record(*arguments):
    command = [sys.executable, str(BENCHMARKS / "record.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=100)


def is_duration(value):
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_trace_is_well_formed(path):
    """Whoever replays it need not check anything."""
    trace = read(path)
    assert NEEDED <= set(trace) <= NEEDED | OPTIONAL
    assert trace["name"] == path.stem
    assert trace["split"] in SPLITS
    assert trace["about"].endswith(".")
    seconds, first = trace["seconds"], trace["first"]
    assert 60 <= len(seconds) <= 500
    assert all(map(is_duration, seconds))
    assert sum(seconds) > 0
    assert first == sorted(set(first))
    assert set(first) <= set(range(len(seconds)))
    assert len(first) >= trace["processes"] >= 1
    for index, failed in trace.get("retried", ()):
        assert 0 <= index < len(seconds)
        assert is_duration(failed)
    if "fractions" in trace:
        at, complete = trace["fractions"]["at"], trace["fractions"]["complete"]
        assert len(at) == len(complete)
        assert (at[0], at[-1]) == (0, 1)
        assert all(before < after for before, after in pairwise(at))
        assert all(before <= after for before, after in pairwise(complete))
        assert 0 <= complete[0] <= complete[-1] <= 1


def test_there_are_traces_to_tune_on_and_others_to_report_on():
    """About half of each, and whole groups that nobody has tuned on."""
    traces = [read(path) for path in FILES]
    tune, report = ([each["group"] for each in traces if each["split"] == split] for split in SPLITS)
    assert len(traces) >= 20
    assert min(len(tune), len(report)) >= len(traces) / 3
    assert len(set(report) - set(tune)) >= 4


def test_every_program_has_its_trace_and_the_readme_says_so(recorder):
    """Neither a trace that nobody can record again, nor a table that says something else than the files."""
    programs = recorder.programs()
    assert set(programs) == {path.stem for path in FILES}
    for trace in recorder.load():
        program = programs[trace["name"]]
        for name in ("group", "split", "about"):
            assert trace[name] == getattr(program, name)
        assert len(trace["seconds"]) == len(list(program.items())), program.name
        assert ("fractions" in trace) == program.reports
    readme = (BENCHMARKS / "traces" / "README.md").read_text(encoding="utf-8")
    assert recorder.table(recorder.load()) in readme


def test_a_program_is_recorded(tmp_path):
    """A real farm runs it; the file has a duration for each item, and knows who came first."""
    done = record("collatz", "factors", "--items", 6, "--folder", tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["collatz.json", "factors.json"]
    trace = read(tmp_path / "collatz.json")
    assert set(trace) == NEEDED
    assert len(trace["seconds"]) == 6
    assert all(each > 0 and is_duration(each) for each in trace["seconds"])
    assert 0 in trace["first"]
    assert len(trace["first"]) <= trace["processes"]


def test_what_items_report_is_recorded(recorder):
    """Whoever replays it knows how long an item says nothing at first."""
    program = recorder.Program("steps", "made up", "tune", "Steps.", steps, lambda: [8] * 3, reports=True)
    fractions = recorder.record(program)["fractions"]
    assert fractions["at"] == recorder.AT
    assert fractions["complete"] == sorted(fractions["complete"])
    assert fractions["complete"][-1] == 1


def test_a_process_that_replaces_another_has_a_first_item_too(recorder, tmp_path):
    """It has to import as much as the other had to. And the attempts that failed are kept."""
    items = [str(tmp_path / f"tried-{k}") for k in range(5)]
    program = recorder.Program(
        "exits", "made up", "tune", "All exit once.", exit_once, lambda: items, {"retries": 1}
    )
    trace = recorder.record(program)
    assert len(trace["seconds"]) == 5
    assert [index for index, _ in trace["retried"]] == [0, 1, 2, 3, 4]
    # five processes exited, each had a first item, and no item was tried more than twice
    assert len(trace["first"]) >= 3 > trace["processes"]


def test_a_program_that_has_a_mistake_leaves_no_trace(recorder):
    """Its items would take no time at all."""
    program = recorder.Program("broken", "made up", "tune", "Divides by zero.", divide, lambda: [1, 0])
    with pytest.raises(RuntimeError, match=r"broken: 1 items failed; ZeroDivisionError: division by zero"):
        recorder.record(program)


def test_a_name_that_nobody_knows_is_told():
    """With those that there are, and nothing is recorded."""
    done = record("sudokus")
    assert done.returncode != 0
    assert "'sudokus'" in done.stderr
    assert "sudoku," in done.stderr
    assert "Traceback" not in done.stderr


def steps(count, report):
    from programs import Course

    course = Course(report)
    for k in range(count + 1):
        course(k / count)
    return course.points


def divide(by):
    return 1 / by


def exit_once(mark):
    import os

    if not os.path.exists(mark):
        open(mark, "x").close()
        os._exit(1)
