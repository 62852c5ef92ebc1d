"""What bad input gets: one clear paragraph, before any process starts.

Every task here would leave a file behind if a process ran it, or only made it; none may.
"""

from __future__ import annotations

import functools
import re
import sqlite3
import subprocess
import sys

import pytest

import farmhand
from farm_tasks import FAST, leave_a_trace, square
from farmhand import (
    MemoryStore,
    PluginError,
    SetupError,
    TaskNotPicklable,
    UnknownName,
    UsageError,
    open_store,
    run_tasks,
)
from farmhand.cpus import cpu_count
from farmhand.testing.frontends import RecordingFrontend
from waiting import DEADLINE


class TracingTask:
    def __init__(self, folder=None):
        leave_a_trace(folder)

    def __call__(self, item):
        leave_a_trace(item)


class NoCall:
    def __init__(self, folder=None):
        leave_a_trace(folder)


@pytest.fixture
def refused(tmp_path):
    """``refused(error, text, **arguments)``: the call raises that, and nothing has happened."""

    def refused(error, pattern, *, task=leave_a_trace, items=None, dataman=None, **kwds):
        store = MemoryStore() if dataman is None else dataman
        items = [str(tmp_path)] if items is None else items
        with pytest.raises(error) as caught:
            run_tasks(store, task, items, **{**FAST, **kwds})
        said = str(caught.value)
        assert re.search(pattern, said, re.DOTALL), said
        assert "\n\n" not in said, "more than one paragraph"
        assert len(said) > 20, "too short to be of help"
        assert not (tmp_path / "trace").exists(), "a process ran the task"
        if isinstance(store, MemoryStore):
            assert store.runs() == [], "a run was begun"

    return refused


# -- the processes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("below", [0, 1, 1000])
def test_a_pool_below_one_process(refused, below):
    """Says how many CPUs there are, and what 0 and -1 mean."""
    poolsize = -cpu_count() - below
    refused(UsageError, rf"poolsize={poolsize} leaves no process.*{cpu_count()} CPUs.*-1", poolsize=poolsize)


def test_it_is_a_valueerror_as_in_brian(refused):
    """Scripts that catch it go on working."""
    refused(ValueError, "poolsize", poolsize=-cpu_count())


@pytest.mark.parametrize("poolsize", ["4", 2.5, None])
def test_a_pool_of_something_else_than_a_whole_number(refused, poolsize):
    """Shows what it was."""
    refused(
        UsageError, f"poolsize must be a whole number, not {re.escape(repr(poolsize))}", poolsize=poolsize
    )


@pytest.mark.parametrize(
    "options",
    [
        {"retries": -1},
        {"retries": "many"},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"recycle": 0},
        {"recycle": "never"},
        {"numitems": -1},
        {"numitems": [1]},
    ],
    ids=str,
)
def test_numbers_that_mean_nothing(refused, options):
    """Says which, what it was and what is allowed."""
    ((name, value),) = options.items()
    refused(UsageError, f"{name} must be .*not {re.escape(repr(value))}", **options)


# -- the task and the items ------------------------------------------------------------------------


@pytest.mark.parametrize("task", [None, 3, "square", [square]])
def test_a_task_that_is_not_callable(refused, task):
    """Says what a task may be and what this was."""
    refused(
        UsageError, f"must be a function, another callable or a class, not {type(task).__name__}", task=task
    )


def test_a_class_without_call(refused):
    """Says what a class task is."""
    refused(UsageError, "NoCall has no __call__ method.*calls the instance with each item", task=NoCall)


@pytest.mark.parametrize("given", [{"initargs": (1,)}, {"initkwds": {"a": 1}}], ids=str)
def test_initargs_with_a_function(refused, given):
    """Says what to do instead."""
    refused(UsageError, "leave_a_trace is not a class.*functools.partial", **given)


def test_initargs_that_are_not_arguments(refused, tmp_path):
    """A comma is easily forgotten."""
    refused(UsageError, r"initargs must be a sequence", task=TracingTask, initargs=3)
    refused(UsageError, r"initkwds must be a dict", task=TracingTask, initkwds=["folder"])


@pytest.mark.parametrize("items", [3, None, square, object])
def test_items_that_are_not_iterable(refused, items):
    """Says what would be, and what this was."""
    with pytest.raises(UsageError, match=r"items must be iterable \(a list, an array, .*not "):
        run_tasks(MemoryStore(), square, items, **FAST)


