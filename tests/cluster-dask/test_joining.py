"""Getting to a Dask cluster by whatever a user has of it, and what is said about who is there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading

import dask.config
import distributed
import pytest
from distributed.deploy.adaptive import Adaptive

import farmhand
from farmhand import UsageError
from farmhand_dask.joining import Cluster, Place
from waiting import wait_until


@pytest.fixture
def joined():
    """Joins clusters, and leaves them after the test."""
    clusters = []

    def join(*arguments, **options) -> Cluster:
        clusters.append(Cluster.join(*arguments, **options))
        return clusters[-1]

    yield join
    for cluster in clusters:
        cluster.close()


@pytest.fixture
def local_cluster(tmp_path):
    """Makes cluster objects, of this process."""

    def make(workers: int, threads: int = 1) -> distributed.LocalCluster:
        return distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=False,
            dashboard_address="127.0.0.1:0",
        )

    with dask.config.set({"temporary-directory": str(tmp_path)}):
        yield make


def names(joined: Cluster) -> set[str]:
    return {place.name for place in joined.places().values()}


@pytest.fixture
def usual(cluster):
    """The names of the workers that are there."""
    return {worker.name for worker in cluster.workers}


@pytest.fixture
def shared(cluster, joined):
    return joined(cluster.address)


# -- ways to a cluster -----------------------------------------------------------------------------


def test_an_address_is_joined(cluster, usual, joined):
    """With and without ``tcp://``, as Dask takes it."""
    assert names(joined(cluster.address)) == usual
    assert names(joined(cluster.address.removeprefix("tcp://"))) == usual


def test_the_file_of_a_scheduler_is_joined(cluster, usual, joined):
    """Jobs of a batch system find each other by it, since nobody knows where they will run."""
    assert names(joined(str(cluster.file))) == usual
    assert names(joined(cluster.file)) == usual


def test_a_file_that_is_written_meanwhile_is_waited_for(cluster, usual, joined, tmp_path):
    """The scheduler's job and the program have started at the same time."""
    late = tmp_path / "late.json"
    writes = threading.Timer(0.2, lambda: late.write_bytes(cluster.file.read_bytes()))
    writes.start()
    assert names(joined(str(late), timeout=60)) == usual
    writes.join()


def test_a_client_is_used_as_it_is_and_left_open(cluster, joined):
    """It belongs to whoever made it, who may have work of his own there."""
    with distributed.Client(cluster.address, set_as_default=False) as client:
        ours = joined(client)
        assert ours.client is client
        ours.close()
        assert client.status == "running"


def test_a_cluster_object_is_joined_and_left_running(joined, local_cluster):
    """As that of dask-jobqueue: only the client that was made for it is closed."""
    with local_cluster(1, threads=2) as local:
        cluster = joined(local)
        assert [place.threads for place in cluster.places().values()] == [2]
        cluster.close()
        assert cluster.client.status == "closed"
        assert local.status == distributed.Status.running


def test_without_a_target_the_default_client_is_used(cluster, joined):
    """A notebook that has made one means that."""
    with distributed.Client(cluster.address) as client:
        assert joined().client is client


def test_without_a_client_dasks_configuration_says_where(cluster, usual, joined):
    """``DASK_SCHEDULER_ADDRESS`` is what many sites set."""
    with dask.config.set({"scheduler-address": cluster.address}):
        assert names(joined()) == usual


def test_without_anything_a_cluster_in_this_process_has_all_its_cpus(joined):
    """It is there at once, and gone when it is closed."""
    before = set(threading.enumerate())
    cluster = joined()
    [place] = cluster.places().values()
    assert (place.threads, place.status) == (farmhand.cpus.cpu_count(), "running")
    assert cluster.examine(cluster.places()) == {}
    cluster.close()
    cluster.close()
    wait_until(lambda: {one for one in threading.enumerate() if not one.daemon} <= before, "its threads")


def test_joining_does_not_change_what_this_program_does_with_dask(cluster, joined):
    """``.compute()`` of a data frame would else run on another cluster than before."""
    before = dask.config.get("scheduler", None)
    joined(cluster.address)
    joined()
    assert dask.config.get("scheduler", None) == before
    with pytest.raises(ValueError, match="No clients found"):
        distributed.default_client()


