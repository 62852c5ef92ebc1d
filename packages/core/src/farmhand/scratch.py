"""Directories for what a task's process needs on disk while it runs, removed by the farm in the end.

Each run has one directory, with one in it for each of its processes and one that they share. Nothing is
made before a task asks. The farm tells each process, in its environment, where its own will be, and who the
farm is; the first process that asks makes the directory of the run, with the farm's name in it. The farm
removes it when all processes have ended. Of a farm that was killed, the name is still there: the next farm
of this user finds that it is dead, and removes what it left.

A program that a task starts finds the directory of its process in the variable ``FARMHAND_SCRATCH``.
"""

from __future__ import annotations

import os
import stat

from farmhand import owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PLACE", "Scratch", "is_private", "keep_scratch", "scratch_directory", "shared_directory", "sweep"]

FARM = "FARMHAND_FARM"  # the environment variable that names the farm of a process
PLACE = "FARMHAND_SCRATCH"  # the one that says where the directory of a process is

_OWNER = "owner"  # the file that names the farm; where it is missing, nobody may remove anything
_SHARED = "shared"
_KEPT = ".kept"  # the ending of the file beside a directory that is kept
_outside: tuple[int, str] | None = None  # the process, and its directory, where it belongs to no farm


# -- in a task's process -----------------------------------------------------------------------------


def scratch_directory() -> Path:
    """The directory of this process alone, for whatever a task needs on disk while it runs.

    It is made at the first call, inside ``TMPDIR`` (or ``/tmp``), for this user alone, and is the same for
    all items that the process runs; a process that replaces another begins with an empty one. When the run
    ends, however it ends, the farm removes it with all that is in it.

    Outside of a farm it is a temporary directory that is removed when Python exits, so that a task can be
    tried by hand.

    Returns
    -------
    pathlib.Path
        An absolute path.

    Raises
    ------
    OSError
        It cannot be made.

    See Also
    --------
    farmhand.scratch.keep_scratch : for looking at it after the run.
    farmhand.scratch.shared_directory : the one that all processes of a run share.

    Examples
    --------
    >>> from farmhand import scratch_directory
    >>> settings = scratch_directory() / "settings.txt"
    >>> settings.write_text("tau = 3")  # and then start a program there: cwd=scratch_directory()
    7
    """
    return _directory(None)


def shared_directory() -> Path:
    """A directory that all processes of a run share, made and removed as :func:`scratch_directory` is.

    Processes that write there must agree on how: by file names that differ, or by locks.

    Returns
    -------
    pathlib.Path
        An absolute path.

    Raises
    ------
    OSError
        It cannot be made.
    """
    return _directory(_SHARED)


def keep_scratch() -> Path:
    """Let the directory of this process stay when the run ends, for somebody who wants to look at it.

    Returns
    -------
    pathlib.Path
        The directory, as from :func:`scratch_directory`. It stays until you remove it.

    Raises
    ------
    OSError
        It cannot be made.
    """
    directory = scratch_directory()
    with open(f"{directory}{_KEPT}", "w", encoding="ascii"):
        pass
    return directory


def _directory(name: str | None) -> Path:
    from pathlib import Path  # slow to import

    own, farm = os.environ.get(PLACE, ""), os.environ.get(FARM, "")
    if not own:
        own, farm = _outside_of_farms(), owner.here()
    path = own if name is None else os.path.join(os.path.dirname(own), name)
    while not os.path.isdir(path):
        _make_run(os.path.dirname(path), farm)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            break
        except FileNotFoundError:
            continue  # another run has ended, and removed what was empty for a moment
    return Path(path)


def _make_run(path: str, farm: str) -> None:
    """Make the directory of a run, which has the farm's name in it from its first moment."""
    if os.path.isdir(path):
        return
    base, making = os.path.dirname(path), f"{path}.{os.getpid()}"
    if not is_private(base):
        raise PermissionError(
            f"{base} belongs to somebody else, or is open to others; set TMPDIR to another folder"
        )
    try:
        os.mkdir(making, 0o700)
        with open(os.path.join(making, _OWNER), "w", encoding="utf-8") as file:
            file.write(farm)
        os.rename(making, path)
    except OSError:
        import shutil

        shutil.rmtree(making, ignore_errors=True)
        if not os.path.isdir(path) and os.path.isdir(base):
            raise  # else another process has made it, or ``base`` has to be made again


