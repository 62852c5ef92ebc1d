"""Every decision of the farm, as a state machine: events in, commands out.

It never waits, reads a clock, or touches a process or a file: what happened, and when, is told
to :meth:`Scheduler.handle`, and what it answers is done by someone else. So any history, with any
number of crashes in any order, can be played through it in a test, thousands in a second.

An item is, at any moment, in exactly one place: not yet read, waiting here, held by one process,
or ended (done, failed or abandoned). A process that dies takes down the one item that it was on;
one that is lost with its computer takes down none, unless that happens to an item again and again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Set
from heapq import heappop, heappush, nlargest

from farmhand.chunking import LATEST, Middle, Pace, chunk_size, refill, worth_taking
from farmhand.errors import FarmhandError, ProcessesKeepDying, SetupError, UsageError
from farmhand.events import (
    FINAL_KINDS,
    Command,
    Event,
    ExecutorFailed,
    Finish,
    Finished,
    ItemError,
    ItemFailed,
    ItemOverMemory,
    ItemRejected,
    ItemsDone,
    ItemsEnded,
    ItemsRead,
    ItemsReturned,
    ItemsUnreadable,
    ItemTimedOut,
    KillProcess,
    LimitItems,
    MemoryLow,
    Pause,
    ProcessDied,
    ProcessReady,
    ProcessStarted,
    ReadItems,
    RecallItems,
    RecordDone,
    RecordFailed,
    Reported,
    Resize,
    Resume,
    RoomChanged,
    RoundTrip,
    SendItems,
    SetupFailed,
    StartProcess,
    Stop,
    StopProcess,
    Tick,
    Usage,
)
from farmhand.spans import Spans
from farmhand.values import dataclass, field, replace

__all__ = ["Scheduler"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import assert_never
else:

    def assert_never(event):
        raise AssertionError(f"{event!r} is no event")


GRACE = 1.0  # seconds that a process which was asked to leave has before it is killed

_LONGEST_WAIT = 60.0  # seconds before another attempt
_LIMIT_FROM = 5  # items whose durations say what is too long
_LEAST_LIMIT = 1.0  # seconds; nobody means to kill what takes less
_MOST_LOSSES = 3  # of one item, before it is no accident any more
_MOST_LOST_STARTS = 10  # for each process that the farm is to have


@dataclass(slots=True)
class _Process:
    number: int
    state: str = "starting"  # then "ready", then "leaving"; one that died is forgotten
    computer: str = ""  # where it runs, if that is not here
    held: Spans = field(default_factory=Spans)
    sent: int = 0  # items since it started
    last_chunk: int = 0
    reading: int = 0  # how many items a ReadItems that has no answer yet asks for
    recalls: int = 0  # RecallItems that have no answer yet
    barren: bool = False  # the last recall brought nothing, and nothing has ended since
    heard: float = 0.0  # when it was sent the first of what it holds, or something last ended in it
    condemned: tuple[int, ItemError] | None = None  # the item for which it is being killed, and why
    leave_by: float | None = None  # when its grace ends
    at_risk: bool = False  # it holds an item that was lost too often

    def is_to_blame(self) -> bool:
        """Whether it is being killed for what it did while it was on no item."""
        return self.condemned is not None and self.condemned[0] < 0


class Scheduler:
    """Decides what a farm does.

    Parameters
    ----------
    processes : int
        How many processes to use.
    total : int, optional
        How many items there are, where that is known; a wrong number costs speed, never items.
    retries : int or mapping
        How many more times an item that failed is tried; by kind of failure, kinds that are not
        named are not tried again. What cannot be pickled never is. An item whose process was lost
        with its computer (kind ``'lost'``) is tried three more times, at once, which counts for no
        other kind; only where that kind is named is it another number.
    backoff : float
        Seconds before an item is tried again; twice as long before each further attempt, up to
        a minute.
    recycle : int, optional
        How many items a process may run before it is replaced.
    timeout_factor : float, optional
        How many times the median duration an item may take, once some have ended.
    max_failures : int, optional
        With so many failed items the run stops.
    max_time : float, optional
        After so many seconds the run stops.
    remember : int
        How many of the latest happenings :meth:`story` knows.

    Attributes
    ----------
    state : str
        ``'running'``, ``'paused'``, ``'finishing'``, ``'stopping'`` or ``'ended'``.
    error : FarmhandError or None
        Why the run had to stop by itself, when something is wrong.
    reason : str
        Why it stopped by itself when nothing is: one of its limits was reached.
    read, done, failed, abandoned : int
        Items by what became of them; those that were read but are in none of the other three
        wait or run.
    """

    def __init__(
        self,
        processes: int,
        total: int | None = None,
        *,
        retries: int | Mapping[str, int] = 0,
        backoff: float = 0.0,
        recycle: int | None = None,
        timeout_factor: float | None = None,
        max_failures: int | None = None,
        max_time: float | None = None,
        remember: int = 0,
    ) -> None:
        self.state = "running"
        self.stopped = False
        self.reason = ""
        self.error: FarmhandError | None = None
        self.read = self.done = self.failed = self.abandoned = 0
        self._target = self._highest_target = processes
        self._total = total
        self._retries = retries
        self._backoff = backoff
        self._recycle = recycle
        self._timeout_factor = timeout_factor
        self._max_failures = max_failures
        self._max_time = max_time
        self._end_by: float | None = None
        self._processes: dict[int, _Process] = {}
        self._idle: dict[int, _Process] = {}  # those that are ready, hold nothing and are not reading
        self._leaving: dict[int, _Process] = {}  # those whose grace ends, the earliest first
        self._reading = 0  # processes with a ReadItems that has no answer yet
        self._recalling = 0  # RecallItems that have no answer yet, of all processes
        self._nothing_to_take = False  # no process holds an item that it could give back
        self._begun = 0  # processes that were sent something
        self._trip = 0.0  # seconds of a round trip to a process
        self._take_from: float | None = None  # when it is time to look again who holds enough
        self._waiting: deque[int] = deque()
        self._attempts: dict[int, list[str]] = {}  # kinds of failed attempts at items that have not ended
        self._resting: list[tuple[float, int]] = []  # a heap: when an item that failed may be tried again
        # Items that a process held when it died without saying which one it was on. Each is sent alone
        # now, so that the next death shows which of them it was.
        self._suspects: set[int] = set()
        # How often an item was held by a process that was lost, when nobody knew which of them that was on:
        # only items that have not ended. Too many losses bring it under suspicion, and so does a loss after
        # which one more would be its failure.
        self._losses: dict[int, int] = {}
        # Those with too many, as long as they wait: one at a time is begun on each computer, since it may be
        # what ends computers, and the others would be lost with it once more, and fail for nothing.
        self._risky: deque[int] = deque()
        self._computers_at_risk: set[str] = set()  # those on which one is
        self._memory_low = False
        self._elsewhere = False  # whether a process has started on another computer
        self._feed_open = True
        self._ask_again = False  # whether those without work are to be fed at the next tick, which is now
        self._asking = False  # a ReadItems that is for no process has no answer yet
        self._pace = Pace()
        self._middle = Middle()
        self._limit = 0.0  # seconds that an item may take, as last told; 0 for any time
        self._deaths_in_a_row = 0
        self._lost_starts = 0  # processes that were lost before they were ready, since the last one was
        self._now = 0.0
        self._story: deque[tuple[float, object]] | None = deque(maxlen=remember) if remember else None

    # -- what the farm calls ---------------------------------------------------------------------

    def begin(self, now: float) -> list[Command]:
        """The first commands. No more processes are started than there are items."""
        self._now = now
        if self._max_time is not None:
            self._end_by = now + self._max_time
        return self._told(None, self._staff() + self._end_if_over())

    def handle(self, event: Event, now: float) -> list[Command]:
        """What to do now that ``event`` has happened.

        Parameters
        ----------
        event : Event
            What happened.
        now : float
            When, in seconds on any clock that does not go back.

        Returns
        -------
        list of Command
            To be done in this order. After ``Finished`` nothing may be handled.
        """
        self._now = now
        match event:
            case ItemsDone():
                commands = self._items_done(event)
            case ItemsRead():
                commands = self._items_read(event)
            case ItemFailed():
                commands = self._item_failed(event)
            case ProcessReady():
                commands = self._process_ready(event)
            case ItemsReturned():
                commands = self._items_returned(event)
            case ProcessDied():
                commands = self._process_died(event)
            case ItemRejected():
                self.read += 1
                commands = [RecordFailed(event.index, event.error), *self._failed_for_good()]
            case ItemsEnded():
                self._feed_open = False
                commands = self._feed_all()
            case ItemTimedOut():
                text = f"ran for {event.seconds:.3g} s, longer than its timeout, and was killed"
                commands = self._condemn(event.number, event.index, ItemError("timeout", "", text))
            case ItemOverMemory():
                text = f"used {event.memory / 1e6:,.0f} MB of memory, more than memory_limit, and was killed"
                commands = self._condemn(event.number, event.index, ItemError("memory", "", text))
            case MemoryLow():
                commands = self._mind_memory(event)
            case ProcessStarted():
                commands = self._process_started(event)
            case SetupFailed():
                commands = self._setup_failed(event)
            case Pause():
                commands = self._pause()
            case Resume():
                if self.state == "paused":
                    self.state = "running"
                commands = self._feed_all()
            case Finish():
                commands = self._finish()
            case Stop():
                commands = self._stop()
            case Resize():
                commands = self._resize(event)
            case Tick():
                commands = self._tick()
            case ExecutorFailed():
                commands = self._break(event.error)
            case RoundTrip():
                self._trip = max(0.0, event.seconds)
                commands = []
            case Reported() | ItemsUnreadable() | RoomChanged():
                commands = []  # of interest to others
            case _:
                assert_never(event)
        starts = self._staff()
        if starts:
            # before the reading: its answer may already end the run, and with it these processes
            reads = [command for command in commands if isinstance(command, ReadItems)]
            others = [command for command in commands if not isinstance(command, ReadItems)]
            commands = [*others, *starts, *reads]
        commands += self._end_if_over()
        return self._told(event, commands)

    def next_wake(self) -> float | None:
        """When ``Tick`` is wanted at the latest, on the clock of ``now``; None for never."""
        if self._ask_again:
            return float("-inf")
        wakes = []
        first = next(iter(self._leaving.values()), None)
        if first is not None and first.leave_by is not None:
            wakes.append(first.leave_by)
        if self._end_by is not None and self.state not in ("stopping", "ended"):
            wakes.append(self._end_by)
        if self._resting:
            wakes.append(self._resting[0][0])
        if self._take_from is not None:
            wakes.append(self._take_from)
        return min(wakes, default=None)

    # -- what others may ask -----------------------------------------------------------------------

    @property
    def items_left(self) -> int | None:
        """Items that have not ended, those not yet read included; None when nobody knows."""
        unread = self._unread()
        return None if unread is None else self.read - self.done - self.failed - self.abandoned + unread

    @property
    def processes(self) -> dict[int, str]:
        """The state of each process that is alive, by number."""
        return {number: process.state for number, process in sorted(self._processes.items())}

    @property
    def target(self) -> int:
        """How many processes the farm is to have."""
        return self._target

    def attempts(self, index: int) -> int:
        """Which attempt at an item that has not ended is the next one, or the one that runs; from 1."""
        return len(self._attempts.get(index, ())) + 1

    def holder(self, number: int) -> Set[int]:
        """The items that process ``number`` holds now."""
        process = self._processes.get(number)
        return process.held if process else frozenset()

    @property
    def suspects(self) -> frozenset[int]:
        """The items that were there when a process died, one of which must have been the reason.

        Of processes that were lost, those that were there too often, or may be lost only once more.
        """
        return frozenset(self._suspects)

    def learn(self, total: int | None) -> None:
        """The number of items is ``total`` after all (some were skipped)."""
        self._total = total

    def story(self, index: int) -> list[str]:
        """What happened to an item, as far as it is remembered: one line for each time."""
        lines = []
        for now, what in self._story or ():
            indices = getattr(what, "indices", None)
            done = getattr(what, "done", None)
            if done is not None:
                indices = done.indices
            if getattr(what, "index", None) == index or (indices is not None and index in indices):
                number = getattr(what, "number", None) if done is None else done.number
                lines.append(f"{now:g}: {type(what).__name__}" + (f" {number}" if number is not None else ""))
        return lines

    def check(self) -> None:
        """Assert everything that must hold between two events."""
        held = [index for process in self._processes.values() for index in process.held]
        places = held + list(self._waiting) + list(self._risky) + [index for _, index in self._resting]
        assert len(places) == len(set(places)), "an item is in two places"
        ended = self.done + self.failed + self.abandoned
        assert self.read == ended + len(places), "an item was lost, or ended twice"
        assert min(self.done, self.failed, self.abandoned) >= 0
        assert self._attempts.keys() <= set(places), "the attempts of an item that has ended are still kept"
        assert self._suspects <= set(places), "an item that has ended is still under suspicion"
        assert self._losses.keys() <= set(places), "the losses of an item that has ended are still counted"
        too_often = {index for index, number in self._losses.items() if number >= _MOST_LOSSES}
        assert too_often <= self._suspects
        assert too_often >= set(self._risky)
        assert too_often.isdisjoint(self._waiting)
        at_risk = [p.computer for p in self._processes.values() if too_often and p.held & too_often]
        assert len(at_risk) == len(set(at_risk)), "two items that may end a computer are on the same"
        assert set(at_risk) == self._computers_at_risk
        for process in self._processes.values():
            suspected = self._suspects and process.held & self._suspects
            assert not suspected or len(process.held) == 1, "a suspect is not alone"
            assert process.state != "starting" or not process.held, "work for a process that is not ready"
            if self._recycle is not None:
                assert process.sent <= self._recycle, "a process was sent more than its share"
        assert self._held() == len(held), "the number of held items is wrong"
        everybody = self._processes.values()
        idle = {p.number for p in everybody if p.state == "ready" and not p.held and not p.reading}
        assert self._idle.keys() == idle, "the idle processes are others"
        assert self._leaving.keys() == {p.number for p in everybody if p.leave_by is not None}
        graces = [p.leave_by for p in self._leaving.values() if p.leave_by is not None]
        assert graces == sorted(graces), "the earliest grace is not the first"
        assert self._reading == sum(bool(p.reading) for p in everybody)
        assert self._recalling == sum(p.recalls for p in everybody)
        if self.state == "ended":
            assert not places and not self._processes, "ended with something left"

    # -- processes ---------------------------------------------------------------------------------

    def _staff(self) -> list[Command]:
        """Start what is missing: never more processes than there are items for."""
        if self.state != "running" or not self._work_is_left():
            return []
        left = self.items_left
        if left == 0:
            return self._ask_for_nobody()
        if len(self._processes) >= self._target:
            return []
        wanted = self._target if left is None else min(self._target, left)
        if self._none_is_too_many() and len(self._processes) - len(self._leaving) >= wanted:
            return []  # at most events there is nothing to do, and thousands of processes to look at
        staying = sum(p.number < self._target and p.state != "leaving" for p in self._processes.values())
        absent = [number for number in range(self._target) if number not in self._processes]
        starting = absent[: max(0, wanted - staying)]
        self._processes.update((number, _Process(number)) for number in starting)
        return [StartProcess(number) for number in starting]

    def _none_is_too_many(self) -> bool:
        """Whether there has never been a process with a number beyond those that are wanted now."""
        return self._target == self._highest_target

    def _ask_for_nobody(self) -> list[Command]:
        """Nothing should be left to read, but the feed has not said so: ask before a process is started."""
        others_ask = any(process.state != "leaving" for process in self._processes.values())
        if others_ask or self._asking or self._ask_again:
            return []
        self._asking = True
        return [ReadItems(0, 1)]

    def _unread(self) -> int | None:
        """Items that the feed still has; None when nobody knows, or when more came than there should be."""
        if not self._feed_open:
            return 0
        return None if self._total is None or self.read > self._total else self._total - self.read

    def _held(self) -> int:
        """How many items are held by processes."""
        ended = self.done + self.failed + self.abandoned
        return self.read - ended - len(self._waiting) - len(self._risky) - len(self._resting)

    def _work_is_left(self) -> bool:
        """Whether there are items that no process holds."""
        return self._feed_open or bool(self._waiting or self._risky or self._resting)

    def _process_started(self, event: ProcessStarted) -> list[Command]:
        process = self._processes.get(event.number)
        if process is None:
            return []
        process.computer = event.computer
        if not event.computer or self._elsewhere:
            return []
        self._elsewhere = True
        # the memory here is that of a login node, say, and no reason for the others to wait
        return self._mind_memory(MemoryLow(False)) if self._memory_low else []

    def _process_ready(self, event: ProcessReady) -> list[Command]:
        process = self._processes.get(event.number)
        if process is None or process.state != "starting":
            return []
        process.state = "ready"
        self._lost_starts = 0
        self._note(process)
        return self._feed(process)

    def _note(self, process: _Process) -> None:
        """Keep the list of idle processes right: after each change of what it is decided by."""
        if process.at_risk and not process.held:
            process.at_risk = False
            self._computers_at_risk.discard(process.computer)
        if process.state == "ready" and not process.held and not process.reading:
            self._idle[process.number] = process
        else:
            self._idle.pop(process.number, None)

    def _give_grace(self, process: _Process) -> None:
        process.state = "leaving"
        process.leave_by = self._now + GRACE
        self._leaving.pop(process.number, None)
        self._leaving[process.number] = process
        self._note(process)

    def _process_died(self, event: ProcessDied) -> list[Command]:
        process = self._processes.pop(event.number, None)
        if process is None:
            return []
        self._idle.pop(event.number, None)
        self._leaving.pop(event.number, None)
        if process.at_risk:
            self._computers_at_risk.discard(process.computer)
        self._reading -= bool(process.reading)
        self._recalling -= process.recalls
        rest = sorted(process.held)
        culprit = event.index if event.index in process.held else None
        if culprit is None and len(rest) == 1 and rest[0] in self._suspects:
            # one that was just sent may not have begun when its computer was lost; but that happens once
            known = event.kind != "lost" or self._losses.get(rest[0], 0) > _MOST_LOSSES
            culprit = rest[0] if known else None
        where = f" on {process.computer}" if process.computer else ""
        how = "lost" if event.kind == "lost" else "died"
        error = ItemError(event.kind, "", f"process {how}{where}: {event.reason}")
        if process.condemned is not None:
            if culprit != process.condemned[0]:
                culprit = None  # it had just gone on to the next item when it was killed
            error = process.condemned[1]
        commands: list[Command] = []
        broken: FarmhandError | None = None
        if culprit is not None and self.state != "stopping":
            if event.kind != "lost":
                self._deaths_in_a_row = 0
            rest.remove(culprit)
            about = (event.number, event.started, event.seconds, event.usage)
            commands += self._fail(culprit, error, *about)
        elif event.kind == "lost":
            broken = self._lost(process, rest, event.reason + where)
        else:
            broken = self._died_of_nothing_known(process, event, where)
            if process.state == "ready":
                self._suspects.update(rest)
        self._give_back(rest)
        if broken is not None:
            return commands + self._break(broken)
        if event.kind == "lost":
            self._ask_again = True  # not now: others that would get its items may be about to be told as lost
            return commands
        return commands + self._feed_all()

    def _died_of_nothing_known(
        self, process: _Process, event: ProcessDied, where: str
    ) -> FarmhandError | None:
        """A process died, and no item is known to be the reason; what is wrong if that goes on and on."""
        if process.state == "leaving" and not process.is_to_blame():
            return None
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row < max(3, self._target):
            return None
        reason = event.reason if process.condemned is None else process.condemned[1].message
        return ProcessesKeepDying(self._deaths_in_a_row, reason + where, event.usage.output)

    def _lost(self, process: _Process, held: Sequence[int], reason: str) -> FarmhandError | None:
        """A process is gone with its computer, and nobody knows which item it was on, if any.

        Nobody is to blame, but an item may be what ends one computer after the other; and where each ends
        before a process is ready, a run would begin for ever. What is wrong then is returned.
        """
        for index in held:
            self._losses[index] = self._losses.get(index, 0) + 1
            if self._losses[index] >= _MOST_LOSSES:
                self._suspects.add(index)
        if process.state != "starting" and not process.is_to_blame():
            return None
        self._lost_starts += 1
        if self._lost_starts < _MOST_LOST_STARTS * self._target:
            return None
        if any(other.state == "ready" for other in self._processes.values()):
            return None  # they do the work; perhaps one computer of many is broken
        return ProcessesKeepDying(self._lost_starts, reason, kind="lost")

    def _setup_failed(self, event: SetupFailed) -> list[Command]:
        process = self._processes.get(event.number)
        computer = "" if process is None else process.computer
        return self._break(SetupError(event.number, str(event.error), event.error.traceback, computer))

    def _condemn(self, number: int, index: int | None, error: ItemError) -> list[Command]:
        """Kill a process for what its item does; the item will have failed for that reason."""
        process = self._processes.get(number)
        if process is None or process.condemned or (index is not None and index not in process.held):
            return []
        process.condemned = (-1 if index is None else index, error)
        self._give_grace(process)  # whatever it still says is welcome, but it gets no more work
        return [KillProcess(number)]

    def _mind_memory(self, event: MemoryLow) -> list[Command]:
        """With hardly any memory left only one item at a time is begun, so that the run goes on."""
        self._memory_low = event.low and not self._elsewhere
        return self._recall_everything() if self._memory_low else self._feed_all()

    def _resize(self, event: Resize) -> list[Command]:
        if event.processes < 1:
            raise UsageError(f"a farm needs at least one process, not {event.processes}")
        self._target = event.processes
        self._highest_target = max(self._highest_target, self._target)
        return self._recall_everything(from_number=self._target) + self._feed_all()

    # -- items -------------------------------------------------------------------------------------

    def _feed_all(self) -> list[Command]:
        """Give work to those that have none; the others ask for more by themselves."""
        commands: list[Command] = []
        nothing = False
        for process in list(self._idle.values()):
            if nothing and self._none_is_too_many() and self._recycle is None:
                break
            if nothing and process.number < self._target and process.sent != self._recycle:
                continue  # what there is not for one, there is not for another
            fed = self._feed(process)
            nothing = nothing or not (fed or self._risky)  # of which each computer has one at a time
            commands += fed
        return commands

    def _feed(self, process: _Process) -> list[Command]:
        """Give ``process`` work if it should have some, or let it go."""
        if process.state != "ready" or self.state in ("stopping", "ended"):
            return []
        if process.number >= self._target or process.sent == self._recycle:
            if process.held or process.reading:
                return []
            return [self._let_go(process)]
        if self.state != "running" or process.reading:
            return []
        if self._memory_low and (self._reading or self._held()):
            return []
        unread = self._unread()
        left = None if unread is None else len(self._waiting) + len(self._risky) + unread
        mean, trip = self._known_mean(), self._trip
        size = chunk_size(mean, process.last_chunk, left, max(1, len(self._processes)), trip)
        if not refill(mean, size, len(process.held), trip):
            return []
        if self._recycle is not None:
            size = min(size, self._recycle - process.sent)
        if self._memory_low:
            size = 1
        if not process.held.isdisjoint(self._suspects):
            return []  # nothing else is to be there if it dies
        if self._risky and not process.held and process.computer not in self._computers_at_risk:
            process.at_risk = True
            self._computers_at_risk.add(process.computer)
            return self._send(process, [self._risky.popleft()])
        if self._waiting:
            return self._send(process, self._next_waiting(size, alone=not process.held))
        if self._feed_open:
            process.reading = size
            self._reading += 1
            self._note(process)
            return [ReadItems(process.number, size)]
        if not process.held and not self._memory_low:
            return self._recall_for_idle()
        return []

    def _known_mean(self) -> float | None:
        """How long an item takes; None as long as nobody knows.

        The first ones that end are the short ones. On this computer what a process was sent too much is soon
        taken back; elsewhere that is only known when half of the processes that had one have ended it.
        """
        if self._trip and 2 * (self.done + self.failed) < self._begun:
            return None
        return self._pace.mean

    def _next_waiting(self, size: int, alone: bool) -> list[int]:
        """Up to ``size`` of the items that wait; a suspect comes alone, or not at all."""
        indices: list[int] = []
        while self._waiting and len(indices) < size:
            if self._waiting[0] in self._suspects:
                if alone and not indices:
                    indices.append(self._waiting.popleft())
                break
            indices.append(self._waiting.popleft())
        return indices

    def _send(self, process: _Process, indices: Sequence[int]) -> list[Command]:
        if not indices:
            return []
        if not process.held:
            process.heard = self._now
        self._begun += not process.sent
        process.held.add(indices)
        process.sent += len(indices)
        process.last_chunk = len(indices)
        if len(process.held) > 1:
            self._nothing_to_take = False
        self._note(process)
        return [SendItems(process.number, indices)]

    def _recall_for_idle(self) -> list[Command]:
        """Processes have nothing to do: take half of the items that wait in others.

        One at a time: what it gives back may be enough for all. But where that is long on its way, from one
        process for each that has nothing to do.
        """
        wanted = (len(self._idle) if self._trip else 1) - self._recalling
        if wanted < 1 or self._nothing_to_take or self._take_from is not None:
            return []
        victims = [
            process
            for process in self._processes.values()
            if len(process.held) > 1 and process.state == "ready" and not process.barren
        ]
        if not victims:
            self._nothing_to_take = True  # until something is sent, or a barren process goes on
            return []
        if self._trip:
            victims = [process for process in victims if not process.recalls and self._has_enough(process)]
            # not for each that has nothing to do; and some may turn out to be on a long item
            self._take_from = self._now + self._trip / 2
        commands: list[Command] = []
        for process in nlargest(wanted, victims, key=lambda process: len(process.held)):
            commands += self._recall(process, everything=False)
        return commands

    def _has_enough(self, process: _Process) -> bool:
        silent = self._now - process.heard
        return worth_taking(self._pace.mean, len(process.held), silent, self._trip)

    def _recall(self, process: _Process, *, everything: bool) -> list[Command]:
        if not process.held or process.state != "ready":
            return []
        process.recalls += 1
        self._recalling += 1
        return [RecallItems(process.number, everything)]

    def _recall_everything(self, from_number: int = 0) -> list[Command]:
        commands: list[Command] = []
        for process in self._processes.values():
            if process.number >= from_number:
                commands += self._recall(process, everything=True)
        return commands

    def _items_read(self, event: ItemsRead) -> list[Command]:
        process = self._processes.get(event.number)
        self.read += len(event.indices)
        in_full = False
        if process is not None and process.reading:
            in_full = len(event.indices) == process.reading
            process.reading = 0
            self._reading -= 1
            self._note(process)
        else:
            self._asking = False
        if not event.indices:
            if not self._feed_open:
                return self._feed_all()  # it has nothing to do after all
            self._ask_again = True
            return []
        if process is None or process.state != "ready" or self.state != "running" or self._memory_low:
            self._give_back(event.indices)
            return self._feed_all()
        # a process with items of 20 to 100 ms has a second one waiting behind the one that it is on; but
        # nobody waits here for a feed that has less to give than it was asked for
        return self._send(process, event.indices) + (self._feed(process) if in_full else [])

    def _items_done(self, event: ItemsDone) -> list[Command]:
        process = self._processes.get(event.number)
        if process is None:
            return []
        if not process.held.has_each(event.indices):
            event = _only(event, process.held)  # an executor told us twice
        count = len(event.indices)
        if not count:
            return []
        missed = self._ended(process, event.indices)
        self.done += count
        self._note_pace(count, sum(event.seconds))
        attempts = {}
        if self._attempts:
            for index in event.indices:
                if index in self._attempts:
                    attempts[index] = len(self._attempts.pop(index)) + 1
        if self._suspects:
            self._suspects.difference_update(event.indices)
        if self._losses:
            for index in event.indices:
                self._losses.pop(index, None)
        commands: list[Command] = [RecordDone(event, attempts)]
        if self._timeout_factor is not None:
            commands += self._limit_items(event.seconds, self._timeout_factor)
        return commands + self._go_on(process, missed)

    def _note_pace(self, count: int, seconds: float) -> None:
        """For processes that are far away by the latest of each, since what is too much is not soon back."""
        if self._trip:
            self._pace.add(count, seconds, max(LATEST, len(self._processes)))
        else:
            self._pace.add(count, seconds)

    def _ended(self, process: _Process, indices: Sequence[int]) -> bool:
        """These items have left ``process``; whether somebody has found nothing to take from it before."""
        process.held.remove(indices)
        process.heard = self._now
        self._note(process)
        missed, process.barren = process.barren, False
        if missed:
            self._nothing_to_take = False
        self._deaths_in_a_row = 0
        return missed

    def _go_on(self, process: _Process, everybody: bool) -> list[Command]:
        """Feed a process in which items have ended, and ``everybody`` who may find something now.

        With little memory left it may be another's turn.
        """
        commands = self._feed(process)
        return commands + self._feed_all() if everybody or self._memory_low else commands

    def _limit_items(self, seconds: Sequence[float], factor: float) -> list[Command]:
        """How long an item may take, whenever that has changed by more than a tenth."""
        self._middle.add(seconds)
        limit = max(_LEAST_LIMIT, factor * self._middle.value)
        if self._middle.count < _LIMIT_FROM or abs(limit - self._limit) <= 0.1 * self._limit:
            return []
        self._limit = limit
        return [LimitItems(limit)]

    def _item_failed(self, event: ItemFailed) -> list[Command]:
        process = self._processes.get(event.number)
        if process is None or event.index not in process.held:
            return []
        missed = self._ended(process, (event.index,))
        self._note_pace(1, event.seconds)
        about = (event.number, event.started, event.seconds, event.usage)
        commands = self._fail(event.index, event.error, *about)
        return commands + self._go_on(process, missed or bool(self._waiting))

    def _fail(
        self, index: int, error: ItemError, number: int, started: float, seconds: float, usage: Usage
    ) -> list[Command]:
        """An attempt at an item failed: record it, and try again unless it has failed for good."""
        kinds = [*self._attempts.pop(index, ()), error.kind]
        again = error.kind not in FINAL_KINDS and self.state in ("running", "paused")
        again = again and self._may_try_again(kinds)
        if error.kind != "lost" or not again:
            self._suspects.discard(index)
            self._losses.pop(index, None)
        elif not self._may_try_again([*kinds, "lost"]):  # it must not be lost by another's fault now
            self._suspects.add(index)
            self._losses[index] = max(_MOST_LOSSES, self._losses.get(index, 0))
        if error.kind == "lost" and not again and kinds.count("lost") > 1:
            text = f"lost {kinds.count('lost')} times, each time with the computer or worker that it ran on"
            error = replace(error, message=f"{text}; the last time: {error.message}")
        record = RecordFailed(index, error, number, started, seconds, len(kinds), usage, again)
        if not again:
            return [record, *self._failed_for_good()]
        self._attempts[index] = kinds
        if error.kind == "lost":
            self._give_back((index,))  # it has waited long enough, and nothing is wrong with it
        elif self._backoff > 0.0:
            wait = min(_LONGEST_WAIT, self._backoff * 2.0 ** min(len(kinds) - 1, 30))
            heappush(self._resting, (self._now + wait, index))
        else:
            self._waiting.append(index)
        return [record]

    def _may_try_again(self, kinds: Sequence[str]) -> bool:
        """Whether an item whose attempts have failed in these ways has some left after the last one."""
        kind, retries = kinds[-1], self._retries
        if isinstance(retries, Mapping):
            return kinds.count(kind) <= retries.get(kind, _MOST_LOSSES if kind == "lost" else 0)
        lost = kinds.count("lost")
        return lost <= _MOST_LOSSES if kind == "lost" else len(kinds) - lost <= retries

    def _failed_for_good(self) -> list[Command]:
        self.failed += 1
        if self._max_failures is None or self.failed < self._max_failures:
            return []
        return self._limit_reached(f"max_failures={self._max_failures} is reached")

    def _items_returned(self, event: ItemsReturned) -> list[Command]:
        process = self._processes.get(event.number)
        if process is None:
            return []
        returned = [index for index in dict.fromkeys(event.indices) if index in process.held]
        if process.recalls:
            process.recalls -= 1
            self._recalling -= 1
        process.barren = not returned
        if returned:
            self._nothing_to_take = False
        process.held.remove(returned)
        self._note(process)
        process.sent -= len(returned)
        self._give_back(returned)
        return self._feed_all()

    def _give_back(self, indices: Iterable[int]) -> None:
        """Items that were not begun go to the front of the queue, or nowhere when all is ending."""
        indices = list(indices)
        if self.state in ("finishing", "stopping"):
            self.abandoned += len(indices)
            self._suspects.difference_update(indices)
            for index in indices:
                self._attempts.pop(index, None)
                self._losses.pop(index, None)
            return
        if self._losses:
            risky = [index for index in indices if self._losses.get(index, 0) >= _MOST_LOSSES]
            if risky:
                self._risky.extendleft(reversed(risky))
                indices = [index for index in indices if self._losses.get(index, 0) < _MOST_LOSSES]
        self._waiting.extendleft(reversed(indices))

    # -- the course of the run -----------------------------------------------------------------------

    def _pause(self) -> list[Command]:
        if self.state != "running":
            return []
        self.state = "paused"
        return self._recall_everything()

    def _finish(self) -> list[Command]:
        if self.state not in ("running", "paused"):
            return []
        self.state = "finishing"
        self.stopped = True
        self._close_feed()
        return self._recall_everything()

    def _stop(self) -> list[Command]:
        if self.state in ("stopping", "ended"):
            return []
        self.state = "stopping"
        self.stopped = True
        self._close_feed()
        return self._dismiss()

    def _break(self, error: FarmhandError) -> list[Command]:
        if self.error is None:
            self.error = error
        return self._stop()

    def _limit_reached(self, reason: str) -> list[Command]:
        if self.state not in ("stopping", "ended"):
            self.reason = reason
        return self._stop()

    def _close_feed(self) -> None:
        self._feed_open = False
        self._ask_again = False
        waiting = [*self._waiting, *self._risky, *(index for _, index in sorted(self._resting))]
        self._waiting.clear()
        self._risky.clear()
        self._resting.clear()
        self._give_back(waiting)

    def _dismiss(self) -> list[Command]:
        return [self._let_go(process) for process in self._processes.values() if process.state != "leaving"]

    def _let_go(self, process: _Process) -> Command:
        """Ask a process to leave; it is killed when it has not left in time."""
        self._give_grace(process)
        return StopProcess(process.number)

    def _tick(self) -> list[Command]:
        commands: list[Command] = []
        for process in list(self._leaving.values()):
            if process.leave_by is None or self._now < process.leave_by:
                break
            self._give_grace(process)
            commands.append(KillProcess(process.number))
        if self._end_by is not None and self._now >= self._end_by:
            commands += self._limit_reached(f"max_time={self._max_time:g} s is over")
        rested = False
        while self._resting and self._resting[0][0] <= self._now:
            self._waiting.append(heappop(self._resting)[1])
            rested = True
        taking = self._take_from is not None and self._now >= self._take_from
        if taking:
            self._take_from = None
        if self._ask_again or rested or taking:
            self._ask_again = False
            commands += self._feed_all()
        return commands

    def _end_if_over(self) -> list[Command]:
        if self.state == "ended" or self._work_is_left():
            return []
        busy = self._asking or self._reading or self._held()
        if busy and self.state != "stopping":
            return []
        if self._processes:
            return self._dismiss() if len(self._leaving) < len(self._processes) else []
        self.state = "ended"
        return [Finished()]

    def _told(self, event: object, commands: list[Command]) -> list[Command]:
        if self._story is not None:
            if event is not None:
                self._story.append((self._now, event))
            self._story.extend((self._now, command) for command in commands)
        return commands


def _only(event: ItemsDone, held: Set[int]) -> ItemsDone:
    """The part of ``event`` about items in ``held``, each once, as if it were without gaps."""
    left = set(held)
    kept = []
    for place, index in enumerate(event.indices):
        if index in left:
            left.remove(index)
            kept.append(place)
    return ItemsDone(
        event.number,
        [event.indices[place] for place in kept],
        [event.values[place] for place in kept],
        event.started,
        [event.seconds[place] for place in kept],
    )
