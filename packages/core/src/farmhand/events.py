"""The farm's vocabulary: what can happen (events) and what can be done about it (commands).

Everything here is a frozen value. What one process finished since its last frame is one
event with flat lists, not an object for each item: for tiny items the objects would cost
more than everything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from farmhand.errors import FarmhandError
from farmhand.values import dataclass, field

__all__ = [
    "FINAL_KINDS",
    "KINDS",
    "Command",
    "Control",
    "Event",
    "ExecutorEvent",
    "ExecutorFailed",
    "Finish",
    "Finished",
    "ItemError",
    "ItemFailed",
    "ItemOverMemory",
    "ItemRejected",
    "ItemTimedOut",
    "ItemsDone",
    "ItemsEnded",
    "ItemsRead",
    "ItemsReturned",
    "ItemsUnreadable",
    "KillProcess",
    "LimitItems",
    "MemoryLow",
    "Pause",
    "ProcessDied",
    "ProcessReady",
    "ProcessStarted",
    "ReadItems",
    "RecallItems",
    "RecordDone",
    "RecordFailed",
    "Reported",
    "Resize",
    "Resume",
    "RoomChanged",
    "RoundTrip",
    "SendItems",
    "SetupFailed",
    "StartProcess",
    "Stop",
    "StopProcess",
    "Tick",
    "Usage",
    "starts",
]

# What can go wrong with an item, by the names that records and ``retries`` use.
KINDS = ("raised", "died", "timeout", "memory", "lost", "unpicklable item", "unpicklable result")
FINAL_KINDS = KINDS[-2:]  # trying again would change nothing


@dataclass(frozen=True, slots=True)
class ItemError:
    """Why an item failed, as text alone: nothing of it is ever unpickled.

    Parameters
    ----------
    kind : str
        One of ``KINDS``: ``'raised'``, ``'died'`` (its process did), ``'timeout'``, ``'memory'``
        (it was killed for what it used), ``'lost'`` (its computer or worker was, again and again),
        ``'unpicklable item'`` or ``'unpicklable result'``.
    type : str
        The qualified name of the exception's class, or ``''``.
    message : str
        One line for people.
    traceback : str
        The whole traceback, or ``''``.
    """

    kind: str
    type: str
    message: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.type else self.message


@dataclass(frozen=True, slots=True)
class Usage:
    """What an item used and said, beside its result.

    Parameters
    ----------
    memory : int or None
        The most memory that its process had in use meanwhile, in bytes (resident); None when
        nobody looked, as for items of a few milliseconds.
    output : str
        What it printed, or the end of that.
    """

    memory: int | None = None
    output: str = ""


# -- events: from the executor ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProcessStarted:
    """The system has started process ``number``; it is not ready yet.

    ``pid`` is its number on the computer ``computer``, whose name is empty for this one.
    """

    number: int
    pid: int | None = None
    computer: str = ""


@dataclass(frozen=True, slots=True)
class ProcessReady:
    """Process ``number`` has made its task and waits for work."""

    number: int


@dataclass(frozen=True, slots=True)
class SetupFailed:
    """Process ``number`` could not make its task: a mistake in the set-up."""

    number: int
    error: ItemError


@dataclass(frozen=True, slots=True)
class ItemsDone:
    """Process ``number`` has finished items since its last frame.

    Parameters
    ----------
    number : int
        The process.
    indices : sequence of int
        The items, in the order in which they ended.
    values : sequence of bytes
        The encoded results, one for each item.
    started : float
        When the first of them started, in seconds since the epoch. Each other one started when the
        one before it had ended.
    seconds : sequence of float
        How long each item took.
    usage : mapping
        By item, for those of which there is something to say.
    """

    number: int
    indices: Sequence[int]
    values: Sequence[bytes]
    started: float
    seconds: Sequence[float]
    usage: Mapping[int, Usage] = field(default_factory=dict)

    def starts(self) -> list[float]:
        """When each item started."""
        return starts(self.started, self.seconds)


def starts(started: float, seconds: Sequence[float]) -> list[float]:
    """When each of several items started that took so long, one after the other."""
    return list(accumulate(seconds, initial=started))[: len(seconds)]


@dataclass(frozen=True, slots=True)
class ItemFailed:
    """Item ``index`` failed in process ``number``, which goes on."""

    number: int
    index: int
    error: ItemError
    started: float
    seconds: float
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class ItemsReturned:
    """Process ``number`` gives back items that it has not begun, as it was asked to."""

    number: int
    indices: Sequence[int]


@dataclass(frozen=True, slots=True)
class ItemsUnreadable:
    """Process ``number`` could not decode a block as a whole; send its items one by one."""

    number: int
    indices: Sequence[int]


@dataclass(frozen=True, slots=True)
class Reported:
    """The item that process ``number`` runs says how far it is.

    ``complete`` is a fraction from 0 to 1; None before the first one is known, when only a name has
    changed: that of the task, or that of the part of the item which it is at (``phase``).
    """

    number: int
    index: int
    complete: float | None
    taskname: str | None
    phase: str = ""


@dataclass(frozen=True, slots=True)
class ProcessDied:
    """Process ``number`` is gone.

    ``index`` is the item that it was on, None when it was on none; ``reason`` is for
    people: ``'signal 11 (SIGSEGV)'``, ``'exit code 3'``; ``started`` and ``seconds`` say when
    that item had started (since the epoch) and how long it had run. ``kind`` is ``'memory'``
    when the system killed it because memory ran out, and ``'lost'`` when the computer that it was on,
    or the way there, is gone, by no fault of an item as far as anybody knows: its items run again.
    """

    number: int
    index: int | None
    reason: str
    started: float = 0.0
    seconds: float = 0.0
    usage: Usage = Usage()
    kind: str = "died"


@dataclass(frozen=True, slots=True)
class ItemTimedOut:
    """Item ``index`` has run in process ``number`` for longer than it may."""

    number: int
    index: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ItemOverMemory:
    """Process ``number``, which is on item ``index``, uses more memory (in bytes) than it may."""

    number: int
    index: int | None
    memory: int


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A message to a process and its answer take ``seconds``, beside what the process itself takes.

    Said by an executor whose processes are far away, at first and whenever it has changed much.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class RoomChanged:
    """There is room for ``processes`` processes from now on: computers have come or gone."""

    processes: int


@dataclass(frozen=True, slots=True)
class ExecutorFailed:
    """The executor cannot go on: the run stops, and ``error`` is raised.

    What has finished is still handed over, and ``ProcessDied`` of each process follows as ever.
    """

    error: FarmhandError


ExecutorEvent = (
    ProcessStarted
    | ProcessReady
    | SetupFailed
    | ItemsDone
    | ItemFailed
    | ItemsReturned
    | ItemsUnreadable
    | Reported
    | ProcessDied
    | ItemTimedOut
    | ItemOverMemory
    | RoundTrip
    | RoomChanged
    | ExecutorFailed
)


# -- events: from the feed -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ItemsRead:
    """The answer to ``ReadItems``: items for process ``number``, perhaps fewer than asked.

    An empty answer without an ``ItemsEnded`` before it means "ask again": the feed is still
    skipping what the store already has.
    """

    number: int
    indices: Sequence[int]


@dataclass(frozen=True, slots=True)
class ItemRejected:
    """Item ``index`` cannot be sent to any process."""

    index: int
    error: ItemError


@dataclass(frozen=True, slots=True)
class ItemsEnded:
    """There are no further items, because all were read or because the iterable raised."""


# -- events: from the user, and from the clock -----------------------------------------------


@dataclass(frozen=True, slots=True)
class Pause:
    """Begin no further item; those that run go on to their end."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on after a pause."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Let the running items end, begin no others, then end the run."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the run now; the running items are abandoned."""


