"""What is said of a call that cannot go on a cluster, before anything runs there."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

import farmhand
from cluster_tasks import FAST, slow, square
from clusters import LOOPBACK, free_port
from farmhand import FarmhandError, TaskNotPicklable, UnknownName, UsageError, run_tasks
from farmhand.testing.frontends import RecordingFrontend
from farmhand_dask import DaskExecutor


def refused(store, executor, kind=FarmhandError, task=square, **kwds):
    """What `run_tasks` says of it; nothing is stored."""
    with pytest.raises(kind) as caught:
        run_tasks(store, task, range(5), **{**FAST, "executor": executor, **kwds})
    assert len(store) == len(list(store.records())) == 0
    return str(caught.value)


def test_an_address_that_does_not_answer_is_named(store):
    """After a time-out of a few seconds, in one sentence."""
    address = f"tcp://{LOOPBACK}:{free_port()}"
    text = refused(store, f"dask:{address}", UsageError)
    assert address in text
    assert "\n" not in text.strip()


@pytest.mark.parametrize("address", ["cows", "tcp://", "ftp://host:1"])
def test_an_address_that_is_none_is_named(store, address):
    assert address in refused(store, f"dask:{address}", UsageError)


def test_what_is_no_cluster_is_named(store):
    assert "5" in refused(store, DaskExecutor(5), UsageError)


def test_a_task_that_cannot_travel_is_refused_before_anything_starts(store, cluster):
    """With the part at fault, as for processes of this computer."""
    cows = (cow for cow in ("moo", "mu"))

    def milk(x):
        return cows, x

    assert "cows" in refused(store, DaskExecutor(cluster.address), TaskNotPicklable, task=milk)


def test_forked_processes_are_refused(store, cluster):
    """They would be copies of this process, which is elsewhere."""
    text = refused(store, DaskExecutor(cluster.address), UsageError, start_method="fork")
    assert "spawn" in text


BLOCKER = """
import importlib.metadata, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
for name in [name for name in sys.modules if name.partition(".")[0] in {names!r}]:
    del sys.modules[name]

def without(name, from_name=importlib.metadata.Distribution.from_name):  # Dask loads this twice
    if name.replace("-", "_") in {names!r}:
        raise importlib.metadata.PackageNotFoundError(name)
    return from_name(name)
importlib.metadata.Distribution.from_name = without
"""


@pytest.mark.parametrize(
    ("name", "missing"),
    [("farmhand", "has no farmhand and no farmhand-dask"), ("farmhand_dask", "has no farmhand-dask")],
)
def test_a_worker_without_farmhand_is_named_before_the_run_starts(cluster, store, tmp_path, name, missing):
    """With what to install there; another worker that has it does not make it right."""
    blocker = tmp_path / "blocker.py"
    blocker.write_text(BLOCKER.format(names={name}))
    without = cluster.worker(options=["--preload", blocker])
    text = refused(store, DaskExecutor(cluster.address), UsageError)
    assert f"the Dask worker {without.address} {missing}: run " in text
    version = farmhand.__version__
    assert f"`pip install farmhand=={version} farmhand-dask=={version}`" in text


BROKEN = """
import sys

class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "farmhand_dask.agent":
            raise OSError("the disk with farmhand_dask cannot be read")

sys.meta_path.insert(0, Broken())
"""


@pytest.mark.parametrize(
    ("preload", "why"),
    [
        (BLOCKER.format(names={"farmhand", "farmhand_dask"}), "has no farmhand and no farmhand-dask"),
        (BROKEN, "the disk with farmhand_dask cannot be read"),
    ],
    ids=["without farmhand", "farmhand does not load"],
)
def test_a_worker_of_no_use_that_comes_later_is_left_alone(cluster, store, tmp_path, caplog, preload, why):
    """The run goes on with the others, and a line in the log says which is not used, and why."""
    path = tmp_path / "preload.py"
    path.write_text(preload)
    usual = {worker.pid for worker in cluster.workers}
    added = []

    def script(snapshot):
        if not added:
            added.append(cluster.start_worker(options=["--preload", path]))
        return []

    items = ((k, str(tmp_path)) for k in itertools.takewhile(lambda _: not caplog.records, itertools.count()))
    executor, frontend = DaskExecutor(cluster.address), RecordingFrontend(script)
    summary = run_tasks(store, slow, items, gui=False, progress=frontend, executor=executor)
    assert summary.failed == 0
    assert {parent for _, _, parent in store.values()} <= usual
    (record,) = caplog.records
    assert added[0].address in record.getMessage()
    assert why in record.getMessage()
    assert added[0].runs()


def other_pythons():
    """Interpreters of other versions that have distributed, wherever people keep such things."""
    places = [Path(place) for place in os.environ.get("PATH", "").split(os.pathsep)]
    places += [
        Path(place) for place in os.environ.get("FARMHAND_TEST_PYTHONS", "").split(os.pathsep) if place
    ]
    for minor in (12, 13, 14, 11):
        if sys.version_info[:2] != (3, minor):
            for place in places:
                python = place / f"python3.{minor}"
                asked = [python, "-c", "import distributed, dill, pluggy"]
                if (
                    python.exists()
                    and subprocess.run(asked, capture_output=True, check=False).returncode == 0
                ):
                    yield str(python)


@pytest.mark.filterwarnings("ignore::distributed.versions.VersionMismatchWarning")
def test_a_worker_with_another_python_is_named_before_the_run_starts(cluster, store):
    """Which worker, which version, and which ours is: pickles of code do not travel between them."""
    python = next(other_pythons(), None)
    if python is None:
        pytest.skip("there is no other Python that has distributed")
    other = cluster.worker(python=python)
    text = refused(store, DaskExecutor(cluster.address), UsageError)
    assert other.address in text
    assert f"3.{sys.version_info[1]}" in text
    assert Path(python).name.removeprefix("python") in text


PRETENDS = """
import sys
from collections import namedtuple
Version = namedtuple("Version", "major minor micro releaselevel serial")
sys.version_info = Version(3, 99, 1, "final", 0)
sys.version = "3.99.1 (main)"
import platform
platform.python_version = lambda: "3.99.1"
platform.python_version_tuple = lambda: ("3", "99", "1")
"""


@pytest.mark.filterwarnings("ignore::distributed.versions.VersionMismatchWarning")  # Dask says it as well
def test_a_worker_that_says_it_has_another_python_is_named(cluster, store, tmp_path):
    """The same where there is only one Python: this worker pretends."""
    pretends = tmp_path / "pretends.py"
    pretends.write_text(PRETENDS)
    other = cluster.worker(options=["--preload", pretends])
    text = refused(store, DaskExecutor(cluster.address), UsageError)
    assert other.address in text
    assert "3.99" in text


def test_a_plugin_that_cannot_import_distributed_says_what_to_install(tmp_path):
    """Somebody has removed it, or it is broken."""
    code = BLOCKER.format(names={"distributed"}) + (
        "from farmhand import run_tasks\n"
        "run_tasks(':memory:', abs, [1], gui=False, progress='none', executor='dask')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert ran.returncode == 1
    last = ran.stderr.strip().splitlines()[-1]
    assert "distributed" in last
    assert "pip install" in last


def test_without_the_package_its_name_says_what_to_install(store, monkeypatch):
    """farmhand knows the names of its own plugins, also when they are not there."""
    monkeypatch.setattr("farmhand.entrypoints.entry_points", lambda group: [])
    assert "pip install farmhand-dask" in refused(store, "dask:tcp://host:8786", UnknownName)
