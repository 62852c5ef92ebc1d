"""farmhand in a Dask worker: one agent for each run starts processes there and speaks for them.

A lease is a Dask task that does nothing but wait: it stands for one process of farmhand, so that Dask counts
what is used. The first lease of a run makes the agent, the caller connects to it, and when it ends, for
whatever reason, all its leases end. The processes are children of the Dask worker, as they would be of the
script on one computer, and die with it.

The agent has a thread of its own, in which core's local executor works. What the event loop of the Dask
worker does for it is to read and write.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import traceback
from collections import deque
from time import monotonic, sleep
from typing import Any

from distributed import WorkerPlugin, get_worker
from distributed.comm import Comm, CommClosedError
from distributed.core import Status
from distributed.worker import Worker

from farmhand.events import ExecutorEvent, ItemsDone, ProcessDied, ProcessStarted, Reported
from farmhand.executor import Job
from farmhand.local.supervise import LocalExecutor
from farmhand.spool import Spool
from farmhand.task import Task
from farmhand.values import replace
from farmhand_dask import messages
from farmhand_dask.folders import sees
from farmhand_dask.messages import Frames, Setup, from_wire, pack, to_wire, unpack, weigh

__all__ = ["HANDLER", "RELAY", "hold", "topic"]

HANDLER = "farmhand"  # the operation of a Dask worker that connects to the agent of a run
RELAY = "farmhand-relay"  # the one that takes a message, or waits for one, where no connection is possible

_ALONE = 60.0  # seconds without a caller, at first: it has gone before it came
_SILENT = 30.0  # seconds without a word of the caller, where there is no connection whose end would tell
_POLL = 1.0  # seconds that an answer may be waited for
_MOST = 64 << 20  # bytes that wait to be sent; beyond that the processes have to wait, too
_PARTING = 1.5  # seconds in which processes hand over what they have, when the Dask worker closes
_FIRST = 0.05  # seconds between two looks, as long as the caller has not said

_RUNNING = (Status.running, Status.paused)
_RUNS = ("executing", "long-running")  # of a Dask task; one that is forgotten meanwhile is "cancelled"

_agents: dict[tuple[str, str], Agent] = {}  # by the Dask worker's address and the run
_lock = threading.Lock()


def topic(run: str) -> str:
    """The topic under which leases of a run say in Dask's log of events that they have begun."""
    return f"farmhand-{run}"


def hold(run: str, lease: str) -> None:
    """The lease: a Dask task that stands for one process, until the caller releases it or is gone.

    Parameters
    ----------
    run : str
        Whose agent it belongs to.
    lease : str
        Its name.
    """
    worker = get_worker()
    while True:
        with _lock:
            agent = _agents.get((worker.address, run))
            if agent is None:
                agent = Agent(worker, run)
                agent.start()
                _agents[worker.address, run] = agent
            end = agent.lease(lease)
        if end is not None:
            break
        sleep(0.01)  # that one is just ending
    worker.log_event(topic(run), {"lease": lease, "worker": worker.address})
    end.wait()


def _find(worker: Worker, run: str) -> Agent | None:
    with _lock:
        return _agents.get((worker.address, run))


