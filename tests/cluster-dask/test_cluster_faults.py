"""What goes wrong on a cluster: workers are killed, added and retired, the scheduler or the script goes."""

from __future__ import annotations

import itertools
import os
import signal
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster_tasks import FAST, begun_in, begun_twice, deadly, pids_in, slow
from clusters import agents_in, ended, patience_of_agents, wait_until_gone
from farmhand import FarmhandError, MemoryStore, TasksFailed, open_store, run_tasks
from farmhand.testing.frontends import RecordingFrontend
from farmhand_dask import DaskExecutor
from waiting import wait_until

both_ways = pytest.mark.parametrize("direct", [True, False], ids=["direct", "relayed"])


class Deeds:
    """What a frontend does to the cluster as soon as so many items are done, one thing after the other.

    Attributes
    ----------
    left : list
        What it has not done yet.
    sizes : list of int
        How many processes there were, each time it looked.
    """

    def __init__(self, *deeds):
        self.left = list(deeds)
        self.sizes = []

    def __call__(self, snapshot):
        self.sizes.append(sum(view.pid is not None for view in snapshot.processes))
        while self.left and snapshot.done >= self.left[0][0]:
            self.left.pop(0)[1]()
        return []


def parents_in(store):
    """The Dask workers that have results of `slow` in a store."""
    return {parent for _, _, parent in store.values()}


def harvest(store, cluster, folder, deeds, *, after=20, until=None, direct=None, **kwds):
    """Run `slow` until the deeds have happened and so many further items were read; nothing is missing.

    It begins them when there are results of all workers that there are, and ends when ``until``, too.
    """
    workers = {worker.pid for worker in cluster.workers}
    read = []

    def items():
        left = after
        while left > 0:
            read.append(len(read))
            yield read[-1], str(folder)
            if not deeds.left and (until is None or until()):
                left -= 1

    def script(snapshot):
        return deeds(snapshot) if workers <= parents_in(store) else []

    executor = DaskExecutor(cluster.address, direct=direct)
    summary = run_tasks(
        store,
        slow,
        items(),
        **{**FAST, "executor": executor, "progress": RecordingFrontend(script), **kwds},
    )
    assert (summary.done, summary.failed) == (len(read), 0)
    assert Counter(index for index, _, _ in store.values()) == Counter(read), "lost, or doubled"
    assert not deeds.left
    wait_until_gone(pids_in(folder))


# -- workers -----------------------------------------------------------------------------------------


@both_ways
def test_a_worker_that_is_killed_costs_nothing_but_time(cluster, store, tmp_path, direct):
    """kill -9 in mid-run: what ran there runs again elsewhere, without `retries`, and nothing is doubled."""
    first, second = cluster.workers
    harvest(store, cluster, tmp_path, Deeds((10, first.kill)), direct=direct)
    assert parents_in(store) == {first.pid, second.pid}
    assert all(record.attempts == 1 or record.error is None for record in store.records())


def test_a_worker_with_a_nanny_comes_back_and_gets_work_again(own_cluster, store, tmp_path):
    """It is the only one: the run waits for it, for a nanny takes a second."""
    cluster = own_cluster()
    worker = cluster.worker(nanny=True)
    before = worker.own_pid()
    items = [(k, str(tmp_path)) for k in range(30)]
    kill = Deeds((10, lambda: os.kill(before, signal.SIGKILL)))
    executor, frontend = DaskExecutor(cluster.address), RecordingFrontend(kill)
    assert run_tasks(store, slow, items, gui=False, progress=frontend, executor=executor).done == 30
    assert Counter(index for index, _, _ in store.values()) == Counter(range(30)), "lost, or doubled"
    assert before in parents_in(store)
    assert len(parents_in(store)) == 2
    cluster.wait_until_free()


def test_a_worker_that_is_added_gets_work(cluster, store, tmp_path):
    """By itself: the farm grows with the cluster, unless `poolsize` says how large it is to be."""
    added = []
    deeds = Deeds((5, lambda: added.append(cluster.start_worker(nthreads=2))))
    has_results = lambda: added[0].pid in parents_in(store)  # noqa: E731
    harvest(store, cluster, tmp_path, deeds, until=has_results)
    assert max(deeds.sizes) == 6


def test_a_run_waits_for_workers_of_an_empty_cluster(own_cluster, store, tmp_path):
    """The batch system has not started any yet: that is no error, it may take hours."""
    cluster = own_cluster()
    deeds = Deeds((0, cluster.start_worker))
    harvest(store, cluster, tmp_path, deeds, after=5)
    assert deeds.sizes[0] == 0, "there was a worker from the beginning"


LEAVE = {
    "is retired": lambda worker: worker.retire(),
    "gets SIGTERM": lambda worker: worker.process.terminate(),
}


