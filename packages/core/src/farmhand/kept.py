"""What a store keeps, as values: runs, blocks of items, results, failures, and turns of all these."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import pairwise

from farmhand import codec
from farmhand.events import ItemError, ItemsDone, RecordDone, RecordFailed, Usage, starts
from farmhand.seeds import item_seed
from farmhand.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Block",
    "Counts",
    "Pack",
    "Record",
    "Result",
    "RunInfo",
    "Timings",
    "Turn",
    "in_order",
    "join_key",
    "packs_of",
    "record_of",
    "records_of",
    "sample_of",
    "split_key",
]


@dataclass(frozen=True, slots=True)
class Block:
    """Some items, in the form in which they were sent.

    Parameters
    ----------
    indices : sequence of int
        Which items these are, ascending; a ``range`` where they are consecutive.
    payload : bytes or None
        All of them, for :func:`farmhand.codec.decode_items`; None when they are large.
    fingerprints : sequence of bytes, optional
        Instead of large items: :func:`farmhand.codec.fingerprint` of each.
    texts : sequence of str, optional
        Instead of large items: a short ``repr`` of each.
    keys : sequence of str, optional
        The identity that the user's ``key`` gave to each.
    items : sequence, optional
        The items themselves, while they are there. A store may describe them to other programs; it
        need not keep them, and a block that is read has none.
    """

    indices: Sequence[int]
    payload: bytes | None
    fingerprints: Sequence[bytes] | None = None
    texts: Sequence[str] | None = None
    keys: Sequence[str] | None = None
    items: Sequence[Any] | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn of the farm's loop has to store: all of it, or nothing.

    A block comes no later than the first result or failure of an item in it.

    Parameters
    ----------
    blocks, done, failed
        Items, and how they, or attempts at them, ended.
    shipped : sequence of bytes
        What processes were sent to make the task, and then the script's classes: for
        :func:`farmhand.shipping.receive`, one after the other, so that an item can be run again.
    provenance : mapping
        What has become known about the run; added to what its :class:`RunInfo` says.
    """

    blocks: Sequence[Block] = ()
    done: Sequence[RecordDone] = ()
    failed: Sequence[RecordFailed] = ()
    shipped: Sequence[bytes] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One call of ``run_tasks``.

    Parameters
    ----------
    uid : str
        Unique everywhere; the name of the run's session.
    task : str
        The qualified name of the task, without its module.
    computer : str
        ``'user.host'``, as Brian's ``computer_name``.
    started : float
        Seconds since the epoch.
    numitems : int or None
        How many items it was given, skipped ones included; None when nobody knew.
    seed : int or None
        From which each item got its random numbers; None when they were left alone.
    ended : float or None
        Seconds since the epoch; None while it runs, or when its process was killed.
    outcome : str
        ``''`` until it has ended, then ``'finished'``, ``'stopped'`` or ``'broken'``.
    parameters : tuple of str
        The names of the task's positional parameters, as far as it has any.
    owner : str
        The process that wrote it, for :func:`farmhand.owner.is_alive`.
    provenance : mapping
        How it came about: plain values by name, as :func:`farmhand.provenance.collect` finds them.
    """

    uid: str
    task: str
    computer: str
    started: float
    numitems: int | None = None
    seed: int | None = None
    ended: float | None = None
    outcome: str = ""
    parameters: tuple[str, ...] = ()
    owner: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many items of a run, or of a store, have ended, and how."""

    done: int = 0
    failed: int = 0
    retried: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one item, or of one attempt at it, without decoding anything.

    Parameters
    ----------
    key : str
        The key of the item, and of its result.
    run : str
        The run's uid.
    index : int
        Which item of that run.
    status : str
        ``'done'``, ``'failed'`` or, for an attempt that failed and was followed by another,
        ``'retried'``.
    process : int or None
        The number of the process; None when the item never reached one.
    started : float
        Seconds since the epoch.
    seconds : float
        How long it took: the last attempt, or this one.
    attempts : int
        How many there were, up to this one.
    error : ItemError or None
        None when it is done.
    memory : int or None
        The most memory in use meanwhile, in bytes; None when nobody looked.
    run_seed : int or None
        The seed of the run, if it had one.
    """

    key: str
    run: str
    index: int
    status: str
    process: int | None
    started: float
    seconds: float
    attempts: int = 1
    error: ItemError | None = None
    memory: int | None = None
    run_seed: int | None = None

    @property
    def seed(self) -> int | None:
        """What the item's random numbers were seeded with (as ``random.seed(seed)``); None: nothing.

        The same in every attempt.
        """
        return None if self.run_seed is None else item_seed(self.run_seed, self.index)


@dataclass(frozen=True, slots=True)
class Result:
    """A result joined to its item.

    ``item`` is what the task was given. Of a large item only a short text is kept:
    then ``item`` is None and ``text`` says what it was.
    """

    key: str
    index: int
    item: Any
    text: str
    value: Any


@dataclass(frozen=True, slots=True)
class Pack:
    """Results of consecutive items that came together, for a store that keeps them together.

    Parameters
    ----------
    indices : range
        Which items these are.
    number : int
        The process that ran them.
    started : float
        When the first of them started, in seconds since the epoch. Each other one started when the
        one before it had ended.
    seconds : array of float
        How long each took.
    values : Packed
        Their results.
    """

    indices: range
    number: int
    started: float
    seconds: array[float]
    values: codec.Packed

    def parts(self, spans: Iterable[range]) -> list[Pack]:
        """Some of them, which follow each other, and some others; runs no code."""
        began, origin, parts = starts(self.started, self.seconds), self.indices[0], []
        for indices in spans:
            first, stop = indices[0] - origin, indices[-1] + 1 - origin
            about = (self.number, began[first], self.seconds[first:stop], self.values.cut(first, stop))
            parts.append(Pack(indices, *about))
        return parts

    def without(self, indices: Collection[int]) -> list[Pack]:
        """What is left when these items are taken away."""
        first, last = self.indices[0], self.indices[-1]
        cuts = [index for index in self.indices if index in indices]
        if not cuts:
            return [self]
        gaps = pairwise([first - 1, *cuts, last + 1])
        return self.parts(range(start + 1, stop) for start, stop in gaps if start + 1 < stop)


class Timings:
    """When items of one run ran, in columns: a million of them are four arrays, and not a million objects.

    Attributes
    ----------
    indices, processes : array of int
        Which items these are, and the number of the process that each one ran in.
    started, seconds : array of float
        When each one started, in seconds since the epoch, and how long it took.
    """

    __slots__ = ("indices", "processes", "seconds", "started")

    def __init__(self) -> None:
        self.indices, self.processes = array("q"), array("q")
        self.started, self.seconds = array("d"), array("d")

    def __len__(self) -> int:
        return len(self.indices)

    def add(self, index: int, process: int, started: float, seconds: float) -> None:
        """One more item."""
        self.indices.append(index)
        self.processes.append(process)
        self.started.append(started)
        self.seconds.append(seconds)

    def add_pack(self, indices: range, process: int, started: float, seconds: array[float]) -> None:
        """Items of a process that ran one after the other, as a :class:`Pack` has them."""
        self.indices.extend(indices)
        self.processes.extend([process] * len(indices))
        self.started.extend(starts(started, seconds))
        self.seconds.extend(seconds)

    def add_records(self, records: Iterable[Record]) -> None:
        """What records say, of those items that reached a process."""
        for record in records:
            if record.process is not None:
                self.add(record.index, record.process, record.started, record.seconds)


def packs_of(done: ItemsDone) -> list[Pack]:
    """The results of ``done``, cut where items are missing between them; ascending."""
    indices, values = done.indices, done.values
    if isinstance(indices, range) and indices.step == 1:
        pack = Pack(indices, done.number, done.started, array("d", done.seconds), codec.Packed.of(values))
        return [pack] if indices else []
    packs, starts = [], done.starts()
    order = sorted(range(len(indices)), key=indices.__getitem__)
    cuts = [place for place in range(1, len(order)) if indices[order[place]] != indices[order[place - 1]] + 1]
    for start, stop in pairwise([0, *cuts, len(order)]):
        places = order[start:stop]
        if places:
            span = range(indices[places[0]], indices[places[-1]] + 1)
            seconds = array("d", [done.seconds[place] for place in places])
            packed = codec.Packed.of([values[place] for place in places])
            packs.append(Pack(span, done.number, starts[places[0]], seconds, packed))
    return packs


def record_of(run: str, failed: RecordFailed, seed: int | None = None) -> Record:
    """The record of a failure, or of an attempt that failed and is followed by another.

    ``seed`` is that of the run.
    """
    status = "retried" if failed.again else "failed"
    about = (failed.number, failed.started, failed.seconds, failed.attempts, failed.error)
    return Record(join_key(run, failed.index), run, failed.index, status, *about, failed.usage.memory, seed)


def records_of(run: str, turn: Turn, seed: int | None = None) -> list[Record]:
    """How the items ended that ended in ``turn``."""
    records = [record_of(run, failed, seed) for failed in turn.failed if not failed.again]
    for record in turn.done:
        done, nothing = record.done, Usage()
        for index, started, seconds in zip(done.indices, done.starts(), done.seconds, strict=True):
            about = (done.number, started, seconds, record.attempts.get(index, 1), None)
            memory = done.usage.get(index, nothing).memory
            records.append(Record(join_key(run, index), run, index, "done", *about, memory, seed))
    return records


def sample_of(
    first: int, last: int, stride: int, find: Callable[[int], tuple[range, Sequence[float]] | None]
) -> tuple[list[int], list[float]]:
    """Indices and durations of items that were done, evenly spread; what lies between is not read.

    Parameters
    ----------
    first, last : int
        The items to choose from.
    stride : int
        How far from each other the chosen ones are, at least.
    find : callable
        For an index, the results that lie together and have it, or else the next ones behind it: which
        items these are, and how long each took. None where there are no more.
    """
    indices: list[int] = []
    seconds: list[float] = []
    wanted = first
    while wanted <= last:
        found = find(wanted)
        if found is None:
            break
        items, took = found
        chosen = range(max(wanted, items.start), items.stop, stride)
        indices += chosen
        seconds += took[chosen.start - items.start :: stride]
        wanted = chosen[-1] + stride
    return indices, seconds


def in_order(runs: Iterable[RunInfo]) -> list[RunInfo]:
    """Runs in the order in which they began, also those that were merged into their store later."""
    return sorted(runs, key=lambda run: run.started)


def join_key(run: str, index: int) -> str:
    """The key that users see: unique everywhere, and meaning nothing."""
    return f"{run}-{index}"


def split_key(key: object) -> tuple[str, int]:
    """Undo :func:`join_key`; KeyError for anything else."""
    run, dash, index = key.rpartition("-") if isinstance(key, str) else ("", "", "")
    # "007" would be a second name for item 7; int() refuses thousands of digits in its own way
    if not dash or not index.isdecimal() or len(index) > 18 or str(int(index)) != index:
        raise KeyError(key)
    return run, int(index)
