"""A store in a folder of shelves, as Brian 1 had it: to merge two machines, copy one folder into the other.

*Sessions.* What is in the folder are shelves (one for each run, those of ``session()``, those of Brian),
which Python's :mod:`shelve` reads. All else is in ``.farmhand``, which neither ``ls`` nor Brian's ``glob``
shows.

*Runs.* The truth about a run is its log (``log.py``): each turn is one synced append with checksums, so that
it is there as a whole or not at all. A dbm cannot promise that: ``dbm.dumb``, which many Pythons have alone,
writes its index anew each time that it is closed, and loses it in a crash; the interface of the others has
neither transactions nor, all of them, a way to sync. So the shelf of a run is a copy of the values for other
programs, in the format of ``dbm.dumb``, which every Python reads. It is written behind the log, without
waiting for the disk before the run ends, and made again from the log where a crash has left it behind. For a
million tiny results in packs of 2000 all of it took 1.7 µs each, nearly all for the copy; farmhand itself
reads the log, a million of them in 0.13 s.

*Durability.* When ``record`` has returned, the turn survives a power cut (``durability='power'``), or at
least the end of this process, however it ends (``'process'``).

*Processes.* Any number may read, and any number of farms write, at the same time, each its own files. Into a
session by hand processes write one after the other, for which a lock sees that ends with its process.

*Threads.* One at a time, any of them. An iteration sees each run as it was when it began.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise

from farmhand import codec, owner
from farmhand.errors import FarmhandError, StoreError, UsageError
from farmhand.files import ResultFiles
from farmhand.locks import Held
from farmhand.spans import Spans
from farmhand.spool import sync_folder
from farmhand.store import (
    Block,
    Counts,
    Pack,
    Record,
    Records,
    RunInfo,
    Session,
    Shelf,
    Timings,
    Turn,
    join_key,
    split_key,
)
from farmhand.store import DataManager as _DataManager
from farmhand_shelve import dumb, log
from farmhand_shelve.contents import Contents, Reading, encode_run, encode_turn, indices_of, spans_of
from farmhand_shelve.folder import Folder, file_name
from farmhand_shelve.sessions import KINDS, SessionFile, Sessions
from farmhand_shelve.values import decode_value, in_a_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

__all__ = ["DataManager", "ShelveStore"]

_LOG = ".log"
_MUCH = 4 << 20  # bytes of descriptions: about a quarter of a second


class ShelveStore(_DataManager):
    """Results in a folder, which is created when it is not there.

    Parameters
    ----------
    path : path-like
        The folder; the one that it is in must exist.
    durability : {'power', 'process'}
        What a recorded result survives: a power cut, or only the end of the process.
    timeout : float
        Seconds to wait for a session that another process has locked.
    dbm : {'dumb', 'sqlite3', 'gnu', 'ndbm'}
        With what new sessions by hand are written. Every Python reads ``'dumb'``, which farmhand writes in
        a way of its own that is safe and fast.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        durability: str = "power",
        timeout: float = 30.0,
        dbm: str = "dumb",
    ) -> None:
        if durability not in ("power", "process"):
            raise UsageError(f"durability={durability!r} is not known; use 'power' or 'process'")
        if dbm not in KINDS:
            raise UsageError(f"dbm={dbm!r} is not known; use one of {', '.join(map(repr, KINDS))}")
        self._sync = durability == "power"
        self._timeout = timeout
        self._open = True
        self._folder = Folder(path, self._sync)
        self.basepath = self._folder.path
        temporary = os.path.join(self._folder.own, f"index.{os.urandom(6).hex()}")
        self._sessions = Sessions(self.basepath, dbm, self._sync, temporary)
        self._known: dict[str, Contents] = {}  # by the name of the file
        self._held: dict[str, Held] = {}  # locks on sessions by hand
        self.files = ResultFiles(self._folder.files, sync=self._sync)
        if self._folder.is_new:
            for session in self._sessions.find():
                if not session.kind:
                    self._sessions.refuse(session)
        elif not self._folder.read_only:
            self._complete_shelves()
            self._folder.sweep()
            with suppress(FarmhandError):  # says who reads what is damaged
                self.sweep()

    # -- runs --------------------------------------------------------------------------------------

    def begin(self, run: RunInfo, join: bool = False) -> Session:
        self._usable()
        self._folder.prepare()
        known = self._contents()
        begun = max([time.time_ns(), *(contents.begun + 1 for contents in known)])
        return _ShelveSession(self, run, begun, join)

    def runs(self) -> list[RunInfo]:
        return [contents.info for contents in self._contents() if contents.info is not None]

    def records(self, run: str | None = None, since: str | None = None) -> Records:
        every = self._contents()
        numbers = self._numbers_at(since, every) if since is not None else {}
        cursor = f"{self._identity()}." + ",".join(f"{_name(each)}={each.number}" for each in every)
        wanted = [each for each in every if run is None or (each.info is not None and each.info.uid == run)]
        if run is not None and not wanted:
            raise KeyError(run)
        readings = [each.reading(numbers.get(_name(each), 0)) for each in wanted]
        return Records(_in_turn(readings), cursor)

    def _identity(self) -> str:
        """What tells the cursors of this store from those of others."""
        return self._folder.identity or f"{os.stat(self.basepath).st_ino:x}"

    def _numbers_at(self, cursor: str, every: Sequence[Contents]) -> dict[str, int]:
        """How far a reading had come: by run, the number of the last frame."""
        identity, _, rest = cursor.partition(".") if isinstance(cursor, str) else ("", "", "")
        here = identity in {self._folder.identity, f"{os.stat(self.basepath).st_ino:x}"} - {""}
        pairs = [each.rpartition("=") for each in rest.split(",")] if rest else []
        good = (pair for pair in pairs if pair[0] and pair[2].isdecimal() and len(pair[2]) <= 18)
        numbers = {name: int(number) for name, _, number in good}
        beyond = any(numbers.get(_name(each), 0) > each.number for each in every)
        if not here or "." not in cursor or beyond or len(numbers) < len(pairs):
            start = cursor[:80] if isinstance(cursor, str) else cursor
            raise UsageError(f"since={start!r} is no cursor of this store; it comes from store.records()")
        return numbers

    def retried(self, run: str | None = None) -> Iterator[Record]:
        for contents in self._contents() if run is None else [self._log(run)]:
            with contents.reading() as reading:
                yield from reading.retried()

    def failures(self, run: str | None = None) -> list[Record]:
        found: list[Record] = []
        for contents in self._contents() if run is None else [self._log(run)]:
            with contents.reading() as reading:
                found += reading.failures()
        return found

    def output_at(self, run: str, index: int, attempt: int | None = None) -> str:
        with self._log(run).reading() as reading:
            return reading.output(index, attempt)

    def encoded(self, run: str) -> Iterator[tuple[int, bytes]]:
        with self._log(run).reading() as reading:
            for stored in reading.stored:
                yield from zip(stored.indices, reading.values(stored), strict=True)

    def encoded_at(self, run: str, index: int) -> bytes:
        with self._log(run).reading() as reading:
            stored = reading.find(index)
            if stored is None:
                raise KeyError(join_key(run, index))
            value: bytes = reading.payload(stored)[index - stored.first]
            return value

    def decoded(self, run: str) -> Iterator[tuple[int, Any]]:
        load = self.loader(run)
        with self._log(run).reading() as reading:
            for stored in reading.stored:
                yield from zip(stored.indices, reading.values(stored).decode(load), strict=True)

    def decoded_at(self, run: str, index: int) -> Any:
        with self._log(run).reading() as reading:
            stored = reading.find(index)
            if stored is None:
                raise KeyError(join_key(run, index))
            return reading.payload(stored).decode_one(index - stored.first, self.loader(run))

    def packs(self, run: str) -> Iterator[Pack]:
        with self._log(run).reading() as reading:
            yield from reading.packs()

    def durations(self, run: str, most: int) -> tuple[Sequence[int], Sequence[float]]:
        contents = self._log(run)
        if contents.unread > _MUCH:
            return [], []  # a farm begins, and nothing else in it needs them
        with contents.reading() as reading:
            return reading.durations(most)

    def done_indices(self, run: str) -> Iterator[int]:
        for stored in self._log(run).packs():
            yield from stored.indices

    def timings(self, run: str) -> Timings:
        timings = Timings()
        with self._log(run).reading() as reading:
            for stored in reading.stored:
                timings.add_pack(stored.indices, stored.process, *reading.seconds(stored))
        return timings

    def blocks(self, run: str) -> Iterator[Block]:
        with self._log(run).reading() as reading:
            yield from reading.blocks()

    def shipped(self, run: str) -> list[bytes]:
        with self._log(run).reading() as reading:
            return reading.shipped()

    def counts(self, run: str) -> Counts:
        return self._log(run).counts

    def outputs(self, run: str) -> Iterator[tuple[int, str]]:
        with self._log(run).reading() as reading:
            yield from reading.outputs()

    def last_ended(self, run: str) -> float | None:
        with self._log(run).reading() as reading:
            return reading.last_ended()

    def itemcount(self) -> int:
        runs = sum(contents.counts.done for contents in self._contents())
        return runs + sum(self._sessions.count(session) for session in self._by_hand())

    def forget_at(self, run: str, indices: Collection[int]) -> None:
        contents = self._log(run)
        self._folder.refuse_read_only()
        writer = log.LogWriter(contents.path, self._timeout, self._sync)
        try:
            with writer.exclusively():
                contents.refresh()
                for _ in writer.catch_up():
                    pass
                ended = contents.ended(indices)
                about = {"indices": spans_of(sorted(indices))}
                counts = (-ended.done, -ended.failed, -ended.retried)
                writer.append(log.FORGET, about, counts=counts)
        finally:
            writer.close()
        contents.refresh()
        if not self._is_written(contents):  # else its session sees to that
            self._complete_shelf(contents)

    def _is_result(self, key: object) -> bool:
        try:
            run, index = split_key(key)
            contents = self._log(run)
        except KeyError:
            return False
        return contents.reading().find(index) is not None

    def _contents(self) -> list[Contents]:
        """All runs, in the order in which they began."""
        self._usable()
        try:
            names = [name for name in os.listdir(self._folder.runs) if name.endswith(_LOG)]
        except FileNotFoundError:
            self._folder.refuse_loss()
            return []
        except OSError as error:
            advice = "Get the right to read it"
            raise StoreError(self._folder.runs, f"it cannot be read ({error.strerror})", advice) from error
        found = [contents for name in names if (contents := self._at(name)).refresh()]
        return sorted(found, key=lambda contents: (contents.begun, contents.path))

    def _at(self, name: str) -> Contents:
        if name not in self._known:
            self._known[name] = Contents(os.path.join(self._folder.runs, name))
        return self._known[name]

    def _log(self, run: str) -> Contents:
        """The contents of a run, as they are now; KeyError when there is none."""
        self._usable()
        contents = self._at(file_name(run) + _LOG)
        if not contents.refresh() or contents.info is None or contents.info.uid != run:
            self._folder.refuse_loss()
            raise KeyError(run)
        return contents

    def _is_written(self, contents: Contents, perhaps: bool = True) -> bool:
        """Whether a process goes on with a run; ``perhaps`` is for those of which that cannot be known."""
        info = contents.info
        if info is None or info.ended is not None:
            return False
        alive = owner.is_alive(info.owner)
        return perhaps if alive is None else alive

    # -- the shelves of runs -------------------------------------------------------------------------

    def _complete_shelves(self) -> None:
        """Make the shelves again that a killed farm, or a copy that lacks them, has left behind."""
        try:
            names = [name for name in os.listdir(self._folder.runs) if name.endswith(_LOG)]
        except OSError:
            return
        for contents in map(self._at, names):
            with suppress(FarmhandError, OSError):  # it only is a copy; who reads the log says what is wrong
                if not contents.refresh():
                    continue  # the farm was killed before the run had begun
                there = os.path.exists(os.path.join(self.basepath, _name(contents) + ".dir"))
                is_behind = not contents.complete if there else contents.counts.done > 0
                if is_behind and not self._is_written(contents):
                    self._complete_shelf(contents)

    def _complete_shelf(self, contents: Contents) -> None:
        with suppress(FarmhandError, OSError):
            writer = log.LogWriter(contents.path, self._timeout, self._sync)
            try:
                with writer.exclusively():
                    for _ in writer.catch_up():
                        pass
                    contents.refresh()
                    _RunShelf(self._folder, _name(contents), self._sync).rebuild(contents)
                    if not contents.complete:
                        writer.append(log.END, {"outcome": None, "ended": None, "shelf": True})
            finally:
                writer.close()

    # -- sessions by hand ----------------------------------------------------------------------------

    @property
    def computer_session_filename(self) -> str:
        """The path of :meth:`computer_session`, without an ending."""
        return self.session_filename(self.computer_name)

    def session_filename(self, session_name: str | None = None) -> str:
        """The path of a session, by default a new one; a dbm may add endings to it."""
        return os.path.join(self.basepath, session_name or self.session_name())

    def session_filenames(self) -> list[str]:
        """The paths of all sessions, those of the runs included; a dbm may have added endings to them."""
        runs = [_name(contents) for contents in self._contents()]
        return [self.session_filename(name) for name in [*runs, *self.shelf_names()]]

    def session(self, session_name: str | None = None) -> Shelf:
        return super().session(_checked(session_name))

    def locking_session(self, session_name: str | None = None) -> Shelf:
        return super().locking_session(_checked(session_name))

    def shelf_names(self) -> list[str]:
        return [session.name for session in self._by_hand()]

    def _by_hand(self, refuse: bool = True) -> list[SessionFile]:
        """The sessions that are of no run, and perhaps an error for what cannot be one."""
        there = self._sessions.find()
        runs = set(map(_name, self._contents()))  # afterwards: the log of a run is older than its shelf
        of_runs = runs | {run + ending for run in runs for ending in (".dat", ".dir", ".bak")}
        found = [session for session in there if session.name not in of_runs]
        for session in found if refuse else ():
            if not session.kind:
                self._sessions.refuse(session)
        return found

    def _names_of_runs(self) -> list[str]:
        try:
            return [name for name in os.listdir(self._folder.runs) if name.endswith(_LOG)]
        except OSError:
            return []

    def shelf_keys(self, name: str) -> list[str]:
        self._usable()
        return self._sessions.keys(name)

    def shelf_get(self, name: str, key: str) -> bytes:
        self._usable()
        return self._sessions.get(name, key)

    def shelf_value(self, name: str, key: str) -> Any:
        return self._decoded(name, key, self.shelf_get(name, key))

    def _decoded(self, name: str, key: str, data: bytes) -> Any:
        try:
            return decode_value(data)
        except Exception as error:
            error.add_note(f"This was the value of {key!r} in the session {self.session_filename(name)}")
            raise

    def shelf_set(self, name: str, key: str, data: bytes | None) -> None:
        self._usable()
        if self._at(_checked(name) + _LOG).refresh():
            problem = "it is the session of a run, which only the run writes"
            raise StoreError(
                self.session_filename(name), problem, "Use a session of your own: store.session()"
            )
        if name in self._held:
            self._sessions.set(name, key, data)
        else:
            with self.shelf_lock(name):
                self._sessions.set(name, key, data)

    def shelf_lock(self, name: str) -> AbstractContextManager[None]:
        self._usable()
        self._folder.prepare()
        return self._locked(_checked(name))

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        path = os.path.join(self._folder.locks, file_name(name))
        self._held[name] = Held(path, self._timeout, f"the session {name!r}")
        try:
            yield
        finally:
            self._held.pop(name).release()

    def iteritems(self) -> Iterator[tuple[str, Any]]:
        for contents in self._contents():
            assert contents.info is not None
            run = contents.info.uid
            for index, value in self.decoded(run):
                yield join_key(run, index), value
        for session in self._by_hand():
            for key, data in self._sessions.pairs(session):
                yield key, self._decoded(session.name, key, data)

    def itervalues(self) -> Iterator[Any]:
        for contents in self._contents():
            assert contents.info is not None
            for _, value in self.decoded(contents.info.uid):
                yield value
        for session in self._by_hand():
            for key, data in self._sessions.pairs(session):
                yield self._decoded(session.name, key, data)

    # -- the whole ---------------------------------------------------------------------------------

    def check(self) -> Iterator[str]:
        self._usable()
        sound = True
        for problem in self._problems_of_logs():
            sound = False
            yield problem
        if not sound:
            return  # what comes next reads them
        yield from super().check()
        for session in self._by_hand(refuse=False):
            try:
                for _ in self._sessions.pairs(session):
                    pass
            except StoreError as error:
                yield str(error)

    def _problems_of_logs(self) -> Iterator[str]:
        for name in sorted(self._names_of_runs()):
            contents = self._at(name)
            try:
                if not contents.refresh():
                    continue  # its farm was killed before it had begun
                descriptor = log.open_log(contents.path)
                if descriptor is not None:
                    try:
                        torn = not self._is_written(contents, perhaps=False)
                        yield from log.broken_data(descriptor, contents.path, torn)
                    finally:
                        os.close(descriptor)
                if contents.complete:
                    yield from self._problems_of_shelf(contents)
            except StoreError as error:
                yield str(error)

    def _problems_of_shelf(self, contents: Contents) -> Iterator[str]:
        index = dumb.Index(os.path.join(self.basepath, _name(contents)))
        there = set(index.entries) if index.refresh() else set()
        uid = contents.info.uid if contents.info is not None else ""
        prefix = dumb.as_text(_prefix(uid))
        wanted = {join_key(prefix, i) for stored in contents.packs() for i in stored.indices}
        if not wanted <= there:
            missing = len(wanted - there)
            yield (
                f"{index.base}: {missing} results of the run are not in its session; "
                "store.vacuum() makes it again"
            )

    def vacuum(self) -> None:
        """Give back the room of what was forgotten, and make the sessions of runs again."""
        self._usable()
        self._folder.refuse_read_only()
        for contents in self._contents():
            if not self._is_written(contents, perhaps=False):
                if contents.has_gaps:
                    self._compact(contents)
                if contents.refresh():
                    self._complete_shelf(contents)
        self._folder.sweep(rest=60.0)  # not what others are just making
        super().vacuum()

    def _compact(self, contents: Contents) -> None:
        """Write the log of a run anew, without what no longer counts."""
        writer = log.LogWriter(contents.path, self._timeout, self._sync)
        part = os.path.join(self._folder.own, f"{_name(contents)}.{os.urandom(6).hex()}")
        try:
            with writer.exclusively():
                contents.refresh()
                copy = log.LogWriter(part, self._timeout, self._sync, create=True)
                try:
                    with contents.reading() as reading:
                        reading.compacted(writer.catch_up(), copy.put)
                    copy.sync()
                    os.rename(part, contents.path)
                    if self._sync:  # what is appended from now on must not be in a file without a name
                        sync_folder(self._folder.runs)
                finally:
                    copy.close()
                    with suppress(OSError):
                        os.unlink(part)
        except OSError as error:
            problem, advice = log.write_problem(error)
            raise StoreError(contents.path, problem, advice) from error
        finally:
            writer.close()

    def close(self) -> None:
        """Release what is locked; open sessions of runs keep what they hold."""
        self._open = False
        for held in self._held.values():
            held.release()

    def _usable(self) -> None:
        if not self._open:
            raise StoreError(self.basepath, "this store was closed", "Open it again")