@pytest.mark.parametrize("how", LEAVE)
def test_a_worker_that_leaves_hands_over_what_it_has(cluster, store, tmp_path, how):
    """An adaptive cluster that shrinks, or a batch job at its end: the run goes on with the others.

    What its processes are on may end, and is handed over: nothing is computed twice. Where a signal ends it,
    Dask cuts all connections first (unless there is a nanny), so that what was under way runs again.
    """
    first, second = cluster.workers
    harvest(store, cluster, tmp_path, Deeds((10, lambda: LEAVE[how](first))))
    wait_until(lambda: not first.runs(), "the end of the worker")
    assert parents_in(store) == {first.pid, second.pid}
    assert how == "gets SIGTERM" or not begun_twice(tmp_path)


def test_an_item_that_takes_its_worker_with_it_each_time_fails_as_data(own_cluster, store, tmp_path):
    """It fills the memory of each computer that it is given to, say: it must not go round for ever.

    By default it may do so three times; a nanny starts the only worker again each time.
    """
    cluster = own_cluster()
    cluster.worker(nanny=True)
    items = [(k, str(tmp_path)) for k in range(10)]
    items[3] = (3, "")
    summary = run_tasks(
        store,
        deadly,
        items,
        executor=DaskExecutor(cluster.address),
        errors="collect",
        retries={"lost": 1},
        **FAST,
    )
    assert (summary.done, summary.failed) == (9, 1)
    (failure,) = store.failures()
    assert (failure.index, failure.error.kind) == (3, "lost")


