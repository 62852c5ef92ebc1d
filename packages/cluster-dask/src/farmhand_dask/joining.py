"""Getting to a Dask cluster, and who is there: the caller's side.

Nothing here uses what a worker would have to import, before it is known that it can.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress

import farmhand
from farmhand import UsageError
from farmhand.cpus import cpu_count
from farmhand.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    import distributed

__all__ = ["Cluster", "Place"]

EXAMPLE = "'dask:tcp://10.0.0.1:8786'"
PACKAGES = {  # and what to import of them
    "farmhand": "farmhand:__version__",
    "farmhand-dask": "farmhand_dask.agent:__name__",
}
_BATCH = 64  # workers that are asked in one message to the scheduler
_AT_ONCE = 16  # such messages: the scheduler has other things to do


@dataclass(frozen=True, slots=True)
class Place:
    """One Dask worker, as its scheduler knows it.

    Parameters
    ----------
    address : str
        Where it listens, which is also what identifies it.
    name : str
        What whoever started it calls it; often a number.
    host : str
        The computer's address.
    threads : int
        How many tasks it runs at once.
    resources : mapping of str to float
        What it was said to have, for tasks that need it (``--resources "GPU=2"``).
    memory_limit : int
        Bytes that it may use; 0: no limit.
    nanny : bool
        Whether a nanny watches it, and starts it again when it dies.
    status : str
        ``'running'``; or, for example, ``'paused'`` (it begins no task), ``'closing_gracefully'``.
    tasks : int
        How many it runs, or is to run next, whoever's they are; as it last said, which is seconds ago.
    """

    address: str
    name: str = ""
    host: str = ""
    threads: int = 1
    resources: Mapping[str, float] = field(default_factory=dict)
    memory_limit: int = 0
    nanny: bool = False
    status: str = "running"
    tasks: int = 0


class Cluster:
    """A Dask cluster that this process has a client of; :meth:`join` makes one.

    Parameters
    ----------
    client : distributed.Client
        A client that works, not an asynchronous one.
    closing : sequence
        What :meth:`close` is to close, in this order.

    Attributes
    ----------
    client : distributed.Client
        The client, for whatever Dask can do.
    """

    def __init__(self, client: distributed.Client, closing: Sequence[Any] = ()) -> None:
        self.client = client
        self._closing = [*closing]

    @classmethod
    def join(cls, target: object | None = None, timeout: float = 10.0) -> Self:
        """Get to a cluster.

        Parameters
        ----------
        target : str, distributed.Client, cluster object or None
            The address of a scheduler, or the name of its file (``dask scheduler --scheduler-file``); a
            client; or a cluster object, of dask-jobqueue for example. None: the client that this process
            uses by default if there is one, else the address in Dask's configuration
            (``DASK_SCHEDULER_ADDRESS``), else a cluster within this process, which has all its CPUs.
        timeout : float
            Seconds within which the scheduler must answer.

        Raises
        ------
        UsageError
            There is no Dask, no such thing as ``target``, or no answer.
        """
        dask, distributed = _modules()
        if target is None:
            with suppress(ValueError):
                target = distributed.Client.current()
        if target is None:
            target = dask.config.get("scheduler-address", None)
        if target is None:
            return cls._here(timeout)
        if isinstance(target, distributed.Client):
            return cls._of_client(target)
        if isinstance(target, (str, os.PathLike)):
            return cls._at(os.fspath(target), timeout)
        if isinstance(getattr(target, "scheduler_address", None), str):
            return cls._of_object(target, timeout)
        raise UsageError(
            f"executor: {target!r} is no Dask cluster: give the address of a scheduler ({EXAMPLE}), the name "
            "of a scheduler file, a distributed.Client, or a cluster object such as LocalCluster"
        )

    @classmethod
    def _here(cls, timeout: float) -> Self:
        """Scheduler and worker as threads of this process.

        Nothing starts faster: no interpreter, and no script that is imported again. Nothing outlives this
        process, nobody else can connect to it, and no nanny changes the environment of farmhand's processes.
        """
        import logging

        dask, distributed = _modules()

        # Each of the two has a web server, and no option that says none.
        common = {"protocol": "inproc://", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
        # A limit would be that of this whole process; it would pause the worker, and help nobody.
        slots = {"nthreads": cpu_count(), "memory_limit": 0}
        folder = _Folder()
        # Nothing runs there that a profile could tell of.
        settings = {"temporary-directory": folder.name, "distributed.worker.profile.enabled": False}
        with dask.config.set(settings):
            cluster = distributed.SpecCluster(
                scheduler={"cls": distributed.Scheduler, "options": common},
                workers={0: {"cls": distributed.Worker, "options": common | slots}},
                silence_logs=logging.ERROR,
                name="farmhand",
            )
        try:
            client = _client(cluster, timeout)
        except BaseException:
            _close(cluster)
            raise
        return cls(client, [client, cluster, folder])

    @classmethod
    def _of_client(cls, client: distributed.Client) -> Self:
        if client.asynchronous:
            raise UsageError(
                f"executor: {client!r} is asynchronous; give a Client that was made without "
                "asynchronous=True, or the address of its scheduler"
            )
        if client.status not in ("running", "connecting"):
            raise UsageError(f"executor: the Client is {client.status}; make a new one")
        return cls(client)

    @classmethod
    def _at(cls, target: str, timeout: float) -> Self:
        began = time.monotonic()
        address = _read_scheduler_file(target, timeout) if _is_file_name(target) else target
        _check_address(address)
        named = f"{address} (from {target})" if address != target else address
        left = max(1.0, timeout - (time.monotonic() - began))
        try:
            _greet(address, left)
            client = _client(address, left)
        except ImportError as error:  # Dask's word for versions that cannot work together
            raise UsageError(
                f"executor: the Dask scheduler at {named} refuses this program: {error}"
            ) from error
        except (OSError, TimeoutError) as error:
            raise UsageError(
                f"executor: no Dask scheduler answers at {named}; waited {timeout:g} s "
                f"({_last_words(error)}). Is `dask scheduler` running there, is the port right, can this "
                "computer reach it (firewall, VPN), do both use TLS or neither?"
            ) from None  # the last words are all that Dask's four tracebacks say
        except Exception as error:  # TLS without certificates, or a server that is no scheduler
            raise UsageError(f"executor: cannot join a Dask cluster at {named}: {error}") from error
        return cls(client, [client])

    @classmethod
    def _of_object(cls, cluster: Any, timeout: float) -> Self:
        if getattr(cluster, "asynchronous", False):
            raise UsageError(
                f"executor: {cluster!r} is asynchronous; make it without asynchronous=True, or give the "
                "address of its scheduler"
            )
        try:
            client = _client(cluster, timeout)
        except (OSError, RuntimeError, TimeoutError) as error:
            raise UsageError(f"executor: {cluster!r} cannot be joined: {_last_words(error)}") from error
        return cls(client, [client])

    def close(self) -> None:
        """Leave the cluster, and end what :meth:`join` has made, nothing else. Safe to call twice."""
        closing, self._closing = self._closing, []
        for one in closing:
            _close(one)

    # -- who is there -------------------------------------------------------------------------------

    def places(self, timeout: float = 10.0) -> dict[str, Place]:
        """All workers that there are now, by their addresses.

        Parameters
        ----------
        timeout : float
            Seconds within which the scheduler must answer.

        Raises
        ------
        OSError, TimeoutError
            The scheduler is gone, or does not answer.
        """
        found: dict[str, Place] = _sync(self.client, self._places_within, timeout)
        return found

    async def _places_within(self, timeout: float) -> dict[str, Place]:
        return await asyncio.wait_for(self._places(), timeout)

    async def _places(self) -> dict[str, Place]:
        scheduler = self.client.scheduler
        identity = await scheduler.identity()  # all of them; versions that can limit it have this as default
        if len(identity["workers"]) < identity.get("n_workers", 0):
            identity = await scheduler.identity(n_workers=-1)
        return {address: _place(address, about) for address, about in identity["workers"].items()}

    @property
    def maximum(self) -> int | None:
        """To how many threads the cluster grows by itself, if work waits; None where that is not known."""
        adaptive = getattr(self.client.cluster, "_adaptive", None)
        workers = getattr(adaptive, "maximum", None)
        if workers is None or workers == float("inf"):
            return None
        return int(workers) * self._threads_of_a_worker()

    def _threads_of_a_worker(self) -> int:
        """As many as a worker has that is yet to come; where that is not known, as most have."""
        cluster: Any = self.client.cluster
        job = getattr(cluster, "_dummy_job", None)  # of dask-jobqueue, where one job can be several workers
        threads = getattr(job, "worker_process_threads", None)
        if threads is None:
            with suppress(Exception):
                options = cluster.new_spec["options"]
                threads = next(
                    options[name] for name in ("nthreads", "threads", "cores") if options.get(name)
                )
        if threads is None:
            counts = Counter(place.threads for place in self.places().values())
            threads = counts.most_common(1)[0][0] if counts else 1
        return max(1, int(threads))

    def examine(self, addresses: Collection[str], timeout: float = 10.0) -> dict[str, str]:
        """Find the workers that cannot run farmhand's processes.

        Parameters
        ----------
        addresses : collection of str
            Those to ask. One that has gone meanwhile is left out.
        timeout : float
            Seconds within which a worker must answer.

        Returns
        -------
        dict of str to str
            By the address of each unfit worker, what is wrong with it and what to do: words that can follow
            "the worker tcp://... ".
        """
        found: dict[str, str] = _sync(self.client, self._examine, [*addresses], timeout)
        return found

    async def _examine(self, addresses: list[str], timeout: float) -> dict[str, str]:
        scheduler = self.client.scheduler
        question = {"op": "versions", "packages": [*PACKAGES]}
        answers, silent = await _ask(scheduler, addresses, question, timeout)
        problems = {}
        fit = []  # as far as they say; sources on PYTHONPATH say nothing, and what is installed may be broken
        for address, answer in answers.items():
            versions = answer["packages"]
            problem = _unfit_system(answer)
            if problem is None and not any(versions.get(name) is None for name in PACKAGES):
                problem = _unfit_packages(versions)
            if problem is None:
                fit.append(address)
            else:
                problems[address] = problem
        problems |= await self._import(fit, timeout)
        if silent:
            there = await self._places()
            for address in silent & there.keys():
                problems[address] = f"has not answered within {timeout:g} s: it may hang; restart it"
        return problems

    async def _import(self, addresses: list[str], timeout: float) -> dict[str, str]:
        """What is wrong with workers that have this very Python, by importing our packages there.

        A worker that got a function of ours and could not load it would end. The version of a package that
        does not say it is ours: sources say the same on both sides. What travels is the name of a function
        of the standard library: there is nothing of ours to import.
        """
        import pkgutil
        from pickle import dumps

        found: dict[str, dict[str, str | None]] = {address: {} for address in addresses}
        problems: dict[str, str] = {}
        for package, where in PACKAGES.items():
            question = {
                "op": "run",
                "function": dumps(pkgutil.resolve_name),
                "args": dumps((where,)),
                "kwargs": dumps({}),
                "wait": True,
            }
            answers, _ = await _ask(self.client.scheduler, addresses, question, timeout)
            for address in addresses:
                answer = answers.get(address)
                if answer is None:  # gone
                    found.pop(address, None)
                elif address in found:
                    said = answer["result"] if answer["status"] == "OK" else None
                    found[address][package] = (
                        said if said is None or package == "farmhand" else _ours(package)
                    )
                    if said is None and "No module named 'farmhand" not in (why := _exception(answer)):
                        problems.setdefault(address, f"cannot load {package}: {why}")
        for address, versions in found.items():
            if address not in problems and (problem := _unfit_packages(versions)) is not None:
                problems[address] = problem
        return problems


def _modules() -> tuple[Any, Any]:
    try:
        import dask.config
        import distributed
    except ImportError as error:
        raise UsageError(
            f"executor: Dask is not installed ({error}); `pip install farmhand-dask` brings it"
        ) from error
    return dask, distributed


def _client(target: object, timeout: float) -> distributed.Client:
    """A client that is nobody's default: what else this program does with Dask stays as it is."""
    from distributed import Client

    client: Any = Client.__new__(Client)
    try:
        client.__init__(target, timeout=timeout, set_as_default=False)
    except BaseException:
        _close(client)
        with suppress(Exception):
            client._loop_runner.stop()  # which a client that has never worked leaves to nobody
        raise
    made: distributed.Client = client
    return made


