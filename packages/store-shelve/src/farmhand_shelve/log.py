"""The log of a run: one file to which each turn is appended, with checksums, and synced.

A file begins with ``MAGIC``. Behind it come frames: a header, a description in JSON, and data to which
the description refers by length. The first frame says which run this is; others are turns, what was
forgotten, and how the run ended. A frame counts when it is whole. Each is synced before the next is
written, so that only the last one can be torn by a crash or a power cut; it is passed over, and
overwritten by the next. A broken frame in front of a whole one is damage, and an error.

The checksum of a header covers its place in the file, so that a value which happens to contain a copy
of a log is not taken for frames.

Any program may read the descriptions; nothing here is unpickled. See ``Frame`` and ``contents.py``.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from zlib import crc32

from farmhand.errors import StoreError
from farmhand.locks import locked
from farmhand.stdlib import Struct
from farmhand.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Identity: TypeAlias = tuple[int, int, int, bytes]  # device, number, a place, and the header there

__all__ = [
    "BEGIN",
    "DAMAGED",
    "END",
    "FORGET",
    "MAGIC",
    "TURN",
    "Frame",
    "LogWriter",
    "broken_data",
    "encode",
    "identify",
    "open_log",
    "read_exactly",
    "scan",
    "write_problem",
]

MAGIC = b"farmhand run 1\n\n"
_FAMILY = b"farmhand run "
_MARK = b"\xf0FRM"
# mark, kind, number, lengths of description and data, done, failed, retried, checksums of description
# and data; then the checksum of these and of the place
_FIELDS = Struct("<4s4sQQQqqqII")
_CHECK = Struct("<I")
_PLACE = Struct("<Q")
_HEADER = _FIELDS.size + _CHECK.size
_AT_ONCE = 1 << 14  # bytes: headers and descriptions are read together with what comes behind
_CHUNK = 1 << 22

BEGIN, TURN, FORGET, END = b"BEGI", b"TURN", b"FORG", b"END "

DAMAGED = "Get it from a backup, or move it away: the other runs are not affected"
_FULL = "the disk is full; all that was stored before is intact", "Make room, then run again with resume=True"
_WRITE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: (
        "the disk quota is used up; all that was stored before is intact",
        "Make room, then run again with resume=True",
    ),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it is in a file.

    Parameters
    ----------
    kind : bytes
        ``BEGIN``, ``TURN``, ``FORGET`` or ``END``.
    number : int
        Ascending within a file, also when others in between were taken out.
    text : bytes
        The description, in JSON.
    data, length : int
        Where the data begins in the file, and its bytes.
    counts : tuple of int
        By how much the numbers of done and failed items and of earlier attempts grow.
    stop : int
        Where the next frame begins.
    """

    kind: bytes
    number: int
    text: bytes
    data: int
    length: int
    counts: tuple[int, int, int]
    stop: int

    @property
    def about(self) -> dict[str, Any]:
        """The description."""
        import json

        found: dict[str, Any] = json.loads(self.text)
        return found


def encode(
    place: int, kind: bytes, number: int, about: dict[str, Any], data: Sequence[bytes], counts: Sequence[int]
) -> list[bytes]:
    """A frame, in pieces, for a place in a file."""
    import json

    text = json.dumps(about, separators=(",", ":")).encode("ascii")
    length = checksum = 0
    for piece in data:
        length += len(piece)
        checksum = crc32(piece, checksum)
    fields = _FIELDS.pack(_MARK, kind, number, len(text), length, *counts, crc32(text), checksum)
    return [fields + _CHECK.pack(crc32(_PLACE.pack(place), crc32(fields))) + text, *data]


