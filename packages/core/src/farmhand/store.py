"""What a store promises: a few methods to implement, and Brian's reading API on top of them.

A store keeps *runs*. A run keeps, by item index, an encoded result or a failure, and the
items themselves in the blocks in which they were sent to the processes. Only decoding a
result or an item unpickles anything; records, failures and runs never do. It may also keep
*shelves*: pairs of key and value that somebody wrote by hand.

The names of the reading API are those of ``brian.tools.datamanager.DataManager`` (Brian 1.4).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice

from farmhand import codec, owner
from farmhand.errors import FarmhandError, StoreError
from farmhand.files import ResultFiles
from farmhand.kept import (
    Block,
    Counts,
    Pack,
    Record,
    Result,
    RunInfo,
    Timings,
    Turn,
    join_key,
    packs_of,
    record_of,
    records_of,
    sample_of,
    split_key,
)
from farmhand.shelf import Shelf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Block",
    "Counts",
    "DataManager",
    "Pack",
    "Record",
    "Records",
    "Result",
    "ResultFiles",
    "RunInfo",
    "Session",
    "Shelf",
    "StoredItem",
    "Timings",
    "Turn",
    "computer_name",
    "join_key",
    "packs_of",
    "record_of",
    "records_of",
    "sample_of",
    "split_key",
]

_LOOKS = 50  # records that are looked at for each that is wanted


class Records(Iterator[Record]):
    """Records of a store as it was when they were asked for.

    Attributes
    ----------
    cursor : str
        For ``records(since=cursor)``: only what was stored after this reading began.
    """

    def __init__(self, records: Iterator[Record], cursor: str) -> None:
        self._records = records
        self.cursor = cursor

    def __iter__(self) -> Iterator[Record]:
        return self._records  # a loop over millions goes without a detour

    def __next__(self) -> Record:
        return next(self._records)


class StoredItem:
    """One item of a store: everything that its :class:`Record` says, and more on request.

    Attributes
    ----------
    record : Record
        How it ended. What it has, this has, too: ``status``, ``seconds``, ``error``, ...
    """

    __slots__ = ("_store", "record")

    def __init__(self, store: DataManager, record: Record) -> None:
        self._store = store
        self.record = record

    @property
    def item(self) -> Any:
        """What the task was given; KeyError where it was large, and only a text of it is kept. Runs code."""
        return self._store.item(self.record.key)

    @property
    def value(self) -> Any:
        """What the task returned; KeyError where it failed. Runs code."""
        return self._store[self.record.key]

    @property
    def output(self) -> str:
        """What it printed in its last attempt."""
        return self._store.output(self.record.key)

    def __getattr__(self, name: str) -> Any:
        if hasattr(type(self), name):  # it is just being made, by copy or pickle; or decoding has raised this
            return object.__getattribute__(self, name)
        return getattr(self.record, name)

    def __eq__(self, other: object) -> bool:
        return self.record == (other.record if isinstance(other, StoredItem) else other)

    def __hash__(self) -> int:
        return hash(self.record)

    def __repr__(self) -> str:
        return f"<{self.record!r} in {self._store.basepath!r}>"


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
    def close(self, outcome: str, ended: float | None) -> None:
        """Write down how the run went, and release what the session holds.

        ``outcome`` is ``'finished'``, ``'stopped'`` or ``'broken'``. With ``''`` and None the run has not
        ended: nothing is written down (merging does that with a run that still goes on elsewhere).
        """


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
    files : ResultFiles or None
        Where processes put large results themselves; None: they travel, and are kept, as all others.
    """

    basepath: str = ""
    files: ResultFiles | None = None

    # -- what a store implements ---------------------------------------------------------------

    @abstractmethod
    def begin(self, run: RunInfo, join: bool = False) -> Session:
        """Write down that ``run`` has begun and return the session to record it with.

        A run of that uid must not be there yet; with ``join`` it may, and is gone on with.
        """

    @abstractmethod
    def runs(self) -> list[RunInfo]:
        """Every run, in the order in which they began, or came in: a merge adds older ones."""

    @abstractmethod
    def records(self, run: str | None = None, since: str | None = None) -> Records:
        """How every item (of one run) ended, by run and then by index. Nothing is unpickled.

        Parameters
        ----------
        run : str, optional
            Of this run alone.
        since : str, optional
            The ``cursor`` of an earlier reading (:class:`Records`): only what was stored after that
            one began.

        Raises
        ------
        UsageError
            ``since`` is no cursor of this store.
        """

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
    def shipped(self, run: str) -> list[bytes]:
        """What processes were sent to make the task, in order; empty when it was not kept."""

    @abstractmethod
    def forget_at(self, run: str, indices: Collection[int]) -> None:
        """Take away how these items of ``run`` ended: results, failures, earlier attempts, output.

        All durable when this returns, or nothing. Their blocks stay; one that has not ended is no error.
        """

    @abstractmethod
    def itemcount(self) -> int:
        """How many results there are, over all runs, and pairs, in all shelves."""

    @abstractmethod
    def close(self) -> None:
        """Release files. Reading afterwards is an error."""

    # -- what a store may know a faster way for ------------------------------------------------------

    def done_indices(self, run: str) -> Iterator[int]:
        """The indices of the done items of ``run``, ascending."""
        return (record.index for record in self.records(run) if record.status == "done")

    def decoded(self, run: str) -> Iterator[tuple[int, Any]]:
        """Index and result of each done item of ``run``, by index."""
        load = self.loader(run)
        return ((index, load(data)) for index, data in self.encoded(run))

    def decoded_at(self, run: str, index: int) -> Any:
        """One result; KeyError when there is none."""
        return self.loader(run)(self.encoded_at(run, index))

    def packs(self, run: str) -> Iterator[Pack]:
        """The results of ``run`` with their times, by first index; nothing is unpickled."""
        # two readings, between which a farm may store results, and somebody may forget some
        records = (record for record in self.records(run) if record.status == "done")
        record = next(records, None)
        for index, data in self.encoded(run):
            while record is not None and record.index < index:
                record = next(records, None)
            if record is not None and record.index == index:
                about = (record.process or 0, record.started, array("d", [record.seconds]))
                yield Pack(range(index, index + 1), *about, codec.Packed(data, 1))

    def timings(self, run: str) -> Timings:
        """When each done item of ``run`` ran, by index. No value is read, and nothing is unpickled."""
        timings = Timings()
        timings.add_records(record for record in self.records(run) if record.status == "done")
        return timings

    def failures(self, run: str | None = None) -> list[Record]:
        """The records of all items (of one run) that failed. Nothing is unpickled."""
        return [record for record in self.records(run) if record.status == "failed"]

    def record_at(self, run: str, index: int) -> Record:
        """How one item ended; KeyError when it has not."""
        for record in self.records(run):
            if record.index == index:
                return record
        raise KeyError(join_key(run, index))

    def counts(self, run: str) -> Counts:
        """How many items of ``run`` ended, and how."""
        done = failed = 0
        for record in self.records(run):
            done += record.status == "done"
            failed += record.status == "failed"
        return Counts(done, failed, sum(1 for _ in self.retried(run)))

    def outputs(self, run: str) -> Iterator[tuple[int, str]]:
        """What each item of ``run`` that has ended printed in its last attempt, by index; if it printed."""
        for record in self.records(run):
            text = self.output_at(run, record.index)
            if text:
                yield record.index, text

    def durations(self, run: str, most: int) -> tuple[Sequence[int], Sequence[float]]:
        """How long items of ``run`` took that are done, as a sample of at most ``most``.

        The sample is spread evenly over the indices, since items may take longer and longer. It is read
        while a farm starts: a store that would have to read much for it gives fewer, or none. This one looks
        at the first items alone where there are more than fifty times ``most``.

        Returns
        -------
        sequence of int, sequence of float
            The indices, ascending, and the seconds that each took.
        """
        records = islice(self.records(run), most * _LOOKS)
        done = [(record.index, record.seconds) for record in records if record.status == "done"]
        chosen = done[:: max(1, -(-len(done) // most))]
        return [index for index, _ in chosen], [seconds for _, seconds in chosen]

    def last_ended(self, run: str) -> float | None:
        """When the latest result or failure of ``run`` came, in seconds since the epoch."""
        return max((record.started + record.seconds for record in self.records(run)), default=None)

    def check(self) -> Iterator[str]:
        """What is wrong with the store, in words; nothing when all is well. Nothing is unpickled.

        That runs, records, results and items fit together, and that the files of large results are as
        they were written, which reads them all. A store adds what it knows of its own files.
        """
        for run in self.runs():
            uid = run.uid
            # a farm may write meanwhile, so that a later reading has more than an earlier one
            before = set(self.done_indices(uid))
            done = {record.index for record in self.records(uid) if record.status == "done"}
            if not before <= done <= set(self.done_indices(uid)):
                yield f"run {uid}: its records and its results are not of the same items"
            for index, data in self.encoded(uid):
                if data[:1] == codec.REFERENCE:
                    problem = self.files.check(uid, data) if self.files else "it has no files"
                    if problem:
                        yield f"item {index} ({join_key(uid, index)}): {problem}"
            last = -1
            for block in self.blocks(uid):
                if block.indices[0] <= last:
                    yield f"run {uid}: item {block.indices[0]} is in two blocks"
                last = block.indices[-1]

    def vacuum(self) -> None:
        """Give back room that nothing needs; only while no farm on another computer writes here."""
        self.sweep(everything=True)

    # -- sessions by hand ----------------------------------------------------------------------------

    def shelf_names(self) -> list[str]:
        """The names of the sessions that were written by hand."""
        return []

    def shelf_keys(self, name: str) -> list[str]:
        """The keys in such a session; none when it is not there."""
        return []

    def shelf_get(self, name: str, key: str) -> bytes:
        """An encoded value; KeyError when it is not there."""
        raise KeyError(key)

    def shelf_value(self, name: str, key: str) -> Any:
        """A value; a store may know values that something else has encoded."""
        return codec.decode(self.shelf_get(name, key))

    def shelf_set(self, name: str, key: str, data: bytes | None) -> None:
        """Write an encoded value, or with None delete it; durable when this returns."""
        raise StoreError(
            self.basepath,
            "this kind of store has no sessions to write by hand",
            "Use a store that has: farmhand-sqlite, farmhand-shelve",
        )

    def shelf_lock(self, name: str) -> AbstractContextManager[None]:
        """Excludes all other processes that ask for this, too."""
        raise StoreError(
            self.basepath,
            "this kind of store has no sessions to lock",
            "Use a store that has: farmhand-sqlite, farmhand-shelve",
        )

    # -- large results -------------------------------------------------------------------------------

    def loader(self, run: str) -> Callable[[bytes], Any]:
        """What decodes the results of ``run``, also those that are in files of their own."""

        def load(data: bytes) -> Any:
            if data[:1] != codec.REFERENCE:
                return codec.decode(data)
            if self.files is None:
                raise StoreError(self.basepath, "it has results in files, but no folder for these")
            return self.files.load(run, data, lambda index: self._describe(run, index))

        return load

    def _describe(self, run: str, index: int) -> str:
        """An item for people; what cannot be decoded goes by its key alone."""
        try:
            block = next(block for block in self.blocks(run) if index in block.indices)
            place = block.indices.index(index)
            if block.payload is not None:
                text = codec.short(codec.decode_items(block.payload)[place])
            else:
                text = block.texts[place] if block.texts else ""
        except Exception:
            text = ""
        return f"item {index}{f' ({text})' if text else ''}, key {join_key(run, index)!r}"

    def sweep(self, everything: bool = False) -> int:
        """Delete files that a killed farm has left and no record names; a store calls it when it is opened.

        Parameters
        ----------
        everything : bool
            Also where it cannot be known whether that farm still runs: it was on another computer.

        Returns
        -------
        int
            How many files were deleted.
        """
        marked = self.files.marked() if self.files is not None else []
        if self.files is None or not marked:
            return 0
        deleted = 0
        runs = {run.uid: run for run in self.runs()}
        for uid in marked:
            if uid in runs:  # others may be those of a newer copy of this store
                run = runs[uid]
                alive = False if run.ended is not None else owner.is_alive(run.owner)
                if alive is False or (everything and not alive):
                    deleted += self.files.sweep(uid, (data for _, data in self.encoded(uid)))
        return deleted

    # -- Brian's reading API -------------------------------------------------------------------

    @property
    def computer_name(self) -> str:
        """``'user.host'``, hopefully unique to this user on this computer."""
        return computer_name()

    def make_unique_key(self) -> str:
        """A key that nothing else has."""
        import uuid

        return str(uuid.uuid4())

    def session_name(self) -> str:
        """A name for a session that no other has."""
        return f"{self.computer_name.partition('.')[0]}.{self.make_unique_key()}"

    @property
    def computer_session_filename(self) -> str:
        """The file that :meth:`computer_session` is in."""
        return self.session_filename(self.computer_name)

    def session_filename(self, session_name: str | None = None) -> str:
        """The file that a session is, or would be, in: here, one for all of them."""
        return self.basepath

    def session_filenames(self) -> list[str]:
        """All files that sessions are in."""
        return [self.basepath] if os.path.exists(self.basepath) else []

    def session(self, session_name: str | None = None) -> Shelf:
        """A session to write by hand, by default a new one of its own; several processes cannot share it."""
        return Shelf(self, session_name or self.session_name())

    def computer_session(self) -> Shelf:
        """The session of this user on this computer, for one process at a time."""
        return Shelf(self, self.computer_name)

    def locking_session(self, session_name: str | None = None) -> Shelf:
        """As :meth:`session`, but any number of processes may use it."""
        return Shelf(self, session_name or self.session_name(), locking=True)

    def locking_computer_session(self) -> Shelf:
        """As :meth:`computer_session`, but any number of processes may use it."""
        return Shelf(self, self.computer_name, locking=True)

    def session_names(self) -> list[str]:
        """The names of all sessions: the uids of the runs, and the shelves that were written by hand."""
        return [*self._uids_of_runs(), *self.shelf_names()]

    def _uids_of_runs(self) -> list[str]:
        return [run.uid for run in self.runs()]

    def keys(self) -> list[str]:
        """The keys of all results, each once: run by run, then those of the shelves."""
        runs = [join_key(run, index) for run in self._uids_of_runs() for index in self.done_indices(run)]
        shelves = [key for name in self.shelf_names() for key in self.shelf_keys(name)]
        return list(dict.fromkeys(runs + shelves)) if shelves else runs

    def iteritems(self) -> Iterator[tuple[str, Any]]:
        """Key and value of every result, one at a time: run by run, then those of the shelves."""
        for run in self._uids_of_runs():
            for index, value in self.decoded(run):
                yield join_key(run, index), value
        for name in self.shelf_names():
            for key in self.shelf_keys(name):
                yield key, self.shelf_value(name, key)

    def itervalues(self) -> Iterator[Any]:
        """Every result, one at a time: run by run, in the order of the items, then those of the shelves."""
        for run in self._uids_of_runs():
            for _, value in self.decoded(run):
                yield value
        for name in self.shelf_names():
            for key in self.shelf_keys(name):
                yield self.shelf_value(name, key)

    def items(self) -> list[tuple[str, Any]]:
        """Key and value of every result."""
        return list(self.iteritems())

    def values(self) -> list[Any]:
        """Every result: run by run, in the order of the items."""
        return list(self.itervalues())

    def get(self, key: str) -> dict[str, Any]:
        """``{session name: value}`` for each session that has ``key``."""
        found = {}
        if self._is_result(key):
            run, index = split_key(key)
            found[run] = self.decoded_at(run, index)
        found.update(self._values_by_hand(key))
        return found

    def _values_by_hand(self, key: str) -> Iterator[tuple[str, Any]]:
        """Session and value of each session by hand that has ``key``."""
        for name in self.shelf_names():
            try:
                value = self.shelf_value(name, key)
            except KeyError:
                try:
                    self.shelf_get(name, key)
                except KeyError:
                    continue
                raise  # it is there: decoding it has raised this
            yield name, value

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
        if self._is_result(key):
            return self.decoded_at(*split_key(key))
        for _, value in self._values_by_hand(key):
            return value
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return self._is_result(key) or any(key in self.shelf_keys(name) for name in self.shelf_names())

    def _is_result(self, key: object) -> bool:
        try:
            self.encoded_at(*split_key(key))
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __bool__(self) -> bool:
        return True  # an empty store is a store

    # -- beyond Brian --------------------------------------------------------------------------

    def record(self, key: str) -> StoredItem:
        """All that is known of one item: how it ended, and on request what it was, and its result.

        Nothing is unpickled but what is asked for: ``store.record(key).item``.

        Raises
        ------
        KeyError
            It has not ended.
        """
        return StoredItem(self, self.record_at(*split_key(key)))

    def item(self, key: str) -> Any:
        """The item of this key, as the task was given it. Runs code: only from a store that you trust.

        Raises
        ------
        KeyError
            There is no such item, or it was large, and the store has only a text of it.
        """
        run, index = split_key(key)
        for block in self.blocks(run):
            if index in block.indices and block.payload is not None:
                return codec.decode_items(block.payload)[block.indices.index(index)]
        raise KeyError(key)

    def forget(self, keys: str | Iterable[str]) -> int:
        """Take away how items ended, so that a run with ``resume=True`` runs them again.

        Parameters
        ----------
        keys : str or iterable of str
            As in their records: ``store.forget(result.key for result in store.where(k=5))``.

        Returns
        -------
        int
            How many items there were.

        Raises
        ------
        KeyError
            There is no such run; nothing was forgotten.
        """
        wanted: dict[str, set[int]] = {}
        for key in [keys] if isinstance(keys, str) else list(keys):
            run, index = split_key(key)
            wanted.setdefault(run, set()).add(index)
        known = {run.uid: run for run in self.runs()}
        for run in wanted:
            if run not in known:
                raise KeyError(run)
        count = 0
        for run, indices in wanted.items():
            indices &= {record.index for record in self.records(run)}
            if indices:
                if self.files is not None:
                    self.files.mark(run)
                self.forget_at(run, indices)
                count += len(indices)
        self.sweep()
        return count

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
        for run in self._uids_of_runs():
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

    def where(self, /, **parameters: Any) -> list[Result]:
        """The results of the items that have these parameters: ``store.where(k=5, tau=lambda tau: tau > 1)``.

        Only these results are decoded; the items are, too.

        Parameters
        ----------
        **parameters : object
            By the names of the columns of :meth:`to_dataframe`. A value that the parameter must equal, or
            a function that is called with it and says whether it fits. Arrays are equal when all their
            numbers are, NaN equals NaN. Of a large item, which is kept as a text alone, only an equal
            value can be found.

        Raises
        ------
        UsageError
            No item has a parameter of that name.
        """
        from farmhand.tables import find

        return find(self, parameters)

    def to_dataframe(
        self,
        run: str | RunInfo | Iterable[str | RunInfo] | None = None,
        *,
        task: str | None = None,
        records: bool | str | Iterable[str] = False,
        failures: bool = False,
    ) -> Any:
        """The results as a pandas ``DataFrame``: one row for each item.

        Parameters are columns: positional arguments by the names that the task has for them, keyword
        arguments by their own. So are the parts of a result that is a mapping, a dataclass or a named
        tuple; any other is in the column ``result``. A name that a parameter and a result share stays the
        parameter's, and the other column is ``result_k``. Of a large item there is a text. Where there are
        runs of several tasks, the first column is ``task``.

        Quantities, such as Brian's, are numbers in base SI units; ``frame.attrs['units']`` has the units
        by column.

        Parameters
        ----------
        run : str, RunInfo or several, optional
            Only these runs.
        task : str, optional
            Only runs of this task.
        records : bool or sequence of str
            What of each item's record to add: True for what there is to say, or some of ``'run'``,
            ``'index'``, ``'task'``, ``'key'``, ``'status'``, ``'process'``, ``'started'``, ``'seconds'``,
            ``'attempts'``, ``'memory'`` and ``'error'``.
        failures : bool
            Whether items that failed have a row, too, and all rows have a status and an error.

        Raises
        ------
        UsageError
            pandas is not installed, or a column would have several units.
        """
        from farmhand import dataframes, tables

        return dataframes.to_dataframe(self, tables.select(self, run, task, records, failures))

    def to_xarray(
        self,
        run: str | RunInfo | Iterable[str | RunInfo] | None = None,
        *,
        task: str | None = None,
        records: bool | str | Iterable[str] = False,
        failures: bool = False,
    ) -> Any:
        """The results of a sweep over a grid as an xarray ``Dataset``.

        Each parameter is a dimension with its values as coordinates, numbers in ascending order; each
        column that :meth:`to_dataframe` has for results is a data variable. Where all results are arrays
        of one shape, the variable has further dimensions, ``trace_dim_0`` and so on. A cell without a
        result is NaN. Units are in the attribute ``units`` of variables and coordinates.

        Parameters
        ----------
        run, task, records, failures
            As for :meth:`to_dataframe`.

        Raises
        ------
        UsageError
            xarray is not installed; the items are no grid; two results are of the same parameters.
        """
        from farmhand import datasets, tables

        return datasets.to_xarray(self, tables.select(self, run, task, records, failures))

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

    def _repr_html_(self) -> str | None:
        """For notebooks: the newest runs and failures. Nothing is unpickled."""
        from farmhand.notebook import html

        try:
            return html(self, type(self).__name__, self.basepath)
        except FarmhandError:
            return None  # it is closed, or damaged: then the notebook shows the plain text


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
