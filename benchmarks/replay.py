"""What a farm would see of a run whose durations are known.

The run is played once, by the real scheduler in virtual time (``virtual.py``). Then somebody looks at it
at even distances: each ``Look`` says what had happened by then, what runs and for how long, and, what
nobody could know, how long the rest took.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from families import Trace
from virtual import Farm, Misfortune

from farmhand.bars import Bar
from farmhand.events import (
    Command,
    Event,
    ProcessDied,
    ProcessReady,
    RecordDone,
    RecordFailed,
    Resize,
    StartProcess,
)
from farmhand.scheduler import Scheduler

LATENCY = 0.0005  # seconds that a message takes
LOOKS = 40  # at a farm people look more often, but an estimate takes some milliseconds
CHECKPOINTS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9)
REPORTS = 20  # in an item of average length


@dataclass(frozen=True)
class Ended:
    """Items that one process handed over together."""

    when: float  # seconds after the run began, as the clock shows it
    indices: Sequence[int]
    seconds: Sequence[float]
    first: bool  # the first of them was the first of its process
    again: bool = False  # it failed, and is tried again


@dataclass(frozen=True)
class OnIt:
    """An item that runs."""

    index: int
    elapsed: float  # seconds since it started
    first: bool  # it is the first of its process
    reported: float | None = None  # the fraction that is done, as it said last
    complete: float | None = None  # as it probably is by now, as the farm's bar shows it
    rest: float | None = None  # seconds that it still takes, going by its reports
    left: float = 0.0  # seconds that it really still takes


@dataclass(frozen=True)
class Sleep:
    """The computer slept."""

    when: float  # it woke up, so many seconds after the run began
    seconds: float
    indices: tuple[int, ...]  # what was running


@dataclass(frozen=True)
class Look:
    """A run as it is at one moment."""

    part: float  # of the run, from 0 to 1; a computer that sleeps does not run
    elapsed: float  # seconds since the run began, as the clock shows it
    done: int  # items that have ended, done or failed
    left: int  # the others, those that run included
    processes: int
    running: tuple[OnIt, ...]
    ended: tuple[Ended, ...]  # since the look before
    spent: float  # seconds times ready processes, since the look before, while items were waiting
    slept: Sleep | None  # since the look before
    truth: float  # seconds until the end
    waiting: Sequence[int] = ()  # at a checkpoint, the items that have not begun, those tried again included


@dataclass(frozen=True)
class _Attempt:
    began: float
    over: float  # the farm knows that it has ended
    index: int
    seconds: float
    first: bool


class _Durations:
    """By position among the items that are not skipped."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self._seconds = seconds
        self.longest = max(seconds, default=0.0)

    def __call__(self, position: int) -> float:
        return self._seconds[position]


@dataclass
class _Risks:
    deaths: float
    failures: float
    seed: int
    timeouts: float = 0.0