class DataManager(ShelveStore):
    """Brian's: the folder ``name.data`` in ``datapath``, which are both made when they are not there.

    Parameters
    ----------
    name : str
        The name of the store; folders may be in front of it.
    datapath : path-like
        Where it is.
    **options
        As for :class:`ShelveStore`.
    """

    def __init__(self, name: str, datapath: str | os.PathLike[str] = "", **options: Any) -> None:
        path = os.path.join(datapath, name + ".data")
        parent = os.path.dirname(os.path.abspath(path))
        try:
            os.makedirs(parent, exist_ok=True)
        except OSError as error:
            problem = f"its folder cannot be made ({error.strerror})"
            raise StoreError(
                path, problem, "Give another datapath, or get the right to write there"
            ) from error
        super().__init__(path, **options)


def _name(contents: Contents) -> str:
    return os.path.basename(contents.path).removesuffix(_LOG)


def _prefix(uid: str) -> bytes:
    """What the keys of a run begin with in its shelf: its uid, if that is valid Unicode."""
    try:
        return dumb.as_bytes(uid)
    except UsageError:
        return file_name(uid).encode()


def _in_turn(readings: Iterable[Reading]) -> Iterator[Record]:
    for reading in readings:
        with reading:
            yield from reading.records()


def _checked(name: str | None) -> Any:
    """A name of a session that is one of a file in the folder, and seen by Brian."""
    if name is not None and (
        not isinstance(name, str) or not name.strip() or name.startswith(".") or {*"/\0", os.sep} & set(name)
    ):
        raise UsageError(f"{name!r} cannot be the name of a session: it is the name of a file in the folder")
    return name