def _greet(address: str, timeout: float) -> None:
    """Have a word with a server: a client would wait for ever for one that takes a connection and is silent.

    Raises
    ------
    Exception
        There is none, or it does not speak as Dask does.
    """
    import dask.config
    from distributed import Security
    from distributed.comm import connect

    if address.startswith("inproc:") or dask.config.get("distributed.client.security-loader", None):
        return

    async def greet() -> None:
        comm = await connect(address, timeout=timeout, **Security().get_connection_args("client"))
        try:
            await comm.write({"op": "echo", "data": "", "reply": True})
            await comm.read()
        finally:
            comm.abort()

    async def greet_in_time() -> None:
        try:
            await asyncio.wait_for(greet(), timeout + 0.1)  # connect() knows better why it has failed
        except TimeoutError:
            heard.set_exception(TimeoutError("something is there, but does not answer as Dask does"))
        except BaseException as error:
            heard.set_exception(error)
        else:
            heard.set_result(None)

    heard: Future[None] = Future()
    # In a thread, as this one may have a loop that runs; it may end later, as looking up a name does not stop
    threading.Thread(target=lambda: asyncio.run(greet_in_time()), name="farmhand greets", daemon=True).start()
    heard.result()


def _sync(client: Any, function: Callable[..., Any], *args: object) -> Any:
    """What a coroutine returns that runs where the client does its work."""
    if client.scheduler is None or client.status in ("closing", "closed"):
        raise OSError("the Dask client is closed")
    return client.sync(function, *args)