@settings(
    max_examples=2,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(deeds=st.lists(st.tuples(st.integers(0, 25), st.sampled_from(["kill", "retire", "add"])), max_size=3))
def test_whatever_happens_to_workers_every_item_ends_once(deeds, cluster, tmp_path_factory):
    """In any order, as long as there is a worker in the end."""
    cluster.have(2, nthreads=2)

    def workers():
        return [each for each in cluster.workers if each.address]

    def do(what):
        if what == "add" or len(workers()) < 2:
            cluster.start_worker()
        elif what == "kill":
            workers()[0].kill()
        else:
            workers()[0].retire()

    planned = [(done, lambda what=what: do(what)) for done, what in sorted(deeds)]
    harvest(MemoryStore(), cluster, tmp_path_factory.mktemp("deeds"), Deeds(*planned))
    cluster.wait_until_free()


# -- the scheduler -------------------------------------------------------------------------------------


def test_a_cluster_whose_scheduler_is_gone_ends_the_run_and_another_resumes_it(
    own_cluster, cluster, tmp_path
):
    """What had finished is stored; the error says which cluster, and what to do."""
    pytest.importorskip("farmhand_sqlite")
    goes = own_cluster(1)
    items = [(k, str(tmp_path)) for k in range(60)]
    with open_store(tmp_path / "results.db") as store:
        executor = DaskExecutor(goes.address)
        gone = Deeds((10, goes.scheduler.kill))
        with pytest.raises(FarmhandError) as caught:
            run_tasks(store, slow, items, executor=executor, gui=False, progress=RecordingFrontend(gone))
        assert not isinstance(caught.value, TasksFailed)
        assert goes.address in str(caught.value)
        assert "resume" in str(caught.value)
        before = len(store)
        assert 10 <= before < 60
        wait_until_gone(pids_in(tmp_path))
        summary = run_tasks(store, slow, items, executor=DaskExecutor(cluster.address), resume=True, **FAST)
        assert (summary.done, summary.skipped) == (60 - before, before)
        assert Counter(index for index, _, _ in store.values()) == Counter(range(60))


def test_a_client_that_is_closed_under_a_run_ends_it(cluster, store, tmp_path):
    """Somebody's own, in a notebook: the error says which cluster that was."""
    client = cluster.connect()

    def items():
        for k in itertools.count():
            if k == 20:
                client.close()
            yield k, str(tmp_path)

    with pytest.raises(FarmhandError, match=cluster.address) as caught:
        run_tasks(store, slow, items(), executor=client, **FAST)
    assert "resume" in str(caught.value)
    assert len(store) > 0
    wait_until_gone(pids_in(tmp_path))


# -- the script ----------------------------------------------------------------------------------------

GATED = """
store = open_store(":memory:")
items = [(k, folder) for k in range(20)]
try:
    run_tasks(store, gated, items, executor=DaskExecutor(address, direct=DIRECT), **FAST)
finally:
    print(len(store), [run.outcome for run in store.runs()], len(store.failures()))
"""


def at_work(process, folder, processes=4):
    """Return as soon as so many items run."""
    wait_until(lambda: len(begun_in(folder)) == processes or process.poll() is not None, "running items")
    assert process.poll() is None, process.communicate()


@pytest.mark.parametrize(
    "direct",
    [pytest.param(True, id="direct"), pytest.param(False, id="relayed", marks=pytest.mark.slow)],
)
def test_a_script_that_is_killed_leaves_nothing_on_the_cluster(cluster, caller, tmp_path, direct):
    """kill -9 of the script: its processes go, and the workers are free for others.

    At once where the end of a connection says so; where all was relayed, its silence does, or Dask.
    """
    process = caller(GATED.replace("DIRECT", str(direct)), cluster.address)
    at_work(process, tmp_path)
    process.kill()
    process.wait()
    wait_until_gone(pids_in(tmp_path))
    cluster.wait_until_free()


def test_a_script_that_is_killed_is_resumed(cluster, caller, tmp_path):
    """What was committed is there, and the rest runs, on the same cluster."""
    pytest.importorskip("farmhand_sqlite")
    code = """
store = open_store(folder + "/results.db")
items = [(k, folder) for k in range(100)]
summary = run_tasks(store, slow, items, executor=DaskExecutor(address), resume=True, **FAST)
print(summary.done, summary.skipped)
"""
    process = caller(code, cluster.address)
    with open_store(tmp_path / "results.db") as store:
        wait_until(lambda: len(store) >= 10 or process.poll() is not None, "ten results")
        process.kill()
        process.wait()
        wait_until_gone(pids_in(tmp_path))
        before = len(store)
        assert 10 <= before < 100
        assert ended(caller(code, cluster.address)) == (0, f"{100 - before} {before}\n", "")
        assert Counter(index for index, _, _ in store.values()) == Counter(range(100))


@both_ways
@pytest.mark.parametrize(("name", "status"), [("SIGINT", -signal.SIGINT), ("SIGTERM", 143)])
def test_a_script_that_is_interrupted_leaves_nothing_on_the_cluster(
    cluster, caller, tmp_path, direct, name, status
):
    """Ctrl-C, or a batch system: the same as on one computer."""
    process = caller(GATED.replace("DIRECT", str(direct)), cluster.address)
    at_work(process, tmp_path)
    process.send_signal(getattr(signal, name))
    returned, out, err = ended(process)
    assert (returned, out) == (status, "0 ['stopped'] 0\n")
    assert name == "SIGTERM" or err.rstrip().endswith("KeyboardInterrupt")
    wait_until_gone(pids_in(tmp_path))
    cluster.wait_until_free()


def test_a_script_that_is_frozen_goes_on_where_it_was(cluster, caller, tmp_path):
    """A laptop that was closed, Ctrl-Z: its processes wait, and so does the cluster."""
    code = """
store = open_store(":memory:")
summary = run_tasks(store, slow, [(k, folder) for k in range(80)], executor=DaskExecutor(address), **FAST)
print(summary.done, sorted(index for index, _, _ in store.values()) == list(range(80)))
"""
    process = caller(code, cluster.address)
    wait_until(lambda: pids_in(tmp_path) or process.poll() is not None, "a process at work")
    process.send_signal(signal.SIGSTOP)
    cluster.client.run(os.getpid)  # the cluster goes on
    process.send_signal(signal.SIGCONT)
    assert ended(process) == (0, "80 True\n", "")


def test_a_script_that_was_frozen_for_long_runs_the_rest_again(cluster, caller, tmp_path):
    """Over the relay a silence of half a minute is an end (here a short one): nothing is lost or doubled.

    When it comes back, it finds other agents.
    """
    code = """
store = open_store(":memory:")
executor = DaskExecutor(address, direct=False)
items = iter(range(1000))
def some():
    while not Path(folder, "enough").exists():
        yield next(items), folder
summary = run_tasks(store, slow, some(), executor=executor, **FAST)
count = next(items)
whole = sorted(index for index, _, _ in store.values()) == [*range(count)]
print(summary.failed, summary.done == count, whole)
"""
    before = cluster.client.run(patience_of_agents, 3.0)
    try:
        process = caller(code, cluster.address)
        wait_until(lambda: pids_in(tmp_path) or process.poll() is not None, "work")
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: not any(cluster.client.run(agents_in).values()), "the agents to have ended")
        process.send_signal(signal.SIGCONT)
        known = set(pids_in(tmp_path))
        wait_until(lambda: set(pids_in(tmp_path)) - known or process.poll() is not None, "work")
        (tmp_path / "enough").touch()
        assert ended(process) == (0, "0 True True\n", "")
    finally:
        cluster.client.run(patience_of_agents, max(before.values()))


def test_two_scripts_share_a_cluster(cluster, caller, tmp_path):
    """Whoever comes second gets what the first leaves free; both come to their end."""
    code = """
mine = Path(folder, "mine" + str(os.getpid()))
mine.mkdir()
store = open_store(":memory:")
items = [(k, str(mine)) for k in range(40)]
print(run_tasks(store, slow, items, executor=DaskExecutor(address), poolsize=POOL, **FAST).done)
"""
    scripts = [caller(code.replace("POOL", pool), cluster.address) for pool in ("0", "2")]
    assert [ended(script) for script in scripts] == [(0, "40\n", "")] * 2
