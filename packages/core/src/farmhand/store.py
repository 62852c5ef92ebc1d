"""What a store promises: a few methods to implement, and Brian's reading API on top of them.

A store keeps *runs*. A run keeps, by item index, an encoded result or a failure, and the
items themselves in the blocks in which they were sent to the processes. Only decoding a
result or an item unpickles anything; records, failures and runs never do.

The names of the reading API are those of ``brian.tools.datamanager.DataManager`` (Brian 1.4).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from farmhand import codec
from farmhand.errors import FarmhandError
from farmhand.events import ItemError, ItemsDone, RecordDone, RecordFailed, Usage
from farmhand.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Block",
    "DataManager",
    "Pack",
    "Record",
    "Result",
    "RunInfo",
    "Session",
    "Turn",
    "computer_name",
    "join_key",
    "packs_of",
    "record_of",
    "records_of",
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
    """

    indices: Sequence[int]
    payload: bytes | None
    fingerprints: Sequence[bytes] | None = None
    texts: Sequence[str] | None = None
    keys: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn of the farm's loop has to store: all of it, or nothing.

    A block comes no later than the first result or failure of an item in it.
    """

    blocks: Sequence[Block] = ()
    done: Sequence[RecordDone] = ()
    failed: Sequence[RecordFailed] = ()


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
        The seed of the run's random streams, None when the task took no ``rng``.
    ended : float or None
        Seconds since the epoch; None while it runs, or when its process was killed.
    outcome : str
        ``''`` until it has ended, then ``'finished'``, ``'stopped'`` or ``'broken'``.
    """

    uid: str
    task: str
    computer: str
    started: float
    numitems: int | None = None
    seed: int | None = None
    ended: float | None = None
    outcome: str = ""


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


def record_of(run: str, failed: RecordFailed) -> Record:
    """The record of a failure, or of an attempt that failed and is followed by another."""
    status = "retried" if failed.again else "failed"
    about = (failed.number, failed.started, failed.seconds, failed.attempts, failed.error)
    return Record(join_key(run, failed.index), run, failed.index, status, *about, failed.usage.memory)


def records_of(run: str, turn: Turn) -> list[Record]:
    """How the items ended that ended in ``turn``."""
    records = [record_of(run, failed) for failed in turn.failed if not failed.again]
    for record in turn.done:
        done, nothing = record.done, Usage()
        for index, started, seconds in zip(done.indices, done.starts(), done.seconds, strict=True):
            about = (done.number, started, seconds, record.attempts.get(index, 1), None)
            memory = done.usage.get(index, nothing).memory
            records.append(Record(join_key(run, index), run, index, "done", *about, memory))
    return records


class Session(ABC):
    """One run, being written by the one process that called ``run_tasks``.

    Several sessions, also of several processes, may write to one store at the same time.
    """

    @abstractmethod
    def record(self, turn: Turn) -> None:
        """Store ``turn``: all durable when this returns, or nothing of it and an error.

        Raises
        ------
        StoreError
            Nothing was stored; names the file and the reason. The run stops.
        """

    @abstractmethod
    def close(self, outcome: str, ended: float) -> None:
        """Write down how the run went, and release what the session holds.

        ``outcome`` is ``'finished'``, ``'stopped'`` or ``'broken'``.
        """


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


