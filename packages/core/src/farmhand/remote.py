"""Both ends of a connection over which a run is shown and steered; neither end ever waits for the other."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from farmhand.events import Control
from farmhand.messages import (
    PROTOCOL,
    MessageError,
    SnapshotReader,
    SnapshotWriter,
    control_of,
    decoded,
    encoded,
    request_of,
)
from farmhand.progress import OVER, Snapshot
from farmhand.stdlib import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["RemoteFrontend", "RemoteRun", "Stream"]

_MOST = 16 << 20  # bytes of one message, or that wait to be sent
_MOST_REQUEST = 4096  # bytes of what somebody asks: whoever sends more is no watcher of ours
_MOST_REQUESTS = 100  # in one look


class Stream:
    """Lines over a socket that is never waited for.

    Parameters
    ----------
    sock : socket
        A connected one.
    longest : int
        Bytes that a line may have.

    Attributes
    ----------
    closed : bool
        The other end is gone, or talks nonsense; nothing more will come.
    """

    def __init__(self, sock: socket.socket, longest: int = _MOST) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._longest = longest
        self._unsent = b""
        self._unread = b""
        self._deaf = False  # the other end takes no more, but what it has said may not have been read
        self.closed = False

    def fileno(self) -> int:
        """The socket's descriptor, for ``select``."""
        return self._socket.fileno()

    @property
    def is_full(self) -> bool:
        """Whether some of what was sent has not got on its way."""
        return bool(self._unsent)

    def send(self, line: bytes) -> None:
        """Send a line, now or as soon as there is room."""
        if not self.closed and not self._deaf:
            self._unsent += line
            self.flush()

    def flush(self) -> None:
        """Send what waits, as far as there is room."""
        try:
            while self._unsent and not self.closed:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except (BlockingIOError, InterruptedError):
            if len(self._unsent) > _MOST:
                self.close()
        except OSError:
            self._deaf = True
            self._unsent = b""

    def receive(self, most: int = 1 << 30) -> list[bytes]:
        """The lines that have come; all of them, or some when there are more than ``most``."""
        lines: list[bytes] = []
        ended = False
        while len(lines) < most and not ended and not self.closed:
            try:
                data = self._socket.recv(1 << 16)
                ended = not data
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                ended = True
            else:
                *whole, self._unread = (self._unread + data).split(b"\n")
                lines += whole
                if len(self._unread) > self._longest or any(len(line) > self._longest for line in whole):
                    ended = True
        if ended:
            self.close()
        return lines

    def close(self) -> None:
        """Hang up; what was sent still arrives, as far as it was on its way."""
        if not self.closed:
            self.closed = True
            try:
                # a process that was forked meanwhile has the socket as well
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other end has done so
            self._socket.close()