def test_a_task_that_cannot_be_pickled(refused):
    """Names the part at fault, and two ways out; with a fork it would work."""
    connection = sqlite3.connect(":memory:")
    refused(
        TaskNotPicklable,
        "the closure variable 'connection' of the task: .*sqlite3.Connection.*inside the task.*'fork'",
        task=lambda folder: (leave_a_trace(folder), connection),
    )
    refused(
        TaskNotPicklable,
        r"the task\.args\[1\]\['deep'\]: .*sqlite3.Connection",
        task=functools.partial(print, 1, {"deep": connection}),
    )
    connection.close()


@pytest.mark.parametrize("key", ["name", 3])
def test_a_key_that_is_no_function(refused, key):
    """Says what it should be."""
    refused(UsageError, f"key must be a function from an item to a str, not {key!r}", key=key)


def test_a_key_that_gives_no_text():
    """It is found with the first item; still no process has started."""
    store = MemoryStore()
    with pytest.raises(UsageError, match=r"key must return a str.*for 1 it returned -1, a int"):
        run_tasks(store, square, [1, 2], **FAST, key=lambda item: -item)
    assert store.runs() == []


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "known"),
    [
        ({"progress": "gauge"}, "progress frontend", "none, .*text"),
        ({"progress": ["text", "gauge"]}, "progress frontend", "none, .*text"),
        ({"executor": "cloud"}, "executor", "local"),
        ({"start_method": "forkserver"}, "start method", "spawn, fork"),
        ({"errors": "ignore"}, "errors", "raise, collect"),
    ],
    ids=str,
)
def test_an_unknown_name_lists_the_known_ones(refused, options, kind, known):
    """So that a slip of the finger is mended at once."""
    (asked,) = options.values()
    asked = asked if isinstance(asked, str) else asked[-1]
    refused(UnknownName, rf"no {kind} is called '{asked}'; known: .*{known}", **options)


@pytest.mark.parametrize(
    ("options", "package"),
    [
        ({"progress": "dask"}, None),
        ({"progress": "rich"}, "farmhand-rich"),
        ({"progress": "plot:eta.png"}, "farmhand-plot"),
        ({"progress": "tk"}, "farmhand-tk"),
        ({"executor": "dask"}, "farmhand-dask"),
        ({"executor": "dask:tcp://host:8786"}, "farmhand-dask"),
        ({"dataman": "results.data"}, "farmhand-shelve"),
    ],
    ids=str,
)
def test_a_plugin_that_is_not_installed_is_named(refused, monkeypatch, options, package):
    """The error says what to install for the names that this project provides elsewhere."""
    monkeypatch.setattr("farmhand.entrypoints.entry_points", lambda group: [])
    hint = rf"pip install {package}" if package else ""
    refused(UnknownName, rf"no .* is called .*known: .*{hint}", **options)


@pytest.mark.parametrize(
    "progress",
    [3, [3], object(), RecordingFrontend, {"text": 1, 2: 3}],
    ids=["int", "list", "object", "class", "mapping"],
)
def test_progress_that_is_no_frontend(refused, progress):
    """A name, or an object with the methods of a frontend."""
    refused(UsageError, "progress takes frontends, by name.*show, controls, close", progress=progress)


# -- the store -------------------------------------------------------------------------------------


@pytest.mark.parametrize("location", [None, 3, b"results.db", "", ["results.db"]])
def test_a_store_that_is_no_path(refused, location):
    """Says what a path looks like."""
    with pytest.raises(UsageError, match=r"a store is opened by a path, such as 'results.db', not "):
        open_store(location)
    with pytest.raises(UsageError, match=r"a store is opened by a path"):
        run_tasks(location, square, [1], **FAST)


@pytest.mark.parametrize("location", ["results", "results.txt", "folder/"])
def test_a_path_whose_ending_nobody_knows(refused, location, tmp_path, monkeypatch):
    """Lists the endings that are known; nothing is created."""
    monkeypatch.chdir(tmp_path)
    refused(UnknownName, "no store for the ending is called .*known: .*:memory:", dataman=location)
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_a_folder_that_does_not_exist(refused, tmp_path):
    """Names the folder; it is not created, since it is most likely misspelt."""
    try:
        open_store(tmp_path / "try.db").close()
    except UnknownName:
        pytest.skip("needs farmhand-sqlite")
    folder = tmp_path / "mispelt"
    refused(farmhand.StoreError, r"mispelt.*(folder|directory)", dataman=folder / "results.db")
    assert not folder.exists()


# -- plugins ---------------------------------------------------------------------------------------


STORE = """
    import farmhand
    @farmhand.hookimpl
    def farmhand_stores():
        return {".mine": lambda path, **options: farmhand.MemoryStore()}
"""


def test_a_plugin_brings_its_names(plugins):
    """So that what is refused below is refused for a reason."""
    plugins(mine=STORE)
    assert isinstance(open_store("results.mine"), MemoryStore)


