"""Brian 2's cache of Cython modules, shared by all processes, while farms use it and are killed.

A compiler that writes down what it is asked for, and that can be told to fail at some moment, stands before
the real one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from math import exp
from pathlib import Path

import pytest

from cython_tasks import decay
from farmhand import MemoryStore, run_tasks
from waiting import DEADLINE, wait_for, wait_until

pytest.importorskip("Cython", reason="Brian 2 compiles with it")
pytestmark = [
    pytest.mark.brian,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not shutil.which("g++"), reason="needs a compiler"),
]

TAUS = [5.0, 6.0, 7.0, 8.0]
COMPILER = """#!/bin/sh
case "$*" in
    *_cython_magic_*) ;;
    *) exec {program} "$@" ;;  # Brian tries out some options
esac
step=link
for word; do
    if [ "$previous" = -o ]; then output=$word; fi
    if [ "$word" = -c ]; then step=compile; fi
    previous=$word
done
echo $step >> $SAID_BY_TEST/calls
if mv $SAID_BY_TEST/first-$step $SAID_BY_TEST/now 2> /dev/null; then
    . $SAID_BY_TEST/now
fi
exec {program} "$@"
"""


@pytest.fixture(scope="module")
def compilers(tmp_path_factory) -> Path:
    """Where they are; a module's name depends on that."""
    folder = tmp_path_factory.mktemp("compilers")
    for name in ("gcc", "g++"):
        path = folder / name
        path.write_text(COMPILER.format(program=shutil.which(name)))
        path.chmod(0o755)
    return folder


class Compiler:
    """What stands before the real one, for one test."""

    def __init__(self, folder: Path, compilers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.setenv("CC", str(compilers / "gcc"))
        monkeypatch.setenv("CXX", str(compilers / "g++"))
        monkeypatch.setenv("SAID_BY_TEST", str(folder))
        # what compilers leave there when they are killed, and Brian itself
        monkeypatch.setenv("TMPDIR", str(folder))

    def first(self, step: str, failure: str) -> None:
        """Have the first call for that step begin with something else."""
        (self.folder / f"first-{step}").write_text(failure)

    def calls(self) -> list[str]:
        """What was asked for, of modules of Brian."""
        return (self.folder / "calls").read_text().split()


@pytest.fixture
def compiler(tmp_path, compilers, monkeypatch) -> Compiler:
    folder = tmp_path / "compiler"
    folder.mkdir()
    return Compiler(folder, compilers, monkeypatch)


@pytest.fixture
def cache(tmp_path) -> Path:
    """An empty one."""
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory, compilers):
    """A sweep on four processes with an empty cache, what came of it, and what the compiler was asked for."""
    folder = tmp_path_factory.mktemp("built")
    cache, said = folder / "cache", folder / "compiler"
    cache.mkdir()
    said.mkdir()
    with pytest.MonkeyPatch.context() as monkeypatch:
        compiler = Compiler(said, compilers, monkeypatch)
        summary, results = run(cache, poolsize=4)
    return cache, summary, results, compiler.calls()


def run(cache: Path, **options):
    store = MemoryStore()
    items = [(tau, str(cache)) for tau in TAUS]
    summary = run_tasks(store, decay, items, gui=False, progress="none", errors="collect", **options)
    return summary, [store.record(record.key).value for record in store.records() if record.status == "done"]


def contents(cache: Path) -> set[str]:
    """The endings of what is in the cache."""
    return {path.name.rpartition(".")[2] for path in cache.iterdir()}


def test_many_processes_with_an_empty_cache_build_each_module_once(built):
    """They wait for each other; none fails, and none finds half of what another writes."""
    cache, summary, results, calls = built
    assert (summary.done, summary.failed) == (4, 0)
    assert sorted(results) == pytest.approx(sorted(exp(-1 / tau) for tau in TAUS))
    assert calls == ["compile", "link"]
    assert contents(cache) == {"so", "lock"}


def test_a_process_killed_while_it_links_costs_one_attempt_and_no_later_run(cache, compiler):
    """The linker makes its file first and fills it in the end: the next attempt must not find that."""
    compiler.first("link", ': > "$output"; kill -9 0')

    summary, results = run(cache, poolsize=1, retries={"died": 1})

    assert (summary.done, summary.failed) == (4, 0)
    assert len(results) == 4
    assert compiler.calls() == ["compile", "link"] * 2
    assert contents(cache) == {"so", "lock"}, "what the killed process left behind"


def test_a_module_that_others_have_left_broken_is_built_anew(built, cache, compiler):
    """A Pool that was killed, a full disk: nobody should have to know where the cache is."""
    (whole,) = built[0].glob("*.so")
    module = cache / whole.name
    module.touch()

    summary, _ = run(cache, poolsize=2)

    assert (summary.done, summary.failed) == (4, 0)
    assert module.stat().st_size > 1000
    assert compiler.calls() == ["compile", "link"], "by one process, for both"
    assert contents(cache) == {"so", "lock"}


SCRIPT = """
import sys
sys.path.insert(0, {helpers!r})
from cython_tasks import decay
from farmhand import open_store, run_tasks

with open_store("decays.db") as store:
    items = [(tau, {cache!r}) for tau in {taus}]
    summary = run_tasks(store, decay, items, gui=False, progress="none", poolsize=2, resume=True)
    print(summary.done, summary.failed)
"""


def test_a_script_killed_in_mid_compilation_leaves_no_process_and_runs_the_next_time(
    cache, compiler, tmp_path
):
    """The compiler ends with the farm; the lock is nobody's; what was half done is removed."""
    pytest.importorskip("farmhand_sqlite")
    pid = tmp_path / "compiler.pid"
    compiler.first("compile", f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 1000")
    script = tmp_path / "decays.py"
    script.write_text(SCRIPT.format(helpers=os.path.dirname(__file__), cache=str(cache), taus=TAUS))
    with subprocess.Popen([sys.executable, script], cwd=tmp_path) as program:
        wait_for(pid)
        program.kill()
    wait_until(lambda: not Path("/proc", pid.read_text().strip()).exists(), "the compiler to end")
    assert "building" in contents(cache)

    again = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=4 * DEADLINE
    )

    assert again.stdout.split() == ["4", "0"], again.stderr
    assert contents(cache) == {"so", "lock"}
