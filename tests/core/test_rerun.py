"""Running a stored item again: it meets what it met in its farm, and nothing is changed by it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

from farmhand import open_store
from waiting import DEADLINE, wait_for

pytest.importorskip("farmhand_sqlite", reason="an item that is run again is in a store that stays")

HEAD = """
import os, sys
from farmhand import run_tasks

OPTIONS = dict(gui=False, progress="none", errors="collect", poolsize=2)
"""


@pytest.fixture
def home(tmp_path):
    """The folder in which the script is, and in which it runs."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def elsewhere(tmp_path):
    """Another folder, where the command is typed."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.fixture
def script(home):
    """Runs a farm from a script, with ``results.db`` as its store."""

    def run(code, *words):
        (home / "sweep.py").write_text(HEAD + code)
        command = [sys.executable, "sweep.py", *words]
        subprocess.run(command, cwd=home, check=True, timeout=DEADLINE, capture_output=True)
        return home / "results.db"

    return run


@pytest.fixture
def rerun(home, elsewhere):
    """Types ``farmhand rerun results.db ITEM ...`` elsewhere."""

    def type_it(*words, answers="", **environment):
        command = [sys.executable, "-m", "farmhand", "rerun", str(home / "results.db"), *map(str, words)]
        run = subprocess.run(
            command,
            cwd=elsewhere,
            env={**os.environ, **environment},
            input=answers,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        assert run.returncode in (0, 1, 2), run.stderr
        return run

    return type_it


def test_an_item_meets_what_it_met_in_its_farm(script, rerun):
    """The script's names, its arguments, its folder, its modules; classes of it, in items and results."""
    script(
        """
import helper

class Point:
    def __init__(self, x):
        self.x = x

OFFSET = 10

def shift(point, by=1):
    return Point(point.x + by + OFFSET), sys.argv, os.getcwd(), helper.VALUE, __name__

class helper_file: pass
run_tasks("results.db", shift, [Point(k) for k in range(3)], **OPTIONS)
""".replace("import helper\n", "open('helper.py', 'w').write('VALUE = 42')\nimport helper\n"),
        "--fast",
    )
    run = rerun(1)
    assert run.stderr == ""
    assert run.returncode == 0
    assert "shift(point=<__main__.Point object at" in run.stdout
    assert "'--fast'" in run.stdout
    assert "with the same result" in run.stdout


def test_a_failure_comes_again_with_its_traceback(script, rerun, home):
    """From the script, without farmhand's own frames; the exit status is 1, and the store as before."""
    path = script(
        """
def invert(k):
    print("inverting", k)
    return 1 / k

run_tasks("results.db", invert, [2, 0], **OPTIONS)
"""
    )
    with open_store(path) as store:
        before = list(store.records()), store.runs()
    run = rerun(1)
    assert run.returncode == 1
    assert "invert(k=0), item 1 of run " in run.stdout
    assert "inverting 0\n" in run.stdout
    assert f'File "{home / "sweep.py"}", line 9, in invert' in run.stdout
    assert "rerun.py" not in run.stdout
    assert "In its run it failed in the same way" in run.stdout
    with open_store(path) as store:
        assert (list(store.records()), store.runs()) == before


def test_the_debugger_stands_where_it_failed(script, rerun):
    """With the task's own variables."""
    script(
        """
def invert(k):
    local = k + 41
    return 1 / (k - 1)

run_tasks("results.db", invert, [1], **OPTIONS)
"""
    )
    run = rerun(0, "--pdb", answers="p local\nw\nq\n")
    assert run.returncode == 1
    assert "(Pdb) 42\n" in run.stdout
    assert "farmhand" not in run.stdout[run.stdout.index("(Pdb) 42") :].replace("(Pdb)", "")


def test_random_numbers_are_the_same(script, rerun):
    """They depend on the seed of the run and on the item, which are stored."""
    pytest.importorskip("numpy")
    script(
        """
def draw(k, rng):
    return rng.random(3).tolist()

run_tasks("results.db", draw, range(4), **OPTIONS)
"""
    )
    assert "with the same result" in rerun(2).stdout


def test_a_class_is_made_as_it_was(script, rerun):
    """With its arguments, and with the number of the process that ran the item."""
    script(
        """
class Count:
    def __init__(self, start, process_number):
        self.start, self.number = start, process_number

    def __call__(self, k, report):
        report(0.5)
        return self.start + k, self.number

run_tasks("results.db", Count, range(6), initargs=(100,), **OPTIONS)
"""
    )
    for item in range(6):
        assert "with the same result" in rerun(item).stdout


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("sys.exit('enough')", "SystemExit: enough"),
        (
            "return (each for each in [k])",
            "cannot be pickled and unpickled",
        ),
        ("raise type('Odd', (Exception,), {})('own class')", "Odd: own class"),
    ],
)
def test_what_fails_an_item_in_a_farm_fails_it_here(script, rerun, body, said):
    """Also what would end a script, and a result that could not be stored."""
    script(f"def task(k):\n    {body}\nrun_tasks('results.db', task, [1], **OPTIONS)")
    run = rerun(0)
    assert run.returncode == 1
    assert said in run.stdout
    assert "In its run it failed" in run.stdout


def test_a_task_that_cannot_be_made_says_so(script, rerun):
    """The error is in the set-up, and is told like any other."""
    path = script(
        """
import os.path
class Task:
    def __init__(self):
        if os.path.exists("broken"):
            raise RuntimeError("the licence has expired")
    def __call__(self, k):
        return k
run_tasks("results.db", Task, [1], **OPTIONS)
"""
    )
    (path.parent / "broken").touch()
    run = rerun(0)
    assert run.returncode == 1
    assert "(setting up the task)" in run.stdout
    assert "RuntimeError: the licence has expired" in run.stdout