class _RunShelf:
    """The session of a run for other programs: a copy of its values, in the format of ``dbm.dumb``.

    Whatever goes wrong here, the log has the values; the shelf is made again later.
    """

    def __init__(self, folder: Folder, name: str, sync: bool) -> None:
        self._folder = folder
        self._sync = sync
        self._base = os.path.join(folder.path, name)
        self._name = name
        self._appender: dumb.Appender | None = None
        self.is_complete = True  # as far as this object has written it

    def add(self, run: str, packs: Iterable[Pack]) -> None:
        """Append results."""
        if self.is_complete:
            try:
                if self._appender is None:
                    self._appender = dumb.Appender(self._base, aligned=False)
                for pack in packs:
                    self._append(self._appender, run, pack.indices, pack.values)
            except OSError:
                self.is_complete = False
                self.close()

    def _append(self, appender: dumb.Appender, run: str, indices: range, packed: codec.Packed) -> None:
        values = list(packed)
        if packed.payload[:1] != b"\x80":  # not one pickle of plain values
            values = [
                in_a_file(self._folder.path, run, index) if data[:1] == codec.REFERENCE else data
                for index, data in zip(indices, values, strict=True)
            ]
        appender.append_results(_prefix(run), indices, values)

    def rebuild(self, contents: Contents) -> None:
        """Make it anew from the log."""
        self.close()
        info = contents.info
        assert info is not None
        part = os.path.join(self._folder.own, f"{self._name}.{os.urandom(6).hex()}")
        try:
            appender = dumb.Appender(part, aligned=False)
            try:
                with contents.reading() as reading:
                    for stored in reading.stored:
                        self._append(appender, info.uid, stored.indices, reading.values(stored))
                if self._sync:
                    appender.sync()
            finally:
                appender.close()
            # no index is there while another one's values are, also after a power cut
            for old in (".dir", ".bak"):
                with suppress(FileNotFoundError):
                    os.unlink(self._base + old)
            self._sync_names()
            os.rename(part + ".dat", self._base + ".dat")
            self._sync_names()
            os.rename(part + ".dir", self._base + ".dir")
            self._sync_names()
            self.is_complete = True
        finally:
            for ending in (".dat", ".dir"):
                with suppress(OSError):
                    os.unlink(part + ending)

    def finish(self) -> None:
        """Have it on disk: the log is about to say that it is complete."""
        if self._appender is not None and self._sync and self.is_complete:
            try:
                self._appender.sync()
                self._sync_names()
            except OSError:
                self.is_complete = False

    def _sync_names(self) -> None:
        if self._sync:
            sync_folder(self._folder.path)

    def close(self) -> None:
        """Release the files."""
        if self._appender is not None:
            self._appender.close()
            self._appender = None


