"""The folder of a store: made, recognized, or refused in words that say what to do.

``name.data/``
    The sessions, as Brian has them: nothing else that a ``glob`` shows.
``name.data/.farmhand/format``
    The format of what is in ``.farmhand``, and a name that tells this store from others.
``name.data/.farmhand/runs/UID.log``
    A run.
``name.data/.farmhand/files/UID/``
    Its large results.
``name.data/.farmhand/locks/NAME``
    Who writes to a session.

Nothing of ``.farmhand`` is made before something is written, so that reading changes nothing.
"""

from __future__ import annotations

import json
import os
import time

from farmhand.errors import StoreError
from farmhand.spool import sync_folder
from farmhand_shelve.log import write_problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["Folder", "file_name"]

FORMAT = 1
_REST = 3600.0  # seconds without a write after which a file is nobody's
_EFFECTIVE = os.access in os.supports_effective_ids
_LEFT = "It was left as it is; choose another name, or move it away"
_RIGHTS = "Get the right to write there, or copy the store to another folder"


class Folder:
    """The folder ``path``, which is made when it is not there.

    Parameters
    ----------
    path : path-like
        The folder; the one that it is in must exist.
    sync : bool
        Whether what is written must survive a power cut.

    Attributes
    ----------
    path : str
        Absolute.
    identity : str
        What tells the store from others; ``''`` as long as nothing of farmhand is in it.
    is_new : bool
        Whether it has nothing of farmhand: it is empty, or of Brian.
    """

    def __init__(self, path: str | os.PathLike[str], sync: bool) -> None:
        self.path = os.path.abspath(path)
        self._sync = sync
        self.own = os.path.join(self.path, ".farmhand")
        self.runs = os.path.join(self.own, "runs")
        self.files = os.path.join(self.own, "files")
        self.locks = os.path.join(self.own, "locks")
        self.identity = ""
        made = not os.path.lexists(self.path) and self._make()
        if not os.path.isdir(self.path):
            what = "it is a file" if os.path.exists(self.path) else "it is a link that leads nowhere"
            self._refuse(f"{what}, not a folder", _LEFT)
        try:
            os.listdir(self.path)
        except OSError as error:
            self._refuse(f"it cannot be read ({error.strerror})", "Get the right to read it", error)
        self._recognize()
        if made:
            self.prepare()

    def _make(self) -> bool:
        """Whether the folder was made; False when somebody else has just done it."""
        parent = os.path.dirname(self.path)
        if not os.path.isdir(parent):
            self._refuse(f"its folder {parent} does not exist", "Create the folder first")
        try:
            os.mkdir(self.path)
        except FileExistsError:
            return False
        except OSError as error:
            self._refuse_to_write(error, parent)
        return True

    @property
    def is_new(self) -> bool:
        return not self.identity

    def _recognize(self) -> None:
        """Read the file ``format``; an error for one of a newer farmhand."""
        path = os.path.join(self.own, "format")
        try:
            with open(path, encoding="ascii") as file:
                about = json.load(file)
            version, identity = int(about["format"]), str(about["identity"])
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(
                path, f"it cannot be read ({error.strerror})", "Get the right to read it"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                path, "it is damaged", "Delete it; it is made again, and nothing is lost"
            ) from error
        if version > FORMAT:
            problem = f"a newer farmhand made it (format {version}; this one knows format {FORMAT})"
            self._refuse(problem, "Upgrade farmhand-shelve")
        self.identity = identity

    def prepare(self) -> None:
        """Have all folders, before something is written."""
        self.refuse_loss()
        self.refuse_read_only()
        try:
            made = False
            for folder in (self.own, self.runs, self.files, self.locks):
                if folder != self.files and not os.path.isdir(folder):
                    os.makedirs(folder, exist_ok=True)
                    made = True
            if not self.identity:
                self._recognize()  # somebody else may have made it
            if not self.identity:
                self._mark()
                made = True
            if made and self._sync:
                for folder in (self.own, self.path, os.path.dirname(self.path)):
                    sync_folder(folder)
        except OSError as error:
            self._refuse_to_write(error, self.path)

    def _mark(self) -> None:
        identity = os.urandom(8).hex()
        part = os.path.join(self.own, f"format.{identity}")
        with open(part, "x", encoding="ascii") as file:
            json.dump({"format": FORMAT, "identity": identity}, file)
            file.flush()
            if self._sync:
                os.fsync(file.fileno())
        os.rename(part, os.path.join(self.own, "format"))
        self._recognize()

    def sweep(self, rest: float = _REST) -> None:
        """Delete what a killed process was making, if nobody has written to it for so many seconds."""
        known = {self.runs, self.files, self.locks, os.path.join(self.own, "format")}
        now = time.time()
        try:
            for entry in os.scandir(self.own):
                if entry.path not in known and now - entry.stat().st_mtime >= rest and entry.is_file():
                    os.unlink(entry.path)
        except OSError:
            pass  # the next one will do it

    @property
    def read_only(self) -> str:
        """What may not be written to, out of the folders in question; ``''`` when all may."""
        for folder in (self.path, self.own, self.runs, self.locks):
            if os.path.isdir(folder) and not os.access(folder, os.W_OK, effective_ids=_EFFECTIVE):
                return folder
        return ""

    def refuse_read_only(self) -> None:
        """Raise when nothing may be written."""
        folder = self.read_only
        if folder:
            self._refuse("it is read-only" if folder == self.path else f"{folder} is read-only", _RIGHTS)

    def refuse_loss(self) -> None:
        """Raise when the folder is no longer there."""
        if not os.path.isdir(self.path):
            problem = "the folder was deleted or moved while it was in use"
            self._refuse(problem, "Put it back, or open the store where it is")

    def _refuse_to_write(self, error: OSError, where: str) -> NoReturn:
        problem, advice = write_problem(error)
        self._refuse(problem if where == self.path else f"{where}: {problem}", advice, error)

    def _refuse(self, problem: str, advice: str, cause: Exception | None = None) -> NoReturn:
        raise StoreError(self.path, problem, advice) from cause


def file_name(uid: str) -> str:
    """The name of the files of a run: its uid, as far as that can be the name of a file."""
    if uid and not uid.startswith(".") and all(map(_is_plain, uid)):
        return uid
    encoded = uid.encode("utf-8", "surrogatepass")
    return "".join(chr(b) if _is_plain(chr(b)) and b != ord(".") else f"%{b:02x}" for b in encoded)


def _is_plain(sign: str) -> bool:
    return sign.isascii() and (sign.isalnum() or sign in "-_.")
