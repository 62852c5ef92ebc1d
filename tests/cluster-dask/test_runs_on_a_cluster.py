"""What holds for a run on one computer holds on a Dask cluster; nothing happens to its workers here."""

from __future__ import annotations

import itertools
import os
from collections import Counter, defaultdict

import dask.config
import psutil
import pytest
from distributed import Client

from cluster_tasks import (
    FAST,
    MB,
    Counting,
    begun_in,
    deed,
    device,
    draw,
    gated,
    large,
    large_and_said,
    own_pid,
    parent,
    pids_in,
    reporting,
    slow,
    square,
)
from clusters import certificates, ended, is_alive, wait_until_gone
from farmhand import MemoryStore, UsageError, open_store, run_tasks
from farmhand.events import Finish, Pause, Resize, Resume, Stop
from farmhand.testing.executors import Drive
from farmhand.testing.frontends import RecordingFrontend
from farmhand_dask import DaskExecutor
from waiting import wait_for, wait_until, wait_until_quiet

both_ways = pytest.mark.parametrize("direct", [True, False], ids=["direct", "relayed"])


@pytest.fixture
def run(cluster, store):
    """``run_tasks`` on the shared cluster, into `store`, with the controls that a script gives out."""

    def run(task, items, script=None, direct=None, **kwds):
        frontend = {} if script is None else {"progress": RecordingFrontend(script)}
        executor = DaskExecutor(cluster.address, direct=direct)
        return run_tasks(store, task, items, **{**FAST, "executor": executor, **frontend, **kwds})

    return run


# -- completeness ----------------------------------------------------------------------------------


@both_ways
def test_every_item_is_stored_once(run, store, direct):
    """By processes on both workers; the results are joined to their items."""
    summary = run(square, range(5000), direct=direct)
    assert (summary.done, summary.failed) == (5000, 0)
    assert Counter(store.values()) == Counter(k * k for k in range(5000))


def test_there_are_as_many_processes_as_threads(run, store, cluster, tmp_path):
    """By default every thread of every worker stands for one."""
    workers, parents = {worker.pid for worker in cluster.workers}, set()

    def script(snapshot):
        if len(begun_in(tmp_path)) == 4 and not (tmp_path / "gate").exists():
            parents.update(psutil.Process(pid).ppid() for pid in pids_in(tmp_path))
            (tmp_path / "gate").touch()
        return []

    run(gated, [(k, str(tmp_path)) for k in range(4)], script)
    assert len(pids_in(tmp_path)) == 4
    assert store.values() == [0, 1, 2, 3]
    assert parents == workers, "processes of farmhand are children of the Dask workers"


def test_poolsize_is_a_part_of_the_cluster(run, store):
    """As it is of the CPUs of one computer."""
    run(own_pid, range(100), poolsize=1)
    assert len(set(store.values())) == 1


def test_a_class_is_made_once_in_each_process_and_knows_its_number(run, store):
    """The numbers are those of the farm, from 0, whatever computer a process is on."""

    def items():
        yield from itertools.takewhile(
            lambda _: len({pid for _, pid, _ in store.values()}) < 4, itertools.count()
        )
        yield from range(20)

    run(Counting, items(), initargs=(100,))
    counts = defaultdict(list)
    for number, pid, count in store.values():
        counts[number, pid].append(count)
    assert sorted(number for number, _ in counts) == list(range(len(counts))), "a number had two processes"
    assert len(counts) == 4
    for seen in counts.values():
        assert sorted(seen) == list(range(101, 101 + len(seen)))


def test_a_script_needs_no_guard_and_its_functions_travel(cluster, caller):
    """Names of ``__main__`` go along, to processes and back; a second run uses the cluster again."""
    code = """
import random
factor = 3

class Cow:
    def __init__(self, name):
        self.name = name

def milk(cow):
    return Cow(cow.name * factor)

for executor in ("dask:" + address, DaskExecutor(address)):
    store = open_store(":memory:")
    run_tasks(store, milk, [Cow("moo"), Cow("mu")], executor=executor, **FAST)
    assert all(type(cow) is Cow for cow in store.values())
    print(*sorted(cow.name for cow in store.values()))
"""
    assert ended(caller(code, cluster.address)) == (0, "moomoomoo mumumu\n" * 2, "")


# -- which cluster -----------------------------------------------------------------------------------


def used(executor, cluster, store):
    """Run something there; whether it was on that cluster."""
    run_tasks(store, parent, range(8), executor=executor, **FAST)
    return set(store.values()) <= {worker.pid for worker in cluster.workers}


