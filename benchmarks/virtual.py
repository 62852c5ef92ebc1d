"""A farm in virtual time: everything around the scheduler, without processes and without waiting.

``farmhand.scheduler.Scheduler`` makes every decision of the farm and does nothing else, so that it can be
driven by what is here; ``simulate.py`` finds out what it costs and how good it is, ``replay.py`` what a farm
would have seen of a run whose durations are known:

- ``Agenda`` is the clock: a heap of what will happen when. Time jumps from one happening to the next.
- ``Process`` does what a worker does: it takes items up one after the other, sends what has ended, gives back
  what it has not begun, and now and then dies, hangs, or fails. A message takes its time in either direction.
- ``Farm`` does what ``farmhand.farm`` does: it tells the scheduler what happened, carries out its commands,
  and reads items when it asks for some. It takes no virtual time; what the scheduler costs is measured.
- ``Ledger`` writes down how each item ended, and finds out at the end whether each did so exactly once.
- ``Traffic`` counts what passes the farm: messages, and bytes by a simple model.
"""

from __future__ import annotations

import heapq
import math
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

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
    RoundTrip,
    SendItems,
    StartProcess,
    StopProcess,
    Tick,
)
from farmhand.scheduler import Scheduler

GATHER = 0.02  # seconds of work after which a process sends what has ended, as a worker does
FAR = 0.001  # seconds that a message takes to a process of another computer, at least
TOGETHER = 0.01  # seconds; what the processes of one computer say within them travels as one message
TURN = 0.01  # seconds for which the farm attends to messages before it looks whether a tick is due
SLOW_STARTS = 0.05  # of all processes take ...
SLOW = 10  # ... so many times as long to start
MESSAGE, ENTRY, ABOUT = (
    200,
    60,
    12,
)  # bytes of a message, of each event in it, and about each item beside its own
HANGING = 1.5  # an item that hangs is timed out after so many times the longest duration


# -- what is to happen -------------------------------------------------------------------------------


class Durations(Protocol):
    """How long each item takes."""

    @property
    def longest(self) -> float:
        """Seconds of the longest item."""

    def __call__(self, index: int, /) -> float:
        """Seconds of one item."""


class Risks(Protocol):
    """How likely misfortunes are at each attempt, and the seed of all chance."""

    @property
    def deaths(self) -> float:
        """The process dies."""

    @property
    def timeouts(self) -> float:
        """It hangs."""

    @property
    def failures(self) -> float:
        """It raises."""

    @property
    def seed(self) -> int:
        """Of all chance."""


class Misfortune:
    """What goes wrong in processes, drawn by a seed."""

    def __init__(self, risks: Risks) -> None:
        self._source = random.Random(f"misfortune {risks.seed}")
        self._rates = {"died": risks.deaths, "timeout": risks.timeouts, "raised": risks.failures}
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
    start_up: float = 0.0  # seconds that the first item of each process takes longer than it would later
    overhead: float = 0.0  # seconds between two items
    gather: float = GATHER
    failing: dict[int, list[float]] = field(default_factory=dict)  # by item, seconds of attempts that raise
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
        self._start_up = world.start_up  # nothing any more after the first item

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
            busy = sum(seconds) + self._world.overhead * len(indices)
            self._world.agenda.later(busy, self._send, indices, seconds)
        elif self._queue:
            self._on = self._queue.popleft()
            if failing := self._world.failing.get(self._on):
                self._suffer(self._on, "raised", failing.pop(0))
            else:
                self._luck = self._world.misfortune.attempts_before()
                self._suffer(self._on, self._world.misfortune.kind(), self._world.seconds(self._on))
        else:
            self._on = None

    def _take_some(self) -> tuple[list[int], list[float]]:
        """Items that end well, of about 20 ms (``gather``) together, or one that is longer.

        They count as begun all at once, and all that happens is that they have ended: a happening for
        each tiny item would cost more than everything else.
        """
        queue, seconds_of, failing = self._queue, self._world.seconds, self._world.failing
        indices: list[int] = []
        seconds: list[float] = []
        left = self._world.gather
        while queue and self._luck > 0 and not failing.get(queue[0]):
            took = seconds_of(queue[0]) + self._start_up
            if indices and took > left:
                break
            self._start_up = 0.0
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

    def _suffer(self, index: int, kind: str, seconds: float) -> None:
        """An attempt that does not go well."""
        world = self._world
        world.inflicted[kind] += 1
        seconds += self._start_up
        self._start_up = 0.0
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