class _Farewell(WorkerPlugin):  # type: ignore[misc]
    """Lets an agent hand over what its processes have finished when the Dask worker closes."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def teardown(self, worker: Worker) -> None:
        await self._agent.farewell()


class Agent:
    """The processes of one run on one Dask worker."""

    def __init__(self, worker: Worker, run: str) -> None:
        self._worker = worker
        self._run = run
        self._loop = worker.loop.asyncio_loop
        self._computer = socket.gethostname()
        self._executor = LocalExecutor()
        self._leases: dict[str, threading.Event] = {}
        self._arrived: deque[Frames] = deque()
        self._numbers: set[int] = set()
        self._told: dict[int, int | None] = {}  # what the caller knows each process to be on
        # the latest of each process, and its latest zero, with which an item begins anew
        self._reports: dict[tuple[int, bool], Reported] = {}
        self._pending: list[Any] = []  # what is to be told
        self._weight = 0  # its bytes, about
        self._sending = False  # a message is on its way to the caller; the next is made when it has left
        self._outgoing: asyncio.Queue[Frames] = asyncio.Queue()
        self._pace = _FIRST
        self._look_at = 0.0
        self._link: object = None  # the caller's, the only one that it has ever had
        self._heard = monotonic()  # the last word of the caller
        self._silence = _ALONE  # for how long it may say none
        self._leaving = False  # the Dask worker closes
        self._over = False  # the caller is gone, or has said that it is over
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin; called once, before anything else."""
        self._worker.loop.add_callback(self._settle)
        threading.Thread(target=self._serve, name=f"farmhand agent {self._run}", daemon=True).start()

    def lease(self, name: str) -> threading.Event | None:
        """What is set when the lease is over; None when the agent is at its end."""
        if self._over or self._leaving:
            return None
        return self._leases.setdefault(name, threading.Event())

    # -- in the event loop of the Dask worker ---------------------------------------------------------

    async def _settle(self) -> None:
        worker = self._worker
        worker.handlers.setdefault(HANDLER, _attending(worker))
        worker.handlers.setdefault(RELAY, _relaying(worker))
        worker.plugins[topic(self._run)] = _Farewell(self)

    def claim(self, link: object) -> bool:
        """Whether ``link`` is the caller's; a second one means that the caller has given up the first."""
        if self._link is None:
            self._link = link
        elif self._link != link:
            self.finish()
            return False
        return True

    async def attend(self, comm: Comm) -> None:
        """Serve the caller at the other end until it is gone."""
        self._silence = float("inf")  # the end of the connection says more
        writing = asyncio.ensure_future(self._write(comm))
        try:
            while True:
                for message in await comm.read():
                    self.take(from_wire(message))
        except (CommClosedError, OSError):
            pass
        finally:
            self.finish()
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing

    async def _write(self, comm: Comm) -> None:
        try:
            while True:
                frames = await self._outgoing.get()
                await comm.write([to_wire(frames)])
                await _drained(comm)
                self._has_left()
                if self.has_said_all():
                    await comm.close()
                    return
        except (CommClosedError, OSError):
            self.finish()

    async def poll(self) -> list[Any]:
        """The next message for the caller, if there is one before long."""
        try:
            frames = await asyncio.wait_for(self._outgoing.get(), _POLL)
        except TimeoutError:
            return []
        self._has_left()
        return [to_wire(frames)]

    def hear(self) -> None:
        """The caller is there; the next time it is silent for long, it is gone."""
        self._heard = monotonic()
        self._silence = _SILENT

    def take(self, frames: Frames) -> None:
        """A message of the caller."""
        self._arrived.append(frames)
        self._executor.wake()

    def finish(self) -> None:
        """The caller is gone."""
        self._over = True
        self._executor.wake()

    async def farewell(self) -> None:
        """The Dask worker closes: let the processes hand over what they have."""
        self._leaving = True
        self._executor.wake()
        deadline = monotonic() + 2 * _PARTING
        while monotonic() < deadline and not self.has_said_all():
            await asyncio.sleep(0.01)

    def has_said_all(self) -> bool:
        """Whether it is at its end, and the caller has heard everything."""
        return self._ended.is_set() and self._outgoing.empty()

    def _has_left(self) -> None:
        self._sending = False
        self._executor.wake()

    # -- the agent's thread ---------------------------------------------------------------------------

    def _serve(self) -> None:
        why = ""
        try:
            while not self._over and not self._leaving:
                self._turn(self._pace if self._numbers else 0.5)
                if self._worker.status not in _RUNNING:
                    self._leaving = True
                elif self._silence < float("inf") and not self._is_wanted():
                    break
            if self._leaving and not self._over:
                why = "its Dask worker was closed"
                self._part()
        except BaseException:
            why = f"farmhand failed on its Dask worker:\n{traceback.format_exc()}"
        finally:
            self._end(why)

    def _is_wanted(self) -> bool:
        """Without a connection whose end would tell: whether there is a caller, as far as can be seen.

        Dask forgets the leases of a client that is gone, and those that are given back before they are known
        to have begun; but it cannot end them.
        """
        if monotonic() - self._heard > self._silence:
            return False
        tasks = [self._worker.state.tasks.get(lease) for lease in [*self._leases]]
        return not tasks or any(task is not None and task.state in _RUNS for task in tasks)

    def _turn(self, seconds: float) -> None:
        while self._arrived:
            for command, *fields in unpack(self._arrived.popleft()):
                self._perform(command, *fields)
        if self._weight > _MOST:  # the way to the caller is narrow: let the processes wait, too
            sleep(0.01)
            events: list[ExecutorEvent] = []
        else:
            events = self._executor.wait(seconds)
        self._tell(events)

    def _perform(self, command: str, *fields: Any) -> None:
        executor = self._executor
        match command:
            case messages.SEND:
                executor.send(*fields)
            case messages.START:
                if not self._leaving:  # else it is lost with this agent
                    executor.start(*fields)
            case messages.RECALL:
                executor.recall(*fields)
            case messages.STOP:
                executor.stop(*fields)
            case messages.KILL:
                executor.kill(*fields)
            case messages.DEFINE:
                executor.define(*fields)
            case messages.LIMIT:
                executor.limit(*fields)
            case messages.PING:
                self._pending.append((messages.PONG, *fields))
            case messages.RELEASE:
                end = self._leases.pop(fields[0], None)
                if end is not None:
                    end.set()
            case messages.PACE:
                self._pace = fields[0]
            case messages.SETUP:
                self._set_up(*fields)
            case messages.CLOSE:
                self._over = True

    def _set_up(self, setup: Setup) -> None:
        spool = None
        if setup.spool is not None:
            folder, threshold, sync, proof = setup.spool
            if sees(proof):
                spool = Spool(folder, threshold, sync)
        self._pace = setup.pace
        self._executor.open(
            Job(
                Task(_nobody),
                lambda: setup.shipped,
                max(setup.share, self._worker.state.nthreads),  # the caller may not know this worker yet
                setup.timeout,
                memory_limit=setup.memory_limit,
                capture=setup.capture,
                spool=spool,
                path=setup.path,
                argv=setup.argv,
                gather=setup.gather,
            )
        )

    def _tell(self, events: list[ExecutorEvent]) -> None:
        """Add to what is to be told, and send it off if the last message has left."""
        for event in events:
            match event:
                case ItemsDone():
                    self._weight += weigh(event)
                case Reported():
                    self._reports[event.number, event.complete == 0.0] = event
                    continue
                case ProcessStarted():
                    self._numbers.add(event.number)
                    event = replace(event, computer=self._computer)
                case ProcessDied():
                    self._numbers.discard(event.number)
                    self._told.pop(event.number, None)
                    if self._leaving:
                        event = replace(event, kind="lost", reason="its Dask worker was closed")
            self._say_reports()
            self._pending.append(event)
        now = monotonic()
        if now >= self._look_at:
            self._look_at = now + self._pace
            self._say_reports()
            self._say_what_runs()
        if self._pending and not self._sending:
            self._sending = True
            frames = pack(self._pending)
            self._pending.clear()
            self._weight = 0
            self._loop.call_soon_threadsafe(self._outgoing.put_nowait, frames)

    def _say_reports(self) -> None:
        if self._reports:
            self._pending += self._reports.values()
            self._reports.clear()

    def _say_what_runs(self) -> None:
        changed: dict[int, tuple[int, float] | None] = {}
        for number in self._numbers:
            current = self._executor.current(number)
            index = None if current is None else current[0]
            if self._told.get(number) != index:
                self._told[number] = index
                changed[number] = current
        if changed:
            self._pending.append((messages.RUNNING, changed))

    def _part(self) -> None:
        """Let the processes hand over what they have finished, and end them."""
        self._end_leases()  # or Dask would have to cancel tasks that run, and says so
        for number in self._numbers:
            self._executor.stop(number)
        deadline = monotonic() + _PARTING
        while self._numbers and monotonic() < deadline:
            self._turn(0.05)

    def _end(self, why: str) -> None:
        with _lock:
            self._over = True
            if _agents.get((self._worker.address, self._run)) is self:
                del _agents[self._worker.address, self._run]
        try:
            self._executor.close()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and the caller knows
                self._loop.call_soon_threadsafe(
                    self._last_words, pack([*self._pending, (messages.ENDED, why)])
                )
            self._end_leases()

    def _end_leases(self) -> None:
        for end in [*self._leases.values()]:  # another may be just coming
            end.set()

    def _last_words(self, frames: Frames) -> None:
        self._ended.set()
        self._outgoing.put_nowait(frames)
        self._worker.plugins.pop(topic(self._run), None)