@pytest.mark.parametrize(
    "source",
    [
        "raise RuntimeError('out of order')",
        "import a_module_that_is_not_there",
        "def oops(:",
        "import farmhand\n@farmhand.hookimpl\ndef farmhand_no_such_hook(): pass",
        "import farmhand\n@farmhand.hookimpl\ndef farmhand_stores(surprise): pass",
    ],
)
def test_a_plugin_that_fails_to_load_is_reported_and_skipped(plugins, source):
    """One broken plugin does not take the others' stores away."""
    plugins(broken=source, mine=STORE)
    with pytest.warns(RuntimeWarning, match=r"plugin 'broken' \(broken\) could not be loaded and is skipped"):
        assert isinstance(open_store("results.mine"), MemoryStore)


def test_a_plugin_that_nobody_needs_is_not_even_looked_for(plugins):
    """What farmhand brings itself costs no search; a broken plugin is then no matter."""
    plugins(broken="raise RuntimeError('out of order')")
    run_tasks(":memory:", square, [1], **FAST, poolsize=1)


def test_two_plugins_that_claim_one_name_are_both_named(plugins, refused):
    """Neither is preferred silently: which one it is would depend on the order of a search."""
    plugins(first=STORE, second=STORE)
    refused(PluginError, "'(first|second)' and '(first|second)' both provide '.mine'", dataman="results.mine")


def test_a_plugin_cannot_take_a_name_of_farmhands_own(plugins, refused):
    """Found as soon as plugins are looked at."""
    plugins(thief=STORE.replace(".mine", ":memory:"))
    refused(PluginError, "'farmhand' and 'thief' both provide ':memory:'", dataman="results.mine")


def test_two_plugins_of_one_name_are_both_there(plugins, tmp_path):
    """Their entry points happen to have the same name; neither is forgotten."""
    plugins(one=STORE, two=STORE.replace(".mine", ".other"))
    for name in ("one", "two"):
        (tmp_path / f"{name}-1.0.dist-info" / "entry_points.txt").write_text(f"[farmhand]\ncsv = {name}\n")
    assert isinstance(open_store("results.mine"), MemoryStore)
    assert isinstance(open_store("results.other"), MemoryStore)


def test_a_plugin_whose_hook_raises_is_named(plugins, refused):
    """It did load, so something is wrong with it that its authors must know."""
    plugins(clumsy="import farmhand\n@farmhand.hookimpl\ndef farmhand_stores(): return 1 / 0")
    refused(
        PluginError, "plugin 'clumsy' failed in its hook farmhand_stores: ZeroDivisionError", dataman="a.mine"
    )


# -- the window ------------------------------------------------------------------------------------


def test_a_gui_that_is_not_installed_is_one_warning_and_then_text(monkeypatch, capsys):
    """gui=True is the default, and Brian's; a cluster has no window, and the work is what counts."""
    monkeypatch.setattr("farmhand.entrypoints.entry_points", lambda group: [])
    with pytest.warns(UserWarning, match="needs the Tk window.*pip install farmhand-tk.*gui=False") as warned:
        summary = run_tasks(MemoryStore(), square, [1, 2], poolsize=1)
    assert summary.done == 2
    assert len(warned) == 1
    assert warned[0].filename == __file__, "the warning points to farmhand instead of the user's line"
    assert "square" in capsys.readouterr().err


# -- a mistake in the set-up -----------------------------------------------------------------------


class BadSetup:
    def __init__(self, folder):
        raise ValueError("no such model")

    def __call__(self, item):
        leave_a_trace(item)


@pytest.mark.parametrize("start_method", ["spawn", "fork"])
def test_an_init_that_raises_ends_the_run_with_its_traceback(tmp_path, start_method):
    """It would fail in every process, for every item: it is a mistake in the set-up."""
    store = MemoryStore()
    with pytest.raises(SetupError, match=r"could not set up the task: ValueError: no such model") as caught:
        run_tasks(
            store,
            BadSetup,
            [str(tmp_path)] * 9,
            **FAST,
            initargs=("x",),
            poolsize=2,
            start_method=start_method,
        )
    assert 'raise ValueError("no such model")' in str(caught.value)
    assert not (tmp_path / "trace").exists()
    assert [run.outcome for run in store.runs()] == ["broken"]
    assert store.failures() == []


# -- as a user sees it -----------------------------------------------------------------------------


def test_the_last_line_of_the_traceback_is_the_message(tmp_path):
    """A user reads that line first, and perhaps only that one."""
    script = "from farmhand import run_tasks; run_tasks(':memory:', 3, [1], gui=False)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "farmhand.errors.UsageError: the task must be a function, another callable or a class, not int (3)"
    )
