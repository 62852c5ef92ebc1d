"""The local executor: processes of this machine, one channel for each, nothing shared.

Death is noticed in two ways, because each alone can be fooled: the process has ended, or its end
of the channel is closed.
"""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import sys
import time
from array import array
from collections.abc import Sequence

from farmhand import resources, seeds
from farmhand.codec import Packed
from farmhand.cpus import cpu_count
from farmhand.events import (
    ExecutorEvent,
    ItemError,
    ItemFailed,
    ItemOverMemory,
    ItemsDone,
    ItemsReturned,
    ItemsUnreadable,
    ItemTimedOut,
    ProcessDied,
    ProcessReady,
    ProcessStarted,
    Reported,
    SetupFailed,
    Usage,
)
from farmhand.executor import Job
from farmhand.local import frames, launch
from farmhand.local.output import Output
from farmhand.local.page import LEEWAY, Page
from farmhand.scratch import PLACE, Scratch, sweep
from farmhand.stdlib import socket
from farmhand.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["LocalExecutor"]

_READ = 1 << 20
_LOOK = 0.1  # seconds between looks at processes, where the system does not tell of their end
_LAST = 0.1  # seconds that a process has for its end once its channel is closed
_CARE = 0.25  # seconds between looks at what processes print and use
_SOON = 0.05  # the same, where their memory is limited, or much is printed


class _Worker:
    """A child and what is on its way to it and from it."""

    __slots__ = (
        "child",
        "closed",
        "end_by",
        "killed",
        "number",
        "outgoing",
        "parting",
        "peak",
        "reader",
        "reason",
        "scratch",
        "timed_out",
    )

    def __init__(self, number: int, child: launch.Child, scratch: str) -> None:
        self.number = number
        self.child = child
        self.scratch = scratch  # its directory, where it has made one
        self.reader = frames.FrameReader()
        self.outgoing = bytearray()
        self.closed = False  # the channel is at its end
        self.timed_out: int | None = None  # the item that was already called too long
        self.end_by = math.inf  # when it must have ended, for it cannot be heard of any more
        self.killed = False
        self.parting = False  # it closes its channel when it has said everything, and is killed then
        self.reason = ""  # why it had to be killed, when it was not told to
        self.peak: tuple[int | None, int] = (None, 0)  # an item, and the most memory seen in it