def _outside_of_farms() -> str:
    """Where the directory of a process is that belongs to no farm."""
    global _outside
    pid = os.getpid()
    if _outside is None or _outside[0] != pid:
        import atexit

        scratch = Scratch()
        _outside = pid, scratch.place("process")
        atexit.register(_remove_outside, pid, scratch)
    return _outside[1]


def _remove_outside(pid: int, scratch: Scratch) -> None:
    if os.getpid() == pid:  # and not in a copy of this process
        scratch.remove()


# -- in the farm -------------------------------------------------------------------------------------


class Scratch:
    """The directories of one run, as the farm sees them; nothing is on disk before a process asks.

    Attributes
    ----------
    path : str
        Where the run's directory will be.
    """

    def __init__(self) -> None:
        self._farm = owner.here()
        self._starts: dict[int, int] = {}
        token = os.urandom(4).hex()
        base = _base()
        self.path = os.path.join(base, token) if _can_be(base) else os.path.join(f"{base}-{token}", token)

    def place(self, name: str) -> str:
        """The path of one directory in it."""
        return os.path.join(self.path, name)

    def variables(self, number: int) -> dict[str, str]:
        """What the next process of that number must have in its environment."""
        start = self._starts[number] = self._starts.get(number, 0) + 1
        name = f"process-{number}" if start == 1 else f"process-{number}.{start}"
        return {PLACE: self.place(name), FARM: self._farm}

    def remove(self, place: str | None = None) -> None:
        """Remove the directory of a process that has ended, or what there is of the whole run."""
        if place is not None:
            if os.path.isdir(place) and not os.path.exists(f"{place}{_KEPT}"):
                _remove_tree(place)
        elif os.path.isdir(self.path):
            _remove_run(self.path)


def sweep() -> None:
    """Remove what farms of this user have left that were killed."""
    base = _base()
    try:
        names = os.listdir(base)
    except OSError:
        return  # there is none, as nearly always
    if not _can_be(base):
        return
    for name in names:
        path = os.path.join(base, name)
        try:
            with open(os.path.join(path, _OWNER), encoding="utf-8") as file:
                dead = owner.is_alive(file.read()) is False
        except OSError:
            continue  # all that is in it is kept
        if dead:
            _remove_run(path)
    _remove_if_empty(base)


def _remove_run(path: str) -> None:
    kept = False
    try:
        entries = list(os.scandir(path))
    except OSError:
        return  # another farm has just removed it
    for entry in entries:
        if os.path.exists(f"{entry.path}{_KEPT}") or entry.name.endswith(_KEPT):
            kept = True
        elif entry.name != _OWNER:
            _remove_tree(entry.path)
    try:
        os.unlink(os.path.join(path, _OWNER))  # last: until then somebody else may go on with this
    except OSError:
        pass
    if not kept:
        _remove_tree(path)
    _remove_if_empty(os.path.dirname(path))


def _remove_tree(path: str) -> None:
    import shutil

    shutil.rmtree(path, ignore_errors=True)


def _remove_if_empty(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        pass


# -- the folder of all runs --------------------------------------------------------------------------


def _base() -> str:
    user = f"-{os.geteuid()}" if hasattr(os, "geteuid") else ""
    return os.path.join(_temporary(), f"farmhand-scratch{user}")


def _temporary() -> str:
    """``TMPDIR``, or where compilers and Python's ``tempfile`` go when that is not there, or read-only."""
    folders = [os.environ.get("TMPDIR") or "/tmp", "/tmp", "/var/tmp"]
    usable = (folder for folder in folders if os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK))
    return os.path.abspath(next(usable, folders[0]))


def _can_be(folder: str) -> bool:
    """Whether a folder is ours, or is not there yet."""
    try:
        return not os.path.lexists(folder) or is_private(folder)
    except OSError:
        return False


def is_private(folder: str) -> bool:
    """Whether a folder, made if it is not there, is this user's, and closed to all others."""
    made = True
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        made = False
    found = os.lstat(folder)
    if made and found.st_mode & 0o777 != 0o700:  # of which the user's mask has taken something
        os.chmod(folder, 0o700)
    if not hasattr(os, "geteuid"):
        return stat.S_ISDIR(found.st_mode)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