def test_a_cluster_is_given_by_its_address(cluster, store):
    assert used(f"dask:{cluster.address}", cluster, store)


def test_a_client_is_an_executor(cluster, store):
    """It stays open, since it is not ours."""
    with cluster.connect() as client:
        assert used(client, cluster, store)
        assert client.submit(square, 3).result() == 9


def test_a_client_of_a_scheduler_file_is_one_too(cluster, store):
    """That is how clusters are found on many batch systems."""
    with Client(scheduler_file=str(cluster.file), set_as_default=False) as client:
        assert used(client, cluster, store)


def test_the_current_client_is_what_dask_means(cluster, store):
    """Who works in a notebook has made one, and says no more."""
    with cluster.connect() as client, client.as_current():
        assert used("dask", cluster, store)


def test_the_scheduler_that_dask_is_configured_for_is_taken(cluster, store):
    """DASK_SCHEDULER_ADDRESS, or a configuration file that a computing centre gives."""
    with dask.config.set({"scheduler-address": cluster.address}):
        assert used("dask", cluster, store)


def test_without_any_cluster_there_is_one_of_this_computer(caller):
    """It is closed in the end, and nothing of it is left; a script needs no guard for it."""
    code = """
store = open_store(":memory:")
summary = run_tasks(store, slow, [(k, folder) for k in range(20)], executor="dask", **FAST)
print(summary.done, len(store))
import psutil
print(psutil.Process().children(recursive=True))
"""
    environment = {name: value for name, value in os.environ.items() if name != "DASK_SCHEDULER_ADDRESS"}
    assert ended(caller(code, "", env=environment)) == (0, "20 20\n[]\n", "")


def test_certificates_of_a_client_are_those_of_the_connections(own_cluster, tmp_path, store):
    """A cluster with TLS lets in who has them, on the scheduler's way as on the direct one."""
    cluster = own_cluster(1, security=certificates(tmp_path / "certificates"))
    assert cluster.address.startswith("tls://")
    with cluster.connect() as client:
        for direct in True, False:
            executor = DaskExecutor(client, direct=direct)
            assert run_tasks(store, square, range(20), executor=executor, **FAST).done == 20


# -- failures are data -------------------------------------------------------------------------------


def test_what_fails_is_data_and_the_rest_goes_on(run, store, tmp_path):
    """It raises, its process dies, it hangs: of each kind one fails, with its reason."""
    deeds = ["good", "raise", "die", "hang", "good"]
    summary = run(deed, [(what, str(tmp_path)) for what in deeds], errors="collect", timeout=3)
    assert (summary.done, summary.failed) == (2, 3)
    kinds = {record.index: record.error.kind for record in store.failures()}
    assert kinds == {1: "raised", 2: "died", 3: "timeout"}
    wait_until_gone(pids_in(tmp_path))


def test_an_item_that_uses_too_much_memory_fails_alone(run, store, tmp_path):
    """The memory is that of its own process; the Dask worker is none the worse."""
    items = [("grow", str(tmp_path)), ("good", str(tmp_path))]
    summary = run(deed, items, errors="collect", memory_limit="200 MB")
    assert (summary.done, summary.failed) == (1, 1)
    assert [(record.index, record.error.kind) for record in store.failures()] == [(0, "memory")]


def test_an_item_that_fails_is_tried_again(run, store, tmp_path):
    """As often as was said; every attempt is stored."""
    summary = run(deed, [("raise", str(tmp_path)), ("good", str(tmp_path))], errors="collect", retries=2)
    assert (summary.done, summary.failed) == (1, 1)
    assert next(iter(store.failures())).attempts == 3
    assert len(list(store.retried())) == 2


def test_what_an_item_prints_is_kept_with_it(run, store, tmp_path):
    """And does not go into the log of the Dask worker."""
    run(deed, [("print", str(tmp_path))])
    (record,) = store.records()
    assert store.output(record.key) == "moo\n"


def test_items_draw_the_numbers_that_they_would_draw_here(run, store):
    """A seed and the item's index are all that they depend on."""
    run(draw, range(20), seed=5)
    here = MemoryStore()
    run_tasks(here, draw, range(20), seed=5, poolsize=2, **FAST)
    assert sorted(store.values()) == sorted(here.values())


# -- being shown, and being told ---------------------------------------------------------------------


