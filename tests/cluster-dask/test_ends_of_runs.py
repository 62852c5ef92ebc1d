"""What is left of a run on a Dask cluster, and of a link that has ended: nothing that another would meet."""

from __future__ import annotations

import os
import signal

import pytest

from cluster_tasks import FAST, slow, square
from clusters import agents_in
from farmhand import MemoryStore, UsageError, run_tasks
from farmhand.events import ProcessDied
from farmhand.testing.executors import Drive
from farmhand_dask import DaskExecutor
from farmhand_dask.links import Intake, open_link
from waiting import wait_until

_SOON = 30.0  # seconds; an agent that waits for a caller which never comes has more patience


def agents(cluster):
    return [run for runs in cluster.client.run(agents_in).values() for run in runs]


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "relayed"])
def test_a_run_that_ends_before_it_has_begun_gives_the_threads_back(cluster, direct):
    """Its leases may be about to begin: Dask cannot end them then, and nobody comes to say it is over."""
    for _ in range(3):
        drive = Drive(DaskExecutor(cluster.address, direct=direct), square)
        for number in range(4):
            drive.executor.start(number)
        drive.look(0)
        drive.executor.close()
        wait_until(lambda: not agents(cluster), "the agents to have ended", _SOON)


def test_an_executor_object_serves_one_run_at_a_time(cluster, store):
    """A second one is refused, and does the first no harm; when that is over, there can be another."""
    executor = DaskExecutor(cluster.address)

    def items():
        with pytest.raises(UsageError, match="at work for another run"):
            run_tasks(MemoryStore(), square, [1], executor=executor, **FAST)
        yield from range(10)

    assert run_tasks(store, square, items(), executor=executor, **FAST).done == 10
    assert run_tasks(store, square, [1], executor=executor, **FAST).done == 1


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "relayed"])
def test_an_agent_serves_one_link_and_a_second_one_ends_it(cluster, direct):
    """Its caller has given up the first: processes that nobody would hear of must not go on."""
    drive = Drive(DaskExecutor(cluster.address, direct=True), square)
    try:
        drive.start(0)
        said = []
        ((address, run),) = (
            (address, run) for address, runs in cluster.client.run(agents_in).items() for run in runs
        )
        tell = lambda what, link, about: said.append(what)  # noqa: E731
        cluster.client.sync(open_link, cluster.client, address, run, tell, Intake(), direct)
        assert said == ["ended"]
        assert drive.next(ProcessDied, 0).kind == "lost"
        drive.start(0)  # with another agent
    finally:
        drive.executor.close()
    wait_until(lambda: not agents(cluster), "the agents to have ended", _SOON)


def test_a_worker_that_hangs_is_given_up_with_the_scheduler(own_cluster, store, tmp_path, monkeypatch):
    """Its connection stands, and would never say that nobody is there; what was on it runs elsewhere."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "3s")
    cluster = own_cluster(2)
    hangs = cluster.workers[0]

    def items():
        for k in range(40):
            if k == 8:
                os.kill(hangs.pid, signal.SIGSTOP)
            yield k, str(tmp_path)

    try:
        summary = run_tasks(store, slow, items(), executor=DaskExecutor(cluster.address), **FAST)
    finally:
        hangs.kill()
    assert (summary.done, summary.failed) == (40, 0)
    assert len(store) == 40
