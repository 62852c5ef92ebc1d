"""A real Dask cluster on this computer: ``dask scheduler`` and ``dask worker``, started as commands.

Each command leads a session of its own and writes a log, which is shown when a test fails. They are
ended by their own numbers, all at once.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from distributed import Client
from distributed.security import Security

from waiting import DEADLINE, wait_until

HERE = Path(__file__).parent
LOOPBACK = "127.0.0.1"
_IF_WE_ARE_KILLED = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
_GRACE = 30.0  # seconds in which a command ends that is asked to


class Command:
    """One command, with its log.

    Attributes
    ----------
    name : str
    log : Path
        What it prints.
    process : Popen
    """

    def __init__(self, name: str, log: Path, words: Sequence[object], environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                [*_IF_WE_ARE_KILLED, *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def runs(self) -> bool:
        return self.process.poll() is None

    def has_group(self) -> bool:
        """Whether anything runs that it has started."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def printed(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """End it outright, with all of its session, as the end of its computer would."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(DEADLINE)


class Worker(Command):
    """A ``dask worker``, which is connected.

    Attributes
    ----------
    cluster : ProcessCluster
    number : int
        The cluster's first worker has 0.
    nanny : bool
        Whether a process watches it.
    """

    cluster: ProcessCluster
    number: int
    nanny: bool

    @property
    def address(self) -> str:
        """Where it listens, as its scheduler knows it; ``''`` while it is not there."""
        found = [
            address for address, about in self.cluster.workers_now().items() if about["name"] == self.name
        ]
        return found[0] if found else ""

    def is_ready(self) -> bool:
        """Whether it is connected; a nanny has come to rest.

        Before, a nanny takes the death of its worker for a failed start, and leaves behind what it starts.
        """
        address = self.address
        if not address or self.cluster.workers_now().get(address, {}).get("status") != "running":
            return False
        if not self.nanny:
            return True
        try:
            states = self.cluster.client.run(state, workers=[address], nanny=True)
        except (OSError, ValueError):  # it has died meanwhile
            return False
        return states == {address: "running"}

    def own_pid(self) -> int:
        """The process that works: with a nanny it is another one than the command's."""
        address = self.address
        return int(self.cluster.client.run(os.getpid, workers=[address])[address])

    def retire(self) -> None:
        """Let it hand over what it has and leave, as an adaptive cluster does."""
        self.cluster.client.retire_workers([self.address], close_workers=True)