@both_ways
def test_what_a_running_item_reports_is_shown(run, cluster, tmp_path, direct):
    """Its fraction, its name, its part: on the same bars as of a process of this computer."""
    seen = []

    def script(snapshot):
        for view in snapshot.processes:
            if view.complete is not None and not seen:
                seen.append(view)
                (tmp_path / "gate").touch()
        return []

    run(reporting, [str(tmp_path)], script, direct=direct)
    (view,) = seen
    assert (view.index, view.complete, view.taskname, view.phase) == (0, 0.25, "milking", "the first half")
    assert view.state == "busy"


def test_a_pause_pauses_and_a_resume_goes_on(run, tmp_path):
    """While it is paused nothing ends; afterwards everything does."""
    still = []

    def script(snapshot):
        if snapshot.state == "running" and snapshot.done and not still:
            return [Pause()]
        if snapshot.state == "paused":
            if all(view.index is None for view in snapshot.processes):
                still.append(snapshot.done)
            return [Resume()] if len(still) == 4 else []
        return []

    assert run(slow, [(k, str(tmp_path)) for k in range(60)], script).done == 60
    assert len(still) == 4
    assert len(set(still)) == 1
    assert still[0] < 60


def test_a_farm_can_grow_and_shrink(run, cluster, tmp_path):
    """Threads that it leaves can be used by others at once."""
    sizes = [1, 3, 1]
    seen = []

    def script(snapshot):
        if len(seen) < len(sizes) and len(snapshot.processes) == sizes[len(seen)]:
            seen.append(len(snapshot.processes))
            return [Resize(size) for size in sizes[len(seen) : len(seen) + 1]]
        return []

    items = ((k, str(tmp_path)) for k in itertools.takewhile(lambda k: len(seen) < 3, itertools.count()))
    run(slow, items, script, poolsize=1)
    assert seen == sizes


def test_finish_lets_running_items_end_and_begins_no_others(run, store, tmp_path):
    """Four are running: all four are stored, and no other was begun."""

    def script(snapshot):
        if snapshot.state == "finishing":
            (tmp_path / "gate").touch()
        return [Finish()] if len(begun_in(tmp_path)) == 4 else []

    summary = run(gated, [(k, str(tmp_path)) for k in range(20)], script)
    assert (summary.done, summary.stopped) == (4, True)
    assert set(store.values()) == begun_in(tmp_path)


def test_stop_stores_what_had_finished_and_leaves_nobody(run, store, tmp_path):
    """Running items are neither done nor failed; a resume runs them."""
    folder = str(tmp_path)
    quick = [("good", folder) for _ in range(30)]
    items = [*quick, *[("hang", folder)] * 4]

    def script(snapshot):
        hanging = sum(view.item.startswith("('hang'") for view in snapshot.processes)
        return [Stop()] if hanging == 4 and snapshot.done == 30 else []

    summary = run(deed, items, script)
    assert (summary.done, summary.failed, summary.stopped) == (30, 0, True)
    assert len(store) == 30
    wait_until_gone(pids_in(tmp_path))


def test_a_run_in_another_shell_is_steered_by_its_store(cluster, caller, tmp_path):
    """``farmhand stop`` and its like speak to the script; where its processes are does not matter."""
    pytest.importorskip("farmhand_sqlite")
    from farmhand.cli import main

    code = """
store = open_store(folder + "/results.db")
summary = run_tasks(store, gated, [(k, folder) for k in range(20)], executor=DaskExecutor(address), **FAST)
print(summary.done, summary.stopped)
"""
    process = caller(code, cluster.address)
    wait_until(lambda: len(begun_in(tmp_path)) == 4 or process.poll() is not None, "four items")
    assert main(["stop", str(tmp_path / "results.db")]) == 0
    assert ended(process) == (0, "0 True\n", "")
    wait_until_gone(pids_in(tmp_path))


# -- large results -----------------------------------------------------------------------------------


def test_large_results_do_not_pass_the_scheduler(cluster, line, store):
    """They come from the workers, unless nothing else is possible.

    Everybody reaches the scheduler by a line that counts.
    """
    counted = line(cluster.address)
    worker = cluster.worker(nthreads=2, scheduler=counted.address)
    for direct in True, False:
        before = counted.passed
        executor = DaskExecutor(counted.address, direct=direct, workers=[worker.name])
        run_tasks(store, large, [(k, 10 * MB) for k in range(5)], executor=executor, **FAST)
        if direct:
            assert counted.passed - before < 5 * MB
        else:
            assert counted.passed - before > 50 * MB, "the line counts"
    assert [len(value) for value in store.values()] == [10 * MB] * 10
    assert [value[0] for value in store.values()] == [*range(5)] * 2


