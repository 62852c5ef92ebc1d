"""A lock between processes that is there only while somebody has it.

It is the kernel's lock on a small file, so that it ends with the process that has it, however that ends,
and that waiting costs nothing. It cannot be one on the database's own file: to close any descriptor of that
one gives up SQLite's locks. And it cannot be a transaction of SQLite, which would keep all farms from
storing meanwhile. The file is deleted by who had the lock; a killed process leaves it, which does no harm.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from farmhand.errors import StoreError

__all__ = ["locked"]


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Have the file ``path``, which is made for it, locked; waits as long as others have it.

    Ctrl-C ends the wait.
    """
    import fcntl

    try:
        descriptor = _open(path)
        try:
            while True:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if _is(path, descriptor):
                    break
                # whoever had it has deleted it meanwhile: others lock another file of that name
                os.close(descriptor)
                descriptor = -1
                descriptor = _open(path)
        except BaseException:
            if descriptor >= 0:
                os.close(descriptor)
            raise
    except OSError as error:
        problem = f"it cannot be locked ({error.strerror})"
        raise StoreError(
            path, problem, "Put the store on a local disk, and get the right to write"
        ) from error
    try:
        yield
    finally:
        try:
            os.unlink(path)  # before it is unlocked: then nobody can have begun to use it
        except OSError:
            pass
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # also for a child that has inherited it
        os.close(descriptor)


def _open(path: str) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    if descriptor > 2:
        return descriptor
    try:  # with 0, 1 or 2 closed, somebody's print would go there
        import fcntl

        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def _is(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
