"""Large results: the worker writes each into a file of its own, and sends only what to find there.

So they never pass the farm. A file has a short header, the pickle, and behind it the large parts of
the value (the data of numpy arrays, for example), which the pickle leaves out (PEP 574). Each of them
begins at a multiple of 64 bytes, so that it can be used where it is, mapped into memory; reading is the
business of ``files.py``.

A file is written under a temporary name, synced, and renamed; then its folder is synced. Only after
that is the result sent, so that a record never names a file that a power cut could take away.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from farmhand import codec
from farmhand.stdlib import Struct, pickle_dumps
from farmhand.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pickle import PickleBuffer

__all__ = ["MAGIC", "MARK", "THRESHOLD", "Reference", "Spool", "parse_header", "sync_folder"]

_CHUNK = 1 << 20  # bytes
THRESHOLD = 1 << 20  # bytes; larger results go to files
APART = 1 << 16  # bytes; smaller parts of a value stay within its pickle
MAGIC = b"farmhand"
MARK = "writing"  # a file beside those of a run: there may be some that no record names
_ALIGNMENT = 64  # bytes
_VERSION = 1
_HEADER = Struct("<8sIIQ")  # magic, version, number of parts, length of the pickle
_PLACE = Struct("<QQ")  # of each part: where it begins, and its length


@dataclass(frozen=True, slots=True)
class Reference:
    """What stands for a result that is in a file.

    Parameters
    ----------
    name : str
        The name of the file, in the folder of its run: the item's index, and something that makes it
        unique.
    size : int
        Its bytes.
    checksum : int
        Their CRC-32.
    """

    name: str
    size: int
    checksum: int

    @classmethod
    def parse(cls, data: bytes) -> Reference | None:
        """What :meth:`encode` made; None for anything else, in particular for a result itself."""
        if data[:1] != codec.REFERENCE:
            return None
        try:
            version, size, checksum, name = data[1:].decode("ascii").split(" ")
            reference = cls(name, int(size), int(checksum, 16))
        except ValueError:
            return None
        index, dash, unique = name.partition("-")
        # nothing of it may lead out of the folder, whoever wrote it
        good = version == "1" and dash and index.isdecimal() and unique.isalnum() and len(name) < 100
        return reference if good else None

    def encode(self) -> bytes:
        """As it travels and is stored in place of the result."""
        return codec.REFERENCE + f"1 {self.size} {self.checksum:08x} {self.name}".encode()

    @property
    def index(self) -> int:
        """The item whose result it is."""
        return int(self.name.partition("-")[0])


class Spool:
    """Where a process of a run puts large results.

    Parameters
    ----------
    folder : str
        The run's; made with the first file.
    threshold : int
        Bytes above which a result goes to a file.
    sync : bool
        Whether a file must survive a power cut before it is named.
    """

    def __init__(self, folder: str, threshold: int = THRESHOLD, sync: bool = True) -> None:
        self.folder = folder
        self.threshold = threshold
        self.sync = sync
        self._parts: list[memoryview] = []  # of the value that is being pickled
        self._stays = self._take_apart  # one for all values
        self._mode = 0  # the rights of files, once the folder is known to be there

    def encode(self, index: int, value: object) -> bytes:
        """As :func:`farmhand.codec.encode_result`; of a large value, a reference to the file that has it.

        Where no such file can be written (the disk is full, or this computer does not have that folder),
        the value itself: the store will say what is wrong, or keep it in another way.
        """
        self._parts.clear()  # of a value for which the process was to exit
        try:
            data = pickle_dumps(value, codec.PROTOCOL, buffer_callback=self._stays)
        except Exception:
            self._parts.clear()
            return self._put_if_large(index, codec.encode_result(value))
        if not self._parts:
            if codec.names_a_class(data):
                codec.prove(value, data)
            return data if len(data) <= self.threshold else self._put_if_large(index, data)
        parts = self._parts[:]
        self._parts.clear()
        if len(data) + sum(part.nbytes for part in parts) <= self.threshold:
            return codec.encode_result(value)
        codec.prove(value, data, parts)
        try:
            return self.put(index, data, parts).encode()
        except OSError:
            return codec.encode(value)

    def _take_apart(self, buffer: PickleBuffer) -> bool:
        """Whether a part of a value stays within its pickle; if not, it is kept for the file."""
        try:
            part = buffer.raw()
        except BufferError:
            return True
        if part.nbytes < APART:
            return True
        self._parts.append(part)
        return False

    def _put_if_large(self, index: int, data: bytes) -> bytes:
        if len(data) > self.threshold:
            try:
                return self.put(index, data).encode()
            except OSError:
                pass
        return data

    def put(self, index: int, data: bytes, parts: Sequence[memoryview] = ()) -> Reference:
        """Write a pickle, and what it has left out, into a new file.

        Raises
        ------
        OSError
            It could not be written; nothing of it is left.
        """
        name = f"{index}-{os.urandom(6).hex()}"
        pieces = _pieces(data, parts)
        checksum = self._write(name, pieces)
        return Reference(name, sum(len(piece) for piece in pieces), checksum)

    def copy(self, name: str, source: str) -> None:
        """Have the file ``source`` here, under this name; not twice.

        Raises
        ------
        OSError
            As :meth:`put`.
        """
        if not os.path.exists(os.path.join(self.folder, name)):
            with open(source, "rb") as file:
                self._write(name, iter(lambda: file.read(_CHUNK), b""))

    def _write(self, name: str, pieces: Iterable[bytes | memoryview]) -> int:
        """Write a new file; returns its checksum."""
        path = os.path.join(self.folder, name)
        part = f"{path}.{os.urandom(4).hex()}"
        mode = self._prepare()
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            try:
                for piece in pieces:
                    _write(file, piece)
                checksum = _sync_meanwhile(file, pieces) if self.sync else _checksum(pieces)
                os.chmod(part, mode)
            finally:
                os.close(file)
            os.rename(part, path)
            if self.sync:
                sync_folder(self.folder)
        except BaseException:
            _remove(part)
            raise
        return checksum

    def _prepare(self) -> int:
        """Have the folder, with the mark; returns the rights that a file in it gets: those of the folder."""
        if not self._mode:
            parent = os.path.dirname(self.folder)
            for folder in (parent, self.folder):
                try:
                    os.mkdir(folder)
                except FileExistsError:
                    pass
            os.close(os.open(os.path.join(self.folder, MARK), os.O_WRONLY | os.O_CREAT, 0o666))
            if self.sync:
                for folder in (parent, os.path.dirname(parent)):
                    sync_folder(folder)
            self._mode = os.stat(self.folder).st_mode & 0o666
        return self._mode


def _pieces(data: bytes, parts: Sequence[memoryview]) -> list[bytes | memoryview]:
    """All that a file has, in order."""
    at = _HEADER.size + _PLACE.size * len(parts) + len(data)
    places = b""
    behind: list[bytes | memoryview] = []
    for part in parts:
        gap = -at % _ALIGNMENT
        places += _PLACE.pack(at + gap, part.nbytes)
        behind += [bytes(gap), part]
        at += gap + part.nbytes
    header = _HEADER.pack(MAGIC, _VERSION, len(parts), len(data))
    return [header + places + data, *behind]


def parse_header(file: bytes | memoryview) -> tuple[tuple[int, int], list[tuple[int, int]]] | None:
    """Where in a file the pickle is, and where its parts: beginning and end of each.

    None when that is no such file, or one of a newer farmhand, or not whole.
    """
    if len(file) < _HEADER.size:
        return None
    magic, version, count, length = _HEADER.unpack_from(file)
    start = _HEADER.size + _PLACE.size * count
    if magic != MAGIC or version != _VERSION or start + length > len(file):
        return None
    parts = []
    for number in range(count):
        first, size = _PLACE.unpack_from(file, _HEADER.size + _PLACE.size * number)
        if first + size > len(file):
            return None
        parts.append((first, first + size))
    return (start, start + length), parts


def _write(file: int, piece: bytes | memoryview) -> None:
    view = memoryview(piece).cast("B")
    while len(view):
        view = view[os.write(file, view) :]


def _checksum(pieces: Iterable[bytes | memoryview]) -> int:
    from zlib import crc32  # most runs have no large results

    checksum = 0
    for piece in pieces:
        checksum = crc32(piece, checksum)
    return checksum


def _sync_meanwhile(file: int, pieces: Iterable[bytes | memoryview]) -> int:
    """The checksum, computed while the disk writes."""
    import threading

    failed: list[OSError] = []

    def sync() -> None:
        try:
            os.fsync(file)
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=sync, name="farmhand sync")
    try:
        thread.start()
    except RuntimeError:  # no more threads
        os.fsync(file)
        return _checksum(pieces)
    checksum = _checksum(pieces)
    thread.join()
    if failed:
        raise failed[0]
    return checksum


def sync_folder(folder: str) -> None:
    """Let the names in ``folder`` survive a power cut, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:  # Windows has no such thing
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