@dataclass(frozen=True, slots=True)
class Resize:
    """Use ``processes`` processes from now on (at least one)."""

    processes: int


@dataclass(frozen=True, slots=True)
class MemoryLow:
    """The computer has hardly any free memory (``low``), or has enough again."""

    low: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; see ``Scheduler.next_wake``."""


Control = Pause | Resume | Finish | Stop | Resize

Event = ExecutorEvent | ItemsRead | ItemRejected | ItemsEnded | Control | MemoryLow | Tick


# -- commands --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartProcess:
    """Start process ``number``."""

    number: int


@dataclass(frozen=True, slots=True)
class ReadItems:
    """Read up to ``count`` items for process ``number``; answer with ``ItemsRead``."""

    number: int
    count: int


@dataclass(frozen=True, slots=True)
class SendItems:
    """Send these items to process ``number``; it is already written down as their holder."""

    number: int
    indices: Sequence[int]


@dataclass(frozen=True, slots=True)
class RecallItems:
    """Ask process ``number`` for items that it has not begun: all of them, or half."""

    number: int
    everything: bool = False


@dataclass(frozen=True, slots=True)
class StopProcess:
    """Ask process ``number`` to hand over what it finished and to leave at once."""

    number: int


@dataclass(frozen=True, slots=True)
class KillProcess:
    """Kill process ``number`` and all that it started."""

    number: int


@dataclass(frozen=True, slots=True)
class RecordDone:
    """Store these results; ``attempts`` names only the items that needed more than one."""

    done: ItemsDone
    attempts: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordFailed:
    """Store that an attempt at item ``index`` has failed.

    It is the item's end, unless it is tried ``again``; ``attempts`` counts this one and those before.
    """

    index: int
    error: ItemError
    number: int | None = None
    started: float = 0.0
    seconds: float = 0.0
    attempts: int = 1
    usage: Usage = Usage()
    again: bool = False


@dataclass(frozen=True, slots=True)
class LimitItems:
    """From now on an item may run for ``seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over: every item that was read has its end and every process is gone."""


Command = (
    StartProcess
    | ReadItems
    | SendItems
    | RecallItems
    | StopProcess
    | KillProcess
    | RecordDone
    | RecordFailed
    | LimitItems
    | Finished
)
