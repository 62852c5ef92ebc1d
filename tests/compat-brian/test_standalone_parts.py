"""The parts of C++ standalone mode for which no simulation is compiled."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from farmhand import open_store, run_tasks
from farmhand.cpus import usable_cpus
from farmhand_brian import CompilationFailed, SimulationFailed, StandaloneTask
from farmhand_brian.compiling import fingerprint, make, make_once
from farmhand_brian.progress import VARIABLE, follow
from waiting import DEADLINE, wait_for

FAST = {"gui": False, "progress": "none"}


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def project(folder, makefile):
    folder.mkdir(exist_ok=True)
    (folder / "makefile").write_text(makefile)
    return folder


# -- compiling ---------------------------------------------------------------------------------------

SAYS_JOBS = "all:\n\t@echo $(MAKEFLAGS) > flags\n\t@echo made > main\n"


@pytest.mark.parametrize(
    ("arguments", "jobs"),
    [(["-j"], "-j3"), ([], ""), (["-j", "2"], "-j2"), (["-j7"], "-j7"), (["-k", "-j"], "-j3")],
)
def test_a_process_compiles_with_its_share_of_the_cpus(tmp_path, monkeypatch, arguments, jobs):
    """Brian's default is without limit, in each process; what a user says counts."""
    monkeypatch.setattr("farmhand_brian.compiling.cpu_count", lambda: 3)
    folder = project(tmp_path / "p", SAYS_JOBS)
    make(folder, "make", arguments)
    flags = [word for word in (folder / "flags").read_text().split() if word.startswith("-j")]
    assert flags == ([jobs] if jobs else [])


def test_an_error_shows_the_end_of_what_the_compiler_said(tmp_path):
    """And where the sources are."""
    folder = project(tmp_path / "p", "all:\n\t@seq 100; echo 'error: no such word' >&2; exit 1\n")
    with pytest.raises(CompilationFailed, match="error: no such word") as failure:
        make(folder, "make", [])
    assert str(folder) in str(failure.value)
    assert "\n99\n" in str(failure.value)
    assert "\n50\n" not in str(failure.value)


def test_a_missing_make_is_named(tmp_path):
    """It is what most people lack."""
    with pytest.raises(CompilationFailed, match="'no-such-make' could not be started"):
        make(project(tmp_path / "p", ""), "no-such-make", [])


def build(item, makefile, gate):
    """Wait for all processes, then make the same program in a folder of this one."""
    from farmhand import scratch_directory

    Path(gate, str(item)).touch()
    for other in range(3):
        wait_for(Path(gate, str(other)))
    folder = project(scratch_directory() / "model", makefile)
    ours = make_once(folder, "make", ["-j"])
    return ours, (folder / "main").read_text(), (folder / "flags").exists() and (folder / "flags").read_text()


def test_processes_that_need_the_same_program_compile_it_once(tmp_path):
    """With all CPUs, since the others wait for it."""
    (tmp_path / "gate").mkdir()
    store = open_store(":memory:")
    items = [(item, SAYS_JOBS, str(tmp_path / "gate")) for item in range(3)]
    run_tasks(store, build, items, poolsize=3, **FAST)
    ours, programs, flags = zip(*store.values(), strict=True)
    assert sorted(ours) == [False, False, True]
    assert set(programs) == {"made\n"}
    (said,) = filter(None, flags)
    assert f"-j{usable_cpus()}" in said


def test_a_model_that_is_made_again_is_the_same_program(tmp_path):
    """And leaves nothing behind, by which the next one would be another."""
    folder = project(tmp_path / "p", "all:\n\t@echo made > main\n")
    assert make_once(folder, "make", [])
    assert not make_once(folder, "make", [])
    assert sorted(path.name for path in folder.iterdir()) == ["main", "makefile"]


def test_another_model_in_the_same_folder_leaves_the_first_ones_program_whole(tmp_path):
    """Even by a linker that writes into the file that is there, which is the others' program, too."""
    folder = project(tmp_path / "p", "all:\n\t@echo first > main\n")
    make_once(folder, "make", [])
    project(folder, "all:\n\t@echo second > main\n")
    make_once(folder, "make", [])
    project(folder, "all:\n\t@echo first > main\n")
    assert not make_once(folder, "make", [])
    assert (folder / "main").read_text() == "first\n"


def test_a_process_that_is_killed_while_it_compiles_blocks_nobody(tmp_path):
    """Its place is taken by the next; half a program is no program."""
    (tmp_path / "gate").mkdir()
    once = tmp_path / "once"
    kill = f"mkdir {once} 2>/dev/null && kill -9 $$(cut -d' ' -f4 /proc/$$PPID/stat); true"
    dies = f"all:\n\t@echo half > main\n\t@{kill}\n\t@echo made > main\n"
    store = open_store(":memory:")
    items = [(item, dies, str(tmp_path / "gate")) for item in range(3)]
    run_tasks(store, build, items, poolsize=3, errors="collect", **FAST)
    assert [record.error.kind for record in store.failures()] == ["died"]
    assert [program for _, program, _ in store.values()] == ["made\n"] * 2


def test_other_sources_are_another_program(tmp_path):
    """One letter is enough; parameters, results and what was compiled are no sources."""
    folder = project(tmp_path / "p", "all:")
    for name in ("code_objects", "static_arrays", "results"):
        (folder / name).mkdir()
    before = fingerprint(folder)
    for name in ("static_arrays/a", "results/v", "main", "main.o", "make.deps"):
        (folder / name).write_text("another")
    assert fingerprint(folder) == before
    (folder / "code_objects" / "a.cpp").write_text("a")
    assert fingerprint(folder) != before


