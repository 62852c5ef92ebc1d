"""Files beside a store that have its large results: found, mapped into memory, checked, and swept.

They are in one folder for each run, in the folder that the store names, and were written by the
processes of the run (``spool.py``). A file that no record names was left by a process or a farm that was
killed, in a run whose folder has a mark; the store sweeps it away the next time that it is opened, once the
farm of that run is known to be gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from farmhand import codec
from farmhand.errors import StoreError
from farmhand.spool import MARK, THRESHOLD, Reference, Spool, parse_header, sync_folder
from farmhand.stdlib import pickle_loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from typing import Any, NoReturn
    from weakref import WeakSet

__all__ = ["ResultFiles"]

_CHUNK = 1 << 20  # bytes
_ADVICE = (
    "Get that file from a backup, or forget the result (store.forget(key)) and run again with resume=True"
)


class ResultFiles:
    """The large results of one store.

    Parameters
    ----------
    folder : str
        Where they are: one folder for each run in it. It is made with the first of them.
    threshold : int or None
        Bytes above which a result goes to a file; None: none does.
    sync : bool
        Whether a result must survive a power cut before it counts as stored.
    """

    def __init__(self, folder: str, threshold: int | None = THRESHOLD, sync: bool = True) -> None:
        self.folder = os.path.abspath(folder)
        self.threshold = threshold
        self._sync = sync
        self._maps: WeakSet[mmap.mmap] | None = None  # each of which may hold a descriptor

    def spool(self, run: str) -> Spool | None:
        """For the processes of ``run``; None where its name cannot be that of a folder, or none is wanted."""
        if self.threshold is None or not _is_folder_name(run):
            return None
        return Spool(os.path.join(self.folder, run), self.threshold, self._sync)

    def path(self, run: str, reference: Reference) -> str:
        """The file of a result."""
        return os.path.join(self.folder, run, reference.name)

    # -- reading -----------------------------------------------------------------------------------

    def load(self, run: str, data: bytes, describe: Callable[[int], str]) -> Any:
        """The result that ``data`` stands for. Runs code: only for data that you trust.

        Arrays in it are mapped into memory: reading the file begins when they are used. They can be
        changed, which does not change the file.

        Raises
        ------
        StoreError
            The file is missing or damaged; ``describe`` says which item, by its index, that is.
        """
        reference = Reference.parse(data)
        if reference is None:
            raise StoreError(self.folder, f"{data[:80]!r} names no file of a result", _ADVICE)
        path = self.path(run, reference)
        try:
            whole = self._map(path, reference.size)
        except OSError as error:
            problem = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
            self._refuse(path, problem, describe(reference.index), error)
        if whole is None:
            problem = f"is damaged: it has not the {reference.size} bytes that were written"
            self._refuse(path, problem, describe(reference.index))
        view = memoryview(whole)
        found = parse_header(view)
        if found is None:
            self._refuse(path, "is damaged, or of a newer farmhand", describe(reference.index))
        (start, stop), parts = found
        try:
            if not parts:
                return codec.decode(bytes(view[start:stop]))
            return pickle_loads(view[start:stop], buffers=[view[first:last] for first, last in parts])
        except Exception as error:
            if self._is_whole(path, reference):
                raise  # a class of it is not there, for example
            self._refuse(path, "is damaged", describe(reference.index), error)

    def _map(self, path: str, size: int) -> Any:
        """The contents of a file, mapped or, where too many are, read; None if it has another size."""
        import mmap
        import sys
        from weakref import WeakSet

        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size != size or not size:
                return None
            options: dict[str, Any] = {"access": mmap.ACCESS_COPY}
            if sys.version_info >= (3, 13):
                return mmap.mmap(file.fileno(), 0, trackfd=False, **options)
            if self._maps is None:
                self._maps = WeakSet()
            if len(self._maps) < _most_maps():
                try:
                    mapped = mmap.mmap(file.fileno(), 0, **options)
                    self._maps.add(mapped)
                    return mapped
                except OSError:
                    pass  # no more descriptors, or maps
            return bytearray(file.read())

    def _refuse(self, path: str, problem: str, item: str, cause: Exception | None = None) -> NoReturn:
        raise StoreError(path, f"the file {problem}; it has the result of {item}", _ADVICE) from cause

    def check(self, run: str, data: bytes) -> str:
        """What is wrong with the file of a result, in words; ``''`` when it is as it was written.

        Nothing is unpickled.
        """
        reference = Reference.parse(data)
        if reference is None:
            return f"{data[:80]!r} names no file of a result"
        path = self.path(run, reference)
        try:
            if self._is_whole(path, reference):
                return ""
            size = os.path.getsize(path)
        except FileNotFoundError:
            return f"{path} is missing"
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"
        if size != reference.size:
            return f"{path} is damaged: it has {size} bytes instead of {reference.size}"
        return f"{path} is damaged: its checksum is wrong"

    def _is_whole(self, path: str, reference: Reference) -> bool:
        from zlib import crc32

        checksum = size = 0
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                checksum = crc32(chunk, checksum)
                size += len(chunk)
        return (size, checksum) == (reference.size, reference.checksum)

    # -- writing -----------------------------------------------------------------------------------

    def copy(self, run: str, data: bytes, source: ResultFiles) -> bytes:
        """Have the file of a result of another store here, too; returns what stands for it here.

        Raises
        ------
        StoreError
            The file is missing or damaged there, or cannot be written here.
        """
        problem = source.check(run, data)
        reference = Reference.parse(data)
        if problem or reference is None:
            raise StoreError(source.folder, problem, _ADVICE)
        folder = os.path.join(self.folder, run)
        if not _is_folder_name(run):
            raise StoreError(folder, f"{run!r} cannot be the name of the folder of a run")
        try:
            Spool(folder, sync=self._sync).copy(reference.name, source.path(run, reference))
        except OSError as error:
            problem = f"the result {reference.name} cannot be copied to it ({error.strerror or error})"
            raise StoreError(folder, problem, "Make room, or get the right to write there") from error
        return data

    def marked(self) -> list[str]:
        """The runs with files that perhaps no record names."""
        try:
            runs = os.listdir(self.folder)
        except OSError:
            return []
        return [run for run in sorted(runs) if os.path.exists(os.path.join(self.folder, run, MARK))]

    def mark(self, run: str) -> None:
        """Say that there may be such files, before records are taken away; only where there are files."""
        folder = os.path.join(self.folder, run)
        if _is_folder_name(run) and os.path.isdir(folder):
            try:
                open(os.path.join(folder, MARK), "ab").close()
                sync_folder(folder)
            except OSError as error:
                problem = f"it cannot be written ({error.strerror})"
                raise StoreError(folder, problem, "Get the right to write there") from error

    def sweep(self, run: str, named: Iterable[bytes]) -> int:
        """Delete what no record names, and the mark; returns how many files were deleted.

        Parameters
        ----------
        run : str
            A run to which nobody writes.
        named : iterable of bytes
            All its encoded results.
        """
        folder = os.path.join(self.folder, run)
        try:
            there = set(os.listdir(folder)) - {MARK}
        except OSError:
            return 0
        if there:
            there -= {reference.name for data in named if (reference := Reference.parse(data)) is not None}
        deleted = 0
        try:
            for name in there:
                os.unlink(os.path.join(folder, name))
                deleted += 1
            if os.path.exists(os.path.join(folder, MARK)):
                os.unlink(os.path.join(folder, MARK))
            for empty in (folder, self.folder):
                os.rmdir(empty)
        except OSError:
            pass  # it is not empty, which is as it should be, or read-only: the next one will do it
        return deleted


def _is_folder_name(run: str) -> bool:
    """Whether the name of a run can be that of its folder, and leads nowhere else."""
    return bool(run.strip(".")) and all(sign.isalnum() or sign in "-_." for sign in run)


def _most_maps() -> int:
    """How many files may be mapped at once: each needs a descriptor, and a program needs others."""
    try:
        import resource

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return 1 << 30 if most == resource.RLIM_INFINITY else most // 2
    except (ImportError, OSError, ValueError):
        return 256