def _close(one: Any) -> None:
    """Close a client, a cluster, a folder; what they say when the other side is gone helps nobody by then."""
    import logging

    loggers = [logging.getLogger(f"distributed.{name}") for name in ("client", "core", "batched", "utils")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        one.close()
    except Exception:
        pass  # its scheduler is gone, for example: there is nothing left to be closed
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _Folder:
    """Where Dask may put its files in this process; it goes when it is closed, or with the process."""

    def __init__(self) -> None:
        self.name = tempfile.mkdtemp(prefix="farmhand-dask-")
        self.close = weakref.finalize(self, shutil.rmtree, self.name, ignore_errors=True)


def _is_file_name(target: str) -> bool:
    return "://" not in target and (target.endswith(".json") or os.path.isfile(target))


def _read_scheduler_file(path: str, timeout: float) -> str:
    """The address in the file that a scheduler writes when it starts, which may be just now."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with open(path, encoding="utf-8") as file:
                return str(json.load(file)["address"])
        except FileNotFoundError:
            problem = "there is no such file"
        except OSError as error:
            raise UsageError(
                f"executor: the scheduler file {path} cannot be read ({error.strerror})"
            ) from None
        except (KeyError, TypeError, ValueError):  # it is half written, or something else
            problem = 'it has no {"address": ...}'
        if time.monotonic() >= deadline:
            raise UsageError(
                f"executor: {path} is not the file of a Dask scheduler: {problem}; waited {timeout:g} s. "
                f"`dask scheduler --scheduler-file {path}` writes it"
            )
        time.sleep(0.05)


def _check_address(address: str) -> None:
    """Refuse what Dask would not understand, or would try in vain."""
    from distributed.comm.addressing import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    problem = ""
    scheme, location = parse_address(address)
    if scheme in ("http", "https"):
        problem = "that is how a browser finds its dashboard"
    elif "/" in location and "://" not in address:
        problem = "'//' is missing"
    else:
        try:
            get_backend(scheme)
            if scheme in ("tcp", "tls", "ws", "wss", "ucx"):
                host, port = parse_host_port(location)
                if not 0 < port < 65536 or any(sign in host for sign in "/ @"):
                    problem = f"{location!r} is no host and port"
        except (ImportError, ValueError) as error:
            problem = str(error)
    if problem:
        raise UsageError(
            f"executor: {address!r} is no address of a Dask scheduler ({problem}); write it as {EXAMPLE}"
        )


def _last_words(error: BaseException) -> str:
    """Why a connection failed in the end: what Dask says of it comes from that."""
    words = str(error)
    cause = error.__cause__
    while cause is not None:
        words = str(cause) or words
        cause = cause.__cause__
    return words or type(error).__name__


def _place(address: str, about: Mapping[str, Any]) -> Place:
    return Place(
        address,
        name=str(about["name"]),
        host=str(about["host"]),
        threads=int(about["nthreads"]),
        resources=dict(about["resources"] or {}),
        memory_limit=int(about["memory_limit"] or 0),
        nanny=bool(about["nanny"]),
        status=str(about["status"]),
        tasks=_tasks(about.get("metrics", {}).get("task_counts", {})),
    )


def _tasks(counts: Any) -> int:
    """How many of a worker's tasks have a thread, or wait for one, by its counts of each state."""
    try:
        return sum(int(counts.get(state, 0)) for state in ("executing", "ready", "constrained"))
    except (AttributeError, TypeError, ValueError):  # some version may count otherwise
        return 0


async def _ask(
    scheduler: Any, addresses: Sequence[str], question: Mapping[str, Any], timeout: float
) -> tuple[dict[str, Any], set[str]]:
    """What workers answer, through the scheduler; and which have not within ``timeout`` seconds.

    They are asked many at a time; those of a batch in which one is silent are asked again one by one.
    """
    slots = asyncio.Semaphore(_AT_ONCE)
    answers: dict[str, Any] = {}
    silent: set[str] = set()

    async def ask(batch: list[str]) -> None:
        async with slots:
            try:
                broadcast = scheduler.broadcast(msg=dict(question), workers=batch, on_error="ignore")
                answers.update(await asyncio.wait_for(broadcast, timeout))
                return
            except TimeoutError:
                pass
        if len(batch) == 1:
            silent.update(batch)
        else:
            await asyncio.gather(*(ask([address]) for address in batch))

    await asyncio.gather(*(ask(batch) for batch in _batches(addresses)))
    return answers, silent


def _batches(addresses: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(addresses), _BATCH):
        yield [*addresses[start : start + _BATCH]]


def _unfit_system(answer: Mapping[str, Any]) -> str | None:
    if answer["host"].get("OS") == "Windows":
        return "runs on Windows, where farmhand has no processes yet: use workers on Linux or macOS"
    theirs = answer["packages"]["python"].split(".")
    ours = [str(part) for part in sys.version_info]
    if theirs[:2] != ours[:2]:
        return (
            f"has Python {'.'.join(theirs[:3])}, this program {'.'.join(ours[:3])}, and one cannot load what "
            f"the other pickles: start it in an environment with Python {'.'.join(ours[:2])}"
        )
    return None


def _exception(answer: Mapping[str, Any]) -> str:
    """What was raised in a worker, in its answer."""
    return str(answer.get("exception_text", "it does not say why"))


def _unfit_packages(theirs: Mapping[str, str | None]) -> str | None:
    needed = {name: _ours(name) for name in PACKAGES}
    missing = [name for name in needed if theirs.get(name) is None]
    other = [name for name, ours in needed.items() if theirs.get(name) != ours]
    if not other:
        return None
    if missing:
        found = f"has no {' and no '.join(missing)}"
    else:
        has, here = (" and ".join(f"{name} {of[name]}" for name in other) for of in (theirs, needed))
        found = f"has {has}, this program {here}"
    pip = " ".join(f"{name}=={ours}" for name, ours in needed.items())
    return f"{found}: run `pip install {pip}` in its environment, and restart it"


def _ours(package: str) -> str:
    """The version of a package of ours in this process."""
    from importlib.metadata import PackageNotFoundError, version

    if package == "farmhand":
        return farmhand.__version__
    try:
        return version(package)
    except PackageNotFoundError:  # its sources are on PYTHONPATH
        return farmhand.__version__
