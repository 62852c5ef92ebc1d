"""The door of a running farm: a local socket at which other processes of the same user look and steer.

The socket is in a folder that is this user's alone, so that nobody else reaches it; the store says
where it is. The farm serves it in its own loop, ten times a second, and never waits for anybody.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from farmhand.events import Control
from farmhand.progress import Snapshot
from farmhand.remote import RemoteFrontend, RemoteRun
from farmhand.stdlib import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = ["ControlServer", "connect"]

_MOST_CONNECTIONS = 64


class ControlServer:
    """Shows a run to whoever connects, and brings back what they ask for.

    Attributes
    ----------
    address : str
        For :func:`connect`: ``'unix:/run/user/1000/farmhand/1f...'``.
    """

    def __init__(self, listener: socket.socket, path: str) -> None:
        self.address = f"unix:{path}"
        self._listener = listener
        self._path = path
        self._frontends: list[RemoteFrontend] = []

    @classmethod
    def open(cls, run: str, location: str) -> Self | None:
        """The door of a run; None where there cannot be one, and the run goes on without.

        Parameters
        ----------
        run : str
            Its uid.
        location : str
            Its store. What is in memory cannot be found by another process.
        """
        if location == ":memory:" or not hasattr(socket, "AF_UNIX"):
            return None
        for folder in _private_folders():
            path = os.path.join(folder, run)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                listener.bind(path)
                listener.listen(_MOST_CONNECTIONS)
                listener.setblocking(False)
            except OSError:
                listener.close()
                continue
            return cls(listener, path)
        return None

    def is_watched(self) -> bool:
        """Whether anybody is connected now."""
        self._accept()
        return bool(self._frontends)

    def show(self, snapshot: Snapshot) -> None:
        """Show ``snapshot`` to all who watch."""
        self._accept()
        for frontend in self._frontends:
            frontend.show(snapshot)
        self._forget()

    def controls(self) -> list[Control]:
        """What they have asked for since the last call."""
        controls = [control for frontend in self._frontends for control in frontend.controls()]
        self._forget()
        return controls

    def close(self) -> None:
        """Hang up on all, and leave nothing behind."""
        for frontend in self._frontends:
            frontend.close()
        self._listener.close()
        try:
            os.unlink(self._path)
        except OSError:
            pass  # somebody has cleaned up

    def _forget(self) -> None:
        self._frontends = [frontend for frontend in self._frontends if not frontend.closed]

    def _accept(self) -> None:
        while len(self._frontends) < _MOST_CONNECTIONS:
            try:
                # what `accept` calls; the module in C has no other
                descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]
            except OSError:
                return
            self._frontends.append(RemoteFrontend(socket.socket(fileno=descriptor)))


def connect(address: str) -> RemoteRun:
    """The run behind an address.

    Raises
    ------
    OSError
        Nobody listens there (any more), or it is not for us.
    """
    kind, _, path = address.partition(":")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if kind != "unix":
            raise OSError(f"{address!r} is no address of a run")
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return RemoteRun(sock)


def _private_folders() -> Iterator[str]:
    """Folders that this user alone can enter, the best first; made if necessary."""
    places = []
    if os.environ.get("XDG_RUNTIME_DIR"):
        places.append(os.path.join(os.environ["XDG_RUNTIME_DIR"], "farmhand"))
    for folder in dict.fromkeys((os.environ.get("TMPDIR", "/tmp"), "/tmp")):
        places.append(os.path.join(folder, f"farmhand-{os.geteuid()}"))
    for place in places:
        try:
            os.makedirs(place, mode=0o700, exist_ok=True)
            found = os.lstat(place)
        except OSError:
            continue
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
            yield place
