"""The scheduler with thousands of processes and millions of items, in virtual time.

Without arguments some standard scenarios are played, which takes less than a minute; with arguments one of
your own: ``python benchmarks/simulate.py --processes 500 --items 100000 --family bimodal --deaths 0.001``.

``farmhand.scheduler.Scheduler`` makes every decision of the farm and does nothing else: events go in,
commands come out, and it does not know what time it is. So this program needs no process and no waiting to
see what it would do on a thousand CPUs. It is also an example of how the scheduler is driven:

- ``Agenda`` is the clock: a heap of what will happen when. Time jumps from one happening to the next.
- ``Process`` does what a worker does: it takes items up one after the other, sends what has ended, gives back
  what it has not begun, and now and then dies, hangs, or fails. A message takes its time in either direction.
- ``Farm`` does what ``farmhand.farm`` does: it tells the scheduler what happened, carries out its commands,
  and reads items when it asks for some. It takes no virtual time; what the scheduler costs is measured.
- ``Ledger`` writes down how each item ended, and finds out at the end whether each did so exactly once.

The makespan, the virtual time until the last item has ended, is compared with what no scheduler could beat:
the time that a process takes to start, and then either all work (wasted attempts, too) shared equally among
all processes, or the longest attempt, whichever is longer. Where a process has only a few items and some of
these are much longer than others, nobody who does not know which would come near it.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from farmhand.events import (
    Command,
    Event,
    Finished,
    ItemError,
    ItemFailed,
    ItemsDone,
    ItemsEnded,
    ItemsRead,
    ItemsReturned,
    ItemTimedOut,
    KillProcess,
    ProcessDied,
    ProcessReady,
    ProcessStarted,
    ReadItems,
    RecallItems,
    RecordDone,
    RecordFailed,
    SendItems,
    StartProcess,
    StopProcess,
    Tick,
)
from farmhand.scheduler import Scheduler

GATHER = 0.002  # seconds of work after which a process sends what has ended, as a worker does
TURN = 0.01  # seconds for which the farm attends to messages before it looks whether a tick is due
SLOW_STARTS = 0.05  # of all processes take ...
SLOW = 10  # ... so many times as long to start
HANGING = 1.5  # an item that hangs is timed out after so many times the longest duration
DRAWN = 1 << 16  # durations that are drawn; further items take the same again, so that memory stays flat
MOST_PROCESSES = 100_000
MOST_ITEMS = 100_000_000  # the ledger needs a byte for each


@dataclass(frozen=True)
class Scenario:
    """What is simulated. Rates are probabilities for each attempt at an item."""

    processes: int = 100
    items: int = 10_000
    family: str = "lognormal"
    mean: float | None = None  # seconds that an item takes; None for what is usual in the family
    recorded: tuple[float, ...] = ()  # durations to take in turn, instead of a family
    start: float = 0.1  # seconds until a process is ready
    latency: float = 0.0005  # seconds that a message takes
    deaths: float = 0.0
    timeouts: float = 0.0
    failures: float = 0.0
    retries: int = 3
    backoff: float = 0.1
    seed: int = 1


STANDARD = (
    Scenario(processes=8, items=20_000, family="lognormal", mean=0.05),
    Scenario(processes=64, items=50_000, family="bimodal", failures=0.01),
    Scenario(processes=500, items=100_000, family="trend", mean=0.01),
    Scenario(processes=500, items=50_000, family="exponential", deaths=0.002, timeouts=0.001, failures=0.01),
    Scenario(processes=2_000, items=200_000, family="exponential", deaths=0.002),
    Scenario(processes=2_000, items=2_000_000, family="tiny"),
)


# -- how long items take -----------------------------------------------------------------------------


# Each draws durations whose mean is one. In the family "trend" the index decides as well.
FAMILIES: dict[str, Callable[[random.Random], float]] = {
    "constant": lambda source: 1.0,
    "exponential": lambda source: source.expovariate(1.0),
    "lognormal": lambda source: source.lognormvariate(-0.5, 1.0),
    "bimodal": lambda source: 0.5 if source.random() < 0.9 else 5.5,
    "trend": lambda source: source.uniform(0.9, 1.1),
    "tiny": lambda source: source.uniform(0.5, 1.5),
}
USUAL_MEAN = dict.fromkeys(FAMILIES, 1.0) | {"tiny": 10e-6}  # seconds


class Durations:
    """How long each item takes: the same at each attempt, whichever process runs it."""

    def __init__(self, scenario: Scenario) -> None:
        self._drawn = list(scenario.recorded) or self._draw(scenario)
        self._slope = 1.8 / scenario.items if scenario.family == "trend" and not scenario.recorded else 0.0
        self.longest = max(self._drawn) * (1.9 if self._slope else 1.0)

    @staticmethod
    def _draw(scenario: Scenario) -> list[float]:
        source = random.Random(scenario.seed)
        mean = USUAL_MEAN[scenario.family] if scenario.mean is None else scenario.mean
        draw = FAMILIES[scenario.family]
        return [mean * draw(source) for _ in range(min(scenario.items, DRAWN))]

    def __call__(self, index: int) -> float:
        seconds = self._drawn[index % len(self._drawn)]
        if self._slope:  # from a tenth of the mean to almost twice as much
            seconds *= 0.1 + self._slope * index
        return seconds


class Misfortune:
    """What goes wrong in processes, drawn by a seed."""

    def __init__(self, scenario: Scenario) -> None:
        self._source = random.Random(f"misfortune {scenario.seed}")
        self._rates = {"died": scenario.deaths, "timeout": scenario.timeouts, "raised": scenario.failures}
        self._rate = sum(self._rates.values())

    def attempts_before(self) -> float:
        """How many attempts go well before the next one that does not: not a number drawn for each."""
        if self._rate <= 0.0:
            return math.inf
        if self._rate >= 1.0:
            return 0
        return int(math.log(1.0 - self._source.random()) / math.log1p(-self._rate))

    def kind(self) -> str:
        """Which misfortune it is."""
        return self._source.choices(list(self._rates), list(self._rates.values()))[0]

    def part(self) -> float:
        """How much of an item is done when its process dies."""
        return self._source.random()

    def start(self, seconds: float) -> float:
        """How long a process takes to start."""
        return seconds * (SLOW if self._source.random() < SLOW_STARTS else 1)


# -- the clock ---------------------------------------------------------------------------------------


class Agenda:
    """What will happen, earliest first; what was planned first comes first at the same time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()

    def later(self, delay: float, what: Callable[..., None], *arguments: Any) -> None:
        """Plan a call."""
        heapq.heappush(self._heap, (self.now + delay, next(self._order), what, arguments))

    @property
    def next_time(self) -> float:
        """When something happens next."""
        return self._heap[0][0] if self._heap else math.inf

    def go_on_until(self, end: float) -> None:
        """Let everything happen that is planned until then."""
        heap = self._heap
        while heap and heap[0][0] <= end:
            self.now, _, what, arguments = heapq.heappop(heap)
            what(*arguments)


