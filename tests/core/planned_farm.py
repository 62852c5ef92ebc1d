"""A farm on a clock of its own: how long each item takes is planned, and nobody waits for it.

Its processes work side by side, as real ones do, which `farmhand.testing.scheduling.ScriptedExecutor`
does not care about. An item is a `Plan`, or a number of seconds; it is not run.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from farmhand import MemoryStore, codec, run_tasks
from farmhand.events import (
    ExecutorEvent,
    ItemError,
    ItemFailed,
    ItemsDone,
    ItemsReturned,
    ProcessDied,
    ProcessReady,
    ProcessStarted,
    Reported,
)
from farmhand.testing.frontends import RecordingFrontend
from farmhand.testing.scheduling import ManualClock

START = 0.05  # seconds that a process needs


@dataclass(frozen=True)
class Plan:
    """What an item will do.

    ``reports`` are pairs of the time, from 0 to 1, and what is said then. ``says`` is how long the
    executor says that it took. It raises, or its process dies, in its first ``fails`` or ``dies`` attempts.
    """

    seconds: float
    reports: tuple[tuple[float, Any], ...] = ()
    says: float | None = None
    fails: int = 0
    dies: int = 0


@dataclass
class _Process:
    ready_at: float
    is_ready: bool = False
    stops: bool = False
    queue: deque[tuple[int, Plan]] = field(default_factory=deque)
    began: float = 0.0
    reported: int = 0
    recalls: list[bool] = field(default_factory=list)


class PlannedExecutor:
    """Parameters: the clock, and at what times it goes on for how long while everything sleeps."""

    def __init__(self, clock: ManualClock, sleeps: Sequence[tuple[float, float]] = ()) -> None:
        self._clock = clock
        self._sleeps = deque(sleeps)
        self._processes: dict[int, _Process] = {}
        self._attempts: dict[int, int] = {}
        self._events: list[ExecutorEvent] = []

    def room(self) -> int:
        return 4

    def open(self, job: Any) -> None:
        pass

    def start(self, number: int) -> None:
        self._processes[number] = _Process(self._clock() + START)
        self._events.append(ProcessStarted(number, 1000 + number))

    def send(self, number: int, indices: Sequence[int], payload: bytes, run: Sequence[int]) -> None:
        process = self._processes.get(number)
        if process is not None:
            if not process.queue:
                process.began, process.ready_at = self._clock(), 0.0
            items = dict(zip(indices, codec.decode_items(payload), strict=True))
            for index in run:
                item = items[index]
                process.queue.append((index, item if isinstance(item, Plan) else Plan(item)))

    def define(self, definitions: bytes) -> None:
        pass

    def limit(self, timeout: float) -> None:
        pass

    def recall(self, number: int, everything: bool) -> None:
        if number in self._processes:
            self._processes[number].recalls.append(everything)

    def stop(self, number: int) -> None:
        if number in self._processes:
            self._processes[number].stops = True

    kill = stop

    def wake(self) -> None:
        pass

    def current(self, number: int) -> tuple[int, float] | None:
        process = self._processes.get(number)
        if process is None or not process.queue:
            return None
        return process.queue[0][0], self._clock() - process.began

    def close(self) -> None:
        self._processes.clear()

    def wait(self, timeout: float | None) -> list[ExecutorEvent]:
        self._answer()
        if not self._events:
            next_at = min(map(self._next_of, self._processes.values()), default=float("inf"))
            until = min(next_at, self._clock() + (float("inf") if timeout is None else timeout))
            assert until < float("inf"), "the farm waits for ever"
            if self._sleeps and self._sleeps[0][0] <= until:
                _, seconds = self._sleeps.popleft()
                self._clock.advance(seconds)
                for process in self._processes.values():
                    process.ready_at += seconds  # of the rest, the clock says that it took so long
                return []
            self._clock.advance(max(0.0, until - self._clock()))
            for number in list(self._processes):
                self._go_on(number, self._processes[number])
        events, self._events = self._events, []
        return events

    def _answer(self) -> None:
        for number, process in list(self._processes.items()):
            if process.stops:
                index, seconds = self.current(number) or (None, 0.0)
                del self._processes[number]
                self._events.append(ProcessDied(number, index, "exit code 0", 0.0, seconds))
                continue
            for everything in process.recalls:
                count = len(process.queue) - 1 if everything else len(process.queue) // 2
                returned = [process.queue.pop()[0] for _ in range(max(0, count))]
                self._events.append(ItemsReturned(number, returned))
            process.recalls.clear()

    def _next_of(self, process: _Process) -> float:
        """When something happens in it."""
        if not process.is_ready:
            return process.ready_at
        if not process.queue:
            return float("inf")
        plan = process.queue[0][1]
        times = [at for at, _ in plan.reports] + [1.0]
        return process.began + times[process.reported] * plan.seconds + process.ready_at

    def _go_on(self, number: int, process: _Process) -> None:
        now = self._clock()
        if not process.is_ready and process.ready_at <= now:
            process.is_ready, process.ready_at = True, 0.0  # from now on: for how long it has slept
            process.began = now
            self._events.append(ProcessReady(number))
        while process.is_ready and process.queue and self._next_of(process) <= now + 1e-9:
            index, plan = process.queue[0]
            if process.reported < len(plan.reports):
                self._events.append(Reported(number, index, plan.reports[process.reported][1], None))
                process.reported += 1
            elif not self._end(number, process, index, plan):
                return

    def _end(self, number: int, process: _Process, index: int, plan: Plan) -> bool:
        """An item ends; whether its process goes on."""
        process.queue.popleft()
        seconds = self._clock() - process.began if plan.says is None else plan.says
        process.began, process.reported, process.ready_at = self._clock(), 0, 0.0
        attempt = self._attempts[index] = self._attempts.get(index, 0) + 1
        if attempt <= plan.dies:
            del self._processes[number]
            self._events.append(ProcessDied(number, index, "signal 9 (SIGKILL)", 0.0, seconds))
            return False
        if attempt <= plan.fails:
            error = ItemError("raised", "ValueError", "as planned")
            self._events.append(ItemFailed(number, index, error, 0.0, seconds))
        else:
            done = ItemsDone(number, [index], [codec.encode_result(index)], 0.0, [seconds])
            self._events.append(done)
        return True


def nothing(plan: Any) -> None:
    """The task: it is never called."""


class PlannedFarm:
    """Runs items on a clock of its own, and keeps what was shown of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = ManualClock(1000.0)
        self.store = MemoryStore()
        self.frontend = RecordingFrontend()
        monkeypatch.setattr(time, "monotonic", self.clock)

    def fill(self, items: Any, **options: Any) -> None:
        """A run that nobody looks at, which takes a test less time."""
        self._run(items, PlannedExecutor(self.clock), progress="none", **options)

    def run(
        self, items: Any, script: Any = None, *, sleeps: Sequence[tuple[float, float]] = (), **options: Any
    ) -> list[Any]:
        """All snapshots of a run; ``sleeps`` are counted from its beginning."""
        self.frontend = RecordingFrontend(script)
        began = self.clock()
        executor = PlannedExecutor(self.clock, [(began + at, seconds) for at, seconds in sleeps])
        self._run(items, executor, progress=self.frontend, **options)
        return self.frontend.snapshots

    def _run(self, items: Any, executor: PlannedExecutor, **options: Any) -> None:
        chosen = {"poolsize": 2, "errors": "collect", "backoff": 0, **options}
        run_tasks(self.store, nothing, items, executor=executor, **chosen)
