"""Clusters that are far away: in networks of their own, behind lines that take their time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cache

import dask.config
import pytest

from cluster_tasks import FAST, slow, square
from clusters import LOOPBACK, ended, free_port
from farmhand import run_tasks
from farmhand_dask import DaskExecutor
from namespaces import Namespace

both_ways = pytest.mark.parametrize("direct", [True, False], ids=["direct", "relayed"])
LATENCY = 0.025  # seconds each way: from one city to another


class Watched(DaskExecutor):
    """Keeps how many items each message has."""

    def __init__(self, *args, **kwds):
        super().__init__(*args, **kwds)
        self.sizes = []

    def send(self, number, indices, payload, run):
        self.sizes.append(len(run))
        super().send(number, indices, payload, run)


@cache
def why_not() -> str:
    return Namespace.refused()


@pytest.fixture
def namespace(own_cluster) -> Iterator[Callable[..., Namespace]]:
    """Makes network namespaces, which are gone after the test."""
    if why_not():
        pytest.skip(f"no network namespaces here: {why_not()}")
    made: list[Namespace] = []

    def make(*args: float) -> Namespace:
        made.append(Namespace(*args))
        return made[-1]

    yield make
    for each in made:
        each.close()


def far_worker(cluster, line, seconds):
    """A worker to which, and from which, everything takes so long."""
    port = free_port()
    contact = line(f"tcp://{LOOPBACK}:{port}", seconds).address
    options = ["--listen-address", f"tcp://{LOOPBACK}:{port}", "--contact-address", contact]
    return cluster.worker(
        host="", options=options, scheduler=line(cluster.address, seconds).address, nthreads=2
    )


@both_ways
def test_tiny_items_do_not_wait_for_the_way_each(cluster, line, store, direct):
    """Where the way is long, more of them are sent at once."""
    far = far_worker(cluster, line, LATENCY)
    executor = Watched(line(cluster.address, LATENCY).address, direct=direct, workers=[far.name])
    summary = run_tasks(store, square, range(5000), executor=executor, **FAST)
    assert summary.done == 5000
    assert sorted(store.values()) == [k * k for k in range(5000)]
    assert len(executor.sizes) < 500


def test_a_worker_in_another_network_is_reached_there(own_cluster, namespace, line, store, tmp_path):
    """It has an address of its own; where the kernel can delay what passes, it does."""
    cluster = own_cluster(host="0.0.0.0")
    port = cluster.address.rpartition(":")[2]
    pids = set()
    for _ in range(2):
        network = namespace(LATENCY)
        scheduler = f"tcp://{network.here}:{port}"
        if not network.delayed:
            scheduler = line(scheduler, LATENCY, network.here).address
        worker = cluster.worker(before=network.before, host=network.there, scheduler=scheduler)
        assert network.there in worker.address
        pids.add(worker.pid)
    executor = DaskExecutor(f"tcp://{LOOPBACK}:{port}", direct=True)

    def parents():
        return {parent for _, _, parent in store.values()}

    numbers = itertools.takewhile(lambda _: parents() != pids, itertools.count())
    summary = run_tasks(store, slow, ((k, str(tmp_path)) for k in numbers), executor=executor, **FAST)
    assert summary.failed == 0
    assert parents() == pids


def test_a_computer_that_vanishes_costs_nothing_but_time(
    own_cluster, namespace, store, tmp_path, monkeypatch
):
    """No connection ends that would say so, but Dask gives up who is silent for long (here 12 s)."""
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP", "12s")
    cluster = own_cluster(host="0.0.0.0")
    port = cluster.address.rpartition(":")[2]
    networks = [namespace(), namespace()]
    stays, goes = (
        cluster.worker(before=each.before, host=each.there, scheduler=f"tcp://{each.here}:{port}")
        for each in networks
    )
    read = []

    def items():
        left = 20
        while left:
            read.append(len(read))
            yield read[-1], str(tmp_path)
            if left < 20:
                left -= 1
            elif {parent for _, _, parent in store.values()} == {stays.pid, goes.pid}:
                networks[1].cut()
                left -= 1

    try:
        with dask.config.set({"distributed.comm.timeouts.tcp": "12s"}):
            executor = DaskExecutor(cluster.address, direct=True)
            summary = run_tasks(store, slow, items(), executor=executor, **FAST)
    finally:
        goes.kill()
    assert (summary.done, summary.failed) == (len(read), 0)
    assert sorted(index for index, _, _ in store.values()) == read


def test_where_workers_cannot_be_reached_the_scheduler_passes_everything_on(
    own_cluster, namespace, caller, tmp_path
):
    """The script knows the way to the scheduler alone; nobody has to say so."""
    cluster = own_cluster(host="0.0.0.0")
    port = cluster.address.rpartition(":")[2]
    there, script = namespace(), namespace()
    cluster.worker(before=there.before, host=there.there, scheduler=f"tcp://{there.here}:{port}", nthreads=2)
    code = """
store = open_store(":memory:")
def items():
    while len({pid for _, pid, _ in store.values()}) < 2:
        yield 0, folder
summary = run_tasks(store, slow, items(), executor=DaskExecutor(address), **FAST)
print(summary.failed, len({pid for _, pid, _ in store.values()}))
"""
    process = caller(code, f"tcp://{script.here}:{port}", before=script.before)
    assert ended(process) == (0, "0 2\n", "")