def test_with_a_shared_folder_large_results_are_written_where_they_are_made(cluster, line, tmp_path):
    """The store's files are there, and the script has never seen what is in them."""
    pytest.importorskip("farmhand_sqlite")
    before = psutil.Process().memory_info().rss
    with open_store(tmp_path / "results.db") as store:
        executor = DaskExecutor(cluster.address)
        run_tasks(store, large, [(k, 10 * MB) for k in range(8)], executor=executor, **FAST)
        files = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size >= 10 * MB]
        assert len(files) == 8
        assert psutil.Process().memory_info().rss - before < 60 * MB
        assert sorted(value[0] for value in store.values()) == list(range(8))


@both_ways
def test_who_takes_no_results_makes_processes_wait(cluster, tmp_path, direct):
    """No memory grows, neither here nor in the Dask worker: there are two bounds of 64 MB on the way."""
    drive = Drive(DaskExecutor(cluster.address, direct=direct), large_and_said)
    try:
        drive.start(0)
        count = 150
        drive.send(0, {index: (index, 4 * MB, str(tmp_path)) for index in range(count)})
        drive.look(0)  # it is sent; from now on nobody looks
        wait_for(tmp_path / "begun0")
        wait_until_quiet(tmp_path, 2.0)
        begun = len(begun_in(tmp_path))
        assert begun < count, "600 MB have gone somewhere"
        assert len(drive.results(begun)) >= begun, "they go on as soon as somebody takes them"
    finally:
        drive.executor.close()


# -- resources ---------------------------------------------------------------------------------------


def test_a_resource_of_workers_is_given_to_one_process_at_a_time(cluster, tmp_path, store):
    """Two workers, each with four threads and one GPU: two processes, each with the GPU of its worker."""
    for number in range(2):
        cluster.worker(nthreads=4, resources={"GPU": 1}, environment={"CUDA_VISIBLE_DEVICES": str(number)})
    executor = DaskExecutor(cluster.address, resources={"GPU": 1})
    run_tasks(store, device, [(str(tmp_path),)] * 10, executor=executor, **FAST)
    pids = defaultdict(set)
    for visible, pid in store.values():
        pids[visible].add(pid)
    assert pids.keys() == {"0", "1"}
    assert all(len(seen) == 1 for seen in pids.values()), "a GPU had two processes"
    assert all(not is_alive(pid) for seen in pids.values() for pid in seen)


def test_a_run_can_keep_to_some_workers(cluster, store, tmp_path):
    """As with ``Client.submit(workers=...)``: those of one kind, or those near the data."""
    first, second = cluster.workers
    executor = DaskExecutor(cluster.address, workers=[first.address])
    run_tasks(store, slow, [(k, str(tmp_path)) for k in range(12)], executor=executor, **FAST)
    assert {value[2] for value in store.values()} == {first.pid}
    assert second.runs()


@pytest.mark.parametrize("asked", [{"resources": {"GPU": 1}}, {"workers": ["GPU"]}], ids=["resource", "name"])
def test_what_no_worker_offers_is_named(cluster, store, asked):
    """Not a run that waits for ever for what will never be."""
    with pytest.raises(UsageError, match="GPU"):
        run_tasks(store, square, [1], executor=DaskExecutor(cluster.address, **asked), **FAST)


# -- clusters that grow when they are needed -----------------------------------------------------------


# LocalCluster has processes of multiprocessing, which stay with the process that has started them
ADAPTIVE = """
if __name__ == "__main__":
    from distributed import LocalCluster
    from waiting import wait_until
    nobody_looks = "127.0.0.1:0"
    with LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=nobody_looks) as cluster:
        cluster.adapt(minimum=0, maximum=2, interval="100ms", wait_count=2)
        store = open_store(":memory:")
        items = [(k, folder) for k in range(40)]
        print(run_tasks(store, slow, items, executor=cluster, **FAST).done, cluster.status.name)
        wait_until(lambda: not cluster.scheduler_info["workers"], "a cluster of no workers")
        print(len({parent for _, _, parent in store.values()}) in (1, 2))
"""


def test_an_adaptive_cluster_grows_for_a_run_and_shrinks_after_it(caller):
    """From no worker at all; nobody has to say when.

    The cluster object itself is the executor, as a `SLURMCluster` or `KubeCluster` would be. It stays open,
    since it is not ours.
    """
    status, out, err = ended(caller(ADAPTIVE, ""))  # Dask has its own to say of a worker that is closed early
    assert (status, out) == (0, "40 running\nTrue\n"), err
