"""A farm without processes and without waiting: for tests of everything around them.

`ManualClock` is a clock that only a test moves. `ScriptedExecutor` keeps its processes in this one
and lets a script decide what happens next, so that a whole farm, with crashes, recalls and
time-outs, runs through any history again and again::

    store = MemoryStore()
    run_tasks(store, task, range(20), executor=ScriptedExecutor(seed, crashes=3), retries=3)
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from farmhand import codec
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
from farmhand.local.worker import describe
from farmhand.task import MadeTask

__all__ = ["ManualClock", "ScriptedExecutor", "Step"]


class ManualClock:
    """A clock that stands still unless a test moves it.

    Parameters
    ----------
    now : float
        Where it starts, in seconds.
    """

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def __call__(self) -> float:
        """The time."""
        return self._now

    def advance(self, seconds: float) -> float:
        """Let time pass, and say what time it is then.

        Raises
        ------
        ValueError
            When ``seconds`` is negative; nobody's clock goes back here.
        """
        if not seconds >= 0:
            raise ValueError(f"a clock goes forward, not by {seconds} seconds")
        self._now += seconds
        return self._now


@dataclass(frozen=True, slots=True)
class Step:
    """Something that may happen next in a `ScriptedExecutor`.

    Parameters
    ----------
    kind : str
        ``'die'`` (it was killed), ``'leave'`` (it was asked to), ``'answer'`` a recall, ``'start'``,
        ``'deliver'`` the results that wait, ``'finish'`` an item and deliver its result, ``'work'``:
        finish an item but keep its result for now, ``'time out'``, ``'crash'`` while on an item,
        ``'crash at start'``, ``'lose'``: it is gone with its computer, or ``'vanish'``: as well, and
        nobody knows which item it was on.
    number : int
        The process.
    index : int or None
        The item that it is on.
    """

    kind: str
    number: int
    index: int | None = None


Script: TypeAlias = int | Iterable[int] | Callable[[Sequence[Step]], Step] | None

# The first of what is possible always brings the run nearer to its end.
_KINDS = (
    "die",
    "leave",
    "answer",
    "start",
    "deliver",
    "finish",
    "work",
    "time out",
    "crash",
    "crash at start",
    "lose",
    "vanish",
)


class _Block:
    """What was sent at once; it is decoded when its first item begins."""

    def __init__(self, indices: Sequence[int], payload: bytes) -> None:
        self._indices = indices
        self._payload = payload
        self._encoded = codec.split_each(payload)
        self._items: list[Any] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether one bad item spoils all others."""
        return self._encoded is None

    def item(self, index: int) -> Any:
        place = list(self._indices).index(index)
        if self._encoded is not None:
            return codec.decode(self._encoded[place])
        if self._items is None:
            self._items = codec.decode_items(self._payload)
        return self._items[place]


@dataclass(slots=True)
class _Process:
    number: int
    state: str = "starting"  # then "ready", perhaps "leaving" or "killed"
    made: MadeTask | None = None
    queue: deque[tuple[int, _Block]] = field(default_factory=deque)
    results: list[tuple[int, bytes, float, float]] = field(default_factory=list)  # not delivered yet
    recalls: deque[bool] = field(default_factory=deque)
    timed_out: int | None = None

    @property
    def index(self) -> int | None:
        """The item that it is on: one that is ready has begun the first it was sent."""
        return self.queue[0][0] if self.queue and self.made is not None else None