# -- a process ---------------------------------------------------------------------------------------


@dataclass
class World:
    """What all processes share."""

    agenda: Agenda
    seconds: Durations
    misfortune: Misfortune
    latency: float
    tell: Callable[[Event], None]  # the farm
    work: float = 0.0  # seconds that all attempts took together
    longest: float = 0.0  # and the longest of them
    inflicted: Counter[str] = field(default_factory=Counter)  # misfortunes by kind


class Process:
    """A worker: what it is told by the farm, and what it does about it."""

    def __init__(self, number: int, world: World) -> None:
        self.number = number
        self._world = world
        self._alive = True
        self._queue: deque[int] = deque()  # what it has not begun
        self._on: int | None = None  # the item that it is on
        self._since = 0.0
        self._luck = world.misfortune.attempts_before()

    # -- what the farm tells it; each of these is called when the message arrives

    def be_ready(self) -> None:
        """It has made its task."""
        if self._alive:
            self._say(ProcessReady(self.number))

    def receive(self, indices: Sequence[int]) -> None:
        """Here are items."""
        if self._alive:
            self._queue.extend(indices)
            if self._on is None:
                self._go_on()

    def give_back(self, everything: bool) -> None:
        """Give back what you have not begun: all, or half, but one is kept when none is begun."""
        if self._alive:
            size = len(self._queue)
            if not everything:
                size = (size + (self._on is not None)) // 2
            self._say(ItemsReturned(self.number, sorted(self._queue.pop() for _ in range(size))))

    def leave(self) -> None:
        """There is nothing more for you."""
        self._end("exit code 0")

    def be_killed(self) -> None:
        """Its item took too long."""
        if self._alive and self._on is not None:
            self._worked([self._world.agenda.now - self._since])
        self._end("signal 9 (SIGKILL)")

    # -- what it does

    def _go_on(self) -> None:
        """Take up the next items, if there are any."""
        self._since = self._world.agenda.now
        indices, seconds = self._take_some()
        if indices:
            self._on = indices[0]
            self._world.agenda.later(sum(seconds), self._send, indices, seconds)
        elif self._queue:
            self._on = self._queue.popleft()
            self._luck = self._world.misfortune.attempts_before()
            self._suffer(self._on, self._world.misfortune.kind())
        else:
            self._on = None

    def _take_some(self) -> tuple[list[int], list[float]]:
        """Items that end well, of about 2 ms together, or one that is longer.

        They count as begun all at once, and all that happens is that they have ended: a happening for
        each tiny item would cost more than everything else.
        """
        queue, seconds_of = self._queue, self._world.seconds
        indices: list[int] = []
        seconds: list[float] = []
        left = GATHER
        while queue and self._luck > 0:
            took = seconds_of(queue[0])
            if indices and took > left:
                break
            left -= took
            self._luck -= 1
            indices.append(queue.popleft())
            seconds.append(took)
        return indices, seconds

    def _send(self, indices: list[int], seconds: list[float]) -> None:
        """These have ended."""
        if self._alive:
            self._worked(seconds)
            size = len(indices)
            self._say(ItemsDone(self.number, indices, [b""] * size, self._since, seconds))
            self._go_on()

    def _suffer(self, index: int, kind: str) -> None:
        """An attempt that does not go well."""
        world = self._world
        world.inflicted[kind] += 1
        seconds = world.seconds(index)
        if kind == "raised":
            world.agenda.later(seconds, self._fail, index, seconds)
        elif kind == "died":
            seconds *= world.misfortune.part()
            world.agenda.later(seconds, self._die, seconds)
        else:  # it hangs; the farm, which watches the time, notices it by itself
            seconds = HANGING * world.seconds.longest
            world.agenda.later(seconds, world.tell, ItemTimedOut(self.number, index, seconds))

    def _fail(self, index: int, seconds: float) -> None:
        if self._alive:
            self._worked([seconds])
            error = ItemError("raised", "RuntimeError", "bad luck")
            self._say(ItemFailed(self.number, index, error, self._since, seconds))
            self._go_on()

    def _die(self, seconds: float) -> None:
        if self._alive:
            self._worked([seconds])
            self._end("signal 11 (SIGSEGV)")

    def _end(self, reason: str) -> None:
        if self._alive:
            self._alive = False
            seconds = self._world.agenda.now - self._since
            self._say(ProcessDied(self.number, self._on, reason, self._since, seconds))

    def _worked(self, seconds: Sequence[float]) -> None:
        world = self._world
        world.work += sum(seconds)
        world.longest = max(world.longest, max(seconds))

    def _say(self, event: Event) -> None:
        world = self._world
        world.agenda.later(world.latency, world.tell, event)


