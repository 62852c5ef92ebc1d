"""The sessions in a folder: which there are, which dbm each was written with, and their values.

The files of a session are found by their names and recognized by their first bytes, never by opening them:
some modules change a file by merely opening it. ``dbm.dumb`` is read and written by ``dumb.py``, all others
by the module that made them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from farmhand.errors import StoreError
from farmhand.spool import sync_folder
from farmhand.values import dataclass
from farmhand_shelve import dumb
from farmhand_shelve.log import write_problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["KINDS", "SessionFile", "Sessions"]

KINDS = ("dumb", "sqlite3", "gnu", "ndbm")
_BERKELEY = "bsddb"  # only Python 2 had it; and ndbm, where that is made of it
_GNU_MAGIC = {0x13579ACE, 0x13579ACD, 0x13579ACF}
_BERKELEY_MAGIC = {0x00061561, 0x61150600, 0x00053162, 0x62310500}
_COMPANIONS = ("-wal", "-shm", "-journal")  # of dbm.sqlite3
_DAMAGED = "Get it from a backup, or move it away"
_READ_WRITE = "Get the right to write there, or copy the store to another folder"


@dataclass(frozen=True, slots=True)
class SessionFile:
    """A session of a folder.

    Parameters
    ----------
    name : str
        As in ``session_names()``.
    kind : str
        One of ``KINDS``, ``'bsddb'``, or ``''`` for a file that is of no known kind.
    """

    name: str
    kind: str


class Sessions:
    """The sessions in ``folder``.

    Parameters
    ----------
    folder : str
        Where they are.
    new : str
        The kind of new ones, out of ``KINDS``.
    sync : bool
        Whether a value must survive a power cut.
    temporary : str
        Where an index may be written before it gets its place.
    """

    def __init__(self, folder: str, new: str, sync: bool, temporary: str) -> None:
        self._folder = folder
        self._new = new
        self._sync = sync
        self._temporary = temporary
        self._indices: dict[str, dumb.Index] = {}
        self._lasting: dict[str, int] = {}  # the numbers of indices whose names a power cut cannot take away

    def path(self, name: str) -> str:
        """The path of a session, without an ending."""
        return os.path.join(self._folder, name)

    def find(self) -> list[SessionFile]:
        """All sessions, by name."""
        try:
            names = {entry.name for entry in os.scandir(self._folder) if _is_visible_file(entry)}
        except OSError as error:
            self._gone(error)
        found: dict[str, str] = {}
        for file in sorted(names):
            name, kind = self._classified(file, names)
            if kind is not None:
                found[name] = "" if name in found else kind  # files of two kinds with one name
        return [SessionFile(name, found[name]) for name in sorted(found)]

    def _classified(self, file: str, names: set[str]) -> tuple[str, str | None]:
        """The session of a file, and its kind; None for the kind where another file says that."""
        base, _, ending = file.rpartition(".")
        if ending == "dat" and self._is_dumb(base):
            return base, "dumb"
        if ending in ("dir", "bak") and self._is_indexed(file, base):
            return base, None
        if ending in ("pag", "dir") and {f"{base}.pag", f"{base}.dir"} <= names:
            return base, "ndbm" if ending == "pag" else None
        for end in _COMPANIONS:
            if file.endswith(end) and (file.removesuffix(end) in names or self._is_leftover(file)):
                return file, None
        kind = self._recognized(file)
        return (base, "ndbm") if kind == _BERKELEY and ending == "db" else (file, kind)

    def _is_dumb(self, base: str) -> bool:
        """Whether there is an index to ``base.dat``, which may be newer than the list of the files."""
        path = self.path(base)
        if os.path.exists(path + ".dir") or os.path.exists(path + ".bak"):
            return True
        try:  # dbm.dumb was killed before it wrote its first index
            return os.stat(path + ".dat").st_size == 0
        except OSError:
            return False

    def _is_indexed(self, file: str, base: str) -> bool:
        """Whether there are values to an index, or it has none."""
        try:
            return os.path.exists(self.path(base) + ".dat") or os.stat(self.path(file)).st_size == 0
        except OSError:
            return True  # it is gone meanwhile

    def _is_leftover(self, file: str) -> bool:
        """Whether a companion of a session that is gone has no data."""
        try:
            return file.endswith("-shm") or os.stat(self.path(file)).st_size == 0
        except OSError:
            return True  # it is gone as well

    def _recognized(self, name: str) -> str | None:
        """The kind of a file by its first bytes; None when it is gone meanwhile."""
        try:
            with open(self.path(name), "rb") as file:
                head = file.read(16)
        except FileNotFoundError:
            return None
        except OSError as error:
            problem = f"it cannot be read ({error.strerror})"
            raise StoreError(self.path(name), problem, "Get the right to read it") from error
        if head == b"SQLite format 3\0":
            return "sqlite3"
        for order in ("little", "big"):
            if int.from_bytes(head[:4], order) in _GNU_MAGIC:
                return "gnu"
        for start in (0, 12):
            if len(head) == 16 and int.from_bytes(head[start : start + 4], "little") in _BERKELEY_MAGIC:
                return _BERKELEY
        return ""

    def _session(self, name: str) -> SessionFile | None:
        base = self.path(name)
        if os.path.exists(base + ".dat") and any(os.path.exists(base + end) for end in (".dir", ".bak")):
            return SessionFile(name, "dumb")
        return next((session for session in self.find() if session.name == name), None)

    # -- reading -----------------------------------------------------------------------------------

    def keys(self, name: str) -> list[str]:
        """The keys of a session; none when it is not there."""
        session = self._session(name)
        if session is None:
            return []
        if session.kind == "dumb":
            return list(self._index(name).entries)
        with self._opened(session, "r") as file:
            return [dumb.as_text(key) for key in list(file.keys())]

    def count(self, session: SessionFile) -> int:
        """How many keys a session has."""
        if session.kind == "dumb":
            return len(self._index(session.name).entries)
        with self._opened(session, "r") as file:
            return len(file.keys())

    def get(self, name: str, key: str) -> bytes:
        """A value; KeyError when it is not there."""
        session = self._session(name)
        if session is None:
            raise KeyError(key)
        if session.kind == "dumb":
            return self._index(name).read(key)
        with self._opened(session, "r") as file:
            value: bytes = file[self._raw(file, key)]
            return value

    def pairs(self, session: SessionFile) -> Iterator[tuple[str, bytes]]:
        """Keys and values."""
        if session.kind == "dumb":
            yield from self._index(session.name).pairs()
        else:
            with self._opened(session, "r") as file:
                for key in list(file.keys()):
                    yield dumb.as_text(key), file[key]

    def _index(self, name: str) -> dumb.Index:
        index = self._indices.setdefault(name, dumb.Index(self.path(name)))
        if not index.refresh():
            index.entries = {}
        return index

    def _raw(self, file: Any, key: str) -> bytes:
        """The bytes of a key; KeyError when it is not there."""
        raw = dumb.as_bytes(key)
        if raw not in file:
            raise KeyError(key)
        return raw

    # -- writing -----------------------------------------------------------------------------------

    def set(self, name: str, key: str, data: bytes | None) -> None:
        """Write a value, or with None delete it; nobody else writes meanwhile."""
        session = self._session(name) or SessionFile(name, self._new)
        try:
            if session.kind == "dumb":
                self._set_dumb(name, key, data)
            else:
                with self._opened(session, "c") as file:
                    if data is None:
                        del file[self._raw(file, key)]
                    else:
                        file[dumb.as_bytes(key)] = data
                    if self._sync and hasattr(file, "sync"):
                        file.sync()
                self._sync_files(session)
        except OSError as error:
            problem, advice = write_problem(error)
            raise StoreError(self.path(name), problem, advice) from error

    def _set_dumb(self, name: str, key: str, data: bytes | None) -> None:
        base = self.path(name)
        is_new = not os.path.exists(base + ".dir")
        index = self._index(name) if os.path.exists(base + ".dat") else dumb.Index(base)
        raw = dumb.as_bytes(key)
        if data is None or (is_new and index.entries) or index.torn:
            entries = dict(index.entries)
            if data is None:
                entries.pop(key, None)
            dumb.rewrite_index(
                base,
                ((dumb.as_bytes(each), where) for each, where in entries.items()),
                self._temporary,
                self._sync,
            )
        if data is None:
            self._make_last(name)
            return
        appender = dumb.Appender(base, aligned=True)
        try:
            self._make_last(name)  # while new files are empty: one of them alone would be no session
            appender.append([(raw, data)], sync=self._sync)
        finally:
            appender.close()

    def _make_last(self, name: str) -> None:
        """Have the names of the files on disk, which somebody may just have made or replaced."""
        number = os.stat(self.path(name) + ".dir").st_ino
        if self._sync and self._lasting.get(name) != number:
            sync_folder(self._folder)
            self._lasting[name] = number

    def _sync_files(self, session: SessionFile) -> None:
        """Have what a module wrote, and did not sync itself, on disk."""
        if self._sync and session.kind != "sqlite3":
            for ending in ("", ".db", ".pag", ".dir"):
                try:
                    file = os.open(self.path(session.name) + ending, os.O_RDONLY)
                except OSError:
                    continue
                try:
                    os.fsync(file)
                finally:
                    os.close(file)
            sync_folder(self._folder)

    # -- modules -----------------------------------------------------------------------------------

    @contextmanager
    def _opened(self, session: SessionFile, flag: str) -> Iterator[Any]:
        module = self._module(session)
        path = self.path(session.name)
        try:
            file = module.open(path, flag)
            try:
                yield file
            finally:
                file.close()
        except module.error as error:
            if isinstance(error, KeyError):
                raise
            problem = f"dbm.{session.kind} cannot use it ({error})"
            raise StoreError(
                path, problem, "If no other program uses it, it is damaged. " + _DAMAGED
            ) from error

    def _module(self, session: SessionFile) -> Any:
        path = self.path(session.name)
        if session.kind not in KINDS:
            self.refuse(session)
        from importlib import import_module

        try:
            return import_module(f"dbm.{session.kind}")
        except ImportError as error:
            problem = f"it was written with dbm.{session.kind}, which this Python does not have"
            command = conversion(f"dbm.{session.kind}", "dbm.dumb", path)
            advice = (
                f"Convert it with a Python that has it: python3 -c {command}; then move the old file away"
            )
            raise StoreError(path, problem, advice) from error

    def refuse(self, session: SessionFile) -> NoReturn:
        """Raise for what cannot be a session, or is of Berkeley DB."""
        path = self.path(session.name)
        if session.kind == _BERKELEY:
            problem = "it was written with Berkeley DB (bsddb), which no Python 3 has"
            command = conversion("bsddb", "dumbdbm", path).replace("a.open(", "a.hashopen(")
            advice = (
                f"Convert it with a Python 2 that has it: python2 -c {command}; then move the old file away"
            )
            raise StoreError(path, problem, advice)
        problem = "it is no session that any dbm of Python has written, or it is damaged"
        raise StoreError(path, problem, "Move it out of the folder, or get it from a backup")

    def _gone(self, error: OSError) -> NoReturn:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            problem = "the folder was deleted or moved while it was in use"
            raise StoreError(self._folder, problem, "Open the store where it is") from error
        problem = f"the folder cannot be read ({error.strerror})"
        raise StoreError(self._folder, problem, "Get the right to read it") from error


def conversion(old: str, new: str, path: str) -> str:
    """The argument for ``python -c`` that copies a session into one of the kind ``new``, beside it."""
    code = (
        f"import {old} as a, {new} as b; s = a.open({path!r}, 'r'); t = b.open({path + '.new'!r}, 'n'); "
        "[t.__setitem__(k, s[k]) for k in s.keys()]; t.close()"
    )
    return '"' + code.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`") + '"'


def _is_visible_file(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and not entry.is_dir()
