"""Every decision of the farm, as a state machine: events in, commands out.

It never waits, reads a clock, or touches a process or a file: what happened, and when, is told
to :meth:`Scheduler.handle`, and what it answers is done by someone else. So any history, with any
number of crashes in any order, can be played through it in a test, thousands in a second.

An item is, at any moment, in exactly one place: not yet read, waiting here, held by one process,
or ended (done, failed or abandoned). A process that dies takes down the one item that it was on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from farmhand.chunking import Pace, chunk_size, refill
from farmhand.errors import FarmhandError, ProcessesKeepDying, SetupError, UsageError
from farmhand.events import (
    Command,
    Event,
    Finish,
    Finished,
    ItemError,
    ItemFailed,
    ItemRejected,
    ItemsDone,
    ItemsEnded,
    ItemsRead,
    ItemsReturned,
    ItemsUnreadable,
    ItemTimedOut,
    KillProcess,
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
    SendItems,
    SetupFailed,
    StartProcess,
    Stop,
    StopProcess,
    Tick,
)

__all__ = ["Scheduler"]

GRACE = 1.0  # seconds that a process which was asked to leave has before it is killed

_FINAL = {"unpicklable item", "unpicklable result"}  # trying again would change nothing


@dataclass(slots=True)
class _Process:
    number: int
    state: str = "starting"  # then "ready", then "leaving"; one that died is forgotten
    held: set[int] = field(default_factory=set)
    sent: int = 0  # items since it started
    last_chunk: int = 0
    reading: bool = False  # a ReadItems for it has no answer yet
    recalls: int = 0  # RecallItems that have no answer yet
    barren: bool = False  # the last recall brought nothing, and nothing has ended since
    timed_out: int | None = None  # the item for which it is being killed
    leave_by: float | None = None  # when its grace ends


class Scheduler:
    """Decides what a farm does.

    Parameters
    ----------
    processes : int
        How many processes to use.
    total : int, optional
        How many items there are, where that is known; a wrong number costs speed, never items.
    retries : int
        How many more times an item that failed is tried.
    recycle : int, optional
        How many items a process may run before it is replaced.
    remember : int
        How many of the latest happenings :meth:`story` knows.

    Attributes
    ----------
    state : str
        ``'running'``, ``'paused'``, ``'finishing'``, ``'stopping'`` or ``'ended'``.
    error : FarmhandError or None
        Why the run had to stop by itself.
    read, done, failed, abandoned : int
        Items by what became of them; those that were read but are in none of the other three
        wait or run.
    """

    def __init__(
        self,
        processes: int,
        total: int | None = None,
        *,
        retries: int = 0,
        recycle: int | None = None,
        remember: int = 0,
    ) -> None:
        self.state = "running"
        self.stopped = False
        self.error: FarmhandError | None = None
        self.read = self.done = self.failed = self.abandoned = 0
        self._target = processes
        self._total = total
        self._retries = retries
        self._recycle = recycle
        self._processes: dict[int, _Process] = {}
        self._waiting: deque[int] = deque()
        self._attempts: dict[int, int] = {}  # failed attempts of items that have not ended
        self._feed_open = True
        self._ask_again = False
        self._asking = False  # a ReadItems that is for no process has no answer yet
        self._pace = Pace()
        self._deaths_in_a_row = 0
        self._now = 0.0
        self._story: deque[tuple[float, object]] | None = deque(maxlen=remember) if remember else None

    # -- what the farm calls ---------------------------------------------------------------------

    def begin(self, now: float) -> list[Command]:
        """The first commands. No more processes are started than there are items."""
        self._now = now
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
                self.failed += 1
                commands = [RecordFailed(event.index, event.error)]
            case ItemsEnded():
                self._feed_open = False
                commands = self._feed_all()
            case ItemTimedOut():
                commands = self._item_timed_out(event)
            case SetupFailed():
                error = event.error
                commands = self._break(SetupError(event.number, str(error), error.traceback))
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
            case ProcessStarted() | Reported() | ItemsUnreadable():
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
        return min((p.leave_by for p in self._processes.values() if p.leave_by is not None), default=None)

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

    def holder(self, number: int) -> frozenset[int]:
        """The items that process ``number`` holds."""
        process = self._processes.get(number)
        return frozenset(process.held) if process else frozenset()

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
        places = held + list(self._waiting)
        assert len(places) == len(set(places)), "an item is in two places"
        ended = self.done + self.failed + self.abandoned
        assert self.read == ended + len(places), "an item was lost, or ended twice"
        assert min(self.done, self.failed, self.abandoned) >= 0
        assert self._attempts.keys() <= set(places), "the attempts of an item that has ended are still kept"
        for process in self._processes.values():
            assert process.state != "starting" or not process.held, "work for a process that is not ready"
            if self._recycle is not None:
                assert process.sent <= self._recycle, "a process was sent more than its share"
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
        staying = sum(p.number < self._target and p.state != "leaving" for p in self._processes.values())
        absent = [number for number in range(self._target) if number not in self._processes]
        starting = absent[: max(0, wanted - staying)]
        self._processes.update((number, _Process(number)) for number in starting)
        return [StartProcess(number) for number in starting]

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

    def _work_is_left(self) -> bool:
        """Whether there are items that no process holds."""
        return self._feed_open or bool(self._waiting)

    def _process_ready(self, event: ProcessReady) -> list[Command]:
        process = self._processes.get(event.number)
        if process is None or process.state != "starting":
            return []
        process.state = "ready"
        return self._feed(process)

    def _process_died(self, event: ProcessDied) -> list[Command]:
        process = self._processes.pop(event.number, None)
        if process is None:
            return []
        commands: list[Command] = []
        lost = sorted(process.held)
        culprit = event.index if event.index in process.held else None
        if process.timed_out is not None and culprit != process.timed_out:
            culprit = None  # it had just gone on to the next item when it was killed
        broken = False
        if culprit is not None and self.state != "stopping":
            self._deaths_in_a_row = 0
            lost.remove(culprit)
            if process.timed_out is not None:
                text = f"ran for {event.seconds:.3g} s, longer than its timeout, and was killed"
                error = ItemError("timeout", "", text)
            else:
                error = ItemError("died", "", f"process died: {event.reason}")
            commands += self._fail(culprit, error, event.number, event.started, event.seconds)
        elif process.state != "leaving":
            self._deaths_in_a_row += 1
            broken = self._deaths_in_a_row >= max(3, self._target)
        self._give_back(lost)
        if broken:
            return commands + self._break(ProcessesKeepDying(self._deaths_in_a_row, event.reason))
        return commands + self._feed_all()

    def _item_timed_out(self, event: ItemTimedOut) -> list[Command]:
        process = self._processes.get(event.number)
        if process is None or event.index not in process.held:
            return []
        process.timed_out = event.index
        process.state = "leaving"  # whatever it still says is welcome, but it gets no more work
        process.leave_by = self._now + GRACE
        return [KillProcess(event.number)]

    def _resize(self, event: Resize) -> list[Command]:
        if event.processes < 1:
            raise UsageError(f"a farm needs at least one process, not {event.processes}")
        self._target = event.processes
        return self._recall_everything(from_number=self._target) + self._feed_all()

    # -- items -------------------------------------------------------------------------------------

    def _feed_all(self) -> list[Command]:
        commands: list[Command] = []
        # those with least first, so that an idle one is never passed over
        for process in sorted(self._processes.values(), key=lambda process: len(process.held)):
            commands += self._feed(process)
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
        unread = self._unread()
        left = None if unread is None else len(self._waiting) + unread
        mean = self._pace.mean
        size = chunk_size(mean, process.last_chunk, left, max(1, len(self._processes)))
        if not refill(mean, size, len(process.held)):
            return []
        if self._recycle is not None:
            size = min(size, self._recycle - process.sent)
        if self._waiting:
            indices = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
            return self._send(process, indices)
        if self._feed_open:
            process.reading = True
            return [ReadItems(process.number, size)]
        if not process.held:
            return self._recall_for_idle()
        return []

    def _send(self, process: _Process, indices: Sequence[int]) -> list[Command]:
        process.held.update(indices)
        process.sent += len(indices)
        process.last_chunk = len(indices)
        return [SendItems(process.number, indices)]

    def _recall_for_idle(self) -> list[Command]:
        """A process has nothing to do: take half of the items that wait in another."""
        victims = [
            process
            for process in self._processes.values()
            if len(process.held) > 1 and process.state == "ready" and not process.barren
        ]
        if not victims or any(process.recalls for process in victims):
            return []
        return self._recall(max(victims, key=lambda process: len(process.held)), everything=False)

    def _recall(self, process: _Process, *, everything: bool) -> list[Command]:
        if not process.held or process.state != "ready":
            return []
        process.recalls += 1
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
        if process is not None and process.reading:
            process.reading = False
        else:
            self._asking = False
        if not event.indices:
            if not self._feed_open:
                return self._feed_all()  # it has nothing to do after all
            self._ask_again = True
            return []
        if process is None or process.state != "ready" or self.state != "running":
            self._give_back(event.indices)
            return self._feed_all()
        return self._send(process, event.indices)

    def _items_done(self, event: ItemsDone) -> list[Command]:
        process = self._processes.get(event.number)
        if process is None:
            return []
        fresh = process.held.intersection(event.indices)
        count = len(fresh)
        if count != len(event.indices):
            event = _only(event, fresh)  # an executor told us twice
        if not count:
            return []
        process.held -= fresh
        missed, process.barren = process.barren, False
        self._deaths_in_a_row = 0
        self.done += count
        self._pace.add(count, sum(event.seconds))
        attempts = {}
        if self._attempts:
            for index in event.indices:
                if index in self._attempts:
                    attempts[index] = self._attempts.pop(index) + 1
        # whoever found nothing to take from this process may find something now
        return [RecordDone(event, attempts), *(self._feed_all() if missed else self._feed(process))]

    def _item_failed(self, event: ItemFailed) -> list[Command]:
        process = self._processes.get(event.number)
        if process is None or event.index not in process.held:
            return []
        process.held.remove(event.index)
        missed, process.barren = process.barren, False
        self._deaths_in_a_row = 0
        self._pace.add(1, event.seconds)
        commands = self._fail(event.index, event.error, event.number, event.started, event.seconds)
        return commands + (self._feed_all() if missed or self._waiting else self._feed(process))

    def _fail(
        self, index: int, error: ItemError, number: int, started: float, seconds: float
    ) -> list[Command]:
        """An attempt at an item failed: try again, or record that it failed for good."""
        attempts = self._attempts.pop(index, 0) + 1
        again = attempts <= self._retries and error.kind not in _FINAL
        if again and self.state in ("running", "paused"):
            self._attempts[index] = attempts
            self._waiting.append(index)
            return []
        self.failed += 1
        return [RecordFailed(index, error, number, started, seconds, attempts)]

    def _items_returned(self, event: ItemsReturned) -> list[Command]:
        process = self._processes.get(event.number)
        if process is None:
            return []
        returned = [index for index in dict.fromkeys(event.indices) if index in process.held]
        process.recalls = max(0, process.recalls - 1)
        process.barren = not returned
        process.held.difference_update(returned)
        process.sent -= len(returned)
        self._give_back(returned)
        return self._feed_all()

    def _give_back(self, indices: Iterable[int]) -> None:
        """Items that were not begun go to the front of the queue, or nowhere when all is ending."""
        indices = list(indices)
        if self.state in ("finishing", "stopping"):
            self.abandoned += len(indices)
            for index in indices:
                self._attempts.pop(index, None)
        else:
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

    def _close_feed(self) -> None:
        self._feed_open = False
        self._ask_again = False
        waiting = list(self._waiting)
        self._waiting.clear()
        self._give_back(waiting)

    def _dismiss(self) -> list[Command]:
        return [self._let_go(process) for process in self._processes.values() if process.state != "leaving"]

    def _let_go(self, process: _Process) -> Command:
        """Ask a process to leave; it is killed when it has not left in time."""
        process.state = "leaving"
        process.leave_by = self._now + GRACE
        return StopProcess(process.number)

    def _tick(self) -> list[Command]:
        commands: list[Command] = []
        for process in self._processes.values():
            if process.leave_by is not None and self._now >= process.leave_by:
                process.leave_by = self._now + GRACE
                commands.append(KillProcess(process.number))
        if self._ask_again:
            self._ask_again = False
            commands += self._feed_all()
        return commands

    def _end_if_over(self) -> list[Command]:
        if self.state == "ended" or self._work_is_left():
            return []
        busy = self._asking or any(process.held or process.reading for process in self._processes.values())
        if busy and self.state != "stopping":
            return []
        if self._processes:
            return self._dismiss()
        self.state = "ended"
        return [Finished()]

    def _told(self, event: object, commands: list[Command]) -> list[Command]:
        if self._story is not None:
            if event is not None:
                self._story.append((self._now, event))
            self._story.extend((self._now, command) for command in commands)
        return commands


def _only(event: ItemsDone, fresh: set[int]) -> ItemsDone:
    """The part of ``event`` about items in ``fresh``, each once."""
    left = set(fresh)
    kept = []
    for place, index in enumerate(event.indices):
        if index in left:
            left.remove(index)
            kept.append(place)
    return ItemsDone(
        event.number,
        [event.indices[place] for place in kept],
        [event.values[place] for place in kept],
        [event.started[place] for place in kept],
        [event.seconds[place] for place in kept],
    )
