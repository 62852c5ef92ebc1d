"""The format of ``dbm.dumb``, read and written without its faults.

A session ``x`` is ``x.dat``, with all values, and ``x.dir``, with a line for each key:
``'key', (place, length)``; of two lines for one key, the last one counts. ``x.bak`` is an older ``x.dir``.
Every Python can read this, Python 2 included.

``dbm.dumb`` itself writes its whole index anew when it is closed: what was set before is lost in a crash,
and with an opening for each value the time grows with the square of their number. Here a value is appended
to the one file and its line to the other, in this order. So a crash leaves at most a torn last line, which is
passed over, and cut off before the next is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from farmhand.errors import StoreError, UsageError

__all__ = ["Appender", "Index", "as_bytes", "as_text", "line_of", "rewrite_index"]

_BLOCK = 512  # bytes: dbm.dumb overwrites a value in place as long as it has no more of these
_DAMAGED = "Get it from a backup, or move its files away"


def line_of(key: bytes, place: int, length: int) -> str:
    """The line of a key in an index."""
    return f"{key.decode('latin-1')!r}, ({place}, {length})\n"


def as_text(key: bytes) -> str:
    """A key as a str, as :mod:`shelve` does it; Python 2 may have written keys that are no UTF-8."""
    return key.decode("utf-8", "surrogateescape")


def as_bytes(key: str) -> bytes:
    """Undo :func:`as_text`; UsageError for a text that cannot be a key."""
    try:
        return key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise UsageError(f"{key!r} cannot be a key of a session: it is no valid Unicode") from error


class Index:
    """Where the values of a session are; reading it writes nothing.

    Parameters
    ----------
    base : str
        The path of the session, without an ending.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.entries: dict[str, tuple[int, int]] = {}
        self.torn = 0  # bytes of a last line that is not whole
        self._seen: tuple[int, ...] = ()
        self._parsed = 0  # bytes,
        self._end = b""  # of which these are the last

    def refresh(self) -> bool:
        """Read what has changed; False when there is no such session."""
        try:
            with open(self.base + ".dir", "rb") as file:
                status = os.fstat(file.fileno())
                seen = status.st_ino, status.st_size, status.st_mtime_ns
                if seen == self._seen:
                    return True
                file.seek(max(0, self._parsed - len(self._end)))
                if seen[:1] != self._seen[:1] or file.read(len(self._end)) != self._end:
                    self.entries, self._parsed = {}, 0  # these are no lines that were added
                file.seek(self._parsed)
                self._parse(file.read())
        except FileNotFoundError:
            self._seen, self.entries, self._parsed = (), {}, 0
            return self._read_older()
        except OSError as error:
            advice = "Get the right to read it"
            raise StoreError(self.base + ".dir", f"it cannot be read ({error.strerror})", advice) from error
        self._seen = seen
        if self.torn:  # dbm.dumb may have been killed while it wrote all lines anew
            newer = dict(self.entries)
            if self._read_older(complain=False):
                self.entries.update(newer)
                self._seen, self._parsed = (), 0
        return True

    def _read_older(self, complain: bool = True) -> bool:
        """The index as it was before ``dbm.dumb`` was killed while it replaced it."""
        try:
            with open(self.base + ".bak", "rb") as file:
                self.entries = {}
                self._parse(file.read(), ".bak")
        except FileNotFoundError:
            try:
                size = os.stat(self.base + ".dat").st_size
            except FileNotFoundError:
                return False
            if size and complain:
                problem = "its index (.dir) is missing; without it nobody knows which value is which"
                raise StoreError(self.base + ".dat", problem, _DAMAGED) from None
            return complain
        except OSError as error:
            advice = "Get the right to read it"
            raise StoreError(self.base + ".bak", f"it cannot be read ({error.strerror})", advice) from error
        return True

    def _parse(self, data: bytes, ending: str = ".dir") -> None:
        lines = data.split(b"\n")
        if ending == ".dir":
            self.torn = len(lines[-1])
            whole = data[: len(data) - self.torn]
            self._parsed += len(whole)
            self._end = whole[-_BLOCK:] or self._end
        for line in lines[:-1]:
            if line.strip():
                try:
                    key, place = _entry(line.decode("latin-1"))
                except (ValueError, SyntaxError):
                    path = self.base + ending
                    problem = f"it is damaged: {line[:80]!r} is no line of an index"
                    raise StoreError(path, problem, _DAMAGED) from None
                self.entries[as_text(key)] = place

    def read(self, key: str, file: int | None = None) -> bytes:
        """A value; KeyError when it is not there."""
        place, length = self.entries[key]
        path = self.base + ".dat"
        try:
            if file is None:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    data = os.pread(descriptor, length, place)
                finally:
                    os.close(descriptor)
            else:
                data = os.pread(file, length, place)
        except OSError as error:
            problem = f"the value of {key!r} cannot be read ({error.strerror})"
            raise StoreError(path, problem, _DAMAGED) from error
        if len(data) < length:
            raise StoreError(path, f"it was cut off: the value of {key!r} is missing", _DAMAGED)
        return data

    def pairs(self) -> Iterator[tuple[str, bytes]]:
        """Keys and values."""
        if self.entries:
            try:
                file = os.open(self.base + ".dat", os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                problem = f"it cannot be read ({error.strerror})"
                raise StoreError(self.base + ".dat", problem, _DAMAGED) from error
            try:
                for key in list(self.entries):
                    yield key, self.read(key, file)
            finally:
                os.close(file)


def _entry(line: str) -> tuple[bytes, tuple[int, int]]:
    text, comma, places = line.rstrip().rpartition(", (")
    place, _, length = places.rstrip(")").partition(", ")
    if text[:1] == "'" == text[-1:] and "\\" not in text and "'" not in text[1:-1]:
        key = text[1:-1]
    else:
        import ast

        key = ast.literal_eval(text)
        if isinstance(key, bytes):
            return key, (_number(place), _number(length))
    if not comma or not isinstance(key, str):
        raise ValueError(line)
    return key.encode("latin-1"), (_number(place), _number(length))


def _number(text: str) -> int:
    number = int(text.removesuffix("L"))  # as Python 2 wrote it on some systems
    if number < 0:
        raise ValueError(text)
    return number


class Appender:
    """Adds values to a session.

    Parameters
    ----------
    base : str
        The path of the session, without an ending.
    aligned : bool
        Let each value begin where ``dbm.dumb`` would put it, so that it may change values, too.
    """

    def __init__(self, base: str, aligned: bool) -> None:
        self._aligned = aligned
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        # in this order: who sees values knows that there is an index
        self._index = os.open(base + ".dir", flags, 0o666)
        try:
            self._data = os.open(base + ".dat", flags, 0o666)
        except BaseException:
            os.close(self._index)
            raise

    def append(self, pairs: Iterable[tuple[bytes, bytes]], sync: bool = False) -> None:
        """Add pairs of key and value."""
        place = os.fstat(self._data).st_size
        values, lines, start = [], [], place
        for key, value in pairs:
            if self._aligned:
                gap = -place % _BLOCK
                values.append(bytes(gap))
                place += gap
            values.append(value)
            lines.append(line_of(key, place, len(value)))
            place += len(value)
        self._write(start, values, lines, sync)

    def append_results(self, prefix: bytes, indices: range, values: Sequence[bytes]) -> None:
        """Add values whose keys are ``prefix-index``: as :meth:`append`, in a third of the time."""
        start, sizes = os.fstat(self._data).st_size, list(map(len, values))
        key = repr(f"{prefix.decode('latin-1')}-")
        head, quote = key[:-1], key[-1]
        where = zip(indices, accumulate(sizes, initial=start), sizes)  # noqa: B905 - one place more
        lines = [f"{head}{index}{quote}, ({place}, {size})\n" for index, place, size in where]
        self._write(start, values, lines, sync=False)

    def _write(self, start: int, values: Iterable[bytes], lines: Iterable[str], sync: bool) -> None:
        write_all(self._data, b"".join(values), start)
        if sync:
            os.fsync(self._data)
        write_all(self._index, "".join(lines).encode("latin-1"), os.fstat(self._index).st_size)
        if sync:
            os.fsync(self._index)

    def sync(self) -> None:
        """Have all that was added on disk."""
        os.fsync(self._data)
        os.fsync(self._index)

    def close(self) -> None:
        """Release the files."""
        os.close(self._data)
        os.close(self._index)


def write_all(descriptor: int, data: bytes, place: int) -> None:
    """Write all of ``data`` at a place of a file."""
    view = memoryview(data)
    while len(view):
        written = os.pwrite(descriptor, view, place)
        view = view[written:]
        place += written


def rewrite_index(
    base: str, entries: Iterable[tuple[bytes, tuple[int, int]]], temporary: str, sync: bool
) -> None:
    """Replace an index at once, without the older one that ``dbm.dumb`` may have left."""
    lines = "".join(line_of(key, *where) for key, where in entries)
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        write_all(file, lines.encode("latin-1"), 0)
        if sync:
            os.fsync(file)
    finally:
        os.close(file)
    os.rename(temporary, base + ".dir")
    try:
        os.unlink(base + ".bak")
    except FileNotFoundError:
        pass
