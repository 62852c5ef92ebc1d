"""One SQLite file that is farmhand's: opened, or refused in words that say what to do.

Everything here is about the file; what is in its tables is the business of ``schema.py``.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence

from farmhand.errors import StoreError
from farmhand.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["DatabaseFile", "Schema"]

APPLICATION_ID = int.from_bytes(b"farm", "big")  # at offset 68 of the file, where SQLite keeps it
_JOURNAL = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"  # what a journal of SQLite begins with
_EFFECTIVE = os.access in os.supports_effective_ids
SLICE = 0.2  # seconds that SQLite may wait for a lock on its own; between two slices Ctrl-C gets through

_LEFT = "It was left as it is; choose another name, or move that file away"
_DAMAGED = "Get it from a backup; `sqlite3 FILE .recover` may save what is left"
_FOREIGN = "it is a SQLite database of another program"
_RIGHTS = "Get the right to write there, or copy the store to another folder"
_UNSHARED = (
    "this file system cannot keep a SQLite database that several programs use",
    "Put the store on a local disk",
)
_FULL = (
    "the disk is full; all that was stored before is intact",
    "Make room, then run again with resume=True",
)
_UNWRITABLE = (
    "the disk refuses to write; all that was stored before is intact",
    "Check its quota, its free space and its health, then run again with resume=True",
)
_PROBLEMS = {  # by SQLite's extended codes, and then by its primary ones
    sqlite3.SQLITE_BUSY: (
        "another program has kept it locked for {timeout:g} seconds",
        "Close that program, or open the store with a longer timeout=",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "Check that file and folder are there and may be written to",
    ),
    sqlite3.SQLITE_CONSTRAINT: ("a run or an item was recorded twice", "This is a fault in farmhand"),
    sqlite3.SQLITE_CORRUPT: ("it is damaged, or was cut off", _DAMAGED),
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: ("the disk reports an error", "Check the disk, its quota and its free space"),
    sqlite3.SQLITE_IOERR_FSYNC: _UNWRITABLE,
    sqlite3.SQLITE_IOERR_SHMSIZE: _FULL,
    sqlite3.SQLITE_IOERR_TRUNCATE: _UNWRITABLE,
    sqlite3.SQLITE_IOERR_WRITE: _UNWRITABLE,
    sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK: _UNSHARED,
    sqlite3.SQLITE_IOERR_LOCK: _UNSHARED,
    sqlite3.SQLITE_IOERR_RDLOCK: _UNSHARED,
    sqlite3.SQLITE_IOERR_SHMLOCK: _UNSHARED,
    sqlite3.SQLITE_IOERR_SHMMAP: _UNSHARED,
    sqlite3.SQLITE_IOERR_UNLOCK: _UNSHARED,
    sqlite3.SQLITE_NOTADB: ("it is damaged, or not a SQLite database", _DAMAGED),
    sqlite3.SQLITE_PERM: _UNSHARED,  # to lock a file is not permitted
    sqlite3.SQLITE_PROTOCOL: _UNSHARED,  # locks were refused without a reason
    sqlite3.SQLITE_READONLY: ("it is read-only", _RIGHTS),
    sqlite3.SQLITE_TOOBIG: (
        "a result is larger than SQLite can keep (1 GB)",
        "Let the task write it to a file and return the name of the file",
    ),
}


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of what is in a file. Statements are separated by semicolons.

    Parameters
    ----------
    made_by : str
        What makes it of the version before.
    stood_in_by : str
        What makes a file of the version before, which may not be written, look like it: temporary
        tables and views, for one connection alone.
    """

    made_by: str
    stood_in_by: str = ""


