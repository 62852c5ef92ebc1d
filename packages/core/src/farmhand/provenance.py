"""Where results came from: what is written down of each run, so that they can be explained, and made again.

Everything is plain values under these names:

=============== =============================================================================
``user``        who ran it
``host``        on which computer
``command``     the command line of the process, as a list
``argv``        what the script was given, as ``sys.argv``
``folder``      its working directory
``path``        where modules are imported from, as ``sys.path``
``script``      the file of its ``__main__``, where it has one
``module``      the module of the task
``source``      a hash of the task's source, as it was in its file when the run began
``python``      the version of Python, and which
``system``      the operating system and the machine
``packages``    the version of each package that was imported, by name
``cpus``        how many CPUs this process may use
``processes``   how many processes the run began with
``farmhand``    the version of farmhand
``control``     where the farm could be reached while it ran (:mod:`farmhand.control`)
``git_commit``  the commit that was checked out where the task is, and
``git_dirty``   whether files under version control had been changed since
=============== =============================================================================
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from types import ModuleType

from farmhand.cpus import cpu_count
from farmhand.stdlib import blake2b
from farmhand.store import computer_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

    from farmhand.task import Task

__all__ = ["Checkout", "collect", "source_hash"]

_DEEPEST = 50  # wrappers around a function: some objects make another one whenever they are asked
_PATIENCE = 0.2  # seconds that the end of a run waits for git


def collect(task: Task, processes: int) -> dict[str, Any]:
    """What can be said of a run of ``task`` when it begins; a millisecond or two."""
    who = computer_name()
    host = os.uname().nodename if hasattr(os, "uname") else who.partition(".")[2]
    found = {
        "user": who.removesuffix(f".{host}"),
        "host": host,
        "command": list(getattr(sys, "orig_argv", sys.argv)),
        "argv": list(sys.argv),
        "folder": _folder(),
        "path": [os.path.abspath(path) for path in sys.path] if _folder() else [],
        "script": _file_of("__main__"),
        "module": getattr(_innermost(task.target), "__module__", ""),
        "source": source_hash(task.target),
        "python": f"{sys.version.split()[0]} ({sys.implementation.name})",
        "system": " ".join(os.uname()[::2]) if hasattr(os, "uname") else sys.platform,
        "packages": dict(_packages()),
        "cpus": cpu_count(),
        "processes": processes,
        "farmhand": vars(sys.modules["farmhand"]).get("__version__", ""),
    }
    return {name: value for name, value in found.items() if value not in ("", None, [])}


def source_hash(target: Any) -> str:
    """A hash of the source of a function, or of all functions of a class (or of a callable's class).

    It is that of the lines in the file, where there is one, so that it stays the same from one Python to
    another; else that of the code as it was compiled. ``''`` for what is not written in Python.
    """
    target = _innermost(target)
    if not hasattr(target, "__code__"):
        kind = target if isinstance(target, type) else type(target)
        members = (_innermost(member) for member in vars(kind).values())
        codes = [member.__code__ for member in members if hasattr(member, "__code__")]
    else:
        codes = [target.__code__]
    if not codes:
        return ""
    lines = [_lines(code) for code in codes]
    if all(lines):
        return f"source:{blake2b(b''.join(lines), digest_size=16).hexdigest()}"
    return f"code:{blake2b(b''.join(map(_compiled, codes)), digest_size=16).hexdigest()}"


def _innermost(target: Any) -> Any:
    """The function that a partial, a method or a decorated function calls in the end."""
    for _ in range(_DEEPEST):
        for name in ("__wrapped__", "__func__", "func"):
            inner = getattr(target, name, None)
            if inner is not None and callable(inner) and not isinstance(target, type):
                target = inner
                break
        else:
            break
    return target


def _lines(code: CodeType) -> bytes:
    """The lines in its file from which ``code`` was compiled; nothing where there is no such file."""
    last = max((line for each in _nested(code) for _, _, line in each.co_lines() if line), default=0)
    try:
        with open(code.co_filename, "rb") as file:
            return b"".join(file.read().splitlines(keepends=True)[code.co_firstlineno - 1 : last])
    except (OSError, ValueError):
        return b""


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            yield from _nested(constant)


def _compiled(code: CodeType) -> bytes:
    constants = [
        _compiled(constant) if isinstance(constant, type(code)) else repr(constant).encode("utf-8", "replace")
        for constant in code.co_consts
    ]
    return b"\0".join([code.co_code, *constants, repr((code.co_names, code.co_varnames)).encode()])


def _packages() -> Iterator[tuple[str, str]]:
    """The packages that have been imported, with what they, or their installation, say of their version."""
    known: dict[str, dict[str, str]] = {}  # by folder: what is installed there
    module: Any  # what stands for one may be anything
    for name, module in sorted(sys.modules.items()):
        if "." in name or name.startswith("_") or name in sys.stdlib_module_names or module is None:
            continue
        # not getattr, which some modules answer in their own way
        if isinstance(module, ModuleType):
            names = object.__getattribute__(module, "__dict__")  # importlib.util.LazyLoader would load it
        else:
            names = getattr(module, "__dict__", {})
        version, file = names.get("__version__"), names.get("__file__")
        if not isinstance(version, str) and isinstance(file, str):
            inside = os.path.basename(file) == "__init__.py"
            folder = os.path.dirname(os.path.dirname(file) if inside else file)
            if folder not in known:
                known[folder] = dict(_installed(folder))
            version = known[folder].get(name.lower())
        if isinstance(version, str):
            yield name, str(version)  # of torch, it is a str of its own


def _installed(folder: str) -> Iterator[tuple[str, str]]:
    """Name and version of each distribution in a folder, from the names of what pip leaves there."""
    try:
        children = os.listdir(folder)
    except OSError:
        return
    for child in children:
        if child.endswith(".dist-info"):
            name, _, version = child.removesuffix(".dist-info").partition("-")
            yield name.lower(), version


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # somebody has deleted it
        return ""


def _file_of(module: str) -> str:
    file = getattr(sys.modules.get(module), "__file__", None)
    return os.path.abspath(file) if isinstance(file, str) and (os.path.isabs(file) or _folder()) else ""


class Checkout:
    """Asks git, while the run goes on, what is checked out where its task is.

    Parameters
    ----------
    task : Task
        Looked for where its module is, then at the script, then in the working directory.
    """

    def __init__(self, task: Task) -> None:
        self._pid: int | None = None
        self._output = -1
        module = getattr(_innermost(task.target), "__module__", "")
        places = [os.path.dirname(_file_of(module)), os.path.dirname(_file_of("__main__")), _folder()]
        folder = next((place for place in places if place and _is_versioned(place)), None)
        if folder is None or not hasattr(os, "posix_spawnp") or not hasattr(os, "memfd_create"):
            return
        command = ["git", "-C", folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
        self._output = os.memfd_create("farmhand git")
        nothing = ("/dev/null", os.O_RDWR, 0)
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, *nothing),
            (os.POSIX_SPAWN_DUP2, self._output, 1),
            (os.POSIX_SPAWN_OPEN, 2, *nothing),
        ]
        # it must neither write nor ask
        environ = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        try:
            self._pid = os.posix_spawnp(command[0], command, environ, file_actions=actions)
        except OSError:  # there is no git
            os.close(self._output)

    def ask(self, last: bool = False) -> Mapping[str, Any]:
        """What git says, once it has said it; nothing before and after that.

        Parameters
        ----------
        last : bool
            Wait for it, but not for long, and do not ask again.
        """
        deadline = time.monotonic() + (_PATIENCE if last else 0)
        while self._pid is not None:
            status = self._status()
            if status is None:
                if time.monotonic() >= deadline:
                    break
                time.sleep(0.002)
                continue
            self._pid = None
            text = os.pread(self._output, 1 << 16, 0).decode("utf-8", "replace") if status == 0 else ""
            os.close(self._output)
            return _said(text)
        if last:
            self.close()
        return {}

    def _status(self) -> int | None:
        """How git ended; None while it runs."""
        assert self._pid is not None
        try:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError:  # somebody else has waited for it
            return 0
        return status if pid else None

    def close(self) -> None:
        """Do not wait for git any more."""
        if self._pid is not None:
            try:
                os.kill(self._pid, 9)
                os.waitpid(self._pid, 0)
            except OSError:  # it has just ended, and somebody else has waited for it
                pass
            os.close(self._output)
            self._pid = None


def _is_versioned(folder: str) -> bool:
    while not os.path.exists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return False
        folder = parent
    return True


def _said(text: str) -> dict[str, Any]:
    """What ``git status`` says of the commit, and whether anything was changed since."""
    lines = text.splitlines()
    commits = [line.split()[-1] for line in lines if line.startswith("# branch.oid ")]
    if not commits or not commits[0].isalnum():  # none yet: "(initial)"
        return {}
    return {"git_commit": commits[0], "git_dirty": any(not line.startswith("#") for line in lines)}