class _ShelveSession(Session):
    def __init__(self, store: ShelveStore, run: RunInfo, begun: int, join: bool) -> None:
        self._uid = run.uid
        folder = store._folder
        path = os.path.join(folder.runs, file_name(run.uid) + _LOG)
        self._shelf = _RunShelf(folder, file_name(run.uid), store._sync)
        self._done = Spans()
        self._log = writer = log.LogWriter(path, store._timeout, store._sync, create=True)
        try:
            with writer.exclusively():
                self._catch_up()
                if not writer.number:
                    self._refuse_session_by_hand(store, folder, run.uid, join)
                    writer.append(log.BEGIN, encode_run(run, begun))
                elif join:
                    self._shelf.is_complete = False
                else:
                    problem = f"it already has a run {run.uid!r}"
                    raise StoreError(store.basepath, problem, "Each run needs its own uid")
            if store._sync:
                sync_folder(folder.runs)
        except BaseException:
            writer.close()
            raise

    def _refuse_session_by_hand(self, store: ShelveStore, folder: Folder, uid: str, join: bool) -> None:
        base = os.path.join(folder.path, file_name(uid))
        if any(os.path.lexists(base + ending) for ending in ("", ".dat", ".dir", ".db")):
            if not join:
                problem = f"it already has a session {file_name(uid)!r}"
                with suppress(OSError):
                    os.unlink(self._log.path)
                raise StoreError(store.basepath, problem, "Move its files away, or give the run another uid")
            self._shelf.is_complete = False

    def _catch_up(self) -> None:
        """Take note of what others have written into the log."""
        for frame in self._log.catch_up():
            if frame.kind == log.TURN:
                for first, count, *_ in frame.about.get("packs", ()):
                    self._done.add(range(first, first + count))
            elif frame.kind == log.FORGET:
                self._done.remove(indices_of(frame.about["indices"]))
            self._shelf.is_complete = False

    def record(self, turn: Turn) -> None:
        writer = self._log
        writer.refuse_fork()
        about, data, counts, packs = encode_turn(turn)
        with writer.exclusively():
            self._catch_up()
            twice = any(a.indices[-1] >= b.indices[0] for a, b in pairwise(packs))
            if twice or any(self._overlaps(pack.indices) for pack in packs):
                raise StoreError(writer.path, "an item was recorded twice", "This is a fault in farmhand")
            if about:
                writer.append(log.TURN, about, data, counts)
        for pack in packs:
            self._done.add(pack.indices)
        if packs:
            self._shelf.add(self._uid, packs)

    def _overlaps(self, indices: range) -> bool:
        before = len(self._done)
        self._done.add(indices)
        after = len(self._done)
        if after - before != len(indices):
            return True
        self._done.remove(indices)
        return False

    def close(self, outcome: str, ended: float | None) -> None:
        writer = self._log
        writer.refuse_fork()
        try:
            with writer.exclusively():
                self._catch_up()
                if not self._shelf.is_complete:
                    contents = Contents(writer.path)
                    with suppress(OSError, FarmhandError):
                        if contents.refresh():
                            self._shelf.rebuild(contents)
                self._shelf.finish()
                end = {"outcome": None if ended is None else outcome, "ended": ended}
                about = {**end, "shelf": self._shelf.is_complete}
                writer.append(log.END, about)
        finally:
            self._shelf.close()
            writer.close()
