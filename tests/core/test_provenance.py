"""What is written down of each run: who, where, with what, and which code."""

from __future__ import annotations

import functools
import math
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

import farmhand
from farm_tasks import FAST, square
from farmhand import MemoryStore, owner, run_tasks
from farmhand.provenance import source_hash
from farmhand.task import Task
from waiting import DEADLINE


def run(task, items, **kwds):
    store = MemoryStore()
    run_tasks(store, task, items, **{**FAST, "poolsize": 1, **kwds})
    [info] = store.runs()
    return info


def test_a_run_says_who_made_it_where_and_with_what():
    """Years later, somebody will ask."""
    about = run(square, [1, 2], seed=None).provenance
    assert about["host"] == os.uname().nodename
    assert about["user"]
    assert about["command"] == sys.orig_argv
    assert about["folder"] == os.getcwd()
    assert about["module"] == "farm_tasks"
    assert about["source"].startswith("source:")
    assert about["python"].startswith(sys.version.split()[0])
    assert about["cpus"] >= about["processes"] == 1
    assert about["farmhand"] == farmhand.__version__
    assert about["packages"]["pytest"] == pytest.__version__
    assert about["packages"]["farmhand"] == farmhand.__version__


def test_packages_that_keep_their_version_to_themselves_are_looked_up_where_they_were_installed():
    """Not each module says it, but pip has left it beside them."""
    pytest.importorskip("psutil")
    about = run(square, [1]).provenance
    assert "pluggy" in about["packages"]
    assert "iniconfig" in about["packages"]
    assert not {"os", "sys", "_thread"} & about["packages"].keys()


def test_whatever_stands_among_the_modules_costs_no_run(monkeypatch):
    """Some programs put objects there that are no modules; some versions are more than a str."""

    class Version(str):
        __slots__ = ()

    class NoModule:
        __slots__ = ()

    module = ModuleType("module_of_somebody")
    module.__version__ = Version("1.2")
    monkeypatch.setitem(sys.modules, "module_of_somebody", module)
    monkeypatch.setitem(sys.modules, "no_module_at_all", NoModule())
    packages = run(square, [1]).provenance["packages"]
    assert type(packages["module_of_somebody"]) is str
    assert "no_module_at_all" not in packages


def test_parameters_have_the_names_that_the_task_gives_them():
    """What farmhand fills itself is none of them."""

    def plain(k, tau=1.0, *rest, report=None, rng=None, mode="x"):
        return k

    def noisy(rng, k, report):
        return k

    class Model:
        def __init__(self, process_number):
            pass

        def __call__(self, alpha, beta, report):
            return alpha

    partial = functools.partial(plain, 3)
    names = [Task.check(task).parameters for task in (plain, noisy, Model, partial, math.hypot, len)]
    assert names == [("k", "tau"), ("k",), ("alpha", "beta"), ("tau",), (), ("obj",)]
    assert run(square, [1]).parameters == ("x",)


def test_the_hash_of_the_source_changes_with_the_source_alone(tmp_path):
    """Two runs with the same hash ran the same code, wherever its file was."""
    hashes = []
    for name, text in {
        "first.py": "def f(x):\n    def g():\n        return 1\n    return x\n\ndef other(): pass\n",
        "again.py": "# moved down\n\ndef f(x):\n    def g():\n        return 1\n    return x\n",
        "changed.py": "def f(x):\n    def g():\n        return 2\n    return x\n",
    }.items():
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        names: dict = {}
        exec(compile(text, str(file), "exec"), names)
        hashes.append(source_hash(names["f"]))
    assert hashes[0] == hashes[1] != hashes[2]


def test_code_without_a_file_is_hashed_as_it_was_compiled():
    """As on standard input, or in a notebook whose cell is gone."""

    def made(text):
        names: dict = {}
        exec(compile(text, "<stdin>", "exec"), names)
        return source_hash(names["f"])

    assert made("def f(x):\n    return x + 1").startswith("code:")
    assert made("def f(x):\n    return x + 1") == made("\n\ndef f(x):\n    return x + 1")
    assert made("def f(x):\n    return x + 1") != made("def f(x):\n    return x + 2")
    assert source_hash(math.sqrt) == ""


