"""Both ends of a connection over which a run is shown and steered; neither end ever waits for the other."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Iterable

from farmhand.events import Control
from farmhand.messages import (
    PROTOCOL,
    MessageError,
    SnapshotEncoder,
    SnapshotReader,
    SnapshotWriter,
    control_of,
    decoded,
    encoded,
    request_of,
    standing,
)
from farmhand.progress import OVER, Snapshot
from farmhand.stdlib import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["RemoteFrontend", "RemoteRun", "Stream"]

_MOST = 64 << 20  # bytes of one message, or that wait to be sent
_MOST_REQUEST = 4096  # bytes of what somebody asks: whoever sends more is no watcher of ours
_MOST_REQUESTS = 100  # in one look
_MOST_UNHEARD = 1000  # requests of somebody who does not read the answers
# who hangs up must not send us a signal, which may have been set to end this process
_QUIETLY: int = getattr(socket, "MSG_NOSIGNAL", 0)


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
        The other end is gone, or talks nonsense, and all that came from it was received.
    """

    def __init__(self, sock: socket.socket, longest: int = _MOST) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._longest = longest
        self._unsent: deque[bytes] = deque()
        self._sent = 0  # bytes of the first of these
        self._size = 0  # bytes that wait
        self._lines: deque[bytes] = deque()  # received, and not asked for
        self._parts: list[bytes] = []  # of the line that is coming
        self._length = 0  # bytes of them
        self._hung_up = False  # nobody reads what we send
        self._ended = False  # nothing more is going to come
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
        if not self.closed and not self._hung_up:
            self._unsent.append(line)
            self._size += len(line)
            self.flush()

    def flush(self) -> None:
        """Send what waits, as far as there is room."""
        try:
            while self._unsent and not self.closed:
                first = self._unsent[0]
                sent = self._socket.send(memoryview(first)[self._sent :], _QUIETLY)
                self._sent += sent
                self._size -= sent
                if self._sent == len(first):
                    self._unsent.popleft()
                    self._sent = 0
        except (BlockingIOError, InterruptedError):
            if self._size > _MOST:
                self.close()
        except OSError:
            # it may have asked for something before it left
            self._hung_up = True
            self._unsent.clear()
            self._size = 0

    def drain(self, deadline: float) -> None:
        """Send what waits, and wait for the other end to take it; but for nobody past ``deadline``.

        Parameters
        ----------
        deadline : float
            As ``time.monotonic()`` has it.
        """
        import select

        self.flush()
        while self._unsent and not self.closed:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            select.select([], [self], [], left)
            self.flush()

    def receive(self, most: int = 1 << 30) -> list[bytes]:
        """The lines that have come; all of them, or the first when there are more than ``most``."""
        while len(self._lines) < most and not self._ended and not self.closed:
            try:
                data = self._socket.recv(1 << 16)
            except (BlockingIOError, InterruptedError):
                self._ended = self._hung_up  # who does not read and says nothing has left
                break
            except OSError:
                data = b""
            self._ended = not data
            self._take(data)
        lines = [self._lines.popleft() for _ in range(min(most, len(self._lines)))]
        if self._ended and not self._lines:
            self.close()
        return lines

    def _take(self, data: bytes) -> None:
        first, *others = data.split(b"\n")
        self._parts.append(first)
        self._length += len(first)
        if others:
            whole = [b"".join(self._parts), *others[:-1]]
            self._parts, self._length = [others[-1]], len(others[-1])
            for line in whole:
                if len(line) > self._longest:
                    self._ended = True
                    return
                self._lines.append(line)
        if self._length > self._longest:
            self._ended = True
            self._parts.clear()

    def close(self) -> None:
        """Hang up; what was sent still arrives, as far as it was on its way."""
        if not self.closed:
            self.closed = True
            self._unsent.clear()
            self._lines.clear()
            self._parts.clear()
            try:
                # who closes with something unread takes back what was sent; but nobody talks for ever
                for _ in range(16):
                    if not self._socket.recv(1 << 16):
                        break
            except OSError:
                pass
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
    key : bytes, optional
        Nothing is shown or done before the other end has proved that it knows this, too.
    encoder : SnapshotEncoder, optional
        Shared with others who are shown the same snapshots.

    Attributes
    ----------
    has_asked : bool
        Whether the other end has asked for anything yet.
    ready : bool
        The other end has said that it shows what it is sent.
    failed : str or None
        Why the other end cannot show anything, once it has said so.
    """

    def __init__(
        self,
        sock: socket.socket,
        watching: bool = False,
        outputs: bool = False,
        key: bytes | None = None,
        encoder: SnapshotEncoder | None = None,
    ) -> None:
        self.stream = Stream(sock, _MOST_REQUEST)
        self.watching = watching
        self.ready = False
        self.failed: str | None = None
        self.has_asked = False
        self._run = ""
        self._encoder = encoder
        self._writer = SnapshotWriter(outputs, encoder)
        self._greeted = False
        self._pending: list[Any] = []  # ids of orders that the farm is following
        self._unheard = 0  # requests since all that we had sent was on its way
        self._key = key
        if key is not None:
            self._challenge = os.urandom(32).hex()
            self.stream.send(encoded({"challenge": self._challenge}))

    @property
    def closed(self) -> bool:
        """The other end is gone."""
        return self.stream.closed

    def begin(self) -> None:
        """From now on another run is shown over the same connection."""
        self._writer = SnapshotWriter(self._writer.outputs, self._encoder)
        self._greeted = False
        self._pending.clear()

    def show(self, snapshot: Snapshot) -> None:
        """Send ``snapshot``, unless the other end has not taken the last one yet, and the answers due."""
        if self._key is not None:  # it has not proved itself
            self.stream.flush()
            return
        if not self._greeted:
            self._greeted = True
            self._run = snapshot.run
            self.stream.send(encoded({"hello": _about(snapshot)}))
        if self._pending:
            now = standing(snapshot)
            for number in self._pending:
                self.stream.send(encoded({"answer": number, **now}))
            self._pending.clear()
        self.stream.flush()
        if self.watching:
            # the last one is never left out
            if self.stream.is_full and snapshot.state not in OVER:
                self._writer.skip(snapshot)
            else:
                self.stream.send(self._writer.write(snapshot))

    def controls(self) -> Iterable[Control]:
        """What the other end has asked for since the last call."""
        controls: list[Control] = []
        lines = self.stream.receive(_MOST_REQUESTS)
        self._unheard = self._unheard + len(lines) if self.stream.is_full else 0
        if self._unheard > _MOST_UNHEARD:
            self.stream.close()
        for line in lines:
            number: Any = None
            try:
                request = decoded(line)
                if type(request.get("id")) in (int, str):
                    number = request["id"]
                if self._key is not None:
                    self._check(request, self._key)
                elif request.get("request") == "watch":
                    self.watching = self.has_asked = True
                    self._writer.outputs = request.get("outputs") is True
                elif request.get("request") == "ready":
                    self.ready = True
                elif request.get("request") == "failed":
                    self.failed = str(request.get("reason", ""))
                elif request.get("run", self._run) != self._run:
                    raise MessageError("that run is over")
                else:
                    controls.append(control_of(request))
                    self._pending.append(number)
                    self.has_asked = True
            except MessageError as error:
                self.stream.send(encoded({"answer": number, "error": str(error)}))
        return controls

    def close(self) -> None:
        """Hang up."""
        self.stream.flush()
        self.stream.close()

    def _check(self, request: Mapping[str, Any], key: bytes) -> None:
        """Whether the other end knows the key; then prove that we do."""
        theirs = request.get("challenge")
        if not isinstance(theirs, str) or not _is_proof(
            request.get("proof"), key, "watcher", self._challenge
        ):
            self.stream.send(encoded({"answer": None, "error": "that is not the key of this run"}))
            self.stream.close()
            return
        self._key = None
        self.stream.send(encoded({"proof": _proof(key, "farm", theirs)}))


def _proof(key: bytes, who: str, challenge: str) -> str:
    """What only somebody who knows the key can answer to a challenge; each end answers in its own way."""
    import hmac

    return hmac.digest(key, f"{who}:{challenge}".encode("utf-8", "replace"), "sha256").hex()


def _is_proof(proof: object, key: bytes, who: str, challenge: str) -> bool:
    import hmac

    text = proof if isinstance(proof, str) and proof.isascii() else ""
    return hmac.compare_digest(text, _proof(key, who, challenge))


def _about(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "protocol": PROTOCOL,
        "farmhand": vars(sys.modules["farmhand"]).get("__version__", ""),
        "task": snapshot.task,
        "run": snapshot.run,
        "store": snapshot.store,
        "pid": snapshot.pid,
        **standing(snapshot),
    }


class RemoteRun:
    """A run of another process: the end of whoever looks at it.

    Parameters
    ----------
    sock : socket
        Connected to that process.
    key : bytes, optional
        The farm must prove that it knows this, too, before anything is asked of it.

    Attributes
    ----------
    hello : mapping or None
        What the farm said first; None until it has.
    answers : dict
        What it answered, by the number of the request; an answer is for whoever asked to take out.
    """

    def __init__(self, sock: socket.socket, key: bytes | None = None) -> None:
        self.stream = Stream(sock)
        self.hello: Mapping[str, Any] | None = None
        self.answers: dict[Any, Mapping[str, Any]] = {}
        self._reader = SnapshotReader()
        self._number = 0
        self._key = key
        self._challenge = "" if key is None else os.urandom(32).hex()
        self._kept: list[bytes] = []  # what is asked once the farm has proved itself

    @property
    def closed(self) -> bool:
        """The farm's end is gone, and all that it had sent was read."""
        return self.stream.closed

    @property
    def has_sent(self) -> bool:
        """Whether all that was asked is on its way, so that the farm hears of it sooner or later."""
        return not self._kept and not self.stream.is_full

    def watch(self, outputs: bool = False) -> None:
        """Ask for snapshots, perhaps with what items print."""
        self._send(encoded({"request": "watch", "outputs": outputs}))

    def ask(self, control: Control) -> int:
        """Ask the farm to do something; returns the number under which it answers."""
        self._number += 1
        request = request_of(control, self._number)
        if self.hello is not None:
            request["run"] = self.hello.get("run")  # by now another one may be shown over this connection
        self._send(encoded(request))
        return self._number

    def _send(self, line: bytes) -> None:
        if self._key is None:
            self.stream.send(line)
        else:
            self._kept.append(line)

    def snapshots(self) -> list[Snapshot]:
        """Those that have come since the last call; ``hello`` and ``answers`` are kept.

        Raises
        ------
        MessageError
            The other end is no farm, or one that speaks another language; the connection is closed.
        """
        self.stream.flush()
        snapshots: list[Snapshot] = []
        try:
            for line in self.stream.receive():
                message = decoded(line)
                if self._key is not None:
                    self._prove(message, self._key)
                elif "snapshot" in message:
                    snapshots.append(self._reader.read(message))
                elif "failures" in message:
                    self._reader.learn(message)
                elif type(message.get("answer")) is int:
                    self.answers[message["answer"]] = message
                elif isinstance(message.get("hello"), dict):
                    self._greet(message["hello"])
        except MessageError:
            self.stream.close()
            raise
        return snapshots

    def close(self) -> None:
        """Hang up; the run goes on."""
        self.stream.flush()
        self.stream.close()

    def _greet(self, hello: Mapping[str, Any]) -> None:
        self.hello = hello
        self._reader = SnapshotReader()  # another run of the same script has failures of its own
        if hello.get("protocol") != PROTOCOL:
            raise MessageError(
                f"that run is of farmhand {str(hello.get('farmhand'))[:40]}, which speaks another protocol; "
                "use the same version for both"
            )

    def _prove(self, message: Mapping[str, Any], key: bytes) -> None:
        """Each end proves to the other that it knows the key, without telling it to anybody."""
        challenge = message.get("challenge")
        if isinstance(challenge, str):
            proof = _proof(key, "watcher", challenge)
            self.stream.send(encoded({"request": "prove", "proof": proof, "challenge": self._challenge}))
        elif _is_proof(message.get("proof"), key, "farm", self._challenge):
            self._key = None
            for line in self._kept:
                self.stream.send(line)
            self._kept.clear()
        else:
            error = message.get("error")
            raise MessageError(str(error)[:200] if error else "who answers there is not that run")