class LocalExecutor:
    """Runs a task in processes of this machine; see :class:`farmhand.executor.Executor`."""

    def __init__(self) -> None:
        self._workers: dict[int, _Worker] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._arrived = bytearray(_READ)  # what a process has sent, as long as it is being read
        self._events: list[ExecutorEvent] = []
        self._definitions: list[bytes] = []
        self._shipped: bytes | None = None
        self._spool: tuple[str, int, bool] | None = None
        self._job: Job | None = None
        self._timeout: float | None = None
        self._path: list[str] = []
        self._argv: list[str] = []
        self._care_at = 0.0
        self._oom_kills = 0
        self._scratch = Scratch()
        self._threads = 1  # for a numerical library in each process

    # -- the farm's side ---------------------------------------------------------------------------

    def room(self) -> int:
        return cpu_count()

    def open(self, job: Job) -> None:
        here = ""
        self._job = job
        self._timeout = job.timeout
        if job.spool is not None:
            self._spool = job.spool.folder, job.spool.threshold, job.spool.sync
        with contextlib.suppress(FileNotFoundError):  # somebody may have deleted it
            here = os.getcwd()
        self._path = [path or here for path in sys.path]  # the script may change directory later
        self._path += [path for path in job.path if path not in self._path and os.path.exists(path)]
        self._argv = list(sys.argv if job.argv is None else job.argv)
        sweep()
        self._oom_kills = resources.oom_kills()
        self._threads = max(1, cpu_count() // job.processes)
        if job.start_method == "spawn":
            self._shipped = job.ship()
        else:
            import farmhand.local.worker  # noqa: F401 - once here, not once in each process

    def start(self, number: int) -> None:
        job = self._job
        assert job is not None
        variables = self._scratch.variables(number)
        try:
            if job.start_method == "fork":
                others = self._not_for_children()
                child = launch.fork(number, self._threads, job.capture, variables, others, self._serve_forked)
                setup = frames.pack(frames.SETUP, None, None, None, self._spool, job.gather)
            else:
                child = launch.spawn(number, self._threads, job.capture, variables)
                about = (self._path, self._argv, self._shipped, self._spool, job.gather)
                setup = frames.pack(frames.SETUP, *about)
        except OSError as error:  # too many processes, descriptors, or too little memory
            why = error.strerror or error
            reason = f"it could not be started ({why}); use fewer processes, or raise that limit"
            self._events.append(ProcessDied(number, None, reason))
            return
        child.sock.setblocking(False)
        worker = self._workers[number] = _Worker(number, child, variables[PLACE])
        self._selector.register(child.sock, selectors.EVENT_READ, worker)
        if child.pidfd is not None:
            self._selector.register(child.pidfd, selectors.EVENT_READ, worker)
        self._events.append(ProcessStarted(number, child.pid))
        self._send(worker, setup)
        for definitions in self._definitions:
            self._send(worker, frames.pack(frames.DEFINE, definitions))

    def send(self, number: int, indices: Sequence[int], payload: bytes, run: Sequence[int]) -> None:
        worker = self._workers.get(number)
        if worker is not None:
            wanted = None if len(run) == len(indices) else list(run)
            self._send(worker, frames.pack(frames.ITEMS, frames.span(indices), payload, wanted))

    def define(self, definitions: bytes) -> None:
        self._definitions.append(definitions)
        for worker in self._workers.values():
            self._send(worker, frames.pack(frames.DEFINE, definitions))

    def limit(self, timeout: float) -> None:
        self._timeout = timeout

    def recall(self, number: int, everything: bool) -> None:
        if number in self._workers:
            self._send(self._workers[number], frames.pack(frames.RECALL, everything))

    def stop(self, number: int) -> None:
        worker = self._workers.get(number)
        if worker is not None:
            worker.parting = True
            if worker.child.page.is_new:  # nobody need wait until it has started
                self._kill(worker)
            else:
                self._send(worker, frames.pack(frames.EXIT))

    def kill(self, number: int) -> None:
        if number in self._workers:
            self._kill(self._workers[number])

    def current(self, number: int) -> tuple[int, float] | None:
        worker = self._workers.get(number)
        return worker.child.page.current() if worker is not None else None

    def wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake anyway; closed: nobody sleeps
            self._wake_write.send(b"\0")

    def wait(self, timeout: float | None) -> list[ExecutorEvent]:
        if self._events:
            timeout = 0
        now = time.monotonic()
        deadline = self._next_look(now)
        if deadline is not None:
            left = max(0.0, deadline - now)
            timeout = left if timeout is None else min(timeout, left)
        for key, mask in self._selector.select(timeout):
            worker = key.data
            if worker is None:
                with contextlib.suppress(BlockingIOError):
                    self._wake_read.recv(4096)
            elif worker.number not in self._workers or self._workers[worker.number] is not worker:
                continue  # buried in this very turn
            elif key.fileobj == worker.child.pidfd:
                self._bury(worker)
            else:
                if mask & selectors.EVENT_READ:
                    self._receive(worker)
                if mask & selectors.EVENT_WRITE and not worker.closed:
                    self._send(worker, b"")
        for worker in list(self._workers.values()):
            if worker.child.pidfd is None and worker.child.ended():
                self._bury(worker)
            elif time.monotonic() >= worker.end_by:
                worker.end_by = math.inf
                self._kill(worker, "it closed its connection to the farm, or became another program by exec")
        self._look_for_timeouts()
        if time.monotonic() >= self._care_at:
            self._care()
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        for worker in list(self._workers.values()):
            worker.child.kill()
        for worker in list(self._workers.values()):
            self._bury(worker)
        self._scratch.remove()
        self._events.clear()
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()

    # -- the processes' side -----------------------------------------------------------------------

    def _send(self, worker: _Worker, data: bytes) -> None:
        """Send, or keep for when the channel takes more: the farm never waits for a process."""
        if worker.closed:
            return
        waited = bool(worker.outgoing)
        if waited:
            worker.outgoing += data
        try:
            sent = worker.child.sock.send(worker.outgoing if waited else data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # it has died; reading will say so
        if waited:
            del worker.outgoing[:sent]
        elif sent < len(data):
            worker.outgoing += memoryview(data)[sent:]
        if bool(worker.outgoing) != waited:
            interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.outgoing else 0)
            self._selector.modify(worker.child.sock, interest, worker)

    def _receive(self, worker: _Worker) -> bool:
        """Take what has arrived; False when there was nothing."""
        try:
            count = worker.child.sock.recv_into(self._arrived)
        except BlockingIOError:
            return False
        except OSError:
            count = 0
        if not count:
            self._selector.unregister(worker.child.sock)
            worker.closed = True
            if worker.parting:
                self._kill(worker)
            else:
                worker.end_by = time.monotonic() + _LAST  # most likely it is just ending
            return False
        try:
            for kind, fields in worker.reader.feed(memoryview(self._arrived)[:count]):
                worker.parting = worker.parting or kind == frames.SETUP_FAILED
                self._events.append(self._seen(worker, _event(worker.number, kind, fields)))
        except (ValueError, TypeError):
            self._selector.unregister(worker.child.sock)
            worker.closed = True
            self._kill(worker, "something else than its results came through its connection to the farm")
            return False
        return True

    def _kill(self, worker: _Worker, reason: str = "") -> None:
        worker.killed = True
        worker.reason = worker.reason or reason
        worker.child.kill()

    def _bury(self, worker: _Worker) -> None:
        while not worker.closed and self._receive(worker):
            pass  # its last words
        current = worker.child.page.current()
        if not worker.closed:
            self._selector.unregister(worker.child.sock)
            worker.closed = True
        if worker.child.pidfd is not None:
            self._selector.unregister(worker.child.pidfd)
        del self._workers[worker.number]
        output = worker.child.output.tail() if worker.child.output is not None else ""
        reason, kind = worker.child.bury(), "died"
        self._scratch.remove(worker.scratch)
        if reason == f"exit code {frames.LOST}":
            reason = "its task closed its connection to the farm"
        if reason.startswith("signal 9 ") and not worker.killed:
            kills = resources.oom_kills()
            if kills > self._oom_kills:
                self._oom_kills = kills
                reason, kind = f"{reason} by the system, which had run out of memory", "memory"
        index, seconds = current if current else (None, 0.0)
        usage = Usage(worker.peak[1] if worker.peak[0] == index and worker.peak[1] else None, output)
        about = (worker.reason or reason, time.time() - seconds, seconds, usage, kind)
        self._events.append(ProcessDied(worker.number, index, *about))

    def _next_look(self, now: float) -> float | None:
        """When something has to be looked at that no descriptor tells of."""
        looks = [now + _LOOK for worker in self._workers.values() if worker.child.pidfd is None]
        if self._workers:
            looks += [self._care_at, min(worker.end_by for worker in self._workers.values())]
        if self._timeout is not None:
            for worker in self._workers.values():
                current = worker.child.page.current()
                # one that is idle now may begin an item at any moment
                spent = current[1] if current and current[0] != worker.timed_out else 0.0
                looks.append(now + self._timeout + LEEWAY - spent)
        return min(looks, default=None)

    def _look_for_timeouts(self) -> None:
        if self._timeout is None:
            return
        for worker in self._workers.values():
            current = worker.child.page.current()
            if current and current[1] >= self._timeout + LEEWAY and current[0] != worker.timed_out:
                worker.timed_out = current[0]
                self._events.append(ItemTimedOut(worker.number, *current))

    def _care(self) -> None:
        """Look at what processes print and at the memory that they use."""
        limit = self._job.memory_limit if self._job is not None else None
        soon = limit is not None
        for worker in self._workers.values():
            if worker.child.output is not None and worker.child.output.trim():
                soon = True  # it may print gigabytes in a second
            current = worker.child.page.current()
            if current is None and limit is None:
                continue
            memory = resources.memory_of(worker.child.pid)
            index, seconds = current if current else (None, 0.0)
            if seconds >= frames.LONG:
                before = worker.peak[1] if worker.peak[0] == index else 0
                worker.peak = (index, max(before, memory))
            if limit is not None and memory > limit:
                self._events.append(ItemOverMemory(worker.number, index, memory))
        self._care_at = time.monotonic() + (_SOON if soon else _CARE)

    def _seen(self, worker: _Worker, event: ExecutorEvent) -> ExecutorEvent:
        """``event``, and what was seen from here of the memory that its item used, with all it started."""
        index, peak = worker.peak
        if index is None or not peak:
            return event
        if isinstance(event, ItemFailed) and event.index == index:
            event = replace(event, usage=_at_least(event.usage, peak))
        elif isinstance(event, ItemsDone) and index in event.indices:
            used = _at_least(event.usage.get(index, Usage()), peak)
            event = replace(event, usage={**event.usage, index: used})
        else:
            return event
        worker.peak = (None, 0)
        return event

    def _not_for_children(self) -> list[socket.socket | int]:
        things: list[socket.socket | int] = [self._wake_read, self._wake_write, self._selector.fileno()]
        for worker in self._workers.values():
            things += [worker.child.sock, worker.child.lifeline, worker.child.page.fileno()]
            if worker.child.output is not None:
                things.append(worker.child.output.fileno())
            if worker.child.pidfd is not None:
                things.append(worker.child.pidfd)
        return things

    def _serve_forked(
        self, sock: socket.socket, page: Page, lifeline: int, output: Output | None, number: int
    ) -> NoReturn:
        from farmhand.local.worker import Worker

        assert self._job is not None
        seeds.refresh()
        Worker(sock, page, lifeline, output, number, self._job.task).run()


def _at_least(usage: Usage, memory: int) -> Usage:
    return replace(usage, memory=max(memory, usage.memory or 0))


def _event(number: int, kind: int, fields: tuple) -> ExecutorEvent:  # type: ignore[type-arg]
    if kind == frames.DONE:
        span, packed, started, seconds, used = fields
        indices = frames.indices(span)
        usage = {index: Usage(*parts) for index, parts in used.items()} if used else used
        return ItemsDone(number, indices, Packed(packed, len(indices)), started, array("d", seconds), usage)
    if kind == frames.REPORT:
        return Reported(number, *fields)
    if kind == frames.FAILED:
        index, *error, started, seconds, memory, output = fields
        return ItemFailed(number, index, ItemError(*error), started, seconds, Usage(memory, output))
    if kind == frames.RETURNED:
        return ItemsReturned(number, fields[0])
    if kind == frames.UNREADABLE:
        return ItemsUnreadable(number, fields[0])
    if kind == frames.READY:
        return ProcessReady(number)
    if kind != frames.SETUP_FAILED:
        raise ValueError("a process does not say this")
    name, message, text = fields
    return SetupFailed(number, ItemError("setup", name, message, text))
