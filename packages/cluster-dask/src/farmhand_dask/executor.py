"""The executor for Dask: farmhand's processes on the workers of a cluster, one lease for each.

The farm's thread calls it, as any executor. What Dask's event loop and the thread that looks after the
cluster have to say is put into a queue, and a byte into a socket, so that ``wait`` returns; all that is known
about leases, links and processes belongs to the farm's thread alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import site
import socket
import sys
import sysconfig
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from distributed.client import Future

from farmhand.chunking import GATHER
from farmhand.errors import FarmhandError, UsageError
from farmhand.events import (
    ExecutorEvent,
    ExecutorFailed,
    ProcessDied,
    ProcessStarted,
    RoomChanged,
    RoundTrip,
)
from farmhand.executor import Job
from farmhand.values import replace
from farmhand_dask import messages
from farmhand_dask.agent import hold, topic
from farmhand_dask.folders import Proof
from farmhand_dask.joining import Cluster, Place
from farmhand_dask.leases import Lease, Leases
from farmhand_dask.links import Intake, Link, open_link
from farmhand_dask.messages import Frames, Setup, apart, unpack
from farmhand_dask.remotes import Remote
from farmhand_dask.waking import Bell

__all__ = ["ClusterLost", "DaskExecutor"]

_LOOK = 1.0  # seconds between two looks at which workers there are
_PLACES_A_SECOND = 500  # that such a look may cost; of more workers it is taken less often
_GIVE_UP = 10.0  # seconds without an answer of Dask's scheduler
_PACE = 0.1  # seconds between two looks of an agent at what its processes are on,
_AGENTS_A_SECOND = 500  # or so many agents in a second
_SPOKEN_A_SECOND = 8000  # messages of processes with results, which is about what one caller can take:
_MOST_GATHER = 0.2  # seconds; of many processes each gathers for longer than usual, up to so long
_PING = 1.0  # seconds
_PINGED = 16  # agents, each time
_CHANGED = 0.25  # by so much of itself a round trip must have changed to be told,
_LEAST_CHANGE = 0.0005  # seconds, and by so many
_PATIENCE = 3.0  # seconds that agents have to say that all has ended
_MISSED = 5  # looks in a row that do not find an agent's Dask worker, after which it is given up
_MEASURE = 0.25  # seconds between two looks at all round trips
_TRIES = 3  # times that a Dask worker may fail to get a process ready before it is left alone


class ClusterLost(FarmhandError):
    """The Dask cluster is gone, as far as can be seen from here."""


class DaskExecutor:
    """Runs a task in processes on a Dask cluster; see :class:`farmhand.executor.Executor`.

    One process for each thread that Dask's workers offer. They are real processes, children of a Dask worker:
    what is promised of processes on one computer (they can be killed, what they print is kept, their death
    is data) holds there as well.

    Parameters
    ----------
    target : Client, cluster or str, optional
        A ``distributed.Client``, a cluster (``LocalCluster``, ``SLURMCluster``, ...), the address of a
        scheduler, or the path of a scheduler file. By default the client that this process has, or else the
        scheduler that Dask is configured for, or else a cluster on this computer, for the run alone.
    workers : collection of str, optional
        Addresses or names of the Dask workers to use; by default all.
    resources : mapping of str to float, optional
        What each process needs of what Dask's workers were started with: ``{"GPU": 1}``.
    direct : bool, optional
        Whether results come straight from the workers (True), or through Dask's scheduler (False), for
        clusters whose workers cannot be reached from here. By default the first is tried.

    Raises
    ------
    UsageError
        The cluster cannot be reached, or a worker could not run tasks for us: another Python, or no farmhand.
        Raised when the run begins.
    """

    def __init__(
        self,
        target: object | None = None,
        *,
        workers: Collection[str] | None = None,
        resources: Mapping[str, float] | None = None,
        direct: bool | None = None,
    ) -> None:
        self._target = target
        self._only = None if workers is None else frozenset(workers)
        self._resources = dict(resources or {})
        self._direct = direct
        self._bell: Bell | None = None
        self._refused: set[int] = set()  # threads whose run was refused, and whose close() means nothing
        self._over = threading.Event()
        self._forget_all()

    def _forget_all(self) -> None:
        """Begin anew, for the next run."""
        self._run = os.urandom(6).hex()
        self._cluster: Cluster | None = None
        self._where = ""  # its scheduler's address: a client that is closed does not know it any more
        self._leases = Leases(self._resources)
        self._places: dict[str, Place] = {}  # the workers that can be used
        self._room = 0
        self._maximum = 0  # for how many processes an adaptive cluster may get room
        self._avoided: dict[str, str] = {}  # workers that are of no use, and why
        self._failures: dict[str, int] = {}  # agents that ended without having started a process, by address
        self._remotes: dict[str, Remote] = {}
        self._holders: dict[str, Remote] = {}  # by lease
        self._way = self._direct  # to the agents, as soon as it is known which is possible
        self._intake = Intake()
        self._slots: dict[int, tuple[Remote, str]] = {}  # of each process that has one, with its lease
        self._waiting: dict[int, list[Any]] = {}  # processes without a slot, and what they are to be told
        self._futures: dict[str, Future] = {}
        self._lost: list[str] = []  # why leases failed that nobody knows the worker of
        self._job: Job | None = None
        self._shipped = b""
        self._timeout: float | None = None
        self._definitions: list[bytes] = []
        self._proof: Proof | None = None
        self._pace = _PACE
        self._gather = GATHER  # of the processes that are started next
        self._ping_at = 0.0
        self._trip = 0.0  # the round trip that was last told
        self._measure_at = 0.0
        self._broken = False
        self._woken = False
        self._events: list[ExecutorEvent] = []

    # -- the farm's side ----------------------------------------------------------------------------

    def room(self) -> int:
        if self._bell is not None:
            self._refused.add(threading.get_ident())
            raise UsageError(
                "executor: this DaskExecutor is at work for another run; give each of two runs at the same "
                "time one of its own (they can have the same Client)"
            )
        self._bell = Bell()
        self._over = threading.Event()  # the thread of the run before may still look at its own
        cluster = self._cluster = Cluster.join(self._target)
        self._where = cluster.client.scheduler.address
        everybody = cluster.places()
        places = self._chosen(everybody)
        unfit = cluster.examine(places)
        if unfit:
            raise UsageError(_unfit_text(unfit))
        self._maximum = cluster.maximum or 0
        if everybody and not self._maximum:
            self._refuse_what_nobody_offers(places)
        return self._use(places)

    def open(self, job: Job) -> None:
        cluster, bell = self._joined, self._ready
        if job.start_method != "spawn":
            raise UsageError(
                f"start_method={job.start_method!r} copies this process, which cannot be done on another "
                "computer; with a Dask cluster leave it at 'spawn'"
            )
        self._job = job
        self._shipped = job.ship()
        self._timeout = job.timeout
        cluster.client.subscribe_topic(topic(self._run), partial(_lease_began, bell))
        watch = partial(self._watch, cluster, self._over, bell)
        threading.Thread(target=watch, name="farmhand workers", daemon=True).start()

    def start(self, number: int) -> None:
        self._waiting[number] = []
        job = self._job
        if self._proof is None and job is not None and job.spool is not None:
            self._proof = Proof(job.spool.folder)  # not sooner: now somebody will sweep that folder

    def send(self, number: int, indices: Sequence[int], payload: bytes, run: Sequence[int]) -> None:
        self._command(number, messages.SEND, indices, apart(payload), run)

    def define(self, definitions: bytes) -> None:
        self._definitions.append(definitions)
        self._everywhere(messages.DEFINE, definitions)

    def limit(self, timeout: float) -> None:
        self._timeout = timeout
        self._everywhere(messages.LIMIT, timeout)

    def recall(self, number: int, everything: bool) -> None:
        self._command(number, messages.RECALL, everything)

    def stop(self, number: int) -> None:
        if self._waiting.pop(number, None) is not None:
            self._events.append(ProcessDied(number, None, "it was stopped before it had started"))
        else:
            self._command(number, messages.STOP)

    def kill(self, number: int) -> None:
        if self._waiting.pop(number, None) is not None:
            self._events.append(ProcessDied(number, None, "it was killed before it had started"))
        else:
            self._command(number, messages.KILL)

    def current(self, number: int) -> tuple[int, float] | None:
        if number not in self._slots:
            return None
        running = self._slots[number][0].running.get(number)
        return None if running is None else (running[0], max(0.0, time.monotonic() - running[1]))

    def wake(self) -> None:
        self._woken = True
        self._ring()

    def _ring(self) -> None:
        if self._bell is not None:
            self._bell.ring()

    def wait(self, timeout: float | None) -> list[ExecutorEvent]:
        deadline = None if timeout is None else time.monotonic() + timeout
        bell = self._ready
        while True:
            self._act()
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if self._events or self._woken:
                left = 0.0
            elif self._slots:
                left = _PING if left is None else min(left, _PING)
            bell.sleep(left)
            self._take(bell)
            late = deadline is not None and time.monotonic() >= deadline
            if self._events or self._woken or late:
                break
        self._woken = False
        if self._waiting:  # a slot that has just been granted need not wait for the next call
            self._place()
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        if threading.get_ident() in self._refused:
            self._refused.discard(threading.get_ident())
            return
        if self._bell is None:
            return
        self._over.set()
        if self._cluster is not None:
            self._part(self._cluster, self._bell)
            self._cluster.close()
        if self._proof is not None:
            self._proof.remove()
        self._bell.close()
        self._bell = None
        self._forget_all()

    def _part(self, cluster: Cluster, bell: Bell) -> None:
        """End all processes, wait until that has happened, and give all leases back."""
        self._everywhere(messages.CLOSE)
        with contextlib.suppress(Exception):
            for future in self._futures.values():
                future.release()
        with contextlib.suppress(Exception):  # a cluster that is gone has nothing that could be ended
            deadline = time.monotonic() + _PATIENCE
            while self._remotes and time.monotonic() < deadline:
                bell.sleep(0.1)
                self._take(bell)
        for remote in self._remotes.values():
            remote.leave()
        with contextlib.suppress(Exception):
            if self._job is not None:
                cluster.client.unsubscribe_topic(topic(self._run))

    # -- what is said to the agents -------------------------------------------------------------------

    def _command(self, number: int, *command: Any) -> None:
        kind, *fields = command
        if number in self._waiting:
            self._waiting[number].append((kind, number, *fields))
        elif number in self._slots:
            self._slots[number][0].say(kind, number, *fields)

    def _everywhere(self, *command: Any) -> None:
        for remote in self._remotes.values():
            if remote.link is not None:  # else it is told all when it is linked
                remote.say(*command)

    def _act(self) -> None:
        """Have the right leases, give slots to processes, and say what there is to say."""
        if self._job is None or self._over.is_set():
            return
        self._place()
        self._plan()
        self._ping()

    def _place(self) -> None:
        """Give the processes that wait the slots that are free."""
        if not self._waiting:
            return
        for remote in self._remotes.values():
            while remote.link is not None and remote.unused and self._waiting:
                number = next(iter(self._waiting))
                remote.say(messages.START, number)
                for command in self._waiting.pop(number):
                    remote.say(*command)
                remote.numbers.add(number)
                self._slots[number] = remote, remote.unused.pop()

    def _plan(self) -> None:
        free: list[str] = []
        wanted = len(self._slots) + len(self._waiting)
        if len(self._futures) > wanted:
            free = [lease for remote in self._remotes.values() for lease in remote.unused]
        plan = self._leases.plan(wanted, free)
        for name in plan.release:
            self._give_back(name)
        for lease in plan.submit:
            self._submit(lease)

    def _submit(self, lease: Lease) -> None:
        about: dict[str, Any] = {}
        if lease.place is not None:
            about = {"workers": [lease.place], "allow_other_workers": False}
        elif self._only is not None:
            about = {"workers": list(self._only), "allow_other_workers": False}
        client = self._joined.client
        resources = self._resources or None
        try:
            future = client.submit(
                hold, self._run, lease.id, key=lease.id, pure=False, retries=0, resources=resources, **about
            )
        except Exception:
            if client.status not in ("closing", "closed"):
                raise
            self._on_lost()  # its owner has closed it
            return
        self._futures[lease.id] = future
        future.add_done_callback(partial(_lease_ended, self._ready, lease.id, lease.place))

    def _give_back(self, lease: str) -> None:
        remote = self._take_from_its_holder(lease)
        if remote is not None:
            remote.say(messages.RELEASE, lease)
        future = self._futures.pop(lease, None)
        if future is not None:
            future.release()

    def _take_from_its_holder(self, lease: str) -> Remote | None:
        remote = self._holders.pop(lease, None)
        if remote is not None:
            remote.leases.discard(lease)
            remote.unused.discard(lease)
        return remote

    def _ping(self) -> None:
        """Ask some agents for an answer, to know how long the way is."""
        now = time.monotonic()
        if now < self._ping_at:
            return
        self._ping_at = now + _PING
        left = _PINGED
        for address in [*self._remotes]:
            remote = self._remotes[address]
            if left and remote.link is not None and not remote.pinged:
                left -= 1
                remote.pinged = True
                remote.say(messages.PING, now)
                if len(self._remotes) > _PINGED:
                    self._remotes[address] = self._remotes.pop(address)  # it is somebody else's turn next

    # -- what has happened ------------------------------------------------------------------------------

    def _take(self, bell: Bell) -> None:
        """All that others have told."""
        while bell.happened:
            what, *about = bell.happened.popleft()
            getattr(self, f"_on_{what}")(*about)

    def _on_granted(self, lease: str, address: str) -> None:
        remote = self._remotes.get(address)
        client = self._joined.client
        if remote is None:
            remote = self._remotes[address] = Remote(address, client.loop)
            tell = partial(_link_says, self._ready, remote)
            direct = False if self._way is False else self._direct
            remote.reach(partial(open_link, client, address, self._run, tell, self._intake, direct))
        if self._leases.granted(lease, address) and not self._over.is_set():
            self._take_from_its_holder(lease)  # that was lost, which its link has not said yet
            self._holders[lease] = remote
            remote.leases.add(lease)
            remote.unused.add(lease)
            self._lost.clear()
        else:
            remote.say(messages.RELEASE, lease)

    def _on_linked(self, remote: Remote, link: Link, _: None) -> None:
        if self._remotes.get(remote.address) is not remote:
            return  # it was given up
        if self._way is None:
            self._way = link.direct  # where one cannot be reached, the others need not be tried
        if self._over.is_set():
            remote.linked(link, [(messages.CLOSE,)])
            return
        definitions = [(messages.DEFINE, data) for data in self._definitions]
        remote.linked(link, [(messages.SETUP, self._setup(remote.address)), *definitions])
        pace = max(_PACE, len(self._remotes) / _AGENTS_A_SECOND)
        if pace > 1.2 * self._pace:
            self._pace = pace
            self._everywhere(messages.PACE, pace)

    def _on_message(self, remote: Remote, _: Link, frames: Frames) -> None:
        self._intake.taken(frames)
        if self._remotes.get(remote.address) is not remote:
            return  # it was given up
        for thing in unpack(frames):
            if type(thing) is tuple:
                self._news(remote, *thing)
            else:
                self._event(remote, thing)

    def _news(self, remote: Remote, what: str, about: Any) -> None:
        now = time.monotonic()
        if what == messages.RUNNING:
            for number, current in about.items():
                if current is None:
                    remote.running.pop(number, None)
                else:
                    remote.running[number] = current[0], now - current[1]
        elif what == messages.PONG:
            remote.pinged = False
            remote.trips.append(now - about)
            self._measure()
        elif what == messages.ENDED:
            self._forget(remote, about or "its agent has ended")

    def _event(self, remote: Remote, event: ExecutorEvent) -> None:
        match event:
            case ProcessStarted():
                remote.useful = True
                self._failures.pop(remote.address, None)
                if event.computer == socket.gethostname():
                    event = replace(event, computer="")
            case ProcessDied():
                slot = self._slots.pop(event.number, None)
                remote.numbers.discard(event.number)
                remote.running.pop(event.number, None)
                if slot is not None and slot[1] in remote.leases:
                    remote.unused.add(slot[1])
        self._events.append(event)

    def _measure(self) -> None:
        """How long the way is: the middle of what it was at best to each of the agents."""
        now = time.monotonic()
        if self._trip and now < self._measure_at:
            return
        self._measure_at = now + _MEASURE
        best = sorted(min(remote.trips) for remote in self._remotes.values() if remote.trips)
        middle = best[len(best) // 2]
        if abs(middle - self._trip) > max(_LEAST_CHANGE, _CHANGED * self._trip):
            self._trip = middle
            self._events.append(RoundTrip(middle + self._gather - GATHER))

    def _on_ended(self, remote: Remote, _: Link, why: str) -> None:
        if self._remotes.get(remote.address) is remote:
            self._forget(remote, why)

    def _forget(self, remote: Remote, why: str) -> None:
        """An agent is gone, and with it its processes and leases."""
        address = remote.address
        del self._remotes[address]
        remote.leave()
        for number in sorted(remote.numbers):
            del self._slots[number]
            index, since = remote.running.get(number, (None, time.monotonic()))
            seconds = max(0.0, time.monotonic() - since)
            self._events.append(
                ProcessDied(number, index, f"{why} ({address})", time.time() - seconds, seconds, kind="lost")
            )
        for lease in remote.leases:
            del self._holders[lease]
            self._leases.ended(lease)
            future = self._futures.pop(lease, None)
            if future is not None:
                future.release()
        if remote.leases and not remote.useful and not self._over.is_set():
            self._failures[address] = self._failures.get(address, 0) + 1
            if self._failures[address] >= _TRIES:
                self._avoid({address: why})

    def _on_lease_failed(self, lease: str, place: str | None, why: str) -> None:
        if lease not in self._futures:
            return
        self._futures.pop(lease).release()
        self._leases.ended(lease)
        if place is not None:
            self._avoid({place: why})
        else:
            self._lost.append(why)
            if len(self._lost) >= _TRIES:
                self._fail(ClusterLost(f"Dask could not run farmhand on its workers: {why}"))

    def _on_lease_over(self, lease: str) -> None:
        """It ended by itself: its agent is at its end, or somebody cancelled it."""
        if lease in self._futures and lease not in self._holders:
            self._futures.pop(lease).release()
            self._leases.ended(lease)

    def _on_places(self, places: Mapping[str, Place], unfit: Mapping[str, str], maximum: int) -> None:
        self._maximum = maximum
        new = {address: why for address, why in unfit.items() if address not in self._avoided}
        for address in [*self._avoided]:
            if address not in places:
                del self._avoided[address]
        if new:
            self._avoid(new)
        for remote in [*self._remotes.values()]:
            remote.missed = 0 if remote.address in places else remote.missed + 1
            if remote.missed >= _MISSED:  # it hangs, and a connection alone would never say so
                self._forget(remote, "Dask's scheduler has given up its Dask worker")
        before = self._room
        if self._use(places) != before:
            self._events.append(RoomChanged(self._room))

    def _use(self, places: Mapping[str, Place]) -> int:
        """Go by these workers, as far as they are of use; for how many processes there is room then."""
        self._places = {a: place for a, place in places.items() if a not in self._avoided}
        self._leases.set_places(self._places)
        self._room = max(self._leases.room(), self._maximum)
        return self._room

    def _on_lost(self) -> None:
        text = (
            f"Dask's scheduler ({self._where}) does not answer any more. What has finished is stored; with a "
        )
        self._fail(ClusterLost(f"{text}cluster that works, the same call goes on with resume=True"))

    def _avoid(self, unfit: Mapping[str, str]) -> None:
        self._avoided.update(unfit)
        text = _unfit_text(unfit)
        if not self._use(self._places) and not self._remotes:
            self._fail(ClusterLost(f"no Dask worker is left that could be used. {text}"))
        else:
            logging.getLogger("farmhand").warning("not used: %s", text)

    def _fail(self, error: FarmhandError) -> None:
        if not self._broken:
            self._broken = True
            self._events.append(ExecutorFailed(error))

    # -- in another thread ------------------------------------------------------------------------------

    def _watch(self, cluster: Cluster, over: threading.Event, bell: Bell) -> None:
        """Look again and again which workers there are."""
        known: set[str] = set()
        unfit: dict[str, str] = {}
        answered = time.monotonic()
        pause = _LOOK
        while not over.wait(pause):
            try:
                places = self._chosen(cluster.places())
                new = places.keys() - known
                unfit = {a: why for a, why in unfit.items() if a in places} | cluster.examine(new)
                known = set(places)
                maximum = cluster.maximum or 0
            except Exception:
                closed = cluster.client.status == "closed"
                if closed or time.monotonic() - answered > _GIVE_UP:
                    if not over.is_set():
                        bell.tell("lost")
                    return
                continue
            answered = time.monotonic()
            pause = max(_LOOK, len(places) / _PLACES_A_SECOND)
            bell.tell("places", places, unfit, maximum)

    # -- small things -----------------------------------------------------------------------------------

    @property
    def _joined(self) -> Cluster:
        assert self._cluster is not None, "room() comes first"
        return self._cluster

    @property
    def _ready(self) -> Bell:
        assert self._bell is not None, "room() comes first"
        return self._bell

    def _refuse_what_nobody_offers(self, places: Mapping[str, Place]) -> None:
        """Raise an error where a cluster has nothing for us: that is a slip, nothing to wait for."""
        if not places:
            names = sorted(self._only or ())
            raise UsageError(f"executor: no Dask worker has one of the names or addresses workers={names}")
        for name, need in self._resources.items():
            if all(place.resources.get(name, 0) < need for place in places.values()):
                raise UsageError(
                    f"executor: no Dask worker has the resource {name}={need:g}; start workers that have it: "
                    f'`dask worker ... --resources "{name}={need:g}"`'
                )

    def _chosen(self, places: Mapping[str, Place]) -> dict[str, Place]:
        only = self._only
        return {
            address: place
            for address, place in places.items()
            if only is None or address in only or place.name in only
        }

    def _setup(self, address: str) -> Setup:
        job, place = self._job, self._places.get(address)
        assert job is not None
        processes = max(len(self._slots) + len(self._waiting), len(self._remotes))
        self._gather = max(self._gather, min(_MOST_GATHER, processes / _SPOKEN_A_SECOND))
        neighbours = [
            a for a, other in self._places.items() if place is not None and other.host == place.host
        ]
        spool = None
        if job.spool is not None and self._proof is not None:
            spool = job.spool.folder, job.spool.threshold, job.spool.sync, self._proof
        return Setup(
            self._shipped,
            max(1, sum(map(self._leases.slots, neighbours))),
            self._timeout,
            job.memory_limit,
            job.capture,
            _own_path(),
            tuple(sys.argv),
            spool,
            self._pace,
            self._gather,
        )


# What is told, in other threads, goes to the bell of its run: when that is over, nobody hears it.


def _link_says(bell: Bell, remote: Remote, what: str, link: Link, about: Any) -> None:
    bell.tell(what, remote, link, about)


def _lease_began(bell: Bell, event: tuple[float, Mapping[str, str]]) -> None:
    bell.tell("granted", event[1]["lease"], event[1]["worker"])


def _lease_ended(bell: Bell, lease: str, place: str | None, future: Future) -> None:
    if future.status == "error":
        bell.tell("lease_failed", lease, place, repr(future.exception()))
    else:
        bell.tell("lease_over", lease)


def _own_path() -> tuple[str, ...]:
    """Where this process looks for modules, without what is installed: the workers have that themselves."""
    installed = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    installed.append(site.getusersitepackages())
    paths = [os.path.abspath(path) for path in sys.path]
    return tuple(path for path in paths if not any(f"{path}/".startswith(f"{at}/") for at in installed))


def _unfit_text(unfit: Mapping[str, str]) -> str:
    """What is said of workers that cannot be used."""
    texts = [f"the Dask worker {address} {why}" for address, why in [*unfit.items()][:3]]
    more = len(unfit) - len(texts)
    return "; ".join(texts) + (f"; and {more} more" if more else "")