class ProcessCluster:
    """A scheduler and its workers.

    Parameters
    ----------
    folder : Path
        For logs and what workers write.
    security : Security, optional
        Certificates, for the commands and for clients.
    host : str
        Where the scheduler listens.
    before : sequence of str
        What is put before the scheduler's command.
    """

    def __init__(
        self, folder: Path, security: Security | None = None, host: str = LOOPBACK, before: Sequence[str] = ()
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.security = security
        self.commands: list[Command] = []
        self._usual: list[Worker] = []
        self._client: Client | None = None
        self.file = folder / "scheduler.json"
        words = ["--port", 0, "--host", host, "--scheduler-file", self.file]
        self.scheduler = self._command(Command, "scheduler", [*before, *dask("scheduler")], words)
        try:
            self._wait(self.scheduler, self.file.exists)
            (line,) = (line for line in self.scheduler.printed().splitlines() if "Scheduler at:" in line)
            self.address = line.split()[-1]
            if host == "0.0.0.0":  # it says one of its addresses, which may lead elsewhere first
                self.address = f"tcp://{LOOPBACK}:{self.address.rpartition(':')[2]}"
        except BaseException:
            self.close()
            raise

    @property
    def client(self) -> Client:
        """The tests' own client, another one than that of the farm."""
        if self._client is None:
            self._client = self.connect()
        return self._client

    def connect(self) -> Client:
        """A new client."""
        return Client(self.address, security=self.security, set_as_default=False, timeout=DEADLINE)

    @property
    def workers(self) -> list[Worker]:
        """Those that run, in the order in which they were started."""
        return [command for command in self.commands if isinstance(command, Worker) and command.runs()]

    def worker(self, **options: Any) -> Worker:
        """Add a worker, and wait until it is connected; see `start_worker`."""
        worker = self.start_worker(**options)
        self._wait(worker, worker.is_ready)
        return worker

    def start_worker(
        self,
        nthreads: int = 1,
        nanny: bool = False,
        resources: Mapping[str, float] | None = None,
        environment: Mapping[str, str] | None = None,
        scheduler: str = "",
        host: str = LOOPBACK,
        before: Sequence[object] = (),
        python: str = sys.executable,
        options: Sequence[object] = (),
    ) -> Worker:
        """Add a worker.

        Parameters
        ----------
        nthreads : int
        nanny : bool
            Whether a process watches it and starts it again when it dies.
        resources : mapping, optional
            As in ``{'GPU': 1}``.
        environment : mapping, optional
            Further variables.
        scheduler : str
            Another way to the scheduler than that which it says itself.
        host : str
            Where it listens; ``''`` when ``options`` say it.
        before : sequence
            What is put before the command.
        python : str
            The interpreter.
        options : sequence
            Further words of the command.
        """
        number = sum(isinstance(command, Worker) for command in self.commands)
        name = f"worker-{number}"
        words: list[object] = ["--nthreads", nthreads, "--name", name, "--memory-limit", 0]
        words += ["--nanny" if nanny else "--no-nanny", "--death-timeout", DEADLINE]
        words += ["--local-directory", self.folder / name]
        words += ["--host", host] if host else []
        words += [scheduler] if scheduler else ["--scheduler-file", self.file]
        if resources:
            words += ["--resources", " ".join(f"{key}={value}" for key, value in resources.items())]
        worker = self._command(
            Worker, name, [*before, *dask("worker", python)], [*words, *options], environment or {}
        )
        worker.cluster, worker.number, worker.nanny = self, number, nanny
        return worker

    def have(self, count: int, nthreads: int) -> None:
        """Have so many workers of so many threads, and no others: those that tests have harmed are replaced.

        It takes only those for usual that it has started itself.
        """
        there = self.workers_now()
        names = {about["name"] for about in there.values() if about["status"] == "running"}
        self._usual = [worker for worker in self._usual if worker.runs() and worker.name in names]
        for worker in self.workers:
            if worker not in self._usual:
                worker.kill()
        started = [self.start_worker(nthreads=nthreads) for _ in range(count - len(self._usual))]
        for worker in started:
            self._wait(worker, worker.is_ready)
        self._usual += started
        self.wait_until_known()

    def wait_until_known(self) -> None:
        """Return as soon as the scheduler knows which workers are gone."""
        names = {worker.name for worker in self.workers}
        wait_until(
            lambda: {about["name"] for about in self.workers_now().values()} <= names,
            "a scheduler that knows which workers are gone",
        )

    def workers_now(self) -> dict[str, Any]:
        """What the scheduler says of its workers, by address."""
        return dict(self.client.scheduler_info(n_workers=-1)["workers"])

    def wait_until_free(self) -> None:
        """Return as soon as every thread of every worker can run a task of somebody else.

        As many tasks as there are threads wait for each other: one thread that is taken, and they
        would wait for ever.
        """
        self.wait_until_known()
        workers = self.workers_now()
        threads = sum(about["nthreads"] for about in workers.values())
        meeting = self.folder / f"meeting-{time.monotonic_ns()}"
        meeting.mkdir()
        futures = [
            self.client.submit(meet, str(meeting), threads, number, workers=[address], pure=False)
            for number, address in enumerate(
                address for address, about in workers.items() for _ in range(about["nthreads"])
            )
        ]
        assert self.client.gather(futures) == [True] * threads, "some threads of the workers are not free"

    def close(self) -> None:
        """End everything, and see that all of it ends when it is asked to."""
        for worker in self.workers:
            if worker.nanny and self.scheduler.runs():
                wait_until(lambda worker=worker: worker.is_ready() or not worker.runs(), "a nanny at rest")
        if self._client is not None:
            self._client.close()
            self._client = None
        deaf: list[str] = []
        for working in self.workers, [self.scheduler]:  # a nanny waits for a scheduler that has gone first
            for command in working:
                if command.runs():
                    command.process.terminate()
            deadline = time.monotonic() + _GRACE
            for command in working:
                try:
                    command.process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    deaf.append(command.name)
        for command in self.commands:
            if command.name in deaf:
                command.kill()
            with suppress(AssertionError):  # a nanny's helper still removes its semaphores
                wait_until(lambda command=command: not command.has_group(), seconds=5)
            command.kill()
        for folder in self.folder.glob("worker-*"):
            if folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)
        assert not deaf, f"did not end when asked to: {', '.join(deaf)}"

    def logs(self) -> Iterator[tuple[str, str]]:
        """The end of what each command has printed."""
        for command in self.commands:
            yield f"dask {command.name}", command.printed()[-5000:]

    def _command(
        self,
        kind: type[Any],
        name: str,
        command: Sequence[object],
        words: Sequence[object],
        environment: Mapping[str, str] | None = None,
    ) -> Any:
        # nobody looks at dashboards; port 0, since several clusters run side by side
        words = [*words, "--no-dashboard", "--dashboard-address", f"{LOOPBACK}:0"]
        if self.security is not None:
            files = self.security.get_tls_config_for_role(name.partition("-")[0])
            words += ["--protocol", "tls", "--tls-ca-file", files["ca_file"]]
            words += ["--tls-cert", files["cert"], "--tls-key", files["key"]]
        # tests' tasks are found by workers as a user's modules are, by PYTHONPATH
        path = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        made = kind(
            name,
            self.folder / f"{name}.log",
            [*command, *words],
            {
                "PYTHONPATH": path.rstrip(os.pathsep),
                "DASK_TEMPORARY_DIRECTORY": str(self.folder),
                **(environment or {}),
            },
        )
        self.commands.append(made)
        return made

    def _wait(self, command: Command, condition: Callable[[], object]) -> None:
        wait_until(lambda: condition() or not command.runs(), f"the start of the {command.name}")
        assert command.runs(), f"the {command.name} has ended:\n{command.printed()}"