# -- progress ----------------------------------------------------------------------------------------


def write(text):
    """As a program does that was started now."""
    with open(os.environ[VARIABLE], "a") as file:
        file.write(text)


def test_all_that_a_program_said_has_arrived_when_it_has_ended():
    """The last word says whether the simulation was stopped early."""
    seen = []
    with follow(lambda *words: seen.append(words)):
        for count in range(1000):
            write(f"{count % 2} {count} 0.5 1e-3 2.5\n")
    assert seen == [(count % 2, count, 0.5, 1e-3, 2.5) for count in range(1000)]


def test_what_a_program_writes_last_may_be_cut():
    """On a full disk, or when it was killed."""
    seen = []
    with follow(lambda *words: seen.append(words)):
        write("0 1 0.5 0 1\n0 1 0.\n0 2 0.7 0")
    assert seen == [(0, 1, 0.5, 0, 1)]


def test_an_error_of_the_report_is_raised_where_the_program_was_run():
    """As in runtime mode; it happens in another thread."""

    def report(*words):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), follow(report):
        write("0 1 0.5 0 1\n0 2 0.7 0 1\n")
    assert VARIABLE not in os.environ


# -- without Brian 2 ---------------------------------------------------------------------------------


def run(code, **variables):
    started = {"capture_output": True, "text": True, "timeout": 5 * DEADLINE}
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **variables}, **started)
    return done.stdout + done.stderr


def test_importing_it_imports_no_brian():
    """Which takes seconds, and draws in a compiler."""
    assert run("import sys, farmhand_brian; print('brian2' in sys.modules, 'numpy' in sys.modules)") == (
        "False False\n"
    )


@pytest.mark.parametrize(
    "use",
    [
        "f.standalone().__enter__()",
        "f.standalone_report(print)",
        "type('T', (f.StandaloneTask,), {'build': print})()",
    ],
)
def test_a_missing_brian_is_one_clear_error(use):
    """It says what to install."""
    printed = run(f"import sys; sys.modules['brian2'] = None; import farmhand_brian as f\n{use}")
    assert printed.splitlines()[-1].startswith("ModuleNotFoundError: C++ standalone mode needs Brian 2")
    assert "pip install brian2" in printed.splitlines()[-1]


# -- with Brian 2, but no compiler -------------------------------------------------------------------

MODEL = """
from brian2 import *
from farmhand_brian import StandaloneTask, standalone
prefs.devices.cpp_standalone.make_cmd_unix = "sh -c 'touch main'"

class Model(StandaloneTask):
    def build(self):
        self.G = NeuronGroup(1, "v : 1")
        run(1*ms)
"""


def test_a_model_is_gone_when_another_is_built_on_the_device():
    """Brian has one device in a process; the older task must not give the younger one's results."""
    pytest.importorskip("brian2")
    printed = run(f"{MODEL}\nfirst, second = Model(), Model()\nfirst.run()")
    assert "RuntimeError: the model of this Model is gone" in printed


def test_a_model_has_the_same_sources_in_each_process():
    """Though Brian has clocks in a set, whose order is another in each; else nobody could share a program."""
    pytest.importorskip("brian2")
    code = """
        self.V = [StateMonitor(self.G, "v", record=True, dt=n*ms, name=f"every{n}") for n in range(1, 6)]
        Network(self.G, self.V).run(5*ms)

from farmhand import scratch_directory
from farmhand_brian.compiling import fingerprint
Model()
print(fingerprint(scratch_directory() / "model"))
"""
    code = MODEL.replace("        run(1*ms)\n", code)
    found = {run(code, PYTHONHASHSEED=str(seed)).splitlines()[-1] for seed in range(3)}
    assert len(found) == 1
    assert re.fullmatch("[0-9a-f]{32}", found.pop())


def drawn_by_models(seed):
    """What the models of two processes have drawn in Python, and what these would draw next."""

    class Drawing(StandaloneTask):
        def build(self, folder):
            import numpy
            from brian2 import NeuronGroup, ms, prefs, run

            prefs.devices.cpp_standalone.make_cmd_unix = "sh -c 'touch main'"
            self.folder, self.drawn = folder, (numpy.random.rand(), random.random())
            self.G = NeuronGroup(1, "v : 1")
            run(1 * ms)

        def __call__(self, item):
            Path(self.folder, str(item)).touch()
            wait_for(Path(self.folder, str(1 - item)))
            return self.drawn

    store = open_store(":memory:")
    with tempfile.TemporaryDirectory() as folder:
        run_tasks(store, Drawing, [0, 1], poolsize=2, initargs=(folder,), seed=seed, **FAST)
    return store.values()


def test_models_draw_the_same_in_all_processes_of_a_run():
    """Or else each would simulate another network; with a seed it is the same network in each run."""
    pytest.importorskip("brian2")
    (one, other), (seeded, _), (again, _) = drawn_by_models(None), drawn_by_models(7), drawn_by_models(7)
    assert one == other != seeded
    assert seeded == again


def test_errors_say_what_they_were_given():
    """They cross processes as text, and may be pickled by whoever has them."""
    import pickle

    for error in (CompilationFailed("make ended", "no", "/tmp/x"), SimulationFailed("signal 6", "cd x")):
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        assert all(str(part) in str(error) for part in error.args if isinstance(part, str))
