"""The clusters that tests run on; see `clusters`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dask
import pytest

from cluster_tasks import pids_in
from clusters import LOOPBACK, ProcessCluster, is_alive, process_cluster
from delayed import Line
from farmhand import MemoryStore

_OPEN: list[ProcessCluster] = []  # whose logs are shown when a test fails


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        for cluster in _OPEN:
            report.sections += cluster.logs()
    return report


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Dask leaves a folder where it may write: here, in this process and in those that are started."""
    monkeypatch.setenv("DASK_TEMPORARY_DIRECTORY", str(tmp_path))
    with dask.config.set({"temporary-directory": str(tmp_path)}):
        yield


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCluster]:
    with process_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        _OPEN.append(cluster)
        yield cluster
        _OPEN.remove(cluster)


@pytest.fixture
def cluster(_shared: ProcessCluster) -> Iterator[ProcessCluster]:
    """Two workers of two threads each; after each test all are free.

    A test may add workers, which are gone for the next one, and end some, in whose place there are others;
    the scheduler must not be harmed.
    """
    _shared.have(2, nthreads=2)
    yield _shared
    _shared.wait_until_free()


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Callable[..., ProcessCluster]]:
    """Makes a cluster whose scheduler may be harmed, or is another one than usual; see `process_cluster`."""
    made: list[Any] = []

    def make(workers: int = 0, **options: Any) -> ProcessCluster:
        context = process_cluster(tmp_path / f"cluster-{len(made)}", workers, **options)
        made.append(context)
        cluster: ProcessCluster = context.__enter__()
        _OPEN.append(cluster)
        return cluster

    yield make
    for context in made:
        context.__exit__(None, None, None)


@pytest.fixture(autouse=True)
def _forget_clusters() -> Iterator[None]:
    """After the reports of a test, logs of its own clusters are no longer shown."""
    before = _OPEN.copy()
    yield
    _OPEN[:] = before


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Runs a script that calls ``run_tasks``, in a session of its own; it is ended after the test."""
    started: list[subprocess.Popen[str]] = []
    tests = Path(__file__).parent

    def start(code: str, address: str, before: Sequence[str] = (), **options: Any) -> subprocess.Popen[str]:
        script = tmp_path / f"caller{len(started)}.py"
        begin = (
            "import os, sys\n"
            f"sys.path[:0] = {[str(tests), str(tests.parent)]!r}\n"
            "from pathlib import Path\n"
            "from cluster_tasks import *\n"
            "from farmhand import open_store, run_tasks\n"
            "from farmhand_dask import DaskExecutor\n"
            f"folder, address = {str(tmp_path)!r}, {address!r}\n"
        )
        script.write_text(begin + code)
        started.append(
            subprocess.Popen(
                [*before, sys.executable, script],
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                **options,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for pid in filter(is_alive, pids_in(tmp_path)):
        os.kill(pid, 9)  # the test has failed already


@pytest.fixture
def line() -> Iterator[Callable[..., Line]]:
    """Makes a line to an address, which delays what passes, and counts it."""
    lines: list[Line] = []

    def make(address: str, seconds: float = 0.0, host: str = LOOPBACK) -> Line:
        lines.append(Line(address, seconds, host))
        return lines[-1]

    yield make
    for each in lines:
        each.close()