class Traffic:
    """What passes the farm in one direction, by a simple model.

    Parameters
    ----------
    slots : int
        Processes of one computer, which share its messages.
    size : int
        Bytes of an item, or of a result.
    """

    def __init__(self, slots: int, size: int) -> None:
        self._slots = slots
        self._size = size + ABOUT
        self._left_at: dict[int, float] = {}  # by computer, when its latest message has left
        self.messages = self.bytes = 0

    def add(self, number: int, items: int, now: float) -> None:
        """Something about so many items has come from a process, or goes there."""
        computer = number // self._slots
        if now - self._left_at.get(computer, -math.inf) > TOGETHER:
            self._left_at[computer] = now
            self.messages += 1
            self.bytes += MESSAGE
        self.bytes += ENTRY + items * self._size


class Farm:
    """The loop around the scheduler, in virtual time."""

    def __init__(
        self,
        scheduler: Scheduler,
        items: int,
        seconds: Durations,
        misfortune: Misfortune,
        *,
        start: float,
        latency: float,
        start_up: float = 0.0,
        overhead: float = 0.0,
        gather: float = GATHER,
        slots: int = 1,
        item_size: int = 20,
        result_size: int = 20,
        checks: bool = True,
    ) -> None:
        self.scheduler = scheduler
        self._items = items
        self._start_after = start
        self.ledger = Ledger(items)
        self.agenda = Agenda()
        self.world = World(self.agenda, seconds, misfortune, latency, self.tell, start_up, overhead, gather)
        self.sent, self.received = Traffic(slots, item_size), Traffic(slots, result_size)
        self.events = self.commands = 0
        self.cost = 0.0  # seconds of CPU time in the scheduler
        self.memory = 0  # bytes that the scheduler has when half of the items have been read
        self.in_hand = 0  # items that processes hold then
        self._processes: dict[int, Process] = {}
        self._next_index = 0
        self._half = items // 2
        self._finished = False
        # the scheduler's check looks at all that is going on: at each event of a small run, else now and then
        size = scheduler.target + items
        self._check_every = (1 if size <= 5_000 else size // 50) if checks else math.inf

    def run(self) -> None:
        """Play the run from its start to its end."""
        self._perform(self.scheduler.begin(self.agenda.now))
        if self.world.latency >= FAR:  # as an executor says it; what is gathered for longer is on its way
            self.tell(RoundTrip(2 * self.world.latency + max(0.0, self.world.gather - GATHER)))
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
        began = time.thread_time()
        commands = self.scheduler.handle(event, self.agenda.now)
        self.cost += time.thread_time() - began
        self.events += 1
        if isinstance(event, ItemsDone):
            self.received.add(event.number, len(event.indices), self.agenda.now)
        elif isinstance(event, ItemsReturned | ItemFailed | ProcessReady | ProcessStarted | ProcessDied):
            self.received.add(event.number, 0, self.agenda.now)
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
                    self._send(number, len(indices), self._processes[number].receive, indices)
                case RecallItems(number, everything):
                    self._send(number, 0, self._processes[number].give_back, everything)
                case StopProcess(number):
                    self._send(number, 0, self._processes[number].leave)
                case KillProcess(number):
                    self._send(number, 0, self._processes[number].be_killed)
                case RecordDone(done):
                    self.ledger.record_done(done.indices, self.agenda.now)
                case RecordFailed():
                    self.ledger.record_failed(command, self.agenda.now)
                case Finished():
                    self._finished = True

    def _start(self, number: int) -> None:
        self.sent.add(number, 0, self.agenda.now)
        process = self._processes[number] = Process(number, self.world)
        seconds = self.world.misfortune.start(self._start_after)
        self.agenda.later(0.0, self.tell, ProcessStarted(number))
        self.agenda.later(seconds, process.be_ready)

    def _read(self, number: int, size: int) -> None:
        """Items are their indices; they come at once, and their end is told as soon as it is known."""
        first, self._next_index = self._next_index, min(self._next_index + size, self._items)
        if first < self._half <= self._next_index:
            self.memory = memory(self.scheduler)
            self.in_hand = sum(len(self.scheduler.holder(number)) for number in self.scheduler.processes)
        if self._next_index == self._items:
            self.tell(ItemsEnded())
        self.tell(ItemsRead(number, range(first, self._next_index)))

    def _send(self, number: int, items: int, what: Callable[..., None], *arguments: Any) -> None:
        self.sent.add(number, items, self.agenda.now)
        self.agenda.later(self.world.latency, what, *arguments)


def memory(root: object) -> int:
    """Bytes of an object with all that it alone refers to; of what is a value, such as an int, too."""
    seen: set[int] = set()
    total = 0
    queue = [root]
    while queue:
        thing = queue.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        seen.add(id(thing))
        total += sys.getsizeof(thing)
        if isinstance(thing, dict):
            queue += [*thing, *thing.values()]
        elif isinstance(thing, list | tuple | set | frozenset | deque):
            queue += thing
        else:
            slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
            queue += [getattr(thing, name) for name in slots if hasattr(thing, name)]
            queue += [vars(thing)] if hasattr(thing, "__dict__") else []
    return total