class DatabaseFile:
    """The file ``path``, which is created when it is not there, and brought up to date when it is old.

    Parameters
    ----------
    path : path-like
        The file; its folder must exist.
    schemas : sequence of Schema
        What makes version 1, what leads from version 1 to version 2, and so on. A file of a version
        beyond these is refused.
    timeout : float
        Seconds to wait for another program that keeps the file locked.

    Attributes
    ----------
    path : str
        Absolute, as the user wrote it.
    real : str
        Where it is, links followed: other files beside it are there.
    read_only : str
        What may not be written to, the file or its folder; ``''`` when both may.
    """

    def __init__(self, path: str | os.PathLike[str], schemas: Sequence[Schema], timeout: float) -> None:
        self.path = os.path.abspath(path)
        self.real = self._file = os.path.realpath(
            self.path
        )  # SQLite puts its -wal beside what a link points to
        self._timeout = timeout
        self._pid = os.getpid()
        self._schemas = schemas
        self._lacking = 0  # versions that a file which cannot be written is behind
        complete = self._is_complete()
        self.read_only = ""
        for place in (os.path.dirname(self._file), self._file):
            if os.path.exists(place) and not os.access(place, os.W_OK, effective_ids=_EFFECTIVE):
                self.read_only = place
        with self.errors():
            if not complete:
                self._create()
                if not self._is_complete():  # a -wal that a power cut had left was in the way; it is gone now
                    self._create()
            db = self.connect()
            try:
                self._lacking = len(schemas) - self._version(db)
                if self._lacking and not self.read_only:
                    self._bring_up_to_date(db)
                    self._lacking = 0
            finally:
                db.close()
        self._inode = self.identity()[0]

    def _is_complete(self) -> bool:
        """Whether a store is there (else it is to be created); an error for anything else.

        This looks at the bytes, because SQLite may change a file by merely opening it. What it
        says of creation is only a hint: ``_create`` looks again, under a lock.
        """
        folder = os.path.dirname(self._file)
        if not os.path.isdir(folder):
            self._refuse(f"its folder {folder} does not exist", "Create the folder first")
        try:
            mode = os.stat(self._file).st_mode
            if stat.S_ISDIR(mode):
                self._refuse("it is a folder, not a file", "Give the name of a file")
            if not stat.S_ISREG(mode):
                self._refuse("it is not a regular file", "Give the name of a file on a disk")
            header, size = self._header()
        except FileNotFoundError:
            return False
        except OSError as error:
            self._refuse(f"it cannot be read ({error.strerror})", "Get the right to read it", error)
        if not size or (not any(header) and self._is_half_made()):
            return False
        if header[:16] != b"SQLite format 3\0"[: len(header)]:
            self._refuse("it is not a SQLite database", _LEFT)
        if len(header) < 100:
            self._refuse(f"it was cut off after {size} bytes", _DAMAGED)
        if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
            self._refuse(_FOREIGN, _LEFT)
        page, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
        expected = pages * (65536 if page == 1 else page)
        if size < expected and not (self._size("-wal") or self._size("-journal")):  # which would complete it
            self._refuse(f"it was cut off: {size} of {expected} bytes are there", _DAMAGED)
        # what was killed while it created the store left a journal, or not yet WAL mode (2)
        return header[18] == 2 and not self._size("-journal")

    def _header(self) -> tuple[bytes, int]:
        """The first bytes of the file, and its size.

        To close any descriptor of a file gives up all locks that this process has on it. So where
        there is one already, of a farm that writes, this reads through that one.
        """
        status = os.stat(self._file)
        try:
            descriptors = [int(name) for name in os.listdir("/dev/fd")]
        except OSError:
            descriptors = []
        for descriptor in descriptors:
            try:
                if os.path.samestat(os.fstat(descriptor), status):
                    return os.pread(descriptor, 100, 0), os.stat(self._file).st_size
            except OSError:
                pass  # it was closed meanwhile, or it is for writing only
        with open(self._file, "rb") as file:
            return file.read(100), os.stat(self._file).st_size

    def _is_half_made(self) -> bool:
        """Whether there is a journal that says that the file was empty.

        It was being created when the power failed: SQLite will empty it again.
        """
        try:
            with open(self._file + "-journal", "rb") as file:
                journal = file.read(20)
        except OSError:
            return False
        return journal[:8] == _JOURNAL and journal[16:] == bytes(4)

    def _create(self) -> None:
        """Make an empty store in one transaction; of several processes, one does it."""
        self.refuse_read_only()
        if self._appear():
            return
        db = self._connect("mode=rwc")
        try:
            self._bring_up_to_date(db)
            if self.execute(db, "PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                self._refuse(*_UNSHARED)
        finally:
            db.close()

    def _appear(self) -> bool:
        """Write an empty store into a file that has no name yet, and give it ours; False if that cannot be.

        So there is a whole store or none, and the disk is waited for twice; SQLite, which would write
        the file where it is, has to wait for it eight times.
        """
        if any(map(os.path.lexists, [self._file, self._file + "-wal", self._file + "-journal"])):
            return False  # SQLite knows what to do with these
        try:
            with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
                self._bring_up_to_date(db)
                image = bytearray(db.serialize())
            image[18:20] = b"\2\2"  # WAL mode
            place, name = os.path.split(self._file)
            with contextlib.ExitStack() as opened:
                folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
                opened.callback(os.close, folder)
                with open(os.open(place, os.O_TMPFILE | os.O_WRONLY, 0o644), "wb", 0) as file:
                    file.write(image)
                    os.fsync(file.fileno())
                    # closing this one gives up no locks that somebody may have by then; see _header
                    nameless = os.open(f"/proc/self/fd/{file.fileno()}", os.O_PATH)
                    opened.callback(os.close, nameless)
                os.link(f"/proc/self/fd/{nameless}", name, dst_dir_fd=folder)
                os.fsync(folder)
        except (AttributeError, OSError):  # not every system and file system can do this
            return False
        return True

    def _bring_up_to_date(self, db: sqlite3.Connection) -> None:
        """Create what is missing, in one transaction; somebody else may have done it meanwhile."""
        self.execute(db, "PRAGMA synchronous = FULL")  # whatever this SQLite does on its own
        self.execute(db, "BEGIN IMMEDIATE")
        version = 0
        if db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            version = self._version(db)
        for schema in self._schemas[version:]:
            for statement in _statements(schema.made_by):
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(self._schemas)}")
        db.execute("COMMIT")

    def _version(self, db: sqlite3.Connection) -> int:
        """The version of a file, which must be ours and not too new."""
        if self.execute(db, "PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            self._refuse(_FOREIGN, _LEFT)
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        known = len(self._schemas)
        if version > known:
            problem = f"a newer farmhand made it (format {version}; this one knows format {known})"
            self._refuse(problem, "Upgrade farmhand-sqlite")
        return version

    # -- connections -------------------------------------------------------------------------------

    def connect(self) -> sqlite3.Connection:
        """A new connection, which may only read when the file is read-only."""
        if not self.read_only:
            return self._connect("mode=rw")
        db = self._connect_to_read()
        for schema in self._schemas[len(self._schemas) - self._lacking :]:
            for statement in _statements(schema.stood_in_by):
                db.execute(statement)
        return db

    def _connect_to_read(self) -> sqlite3.Connection:
        db = self._connect("mode=ro")
        try:
            self.execute(db, "SELECT count(*) FROM sqlite_schema")
            return db
        except sqlite3.OperationalError as error:
            db.close()
            if _code(error) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
            if self._size("-wal"):
                problem = (
                    f"{self.read_only} is read-only, and a part of the results is still in the -wal file"
                )
                self._refuse(problem, "Copy both files to a folder that you may write to", error)
        # SQLite wanted to put a -shm file beside it, which is needed only while somebody writes
        return self._connect("immutable=1")

    def _connect(self, options: str) -> sqlite3.Connection:
        # Descriptors 0-2 may be closed: SQLite itself never puts a database on one of them.
        return sqlite3.connect(
            f"{_uri(self._file)}?{options}",
            timeout=min(SLICE, self._timeout),
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )

    def execute(self, db: sqlite3.Connection, statement: str) -> sqlite3.Cursor:
        """Execute ``statement``, waiting for other programs; Ctrl-C can interrupt the wait."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return db.execute(statement)
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise

    # -- what may go wrong -------------------------------------------------------------------------

    def is_ours(self) -> bool:
        """Whether this process opened the file, and is no forked child."""
        return os.getpid() == self._pid

    def refuse_fork(self) -> None:
        """Raise in a forked child: it has copies of connections whose locks are its parent's."""
        if not self.is_ours():
            problem = (
                f"it was opened by process {self._pid}; the copy in process {os.getpid()} cannot be used"
            )
            self._refuse(problem, "Open the store in the process that uses it")

    def refuse_read_only(self) -> None:
        """Raise when the file cannot be written."""
        if self.read_only:
            it = "it" if self.read_only == self._file else self.read_only
            self._refuse(f"{it} is read-only", _RIGHTS)

    def refuse_loss(self, identity: tuple[tuple[int, int] | None, ...]) -> None:
        """Raise when the files at our paths are not those of ``identity``: ours take data for nobody."""
        if identity != self.identity() or identity[0] != self._inode or None in identity:
            problem = "the file, or its -wal beside it, was deleted, moved or replaced while it was in use"
            self._refuse(problem, "What was stored in it went with it; run again")

    def refuse_repetition(self) -> NoReturn:
        """Raise because something is to be recorded that is there already."""
        self._refuse(*_PROBLEMS[sqlite3.SQLITE_CONSTRAINT])

    def refuse_damage(self, problem: str) -> NoReturn:
        """Raise because of something that no farmhand writes, and that SQLite does not mind."""
        self._refuse(f"it is damaged: {problem}", _DAMAGED)

    def identity(self) -> tuple[tuple[int, int] | None, ...]:
        """What tells the file and its -wal from other files at the same paths."""
        found: list[tuple[int, int] | None] = []
        for name in (self._file, self._file + "-wal"):
            try:
                status = os.stat(name)
                found.append((status.st_dev, status.st_ino))
            except OSError:
                found.append(None)
        return tuple(found)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what SQLite raises into a ``StoreError``."""
        try:
            yield
        except (sqlite3.Error, OverflowError) as error:
            self.explain(error)

    def explain(self, error: Exception) -> NoReturn:
        """Raise ``error`` as a ``StoreError``."""
        code = _code(error)
        problem, advice = _PROBLEMS.get(_extended(error)) or _PROBLEMS.get(code, ("SQLite refused", ""))
        if code == sqlite3.SQLITE_BUSY and not self._can_lock():
            problem, advice = _UNSHARED
        self._refuse(f"{problem.format(timeout=self._timeout)} ({error})", advice, error)

    def _can_lock(self) -> bool:
        """Whether files in our folder can be locked at all; if not, SQLite believes that others lock them."""
        import fcntl
        import tempfile

        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(tempfile.TemporaryFile(dir=os.path.dirname(self._file)))
            except OSError:
                return True  # as far as anybody knows
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
        return True

    def _refuse(self, problem: str, advice: str, cause: Exception | None = None) -> NoReturn:
        raise StoreError(self.path, problem, advice) from cause

    def _size(self, ending: str) -> int:
        try:
            return os.stat(self._file + ending).st_size
        except OSError:
            return 0


def _uri(path: str) -> str:
    """As ``Path.as_uri``, which imports half of the standard library: as SQLite reads it."""
    for sign, code in (("%", "%25"), ("?", "%3f"), ("#", "%23")):
        path = path.replace(sign, code)
    return f"file://{path}" if os.sep == "/" else "file:///" + path.replace(os.sep, "/")


def _statements(schema: str) -> list[str]:
    return [statement for part in schema.split(";") if (statement := part.strip())]


def _code(error: Exception) -> int:
    """SQLite's primary error code; 0 for an error of the module around it."""
    return _extended(error) & 0xFF


def _extended(error: Exception) -> int:
    """SQLite's error code with the details in the upper bits."""
    if isinstance(error, OverflowError):  # more bytes than a C int can count
        return sqlite3.SQLITE_TOOBIG
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code
