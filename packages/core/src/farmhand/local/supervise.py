"""The local executor: processes of this machine, one channel for each, nothing shared.

Death is noticed in two ways, because each alone can be fooled: the process has ended, or its end
of the channel is closed.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from farmhand.cpus import cpu_count
from farmhand.events import (
    ExecutorEvent,
    ItemError,
    ItemFailed,
    ItemsDone,
    ItemsReturned,
    ItemsUnreadable,
    ItemTimedOut,
    ProcessDied,
    ProcessReady,
    ProcessStarted,
    Reported,
    SetupFailed,
)
from farmhand.executor import Job
from farmhand.local import frames, launch
from farmhand.local.page import Page

__all__ = ["LocalExecutor"]

_READ = 1 << 20
_LOOK = 0.1  # seconds between looks at processes, where the system does not tell of their end


class _Worker:
    """A child and what is on its way to it and from it."""

    __slots__ = ("child", "closed", "number", "outgoing", "reader", "timed_out")

    def __init__(self, number: int, child: launch.Child) -> None:
        self.number = number
        self.child = child
        self.reader = frames.FrameReader()
        self.outgoing = bytearray()
        self.closed = False  # the channel is at its end
        self.timed_out: int | None = None  # the item that was already called too long


class LocalExecutor:
    """Runs a task in processes of this machine; see :class:`farmhand.executor.Executor`."""

    def __init__(self) -> None:
        self._workers: dict[int, _Worker] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._events: list[ExecutorEvent] = []
        self._definitions: list[bytes] = []
        self._shipped: bytes | None = None
        self._job: Job | None = None
        self._threads = 1  # for a numerical library in each process

    # -- the farm's side ---------------------------------------------------------------------------

    def open(self, job: Job) -> None:
        self._job = job
        self._threads = max(1, cpu_count() // job.processes)
        if job.start_method == "spawn":
            self._shipped = job.ship()

    def start(self, number: int) -> None:
        job = self._job
        assert job is not None
        if job.start_method == "fork":
            child = launch.fork(number, self._threads, self._not_for_children(), self._serve_forked)
            setup = frames.pack(frames.SETUP, None, None, None)
        else:
            child = launch.spawn(number, self._threads)
            setup = frames.pack(frames.SETUP, sys.path, sys.argv, self._shipped)
        child.sock.setblocking(False)
        worker = self._workers[number] = _Worker(number, child)
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
            self._send(worker, frames.pack(frames.ITEMS, list(indices), payload, wanted))

    def define(self, definitions: bytes) -> None:
        self._definitions.append(definitions)
        for worker in self._workers.values():
            self._send(worker, frames.pack(frames.DEFINE, definitions))

    def recall(self, number: int, everything: bool) -> None:
        if number in self._workers:
            self._send(self._workers[number], frames.pack(frames.RECALL, everything))

    def stop(self, number: int) -> None:
        if number in self._workers:
            self._send(self._workers[number], frames.pack(frames.EXIT))

    def kill(self, number: int) -> None:
        if number in self._workers:
            self._workers[number].child.kill()

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
        self._look_for_timeouts()
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        for worker in list(self._workers.values()):
            worker.child.kill()
        for worker in list(self._workers.values()):
            self._bury(worker)
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
            data = worker.child.sock.recv(_READ)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(worker.child.sock)
            worker.closed = True
            worker.child.kill()  # most likely it is dead; a process without a channel is of no use
            return False
        for kind, fields in worker.reader.feed(data):
            self._events.append(_event(worker.number, kind, fields))
        return True

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
        reason = worker.child.bury()
        index, seconds = current if current else (None, 0.0)
        self._events.append(ProcessDied(worker.number, index, reason, time.time() - seconds, seconds))

    def _next_look(self, now: float) -> float | None:
        """When something has to be looked at that no descriptor tells of."""
        looks = [now + _LOOK for worker in self._workers.values() if worker.child.pidfd is None]
        if self._job is not None and self._job.timeout is not None:
            for worker in self._workers.values():
                current = worker.child.page.current()
                # one that is idle now may begin an item at any moment
                spent = current[1] if current and current[0] != worker.timed_out else 0.0
                looks.append(now + self._job.timeout - spent)
        return min(looks, default=None)

    def _look_for_timeouts(self) -> None:
        if self._job is None or self._job.timeout is None:
            return
        for worker in self._workers.values():
            current = worker.child.page.current()
            if current and current[1] >= self._job.timeout and current[0] != worker.timed_out:
                worker.timed_out = current[0]
                self._events.append(ItemTimedOut(worker.number, *current))

    def _not_for_children(self) -> list[socket.socket | int]:
        things: list[socket.socket | int] = [self._wake_read, self._wake_write, self._selector.fileno()]
        for worker in self._workers.values():
            things.append(worker.child.sock)
            if worker.child.pidfd is not None:
                things.append(worker.child.pidfd)
        return things

    def _serve_forked(self, sock: socket.socket, page: Page, number: int) -> NoReturn:
        from farmhand.local.worker import Worker

        assert self._job is not None
        Worker(sock, page, number, self._job.task).run()


def _event(number: int, kind: int, fields: tuple) -> ExecutorEvent:  # type: ignore[type-arg]
    if kind == frames.DONE:
        return ItemsDone(number, *fields)
    if kind == frames.REPORT:
        return Reported(number, *fields)
    if kind == frames.FAILED:
        index, *error, started, seconds = fields
        return ItemFailed(number, index, ItemError(*error), started, seconds)
    if kind == frames.RETURNED:
        return ItemsReturned(number, fields[0])
    if kind == frames.UNREADABLE:
        return ItemsUnreadable(number, fields[0])
    if kind == frames.READY:
        return ProcessReady(number)
    assert kind == frames.SETUP_FAILED, kind
    name, message, text = fields
    return SetupFailed(number, ItemError("setup", name, message, text))