class RemoteFrontend:
    """A frontend that is in another process: the farm's end.

    When the other end is slow it is shown the newest snapshot when it can take one, and what it
    has missed of failures and outputs with that.

    Parameters
    ----------
    sock : socket
        Connected to that process.
    watching : bool
        Whether snapshots are wanted from the beginning, or only once they are asked for.
    outputs : bool
        Whether what items print is wanted.

    Attributes
    ----------
    ready : bool
        The other end has said that it shows what it is sent.
    failed : str or None
        Why the other end cannot show anything, once it has said so.
    """

    def __init__(self, sock: socket.socket, watching: bool = False, outputs: bool = False) -> None:
        self.stream = Stream(sock, _MOST_REQUEST)
        self.watching = watching
        self.ready = False
        self.failed: str | None = None
        self._run = ""
        self._writer = SnapshotWriter(outputs)
        self._greeted = False
        self._pending: list[Any] = []  # ids of orders that the farm is following

    @property
    def closed(self) -> bool:
        """The other end is gone."""
        return self.stream.closed

    def begin(self) -> None:
        """From now on another run is shown over the same connection."""
        self._writer = SnapshotWriter(self._writer.outputs)
        self._greeted = False
        self._pending.clear()

    def show(self, snapshot: Snapshot) -> None:
        """Send ``snapshot``, unless the other end has not taken the last one yet, and the answers due."""
        if not self._greeted:
            self._greeted = True
            self._run = snapshot.run
            self.stream.send(encoded({"hello": _about(snapshot)}))
        if self._pending:
            after = {"state": snapshot.state, "wanted": snapshot.wanted}
            for number in self._pending:
                self.stream.send(encoded({"answer": number, **after}))
            self._pending.clear()
        if not self.watching:
            self.stream.flush()
            return
        self.stream.flush()
        # the last one is never left out
        if self.stream.is_full and snapshot.state not in OVER:
            self._writer.skip(snapshot)
        else:
            self.stream.send(self._writer.write(snapshot))

    def controls(self) -> Iterable[Control]:
        """What the other end has asked for since the last call."""
        controls: list[Control] = []
        for line in self.stream.receive(_MOST_REQUESTS):
            number: Any = None
            try:
                request = decoded(line)
                number = request.get("id")
                if request.get("request") == "watch":
                    self.watching = True
                    self._writer.outputs = request.get("outputs") is True
                    continue
                if request.get("request") == "ready":
                    self.ready = True
                    continue
                if request.get("request") == "failed":
                    self.failed = str(request.get("reason", ""))
                    continue
                if request.get("run", self._run) != self._run:
                    raise MessageError("that run is over")
                controls.append(control_of(request))
                self._pending.append(number)
            except MessageError as error:
                self.stream.send(encoded({"answer": number, "error": str(error)}))
        return controls

    def close(self) -> None:
        """Hang up."""
        self.stream.flush()
        self.stream.close()


def _about(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "protocol": PROTOCOL,
        "farmhand": vars(sys.modules["farmhand"]).get("__version__", ""),
        "task": snapshot.task,
        "run": snapshot.run,
        "store": snapshot.store,
        "pid": snapshot.pid,
    }


class RemoteRun:
    """A run of another process: the end of whoever looks at it.

    Parameters
    ----------
    sock : socket
        Connected to that process.

    Attributes
    ----------
    hello : mapping or None
        What the farm said first; None until it has.
    answers : dict
        What it answered, by the number of the request; an answer is for whoever asked to take out.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.stream = Stream(sock)
        self.hello: Mapping[str, Any] | None = None
        self.answers: dict[Any, Mapping[str, Any]] = {}
        self._reader = SnapshotReader()
        self._number = 0

    @property
    def closed(self) -> bool:
        """The farm's end is gone, and all that it had sent was read."""
        return self.stream.closed

    def watch(self, outputs: bool = False) -> None:
        """Ask for snapshots, perhaps with what items print."""
        self.stream.send(encoded({"request": "watch", "outputs": outputs}))

    def ask(self, control: Control) -> int:
        """Ask the farm to do something; returns the number under which it answers."""
        self._number += 1
        request = request_of(control, self._number)
        if self.hello is not None:
            request["run"] = self.hello.get("run")  # by now another one may be shown over this connection
        self.stream.send(encoded(request))
        return self._number

    def snapshots(self) -> list[Snapshot]:
        """Those that have come since the last call; ``hello`` and ``answers`` are kept.

        Raises
        ------
        MessageError
            The other end is no farm, or one that speaks another language.
        """
        self.stream.flush()
        snapshots: list[Snapshot] = []
        for line in self.stream.receive():
            message = decoded(line)
            if "snapshot" in message:
                snapshots.append(self._reader.read(message))
            elif "answer" in message:
                self.answers[message["answer"]] = message
            elif isinstance(message.get("hello"), dict):
                self.hello = message["hello"]
                self._reader = SnapshotReader()  # another run of the same script has failures of its own
                if message["hello"].get("protocol") != PROTOCOL:
                    raise MessageError(
                        f"that run is of farmhand {message['hello'].get('farmhand')}, which speaks another "
                        "protocol; use the same version for both"
                    )
        return snapshots
