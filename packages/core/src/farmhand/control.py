"""The door of a running farm: a local socket at which other processes of the same user look and steer.

The socket is in a folder that is this user's alone, so that nobody else reaches it; the store says
where it is. The farm serves it in its own loop, ten times a second, and never waits for anybody.
Where there are no such sockets (on Windows) it is a port of this computer, with a key in that folder
which both ends must prove to know.

A process that was forked from the farm has the socket, too. So the farm does not only close its door,
it shuts it: then nobody gets in, whoever still has it. What a farm that was killed has left in the
folder is swept by the next one.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator

from farmhand.events import Control
from farmhand.progress import OVER, Snapshot
from farmhand.scratch import is_private
from farmhand.stdlib import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from farmhand.messages import SnapshotEncoder
    from farmhand.remote import RemoteFrontend, RemoteRun

__all__ = ["ControlServer", "connect"]

_MOST_CONNECTIONS = 64
_PATIENCE = 5.0  # seconds that somebody may be connected and say nothing
_LAST_WORD = 0.2  # seconds in which those who watch can take the last snapshot
_ANSWER = 5.0  # seconds in which a door opens, or is shut
_MAKING = 3600.0  # seconds after which a door that was never finished is not going to be


class ControlServer:
    """Shows a run to whoever connects, and brings back what they ask for.

    Parameters
    ----------
    door : Door
        Where they come in.
    patience : float
        Seconds after which somebody who has said nothing is shown out, and after which it is looked
        again whether the door can still be found.

    Attributes
    ----------
    address : str
        For :func:`connect`: ``'unix:/run/user/1000/farmhand/1f...'``.
    """

    def __init__(self, door: _Door, patience: float = _PATIENCE) -> None:
        self.address = door.address
        self._door = door
        self._patience = patience
        self._look_at = time.monotonic() + patience
        self._encoder: SnapshotEncoder | None = None  # made for the first who comes
        self._frontends: list[tuple[float, RemoteFrontend]] = []  # with when they came

    @classmethod
    def open(
        cls, run: str, location: str, loopback: bool = False, patience: float = _PATIENCE
    ) -> Self | None:
        """The door of a run; None where there cannot be one, and the run goes on without.

        Parameters
        ----------
        run : str
            Its uid.
        location : str
            Its store. What is in memory cannot be found by another process.
        loopback : bool
            Use a port and a key also where there are local sockets.
        patience : float
            As above.
        """
        if location == ":memory:":
            return None
        kind = _Port if loopback or not hasattr(socket, "AF_UNIX") else _Local
        for folder in _private_folders():
            try:
                _sweep(folder)
                try:
                    door = kind(folder, run)
                except FileNotFoundError:  # another farm has just removed the folder behind itself
                    is_private(folder)
                    door = kind(folder, run)
            except OSError:  # full, read-only, or its name is too long for a socket
                _remove(folder)
                continue
            return cls(door, patience)
        return None

    def is_watched(self) -> bool:
        """Whether anybody is connected now."""
        self._accept()
        return bool(self._frontends)

    def show(self, snapshot: Snapshot) -> None:
        """Show ``snapshot`` to all who watch."""
        self._accept()
        if snapshot.state in OVER:
            # who has just come should see it, too; for orders it is too late
            self.controls()
        for _, frontend in self._frontends:
            frontend.show(snapshot)

    def controls(self) -> list[Control]:
        """What they have asked for since the last call."""
        controls = [control for _, frontend in self._frontends for control in frontend.controls()]
        now = time.monotonic()
        for came, frontend in self._frontends:
            if not frontend.has_asked and now - came >= self._patience:
                frontend.close()
        self._frontends = [each for each in self._frontends if not each[1].closed]
        return controls

    def close(self) -> None:
        """Hang up on all, and leave nothing behind."""
        if self._door.is_copy:  # whoever is connected is connected to the farm
            self._door.close()
            return
        deadline = time.monotonic() + _LAST_WORD
        for _, frontend in self._frontends:
            frontend.stream.drain(deadline)
            frontend.close()
        self._frontends.clear()
        self._door.close()

    def _accept(self) -> None:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + self._patience
            self._door.restore()
        for _ in range(_MOST_CONNECTIONS):
            sock = self._door.accept()
            if sock is None:
                return
            frontend = self._frontend(sock)
            if len(self._frontends) >= _MOST_CONNECTIONS and not self._make_room():
                frontend.close()
            else:
                self._frontends.append((now, frontend))

    def _frontend(self, sock: socket.socket) -> RemoteFrontend:
        # most runs are looked at by nobody
        from farmhand.messages import SnapshotEncoder
        from farmhand.remote import RemoteFrontend

        self._encoder = self._encoder or SnapshotEncoder()
        return RemoteFrontend(sock, key=self._door.key, encoder=self._encoder)

    def _make_room(self) -> bool:
        """Show out who came first of those that have said nothing yet."""
        for place, (_, frontend) in enumerate(self._frontends):
            if not frontend.has_asked:
                frontend.close()
                del self._frontends[place]
                return True
        return False


def connect(address: str) -> RemoteRun:
    """The run behind an address.

    Raises
    ------
    OSError
        Nobody listens there (any more), or it is not for us.
    """
    from farmhand.remote import RemoteRun

    kind, _, place = address.partition(":")
    key = None
    if kind == "unix" and hasattr(socket, "AF_UNIX"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        target: str | tuple[str, int] = place
    elif kind == "tcp" and place.partition(":")[0].isdecimal():
        port, _, path = place.partition(":")
        with open(path, "rb") as file:
            key = file.read(256)
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        target = "127.0.0.1", int(port)
    else:
        raise OSError(f"{address!r} is no address of a run that can be reached from here")
    try:
        sock.settimeout(_ANSWER)
        sock.connect(target)
        if key is not None:
            _hurry(sock)
        return RemoteRun(sock, key)
    except OverflowError:
        sock.close()
        raise OSError(f"{address!r} is no address of a run") from None
    except BaseException:
        sock.close()
        raise


# -- doors -----------------------------------------------------------------------------------------


class _Door:
    """What somebody can come in by."""

    address: str
    key: bytes | None = None  # what they must prove to know

    def __init__(self, listener: socket.socket, folder: str, path: str) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._folder = folder
        self._path = path  # what must be there for the door to be found
        self._pid = os.getpid()

    @property
    def is_copy(self) -> bool:
        """Whether this process was forked from the farm, whose door it is."""
        return self._pid != os.getpid()

    def accept(self) -> socket.socket | None:
        """The next who wants to come in, if there is one."""
        while True:
            try:
                # what `accept` calls; the module in C has no other
                descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]
            except OSError:
                return None
            sock = socket.socket(fileno=descriptor)
            try:
                if self.admits(sock):
                    return sock
            except OSError:
                pass  # it has left already
            sock.close()

    def admits(self, sock: socket.socket) -> bool:
        """Whether who has connected may come in."""
        return True

    def restore(self) -> None:
        """Make again what somebody has cleaned away."""

    def close(self) -> None:
        """Let nobody in any more, and leave nothing behind."""
        if self.is_copy:
            self._listener.close()
            return
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # not every system can do that to a socket that listens
        self._listener.close()
        try:
            os.unlink(self._path)
        except OSError:
            pass  # somebody has cleaned up
        _remove(self._folder)


class _Local(_Door):
    """A local socket."""

    def __init__(self, folder: str, run: str) -> None:
        path = os.path.join(folder, run)
        super().__init__(_listening(folder, path), folder, path)
        self.address = f"unix:{path}"

    def admits(self, sock: socket.socket) -> bool:
        """Only this user and the administrator, where the system says who it is; else by the folder alone."""
        if not hasattr(socket, "SO_PEERCRED"):
            return True
        said = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int.from_bytes(said[4:8], sys.byteorder) in (0, os.geteuid())

    def restore(self) -> None:
        """The folder goes when its user logs out, the run does not; nor may a new log-in find no door."""
        if os.path.lexists(self._path):
            return
        try:
            if is_private(self._folder):
                listener = _listening(self._folder, self._path)
                self._listener.close()
                self._listener = listener
        except OSError:
            pass  # perhaps next time


class _Port(_Door):
    """A port of this computer, which others can connect to as well; they do not know the key."""

    def __init__(self, folder: str, run: str) -> None:
        self.key = os.urandom(32).hex().encode()
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.bind(("127.0.0.1", 0))
            listener.listen(_MOST_CONNECTIONS)
            port = listener.getsockname()[1]
            super().__init__(listener, folder, os.path.join(folder, f"{run}.{port}.key"))
            self._write_key()
        except BaseException:
            listener.close()
            raise
        self.address = f"tcp:{port}:{self._path}"

    def admits(self, sock: socket.socket) -> bool:
        """Whoever it is has to prove itself."""
        _hurry(sock)
        return True

    def restore(self) -> None:
        """As for a local socket."""
        try:
            if not os.path.lexists(self._path) and is_private(self._folder):
                self._write_key()
        except OSError:
            pass  # perhaps next time

    def _write_key(self) -> None:
        assert self.key is not None
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, self.key)
        except OSError:
            os.unlink(self._path)
            raise
        finally:
            os.close(descriptor)


def _hurry(sock: socket.socket) -> None:
    """Send a short line at once, and not only when the one before has been confirmed."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _listening(folder: str, path: str) -> socket.socket:
    """A local socket that listens before it can be found: whoever sweeps takes one that does not for dead."""
    making = os.path.join(folder, f".{os.path.basename(path)}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(making)
        os.chmod(making, 0o600)
        listener.listen(_MOST_CONNECTIONS)
        listener.setblocking(False)
        os.rename(making, path)
    except BaseException:
        listener.close()
        try:
            os.unlink(making)
        except OSError:
            pass
        raise
    return listener


# -- the folder ------------------------------------------------------------------------------------


def _private_folders() -> Iterator[str]:
    """Folders that this user alone can enter, the best first; made if necessary."""
    places = []
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and _is_ours(runtime):  # `sudo` may have left that of somebody else
        places.append(os.path.join(runtime, "farmhand"))
    if hasattr(os, "geteuid"):
        for folder in (os.environ.get("TMPDIR") or "/tmp", "/tmp"):
            places.append(os.path.join(os.path.abspath(folder), f"farmhand-{os.geteuid()}"))
    else:
        import tempfile

        places.append(os.path.join(tempfile.gettempdir(), "farmhand"))
    for place in dict.fromkeys(places):
        try:
            if is_private(place):
                yield place
        except OSError:
            continue


def _is_ours(folder: str) -> bool:
    try:
        return not hasattr(os, "geteuid") or os.stat(folder).st_uid == os.geteuid()
    except OSError:
        return False


def _remove(folder: str) -> None:
    """Remove the folder, if no other farm has its door there."""
    try:
        os.rmdir(folder)
    except OSError:
        pass


def _sweep(folder: str) -> None:
    """Remove the doors of farms that were killed: nobody opens there."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        try:
            found = os.lstat(path)
            if name.endswith(".key"):
                port = name.split(".")[-2]
                dead = port.isdecimal() and _is_shut(socket.AF_INET, ("127.0.0.1", int(port)))
            elif not stat.S_ISSOCK(found.st_mode):
                continue
            elif name.startswith("."):
                dead = time.time() - found.st_mtime > _MAKING
            else:
                dead = _is_shut(socket.AF_UNIX, path)
            if dead:
                os.unlink(path)
        except (OSError, OverflowError, IndexError):
            continue


def _is_shut(family: int, address: str | tuple[str, int]) -> bool:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(_ANSWER)
        sock.connect(address)
    except ConnectionRefusedError:
        return True
    except OSError:  # busy, for example
        return False
    finally:
        sock.close()
    return False