class DataManager(ABC):
    """A store of results. Subclasses implement the abstract methods; the rest is written once.

    A data manager may be used by one thread at a time. It is a context manager that closes
    itself. What is read while a farm writes is the store as it was when the reading began: an
    iterator shows whole turns, and nothing that was recorded after its first step. A run that
    the store does not have is a KeyError.

    Attributes
    ----------
    basepath : str
        Where the data is; ``':memory:'`` for none.
    """

    basepath: str = ""

    # -- what a store implements ---------------------------------------------------------------

    @abstractmethod
    def begin(self, run: RunInfo) -> Session:
        """Write down that ``run`` has begun and return the session to record it with."""

    @abstractmethod
    def runs(self) -> list[RunInfo]:
        """Every run, in the order in which they began."""

    @abstractmethod
    def records(self, run: str | None = None) -> Iterator[Record]:
        """How every item (of one run) ended, by run and then by index. Nothing is unpickled."""

    @abstractmethod
    def retried(self, run: str | None = None) -> Iterator[Record]:
        """Every attempt (of one run) that failed and was followed by another.

        By run, then by index, then by attempt. Nothing is unpickled.
        """

    @abstractmethod
    def output_at(self, run: str, index: int, attempt: int | None = None) -> str:
        """What an item printed in its last attempt, or in an earlier one that failed.

        ``''`` when it printed nothing, or when there is no such item or attempt.
        """

    @abstractmethod
    def encoded(self, run: str) -> Iterator[tuple[int, bytes]]:
        """Index and encoded result of each done item of ``run``, by index."""

    @abstractmethod
    def encoded_at(self, run: str, index: int) -> bytes:
        """One encoded result; KeyError when there is none."""

    @abstractmethod
    def blocks(self, run: str) -> Iterator[Block]:
        """The blocks of ``run``, by first index; they do not overlap."""

    @abstractmethod
    def itemcount(self) -> int:
        """How many results there are, over all runs."""

    @abstractmethod
    def close(self) -> None:
        """Release files. Reading afterwards is an error."""

    def done_indices(self, run: str) -> Iterator[int]:
        """The indices of the done items of ``run``, ascending. A store may know a faster way."""
        return (record.index for record in self.records(run) if record.status == "done")

    def decoded(self, run: str) -> Iterator[tuple[int, Any]]:
        """Index and result of each done item of ``run``, by index. A store may know a faster way."""
        return ((index, codec.decode(data)) for index, data in self.encoded(run))

    def decoded_at(self, run: str, index: int) -> Any:
        """One result; KeyError when there is none. A store may know a faster way."""
        return codec.decode(self.encoded_at(run, index))

    # -- Brian's reading API -------------------------------------------------------------------

    @property
    def computer_name(self) -> str:
        """``'user.host'``, hopefully unique to this user on this computer."""
        return computer_name()

    def make_unique_key(self) -> str:
        """A key that nothing else has."""
        import uuid

        return str(uuid.uuid4())

    def session_names(self) -> list[str]:
        """The names of all sessions: here, the uids of the runs."""
        return [run.uid for run in self.runs()]

    def keys(self) -> list[str]:
        """The keys of all results."""
        return [join_key(run, index) for run in self.session_names() for index in self.done_indices(run)]

    def iteritems(self) -> Iterator[tuple[str, Any]]:
        """Key and value of every result, one at a time."""
        for run in self.session_names():
            for index, value in self.decoded(run):
                yield join_key(run, index), value

    def itervalues(self) -> Iterator[Any]:
        """Every result, one at a time: run by run, in the order of the items."""
        for run in self.session_names():
            for _, value in self.decoded(run):
                yield value

    def items(self) -> list[tuple[str, Any]]:
        """Key and value of every result."""
        return list(self.iteritems())

    def values(self) -> list[Any]:
        """Every result: run by run, in the order of the items."""
        return list(self.itervalues())

    def get(self, key: str) -> dict[str, Any]:
        """``{session name: value}`` for each session that has ``key``."""
        try:
            run, index = split_key(key)
            value = self.decoded_at(run, index)
        except KeyError:
            return {}
        return {run: value}

    def get_merged(self, key: str) -> list[Any]:
        """The values of ``key`` in all sessions, which must be lists or tuples, as one list.

        Raises
        ------
        TypeError
            When a value is neither; use :meth:`get` and merge by hand.
        """
        merged: list[Any] = []
        for session, value in self.get(key).items():
            if not isinstance(value, list | tuple):
                raise TypeError(
                    f"get_merged needs lists or tuples, but {key!r} in session {session!r} is a "
                    f"{type(value).__name__}; use get() and merge by hand"
                )
            merged.extend(value)
        return merged

    def get_matching_keys(self, match: str | Callable[[str], bool]) -> list[str]:
        """The keys that start with ``match``, or for which ``match(key)`` is true."""
        if callable(match):
            return [key for key in self.keys() if match(key)]
        return [key for key in self.keys() if key.startswith(match)]

    def get_matching(self, match: str | Callable[[str], bool]) -> dict[str, dict[str, Any]]:
        """``{key: get(key)}`` for each matching key."""
        return {key: self.get(key) for key in self.get_matching_keys(match)}

    def get_merged_matching(self, match: str | Callable[[str], bool]) -> list[Any]:
        """:meth:`get_merged` of every matching key, as one list."""
        return [value for key in self.get_matching_keys(match) for value in self.get_merged(key)]

    def get_flat_matching(self, match: str | Callable[[str], bool]) -> list[Any]:
        """The values of every matching key in all sessions."""
        return [value for key in self.get_matching_keys(match) for value in self.get(key).values()]

    def __len__(self) -> int:
        return self.itemcount()

    def __getitem__(self, key: str) -> Any:
        return self.decoded_at(*split_key(key))

    def __contains__(self, key: object) -> bool:
        try:
            self.encoded_at(*split_key(str(key)))
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __bool__(self) -> bool:
        return True  # an empty store is a store

    # -- beyond Brian --------------------------------------------------------------------------

    def failures(self) -> list[Record]:
        """The records of all items that failed. Nothing is unpickled."""
        return [record for record in self.records() if record.status == "failed"]

    def output(self, key: str, attempt: int | None = None) -> str:
        """What an item printed (the last 64 KiB, unless the run said otherwise).

        Parameters
        ----------
        key : str
            As in its record.
        attempt : int, optional
            Of which attempt, counted from 1; of the last one by default.

        Raises
        ------
        KeyError
            There is no such run.
        """
        return self.output_at(*split_key(key), attempt)

    def results(self) -> Iterator[Result]:
        """Every result joined to its item, one at a time: run by run, by index."""
        for run in self.session_names():
            described = self._described(run)
            index, item, text = -1, None, ""
            for wanted, value in self.decoded(run):
                while index < wanted:  # an item that no block has is None (as in old stores)
                    index, item, text = next(described, (wanted, None, ""))
                given = (item, text) if index == wanted else (None, "")
                yield Result(join_key(run, wanted), wanted, *given, value)

    def pairs(self) -> list[tuple[Any, Any]]:
        """Item and result of every result. Of a large item, its short text."""
        return [(r.text if r.item is None and r.text else r.item, r.value) for r in self.results()]

    def _described(self, run: str) -> Iterator[tuple[int, Any, str]]:
        for block in self.blocks(run):
            if block.payload is None:
                texts = block.texts or [""] * len(block.indices)
                for index, text in zip(block.indices, texts, strict=True):
                    yield index, None, text
            else:
                for index, item in zip(block.indices, codec.decode_items(block.payload), strict=True):
                    yield index, item, ""

    def __enter__(self) -> DataManager:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        try:
            count = f"{self.itemcount()} results"
        except FarmhandError:
            count = "closed"
        return f"<{type(self).__name__} {self.basepath!r}: {count}>"


def computer_name() -> str:
    """``'user.host'``, as Brian made it."""
    user = next(filter(None, map(os.environ.get, ("LOGNAME", "USER", "LNAME", "USERNAME"))), "")
    if not user:
        import getpass

        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # no name for this uid, as in many containers
            user = "unknown"
    if hasattr(os, "uname"):
        return f"{user}.{os.uname().nodename}"
    import platform

    return f"{user}.{platform.node()}"