# -- the farm ----------------------------------------------------------------------------------------


class Ledger:
    """How each item ended."""

    def __init__(self, items: int) -> None:
        self._ends = bytearray(items)
        self.attempts: Counter[str] = Counter()  # failed ones, by kind
        self.done = self.failed = self.retried = 0
        self.last_end = 0.0

    def record_done(self, indices: Iterable[int], now: float) -> None:
        """These items are done."""
        self.last_end = now
        ends = self._ends
        for index in indices:
            ends[index] += 1
            self.done += 1

    def record_failed(self, command: RecordFailed, now: float) -> None:
        """An attempt has failed, and with it the item unless it is tried again."""
        self.last_end = now
        self.attempts[command.error.kind] += 1
        if command.again:
            self.retried += 1
        else:
            self.failed += 1
            self._ends[command.index] += 1

    def audit(self, scheduler: Scheduler, inflicted: Counter[str]) -> None:
        """Assert that every item ended exactly once, and that the scheduler knows how."""
        scheduler.check()
        items = len(self._ends)
        missing = self._ends.count(0)
        assert scheduler.read == items or scheduler.stopped, "some items were never read"
        assert self._ends.count(1) + missing == items, "an item ended twice"
        assert missing == scheduler.abandoned + items - scheduler.read, "an item has no end"
        assert (self.done, self.failed) == (scheduler.done, scheduler.failed), "the scheduler miscounts"
        assert self.attempts == inflicted or scheduler.stopped, "a failed attempt was not recorded"