def test_nothing_is_printed(cluster, tmp_path):
    """Not by distributed, nor by tornado; not when it joins, nor at the end, even if nobody leaves it.

    Without ``-X dev``: asyncio would say of each step how long it took, if this computer is busy.
    """
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
            from farmhand_dask.joining import Cluster
            for target in ({cluster.address!r}, None):
                cluster = Cluster.join(target)
                assert cluster.examine(cluster.places()) == {{}}
                cluster.close()
            left = Cluster.join({cluster.address!r})
        """)
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", program], cwd=tmp_path, capture_output=True, timeout=60
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


def test_a_cluster_that_is_gone_can_be_closed(own_cluster, joined):
    """A farm that ends because its scheduler has died says so, and nothing else."""
    gone = own_cluster()
    ours = joined(gone.address)
    gone.scheduler.kill()
    ours.close()
    ours.close()
    with pytest.raises(OSError, match="closed"):
        ours.places()


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("tcp:/10.0.0.1:8786", "'//' is missing"),
        ("host", "missing port"),
        ("", "missing port"),
        ("tcp://host:port", "port"),
        ("tcp://host:99999", "no host and port"),
        ("http://host:8787", "dashboard"),
        ("carrier-pigeon://host:1", "unknown address scheme"),
    ],
)
def test_what_is_no_address_is_said_with_an_example(target, reason):
    """Without waiting for anybody to answer."""
    with pytest.raises(UsageError, match=reason) as raised:
        Cluster.join(target, timeout=1000)
    assert "'dask:tcp://10.0.0.1:8786'" in str(raised.value)


def test_an_address_that_does_not_answer_is_named_with_the_time(unused_port):
    """And with what to look at; it is a ValueError as well."""
    with pytest.raises(UsageError, match=rf"127.0.0.1:{unused_port}; waited 0.5 s .*dask scheduler"):
        Cluster.join(f"tcp://127.0.0.1:{unused_port}", timeout=0.5)


def test_a_server_that_speaks_something_else_is_no_cluster():
    """A port that was mistyped."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"{address}; waited 0.5 s .*does not answer as Dask does"):
            Cluster.join(address, timeout=0.5)


def test_the_address_of_a_worker_is_no_cluster(shared):
    """Both are in what Dask prints."""
    [worker, *_] = shared.places()
    with pytest.raises(UsageError, match=worker):
        Cluster.join(worker, timeout=5)


def test_encryption_without_certificates_is_refused(unused_port):
    """Dask's configuration says where they are."""
    with pytest.raises(UsageError, match="TLS"):
        Cluster.join(f"tls://127.0.0.1:{unused_port}", timeout=1)


def test_a_file_that_no_scheduler_has_written_is_named(tmp_path):
    """There is none, or it is something else."""
    with pytest.raises(UsageError, match=r"none\.json .*no such file; waited 0\.1 s\. `dask scheduler"):
        Cluster.join(str(tmp_path / "none.json"), timeout=0.1)
    (tmp_path / "other").write_text('{"a": 1}')
    with pytest.raises(UsageError, match="other is not the file of a Dask scheduler"):
        Cluster.join(tmp_path / "other", timeout=0.1)


def test_a_failed_attempt_leaves_no_thread(unused_port):
    """A program may try until the scheduler is there."""
    before = threading.active_count()
    for _ in range(3):
        with pytest.raises(UsageError):
            Cluster.join(f"tcp://127.0.0.1:{unused_port}", timeout=0.1)
    wait_until(lambda: threading.active_count() <= before, "the threads of clients that never were")


def test_a_client_that_is_closed_or_asynchronous_is_refused(cluster):
    """Whoever made it must make another one."""
    client = distributed.Client(cluster.address, set_as_default=False)
    client.close()
    with pytest.raises(UsageError, match="the Client is closed"):
        Cluster.join(client)

    async def join() -> None:
        async with distributed.Client(cluster.address, asynchronous=True, set_as_default=False) as client:
            with pytest.raises(UsageError, match="asynchronous"):
                Cluster.join(client)

    asyncio.run(join())


