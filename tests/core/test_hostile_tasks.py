"""Whatever a task does to its process, it costs at most that item: nothing hangs, nothing is mixed up."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import hostile_tasks
from farm_tasks import FAST, is_alive
from farmhand import MemoryStore, run_tasks
from waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these are deeds of POSIX systems")
PRECIOUS = "VmHWM: 5 kB\n"  # what a process reads of its own memory in a file of the system
both = pytest.mark.parametrize("start_method", ["spawn", "fork"])


@pytest.fixture
def store():
    return MemoryStore()


def children() -> set[int]:
    """The processes that are alive of those that this one, or one of its farms, has started."""
    import psutil

    return {child.pid for child in psutil.Process().children(recursive=True) if is_alive(child.pid)}


@both
@pytest.mark.parametrize("deed", hostile_tasks.DEEDS)
def test_a_hostile_task_costs_at_most_its_item(store, tmp_path, deed, start_method):
    """All others are done, with their own results; the item itself is never taken for a good result
    when it was not; and nobody is left."""
    before = children()
    expected = hostile_tasks.DEEDS[deed][1]
    items = [(item, deed, str(tmp_path / "gate")) for item in range(12)]
    summary = run_tasks(
        store, hostile_tasks.act, items, poolsize=2, errors="collect", start_method=start_method, **FAST
    )
    done = dict(store.values())
    assert done.keys() >= set(range(1, 12))
    assert all(square == item * item for item, square in done.items())
    assert summary.done + summary.failed == 12
    if expected == "done":
        assert summary.failed == 0
    else:
        [failure] = store.failures()
        assert failure.index == 0
        assert failure.error.kind in expected
        assert str(failure.error)
    wait_until(lambda: not children() - before, "the end of what was started")


@both
@pytest.mark.parametrize("seconds", [0.0, 0.05], ids=["a short item", "a long item"])
def test_a_file_that_has_the_number_of_the_farms_connection_is_left_alone(
    store, tmp_path, start_method, seconds
):
    """A task that has closed everything and opened its own file finds in it what it wrote, and no more."""
    path = tmp_path / "precious"
    path.write_text(PRECIOUS)
    summary = run_tasks(
        store,
        hostile_tasks.close_all_and_open_a_file,
        [(str(path), seconds)],
        poolsize=1,
        errors="collect",
        start_method=start_method,
        **FAST,
    )
    assert path.read_text() == PRECIOUS
    assert summary.kinds == {"died": 1}
    assert "connection" in store.failures()[0].error.message


def test_exec_is_named_in_the_failure(store, tmp_path):
    """The user wants to know what happened, and not that it was a signal of ours."""
    items = [(0, "become_another_program", str(tmp_path / "gate"))]
    run_tasks(store, hostile_tasks.act, items, errors="collect", poolsize=1, **FAST)
    [failure] = store.failures()
    assert "exec" in failure.error.message


def test_a_crash_says_where_in_python_it_was(store, tmp_path):
    """The output of the item has the last words of the interpreter."""
    run_tasks(
        store, hostile_tasks.act, [(0, "crash", str(tmp_path / "gate"))], errors="collect", poolsize=1, **FAST
    )
    [failure] = store.failures()
    assert failure.error.message == "process died: signal 11 (SIGSEGV)"
    assert 'hostile_tasks.py", line' in store.output(failure.key)
    assert "in crash" in store.output(failure.key)


def test_what_is_relative_stays_where_it_was(tmp_path, monkeypatch):
    """A task, or the script, may change directory: the store is where it was opened."""
    pytest.importorskip("farmhand_sqlite")
    from farmhand import open_store

    monkeypatch.chdir(tmp_path)
    items = [(item, "change_directory", str(tmp_path / "gate")) for item in range(4)]
    run_tasks("here.db", hostile_tasks.act, items, poolsize=1, **FAST)
    with open_store(tmp_path / "here.db") as store:
        assert len(store) == 4
    assert Path.cwd() == tmp_path
    assert os.listdir(tmp_path)