class Farm:
    """The loop around the scheduler, in virtual time."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.scheduler = Scheduler(
            scenario.processes, scenario.items, retries=scenario.retries, backoff=scenario.backoff
        )
        self.ledger = Ledger(scenario.items)
        self.agenda = Agenda()
        misfortune = Misfortune(scenario)
        self.world = World(self.agenda, Durations(scenario), misfortune, scenario.latency, self.tell)
        self.events = self.commands = 0
        self.cost = 0.0  # seconds of real time in the scheduler
        self._processes: dict[int, Process] = {}
        self._next_index = 0
        self._finished = False
        # the scheduler's check looks at all that is going on: at each event of a small run, else now and then
        size = scenario.processes + scenario.items
        self._check_every = 1 if size <= 5_000 else size // 1_000

    def run(self) -> None:
        """Play the run from its start to its end."""
        self._perform(self.scheduler.begin(self.agenda.now))
        while not self._finished:
            wake = self.scheduler.next_wake()
            if wake is not None and wake <= self.agenda.next_time:
                self.agenda.now = max(self.agenda.now, wake)
                self.tell(Tick())
            else:
                assert self.agenda.next_time < math.inf, "nothing will ever happen again"
                self.agenda.go_on_until(self.agenda.next_time + TURN)
        self.ledger.audit(self.scheduler, self.world.inflicted)

    def tell(self, event: Event) -> None:
        """Let the scheduler decide, and do what it says."""
        if self._finished:
            return
        began = time.perf_counter()
        commands = self.scheduler.handle(event, self.agenda.now)
        self.cost += time.perf_counter() - began
        self.events += 1
        self._perform(commands)
        if self.events % self._check_every == 0:
            self.scheduler.check()

    def _perform(self, commands: Sequence[Command]) -> None:
        self.commands += len(commands)
        for command in commands:
            match command:
                case StartProcess(number):
                    self._start(number)
                case ReadItems(number, size):
                    self._read(number, size)
                case SendItems(number, indices):
                    self._send(self._processes[number].receive, indices)
                case RecallItems(number, everything):
                    self._send(self._processes[number].give_back, everything)
                case StopProcess(number):
                    self._send(self._processes[number].leave)
                case KillProcess(number):
                    self._send(self._processes[number].be_killed)
                case RecordDone(done):
                    self.ledger.record_done(done.indices, self.agenda.now)
                case RecordFailed():
                    self.ledger.record_failed(command, self.agenda.now)
                case Finished():
                    self._finished = True

    def _start(self, number: int) -> None:
        process = self._processes[number] = Process(number, self.world)
        seconds = self.world.misfortune.start(self._scenario.start)
        self.agenda.later(0.0, self.tell, ProcessStarted(number))
        self.agenda.later(seconds, process.be_ready)

    def _read(self, number: int, size: int) -> None:
        """Items are their indices; they come at once, and their end is told as soon as it is known."""
        first, self._next_index = self._next_index, min(self._next_index + size, self._scenario.items)
        if self._next_index == self._scenario.items:
            self.tell(ItemsEnded())
        self.tell(ItemsRead(number, range(first, self._next_index)))

    def _send(self, what: Callable[..., None], *arguments: Any) -> None:
        self.agenda.later(self._scenario.latency, what, *arguments)


# -- what came of it ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What came of a scenario; the same whenever it is played, but for what it cost."""

    scenario: Scenario
    done: int
    failed: int
    abandoned: int
    deaths: int  # attempts that ended so, as the next two
    timeouts: int
    failures: int
    retried: int  # attempts after which the item was tried again
    makespan: float  # seconds of virtual time
    bound: float  # no scheduler could be faster
    events: int
    commands: int
    scheduler_seconds: float = field(compare=False)  # of real time
    wall_seconds: float = field(compare=False)

    @property
    def efficiency(self) -> float:
        """The part of the makespan that could not be avoided."""
        return self.bound / self.makespan if self.makespan else 1.0

    @property
    def load(self) -> float:
        """The part of the makespan for which a real scheduler would be busy."""
        return self.scheduler_seconds / self.makespan if self.makespan else math.inf


