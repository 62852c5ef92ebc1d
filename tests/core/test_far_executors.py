"""What a farm makes of an executor whose processes are elsewhere: room that changes, places that are lost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

import pytest

from farm_tasks import FAST, square
from farmhand import MemoryStore, UnknownName, UsageError, run_tasks
from farmhand.errors import FarmhandError
from farmhand.events import (
    ExecutorEvent,
    ExecutorFailed,
    ItemsDone,
    MemoryLow,
    ProcessDied,
    ProcessReady,
    ProcessStarted,
    Resize,
    RoomChanged,
    RoundTrip,
)
from farmhand.local.supervise import LocalExecutor
from farmhand.scheduler import Scheduler
from farmhand.testing.executors import Drive, ExecutorConformance
from farmhand.testing.frontends import RecordingFrontend
from farmhand.testing.scheduling import ScriptedExecutor
from farmhand.values import replace


class Cluster(ScriptedExecutor):
    """Processes on computers of its own, room for some of them, and news at the first look.

    ``seen`` keeps the processes from going on until it holds, so that somebody can have seen them.
    """

    def __init__(
        self, room: int, *news: ExecutorEvent, seen: Callable[[], object] = lambda: True, **options
    ) -> None:
        super().__init__(**options)
        self._room = room
        self._news = list(news)
        self._seen = seen
        self._woken_up = threading.Event()
        self.started: set[int] = set()
        self.begun_with = 0

    def room(self) -> int:
        return self._room

    def open(self, job) -> None:
        self.begun_with = job.processes
        super().open(job)

    def start(self, number: int) -> None:
        self.started.add(number)
        super().start(number)

    def wait(self, timeout: float | None) -> list[ExecutorEvent]:
        if self._news:
            news, self._news = self._news, []
            return news
        if not self._events and not self._seen():
            return self._nothing(timeout)
        return [
            replace(event, pid=100 + event.number, computer=f"node{event.number}")
            if isinstance(event, ProcessStarted)
            else event
            for event in super().wait(timeout)
        ]

    def wake(self) -> None:
        self._woken_up.set()
        super().wake()

    def _nothing(self, timeout: float | None) -> list[ExecutorEvent]:
        """What an executor says when nothing happens: after so long, or as soon as it is woken."""
        self._woken_up.wait(timeout)
        self._woken_up.clear()
        return []


class FullCluster(Cluster):
    """All places are taken until ``seen`` holds."""

    def wait(self, timeout: float | None) -> list[ExecutorEvent]:
        return super().wait(timeout) if self._seen() else self._nothing(timeout)


def farm(executor: object, items: Sequence[int] = range(50), **options):
    store = MemoryStore()
    summary = run_tasks(store, square, items, executor=executor, **{**FAST, **options})
    assert (summary.done, summary.failed) == (len(items), 0)
    return store


# -- room ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("poolsize", "processes"), [(0, 6), (-1, 5), (-4, 2), (2, 2), (9, 9)])
def test_a_farm_has_as_many_processes_as_there_is_room_for(poolsize, processes):
    """As on one computer: 0 is all, -1 all but one; a number is taken as it is."""
    cluster = Cluster(6)
    farm(cluster, poolsize=poolsize)
    assert cluster.begun_with == processes
    assert cluster.started == set(range(processes))


@pytest.mark.parametrize(("poolsize", "processes"), [(0, 8), (-1, 7), (2, 2)])
def test_a_farm_grows_with_its_cluster(poolsize, processes):
    """An adaptive cluster begins with little and gives more when there is work."""
    cluster = Cluster(3, RoomChanged(4), RoomChanged(8))
    farm(cluster, poolsize=poolsize)
    assert cluster.started == set(range(processes))


def test_where_room_is_lost_the_number_of_processes_stays():
    """Those without a place wait for one, which may come again; and less room than that is no more room."""
    cluster = Cluster(6, RoomChanged(0), RoomChanged(2), RoomChanged(5))
    frontend = RecordingFrontend()
    farm(cluster, progress=frontend)
    assert {snapshot.wanted for snapshot in frontend.snapshots} == {6}


@pytest.mark.parametrize("poolsize", [0, -2])
def test_a_farm_waits_for_a_cluster_that_has_no_worker_yet(poolsize):
    """The batch system may take its time: one process is asked for, and more with the first workers."""
    cluster = Cluster(0, RoomChanged(1), RoomChanged(5))
    farm(cluster, poolsize=poolsize)
    assert cluster.begun_with == 1
    assert cluster.started == set(range(5 + poolsize))


def test_less_room_than_is_to_be_left_is_an_error():
    """As on a computer with two CPUs."""
    with pytest.raises(UsageError, match=r"poolsize=-2 leaves no process.* 2 "):
        farm(Cluster(2), poolsize=-2)


def test_there_are_no_more_processes_than_items_whatever_room_there_is():
    """A thousand places are no reason to start a thousand processes for two items."""
    cluster = Cluster(1, RoomChanged(1000))
    farm(cluster, range(2))
    assert cluster.started <= {0, 1}


def test_who_has_said_how_many_processes_there_are_is_obeyed():
    """From then on the room does not matter any more."""
    cluster = Cluster(2, RoomChanged(9))
    frontend = RecordingFrontend({0: [Resize(3)]})
    farm(cluster, progress=frontend)
    assert cluster.started == {0, 1, 2}


# -- what is known of processes elsewhere ----------------------------------------------------------


def test_it_is_shown_on_which_computer_a_process_is():
    """Its pid is a number there; and how busy the CPUs are here says nothing of the run."""
    frontend = RecordingFrontend()
    shown = lambda: [s for s in frontend.snapshots if any(p.computer for p in s.processes)]  # noqa: E731
    cluster = Cluster(2, seen=lambda: len(shown()) > 1)
    farm(cluster, progress=frontend)
    snapshot = shown()[0]
    assert [(p.number, p.pid, p.computer) for p in snapshot.processes] == [
        (0, 100, "node0"),
        (1, 101, "node1"),
    ]
    assert snapshot.cpu is None


def test_status_says_on_how_many_computers_a_run_is(tmp_path):
    """Asked while it runs, from another process."""
    asked: list[subprocess.Popen[str]] = []
    frontend = RecordingFrontend()

    def answered() -> bool:
        if not any(process.computer for snapshot in frontend.snapshots for process in snapshot.processes):
            return False
        if not asked:
            command = [sys.executable, "-m", "farmhand", "status", tmp_path / "rates.db"]
            asked.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return asked[0].poll() is not None

    options = {**FAST, "progress": frontend, "poolsize": 3}
    run_tasks(tmp_path / "rates.db", square, range(5), executor=Cluster(3, seen=answered), **options)
    (status,) = asked
    told = " ".join(status.communicate()[0].split())
    assert status.returncode == 0
    assert "; 3 processes on 3 computers" in told


def test_a_process_without_a_place_is_shown_as_waiting():
    """To call it starting for hours would hide what it lacks; and to say so at once would flicker."""
    frontend = RecordingFrontend()
    states = lambda: [{p.state for p in s.processes} for s in frontend.snapshots]  # noqa: E731
    farm(FullCluster(2, seen=lambda: {"waiting"} in states()), progress=frontend)
    assert states()[0] == {"starting"}
    waiting = frontend.snapshots[states().index({"waiting"})]
    assert waiting.cpu is None, "how busy this computer is says nothing"
    assert not any("waiting" in some for some in states()[states().index({"waiting"}) + 3 :])


def test_that_memory_runs_short_here_is_no_reason_for_others_to_wait():
    """The caller may be on a login node, whose memory many share."""
    scheduler = Scheduler(2, 10)
    scheduler.begin(0.0)
    scheduler.handle(MemoryLow(True), 0.0)
    for number in range(2):
        scheduler.handle(ProcessStarted(number, 1, "node1"), 0.0)
    assert all(scheduler.handle(ProcessReady(number), 0.0) for number in range(2)), "one gets nothing to do"
    assert scheduler.handle(MemoryLow(True), 0.0) == []


# -- losses ----------------------------------------------------------------------------------------


class Losing(LocalExecutor):
    """Real processes, whose ends are told as if their computers were lost."""

    def wait(self, timeout: float | None) -> list[ExecutorEvent]:
        return [
            replace(event, kind="lost", reason="no word from its computer")
            if isinstance(event, ProcessDied) and event.reason.startswith("signal 9")
            else event
            for event in super().wait(timeout)
        ]


class TestLosing:
    """A part of the contract that an executor with computers to lose inherits, tried on one."""

    drive = ExecutorConformance.drive
    start_method = "spawn"
    gate, at_gate, open_gate = (
        ExecutorConformance.gate,
        ExecutorConformance.at_gate,
        ExecutorConformance.open_gate,
    )
    test_a_process_that_is_lost = ExecutorConformance.test_a_process_that_is_lost_with_its_computer_says_so

    @pytest.fixture
    def executor_factory(self):
        return Losing

    @pytest.fixture
    def lose(self):
        return lambda executor, number: executor.kill(number)


def be_lost(item, folder):
    """Its process is gone, the first few times."""
    for attempt in range(item):
        try:
            os.close(os.open(os.path.join(folder, f"{item}-{attempt}"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        os.kill(os.getpid(), 9)
    return item


def test_items_of_lost_processes_run_again_by_themselves(tmp_path):
    """Without any `retries`; every attempt is in the store, and one that is lost too often is a failure."""
    store = MemoryStore()
    items = [(k, str(tmp_path)) for k in (0, 1, 2, 3, 9)]
    summary = run_tasks(store, be_lost, items, poolsize=2, executor=Losing(), errors="collect", **FAST)
    assert sorted(store.values()) == [0, 1, 2, 3]
    assert summary.kinds == {"lost": 1}
    (failure,) = store.failures()
    assert (failure.index, failure.attempts) == (4, 4)
    assert "lost 4 times" in failure.error.message
    assert "no word from its computer" in failure.error.message
    retried = [(record.index, record.error.kind) for record in store.retried()]
    assert sorted(retried) == sorted(
        [(1, "lost")] + [(2, "lost")] * 2 + [(3, "lost")] * 3 + [(4, "lost")] * 3
    )


# -- an executor that cannot go on -----------------------------------------------------------------


class ClusterGone(FarmhandError):
    """What a plugin may raise."""


class Failing(Cluster):
    """After its first results it cannot go on."""

    def wait(self, timeout: float | None) -> list[ExecutorEvent]:
        events = super().wait(timeout)
        if any(isinstance(event, ItemsDone) for event in events):
            events.append(ExecutorFailed(ClusterGone("the cluster has hung up")))
        return events


def test_an_executor_that_cannot_go_on_ends_the_run_with_its_error():
    """What has finished is stored, and the rest can be resumed elsewhere."""
    store = MemoryStore()
    with pytest.raises(ClusterGone, match="hung up"):
        run_tasks(store, square, range(50), executor=Failing(2), **FAST)
    before = len(store)
    assert 0 < before < 50
    summary = run_tasks(store, square, range(50), executor=Cluster(2), resume=True, **FAST)
    assert (summary.skipped, summary.done) == (before, 50 - before)


# -- the contract ----------------------------------------------------------------------------------


def test_what_is_said_of_no_process_does_not_confuse_a_drive():
    """How long the way is may be told at any time."""
    cluster = Cluster(3, RoundTrip(0.01), RoomChanged(2))
    drive = Drive(cluster, square)
    drive.start(0)
    assert drive.room == 3
    assert [type(event) for event in drive.of_processes()] == [ProcessStarted, ProcessReady]


# -- objects that plugins make executors of --------------------------------------------------------

PLUGIN = """
    import farmhand
    from farmhand.testing.scheduling import ScriptedExecutor

    made = []

    class Grid:
        pass

    class BigGrid(Grid):
        pass

    def make(argument):
        made.append(argument)
        return ScriptedExecutor()

    @farmhand.hookimpl
    def farmhand_executors():
        return {"grid": make, "gridlike.Grid": make}