def open_log(path: str) -> int | None:
    """A descriptor for reading; None when there is no such file.

    Raises
    ------
    StoreError
        It cannot be read, is something else, or of a newer farmhand.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(path, f"it cannot be read ({error.strerror})", "Get the right to read it") from error
    try:
        check_magic(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_magic(descriptor: int, path: str) -> None:
    """Raise for a file that is no log, or of a newer farmhand; one that was not written yet is none."""
    try:
        magic = os.pread(descriptor, len(MAGIC), 0)
    except OSError as error:
        raise StoreError(path, f"it cannot be read ({error.strerror})", "Give the name of a store") from error
    if magic == MAGIC[: len(magic)] or not any(magic):
        return
    version = magic[len(_FAMILY) :].strip()
    if magic.startswith(_FAMILY) and version.isdigit() and int(version) > 1:
        problem = f"a newer farmhand wrote it (format {int(version)}; this one knows format 1)"
        raise StoreError(path, problem, "Upgrade farmhand-shelve")
    raise StoreError(path, "it is damaged: its beginning is not that of a run", DAMAGED)


def identify(descriptor: int, place: int) -> Identity:
    """What tells a log from others at its path: it is the same as long as this frame is there.

    The number of the file alone would not do: a file that is deleted leaves it to the next one.
    """
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, place, os.pread(descriptor, _HEADER, place)


def scan(descriptor: int, path: str, start: int = 0) -> Iterator[Frame]:
    """The frames from a place on, up to the last whole one.

    Raises
    ------
    StoreError
        A frame is broken, and another one behind it is not.
    """
    size = os.fstat(descriptor).st_size
    if not start and size <= len(MAGIC):
        return
    start = start or len(MAGIC)
    window, base = b"", start
    while start < size:
        if start < base or start + _HEADER > base + len(window):
            window, base = os.pread(descriptor, _AT_ONCE, start), start
        header = _parse(window[start - base : start - base + _HEADER], start)
        frame = None
        if header is not None:
            text_stop = start + _HEADER + header[2]
            if text_stop + header[3] <= size:
                if text_stop > base + len(window):
                    window, base = os.pread(descriptor, max(_AT_ONCE, _HEADER + header[2]), start), start
                text = window[start + _HEADER - base : text_stop - base]
                frame = _frame(header, text, text_stop)
        if frame is not None and frame.stop == size and not _is_whole(descriptor, frame, header):
            frame = None
        if frame is None:
            _refuse_damage(descriptor, path, start, size)
            return
        yield frame
        start = frame.stop


def _parse(data: bytes, place: int) -> tuple[Any, ...] | None:
    """Kind, number, lengths, counts and checksums; None when that is no header for this place."""
    if len(data) < _HEADER or data[:4] != _MARK:
        return None
    fields = data[: _FIELDS.size]
    if _CHECK.unpack_from(data, _FIELDS.size)[0] != crc32(_PLACE.pack(place), crc32(fields)):
        return None
    return _FIELDS.unpack(fields)[1:]


def _frame(header: tuple[Any, ...], text: bytes, data: int) -> Frame | None:
    kind, number, length, more, done, failed, retried, checksum, _ = header
    if len(text) != length or crc32(text) != checksum:
        return None
    return Frame(kind, number, text, data, more, (done, failed, retried), data + more)


def _is_whole(descriptor: int, frame: Frame, header: Any) -> bool:
    """Whether the data of a frame is as it was written, too."""
    checksum, place = 0, frame.data
    while place < frame.stop:
        chunk = os.pread(descriptor, min(_CHUNK, frame.stop - place), place)
        if not chunk:
            return False
        checksum = crc32(chunk, checksum)
        place += len(chunk)
    return bool(checksum == header[8])


def _refuse_damage(descriptor: int, path: str, start: int, size: int) -> None:
    """Raise if there is a whole frame behind a broken one; else it is the last, which may be torn."""
    place = start + 1
    while place < size:
        # not beyond the size as it was: a run goes on writing
        window = os.pread(descriptor, min(_CHUNK, size - place), place)
        if not window:
            return
        found = window.find(_MARK)
        while found >= 0:
            data = window[found : found + _HEADER]
            if len(data) < _HEADER <= size - place - found:
                data = os.pread(descriptor, _HEADER, place + found)
            if _parse(data, place + found) is not None:
                raise StoreError(path, f"it is damaged from byte {start} on", DAMAGED)
            found = window.find(_MARK, found + 1)
        place += max(1, len(window) - len(_MARK) + 1)


def broken_data(descriptor: int, path: str, torn: bool) -> Iterator[str]:
    """What is wrong with the data of frames, in words: reads all of it.

    ``torn``: say also what a killed process has left behind the last whole frame.
    """
    start = len(MAGIC)
    for frame in scan(descriptor, path):
        header = _parse(os.pread(descriptor, _HEADER, start), start)
        if header is None or not _is_whole(descriptor, frame, header):
            yield f"{path} is damaged between byte {frame.data} and byte {frame.stop}"
        start = frame.stop
    size = os.fstat(descriptor).st_size
    if torn and start < size and size > len(MAGIC):
        yield f"{path} ends with {size - start} bytes of a turn that was never stored"


def read_exactly(descriptor: int, path: str, place: int, length: int) -> bytes:
    """Bytes that must be there."""
    try:
        data = os.pread(descriptor, length, place)
    except OSError as error:
        raise StoreError(path, f"it cannot be read ({error.strerror})", "Check the disk") from error
    if len(data) < length:  # one call reads 2 GB at most
        pieces = [data]
        while place + sum(map(len, pieces)) < place + length and pieces[-1]:
            done = sum(map(len, pieces))
            pieces.append(os.pread(descriptor, length - done, place + done))
        data = b"".join(pieces)
        if len(data) < length:
            raise StoreError(path, f"it was cut off: byte {place + length} is missing", DAMAGED)
    return data


class LogWriter:
    """Appends frames to the log of a run.

    Parameters
    ----------
    path : str
        The file.
    timeout : float
        Seconds to wait for another process that writes to it.
    sync : bool
        Whether a frame must survive a power cut.
    create : bool
        Make the file, if it is not there.

    Raises
    ------
    StoreError
        It cannot be opened or made.
    """

    def __init__(self, path: str, timeout: float, sync: bool, create: bool = False) -> None:
        self.path = path
        self._timeout = timeout
        self._sync = sync
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        try:
            self._descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            problem, advice = write_problem(error)
            raise StoreError(path, problem, advice) from error
        self._pid = os.getpid()
        self._identity = self._here()
        self.stop = 0  # behind the last frame that is known
        self.number = 0
        try:
            check_magic(self._descriptor, path)
        except BaseException:
            os.close(self._descriptor)
            raise

    def _here(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino

    def catch_up(self) -> Iterator[Frame]:
        """Frames that are not known yet, of others; only within :meth:`exclusively`."""
        for frame in scan(self._descriptor, self.path, self.stop):
            self.stop, self.number = frame.stop, frame.number
            yield frame

    def exclusively(self) -> Any:
        """A context in which no other process writes."""
        self.refuse_fork()
        return locked(self._descriptor, self.path, self._timeout)

    def append(
        self,
        kind: bytes,
        about: dict[str, Any],
        data: Sequence[bytes] = (),
        counts: Sequence[int] = (0, 0, 0),
    ) -> None:
        """Write one frame, durable when this returns; within :meth:`exclusively`, having caught up.

        Raises
        ------
        StoreError
            Nothing was stored.
        """
        place = self.stop or len(MAGIC)
        pieces = encode(place, kind, self.number + 1, about, data, counts)
        if not self.stop:
            pieces.insert(0, MAGIC)
        begin = place if self.stop else 0
        try:
            if os.fstat(self._descriptor).st_size > begin:  # a torn frame of somebody who was killed
                os.ftruncate(self._descriptor, begin)
            self.refuse_loss()
            end = self._write(pieces, begin)
            if self._sync:
                os.fdatasync(self._descriptor) if hasattr(os, "fdatasync") else os.fsync(self._descriptor)
        except BaseException as error:
            try:
                os.ftruncate(self._descriptor, begin)
            except OSError:
                pass  # it is torn, then, and the next one overwrites it
            if isinstance(error, OSError):
                problem, advice = write_problem(error)
                raise StoreError(self.path, problem, advice) from error
            raise
        self.refuse_loss()  # what went to a deleted file is not called stored
        self.stop, self.number = end, self.number + 1

    def put(
        self, kind: bytes, number: int, about: dict[str, Any], data: Sequence[bytes], counts: Sequence[int]
    ) -> None:
        """Write one frame of another log into a file that nobody else has yet; not synced."""
        place = self.stop or len(MAGIC)
        pieces = encode(place, kind, number, about, data, counts)
        self.stop = self._write([b"" if self.stop else MAGIC, *pieces], self.stop)
        self.number = number

    def sync(self) -> None:
        """Have all that was put on disk."""
        if self._sync:
            os.fsync(self._descriptor)

    def _write(self, pieces: list[bytes], place: int) -> int:
        if len(pieces) > 1 and sum(map(len, pieces)) < _CHUNK:
            pieces = [b"".join(pieces)]
        for piece in pieces:
            view = memoryview(piece)
            while len(view):
                written = os.pwrite(self._descriptor, view, place)
                view = view[written:]
                place += written
        return place

    def refuse_loss(self) -> None:
        """Raise when the file at our path is another one, or none."""
        try:
            status = os.stat(self.path)
            there = (status.st_dev, status.st_ino) == self._identity
        except OSError:
            there = False
        if not there:
            problem = "it was deleted, moved or replaced while it was in use"
            raise StoreError(self.path, problem, "What was stored in it went with it; run again")

    def refuse_fork(self) -> None:
        """Raise in a forked child, whose descriptor shares its lock with its parent's."""
        if os.getpid() != self._pid:
            problem = f"process {self._pid} writes to it; the copy in process {os.getpid()} cannot"
            raise StoreError(self.path, problem, "Open the store in the process that uses it")

    def close(self) -> None:
        """Release the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def write_problem(error: OSError) -> tuple[str, str]:
    """What to say of an error while writing: problem and advice."""
    if error.errno in _WRITE:
        return _WRITE[error.errno]
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "it is read-only", "Get the right to write there, or copy the store to another folder"
    if error.errno == errno.ENOENT:
        return "it, or its folder, was deleted or moved", "Open the store where it is"
    return (
        f"the disk refuses to write ({error.strerror}); all that was stored before is intact",
        "Check its quota, its free space and its health, then run again with resume=True",
    )