def simulate(scenario: Scenario) -> Outcome:
    """Play a scenario; raises when the scheduler breaks a promise."""
    began = time.perf_counter()
    farm = Farm(scenario)
    farm.run()
    world, ledger = farm.world, farm.ledger
    if farm.scheduler.error is not None:
        raise farm.scheduler.error
    return Outcome(
        scenario=scenario,
        done=ledger.done,
        failed=ledger.failed,
        abandoned=farm.scheduler.abandoned,
        deaths=ledger.attempts["died"],
        timeouts=ledger.attempts["timeout"],
        failures=ledger.attempts["raised"],
        retried=ledger.retried,
        makespan=ledger.last_end,
        bound=scenario.start + max(world.work / scenario.processes, world.longest),
        events=farm.events,
        commands=farm.commands,
        scheduler_seconds=farm.cost,
        wall_seconds=time.perf_counter() - began,
    )


# -- for people --------------------------------------------------------------------------------------


Columns = Sequence[tuple[str, int, Callable[[Outcome], str]]]  # heading, width, what stands below

WHICH: Columns = (
    ("processes", 9, lambda outcome: f"{outcome.scenario.processes:,}"),
    ("items", 10, lambda outcome: f"{outcome.scenario.items:,}"),
    ("family", 11, lambda outcome: "recorded" if outcome.scenario.recorded else outcome.scenario.family),
)
EVENTFUL: Columns = (
    *WHICH,
    ("deaths", 6, lambda outcome: f"{outcome.deaths:,}"),
    ("timeouts", 8, lambda outcome: f"{outcome.timeouts:,}"),
    ("failed", 6, lambda outcome: f"{outcome.failed:,}"),
    ("retried", 7, lambda outcome: f"{outcome.retried:,}"),
    ("makespan", 11, lambda outcome: f"{outcome.makespan:,.3f} s"),
    ("bound", 11, lambda outcome: f"{outcome.bound:,.3f} s"),
    ("efficiency", 10, lambda outcome: f"{outcome.efficiency:.1%}"),
)
COSTLY: Columns = (
    *WHICH,
    ("events", 9, lambda outcome: f"{outcome.events:,}"),
    ("commands", 9, lambda outcome: f"{outcome.commands:,}"),
    ("per item", 9, lambda outcome: f"{1e6 * outcome.scheduler_seconds / outcome.scenario.items:.2f} µs"),
    ("per event", 9, lambda outcome: f"{1e6 * outcome.scheduler_seconds / outcome.events:.1f} µs"),
    ("load", 7, lambda outcome: f"{outcome.load:.0%}" if outcome.load >= 0.1 else f"{outcome.load:.1%}"),
    ("wall time", 9, lambda outcome: f"{outcome.wall_seconds:.1f} s"),
)
ABOUT_EVENTS = """\
deaths, timeouts, retried: attempts; failed: items. makespan: virtual time until the last item has ended;
bound: no scheduler could be faster; efficiency: the second by the first."""
ABOUT_COSTS = """\
per item, per event: real time in the scheduler; load: all of it as a part of the makespan, so that with more
than 100% the scheduler is what a real run would wait for; wall time: of the simulation."""