"""


@pytest.fixture
def grid(plugins):
    """The module of a plugin that makes executors of grids."""
    plugins(gridlike=PLUGIN)
    import gridlike

    return gridlike


def test_a_plugin_makes_an_executor_of_an_object(grid):
    """It claims the name of a class, and need not import it; what is derived from that is as good."""
    clusters = [grid.Grid(), grid.BigGrid()]
    for cluster in clusters:
        farm(cluster, poolsize=1)
    farm("grid:here", poolsize=1)
    assert grid.made == [*clusters, "here"]


def test_classes_are_no_names(grid):
    """Nobody need type them; they are not listed with those that can be typed."""
    for name in ("gridlike.Grid", "cloud"):
        with pytest.raises(UnknownName, match=f"'{name}'; known: (dask, )?grid, local$"):
            farm(name)


@pytest.mark.parametrize("module", ["distributed.client", "dask_jobqueue.slurm"])
def test_an_object_of_dask_needs_a_plugin(monkeypatch, module):
    """Which is named."""
    monkeypatch.setattr("farmhand.entrypoints.entry_points", lambda group: [])
    client = type("Client", (), {"__module__": module})()
    with pytest.raises(UsageError, match="pip install farmhand-dask"):
        farm(client)


@pytest.mark.parametrize(
    "thing", [None, 3, object(), ["local"], LocalExecutor], ids=lambda thing: type(thing).__name__
)
def test_what_nobody_can_make_an_executor_of_is_refused(thing):
    """Before anything begins."""
    with pytest.raises(UsageError, match=r"executor must be an? ") as caught:
        farm(thing)
    assert "farmhand-dask" not in str(caught.value)
