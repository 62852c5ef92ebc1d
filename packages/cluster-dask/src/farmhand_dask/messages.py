"""What the caller and the agents say to each other, and how it travels.

A message is a list of things, pickled: commands (tuples whose first part says which) to an agent, events
of ``farmhand.events`` and a few tuples from it. Both ends are the same version of farmhand and of Python,
and trust each other, as a Dask client and its workers do. What is large (results, items, a task that
brings data along) stays out of the pickle, so that it is not copied once more on either side.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from distributed.protocol import to_serialize

from farmhand.codec import Packed
from farmhand.events import ItemsDone
from farmhand.values import dataclass

Frames: TypeAlias = Sequence[bytes | memoryview]

__all__ = [
    "CLOSE",
    "DEFINE",
    "ENDED",
    "KILL",
    "LIMIT",
    "PACE",
    "PING",
    "PONG",
    "RECALL",
    "RELEASE",
    "RUNNING",
    "SEND",
    "SETUP",
    "START",
    "STOP",
    "Frames",
    "Setup",
    "apart",
    "from_wire",
    "pack",
    "size_of",
    "to_wire",
    "unpack",
    "weigh",
]

# caller to agent
SETUP = "setup"  # a Setup
START = "start"  # number
SEND = "send"  # number, indices, payload, run
DEFINE = "define"  # definitions
LIMIT = "limit"  # seconds
RECALL = "recall"  # number, everything
STOP = "stop"  # number
KILL = "kill"  # number
RELEASE = "release"  # lease
PACE = "pace"  # seconds between two looks at what processes are on
PING = "ping"  # anything
CLOSE = "close"

# agent to caller, beside events
RUNNING = "running"  # {number: (index, seconds) or None}, of those that have changed
PONG = "pong"  # what came with the ping
ENDED = "ended"  # why the agent is at its end

_LARGE = 1 << 16  # bytes


@dataclass(frozen=True, slots=True)
class Setup:
    """What an agent must know before it starts the first process.

    Parameters
    ----------
    shipped : bytes
        The task, for :func:`farmhand.shipping.receive`.
    share : int
        Into how many processes the CPUs of the agent's computer are divided.
    timeout, memory_limit, capture
        As in :class:`farmhand.executor.Job`.
    path : tuple of str
        Where the caller looks for modules: it is tried after all places of the worker itself.
    argv : tuple of str
        The caller's ``sys.argv``.
    spool : tuple or None
        Folder, threshold and sync of :class:`farmhand.spool.Spool`, and the proof that the folder is shared.
    pace : float
        Seconds between two looks at what processes are on.
    gather : float
        As in :class:`farmhand.executor.Job`.
    """

    shipped: bytes
    share: int
    timeout: float | None
    memory_limit: int | None
    capture: int
    path: tuple[str, ...]
    argv: tuple[str, ...]
    spool: tuple[str, int, bool, Any] | None
    pace: float
    gather: float


class _Pickler(pickle.Pickler):
    """Leaves large results out of the pickle."""

    def reducer_override(self, thing: Any) -> Any:
        if type(thing) is Packed and len(thing.payload) > _LARGE:
            return _packed, (pickle.PickleBuffer(thing.payload), len(thing))
        if type(thing) is _Apart:
            return _bytes, (pickle.PickleBuffer(thing.data),)
        return NotImplemented


class _Apart:
    """Bytes that are to stay out of the pickle."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


def _packed(payload: bytes | memoryview, count: int) -> Packed:
    return Packed(_bytes(payload), count)


def _bytes(data: bytes | memoryview) -> bytes:
    return data if isinstance(data, bytes) else bytes(data)


def pack(things: Iterable[Any]) -> Frames:
    """A message as frames: the pickle, and what was too large for it."""
    apart: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    _Pickler(file, 5, buffer_callback=apart.append).dump(list(things))
    return [file.getvalue(), *(buffer.raw() for buffer in apart)]


def apart(data: bytes) -> bytes | _Apart:
    """``data`` as a part of a command: what is large travels beside the pickle, and arrives as bytes."""
    return data if len(data) <= _LARGE else _Apart(data)


def unpack(frames: Frames) -> list[Any]:
    """The things in a message. Runs code: only for what comes from where tasks run, too."""
    things: list[Any] = pickle.loads(frames[0], buffers=frames[1:])
    return things


def to_wire(frames: Frames) -> list[Any]:
    """A message for Dask's connections, which copy nothing that is marked as large."""
    return [
        frames[0] if len(frames[0]) <= _LARGE else to_serialize(frames[0]),
        *map(to_serialize, frames[1:]),
    ]


def from_wire(message: list[Any]) -> Frames:
    """What :func:`to_wire` was given."""
    return message


def weigh(event: ItemsDone) -> int:
    """The bytes of its results."""
    values = event.values
    return len(values.payload) if isinstance(values, Packed) else sum(map(len, values))


def size_of(frames: Frames) -> int:
    """The bytes of a message."""
    return sum(map(len, frames))