def heading(columns: Columns) -> str:
    """The first line of a table."""
    return "  ".join(name.rjust(width) for name, width, _ in columns)


def line(columns: Columns, outcome: Outcome) -> str:
    """Another line of it."""
    return "  ".join(cell(outcome).rjust(width) for _, width, cell in columns)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """All numbers, but for recorded durations, which the user has."""
    numbers = asdict(outcome) | {"efficiency": outcome.efficiency}
    numbers["scenario"]["recorded"] = len(outcome.scenario.recorded)
    return numbers


def main() -> None:
    """Play what was asked for, and say what came of each scenario as soon as it has ended."""
    scenarios, path = read_arguments()
    print(heading(EVENTFUL), flush=True)
    outcomes = []
    for scenario in scenarios:
        outcomes.append(simulate(scenario))
        print(line(EVENTFUL, outcomes[-1]), flush=True)
    print(ABOUT_EVENTS, "", heading(COSTLY), sep="\n")
    for outcome in outcomes:
        print(line(COSTLY, outcome))
    print(ABOUT_COSTS)
    if path is not None:
        path.write_text(json.dumps([as_json(outcome) for outcome in outcomes], indent=1) + "\n")


def read_arguments() -> tuple[Sequence[Scenario], Path | None]:
    """The scenarios to play, and where to keep the numbers; ends the program at a mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    own = parser.add_argument_group("one scenario of your own")
    own.add_argument("--processes", type=whole(1, MOST_PROCESSES), metavar="N")
    own.add_argument("--items", type=whole(1, MOST_ITEMS), metavar="N")
    durations = own.add_mutually_exclusive_group()
    durations.add_argument("--family", choices=FAMILIES, help="of the items' durations")
    durations.add_argument(
        "--recorded", type=recorded, metavar="FILE", help="durations instead: seconds, a number in each line"
    )
    own.add_argument("--mean", type=number(0.0), metavar="S", help="mean duration (1; tiny: 0.00001)")
    own.add_argument("--start", type=number(0.0), metavar="S", help="until a process is ready (0.1)")
    own.add_argument("--latency", type=number(0.0), metavar="S", help="of each message (0.0005)")
    own.add_argument("--deaths", type=number(0.0, 1.0), metavar="RATE", help="of attempts that kill (0)")
    own.add_argument("--timeouts", type=number(0.0, 1.0), metavar="RATE", help="of those that hang (0)")
    own.add_argument("--failures", type=number(0.0, 1.0), metavar="RATE", help="of those that raise (0)")
    own.add_argument("--retries", type=whole(0, 1000), metavar="N", help="of an item that failed (3)")
    own.add_argument("--backoff", type=number(0.0), metavar="S", help="before the first of these (0.1)")
    parser.add_argument("--seed", type=whole(0, 2**64), default=1, metavar="N", help="of all chance (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all numbers")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    path, seed = given.pop("json", None), given["seed"]
    if path is not None:
        try:
            path.open("a").close()  # not only when all has been played
        except OSError as error:
            parser.error(f"argument --json: {error}")
    if "mean" in given and "recorded" in given:
        parser.error("argument --mean: not allowed with argument --recorded")
    if sum(given.get(name, 0.0) for name in ("deaths", "timeouts", "failures")) > 1.0:
        parser.error("--deaths, --timeouts and --failures together are more than all attempts")
    if given.keys() == {"seed"}:
        return [Scenario(**{**vars(scenario), "seed": seed}) for scenario in STANDARD], path
    return [Scenario(**given)], path


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number between these, as argparse wants it."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not between {least} and {most}")
        return value

    return convert


def number(least: float, most: float = 1e6) -> Callable[[str], float]:
    """A number between these, as argparse wants it."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least:g} and {most:g}")
        return value

    return convert


def recorded(text: str) -> tuple[float, ...]:
    """The durations in a file."""
    try:
        lines = Path(text).read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"{text} cannot be read: {error}") from None
    if not lines:
        raise argparse.ArgumentTypeError(f"{text} is empty")
    try:
        return tuple(map(number(0.0), lines))
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