def test_something_else_is_refused():
    """With what would have worked."""
    with pytest.raises(UsageError, match=r"7 is no Dask cluster.*LocalCluster"):
        Cluster.join(7)


def test_without_dask_the_package_to_install_is_named(monkeypatch):
    """As where somebody has copied the sources alone."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match="pip install farmhand-dask"):
        Cluster.join("tcp://10.0.0.1:8786")


@pytest.fixture
def unused_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens, and nobody else gets it
        yield taken.getsockname()[1]


# -- who is there ----------------------------------------------------------------------------------


def test_workers_that_come_and_go_are_seen_as_they_say_they_are(cluster, usual, shared):
    """At once: nothing is remembered from before. Threads, resources and limits are what is planned by."""
    worker = cluster.worker(nthreads=3, resources={"GPU": 2}, options=["--memory-limit", "1e9"])
    address = worker.address
    (place,) = (place for place in shared.places().values() if place.name not in usual)
    assert place == Place(
        address,
        name=worker.name,
        host="127.0.0.1",
        threads=3,
        resources={"GPU": 2},
        memory_limit=10**9,
        nanny=False,
        status="running",
    )
    worker.kill()
    wait_until(lambda: names(shared) == usual, "the worker to be gone")


def test_more_workers_than_dask_shows_by_default_are_seen(joined, local_cluster):
    """Clients of some versions show five."""
    with local_cluster(7) as local:
        assert len(joined(local).places()) == 7


def test_a_cluster_that_adapts_says_how_far_it_grows(joined, local_cluster):
    """In threads, which are what a farm counts in; others say nothing."""
    with local_cluster(0, threads=2) as local:
        cluster = joined(local)
        assert cluster.maximum is None
        local.adapt(minimum=0, maximum=5)
        assert cluster.maximum == 10
        local.adapt(minimum=0)
        assert cluster.maximum is None
        assert isinstance(local._adaptive, Adaptive)


# -- who is fit ------------------------------------------------------------------------------------


def test_workers_with_the_same_packages_are_fit(shared):
    """Also where they are sources on PYTHONPATH, of which no installed package tells."""
    assert shared.examine(shared.places()) == {}


LIES = [
    ("packages", {"python": "3.7.1.final.0"}, r"has Python 3\.7\.1, this program 3\..*start it in an env"),
    (
        "packages",
        {"farmhand": "9", "farmhand-dask": "9"},
        "has farmhand 9 and farmhand-dask 9, this program",
    ),
    ("host", {"OS": "Windows"}, "runs on Windows"),
]


def test_a_worker_that_differs_is_named(cluster, shared, tmp_path):
    """By which of its versions, and with ours. It only says so: the tests have one Python."""
    now = tmp_path / "now.json"
    now.write_text('["host", {}]')
    lie = tmp_path / "lie.py"
    lie.write_text(
        textwrap.dedent(f"""
            import json
            def dask_setup(worker):
                answer = worker.handlers["versions"]
                def changed(**question):
                    about, change = json.load(open({str(now)!r}))
                    said = answer(**question)
                    said[about] = said[about] | change
                    return said
                worker.handlers["versions"] = changed
        """)
    )
    other = cluster.worker(options=["--preload", lie]).address
    assert shared.examine(shared.places()) == {}
    for about, change, said in LIES:
        now.write_text(json.dumps([about, change]))
        problems = shared.examine(shared.places())
        assert list(problems) == [other]
        assert re.search(said, problems[other]), problems


def test_a_worker_that_hangs_or_has_gone_does_not_keep_the_others_from_being_examined(cluster, shared):
    """One is there, says its scheduler, and is silent; of one that has gone meanwhile nothing is said."""
    hangs = cluster.worker()
    asked = [*shared.places()]
    os.kill(hangs.pid, signal.SIGSTOP)
    ((hung, why),) = shared.examine(asked, timeout=1).items()
    assert hung in asked
    assert "has not answered within 1 s" in why
    hangs.kill()
    cluster.wait_until_known()
    assert shared.examine(asked, timeout=1) == {}
