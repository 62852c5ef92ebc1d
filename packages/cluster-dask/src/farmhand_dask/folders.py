"""Whether a worker has the folder of the large results: the very one, not one of the same name elsewhere.

A process writes a large result into the store's folder itself, and only says so. Where its computer has
another disk under that path, the result would be lost. So the caller leaves a proof in the folder, a file
with a secret, and a worker looks for it. It is written, and named, like a result (``farmhand.spool``): if the
caller is killed, it is swept away with the files that no record names. Its name is new, so that no network
file system remembers that there was none.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from farmhand.spool import MARK, Spool

__all__ = ["Proof", "sees"]


class Proof:
    """The caller's half: a file in the folder of a run. It can be pickled, for :func:`sees`.

    Where it cannot be written, nobody sees it.

    Parameters
    ----------
    folder : str
        Where the run's processes put large results; made if it is not there.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.secret = os.urandom(32)
        self.name = ""
        with suppress(OSError):
            self.name = Spool(folder, sync=False).put(0, self.secret).name

    def remove(self) -> None:
        """Take it away, and the folder if there is nothing else in it. Safe to call twice; never raises."""
        with suppress(OSError):
            if self.name:
                os.unlink(os.path.join(self.folder, self.name))
        with suppress(OSError):
            if os.listdir(self.folder) == [MARK]:
                os.unlink(os.path.join(self.folder, MARK))
                os.rmdir(self.folder)
                os.rmdir(os.path.dirname(self.folder))


def sees(proof: Proof) -> bool:
    """Whether this computer can put results into the folder where the caller will look for them.

    It does what a process would do, with the same code: so the rights are right, too.
    """
    if not proof.name:
        return False
    path = os.path.join(proof.folder, proof.name)
    try:
        with open(path, "rb") as file:
            if not file.read(4096).endswith(proof.secret):
                return False
        mine = os.path.join(proof.folder, Spool(proof.folder, sync=False).put(0, b"").name)
        try:
            return _can_be_read(os.stat(mine), os.stat(path))
        finally:
            os.unlink(mine)
    except OSError:
        return False


def _can_be_read(mine: os.stat_result, theirs: os.stat_result) -> bool:
    """Whether the caller, whose file the proof is, can read the other one."""
    return mine.st_uid == theirs.st_uid or bool(mine.st_mode & stat.S_IROTH)
