"""A disk that may lose whatever was not synced: what it can hold after a power cut.

It is fed the trace of a process (see ``power_trace.c``), one operation after the other, and
gives at any time the files that could be found after a power cut in that very moment:

- Of what was written to a file, or cut off it, since its last sync, anything may be there or
  not, in any combination of sectors of 512 bytes. Where a file was made longer and the content
  did not arrive, there are zeros, or what the disk held before.
- A name that appeared in a folder, or vanished, since that folder's last sync may be there or
  not, each on its own. What is in a folder that is not there is not there either.
- Bytes that were not written do not change: a sector that is written in part is no danger to
  its other bytes. (SQLite calls this "powersafe overwrite" and relies on it, too.)
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

SECTOR = 512
FOLDER = "/"  # what the name of a folder ends with among files
_RECORD = struct.Struct("=IIqQ")
_TRUNCATED, _APPEND, _NAMELESS = 1, 2, 4  # flags, as in power_trace.c

Files = dict[str, bytes]
Write = tuple[int, bytes]  # where, and what
Change = Write | int  # or the length to which a file was cut off
Fate = Callable[[list[Change], int, random.Random], list[Change]]  # of changes to a file of some length


@dataclass(frozen=True)
class Operation:
    """One line of the trace: its kind is a letter."""

    kind: str
    descriptor: int
    number: int
    data: bytes


def read_trace(path: Path) -> list[Operation]:
    """What the traced process did, in order."""
    trace, position, found = path.read_bytes(), 0, []
    while position < len(trace):
        kind, descriptor, number, length = _RECORD.unpack_from(trace, position)
        position += _RECORD.size
        found.append(Operation(chr(kind), descriptor, number, trace[position : position + length]))
        position += length
    return found


@dataclass(eq=False)
class _File:
    durable: bytes = b""
    changes: list[Change] = field(default_factory=list)
    is_folder: bool = False


class Disk:
    """The files of one folder, and of those in it, by their paths from there.

    Parameters
    ----------
    folder : path
        Where the traced process believed them to be.
    files : dict of str to bytes
        What was there, durably, when it began.
    deaf_to : collection of {'files', 'folder'}
        What a sync does nothing for, as on a disk that lies.
    """

    def __init__(self, folder: Path, files: Files, deaf_to: Collection[str] = ()) -> None:
        self._folder = str(folder)
        self._deaf_to = deaf_to
        self._durable = {
            name.removesuffix(FOLDER): _File(data, is_folder=name.endswith(FOLDER))
            for name, data in files.items()
        }
        self._names: dict[str, _File] = dict(self._durable)  # as the process sees them
        self._renamed: dict[str, list[_File | None]] = {}  # since the last sync of their folder
        self._open: dict[int, tuple[_File | str, int]] = {}  # by descriptor, with flags; a folder by its name
        self._moving = ""  # the old name of a file that gets another one

    def perform(self, operation: Operation) -> None:
        """Do what the process did."""
        kind, descriptor, number, data = (getattr(operation, name) for name in Operation.__annotations__)
        if kind == "o" and number & _NAMELESS:
            self._open[descriptor] = _File(), number
        elif kind == "d":
            self._open[descriptor] = self._open[number]
        elif kind == "l":
            file = self._open[descriptor][0]
            assert isinstance(file, _File)
            self._name(os.path.basename(os.fsdecode(data)), file)
        elif kind == "o" and self._is_folder(self._path(data)):
            self._open[descriptor] = self._path(data), number
        elif kind == "m":
            self._name(self._path(data), _File(is_folder=True))
        elif kind == "o":
            name = self._path(data)
            if name not in self._names:
                self._name(name, _File())
            self._open[descriptor] = self._names[name], number
            if number & _TRUNCATED:
                self._names[name].changes.append(0)
        elif kind == "u":
            self._name(self._path(data), None)
        elif kind == "n":
            self._moving = self._path(data)
        elif kind == "r":
            assert not self._is_folder(self._moving)
            self._name(self._path(data), self._names[self._moving])
            self._name(self._moving, None)
        else:
            file, flags = self._open[descriptor]
            if kind == "c":
                del self._open[descriptor]
            elif kind == "s":
                self._sync(file)
            elif kind == "w" and isinstance(file, _File):
                end = len(_content(file.durable, file.changes)) if flags & _APPEND else number
                file.changes.append((end, data))
            elif kind == "t" and isinstance(file, _File):
                file.changes.append(number)
            else:
                raise AssertionError(f"unknown operation {operation}")

    def _path(self, data: bytes) -> str:
        """A path of the process, from our folder on."""
        path = os.path.relpath(os.fsdecode(data), self._folder)
        return "" if path == "." else path

    def _is_folder(self, name: str) -> bool:
        return not name or (name in self._names and self._names[name].is_folder)

    def _sync(self, file: _File | str) -> None:
        if ("folder" if isinstance(file, str) else "files") in self._deaf_to:
            return
        if isinstance(file, str):
            for name in [name for name in self._renamed if os.path.dirname(name) == file]:
                del self._renamed[name]
                if name in self._names:
                    self._durable[name] = self._names[name]
                else:
                    self._durable.pop(name, None)
        else:
            file.durable, file.changes = _content(file.durable, file.changes), []

    def _name(self, name: str, file: _File | None) -> None:
        if file is None:
            del self._names[name]
        else:
            self._names[name] = file
        self._renamed.setdefault(name, []).append(file)

    def seen(self) -> Files:
        """What the process sees: all that it did."""
        return {
            name + FOLDER * file.is_folder: _content(file.durable, file.changes)
            for name, file in self._names.items()
        }

    def after_a_cut(self, dice: random.Random, throws: int) -> Iterator[tuple[str, Files]]:
        """What may be found after a power cut now, each with a few words about it.

        The four extremes come first, then ``throws`` states by chance.
        """
        for names in ("no", "all"):
            for fate in (_nothing, _everything):
                yield f"{names} names,{fate.__name__}", self._survivors(dice, names, [fate])
        for throw in range(throws):
            yield f"throw {throw}", self._survivors(dice, "some", [*_CHANCES])

    def _survivors(self, dice: random.Random, names: str, fates: list[Fate]) -> Files:
        survivors: dict[str, _File | None] = dict(self._durable)
        for name, files in self._renamed.items():
            if names == "all" or (names == "some" and dice.random() < 0.5):
                survivors[name] = files[-1] if names == "all" else dice.choice(files)
        found = {}
        for name, file in survivors.items():
            if file is not None and file.is_folder:
                found[name + FOLDER] = b""
            elif file is not None:
                changes = dice.choice(fates)(file.changes, len(file.durable), dice)
                found[name] = _content(file.durable, changes)
        return {name: data for name, data in found.items() if _folders(name) <= found.keys()}


def _folders(name: str) -> set[str]:
    """All folders in which a file is."""
    parts = name.removesuffix(FOLDER).split("/")[:-1]
    return {"/".join(parts[: depth + 1]) + FOLDER for depth in range(len(parts))}


def _content(durable: bytes, changes: list[Change]) -> bytes:
    data = bytearray(durable)
    for change in changes:
        length = change if isinstance(change, int) else change[0]
        data.extend(bytes(max(0, length - len(data))))
        if isinstance(change, int):
            del data[change:]
        else:
            data[length : length + len(change[1])] = change[1]
    return bytes(data)


def _sectors(change: Change) -> list[Change]:
    """A write, cut at the bounds of sectors."""
    if isinstance(change, int):
        return [change]
    start, data = change
    bounds = [start, *range((start // SECTOR + 1) * SECTOR, start + len(data), SECTOR), start + len(data)]
    return [(a, data[a - start : b - start]) for a, b in pairwise(bounds)]


# -- what may become of changes that were not synced -------------------------------------------------


def _nothing(changes: list[Change], length: int, dice: random.Random) -> list[Change]:
    return []


def _everything(changes: list[Change], length: int, dice: random.Random) -> list[Change]:
    return changes


def _some_writes(changes: list[Change], length: int, dice: random.Random) -> list[Change]:
    return [change for change in changes if dice.random() < 0.5]


def _some_sectors(changes: list[Change], length: int, dice: random.Random) -> list[Change]:
    return [part for change in changes for part in _sectors(change) if dice.random() < 0.5]


def _garbage(changes: list[Change], length: int, dice: random.Random) -> list[Change]:
    """The file has grown as it should, but in places the disk shows what was there before."""
    fate = []
    for part in (part for change in changes for part in _sectors(change)):
        if dice.random() < 0.5:
            fate.append(part)
        elif not isinstance(part, int) and part[0] >= length:
            fate.append((part[0], dice.randbytes(len(part[1]))))
    return fate


def _the_first(changes: list[Change], length: int, dice: random.Random) -> list[Change]:
    """A disk that keeps the order is cut in the middle of a write."""
    if not changes:
        return []
    count = dice.randrange(len(changes))
    return changes[:count] + _some_sectors(changes[count : count + 1], length, dice)


_CHANCES: list[Fate] = [_nothing, _everything, _some_writes, _some_sectors, _garbage, _the_first]