class _Recorder(Farm):
    """A farm that writes down what happened when."""

    def __init__(self, trace: Trace, order: Sequence[int]) -> None:
        scheduler = Scheduler(trace.processes, len(order), retries=trace.retries)
        super().__init__(
            scheduler,
            len(order),
            _Durations([trace.seconds[index] for index in order]),
            Misfortune(_Risks(trace.deaths, trace.failures, trace.seed)),
            start=trace.start,
            latency=LATENCY,
            start_up=trace.start_up,
            overhead=trace.overhead,
            checks=False,
        )
        position = {index: place for place, index in enumerate(order)}
        for index, seconds in trace.retried:
            self.world.failing.setdefault(position[index], []).append(seconds)
        self._order = order
        self._fresh: dict[int, bool] = {}  # by process, whether no item of it has ended
        self._ready: set[int] = set()
        self.attempts: dict[int, list[_Attempt]] = {}  # by process
        self.ended: list[Ended] = []
        self.spent = [(0.0, 0.0, 0)]  # when, process seconds by then, and processes that spend from then on
        self.targets = [(0.0, trace.processes)]

    def tell(self, event: Event) -> None:
        if isinstance(event, Resize):
            self.targets.append((self.agenda.now, event.processes))
        super().tell(event)
        if isinstance(event, ProcessReady):
            self._ready.add(event.number)
        elif isinstance(event, ProcessDied):
            self._ready.discard(event.number)
        self._spend()

    def _spend(self) -> None:
        when, process_seconds, spending = self.spent[-1]
        left = self.scheduler.items_left or 0
        now_spending = len(self._ready) if left > len(self._ready) else 0
        if now_spending != spending:
            now = self.agenda.now
            self.spent.append((now, process_seconds + spending * (now - when), now_spending))

    def _perform(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case StartProcess(number):
                    self._fresh[number] = True
                case RecordDone(done):
                    self._write_down(done.number, done.indices, done.started, done.seconds)
                case RecordFailed(number=int(number), index=index, started=started, seconds=seconds):
                    self._write_down(number, (index,), started, (seconds,), command.again)
        super()._perform(commands)

    def _write_down(
        self,
        number: int,
        positions: Sequence[int],
        began: float,
        seconds: Sequence[float],
        again: bool = False,
    ) -> None:
        now = self.agenda.now
        first, self._fresh[number] = self._fresh[number], False
        indices = tuple(self._order[position] for position in positions)
        self.ended.append(Ended(now, indices, tuple(seconds), first, again))
        attempts = self.attempts.setdefault(number, [])
        for place, (index, took) in enumerate(zip(indices, seconds, strict=True)):
            attempts.append(_Attempt(began, now, index, took, first and place == 0))
            began += took


class Replay:
    """A trace, played once, to be looked at.

    Attributes
    ----------
    trace : Trace
        What was played.
    makespan : float
        Seconds from the beginning of the run to its last item's end; a computer that sleeps does not run.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        order = [index for index in range(len(trace.seconds)) if index not in trace.skipped]
        farm = _Recorder(trace, order)
        if trace.resizes:  # when that is can only be said of a run without them
            undisturbed = Replay(replace(trace, resizes=())).makespan
            for part, processes in trace.resizes:
                farm.agenda.later(part * undisturbed, farm.tell, Resize(processes))
        farm.run()
        self._farm = farm
        self._order = order
        self._began = {number: [each.began for each in tries] for number, tries in farm.attempts.items()}
        self.makespan: float = farm.ledger.last_end
        part, self._sleeps_for = trace.sleeps or (2.0, 0.0)
        self._sleeps_at = part * self.makespan
        self._period = sum(trace.seconds) / len(trace.seconds) / REPORTS

    def looks(self, count: int = LOOKS) -> list[Look]:
        """The run at so many moments, all but the last one, which is its end."""
        farm, looks = self._farm, []
        place = done = 0
        spent, awake = 0.0, True
        left_over = set(self._order)
        for turn in range(1, count):
            now = self.makespan * turn / count
            upto = bisect_right(farm.ended, now, key=lambda each: each.when)
            ended = tuple(map(self._as_measured, farm.ended[place:upto]))
            place = upto
            over = [index for each in ended if not each.again for index in each.indices]
            done += len(over)
            left_over.difference_update(over)
            slept = None
            if awake and now > self._sleeps_at:
                awake = False
                indices = tuple(each.index for each in self._running(self._sleeps_at))
                slept = Sleep(self._sleeps_at + self._sleeps_for, self._sleeps_for, indices)
            running = self._running(now)
            waiting: list[int] = []
            if turn / count in CHECKPOINTS:
                on_it = {each.index for each in running}
                waiting = sorted(left_over - on_it)
            spent, before = self._spent(now), spent
            looks.append(
                Look(
                    part=turn / count,
                    elapsed=self._clock(now),
                    done=done,
                    left=len(self._order) - done,
                    processes=[target for when, target in farm.targets if when <= now][-1],
                    running=running,
                    ended=ended,
                    spent=spent - before,
                    slept=slept,
                    truth=self.makespan - now,
                    waiting=waiting,
                )
            )
        return looks

    def _clock(self, when: float) -> float:
        """What the clock shows, which goes on while the computer sleeps."""
        return when + self._sleeps_for if when > self._sleeps_at else when

    def _as_measured(self, ended: Ended) -> Ended:
        """With the clock's durations."""
        if not self._sleeps_for:
            return ended
        seconds, over = [], ended.when
        for took in reversed(ended.seconds):
            seconds.append(self._clock(over) - self._clock(over - took))
            over -= took
        return replace(ended, when=self._clock(ended.when), seconds=tuple(reversed(seconds)))

    def _spent(self, now: float) -> float:
        when, process_seconds, spending = self._farm.spent[
            bisect_right(self._farm.spent, now, key=lambda each: each[0]) - 1
        ]
        return process_seconds + spending * (now - when)

    def _running(self, now: float) -> tuple[OnIt, ...]:
        running = []
        for number, began in self._began.items():
            place = bisect_right(began, now) - 1
            if place < 0:
                continue
            attempt = self._farm.attempts[number][place]
            # the one that it was on is over, and the farm does not know it yet: almost nothing
            if now < attempt.over:
                running.append(self._on_it(attempt, now))
        return tuple(running)

    def _on_it(self, attempt: _Attempt, now: float) -> OnIt:
        elapsed = self._clock(now) - self._clock(attempt.began)
        left = max(0.0, attempt.began + attempt.seconds - now)
        seen = OnIt(attempt.index, elapsed, attempt.first, left=left)
        course = self.trace.course
        if course is None:
            return seen
        bar = Bar()
        period = max(self._period, attempt.seconds / 200)
        for number in range(1, int((now - attempt.began) / period) + 1):
            at = number * period
            when = self._clock(attempt.began + at) - self._clock(attempt.began)
            bar.report(course(min(1.0, at / attempt.seconds)), when)
        return replace(
            seen, reported=bar.complete, complete=bar.expected(elapsed), rest=bar.remaining(elapsed)
        )
