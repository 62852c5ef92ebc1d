"""How the C++ program of a model is made: by the fair number of jobs, once for all processes of a run.

Processes that make the same model write the same sources, to the last byte, and need the same program. So
the first one compiles it, with all CPUs, while the others wait, and these take its program. Sources that
differ are another program. Which process has the turn is a lock of the kernel's: one that is killed has
given it back.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from farmhand.cpus import cpu_count, usable_cpus
from farmhand.scratch import shared_directory
from farmhand_brian.errors import CompilationFailed

__all__ = ["fingerprint", "make", "make_once"]

_LAST = 30  # lines of the compiler that are shown
_MADE = {"static_arrays", "results"}  # folders of a project that are no sources
_PROGRAM = "main"


def make(project: Path, command: str, arguments: Sequence[str], jobs: int | None = None) -> None:
    """Run make in a project that Brian has written.

    Parameters
    ----------
    project : Path
        Its directory.
    command, arguments
        Brian's preferences ``make_cmd_unix`` and ``extra_make_args_unix``. In the latter a ``-j`` alone,
        which would start as many compilers as there are files, gets a number.
    jobs : int, optional
        That number; by default the share of CPUs of this process.

    Raises
    ------
    CompilationFailed
        With the end of what the compiler said.
    """
    number = f"-j{jobs or cpu_count()}"
    alone = [place for place, word in enumerate(arguments) if word == "-j"]
    counts = {place for place in alone if place + 1 < len(arguments) and arguments[place + 1].isdecimal()}
    words = [number if place in set(alone) - counts else word for place, word in enumerate(arguments)]
    try:
        done = subprocess.run(
            [*shlex.split(command), "-s", *words],
            cwd=project,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as error:
        why = f"{command!r} could not be started ({error.strerror}); make and a C++ compiler are needed"
        raise CompilationFailed(why, "", str(project)) from None
    if done.returncode:
        lines = done.stdout.decode(errors="backslashreplace").splitlines()
        said = "\n".join(lines[-_LAST:])
        raise CompilationFailed(f"{command} ended with exit code {done.returncode}", said, str(project))


def make_once(project: Path, command: str, arguments: Sequence[str]) -> bool:
    """As :func:`make`, but once for all processes of a run that have the same sources.

    Returns
    -------
    bool
        Whether it was this process that has compiled.
    """
    program = shared_directory() / f"program-{fingerprint(project)}"
    with _turn():
        if program.exists():
            _copy(program, project / _PROGRAM)
            return False
        (project / _PROGRAM).unlink(missing_ok=True)  # else a linker might write into one that others use
        make(project, command, arguments, usable_cpus())
        _copy(project / _PROGRAM, program)
        return True


def fingerprint(project: Path) -> str:
    """Names and contents of all sources of a project."""
    digest = hashlib.blake2b(digest_size=16)
    for folder, folders, names in os.walk(project):
        folders[:] = sorted(set(folders) - _MADE)
        for name in sorted(names):
            path = Path(folder, name)
            if name not in (_PROGRAM, "make.deps") and path.suffix != ".o":
                content = path.read_bytes()
                digest.update(f"{path.relative_to(project)}\0{len(content)}\0".encode())
                digest.update(content)
    return digest.hexdigest()


@contextmanager
def _turn() -> Iterator[None]:
    """Be the only process of the run that compiles."""
    descriptor = os.open(shared_directory() / "compiling", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _copy(source: Path, target: Path) -> None:
    """Let ``target`` be the same file, which is whole as soon as it is there."""
    if target.exists() and target.samefile(source):
        return  # to move a file to its own second name does nothing, and would leave the third
    new = target.with_name(f"{target.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        new.unlink()
    try:
        os.link(source, new)
    except OSError:  # no hard links on this file system
        shutil.copy2(source, new)
    os.replace(new, target)