def test_partials_methods_and_decorated_functions_go_by_what_they_call():
    """Their wrappers say nothing about the code of the task."""

    def base(x):
        return x

    @functools.wraps(base)
    def decorated(x):
        return base(x)

    class Thing:
        def method(self, x):
            return x

    assert source_hash(mock.MagicMock()) == ""  # it has a function within a function, without end
    assert source_hash(functools.partial(base, 1)) == source_hash(decorated) == source_hash(base)
    assert source_hash(Thing().method) == source_hash(Thing.method)
    assert source_hash(Thing).startswith("source:")


SCRIPT = """
import sys
from farmhand import MemoryStore, run_tasks
def f(x):
    return x
store = MemoryStore()
run_tasks(store, f, [1], gui=False, progress="none")
about = store.runs()[0].provenance
print(about.get("git_commit"), about.get("git_dirty"))
"""


def git(folder: Path, *arguments: str) -> str:
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    command = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    try:
        git(tmp_path, "init", "--quiet")
    except FileNotFoundError:
        pytest.skip("there is no git")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "script.py").write_text(SCRIPT, encoding="utf-8")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def say(checkout: Path, **environ: str) -> str:
    command = [sys.executable, str(checkout / "inner" / "script.py")]
    done = subprocess.run(
        command,
        cwd="/",
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE,
    )
    return done.stdout.strip()


def test_the_commit_that_was_checked_out_is_named_and_whether_it_was_changed(checkout):
    """Wherever the script was started from; files that git does not know do not count."""
    commit = git(checkout, "rev-parse", "HEAD")
    (checkout / "results.txt").touch()
    assert say(checkout) == f"{commit} False"
    with open(checkout / "inner" / "script.py", "a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert say(checkout) == f"{commit} True"


def test_a_run_does_without_git(checkout, tmp_path):
    """Where there is none, where it fails, or hangs, a run says nothing of it."""
    programs = tmp_path / "programs"
    programs.mkdir()
    assert say(checkout, PATH=str(programs)) == "None None"
    for text in ("exit 3", "exec sleep 1000"):
        (programs / "git").write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin {text}\n", encoding="utf-8")
        (programs / "git").chmod(0o755)
        assert say(checkout, PATH=str(programs)) == "None None"


# -- the process that wrote a run ------------------------------------------------------------------


def test_a_process_is_alive_until_it_ends():
    """Its number alone would not do: another process may get it."""
    assert owner.is_alive(owner.here()) is True
    code = "from farmhand import owner; import sys; print(owner.here(), flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        name = other.stdout.readline().strip()
        assert owner.is_alive(name) is True
        *computer, started = name.split("/")
        assert owner.is_alive("/".join([*computer, "1" + started])) is False
        other.stdin.close()
    assert owner.is_alive(name) is False


@pytest.mark.parametrize("name", ["", "nonsense", "a/b/c/d/e", "elsewhere/boot/4026531836/7/1"])
def test_of_a_process_elsewhere_nobody_knows(name):
    """It may be on another computer that shares the disk."""
    assert owner.is_alive(name) is None


def test_of_a_process_that_the_system_hides_nobody_knows(monkeypatch):
    """Where users do not see each other's processes, one that cannot be looked at may well be alive."""

    def kill(pid, signal):
        raise PermissionError

    *computer, started = owner.here().split("/")
    computer[-1] = str(2**22 + 1)  # of which there is nothing to see
    monkeypatch.setattr(os, "kill", kill)
    assert owner.is_alive("/".join([*computer, started])) is None


def test_a_restart_of_the_computer_has_ended_all(monkeypatch):
    """Whatever number the process had."""
    host, _, *rest = owner.here().split("/")
    assert owner.is_alive("/".join([host, "an-earlier-start", *rest])) is False