class ScriptedExecutor:
    """Processes that are none: all they do happens inside `wait`, as a script says.

    Items really run (in this process, when they finish), so that results, failures, reports and
    errors of pickling are what they would be elsewhere. A task that ends or blocks its process
    does so to this one. What happens depends on the script and on nothing else.

    Parameters
    ----------
    script : int, iterable of int, callable or None
        Which of the steps that are possible is next. A number is the seed of a random history.
        Of several numbers each chooses one step, modulo how many there are. A callable is given
        all possible steps and returns one. None, and numbers that have run out, always choose
        the first, which brings the run nearer to its end.
    crashes : int
        How many processes may die while they are on an item.
    crashes_at_start : int
        How many may die before they are ready.
    timeouts : int
        How many items may be found to run for too long, in a run with a ``timeout``.
    losses : int
        How many processes may be lost with their computer, at any time.
    seconds : float
        How long each item takes, by ``clock``.
    clock : ManualClock, optional
        Moved by each item.

    Attributes
    ----------
    history : list of Step
        What has happened.
    """

    def __init__(
        self,
        script: Script = None,
        *,
        crashes: int = 0,
        crashes_at_start: int = 0,
        timeouts: int = 0,
        losses: int = 0,
        seconds: float = 0.001,
        clock: ManualClock | None = None,
    ) -> None:
        self.history: list[Step] = []
        self._chooser = script if callable(script) else None
        self._numbers = iter(()) if script is None or callable(script) else _numbers(script)
        self._left = {
            "crash": crashes,
            "crash at start": crashes_at_start,
            "time out": timeouts,
            "lose": losses,
        }
        self._seconds = seconds
        self._clock = clock or ManualClock()
        self._processes: dict[int, _Process] = {}
        self._events: list[ExecutorEvent] = []
        self._woken = False
        self._job: Job | None = None

    # -- the contract --------------------------------------------------------------------------------

    def room(self) -> int:
        return 4

    def open(self, job: Job) -> None:
        self._job = job

    def start(self, number: int) -> None:
        assert number not in self._processes, f"process {number} was started while it is alive"
        self._processes[number] = _Process(number)
        self._events.append(ProcessStarted(number))

    def send(self, number: int, indices: Sequence[int], payload: bytes, run: Sequence[int]) -> None:
        process = self._processes.get(number)
        if process is not None:
            block = _Block(indices, payload)
            process.queue.extend((index, block) for index in run)

    def define(self, definitions: bytes) -> None:
        """Nothing to do: all names of ``__main__`` are here."""

    def limit(self, timeout: float) -> None:
        """Nothing to do: the script says which items take too long."""

    def recall(self, number: int, everything: bool) -> None:
        if number in self._processes:
            self._processes[number].recalls.append(everything)

    def stop(self, number: int) -> None:
        process = self._processes.get(number)
        if process is not None and process.state != "killed":
            process.state = "leaving"

    def kill(self, number: int) -> None:
        if number in self._processes:
            self._processes[number].state = "killed"

    def wait(self, timeout: float | None) -> list[ExecutorEvent]:
        """What happens next; never waits for anything.

        Raises
        ------
        AssertionError
            When the farm would wait for ever: it set no limit, and nothing can happen any more.
        """
        if self._woken:
            self._woken = False
        else:
            self._go_on()
            if not self._events and timeout is None:
                raise AssertionError("the farm waits for ever: no process is alive that could do anything")
        events, self._events = self._events, []
        return events

    def wake(self) -> None:
        self._woken = True

    def current(self, number: int) -> tuple[int, float] | None:
        process = self._processes.get(number)
        return None if process is None or process.index is None else (process.index, 0.0)

    def close(self) -> None:
        self._processes.clear()
        self._events.clear()

    # -- the script ------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """One step, or some; at least as many as it takes until something is heard of them."""
        while steps := self._possible():
            step = self._choose(steps)
            self.history.append(step)
            self._do(step)
            if self._events and not self._number(2):
                return

    def _possible(self) -> list[Step]:
        """All that may happen next, the harmless first."""
        assert self._job is not None, "the executor was not opened"
        steps = []
        for number, process in sorted(self._processes.items()):
            index = process.index
            steps += [Step("lose", number, index), Step("vanish", number, index)]
            if process.state == "killed":
                steps.append(Step("die", number, index))
                continue
            if process.state == "leaving":
                steps.append(Step("leave", number, index))
            elif process.state == "starting":
                steps.append(Step("start", number))
                steps.append(Step("crash at start", number))
            elif process.recalls:
                steps.append(Step("answer", number, index))
            if process.results:
                steps.append(Step("deliver", number, index))
            if index is not None:
                steps += [Step(kind, number, index) for kind in ("finish", "work", "crash")]
                if self._job.timeout is not None and process.state == "ready" and process.timed_out != index:
                    steps.append(Step("time out", number, index))
        steps = [step for step in steps if self._left.get(_budget(step), 1)]
        return sorted(steps, key=lambda step: _KINDS.index(step.kind))

    def _choose(self, steps: Sequence[Step]) -> Step:
        if self._chooser is None:
            return steps[self._number(len(steps))]
        step = self._chooser(steps)
        assert step in steps, f"the script chose {step}, which cannot happen now"
        return step

    def _number(self, limit: int) -> int:
        return next(self._numbers, 0) % limit

    # -- what happens ------------------------------------------------------------------------------------

    def _do(self, step: Step) -> None:
        process = self._processes[step.number]
        if _budget(step) in self._left:
            self._left[_budget(step)] -= 1
        match step.kind:
            case "die":
                self._end(process, "signal 9 (SIGKILL)")
            case "crash" | "crash at start":
                self._end(process, "signal 11 (SIGSEGV)")
            case "lose" | "vanish":
                self._end(process, "no word from its computer", step.kind)
            case "leave":
                self._deliver(process)
                self._end(process, "exit code 0")
            case "start":
                self._start(process)
            case "answer":
                self._answer(process)
            case "deliver":
                self._deliver(process)
            case "work":
                self._work(process)
            case "finish":
                self._work(process)
                self._deliver(process)
            case "time out":
                assert self._job is not None
                assert step.index is not None
                process.timed_out = step.index
                self._events.append(ItemTimedOut(step.number, step.index, self._job.timeout or 0.0))

    def _start(self, process: _Process) -> None:
        assert self._job is not None
        try:
            process.made = self._job.task.make(process.number, self._reports_of(process.number))
        except (Exception, SystemExit) as error:
            self._events.append(SetupFailed(process.number, ItemError("setup", *describe(error))))
            process.state = "leaving"
            return
        process.state = "ready"
        self._events.append(ProcessReady(process.number))

    def _reports_of(self, number: int) -> Callable[[int, float | None, str | None, str], None]:
        def send(index: int, complete: float | None, taskname: str | None, phase: str) -> None:
            self._events.append(Reported(number, index, complete, taskname, phase))

        return send

    def _answer(self, process: _Process) -> None:
        everything = process.recalls.popleft()
        waiting = len(process.queue) - 1  # the first has begun
        count = waiting if everything else -(-waiting // 2)
        returned = [process.queue.pop()[0] for _ in range(count)]
        self._events.append(ItemsReturned(process.number, sorted(returned)))

    def _work(self, process: _Process) -> None:
        """Run the item that the process is on; its result waits to be delivered."""
        assert process.made is not None
        index, block = process.queue.popleft()
        started = self._clock()
        ended = self._clock.advance(self._seconds)
        try:
            item = block.item(index)
        except Exception as error:
            if block.is_whole:
                rest = [each for each, its_block in process.queue if its_block is block]
                process.queue = deque(entry for entry in process.queue if entry[1] is not block)
                self._events.append(ItemsUnreadable(process.number, [index, *rest]))
            else:
                self._fail(process, index, "unpicklable item", error, "the item ")
            return
        try:
            value = process.made(index, item)
        except (Exception, SystemExit, GeneratorExit) as error:  # Ctrl-C is meant for the test
            self._fail(process, index, "raised", error)
            return
        try:
            data = codec.encode_result(value)
        except Exception as error:
            self._fail(process, index, "unpicklable result", error, f"its result, a {type(value).__name__}, ")
            return
        process.results.append((index, data, started, ended - started))

    def _fail(self, process: _Process, index: int, kind: str, error: BaseException, what: str = "") -> None:
        name, message, text = describe(error)
        if what:
            message = f"{what}cannot be pickled and unpickled: {name}: {message}"
        self._deliver(process)
        ended = self._clock()
        failure = ItemError(kind, name, message, text)
        self._events.append(ItemFailed(process.number, index, failure, ended - self._seconds, self._seconds))

    def _deliver(self, process: _Process) -> None:
        if process.results:
            indices, values, started, seconds = (
                list(column) for column in zip(*process.results, strict=True)
            )
            self._events.append(ItemsDone(process.number, indices, values, started[0], seconds))
            process.results = []

    def _end(self, process: _Process, reason: str, how: str = "die") -> None:
        del self._processes[process.number]
        index = None if how == "vanish" else process.index
        kind = "died" if how == "die" else "lost"
        self._events.append(ProcessDied(process.number, index, reason, kind=kind))


def _budget(step: Step) -> str:
    """By what name it is counted how often a step may still be taken."""
    return "lose" if step.kind == "vanish" else step.kind


def _numbers(script: int | Iterable[int]) -> Iterator[int]:
    if not isinstance(script, int):
        yield from script
        return
    source = random.Random(script)
    while True:
        yield source.randrange(1 << 30)