async def _drained(comm: Comm) -> None:
    """Return when the other end's computer has taken all: Dask's connections only put it into a buffer."""
    stream = getattr(comm, "stream", None)  # of TCP and TLS; others are within one process, or wait
    if stream is not None:
        await stream.write(b"")


def _attending(worker: Worker) -> Any:
    async def attend(comm: Comm, run: str) -> Status:
        agent = _find(worker, run)
        if agent is not None and agent.claim(comm):
            await comm.write(True)
            await agent.attend(comm)
        else:
            await comm.write(False)
        return Status.dont_reply

    return attend


def _relaying(worker: Worker) -> Any:
    agents: dict[str, Agent] = {}  # by link; also those that have ended, and may have last words

    async def relay(run: str, link: str, push: list[Any] | None = None) -> list[Any] | None:
        agent = agents.get(link)
        if agent is None:
            agent = _find(worker, run)
            if agent is None or not agent.claim(link):
                return None
            for old in [old for old, other in agents.items() if other.has_said_all()]:
                del agents[old]
            agents[link] = agent
        if agent.has_said_all():
            return None
        agent.hear()
        if push is None:
            return await agent.poll()
        for message in push:
            agent.take(from_wire(message))
        return []

    return relay


def _nobody() -> None:
    """Stands where a task would be that processes are forked with."""