def dask(command: str, python: str = sys.executable) -> list[str]:
    """How a ``dask`` command is started with a certain interpreter."""
    return [python, "-m", "dask", command]


def state(dask_worker: Any) -> str:
    """That of a nanny, which asks for itself by this name."""
    return str(dask_worker.status.name)


def agents_in(dask_worker: Any) -> list[str]:
    """The runs that have an agent in a Dask worker, which asks for itself by this name."""
    prefix = "farmhand-"
    return [name.removeprefix(prefix) for name in dask_worker.plugins if name.startswith(prefix)]


def patience_of_agents(seconds: float) -> float:
    """In a Dask worker: for how long callers of its agents may be silent from now on; before, it was so."""
    from farmhand_dask import agent

    before, agent._SILENT = agent._SILENT, seconds
    return before


def meet(folder: str, people: int, number: int) -> bool:
    """Come to a place and stay until all are there."""
    place = Path(folder)
    (place / str(number)).touch()
    wait_until(lambda: len(list(place.iterdir())) == people, f"{people} tasks at once")
    return True


@contextmanager
def process_cluster(folder: Path, workers: int = 0, **options: Any) -> Iterator[ProcessCluster]:
    """A cluster, with so many workers of one thread, that is ended after the block."""
    cluster = ProcessCluster(folder, **options)
    try:
        started = [cluster.start_worker() for _ in range(workers)]
        for worker in started:
            cluster._wait(worker, worker.is_ready)
        yield cluster
    finally:
        cluster.close()


def free_port(host: str = LOOPBACK) -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(pids: Sequence[int]) -> None:
    """Return as soon as none of these processes runs."""
    assert pids, "no process has said that it ran"
    wait_until(lambda: not any(map(is_alive, pids)), f"the end of {pids}")


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a caller: its status, and what it printed."""
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out, err


def certificates(folder: Path) -> Security:
    """Certificates of a new authority, for this computer, with which everybody asks everybody for one."""
    folder.mkdir(parents=True, exist_ok=True)
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=farmhand"
    names = f"subjectAltName=IP:{LOOPBACK},DNS:localhost"
    subprocess.run(
        ["openssl", *words.split(), "-keyout", key, "-out", certificate, "-addext", names],
        check=True,
        capture_output=True,
        timeout=DEADLINE,
    )
    files = dict.fromkeys(("client", "scheduler", "worker"), (certificate, key))
    return Security(
        tls_ca_file=str(certificate),
        require_encryption=True,
        **{f"tls_{role}_cert": str(cert) for role, (cert, _) in files.items()},
        **{f"tls_{role}_key": str(key) for role, (_, key) in files.items()},
    )