def test_another_result_than_before_is_told(script, rerun):
    """Exit status 1: what is stored cannot be made again like this."""
    path = script(
        """
def read(k):
    return k, open("value").read()
open("value", "w").write("old")
run_tasks("results.db", read, [1], **OPTIONS)
"""
    )
    (path.parent / "value").write_text("new")
    run = rerun(0)
    assert run.returncode == 1
    assert "(1, 'new')" in run.stdout
    assert run.stdout.endswith("with another result:\n    (1, 'old')\n")


# -- a task that the user names --------------------------------------------------------------------------


FORKED = """
class Point:
    def __init__(self, x):
        self.x = x

def double(point):
    return 2 * point.x

run_tasks("results.db", double, [Point(21)], start_method="fork", **OPTIONS)
open("came here", "w").close()
"""


def test_a_forked_run_has_no_task_and_says_what_to_do(script, rerun, home):
    """It may be named; its script is loaded as far as its farm, which does not run once more."""
    script(FORKED)
    (home / "came here").unlink()
    run = rerun(0)
    assert run.returncode == 2
    assert "has kept no task" in run.stderr
    assert "--task FILE.py:NAME, or module:NAME" in run.stderr
    run = rerun(0, "--task", "../home/sweep.py:double")
    assert (run.returncode, run.stderr) == (0, "")
    assert "\n    42\n" in run.stdout
    assert "with the same result" in run.stdout
    with open_store(home / "results.db") as store:
        assert len(store.runs()) == 1
    assert not (home / "came here").exists()


def test_a_task_that_was_mended_can_be_tried(script, rerun, home):
    """The item that failed is the best test of the new code, also under its ``__main__`` guard."""
    script("def invert(k):\n    return 1 / k\nrun_tasks('results.db', invert, [0], **OPTIONS)")
    assert rerun(0).returncode == 1
    (home / "mended.py").write_text(
        "def invert(k):\n    return 1 / k if k else None\nif __name__ == '__main__':\n    1 / 0"
    )
    run = rerun(0, "--task", home / "mended.py:invert")
    assert run.returncode == 0
    assert "In its run it failed (ZeroDivisionError: division by zero)" in run.stdout
    assert "    2\n" in rerun(0, "--task", "doubling:double", PYTHONPATH=str(mended_module(home))).stdout


def mended_module(home):
    folder = home / "modules"
    folder.mkdir()
    (folder / "doubling.py").write_text("def double(k):\n    return 2 * (k or 1)")
    return folder


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("double", "write FILE.py:NAME or module:NAME"),
        ("nowhere.py:double", "there is no file nowhere.py"),
        ("no_such_module:double", "No module named 'no_such_module'"),
        ("math:squared", r"math has no squared; it has .*\bsqrt\b"),
        ("math:pi", "the task must be a function, another callable or a class, not float"),
    ],
)
def test_a_task_that_is_named_wrongly_is_an_error(script, rerun, task, said):
    """It says what to write, in one line, and is no failure of the item."""
    script("def same(k):\n    return k\nrun_tasks('results.db', same, [1], **OPTIONS)")
    run = rerun(0, "--task", task)
    assert run.returncode == 2
    assert re.search(said, run.stderr)
    assert "Traceback" not in run.stderr


# -- what is missing --------------------------------------------------------------------------------------


def test_a_module_that_is_gone_is_named(script, rerun, home):
    """With the way out: the task may be elsewhere now."""
    (home / "tasks.py").write_text("def double(k):\n    return 2 * k")
    script("import tasks\nrun_tasks('results.db', tasks.double, [1], **OPTIONS)")
    assert rerun(0).returncode == 0
    (home / "tasks.py").rename(home / "tasks_2.py")
    run = rerun(0)
    assert run.returncode == 2
    assert "No module named 'tasks'" in run.stderr
    assert "PYTHONPATH" in run.stderr


def test_a_folder_that_is_gone_is_no_obstacle(script, rerun, home, elsewhere):
    """The item runs where the command was typed, and that is said."""
    script(
        """
os.mkdir("work")
os.chdir("work")
def where(k):
    return os.path.basename(os.getcwd())
run_tasks("../results.db", where, [1], **OPTIONS)
"""
    )
    assert "'work'" in rerun(0).stdout
    (home / "work").rmdir()
    run = rerun(0)
    assert f"(its folder {home / 'work'} is not there: it runs in this one)" in run.stdout
    assert "'elsewhere'" in run.stdout


def test_an_item_that_was_too_large_to_keep_is_an_error(script, rerun):
    """Its text is in the store, but that is no item."""
    script("run_tasks('results.db', len, [bytes(30_000_000)], **OPTIONS)")
    run = rerun(0)
    assert run.returncode in (0, 2)
    if run.returncode:
        assert "it was large" in run.stderr


def test_ctrl_c_ends_it_with_the_usual_status(script, home, elsewhere):
    """An item that takes too long for somebody who only wanted to look."""
    path = script(
        """
import signal
def wait(folder):
    if os.path.exists(folder + "/again"):
        open(folder + "/begun", "w").close()
        signal.pause()
run_tasks("results.db", wait, [os.getcwd()], **OPTIONS)
"""
    )
    (home / "again").touch()
    command = [sys.executable, "-m", "farmhand", "rerun", str(path), "0"]
    with subprocess.Popen(
        command, cwd=elsewhere, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as run:
        wait_for(home / "begun")
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=DEADLINE)
    assert (run.returncode, err) == (130, "farmhand: interrupted\n")
